"""Options that may be left out. None is not a way to leave one out: a variable without a value must not remove a requirement."""

from __future__ import annotations

from typing import Any, Mapping

from ._errors import argument


class _NotGiven:
    def __repr__(self) -> str:
        return "not given"


#: The value of an option that is left out.
NOT_GIVEN: Any = _NotGiven()


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that are given. One that is None is refused."""
    for name, value in options.items():
        if value is None:
            raise argument(f"{name}: expected a value, found None; leave out what is not meant")
    return {name: value for name, value in options.items() if value is not NOT_GIVEN}
