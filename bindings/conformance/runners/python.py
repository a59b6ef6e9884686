"""Carries out the commands of the conformance suite with the Python package: `Session`, exceptions."""

import hashlib
import json
import sys
import time

import blindbox_attestation as blindbox

session = None


def verifier(command):
    settings = {name: command[name] for name in ("application_roots", "collateral_roots", "amd_roots", "kds") if name in command}
    if "deadline_ms" in command:
        settings["deadline"] = command["deadline_ms"] / 1000
    if "request_timeout_ms" in command:
        settings["request_timeout"] = command["request_timeout_ms"] / 1000
    return blindbox.Verifier(**settings)


def attested(attestation):
    return {"channel": attestation.channel, "checks": attestation.appraisal}


def connect(command):
    global session
    policy = blindbox.Policy(command["policy"])
    session = verifier(command).connect(command["url"], policy)
    return attested(session.attestation)


def reattest(command):
    return attested(session.reattest())


def request(command):
    headers = [(header["name"], header["value"].encode("latin-1")) for header in command.get("headers", [])]
    content = None
    if "bytes" in command:
        content = (b"abcdefghijklmnopqrstuvw" * (command["bytes"] // 23 + 1))[: command["bytes"]]
        if command.get("streamed"):
            content = iter([content[at : at + 65536] for at in range(0, len(content), 65536)])
    response = session.request(command["method"], command["target"], headers=headers, content=content)
    outcome = {"status": response.status}
    for name in command.get("show", []):
        outcome[name] = response.headers.get(name)
    try:
        body = response.read()
    except blindbox.AttestationError as error:
        return {**outcome, "error": described(error)}
    begins = body[:30].decode("utf-8", "replace")
    return {**outcome, "length": len(body), "sha256": hashlib.sha256(body).hexdigest(), "begins": begins}


def recorded(command):
    policy = blindbox.Policy(command["policy"])
    evidence = verifier(command).collect(command["url"], policy)
    documents = dict(evidence.documents)
    given = {}
    if not command.get("beside") and "key-set.json" in documents:
        given["key_set"] = documents["key-set.json"]
    if "amd_roots" in command:
        given["amd_roots"] = open(command["amd_roots"], encoding="utf-8").read()
    at = evidence.about["asked_at"] + command.get("later", 0)
    return {"checks": blindbox.verify_recorded(documents, policy, at=at, **given).appraisal}


def policy(command):
    return {"digest": blindbox.Policy(command["policy"]).digest}


def close(command):
    global session
    if session is not None:
        session.close()
    session = None
    return {}


def described(error):
    # A handler for the category also gets it.
    category = {
        "rejected": blindbox.Rejected,
        "untrusted": blindbox.Untrusted,
        "unavailable": blindbox.Unavailable,
        "misconfigured": blindbox.Misconfigured,
    }[error.category]
    assert isinstance(error, category)
    return {
        "code": error.code,
        "number": error.number,
        "category": error.category,
        "name": type(error).__name__,
        "retryable": error.retryable,
        "request_sent": error.request_sent,
        "message": str(error),
        "checks": error.appraisal,
    }


DO = {f.__name__: f for f in (connect, reattest, request, recorded, policy, close)}

for line in sys.stdin:
    command = json.loads(line)
    try:
        outcome = DO[command["do"]](command)
    except blindbox.AttestationError as error:
        outcome = {"error": described(error)}
    print(json.dumps(outcome), flush=True)
