"""A program that was moved from the original Python client to the module of docs/python-client.md."""

import contextlib
import json
import os
import subprocess
import tempfile

import requests

from blindbox_proxy import DebugMode, InvalidEnclaveCode, NotAttested, connect


@contextlib.contextmanager
def emulate():
    """An emulated BlindBox: its URL, the options of a client, and what turns a knob of it."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["blindbox-attest", "emulate", "--out", directory]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                url = json.loads(process.stdout.readline())["url"]
                file = lambda name: os.path.join(directory, name)  # noqa: E731
                roots = ["--application-root", file("application-root.pem"), "--collateral-root", file("collateral-root.pem")]

                def order(text):
                    process.stdin.write(text + "\n")
                    process.stdin.flush()
                    assert json.loads(process.stdout.readline())["ok"], text

                yield url, file("policy.toml"), roots, order
            finally:
                process.stdin.close()
                process.wait(timeout=60)


def refusal(url, policy, roots):
    try:
        connect(url, policy, *roots)
    except NotAttested as error:
        return error
    raise SystemExit("a session with a peer that must be refused")


with emulate() as (url, policy, roots, order):
    with connect(url, policy, *roots, "--retry-pause", "0.01") as session:
        assert session.post("/echo", data="hello", timeout=60).text == "hello"
        assert session.get("/none", timeout=60).status_code == 404
        try:
            session.get("https://elsewhere.example/")
            raise SystemExit("a request to another address")
        except ValueError:
            pass
    order("knob debug")
    refused = refusal(url, policy, roots)
    assert type(refused) is DebugMode and refused.category == "rejected", repr(refused)
    assert isinstance(refused, requests.RequestException)
    order("reset")
    order("knob host-data=" + "77" * 32)
    assert type(refusal(url, policy, roots)) is InvalidEnclaveCode
    order("reset")
    order("fail /attest/=status:503")
    refused = refusal(url, policy, roots)
    assert type(refused) is NotAttested and (refused.code, refused.category) == ("agent-unreachable", "unavailable")
    # An option that does not exist.
    try:
        connect(url, policy, "--none")
        raise SystemExit("an option that does not exist is accepted")
    except RuntimeError as error:
        assert str(error) == "blindbox-attest ended with exit code 64", error
