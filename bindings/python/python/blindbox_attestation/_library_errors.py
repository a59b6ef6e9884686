"""Errors that are also the exceptions of an HTTP library, so that its users catch them as they are used to."""

from __future__ import annotations

from typing import Any

from . import _errors
from ._errors import AttestationError


_made: dict[tuple[type, type], type] = {}


def as_library_error(error: AttestationError, base: type[BaseException] | None, **attributes: Any) -> AttestationError:
    """Return the same error, of a class that is also one of the library."""
    if base is None or isinstance(error, base):
        return error
    kind = type(error)
    combined: Any = _made.get((kind, base))
    if combined is None:
        facts = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": _reduce}
        combined = type(kind.__name__, (kind, base), {**facts, "_library": (base, tuple(attributes))})
        _made[kind, base] = combined
    made: AttestationError = combined.__new__(combined)
    AttestationError.__init__(made, error.message, **error._facts())
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def _reduce(error: Any) -> Any:
    # The class cannot be found by its name. What the library keeps of the request is not part of the copy: it may hold a secret.
    base, attributes = error._library
    return _restore, (_errors._restore(error.code, error.category, error.message, error._facts()), base, attributes)


def _restore(error: AttestationError, base: type[BaseException], attributes: tuple[str, ...]) -> AttestationError:
    return as_library_error(error, base, **dict.fromkeys(attributes))
