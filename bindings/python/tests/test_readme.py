"""The examples of the README, as they stand."""

import functools
import pathlib
import re

import pytest
from conftest import BINARY, ROOT, Emulator

import blindbox_attestation as blindbox
import blindbox_attestation.requests

README = (ROOT / "bindings/python/README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)


@pytest.fixture
def my_app(tmp_path, monkeypatch):
    """An emulator that is https://my-app.example, whose policy is in the current directory."""
    emulator = Emulator(tmp_path, "--host", "my-app.example")
    address = "127.0.0.1:" + emulator.url.rpartition(":")[2]
    connect = functools.partial(blindbox.verify_connection, resolve={"my-app.example": address}, **emulator.settings)
    for module in (blindbox, blindbox_attestation.requests):
        monkeypatch.setattr(module, "verify_connection", connect)
    monkeypatch.chdir(tmp_path)
    yield emulator
    emulator.stop()


def test_the_examples_run(my_app, capsys):
    names = {}
    printed = []
    for block in BLOCKS:
        exec(compile(block, "README.md", "exec"), names)
        printed.append(capsys.readouterr().out)
    assert printed == ['{"text":"a response to: hi"}', "{'text': 'a response to: hi'}\n", ""]
    assert str(names["client"].base_url) == "https://my-app.example/v1/"


def test_the_example_of_a_refusal_prints_it(my_app, capsys):
    my_app.order("knob debug")
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("debug-mode 101 [{") and "'verdict': 'failed'" in printed


def test_the_example_of_the_emulator_runs(monkeypatch, capsys):
    package = ROOT / "bindings/emulator"
    monkeypatch.syspath_prepend(package / "python")
    import blindbox_emulator

    # The package has the program only once it is built.
    monkeypatch.setattr(blindbox_emulator, "program", lambda: pathlib.Path(BINARY))
    [block] = re.findall(r"^```python\n(.*?)^```$", (package / "README.md").read_text(), re.M | re.S)
    exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out == "0\n"
