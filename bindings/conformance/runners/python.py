"""Carries out the commands of the conformance suite with the Python package: `Session`, exceptions, asyncio for what is cancelled."""

import asyncio
import json
import os
import sys
import threading
import time

import blindbox_attestation as blindbox

session = None


def read(path):
    with open(path, "rb") as file:
        return file.read()


def verifier(command):
    paths = ("application_roots", "collateral_roots", "amd_roots", "ak_root", "kds")
    settings = {name: command[name] for name in paths if name in command}
    for name in ("deadline", "request_timeout"):
        if name + "_ms" in command:
            settings[name] = command[name + "_ms"] / 1000
    return blindbox.Verifier(**settings)


def attested(attestation):
    return {"attestation": attestation.fields}


def connect(command):
    global session
    policy = blindbox.Policy(command["policy"])
    session = verifier(command).connect(command["url"], policy)
    return attested(session.attestation)


def reattest(command):
    return attested(session.reattest())


def sent(command):
    """The arguments of a request."""
    headers, content = [], None
    if "header" in command:
        headers = [(command["header"], bytes.fromhex(command["value"]))]
    if "body" in command:
        content = read(command["body"])
        if command.get("streamed"):
            content = iter([content[at : at + 65536] for at in range(0, len(content), 65536)])
    return command["method"], command["target"], {"headers": headers, "content": content}


def request(command):
    if "cancel_ms" in command:
        return asyncio.run(cancelled(command))
    method, target, options = sent(command)
    response = session.request(method, target, **options)
    outcome = {"status": response.status}
    for name in command.get("show", "").split():
        value = response.headers.get(name)
        outcome[name] = None if value is None else value.encode("latin-1").hex()
    try:
        return {**outcome, "content": response.read().hex()}
    except blindbox.AttestationError as error:
        return {**outcome, "error": described(error)}


async def cancelled(command):
    method, target, options = sent(command)
    limit = command["cancel_ms"] / 1000
    async with await verifier(command).connect_async(command["url"], blindbox.Policy(command["policy"])) as session:

        async def whole():
            response = await session.request(method, target, **options)
            return {"status": response.status, "length": len(await response.read())}

        start = time.monotonic()
        try:
            return await asyncio.wait_for(whole(), limit)
        except asyncio.TimeoutError:
            return {"cancelled": True, "milliseconds": max(0, round((time.monotonic() - start - limit) * 1000))}


def start(command):
    method, target, options = sent(command)
    threading.Thread(target=session.request, args=(method, target), kwargs=options, daemon=True).start()
    return {}


def recorded(command):
    policy = blindbox.Policy(command["policy"])
    roots = {name: read(command[name]).decode() for name in ("amd_roots", "ak_root") if name in command}
    if "directory" in command:
        documents = {entry.name: read(entry.path) for entry in os.scandir(command["directory"])}
        key_set, at = command.get("key_set"), command["at"]
        key_set = None if key_set is None else read(key_set)
    else:
        evidence = verifier(command).collect(command["url"], policy)
        documents, at = dict(evidence.documents), evidence.about["asked_at"]
        key_set = None if command.get("beside") else documents.get("key-set.json")
    at += command.get("later", 0)
    return attested(blindbox.verify_recorded(documents, policy, at=at, key_set=key_set, **roots))


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
    assert isinstance(error, getattr(blindbox, error.category.capitalize()))
    names = ("code", "number", "category", "retryable", "request_sent")
    described = {name: getattr(error, name) for name in names}
    return {**described, "name": type(error).__name__, "message": str(error), "checks": error.appraisal}


DO = {f.__name__: f for f in (connect, reattest, request, start, recorded, policy, close)}

for line in sys.stdin:
    command = json.loads(line)
    try:
        outcome = DO[command["do"]](command)
    except blindbox.AttestationError as error:
        outcome = {"error": described(error)}
    print(json.dumps(outcome), flush=True)
