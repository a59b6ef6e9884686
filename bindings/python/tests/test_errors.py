"""Exceptions."""

import copy
import json
import logging
import pickle
import threading
import time
import traceback

import pytest

import blindbox_attestation as blindbox
from blindbox_attestation import _errors, _native, _version


def test_there_is_a_class_for_each_code():
    assert blindbox.codes() == _native.codes()
    assert blindbox.codes()[0] == blindbox.ErrorCode("debug-mode", 101, "rejected", False, "DebugMode")
    for code, number, category, retryable, name in blindbox.codes():
        made = _errors.make(code, number, category, retryable, False, "the reason", None)
        assert type(made) is getattr(blindbox, name)
        assert isinstance(made, _errors.CATEGORIES[category]) and isinstance(made, blindbox.AttestationError)
        assert (made.code, made.number, made.category, made.retryable) == (code, number, category, retryable)
        assert str(made) == "the reason"


def test_a_code_of_a_newer_core_has_the_class_of_its_category():
    made = _errors.make("new-check", 199, "rejected", False, False, "new", "[]")
    assert type(made) is blindbox.Rejected and made.code == "new-check" and made.appraisal == []


def test_the_stub_lists_them(request):
    import stub

    assert stub.PATH.read_text() == stub.text(), "run tests/stub.py"


def test_a_rejection_has_its_checks_but_not_in_its_message(emulator):
    emulator.order("knob debug")
    with pytest.raises(blindbox.DebugMode) as caught:
        emulator.connect()
    error = caught.value
    assert (error.code, error.number, error.category) == ("debug-mode", 101, "rejected")
    failed = [check for check in error.appraisal if check.verdict == "failed"]
    assert len(failed) == 1 and failed[0].expected and failed[0].actual
    assert emulator.traffic()["application_bytes"] == 0


def test_values_that_identify_a_machine_are_in_no_message(emulate):
    emulator = emulate("--product", "milan")
    with emulator.connect() as session:
        chip = session.attestation.claims["snp"]["chip_id"]
        assert len(chip) == 128
    fields = dict(json.loads(emulator.policy.to_json()), require={"chip-ids": [chip[::-1]]})
    emulator.policy = blindbox.Policy.from_dict(fields)
    with pytest.raises(blindbox.WrongChip) as caught:
        emulator.connect()
    assert any(check.actual == chip for check in caught.value.appraisal)
    for error in (caught.value, copy.copy(caught.value), pickle.loads(pickle.dumps(caught.value))):
        assert (type(error), error.code, error.number) == (blindbox.WrongChip, "wrong-chip", caught.value.number)
        assert any(check.actual == chip for check in error.appraisal)
        report = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        for shown in (str(error), repr(error), repr(error.args), f"{error!r:>200}", report):
            assert chip not in shown


@pytest.mark.parametrize(
    "knob, name, category",
    [
        ("no-compliance-status", "NonCompliantUvm", "Rejected"),
        ("host-data=" + "66" * 32, "InvalidEnclaveCode", "Rejected"),
        ("uvm-svn=1", "UvmTooOld", "Rejected"),
        ("token-bad-signature", "InvalidToken", "Untrusted"),
        ("old-nonce", "FalseAttestationReport", "Untrusted"),
        ("token-issuer=https://evil.example", "WrongAttester", "Untrusted"),
        ("no-token", "MaaTokenNotFound", "Unavailable"),
    ],
)
def test_refusals(emulator, knob, name, category):
    before = emulator.traffic()["application_bytes"]
    emulator.order("knob " + knob)
    with pytest.raises(getattr(blindbox, name)) as caught:
        emulator.connect()
    assert isinstance(caught.value, getattr(blindbox, category))
    assert emulator.traffic()["application_bytes"] == before


def test_exceptions_survive_pickling(emulator):
    emulator.order("knob debug")
    with pytest.raises(blindbox.DebugMode) as caught:
        emulator.connect()
    pickled = pickle.loads(pickle.dumps(caught.value))
    assert type(pickled) is blindbox.DebugMode and str(pickled) == str(caught.value)
    assert pickled.appraisal == caught.value.appraisal
    made = _errors.make("application-unreachable", 305, "unavailable", True, True, "broken", None)
    pickled = pickle.loads(pickle.dumps(made))
    assert type(pickled) is blindbox.ApplicationUnreachable and pickled.request_sent and str(pickled) == "broken"


def test_an_application_that_is_not_there():
    policy = blindbox.Policy.confidential_container(
        host_data="5a" * 32, minimum_svn=101, binding="own-key", maa="https://sharedneu.neu.attest.azure.net"
    )
    with pytest.raises(ConnectionError) as caught:
        blindbox.verify_connection("https://127.0.0.1:1", policy)
    assert caught.value.code == "application-unreachable" and caught.value.retryable
    with pytest.raises(blindbox.InvalidUrl):
        blindbox.verify_connection("nonsense", policy)


def test_events_go_to_logging(emulator, caplog):
    caplog.set_level(logging.INFO, "blindbox_attestation")
    blindbox.enable_logging("info")
    try:
        emulator.order("knob debug")
        with pytest.raises(blindbox.DebugMode):
            emulator.connect()
        until = time.monotonic() + 300
        while not any("debug-mode" in record.getMessage() for record in caplog.records):
            assert time.monotonic() < until, caplog.records
            time.sleep(0.01)
    finally:
        blindbox.enable_logging("off")
    with pytest.raises(blindbox.Misconfigured):
        blindbox.enable_logging("loud")


@pytest.mark.parametrize("raised", [ValueError, SystemExit])
def test_a_filter_that_raises_does_not_end_the_events(emulator, caplog, monkeypatch, raised):
    caplog.set_level(logging.INFO, "blindbox_attestation")
    reported, second = [], threading.Event()

    def broken(record):
        if not reported:
            raise raised("a filter")
        second.set()

    monkeypatch.setattr(threading, "excepthook", lambda hooked: reported.append(hooked.exc_type))
    logger = logging.getLogger("blindbox_attestation")
    logger.addFilter(broken)
    until = time.monotonic() + 300
    try:
        while not second.is_set():
            assert time.monotonic() < until, reported
            # Again, where the thread has ended.
            blindbox.enable_logging("info")
            emulator.connect().close()
    finally:
        blindbox.enable_logging("off")
        logger.removeFilter(broken)
    assert reported == [raised]


def test_a_native_part_of_another_version_is_refused():
    assert blindbox.__version__ == _native.__version__
    _version.check(blindbox.__version__)
    with pytest.raises(ImportError, match=r"found a native part of version 0\.0\.1: install it again$"):
        _version.check("0.0.1")
