"""Compares an attested session with what a program uses without one: `requests` and `httpx` over `ssl`, to the same emulated application.

Each client keeps its connection. They take turns in one run, so that what else the machine does meets all of them; the ratio of the
medians is the result that transfers to other machines.
"""

import os
import ssl
import statistics
import sys
import time
import warnings

import httpx
import requests

import blindbox_attestation as blindbox
from blindbox_attestation.httpx import Transport
from blindbox_attestation.requests import SecureSession

URL = os.environ["BLINDBOX_URL"]
ROOT = os.environ["BLINDBOX_APPLICATION_ROOT"]
MEGABYTE = bytes(range(256)) * 4096

# (case, requests in a turn)
CASES = {"GET, 21 bytes": 50, "1 MB down": 4, "1 MB up and down": 4}


def expected(case, found):
    size = 21 if case == "GET, 21 bytes" else len(MEGABYTE)
    assert len(found) == size, f"{case}: expected {size} bytes, found {len(found)}"


def clients(session, secure):
    """By name: how each case is done."""
    plain = requests.Session()
    # By itself it looks into the environment for each request: proxies, credentials of .netrc.
    unattended = requests.Session()
    unattended.trust_env = False
    plain_httpx = httpx.Client(verify=ssl.create_default_context(cafile=ROOT))
    attested_httpx = httpx.Client(transport=Transport(session), trust_env=False)
    large = f"/large?bytes={len(MEGABYTE)}"

    def of(get, post, base=URL):
        return {
            "GET, 21 bytes": lambda: get(base + "/").content,
            "1 MB down": lambda: get(base + large).content,
            "1 MB up and down": lambda: post(base + "/echo").content,
        }

    def requests_of(client):
        # The root is given with each request: a variable of the environment would replace that of the session.
        return of(lambda url: client.get(url, verify=ROOT), lambda url: client.post(url, data=MEGABYTE, verify=ROOT))

    return {
        "Session": of(session.get, lambda url: session.post(url, content=MEGABYTE), base=""),
        "SecureSession": of(secure.get, lambda url: secure.post(url, data=MEGABYTE), base=""),
        "Transport of httpx": of(attested_httpx.get, lambda url: attested_httpx.post(url, content=MEGABYTE)),
        "requests": requests_of(plain),
        "requests, trust_env off": requests_of(unattended),
        "httpx": of(plain_httpx.get, lambda url: plain_httpx.post(url, content=MEGABYTE)),
    }


# (client, case, peer): the ratio that is to be reached.
GOALS = [
    ("Session", "GET, 21 bytes", "requests", 0.6),
    ("Session", "GET, 21 bytes", "httpx", 0.8),
    ("SecureSession", "GET, 21 bytes", "requests", 1.0),
    ("SecureSession", "GET, 21 bytes", "requests, trust_env off", 1.0),
    ("Transport of httpx", "GET, 21 bytes", "httpx", 1.0),
    ("Session", "1 MB down", "requests", 1.0),
    ("SecureSession", "1 MB down", "requests", 1.0),
    ("Session", "1 MB up and down", "requests", 1.0),
    ("SecureSession", "1 MB up and down", "requests", 1.0),
]


def measured(clients, rounds):
    """The times of each client and case, in seconds."""
    times = {(name, case): [] for name in clients for case in CASES}
    names = list(clients)
    for turn in range(rounds + 1):
        # In another order each time.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            for case, repeats in CASES.items():
                work = clients[name][case]
                for _ in range(repeats):
                    began = time.perf_counter()
                    found = work()
                    took = time.perf_counter() - began
                    expected(case, found)
                    # The first turn opens connections.
                    if turn > 0:
                        times[name, case].append(took)
    return times


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    warnings.simplefilter("ignore")
    settings = {"application_roots": ROOT, "collateral_roots": os.environ["BLINDBOX_COLLATERAL_ROOT"]}
    policy = blindbox.Policy.from_file(os.environ["BLINDBOX_POLICY"])
    verifier = blindbox.Verifier(**settings)
    with verifier.connect(URL, policy) as session, SecureSession(URL, policy=policy, verifier=verifier) as secure:
        times = measured(clients(session, secure), rounds)
    median = {key: statistics.median(values) for key, values in times.items()}
    print(f"{'':25}" + "".join(f"{case:>26}" for case in CASES))
    for name in dict.fromkeys(name for name, _ in times):
        print(f"{name:25}" + "".join(f"{round(median[name, case] * 1e6):>23} us" for case in CASES))
    print()
    for name, case, peer, goal in GOALS:
        ratio = median[name, case] / median[peer, case]
        print(f"{name + ' / ' + peer + ', ' + case:65} {ratio:5.2f}  goal {goal:.1f}  {'met' if ratio <= goal else 'MISSED'}")


main()
