"""The exceptions, generated from the core's public list of codes. The stub `_errors.pyi` lists them for type checkers."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from . import _native

__all__ = ["AttestationError", "Check", "ErrorCode", "Internal", "Misconfigured", "Rejected", "Unavailable", "Untrusted", "codes"]


class Check(dict):
    """One check of an appraisal: `name`, `verdict` (passed, allowed, failed, not-evaluated), `expected`, `actual`, `why`."""

    def __getattr__(self, name: str) -> Any:
        if name in ("name", "verdict", "expected", "actual", "why"):
            return self.get(name)
        raise AttributeError(name)


class ErrorCode(NamedTuple):
    """The frozen facts about one kind of error: `name` is that of its exception, such as `DebugMode`."""

    code: str
    number: int
    category: str
    retryable: bool
    name: str


def codes() -> list[ErrorCode]:
    """Return all kinds of errors, in the order of their numbers."""
    return [ErrorCode(*facts) for facts in _native.codes()]


class AttestationError(Exception):
    """The reason why there is no attested connection. `code` and `number` never change between releases.

    `retryable` is whether the same call may succeed later without any change of settings or deployment, and `request_sent` whether the
    peer may have received the request that failed: repeat such a request only if processing it twice does no harm.

    `appraisal` has every check of genuine evidence that was rejected, else it is None. It holds values that identify a machine,
    and is not part of the message.
    """

    code = "internal"
    number = 902
    category = "internal"
    retryable = False
    request_sent = False
    appraisal: list[Check] | None = None

    def __init__(self, message: str = "", **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        for name in ("code", "number", "category", "retryable", "request_sent", "appraisal"):
            if name in facts:
                setattr(self, name, facts[name])

    def __str__(self) -> str:
        return str(self.message)

    def __reduce__(self) -> Any:
        # With a builtin exception among its bases, the default would lose everything but the message.
        return (_restore, (self.code, self.category, self.message, self._facts()))

    def _facts(self) -> dict[str, Any]:
        names = ("code", "number", "category", "retryable", "request_sent", "appraisal")
        return {name: getattr(self, name) for name in names}


class Rejected(AttestationError):
    """The evidence is genuine, but the policy does not accept it."""


class Untrusted(AttestationError):
    """The evidence is not genuine or not about this peer. Assume an attack."""


class Unavailable(AttestationError):
    """Attestation or a request could not be completed; nothing is known about the peer."""


class Misconfigured(AttestationError):
    """Settings or arguments of the caller are wrong."""


class Internal(AttestationError):
    """A fault of this library: nothing was verified."""


CATEGORIES: dict[str, type[AttestationError]] = {
    "rejected": Rejected,
    "untrusted": Untrusted,
    "unavailable": Unavailable,
    "misconfigured": Misconfigured,
    "internal": Internal,
}

# What Python users catch.
BUILTINS: dict[str, type[Exception]] = {
    "agent-unreachable": ConnectionError,
    "maa-unreachable": ConnectionError,
    "kds-unreachable": ConnectionError,
    "application-unreachable": ConnectionError,
    "timeout": TimeoutError,
}

CODES: dict[str, type[AttestationError]] = {}


def _generate() -> None:
    for code, number, category, retryable, name in codes():
        base = CATEGORIES.get(category, Internal)
        if name == base.__name__:
            CODES[code] = base
            continue
        bases: tuple[type, ...] = (base, BUILTINS[code]) if code in BUILTINS else (base,)
        facts = {
            "__doc__": f"`{code}` ({number}), {category}: see docs/errors.md.",
            "__module__": "blindbox_attestation",
            "code": code,
            "number": number,
            "category": category,
            "retryable": retryable,
        }
        made: Any = type(name, bases, facts)
        CODES[code] = made
        globals()[name] = made
        __all__.append(name)


def make(
    code: str,
    number: int,
    category: str,
    retryable: bool,
    request_sent: bool,
    message: str,
    appraisal: str | None,
) -> AttestationError:
    """Make the exception of an error. A code that is not known gets the class of its category."""
    kind = CODES.get(code) or CATEGORIES.get(category, Internal)
    checks = None if appraisal is None else [Check(check) for check in json.loads(appraisal)]
    return kind(
        message,
        code=code,
        number=number,
        category=category,
        retryable=retryable,
        request_sent=request_sent,
        appraisal=checks,
    )


def _restore(code: str, category: str, message: str, facts: dict[str, Any]) -> AttestationError:
    kind = CODES.get(code) or CATEGORIES.get(category, Internal)
    return kind(message, **facts)


_generate()
_native.set_error_factory(make)
for _category in CATEGORIES.values():
    _category.__module__ = "blindbox_attestation"
AttestationError.__module__ = Check.__module__ = ErrorCode.__module__ = codes.__module__ = "blindbox_attestation"


def argument(reason: str) -> AttestationError:
    """Make the error of an argument that cannot be used."""
    return Misconfigured(f"misconfigured: {reason}", code="misconfigured", number=404, category="misconfigured")


def boolean(name: str, value: object) -> bool:
    """Return an option that is True or False. Anything else is refused: the text "false" of a settings file is true."""
    if not isinstance(value, bool):
        raise argument(f"{name}: expected True or False, found {type(value).__name__}")
    return value
