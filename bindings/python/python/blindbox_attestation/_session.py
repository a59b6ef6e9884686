"""Blocking sessions, and what all sessions have."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _native
from ._attestation import Attestation
from ._body import Content, HeaderInput, Pairs, encode, header_list, split, with_query
from ._errors import boolean
from ._options import RequestOptions
from ._response import Response

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Common:
    """What both kinds of session have."""

    __slots__ = ("_native", "_closed")

    def __init__(self, native: _native.Session) -> None:
        self._native = native
        self._closed = False

    @property
    def url(self) -> str:
        """The URL that the session was opened with."""
        return self._native.url()

    @property
    def attestation(self) -> Attestation:
        """The latest attestation of the peer."""
        return Attestation(*self._native.attestation())

    def _close(self) -> None:
        self._closed = True
        self._native.close()

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}{' closed' if self._closed else ''}>"


class Session(Common):
    """An HTTP session with an attested peer. Requests go to its origin only; redirects are returned as responses."""

    __slots__ = ()

    def request(
        self,
        method: str,
        target: str,
        *,
        params: Pairs | None = None,
        headers: HeaderInput | None = None,
        content: Content | None = None,
        json: Any = None,
        form: Pairs | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> Response:
        """Send a request, and return when the head of the response is there.

        `target` begins with a slash, or is a URL on the session's origin. `content` is text, bytes, a file or an iterable of
        bytes; files and iterables are read while they are sent, on this thread, and once. If the peer responds before it has all of
        them, the rest is sent while the response is read, and given up at its end. `timeout` limits the time to the end of the
        response body, in seconds; it cannot end a `read` of the source that blocks, such as that of a silent pipe.

        `idempotent` states that to process the request twice has the same effect as to process it once. It counts in sessions with
        sealed messages (`own-message-key`): after an error that the front end may have made up, the request is sent again, at most
        twice; not one whose body is a file or an iterable. GET, HEAD and OPTIONS are idempotent without it.
        """
        idempotent = boolean("idempotent", idempotent)
        body, pairs = encode(content, json, form, header_list(headers))
        whole, source = split(body)
        url = with_query(target, params)
        if source is None:
            return Response(self._native.send(method, url, pairs, whole, timeout, None, idempotent=idempotent))
        reading = (source.next, source.length)
        return Response(self._native.send(method, url, pairs, None, timeout, None, *reading, idempotent))

    def get(self, target: str, **options: Unpack[RequestOptions]) -> Response:
        """Send a GET request: see `request`."""
        return self.request("GET", target, **options)

    def head(self, target: str, **options: Unpack[RequestOptions]) -> Response:
        """Send a HEAD request."""
        return self.request("HEAD", target, **options)

    def options(self, target: str, **options: Unpack[RequestOptions]) -> Response:
        """Send an OPTIONS request."""
        return self.request("OPTIONS", target, **options)

    def post(self, target: str, **options: Unpack[RequestOptions]) -> Response:
        """Send a POST request."""
        return self.request("POST", target, **options)

    def put(self, target: str, **options: Unpack[RequestOptions]) -> Response:
        """Send a PUT request."""
        return self.request("PUT", target, **options)

    def patch(self, target: str, **options: Unpack[RequestOptions]) -> Response:
        """Send a PATCH request."""
        return self.request("PATCH", target, **options)

    def delete(self, target: str, **options: Unpack[RequestOptions]) -> Response:
        """Send a DELETE request."""
        return self.request("DELETE", target, **options)

    def reattest(self) -> Attestation:
        """Open a new connection and attest its peer again, whatever is known of it."""
        return Attestation(self._native.reattest())

    def close(self) -> None:
        """Close the session: it sends nothing more."""
        self._close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
