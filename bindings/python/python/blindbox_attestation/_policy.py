"""Policies and host data."""

from __future__ import annotations

import json
import os
from typing import Any, Iterable, Literal, Mapping, NamedTuple, Union

from . import _native
from ._errors import argument, boolean
from ._given import NOT_GIVEN, given

File = Union[str, "os.PathLike[str]"]

#: What ties a connection to the evidence.
Binding = Literal["own-key", "own-connection", "own-message-key", "none"]

# The largest policy file, as in the core; a larger one is refused before it is read whole.
_MAX_BYTES = 4 << 20


def read_file(path: File) -> bytes:
    """Read a file of at most 4 MiB."""
    with open(path, "rb") as file:
        content = file.read(_MAX_BYTES + 1)
    if len(content) > _MAX_BYTES:
        raise argument(f"{os.fspath(path)}: expected at most {_MAX_BYTES} bytes")
    return content


def read_text(path: File) -> str:
    """Read a text file in UTF-8."""
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise argument(f"{os.fspath(path)}: expected text in UTF-8") from None


class Lint(NamedTuple):
    """Something that a policy does not restrict."""

    code: str
    message: str


class HostData:
    """Host data of a container: the SHA-256 of its CCE policy."""

    __slots__ = ("_hex", "_known", "_findings")

    def __init__(self, hex: str) -> None:
        """Parse 64 hexadecimal digits."""
        self._set(_native.host_data(hex))

    def _set(self, description: str) -> None:
        described = json.loads(description)
        self._hex: str = described["host_data"]
        self._known: bool = described["known_allow_all"]
        self._findings: tuple[str, ...] | None = None
        if described["findings"] is not None:
            self._findings = tuple(described["findings"])

    @classmethod
    def from_cce_policy(cls, base64: str) -> HostData:
        """Return the host data of a container with this CCE policy, in base64 as it is deployed."""
        made = cls.__new__(cls)
        made._set(_native.cce_policy(base64))
        return made

    @classmethod
    def from_cce_policy_file(cls, path: File) -> HostData:
        """Return the host data of a container with the CCE policy in a file, in base64 as it is deployed."""
        return cls.from_cce_policy(read_text(path))

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits."""
        return self._hex

    @property
    def is_known_allow_all(self) -> bool:
        """Whether it is the digest of a published CCE policy that allows everything, which requires nothing."""
        return self._known

    @property
    def findings(self) -> tuple[str, ...] | None:
        """What the CCE policy allows that it should not; None if only the digest is known."""
        return self._findings

    def __str__(self) -> str:
        return self._hex

    def __repr__(self) -> str:
        return f"HostData({self._hex!r})"

    def __eq__(self, other: object) -> bool:
        return self._hex == other._hex if isinstance(other, HostData) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._hex)


class Policy:
    """What must be proven. A policy that exists can be used: it was checked when it was made.

    `docs/policy.md` describes every field.
    """

    __slots__ = ("_native",)

    def __init__(self, text: str) -> None:
        """Parse a policy file: JSON if it begins with a brace, otherwise TOML."""
        self._native = _native.Policy(text)

    @classmethod
    def from_file(cls, path: File) -> Policy:
        """Read a policy file."""
        return cls(read_text(path))

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Policy:
        """Make a policy from the fields of a policy file."""
        return cls(json.dumps(fields))

    @classmethod
    def confidential_container(
        cls,
        *,
        host_data: HostData | str | Iterable[HostData | str],
        minimum_svn: int,
        binding: Binding,
        maa: str = NOT_GIVEN,
        amd: bool = False,
        maa_policy_hash: str = NOT_GIVEN,
        allow_test_attester: bool = False,
        uvm_issuer: str = NOT_GIVEN,
        require: Mapping[str, Any] = NOT_GIVEN,
        allow: Mapping[str, bool] = NOT_GIVEN,
    ) -> Policy:
        """Make a policy for a confidential container.

        `maa` is the MAA instance that judges the evidence, such as `https://sharedneu.neu.attest.azure.net`; `amd` verifies the
        hardware report down to AMD's root; either or both. `binding` is your assertion about what the workload attests, which
        evidence cannot show: only its own TLS key (`own-key`), or each connection (`own-connection`), or its own key of sealed
        messages (`own-message-key`, behind a front end that ends TLS). With `none` the channel is not bound, and `allow` needs
        `unbound-channel`. `require` and `allow` are the tables of a policy file. `amd` and `allow_test_attester` are True or False,
        and nothing that only counts as such; no option is None.
        """
        options = given(
            {
                "binding": binding,
                "maa": maa,
                "maa_policy_hash": maa_policy_hash,
                "uvm_issuer": uvm_issuer,
                "require": require,
                "allow": allow,
            }
        )
        amd = boolean("amd", amd)
        allow_test_attester = boolean("allow_test_attester", allow_test_attester)
        trust: dict[str, Any] = {}
        if "maa" in options:
            trust["maa"] = {"issuer": maa}
            if "maa_policy_hash" in options:
                trust["maa"]["policy-hash"] = maa_policy_hash
            if allow_test_attester:
                trust["maa"]["allow-test-attester"] = True
        elif "maa_policy_hash" in options or allow_test_attester:
            raise argument("maa_policy_hash and allow_test_attester need maa, the instance that they are about")
        if amd:
            trust["amd"] = {}
        digests = [host_data] if isinstance(host_data, (str, HostData)) else list(host_data)
        uvm: dict[str, Any] = {"minimum-svn": minimum_svn}
        if "uvm_issuer" in options:
            uvm["issuer"] = uvm_issuer
        fields: dict[str, Any] = {
            "version": 1,
            "kind": "confidential-container",
            "trust": trust,
            "workload": {
                "binding": binding,
                "host-data": [str(digest) for digest in digests],
            },
            "uvm": uvm,
        }
        if "require" in options:
            fields["require"] = dict(require)
        if "allow" in options:
            fields["allow"] = dict(allow)
        return cls.from_dict(fields)

    def to_toml(self) -> str:
        """Return the policy as TOML."""
        return self._native.to_toml()

    def to_json(self) -> str:
        """Return the policy as JSON."""
        return self._native.to_json()

    @property
    def digest(self) -> str:
        """The SHA-256 of the policy: two policies have the same one exactly if they require the same."""
        return self._native.digest()

    @property
    def maa_issuer(self) -> str | None:
        """The trusted MAA instance; None under AMD trust alone."""
        return self._native.maa_issuer()

    def lint(self) -> list[Lint]:
        """Return what the policy does not restrict, the most severe first."""
        return [Lint(found["code"], found["message"]) for found in json.loads(self._native.lint())]

    def __repr__(self) -> str:
        return f"Policy({self.to_json()!r})"

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Policy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> Any:
        return (Policy, (self.to_json(),))
