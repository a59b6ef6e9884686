"""Transports of `httpx` over an attested session: for `httpx.Client(transport=...)`, and so for clients that take an `http_client`.

    session = blindbox_attestation.verify_connection("https://my-app.example", policy)
    client = openai.OpenAI(
        base_url=session.url + "/v1",
        api_key="...",
        http_client=httpx.Client(transport=Transport(session), trust_env=False),
    )

Requests to other origins, redirects included, are refused before anything is sent. The extension `idempotent` of a request
(`client.post(url, extensions={"idempotent": True})`) is the option of `Session.request`.
"""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Iterator

import httpx

from . import _native
from ._async_session import AsyncSession
from ._body import split, without_own_host
from ._errors import AttestationError, boolean
from ._library_errors import as_library_error
from ._session import Session
from ._upload import Upload, prepared, sent, started

__all__ = ["AsyncTransport", "Transport"]

# Set by `httpx` for connections of its own: the core writes them, or nothing would decode the body.
_DROPPED = frozenset(
    [b"connection", b"keep-alive", b"proxy-connection", b"content-length", b"transfer-encoding"]
)


def _library(error: AttestationError, request: httpx.Request) -> AttestationError:
    base: type[BaseException] | None = None
    if error.code == "timeout":
        base = httpx.ReadTimeout
    elif error.code == "invalid-response":
        base = httpx.RemoteProtocolError
    elif error.category == "unavailable":
        base = httpx.ReadError if error.request_sent else httpx.ConnectError
    elif error.code in ("invalid-url", "invalid-request"):
        base = httpx.UnsupportedProtocol
    return as_library_error(error, base, _request=request)


def _headers(request: httpx.Request) -> list[tuple[str, bytes]]:
    raw = request.headers.raw
    kept = [(name.decode("ascii"), value) for name, value in raw if name.lower() not in _DROPPED]
    return without_own_host(kept, str(request.url))


def _content(request: httpx.Request) -> tuple[Any, int | None]:
    """The body, in memory where it is, and its length where `httpx` knows it."""
    if isinstance(request.stream, httpx.ByteStream):
        return b"".join(request.stream) or None, None
    length = request.headers.get("content-length")
    return request.stream, int(length) if length is not None and length.isdecimal() else None


def _read_timeout(request: httpx.Request) -> float | None:
    timeout: dict[str, float | None] = request.extensions.get("timeout", {})
    return timeout.get("read")


def _idempotent(request: httpx.Request) -> bool:
    # Taken out: the request that a client makes of a redirect has the extensions of the first one.
    return boolean('the extension "idempotent"', request.extensions.pop("idempotent", False))


def _response(sent: _native.Response, stream: Any, request: httpx.Request) -> httpx.Response:
    return httpx.Response(
        sent.status,
        headers=[(name.encode("ascii"), value) for name, value in sent.headers],
        stream=stream,
        request=request,
        extensions={"http_version": sent.version.encode("ascii")},
    )


class _Stream(httpx.SyncByteStream):
    def __init__(self, sent: _native.Response, request: httpx.Request) -> None:
        self._sent = sent
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        early, ended = self._sent.early()
        if early:
            yield early
        while not ended:
            try:
                piece = self._sent.chunk(_read_timeout(self._request))
            except AttestationError as error:
                raise _library(error, self._request) from None
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        self._sent.close()


class Transport(httpx.BaseTransport):
    """A transport of `httpx.Client`. It does not close the session."""

    def __init__(self, session: Session) -> None:
        """Send requests through this session."""
        self._session = session

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request. The read timeout of `httpx` limits the wait for the head and for each piece of the body.

        It starts again with each piece of the request's body that is sent, so it does not limit how long an upload takes. A body
        that is an iterable or a file is read while it is sent.
        """
        idempotent = _idempotent(request)
        whole, source = split(*_content(request))
        pieces, length = (None, None) if source is None else (source.next, source.length)
        url, headers, limit = str(request.url), _headers(request), _read_timeout(request)
        try:
            response = self._session._native.send(
                request.method, url, headers, whole, None, limit, pieces, length, idempotent
            )
        except AttestationError as error:
            raise _library(error, request) from None
        return _response(response, _Stream(response, request), request)


async def _limited(work: Any, request: httpx.Request, upload: Upload | None) -> Any:
    """Wait for work; the read timeout starts again when the upload has got on."""
    task = asyncio.ensure_future(work)
    limit = _read_timeout(request)
    try:
        while True:
            taken = 0 if upload is None else upload.taken
            done, _ = await asyncio.wait([task], timeout=limit)
            if done:
                return task.result()
            if limit is not None and (upload is None or upload.taken == taken):
                raise _native.timeout(limit)
    except AttestationError as error:
        await _ended(task)
        raise _library(error, request) from None
    except asyncio.CancelledError:
        await _ended(task)
        raise
    except GeneratorExit:
        # This coroutine was closed, and can wait for nothing more.
        task.cancel()
        raise


async def _ended(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])


class _AsyncStream(httpx.AsyncByteStream):
    def __init__(self, sent: _native.Response, request: httpx.Request, upload: Upload | None) -> None:
        self._sent = sent
        self._request = request
        # What is left of the request's body: a peer may respond before it has all of it.
        self._upload = upload

    async def __aiter__(self) -> AsyncIterator[bytes]:
        early, ended = self._sent.early()
        if early:
            yield early
        while not ended:
            try:
                piece = await _limited(started(self._sent.chunk_start), self._request, self._upload)
            except BaseException as error:
                # A pull that was given up loses what it had: the rest must not be taken for the whole.
                self._sent.close()
                if self._upload is not None:
                    self._upload.check(error)
                raise
            if piece is None:
                return
            yield piece

    async def aclose(self) -> None:
        self._sent.close()
        if self._upload is not None:
            self._upload.stop()


class AsyncTransport(httpx.AsyncBaseTransport):
    """A transport of `httpx.AsyncClient`, on asyncio. It does not close the session."""

    def __init__(self, session: AsyncSession) -> None:
        """Send requests through this session."""
        self._session = session

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request: see `Transport.handle_request`."""
        idempotent = _idempotent(request)
        whole, upload = prepared(*_content(request))
        start = self._session._native.send_start
        work = sent(start, request.method, str(request.url), _headers(request), whole, upload, None, idempotent)
        response = await _limited(work, request, upload)
        return _response(response, _AsyncStream(response, request, upload), request)
