"""A transport adapter of `requests` over an attested session."""

from __future__ import annotations

import email.message
from http.client import responses as _reasons
from typing import Any, Iterator, Mapping

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from .. import _native
from .._body import header_list, split, without_own_host
from .._errors import AttestationError, argument
from .._library_errors import as_library_error
from ._decoder import Decoder

# Set by `requests` for connections of its own: the core writes them, or has no use for them.
_DROPPED = frozenset(
    ["connection", "keep-alive", "proxy-connection", "content-length", "transfer-encoding", "accept-encoding"]
)


def _library(error: AttestationError, request: requests.PreparedRequest) -> AttestationError:
    base: type[BaseException] | None = None
    if error.code == "timeout":
        base = requests.exceptions.ReadTimeout
    elif error.category == "unavailable":
        base = requests.exceptions.ConnectionError
    elif error.code in ("invalid-url", "invalid-request"):
        base = requests.exceptions.InvalidURL
    return as_library_error(error, base, request=request, response=None)


class Adapter(BaseAdapter):
    """Sends the requests of one `requests.Session` through one attested session."""

    def __init__(self, session: _native.Session) -> None:
        super().__init__()
        self._session = session

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a request. `timeout` limits the wait for the head and for each piece of the body, as in `requests`.

        It starts again with each piece of the request's body that is sent.
        """
        if verify is not True:
            raise argument("expected no verify=: the connection is tied to the attested key, and no setting changes that")
        if cert is not None:
            raise argument("expected no cert=: the attested connection has no client certificate")
        if proxies:
            raise argument("expected no proxies=: give proxy= to the session, which goes through it with attested TLS")
        head, piece = _timeouts(timeout)
        url = str(request.url)
        kept = [(name, value) for name, value in (request.headers or {}).items() if name.lower() not in _DROPPED]
        headers = without_own_host(kept, url)
        whole, source = split(request.body, _length(request.headers))
        reading = () if source is None else (source.next, source.length)
        try:
            sent = self._session.send(
                str(request.method), url, header_list(headers), whole, None, head, *reading
            )
        except AttestationError as error:
            raise _library(error, request) from None
        return self._response(sent, request, piece)

    def _response(
        self, sent: _native.Response, request: requests.PreparedRequest, timeout: float | None
    ) -> requests.Response:
        response = requests.Response()
        headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
        for name, value in sent.headers:
            text = value.decode("latin-1")
            headers[name] = f"{headers[name]}, {text}" if name in headers else text
        response.status_code = sent.status
        response.headers = headers
        response.encoding = get_encoding_from_headers(headers)
        response.reason = _reasons.get(sent.status, "")
        response.url = str(request.url)
        response.request = request
        response.raw = Raw(sent, request, timeout)
        keep: Any = response
        keep.connection = self
        extract_cookies_to_jar: Any = requests.cookies.extract_cookies_to_jar
        extract_cookies_to_jar(response.cookies, request, response.raw)
        return response

    def close(self) -> None:
        """Do nothing: the session is closed by its owner."""


def _length(headers: Any) -> int | None:
    """The length of a body that `requests` has determined."""
    found = (headers or {}).get("content-length")
    return int(found) if found is not None and str(found).isdecimal() else None


def _timeouts(timeout: Any) -> tuple[float | None, float | None]:
    """The limits for the head and for each piece of the body."""
    if isinstance(timeout, tuple):
        connect, read = timeout
        return (None if connect is None or read is None else connect + read), read
    return timeout, timeout


class _Original:
    """What `requests` reads cookies from."""

    def __init__(self, headers: list[tuple[str, bytes]]) -> None:
        self.msg = email.message.Message()
        for name, value in headers:
            if name in ("set-cookie", "set-cookie2"):
                self.msg[name] = value.decode("latin-1")


class Raw:
    """The body, with the methods that `requests` calls on a response of urllib3."""

    def __init__(self, sent: _native.Response, request: requests.PreparedRequest, timeout: float | None) -> None:
        self._sent = sent
        self._request = request
        self._timeout = timeout
        self._original_response = _Original(sent.headers)
        self._rest, self._ended = sent.early()
        self.status = sent.status
        self.version = 20 if sent.version == "HTTP/2" else 11
        self.headers = dict((name, value.decode("latin-1")) for name, value in sent.headers)
        self.closed = False

    def _next(self) -> bytes:
        if self._rest:
            # Also the check that this process received it.
            self._sent.early()
            piece, self._rest = self._rest, b""
            return piece
        while not self._ended:
            try:
                pulled = self._sent.chunk(self._timeout)
            except AttestationError as error:
                raise _library(error, self._request) from None
            if pulled is None:
                self._ended = True
            elif pulled:
                return pulled
        return b""

    def _pieces(self, decode: bool) -> Iterator[bytes]:
        # No encoding was asked for: a body that has one nevertheless is decoded as `requests` would.
        encoding = self.headers.get("content-encoding", "").strip().lower()
        decoder = Decoder(encoding) if decode and encoding in Decoder.ENCODINGS else None
        while True:
            piece = self._next()
            if not piece:
                break
            if decoder is None:
                yield piece
                continue
            yield from decoder.add(piece)
        if decoder is not None:
            decoder.finish()

    def stream(self, amt: int | None = 65536, decode_content: bool | None = None) -> Iterator[bytes]:
        """Give the body in pieces of at most `amt` bytes."""
        for piece in self._pieces(bool(decode_content)):
            if not amt or len(piece) <= amt:
                yield piece
                continue
            for at in range(0, len(piece), amt):
                yield piece[at : at + amt]

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        """Read `amt` bytes, or all."""
        if amt is None or amt < 0:
            return b"".join(self._pieces(bool(decode_content)))
        gathered = b""
        while len(gathered) < amt:
            piece = self._next()
            if not piece:
                break
            gathered += piece
        self._rest = gathered[amt:] + self._rest
        return gathered[:amt]

    def close(self) -> None:
        """Give up the rest of the body."""
        self.closed = True
        self._sent.close()

    def release_conn(self) -> None:
        """Give up the rest of the body."""
        self.close()
