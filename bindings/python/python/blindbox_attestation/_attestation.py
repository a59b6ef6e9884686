"""The attestation of a peer, and recorded evidence."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any, Mapping

from . import _native
from ._errors import Check, argument
from ._policy import File, Policy, read_file


class Attestation:
    """Verified evidence that a policy accepts: claims, checks and times. `str()` is a table for people."""

    __slots__ = ("fields", "_text")

    def __init__(self, fields: str, text: str | None = None) -> None:
        #: All of it, as in the JSON of the command.
        self.fields: dict[str, Any] = json.loads(fields)
        self._text = text

    @property
    def claims(self) -> dict[str, Any]:
        """The state of the TEE."""
        claims: dict[str, Any] = self.fields["claims"]
        return claims

    @property
    def appraisal(self) -> list[Check]:
        """Every check."""
        return [Check(check) for check in self.fields["appraisal"]]

    @property
    def channel(self) -> str | None:
        """How the connection is tied to the evidence: `bound`, or an unbound form; None for recorded evidence."""
        return self.fields.get("channel")

    @property
    def expires_at(self) -> datetime:
        """When it ends, in UTC."""
        return datetime.fromtimestamp(self.fields["expires_at"], timezone.utc)

    def __str__(self) -> str:
        if self._text is not None:
            return self._text
        return "\n".join(f"{check.verdict:<13}  {check.name}" for check in self.appraisal)

    def __repr__(self) -> str:
        return f"<Attestation until {self.expires_at.isoformat()}>"


class Evidence:
    """Evidence as received, by the names of the files that `blindbox-attest fetch` writes. Nothing of it is verified."""

    __slots__ = ("documents", "about", "_native")

    def __init__(self, collected: _native.Collected) -> None:
        self._native = collected
        #: The documents by name, such as `token.jwt`.
        self.documents: dict[str, bytes] = dict(collected.documents())
        #: How and when the peer was asked.
        self.about: dict[str, Any] = json.loads(collected.about())

    def verify(self, policy: Policy) -> Attestation:
        """Return the verdict of a policy on the evidence, as a record: it proves nothing about a later connection."""
        return Attestation(self._native.verify(policy._native))


def inspect(evidence: bytes | File) -> list[dict[str, Any]]:
    """Return what a file of evidence is, for display: its bytes, or its path. What it says is not verified."""
    content = evidence if isinstance(evidence, bytes) else read_file(evidence)
    found: list[dict[str, Any]] = json.loads(_native.inspect(content))
    return found


def _documents(documents: Mapping[str, bytes]) -> dict[str, Any]:
    known = {
        "token.jwt": "token",
        "report.bin": "report",
        "uvm-endorsement.cose": "uvm_endorsement",
        "runtime-data.json": "runtime_data",
        "certificates.pem": "certificates",
        "vcek.der": "certificates",
    }
    lists = ("revocation-list.der", "revocation-list-other.der", "revocation-list-maa.der")
    of_vm = ("hcl-report.bin", "tpm-quote.msg", "tpm-quote.sig", "pcrs.json", "ak-chain.pem")
    ignored = ("key-set.json", "about.json", "policy.toml")
    arguments: dict[str, Any] = {name: None for name in known.values()}
    arguments["revocation_lists"] = [documents[name] for name in lists if name in documents]
    for name, content in documents.items():
        if name in known:
            if arguments[known[name]] is not None:
                raise argument("expected either certificates.pem or vcek.der, found both")
            arguments[known[name]] = content
        elif name in of_vm:
            # Not ignored: a verdict without them could be taken for one that includes them.
            raise argument(
                f"{name}: this package does not verify the paravisor's report and the quote of a confidential VM; verify the "
                "directory with `blindbox-attest verify --evidence`"
            )
        elif name not in lists and name not in ignored:
            raise argument(f"expected the names of files that `blindbox-attest fetch` writes, found {name!r}")
    return arguments


def verify_recorded(
    documents: Mapping[str, bytes],
    policy: Policy,
    *,
    at: int,
    key_set: bytes | None = None,
    amd_roots: str | None = None,
) -> Attestation:
    """Verify recorded evidence and appraise it against a policy, for a time in seconds since 1970-01-01 UTC.

    `documents` has evidence by the names of the files that `blindbox-attest fetch` writes. `key_set` is the key set of the MAA
    instance, from elsewhere: `key-set.json` among the documents proves nothing, and is used only if the policy pins the key. The
    result proves neither freshness nor whose connection it was. The files of a confidential VM (`hcl-report.bin`, `tpm-quote.msg`,
    `tpm-quote.sig`, `pcrs.json`, `ak-chain.pem`) are refused: `blindbox-attest verify --evidence` verifies them.
    """
    beside = key_set is None
    return Attestation(
        _native.verify_recorded(
            **_documents(documents),
            key_set=documents.get("key-set.json") if beside else key_set,
            key_set_beside_evidence=beside,
            amd_roots=amd_roots,
            policy=policy._native,
            at=at,
        )
    )


def verify_unappraised(
    documents: Mapping[str, bytes],
    *,
    at: int,
    attester: str | None = None,
    key_set: bytes | None = None,
    amd_roots: str | None = None,
) -> dict[str, Any]:
    """Verify evidence without appraising it: its content is genuine, and nothing says that it is acceptable.

    `attester` is the MAA instance of the token. Returns the claims.
    """
    beside = key_set is None
    verified: dict[str, Any] = json.loads(
        _native.verify_unappraised(
            **_documents(documents),
            key_set=documents.get("key-set.json") if beside else key_set,
            key_set_beside_evidence=beside,
            amd_roots=amd_roots,
            attester=attester,
            at=at,
        )
    )
    return verified
