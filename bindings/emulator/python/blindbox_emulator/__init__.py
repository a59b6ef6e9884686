"""An emulated BlindBox, MAA and, on request, AMD on loopback, with real signatures: for tests of programs that attest.

    from blindbox_emulator import Emulator

    with Emulator("--knob", "debug") as emulator:
        blindbox_attestation.verify_connection(emulator.url, emulator.policy(), **emulator.settings)   # DebugMode

The arguments are those of `blindbox-attest emulate`. Its evidence proves nothing: never use its roots outside of tests.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
from typing import Any

__all__ = ["Emulator", "program"]
__version__ = "0.1.0"


def program() -> pathlib.Path:
    """Return the path of the program `blindbox-attest`, which has the emulator."""
    return pathlib.Path(__file__).resolve().parent / "bin" / "blindbox-attest"


class Emulator:
    """A running emulator on ports that the system chose. It ends with `stop`, at the end of `with`, and with this process."""

    def __init__(self, *arguments: str) -> None:
        #: Its files: `policy.toml`, roots, the CCE policy, the key set.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="blindbox-"))
        command = [str(program()), "emulate", "--out", str(self.directory), *arguments]
        # It ends when its standard input does, so it cannot outlive this process.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            #: What it printed when it was ready.
            self.about: dict[str, Any] = json.loads(self._line())
        except ValueError:
            self.stop()
            raise RuntimeError(f"the emulator did not start: {' '.join(command)}") from None
        #: Where the emulated BlindBox is.
        self.url: str = self.about["url"]

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a verifier with which a client trusts the emulator, by their names in the package blindbox-attestation."""
        names = ("application-root", "collateral-root", "amd-roots", "ak-root")
        members = ("application_roots", "collateral_roots", "amd_roots", "ak_root")
        paths = {member: self.directory / f"{name}.pem" for name, member in zip(names, members)}
        settings = {member: str(path) for member, path in paths.items() if path.exists()}
        if self.about.get("kds"):
            settings["kds"] = self.about["kds"]["url"]
        return settings

    def policy_text(self) -> str:
        """Return the text of a policy that accepts the emulated guest."""
        return (self.directory / "policy.toml").read_text(encoding="utf-8")

    def policy(self) -> Any:
        """Return that policy as a `Policy` of the package blindbox-attestation, which must be installed."""
        import blindbox_attestation

        return blindbox_attestation.Policy(self.policy_text())

    def command(self, text: str) -> dict[str, Any]:
        """Send a command, such as `knob debug`, `fail /attest/=hang`, `reset` or `traffic`, and return its outcome."""
        assert self._process.stdin is not None
        # Where it cannot be written, there is no outcome either. The pipe of one that was stopped is closed (ValueError).
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(text.encode() + b"\n")
            self._process.stdin.flush()
        line = self._line()
        if not line.endswith(b"\n"):
            raise RuntimeError(f"{text}: the emulator has ended")
        outcome: dict[str, Any] = json.loads(line)
        if outcome.get("ok") is not True:
            raise ValueError(f"{text}: {outcome}")
        return outcome

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return b"" if self._process.stdout.closed else self._process.stdout.readline()

    def stop(self) -> None:
        """End it and remove its files. May be called again."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                # What was not written is lost with the program that it was for.
                with contextlib.suppress(OSError):
                    stream.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Emulator:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
