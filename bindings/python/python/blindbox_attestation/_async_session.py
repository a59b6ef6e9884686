"""Sessions for asyncio."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any

from ._attestation import Attestation
from ._body import AsyncContent, HeaderInput, Pairs, encode, header_list, with_query
from ._errors import boolean
from ._options import AsyncRequestOptions
from ._response import AsyncResponse
from ._session import Common
from ._upload import prepared, sent, started

if TYPE_CHECKING:
    from typing_extensions import Unpack


class AsyncSession(Common):
    """An HTTP session with an attested peer, for asyncio. A cancelled request may have been received by the peer."""

    __slots__ = ()

    async def request(
        self,
        method: str,
        target: str,
        *,
        params: Pairs | None = None,
        headers: HeaderInput | None = None,
        content: AsyncContent | None = None,
        json: Any = None,
        form: Pairs | None = None,
        timeout: float | None = None,
        idempotent: bool = False,
    ) -> AsyncResponse:
        """Send a request: see `Session.request`. `content` may also be an asynchronous iterable of bytes. A task reads it.

        A file is read on a thread of the loop's executor. Cancelling the request cannot end a `read` that blocks there, and
        `asyncio.run` waits for it: pass an asynchronous iterable for a source that may stay silent, such as a pipe.
        """
        idempotent = boolean("idempotent", idempotent)
        body, pairs = encode(content, json, form, header_list(headers))
        whole, upload = prepared(body)
        url = with_query(target, params)
        native = await sent(self._native.send_start, method, url, pairs, whole, upload, timeout, idempotent)
        return AsyncResponse(native, upload)

    async def get(self, target: str, **options: Unpack[AsyncRequestOptions]) -> AsyncResponse:
        """Send a GET request."""
        return await self.request("GET", target, **options)

    async def head(self, target: str, **options: Unpack[AsyncRequestOptions]) -> AsyncResponse:
        """Send a HEAD request."""
        return await self.request("HEAD", target, **options)

    async def options(self, target: str, **options: Unpack[AsyncRequestOptions]) -> AsyncResponse:
        """Send an OPTIONS request."""
        return await self.request("OPTIONS", target, **options)

    async def post(self, target: str, **options: Unpack[AsyncRequestOptions]) -> AsyncResponse:
        """Send a POST request."""
        return await self.request("POST", target, **options)

    async def put(self, target: str, **options: Unpack[AsyncRequestOptions]) -> AsyncResponse:
        """Send a PUT request."""
        return await self.request("PUT", target, **options)

    async def patch(self, target: str, **options: Unpack[AsyncRequestOptions]) -> AsyncResponse:
        """Send a PATCH request."""
        return await self.request("PATCH", target, **options)

    async def delete(self, target: str, **options: Unpack[AsyncRequestOptions]) -> AsyncResponse:
        """Send a DELETE request."""
        return await self.request("DELETE", target, **options)

    async def reattest(self) -> Attestation:
        """Open a new connection and attest its peer again, whatever is known of it."""
        return Attestation(await started(self._native.reattest_start))

    async def aclose(self) -> None:
        """Close the session: it sends nothing more."""
        self._close()

    async def __aenter__(self) -> AsyncSession:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
