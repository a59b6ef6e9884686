"""The module in a host without JavaScript, wasmtime, by nothing but what the README states of its exports."""

import base64
import json
import os
import pathlib
import subprocess
import tempfile

from wasmtime import Instance, Module, Store

ATTEST = os.environ["BLINDBOX_ATTEST"]
TEN_YEARS = 10 * 365 * 86_400


class Host:
    def __init__(self, path):
        self.store = Store()
        self.exports = Instance(self.store, Module.from_file(self.store.engine, path), []).exports(self.store)

    def call(self, name, **arguments):
        """Calls an export with a JSON object, and returns the one that it returns."""
        given = json.dumps(arguments).encode()
        buffer = self.exports["bb_allocate"](self.store, len(given))
        self.exports["memory"].write(self.store, given, buffer)
        result = self.exports[f"bb_{name}"](self.store, buffer)
        length = self.exports["bb_length"](self.store, result)
        returned = bytes(self.exports["memory"].read(self.store, result, result + length))
        self.exports["bb_free"](self.store, result)
        return json.loads(returned)


def evidence(directory, *knobs):
    """Returns the arguments of verify_recorded for evidence of an emulated guest."""
    files, saved = directory / "emulator", directory / "evidence"
    with subprocess.Popen([ATTEST, "emulate", "--out", files, *knobs], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as emulator:
        url = json.loads(emulator.stdout.readline())["url"]
        roots = ["--application-root", files / "application-root.pem", "--collateral-root", files / "collateral-root.pem"]
        # What the policy does not accept is saved as well.
        subprocess.run([ATTEST, "fetch", url, "--policy", files / "policy.toml", "--out", saved, *roots], capture_output=True, timeout=120)
        emulator.stdin.close()
    encoded = {path.name: base64.b64encode(path.read_bytes()).decode() for path in saved.iterdir()}
    key_set = base64.b64encode((files / "key-set.json").read_bytes()).decode()
    at = json.loads((saved / "about.json").read_text())["asked_at"]
    return {"documents": encoded, "key_set": key_set, "policy": (files / "policy.toml").read_text(), "at": at}


def main():
    host = Host(os.environ["BLINDBOX_WASM"])
    assert "debug-mode" in [code["code"] for code in host.call("about")["ok"]["codes"]]
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        good, debug = evidence(directory / "good"), evidence(directory / "debug", "--knob", "debug")
    accepted = host.call("verify_recorded", **good)["ok"]
    assert accepted["appraisal"] and all(check["verdict"] != "failed" for check in accepted["appraisal"]), accepted
    refused = host.call("verify_recorded", **debug)
    assert refused["error"]["code"] == "debug-mode", refused["error"]
    assert "failed" in [check["verdict"] for check in refused["appraisal"]], refused
    later = host.call("verify_recorded", **{**good, "at": good["at"] + TEN_YEARS})
    assert later["error"]["code"] == "invalid-token", later["error"]
    wrong = host.call("verify_recorded", **good, unknown=1)
    assert wrong["error"]["code"] == "misconfigured", wrong["error"]
    print("the module in wasmtime: a good guest accepted, a debug one refused")


main()
