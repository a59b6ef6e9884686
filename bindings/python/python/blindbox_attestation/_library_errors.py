"""Errors that are also the exceptions of an HTTP library, so that its users catch them as they are used to."""

from __future__ import annotations

from typing import Any

from ._errors import AttestationError


_made: dict[tuple[type, type], type] = {}


def as_library_error(error: AttestationError, base: type[BaseException] | None, **attributes: Any) -> AttestationError:
    """Return the same error, of a class that is also one of the library."""
    if base is None or isinstance(error, base):
        return error
    kind = type(error)
    combined: Any = _made.get((kind, base))
    if combined is None:
        combined = type(kind.__name__, (kind, base), {"__module__": kind.__module__, "__doc__": kind.__doc__})
        _made[kind, base] = combined
    made: AttestationError = combined.__new__(combined)
    AttestationError.__init__(made, error.message, **error._facts())
    for name, value in attributes.items():
        setattr(made, name, value)
    return made
