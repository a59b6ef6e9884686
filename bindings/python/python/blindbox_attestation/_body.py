"""Bodies of requests and headers of responses."""

from __future__ import annotations

import io
import json as _json
from collections.abc import Set
from typing import Any, AsyncIterable, Iterable, Iterator, Mapping, Sequence, Tuple, TypeVar, Union
from urllib.parse import quote, urlencode, urlsplit

from ._errors import argument

Content = Union[str, bytes, bytearray, memoryview, Iterable[bytes], io.IOBase]
AsyncContent = Union[Content, AsyncIterable[bytes]]
Pairs = Union[Mapping[str, Any], Sequence[Tuple[str, Any]]]
HeaderInput = Union[Mapping[str, Union[str, bytes]], Iterable[Tuple[str, Union[str, bytes]]]]
_Value = TypeVar("_Value", bound=Union[str, bytes])


class Headers(Mapping[str, str]):
    """Headers of a response. Names are compared without case; values of repeated ones are joined by commas."""

    __slots__ = ("raw",)

    def __init__(self, raw: list[tuple[str, bytes]]) -> None:
        #: Names in lower case and values, in their order.
        self.raw = raw

    def get_list(self, name: str) -> list[str]:
        """Return every value of a header."""
        name = name.lower()
        return [value.decode("latin-1") for found, value in self.raw if found == name]

    def __getitem__(self, name: str) -> str:
        values = self.get_list(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in self.raw))

    def __len__(self) -> int:
        return len({name for name, _ in self.raw})

    def __repr__(self) -> str:
        return f"Headers({list(self)!r})"


def header_list(headers: HeaderInput | None) -> list[tuple[str, bytes]]:
    """Return headers with values as bytes. Text outside of Latin-1 is sent as UTF-8."""
    if headers is None:
        return []
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value if isinstance(value, bytes) else _encode(value)) for name, value in pairs]


def without_own_host(headers: list[tuple[str, _Value]], url: str) -> list[tuple[str, _Value]]:
    """Leave out the `Host` of the URL, which the core writes itself. It refuses one that the caller has set to another host."""
    return [(name, value) for name, value in headers if not (name.lower() == "host" and _is_host_of(value, url))]


def _is_host_of(value: str | bytes, url: str) -> bool:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    return text.strip().lower() in (host, host + {"https": ":443", "http": ":80"}.get(parts.scheme, ""))


def _encode(value: str) -> bytes:
    if not isinstance(value, str):
        raise argument(f"expected text or bytes as the value of a header, found {type(value).__name__}")
    return value.encode("utf-8")


def with_query(target: str, params: Pairs | None) -> str:
    """Append parameters to the query of a target."""
    if not params:
        return target
    pairs = list(params.items() if isinstance(params, Mapping) else params)
    query = urlencode([(name, "" if value is None else value) for name, value in pairs], doseq=True, quote_via=quote)
    return target + ("&" if "?" in target else "?") + query


class Source:
    """A request body that is read while it is sent: a file or an iterable of bytes."""

    __slots__ = ("length", "_left", "_read", "_pieces")

    def __init__(self, content: Any, length: int | None = None) -> None:
        """Take a file or an iterable; `length` is its size in bytes, if that is known."""
        self._read = getattr(content, "read", None)
        self._pieces = None if self._read is not None else iter(content)
        #: The size in bytes; None if it is not known.
        self.length = _length(content) if length is None and self._read is not None else length
        self._left = self.length

    @property
    def is_file(self) -> bool:
        """Whether reading it may wait for a disk or a pipe."""
        return self._read is not None

    def next(self) -> bytes | None:
        """Return the next piece; None at the end."""
        if self._read is None:
            for part in self._pieces or ():
                return as_bytes(part)
            return None
        # A file that grows is sent as long as it was.
        size = _PIECE if self._left is None else min(_PIECE, self._left)
        if size == 0:
            return None
        part = self._read(size)
        if part is None:
            # Nothing yet, of a file that does not block: taken for the end, it would make half of a body look whole.
            raise argument("expected a file that blocks until it has data as the body, found one in non-blocking mode")
        if isinstance(part, (str, bytes, bytearray, memoryview)) and not part:
            return None
        part = as_bytes(part)
        if self._left is not None:
            self._left -= len(part)
        return part


# How much is read of a file at a time, in bytes.
_PIECE = 64 << 10


def _length(file: Any) -> int | None:
    """The size of what is left of a binary file; None for text and for what cannot seek."""
    if isinstance(file, io.TextIOBase):
        return None
    try:
        here = file.tell()
        end = file.seek(0, io.SEEK_END)
        file.seek(here)
        return max(int(end) - int(here), 0)
    except (AttributeError, OSError, TypeError, ValueError):
        return None


def as_bytes(part: Any) -> bytes:
    """Return a piece of a body as bytes."""
    if isinstance(part, str):
        part = part.encode()
    if not isinstance(part, (bytes, bytearray, memoryview)):
        raise argument(f"expected bytes as the parts of a body, found {type(part).__name__}")
    return bytes(part)


def split(content: Any, length: int | None = None) -> tuple[bytes | None, Source | None]:
    """Return a body as bytes in memory, or as a source that is read while it is sent."""
    if content is None:
        return None, None
    if isinstance(content, (str, bytes, bytearray, memoryview)):
        return as_bytes(content), None
    if isinstance(content, (list, tuple)):
        return b"".join(map(as_bytes, content)), None
    if isinstance(content, (Mapping, Set)):
        # Iterables too, of their keys or in no order: never what was meant.
        raise argument(f"expected json= or form= for structured data, found {type(content).__name__} as the body")
    if hasattr(content, "read") or isinstance(content, Iterable):
        return None, Source(content, length)
    raise argument(f"expected text, bytes, a file or an iterable of bytes as the body, found {type(content).__name__}")


def encode(
    content: Any, json: Any, form: Pairs | None, headers: list[tuple[str, bytes]]
) -> tuple[Any, list[tuple[str, bytes]]]:
    """Choose the body among the arguments of a request, and add its content type unless there is one."""
    if sum(part is not None for part in (content, json, form)) > 1:
        raise argument("expected at most one of content, json and form")
    kind = None
    if json is not None:
        content, kind = _json.dumps(json, ensure_ascii=False, allow_nan=False).encode(), b"application/json"
    elif form is not None:
        content, kind = urlencode(form, doseq=True).encode(), b"application/x-www-form-urlencoded"
    if kind is not None and not any(name.lower() == "content-type" for name, _ in headers):
        headers = [*headers, ("content-type", kind)]
    return content, headers
