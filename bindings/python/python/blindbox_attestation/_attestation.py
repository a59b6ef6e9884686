"""The attestation of a peer, and recorded evidence."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from math import floor
from typing import Any, Mapping

from . import _native
from ._errors import Check, argument
from ._given import NOT_GIVEN, given
from ._policy import File, Policy
from ._settings import content, text


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
    found: list[dict[str, Any]] = json.loads(_native.inspect(content("evidence", evidence)))
    return found


def _recorded(documents: Mapping[str, bytes], at: datetime | int, **others: File | bytes) -> dict[str, Any]:
    """What crosses into the core, which knows the names of files."""
    replaced = given(others)
    key_set = content("key_set", replaced.pop("key_set")) if "key_set" in replaced else None
    roots = {name: text(name, replaced[name]) if name in replaced else None for name in ("amd_roots", "ak_root")}
    return {"documents": list(documents.items()), "at": _seconds(at), "key_set": key_set, **roots}


def _seconds(at: datetime | int) -> int:
    """A time of the evidence in whole seconds."""
    if isinstance(at, datetime):
        if at.utcoffset() is None:
            raise argument("at: expected a datetime with its time zone, found one without")
        at = floor(at.timestamp())
    if isinstance(at, bool) or not isinstance(at, int) or not 0 <= at < 1 << 64:
        raise argument(f"at: expected a datetime, or whole seconds since 1970-01-01 UTC, found {at!r}")
    return at


def verify_recorded(
    documents: Mapping[str, bytes],
    policy: Policy,
    *,
    at: datetime | int,
    key_set: File | bytes = NOT_GIVEN,
    amd_roots: File | bytes = NOT_GIVEN,
    ak_root: File | bytes = NOT_GIVEN,
) -> Attestation:
    """Verify recorded evidence and appraise it against a policy, for a time: a datetime, or seconds since 1970-01-01 UTC.

    `documents` has evidence by the names of the files that `blindbox-attest fetch` writes, those of a confidential VM included. The
    policy and the notes about the request (`policy.toml`, `about.json`) may be among them, and are not read. `key_set` is the key
    set of the MAA instance, from elsewhere: `key-set.json` among the documents proves nothing, and is used only if the policy pins
    the key. `amd_roots` replace AMD's roots, and `ak_root` Azure's root of virtual TPMs. The three are paths of files, or their
    content as bytes, as in `Settings`. The result proves neither freshness nor whose connection it was.
    """
    recorded = _recorded(documents, at, key_set=key_set, amd_roots=amd_roots, ak_root=ak_root)
    return Attestation(_native.verify_recorded(**recorded, policy=policy._native))


def verify_unappraised(
    documents: Mapping[str, bytes],
    *,
    at: datetime | int,
    maa_issuer: str | None = None,
    key_set: File | bytes = NOT_GIVEN,
    amd_roots: File | bytes = NOT_GIVEN,
    ak_root: File | bytes = NOT_GIVEN,
) -> dict[str, Any]:
    """Verify evidence without appraising it: its content is genuine, and nothing says that it is acceptable.

    `maa_issuer` is the MAA instance of the token, such as the one of a policy; None if there is none. The others are those of
    `verify_recorded`. Returns the claims.
    """
    recorded = _recorded(documents, at, key_set=key_set, amd_roots=amd_roots, ak_root=ak_root)
    verified: dict[str, Any] = json.loads(_native.verify_unappraised(**recorded, maa_issuer=maa_issuer))
    return verified
