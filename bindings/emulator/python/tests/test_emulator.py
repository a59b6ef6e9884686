"""The package as it is installed."""

import importlib.metadata
import io
import pathlib
import ssl
import subprocess
import unittest
import urllib.request

import blindbox_emulator
from blindbox_emulator import Emulator


class TestEmulator(unittest.TestCase):
    def test_it_serves_until_it_is_stopped(self):
        with Emulator() as emulator:
            context = ssl.create_default_context(cafile=emulator.settings["application_roots"])
            with urllib.request.urlopen(emulator.url + "/", context=context) as response:
                self.assertEqual(response.read(), b"hello from a BlindBox")
            self.assertEqual(emulator.command("traffic")["application_requests"], 1)
            self.assertIn("version = 1", emulator.policy_text())
            directory, url = emulator.directory, emulator.url
        self.assertFalse(directory.exists())
        with self.assertRaises(OSError):
            urllib.request.urlopen(url + "/", context=context)
        emulator.stop()
        with self.assertRaisesRegex(RuntimeError, "^traffic: the emulator has ended$"):
            emulator.command("traffic")

    def test_arguments_and_commands(self):
        with Emulator("--guest", "vm", "--product", "milan", "--trust", "amd") as emulator:
            names = {"application_roots", "collateral_roots", "amd_roots", "ak_root", "kds"}
            self.assertEqual(set(emulator.settings), names)
            emulator.command("knob debug")
            with self.assertRaisesRegex(ValueError, "knob nonsense"):
                emulator.command("knob nonsense")

    def test_what_cannot_start_says_so(self):
        with self.assertRaisesRegex(RuntimeError, "did not start: .* --nonsense"):
            Emulator("--nonsense")

    def test_a_program_that_has_ended_says_so(self):
        emulator = Emulator()
        emulator._process.kill()
        emulator._process.wait()
        for _ in range(2):
            with self.assertRaisesRegex(RuntimeError, "^traffic: the emulator has ended$"):
                emulator.command("traffic")
        emulator.stop()
        self.assertFalse(emulator.directory.exists())

    def test_a_program_that_ends_within_a_line_says_so(self):
        emulator = Emulator()
        stdout = emulator._process.stdout
        emulator._process.stdout = io.BytesIO(b'{"ok":tr')
        with self.assertRaisesRegex(RuntimeError, "^traffic: the emulator has ended$"):
            emulator.command("traffic")
        stdout.close()
        emulator.stop()
        self.assertFalse(emulator.directory.exists())

    def test_the_package_is_the_one_that_is_installed(self):
        self.assertIn("site-packages", pathlib.Path(blindbox_emulator.__file__).parts)

    def test_the_program_has_the_version_of_the_package(self):
        printed = subprocess.run([blindbox_emulator.program(), "--version"], check=True, capture_output=True, text=True)
        self.assertEqual(printed.stdout, f"blindbox-attest {blindbox_emulator.__version__}\n")
        self.assertEqual(importlib.metadata.version("blindbox-emulator"), blindbox_emulator.__version__)


if __name__ == "__main__":
    unittest.main()
