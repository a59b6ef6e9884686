"""Policies, host data, recorded evidence, inspection."""

import functools
import json
import pickle
from datetime import datetime, timedelta, timezone

import pytest

import blindbox_attestation as blindbox


def test_policies(emulator):
    policy = emulator.policy
    for same in (
        blindbox.Policy(policy.to_toml()),
        blindbox.Policy(policy.to_json()),
        pickle.loads(pickle.dumps(policy)),
    ):
        assert same == policy and same.digest == policy.digest and hash(same) == hash(policy)
    assert policy.maa_issuer == emulator.about["maa"]["endpoint"] or policy.maa_issuer.startswith("https://")
    made = blindbox.Policy.confidential_container(
        host_data=emulator.about["host_data"],
        minimum_svn=101,
        binding="own-key",
        maa="https://sharedneu.neu.attest.azure.net",
    )
    with pytest.raises(TypeError, match="binding"):
        # An assertion that nothing can check is the caller's to make.
        blindbox.Policy.confidential_container(host_data="5a" * 32, minimum_svn=101)
    assert made != policy
    unbound = blindbox.Policy.confidential_container(
        host_data=blindbox.HostData(emulator.about["host_data"]),
        minimum_svn=101,
        maa="https://sharedneu.neu.attest.azure.net",
        binding="none",
        allow={"unbound-channel": True},
    )
    assert unbound.lint()[0].code == "channel-not-bound"
    with pytest.raises(blindbox.InvalidPolicy, match="line 1"):
        blindbox.Policy("kind = 1")
    with pytest.raises(blindbox.InvalidPolicy):
        blindbox.Policy.from_dict({"versoin": 1})


def test_host_data(emulator):
    host_data = blindbox.HostData.from_cce_policy_file(emulator.directory / "cce-policy.base64")
    assert str(host_data) == emulator.about["host_data"] and host_data == blindbox.HostData(host_data.hex)
    assert not host_data.is_known_allow_all and host_data.findings is not None
    known = "73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20"
    assert blindbox.HostData(known).is_known_allow_all
    for make, wrong in ((blindbox.HostData, "5a"), (blindbox.HostData.from_cce_policy, "?")):
        with pytest.raises(blindbox.Misconfigured):
            make(wrong)


def test_recorded_evidence(emulator):
    evidence = blindbox.Verifier(**emulator.settings).collect(emulator.url, emulator.policy)
    accepted = evidence.verify(emulator.policy)
    assert accepted.channel is None and accepted.claims and accepted.appraisal
    at = evidence.about["asked_at"]
    key_set = (emulator.directory / "key-set.json").read_bytes()
    record = blindbox.verify_recorded(evidence.documents, emulator.policy, at=at, key_set=key_set)
    assert [check.name for check in record.appraisal]
    with pytest.raises(blindbox.KeySetNotAuthenticated):
        blindbox.verify_recorded(evidence.documents, emulator.policy, at=at)
    with pytest.raises(blindbox.InvalidToken):
        blindbox.verify_recorded(evidence.documents, emulator.policy, at=at + 10 * 365 * 86400, key_set=key_set)
    with pytest.raises(blindbox.Misconfigured, match="token.jwx"):
        blindbox.verify_recorded({"token.jwx": b""}, emulator.policy, at=at)
    named = {"key_set": emulator.directory / "key-set.json"}
    when = datetime.fromtimestamp(at + 0.5, timezone(timedelta(hours=-7)))
    assert blindbox.verify_recorded(evidence.documents, emulator.policy, at=when, **named).fields == record.fields
    for wrong in (datetime.fromtimestamp(at), float(at), True, -1, 1 << 64, str(at)):
        with pytest.raises(blindbox.Misconfigured, match="^misconfigured: at: expected a datetime"):
            blindbox.verify_recorded(evidence.documents, emulator.policy, at=wrong, **named)
    claims = blindbox.verify_unappraised(evidence.documents, at=at, maa_issuer=emulator.policy.maa_issuer, key_set=key_set)
    assert claims["claims"]["snp"]
    tampered = dict(evidence.documents, **{"token.jwt": evidence.documents["token.jwt"][:-8] + b"AAAAAAAA"})
    with pytest.raises(blindbox.InvalidToken):
        blindbox.verify_recorded(tampered, emulator.policy, at=at, key_set=key_set)


def test_inspect(emulator):
    evidence = blindbox.Verifier(**emulator.settings).collect(emulator.url, emulator.policy)
    (found,) = blindbox.inspect(evidence.documents["token.jwt"])
    assert (found["kind"], found["verified"]) == ("token", False)
    (found,) = blindbox.inspect(emulator.directory / "key-set.json")
    assert found["kind"] == "key-set"
    with pytest.raises(blindbox.Misconfigured):
        blindbox.inspect(b"nothing")


@pytest.mark.parametrize(
    "settings",
    [
        {"deadline": 0},
        {"deadline": float("nan")},
        {"agent": "nonsense"},
        {"collateral_roots": b"nonsense"},
        {"collateral_roots": b"x", "platform_collateral_roots": True},
        {"resolve": {"a.example": "nowhere"}},
    ],
)
def test_settings_that_cannot_be_used(settings):
    with pytest.raises(blindbox.Misconfigured):
        blindbox.Verifier(**settings)


@pytest.mark.parametrize("wrong", ["false", "true", "no", 0, 1, None])
def test_options_that_only_count_as_true_or_false_are_refused(wrong):
    options = {"host_data": "5a" * 32, "minimum_svn": 101, "maa": "https://sharedneu.neu.attest.azure.net"}
    options["binding"] = "own-key"
    for name in ("amd", "allow_test_attester"):
        with pytest.raises(blindbox.Misconfigured, match=f"{name}: expected True or False"):
            blindbox.Policy.confidential_container(**{**options, name: wrong})
    with pytest.raises(blindbox.InvalidPolicy):
        blindbox.Policy.confidential_container(**options, allow={"debug": wrong})
    with pytest.raises(blindbox.Misconfigured, match="platform_collateral_roots: expected (True or False|a value)"):
        blindbox.Verifier(platform_collateral_roots=wrong)


@pytest.mark.parametrize("name", ["maa", "maa_policy_hash", "uvm_issuer", "require", "allow", "binding"])
def test_a_variable_without_a_value_requires_nothing_less(name):
    options = {"host_data": "5a" * 32, "minimum_svn": 101, "binding": "own-key", "amd": True}
    options["maa"] = "https://sharedneu.neu.attest.azure.net"
    blindbox.Policy.confidential_container(**options)
    with pytest.raises(blindbox.Misconfigured, match=f"{name}: expected a value, found None"):
        blindbox.Policy.confidential_container(**{**options, name: None})


@pytest.mark.parametrize("name", ["deadline", "request_timeout", "application_roots", "key_set", "proxy", "resolve", "cache_dir"])
def test_a_setting_without_a_value_is_refused(name):
    with pytest.raises(blindbox.Misconfigured, match=f"{name}: expected a value, found None"):
        blindbox.Verifier(**{name: None})


def test_every_binding_is_one_word_of_a_policy():
    options = {"host_data": "5a" * 32, "minimum_svn": 101, "maa": "https://sharedneu.neu.attest.azure.net"}
    for binding in ("own-key", "own-connection", "own-message-key"):
        made = blindbox.Policy.confidential_container(**options, binding=binding)
        assert f'binding = "{binding}"' in made.to_toml()
    with pytest.raises(blindbox.InvalidPolicy, match="expected one of `own-key`"):
        blindbox.Policy.confidential_container(**options, binding="own")


def test_the_files_of_a_confidential_vm_are_verified(emulate):
    emulator = emulate("--guest", "vm", "--product", "milan", "--trust", "amd")
    evidence = blindbox.Verifier(**emulator.settings).collect(emulator.url, emulator.policy)
    of_vm = ("hcl-report.bin", "tpm-quote.msg", "tpm-quote.sig", "pcrs.json", "ak-chain.pem")
    assert all(evidence.documents[name] for name in of_vm)
    roots = {name: emulator.settings[name] for name in ("amd_roots", "ak_root")}

    def verify(documents):
        return blindbox.verify_recorded(documents, emulator.policy, at=evidence.about["asked_at"], **roots)

    # What `fetch` writes beside them is accepted and not read.
    accepted = verify({**evidence.documents, "about.json": b"{}", "policy.toml": b""})
    assert {"tpm quote", "ak certificate"} <= {check.name for check in accepted.appraisal}
    at = evidence.about["asked_at"]
    contents = {name: path.read_bytes() for name, path in roots.items()}
    assert blindbox.verify_recorded(evidence.documents, emulator.policy, at=at, **contents).fields == accepted.fields
    # Text is a path, as in the settings of a verifier, and None does not stand for the roots that are built in.
    for name, content in contents.items():
        for call in (blindbox.Verifier, functools.partial(blindbox.verify_unappraised, evidence.documents, at=at)):
            with pytest.raises(OSError):
                call(**{name: content.decode()})
            with pytest.raises(blindbox.Misconfigured, match=f"{name}: expected a value, found None"):
                call(**{name: None})
            with pytest.raises(blindbox.Misconfigured, match=f"{name}: expected a path, or the content as bytes, found int"):
                call(**{name: 1})
    for name, refused in (
        ("hcl-report.bin", blindbox.InvalidHclReport),
        ("tpm-quote.sig", blindbox.InvalidTpmQuote),
        ("pcrs.json", blindbox.InvalidTpmQuote),
        ("ak-chain.pem", blindbox.InvalidAkCertificate),
    ):
        content = bytearray(evidence.documents[name])
        if name.endswith((".bin", ".sig")):
            content[-1] ^= 1
        elif name == "pcrs.json":
            content = json.dumps([digest[::-1] for digest in json.loads(content)]).encode()
        else:
            content = content[: content.index(b"-----END") + 26]
        with pytest.raises(refused):
            verify({**evidence.documents, name: bytes(content)})
    with pytest.raises(blindbox.Misconfigured, match="only a part"):
        verify({name: content for name, content in evidence.documents.items() if name != "pcrs.json"})
