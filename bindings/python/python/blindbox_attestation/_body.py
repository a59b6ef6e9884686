"""Bodies of requests and headers of responses."""

from __future__ import annotations

import io
import json as _json
from typing import Any, AsyncIterable, Iterable, Iterator, Mapping, Sequence, Tuple, Union
from urllib.parse import quote, urlencode

from ._errors import argument

Content = Union[str, bytes, bytearray, memoryview, Iterable[bytes], io.IOBase]
AsyncContent = Union[Content, AsyncIterable[bytes]]
Pairs = Union[Mapping[str, Any], Sequence[Tuple[str, Any]]]
HeaderInput = Union[Mapping[str, Union[str, bytes]], Iterable[Tuple[str, Union[str, bytes]]]]

# The largest request body: it is in memory when it is sent.
MAX_BODY = 64 << 20


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


class _Buffer:
    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: Any) -> None:
        if isinstance(part, str):
            part = part.encode()
        if not isinstance(part, (bytes, bytearray, memoryview)):
            raise argument(f"expected bytes as the parts of a body, found {type(part).__name__}")
        part = bytes(part)
        self._size += len(part)
        if self._size > MAX_BODY:
            raise argument(f"expected a request body of at most {MAX_BODY} bytes")
        self._parts.append(part)

    def whole(self) -> bytes:
        return b"".join(self._parts)


def content_bytes(content: Any) -> bytes:
    """Return a body as bytes: text, bytes, a file, or an iterable of bytes."""
    if isinstance(content, bytes) and len(content) <= MAX_BODY:
        return content
    buffer = _Buffer()
    if isinstance(content, (str, bytes, bytearray, memoryview)):
        buffer.add(content)
    elif hasattr(content, "read"):
        while True:
            part = content.read(1 << 16)
            if not part:
                break
            buffer.add(part)
    elif isinstance(content, Iterable):
        for part in content:
            buffer.add(part)
    else:
        raise argument(f"expected text, bytes, a file or an iterable of bytes as the body, found {type(content).__name__}")
    return buffer.whole()


async def content_bytes_async(content: Any) -> bytes:
    """Return a body as bytes, also from an asynchronous iterable."""
    if isinstance(content, AsyncIterable):
        buffer = _Buffer()
        async for part in content:
            buffer.add(part)
        return buffer.whole()
    return content_bytes(content)


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
