"""`blindbox-attest emulate` for tests: a BlindBox, an MAA and an AMD on loopback, with real signatures."""

import json
import os
import pathlib
import subprocess

import pytest

import blindbox_attestation as blindbox

ROOT = pathlib.Path(__file__).resolve().parents[3]
BINARY = os.environ.get("BLINDBOX_ATTEST", str(ROOT / "target/debug/blindbox-attest"))


class Emulator:
    """A running `emulate`, and what a client needs to reach it."""

    def __init__(self, directory, *arguments):
        command = [BINARY, "emulate", "--out", str(directory), *arguments]
        # It ends when its standard input does, so it cannot outlive the tests.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self._process.stdout.readline()
        assert line, "the emulator did not start"
        self.about = json.loads(line)
        self.url = self.about["url"]
        self.directory = directory
        self.policy = blindbox.Policy.from_file(directory / "policy.toml")
        self.settings = {
            "application_roots": directory / "application-root.pem",
            "collateral_roots": directory / "collateral-root.pem",
        }
        if (directory / "amd-roots.pem").exists():
            self.settings["amd_roots"] = directory / "amd-roots.pem"
            self.settings["kds"] = self.about["kds"]["url"]
        if (directory / "ak-root.pem").exists():
            self.settings["ak_root"] = directory / "ak-root.pem"

    def order(self, text):
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()
        outcome = json.loads(self._process.stdout.readline())
        assert outcome["ok"], outcome
        return outcome

    def traffic(self):
        return self.order("traffic")

    def connect(self, **settings):
        return blindbox.verify_connection(self.url, self.policy, **self.settings, **settings)

    async def connect_async(self, **settings):
        return await blindbox.verify_connection_async(self.url, self.policy, **self.settings, **settings)

    def stop(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(timeout=300)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    emulator = Emulator(tmp_path_factory.mktemp("emulator"))
    yield emulator
    emulator.stop()


@pytest.fixture
def emulator(running):
    """The emulator, without knobs and faults of an earlier test."""
    running.order("reset")
    yield running
    running.order("reset")


@pytest.fixture
def session(emulator):
    with emulator.connect() as session:
        yield session


@pytest.fixture
def emulate(tmp_path):
    """Starts another emulator, with arguments."""
    started = []

    def start(*arguments):
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(Emulator(directory, *arguments))
        return started[-1]

    yield start
    for emulator in started:
        emulator.stop()
