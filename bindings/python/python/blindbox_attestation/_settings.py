"""Settings of a verifier, and how the core reads them."""

from __future__ import annotations

import json
import os
from typing import Any, Mapping, TypedDict

from ._errors import argument, boolean
from ._given import given
from ._policy import File, read_file


class Settings(TypedDict, total=False):
    """Settings of a verifier. Roots and key sets are paths of files, or their content as bytes; times are in seconds.

    None of them relaxes a check, and none is None. Roots that are given replace the built-in ones. `docs/trust.md` and
    `docs/faults.md` describe each.
    """

    deadline: float
    request_timeout: float
    application_roots: File | bytes
    extra_application_roots: File | bytes
    collateral_roots: File | bytes
    platform_collateral_roots: bool
    key_set: File | bytes
    amd_roots: File | bytes
    ak_root: File | bytes
    agent: str
    proxy: str
    resolve: Mapping[str, str]
    front_end_headers: Mapping[str, str]
    kds: str
    thim: str
    cache_dir: File


def of_core(settings: Settings) -> str:
    """Return settings as the core reads them."""
    unknown = sorted(settings.keys() - Settings.__optional_keys__)
    if unknown:
        # As a function without such a parameter.
        raise TypeError(f"there is no setting {unknown[0]!r}")
    return json.dumps(dict(_core(name, value) for name, value in given(settings).items()))


_MATERIAL = frozenset(
    ["application_roots", "extra_application_roots", "collateral_roots", "key_set", "amd_roots", "ak_root"]
)


def _core(name: str, value: Any) -> tuple[str, Any]:
    """A setting as the core reads it: its name, and its value."""
    if name in ("deadline", "request_timeout"):
        return f"{name}_ms", _milliseconds(name, value)
    if name in _MATERIAL:
        return name, text(name, value)
    if name == "platform_collateral_roots":
        return name, boolean(name, value)
    if name in ("resolve", "front_end_headers"):
        return name, dict(value)
    if name == "cache_dir":
        return name, os.fspath(value)
    return name, value


def _milliseconds(name: str, seconds: float) -> int:
    if not 0.001 <= seconds <= 1e9:
        raise argument(f"{name}: expected 0.001 to 1000000000 seconds, found {seconds}")
    return round(seconds * 1000)


def content(name: str, value: File | bytes) -> bytes:
    """Return certificates or a key set, which are a path, or their content as bytes."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, (str, os.PathLike)):
        return read_file(value)
    raise argument(f"{name}: expected a path, or the content as bytes, found {type(value).__name__}")


def text(name: str, value: File | bytes) -> str:
    """Return the same as text."""
    # DER is not text; the core says what it expects.
    return content(name, value).decode("utf-8", "replace")
