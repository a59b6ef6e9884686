"""The original client accepts the emulator's legacy agent, and the same in debug mode; this crate's refuses the latter.

What of the original client (blindbox/requests/secure_session.py, 0.2.1) shapes this test:

- The agent's address is the application's with everything behind the last ":" cut off and ":8080" put there. So the
  address must have a port ("https://host" becomes "https:8080"), must not be IPv6, and the agent must be on port 8080. It is
  put on 127.0.0.2, where hardly anything else listens.
- It has no setting for roots. The library below it takes them from REQUESTS_CA_BUNDLE, one file for the application and
  for MAA, because one session fetches both; whatever headers and credentials the application's requests have go to MAA.
- The attester is a host without a scheme, compared as a text with the token's `jku`, from which the key set is then
  fetched. `iss` is not looked at.
- The token's header is decoded with the alphabet of plain base64, in which "-" and "_" are skipped, and padded with
  `len % 4` signs, which is the wrong number for a remainder of 3; Python's decoder lets both pass. The emulator's headers, like MAA's,
  are ASCII without the characters that would need "-" or "_".
- The key is `x5c[0]`, put between PEM markers on one line; a key set without x5c, or without the token's key, ends in
  KeyError or UnboundLocalError.
- The debug claim is compared with the text "false", and refused if equal. MAA sends a boolean. So the check never fires.
- The policy file is decoded leniently, and the nonce has 16 bytes.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import warnings

import jwt

warnings.simplefilter("ignore")
from blindbox.requests.errors import InvalidEnclaveCode  # noqa: E402
from blindbox.requests.secure_session import connect  # noqa: E402

IP = "127.0.0.2"
BINARY = sys.argv[1]
SKIPPED = 75


class Emulated:
    """A running `emulate`, the files that it wrote, and what both clients say about it."""

    def __init__(self, about, directory):
        self.url = about["url"]
        self.attester = about["maa"]["endpoint"]
        self.directory = directory
        bundle = self.file("bundle.pem")
        with open(bundle, "w") as file:
            file.write(about["tls_root_pem"] + about["maa"]["tls_root_pem"])
        os.environ["REQUESTS_CA_BUNDLE"] = bundle

    def file(self, name):
        return os.path.join(self.directory, name)

    def original(self, cce_policy="cce-policy.base64"):
        """A session of the original client, or its exception."""
        return connect(self.url, self.file(cce_policy), self.attester)

    def ours(self):
        """Exit code and verdict of `blindbox-attest verify`."""
        command = [BINARY, "verify", self.url, "--json"]
        command += ["--policy", self.file("policy.toml")]
        command += ["--application-root", self.file("application-root.pem")]
        command += ["--collateral-root", self.file("collateral-root.pem")]
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=600, check=False)
        return done.returncode, json.loads(done.stdout)


@contextlib.contextmanager
def emulate(*arguments):
    with tempfile.TemporaryDirectory() as directory:
        command = [BINARY, "emulate", "--ip", IP, "--agent", "legacy", "--agent-port", "8080", "--out", directory]
        # It ends when its standard input does, so it cannot outlive this script.
        with subprocess.Popen([*command, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            try:
                line = process.stdout.readline()
                assert line, "the emulator did not start"
                yield Emulated(json.loads(line), directory)
            finally:
                process.stdin.close()
                process.wait(timeout=600)


def check(what, holds):
    print(("ok      " if holds else "FAILED  ") + what, flush=True)
    if not holds:
        sys.exit(1)


def is_debuggable(session):
    return jwt.decode(session.jwt, options={"verify_signature": False})["x-ms-sevsnpvm-is-debuggable"]


def main():
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((IP, 8080))
        except OSError:
            sys.exit(SKIPPED)

    with emulate() as box:
        session = box.original()
        check("a production guest: the original client accepts it", is_debuggable(session) is False)
        check("... and reaches the application", session.get("/").status_code == 200)
        code, verdict = box.ours()
        check("... and so does ours, unbound", code == 0 and verdict["verdict"] == "accepted")
        with open(box.file("another.base64"), "w") as file:
            file.write("YW5vdGhlciBwb2xpY3k=")
        try:
            box.original("another.base64")
            refused = False
        except InvalidEnclaveCode:
            refused = True
        check("... for which the original client refuses another CCE policy", refused)

    with emulate("--knob", "debug") as box:
        check("a debug guest: the original client accepts it", is_debuggable(box.original()) is True)
        code, verdict = box.ours()
        refused = code != 0 and verdict["verdict"] == "rejected" and verdict["error"]["code"] == "debug-mode"
        check("... and ours refuses it as debug-mode", refused)


main()
