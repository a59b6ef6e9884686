"""Responses, whose bodies are pulled: nothing is read ahead but a small body that came with the head."""

from __future__ import annotations

import codecs
import json as _json
import re
from types import TracebackType
from typing import Any, AsyncIterator, Iterator

from . import _native
from ._body import Headers
from ._errors import AttestationError, argument
from ._lines import Lines
from ._upload import Upload, started

_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)


class StatusError(Exception):
    """The status of a response is that of an error: 400 or above."""

    def __init__(self, response: _Common) -> None:
        super().__init__(f"status {response.status} of {response.url}")
        #: The response.
        self.response = response


class _Common:
    __slots__ = ("_native", "_content", "_rest", "_ended", "_given", "_headers")

    def __init__(self, native: _native.Response) -> None:
        self._native = native
        self._content: bytes | None = None
        early, complete = native.early()
        # What came with the head and was not returned yet.
        self._rest = early
        self._ended = complete
        # Whether a piece of the body was returned: what is left is then not the whole of it.
        self._given = False
        self._headers: Headers | None = None

    @property
    def status(self) -> int:
        """The status; those of errors and redirects are responses like any other."""
        return self._native.status

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    @property
    def headers(self) -> Headers:
        """The headers."""
        if self._headers is None:
            self._headers = Headers(self._native.headers)
        return self._headers

    @property
    def url(self) -> str:
        """The URL of the request, against which a relative `Location` is read."""
        return self._native.url

    @property
    def http_version(self) -> str:
        """`HTTP/1.1` or `HTTP/2`."""
        return self._native.version

    @property
    def encoding(self) -> str:
        """The encoding of the text, from the content type; UTF-8 unless it names one that is known."""
        found = _CHARSET.search(self.headers.get("content-type", ""))
        try:
            return codecs.lookup(found.group(1)).name if found else "utf-8"
        except LookupError:
            return "utf-8"

    def raise_for_status(self) -> None:
        """Raise `StatusError` if the status is 400 or above."""
        if not self.ok:
            raise StatusError(self)

    def _text(self, content: bytes) -> str:
        return content.decode(self.encoding, "replace")

    def _take_early(self) -> bytes:
        # Also the check that this process received it.
        self._native.early()
        early, self._rest = self._rest, b""
        return early

    def _check_unread(self) -> None:
        if self._given:
            raise argument("the body was read before, in pieces, at least in part: what is left is not the whole")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status}>"


class Response(_Common):
    """A response. Its body is read once: whole, in pieces, or by lines."""

    __slots__ = ()

    def iter_bytes(self, *, timeout: float | None = None) -> Iterator[bytes]:
        """Give the body in pieces as they arrive; `timeout` limits the wait for each, in seconds.

        A body that breaks off raises, and never looks like one that has ended. A second call goes on where the first one stopped;
        the body cannot be read whole then.
        """
        if self._content is not None:
            if self._content:
                yield self._content
            return
        for piece in self._pull(timeout):
            self._given = True
            yield piece

    def _pull(self, timeout: float | None = None) -> Iterator[bytes]:
        early = self._take_early()
        if early:
            yield early
        while not self._ended:
            piece = self._native.chunk(timeout)
            if piece is None:
                self._ended = True
            elif piece:
                yield piece

    def iter_lines(self, *, timeout: float | None = None) -> Iterator[str]:
        """Give the body by lines, without their ends."""
        lines = Lines(self.encoding)
        for piece in self.iter_bytes(timeout=timeout):
            yield from lines.add(piece)
        yield from lines.add(b"", final=True)

    def read(self) -> bytes:
        """Read the whole body, and keep it. Raises if a piece of it was read before."""
        if self._content is None:
            self._check_unread()
            if self._ended:
                self._content = self._take_early()
            else:
                try:
                    self._content = b"".join(self._pull())
                except AttestationError:
                    raise
                except BaseException:
                    # The pieces that were read are lost.
                    self._native.close()
                    raise
        return self._content

    @property
    def content(self) -> bytes:
        """The whole body."""
        return self.read()

    @property
    def text(self) -> str:
        """The whole body as text."""
        return self._text(self.read())

    def json(self) -> Any:
        """Read the whole body as JSON."""
        return _json.loads(self.read())

    def close(self) -> None:
        """Give up the rest of the body."""
        self._native.close()

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncResponse(_Common):
    """A response for asyncio. Its body is read once: whole, in pieces, or by lines."""

    __slots__ = ("_upload",)

    def __init__(self, native: _native.Response, upload: Upload | None = None) -> None:
        super().__init__(native)
        # What is left of the request's body: a peer may respond before it has all of it.
        self._upload = upload
        if self._ended:
            self._stop()

    def _stop(self) -> None:
        if self._upload is not None:
            self._upload.stop()
            self._upload = None

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """Give the body in pieces as they arrive: see `Response.iter_bytes`."""
        if self._content is not None:
            if self._content:
                yield self._content
            return
        async for piece in self._pull():
            self._given = True
            yield piece

    async def _pull(self) -> AsyncIterator[bytes]:
        early = self._take_early()
        if early:
            yield early
        while not self._ended:
            try:
                piece = await started(self._native.chunk_start)
            except AttestationError as error:
                upload = self._upload
                self._stop()
                if upload is not None:
                    upload.check(error)
                raise
            except BaseException:
                # The pull was given up, and what it had is lost: the rest must not be taken for the whole.
                self._close()
                raise
            if piece is None:
                self._ended = True
                self._stop()
            elif piece:
                yield piece

    async def iter_lines(self) -> AsyncIterator[str]:
        """Give the body by lines, without their ends."""
        lines = Lines(self.encoding)
        async for piece in self.iter_bytes():
            for line in lines.add(piece):
                yield line
        for line in lines.add(b"", final=True):
            yield line

    async def read(self) -> bytes:
        """Read the whole body, and keep it. Raises if a piece of it was read before."""
        if self._content is None:
            self._check_unread()
            if self._ended:
                self._content = self._take_early()
            else:
                try:
                    self._content = b"".join([piece async for piece in self._pull()])
                except AttestationError:
                    raise
                except BaseException:
                    # The pieces that were read are lost.
                    self._close()
                    raise
        return self._content

    async def text(self) -> str:
        """Read the whole body as text."""
        return self._text(await self.read())

    async def json(self) -> Any:
        """Read the whole body as JSON."""
        return _json.loads(await self.read())

    async def aclose(self) -> None:
        """Give up the rest of the body."""
        self._close()

    def _close(self) -> None:
        self._native.close()
        self._stop()

    async def __aenter__(self) -> AsyncResponse:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
