"""Carries out the commands of the conformance suite with the Python package: `Session`, exceptions, asyncio for what is cancelled."""

import asyncio
import json
import sys
import threading

import blindbox_attestation as blindbox

session = None
loop = asyncio.new_event_loop()
cancelling = None  # a session whose requests can be cancelled


def read(path):
    with open(path, "rb") as file:
        return file.read()


def verifier(command):
    names = ("application_roots", "collateral_roots", "amd_roots", "ak_root", "kds")
    settings = {name: command[name] for name in names if name in command}
    for name in ("deadline", "request_timeout"):
        if name + "_ms" in command:
            settings[name] = int(command[name + "_ms"]) / 1000
    return blindbox.Verifier(**settings)


def parsed(command):
    return blindbox.Policy(read(command["policy"]).decode())


def connect(command):
    global session, cancelling
    policy = parsed(command)
    session = verifier(command).connect(command["url"], policy)
    if "cancels" in command:
        cancelling = loop.run_until_complete(verifier(command).connect_async(command["url"], policy))
    return {"attestation": session.attestation.fields}


def reattest(command):
    return {"attestation": session.reattest().fields}


def sent(command):
    """The arguments of a request."""
    options = {}
    if "header" in command:
        options["headers"] = [(command["header"], read(command["value"]))]
    if "streamed" in command:
        file = open(command["body"], "rb")
        options["content"] = iter(lambda: file.read(65536), b"")
    elif "body" in command:
        options["content"] = read(command["body"])
    if "idempotent" in command:
        options["idempotent"] = True
    return command["method"], command["target"], options


def request(command):
    if "cancel_ms" in command:
        return loop.run_until_complete(cancelled(command))
    method, target, options = sent(command)
    response = session.request(method, target, **options)
    outcome = {"status": response.status}
    for name in command["show"].split():
        outcome[name] = response.headers.get(name, "").encode("latin-1").hex()
    try:
        return {**outcome, "content": response.read().hex()}
    except blindbox.AttestationError as error:
        return {**outcome, **described(error)}


async def cancelled(command):
    method, target, options = sent(command)

    async def whole():
        response = await cancelling.request(method, target, **options)
        return {"status": response.status, "content": (await response.read()).hex()}

    try:
        return await asyncio.wait_for(whole(), int(command["cancel_ms"]) / 1000)
    except asyncio.TimeoutError:
        return {"cancelled": True}


def start(command):
    method, target, options = sent(command)
    threading.Thread(target=session.request, args=(method, target), kwargs=options, daemon=True).start()
    return {}


def recorded(command):
    replaced = {name: command[name] for name in ("key_set", "amd_roots", "ak_root") if name in command}
    documents = {name: read(name) for name in command["documents"].split()}
    verdict = blindbox.verify_recorded(documents, parsed(command), at=int(command["at"]), **replaced)
    return {"attestation": verdict.fields}


def policy(command):
    return {"digest": parsed(command).digest}


def close(command):
    global cancelling
    session.close()
    if cancelling:
        loop.run_until_complete(cancelling.aclose())
    cancelling = None
    return {}


def described(error):
    # A handler for the category also gets it.
    assert isinstance(error, getattr(blindbox, error.category.capitalize()))
    names = ("code", "number", "category", "retryable", "request_sent")
    described = {name: getattr(error, name) for name in names}
    return {**described, "name": type(error).__name__, "message": str(error), "checks": error.appraisal}


DO = {f.__name__: f for f in (connect, reattest, request, start, recorded, policy, close)}

for line in sys.stdin:
    command = dict(field.split("=", 1) for field in line.rstrip("\n").split("\t"))
    try:
        outcome = DO[command["do"]](command)
    except blindbox.AttestationError as error:
        outcome = described(error)
    print(*(f"{name}={json.dumps(value)}" for name, value in outcome.items()), sep="\t", flush=True)
