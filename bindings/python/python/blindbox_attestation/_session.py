"""Verifiers and sessions, blocking and asynchronous."""

from __future__ import annotations

import json as _json
import os
import warnings
from types import TracebackType
from typing import Any, Mapping

from . import _native
from ._attestation import Attestation, Evidence
from ._body import AsyncContent, Content, HeaderInput, Pairs, encode, header_list, split, with_query
from ._errors import argument, boolean
from ._given import NOT_GIVEN, given
from ._policy import File, Policy, read_file
from ._response import AsyncResponse, Response
from ._upload import prepared, sent, started


class Verifier:
    """Opens sessions with attested peers. One verifier serves a whole process: sessions share keys and certificates."""

    __slots__ = ("_native",)

    def __init__(
        self,
        *,
        deadline: float = 30.0,
        request_timeout: float = NOT_GIVEN,
        application_roots: File | bytes = NOT_GIVEN,
        extra_application_roots: File | bytes = NOT_GIVEN,
        collateral_roots: File | bytes = NOT_GIVEN,
        platform_collateral_roots: bool = False,
        key_set: File | bytes = NOT_GIVEN,
        amd_roots: File | bytes = NOT_GIVEN,
        ak_root: File | bytes = NOT_GIVEN,
        agent: str = NOT_GIVEN,
        proxy: str = NOT_GIVEN,
        resolve: Mapping[str, str] = NOT_GIVEN,
        front_end_headers: Mapping[str, str] = NOT_GIVEN,
        kds: str = NOT_GIVEN,
        thim: str = NOT_GIVEN,
        cache_dir: File = NOT_GIVEN,
    ) -> None:
        """Create a verifier. Roots and key sets are paths of files, or their content as bytes; times are in seconds.

        None of the settings relaxes a check, and none is None. Roots that are given replace the built-in ones. No variable of the environment is
        read. `docs/trust.md` and `docs/faults.md` describe each setting.
        """
        settings = given(
            {
                "deadline": deadline,
                "request_timeout": request_timeout,
                "application_roots": application_roots,
                "extra_application_roots": extra_application_roots,
                "collateral_roots": collateral_roots,
                "platform_collateral_roots": platform_collateral_roots,
                "key_set": key_set,
                "amd_roots": amd_roots,
                "ak_root": ak_root,
                "agent": agent,
                "proxy": proxy,
                "resolve": resolve,
                "front_end_headers": front_end_headers,
                "kds": kds,
                "thim": thim,
                "cache_dir": cache_dir,
            }
        )
        self._native = _native.Verifier(_json.dumps(dict(_core(name, value) for name, value in settings.items())))

    def connect(self, url: str, policy: Policy) -> Session:
        """Attest the peer behind a URL and open a session with it, before any application data is sent."""
        return Session(self._native.connect(url, policy._native))

    async def connect_async(self, url: str, policy: Policy) -> AsyncSession:
        """The same for asyncio."""
        return AsyncSession(await started(self._native.connect_start, url, policy._native))

    def collect(self, url: str, policy: Policy) -> Evidence:
        """Collect the evidence of the peer behind a URL without verifying it. Nothing but the attestation request is sent."""
        return Evidence(self._native.collect(url, policy._native))

    async def collect_async(self, url: str, policy: Policy) -> Evidence:
        """The same for asyncio."""
        return Evidence(await started(self._native.collect_start, url, policy._native))


_MATERIAL = frozenset(
    ["application_roots", "extra_application_roots", "collateral_roots", "key_set", "amd_roots", "ak_root"]
)


def _core(name: str, value: Any) -> tuple[str, Any]:
    """A setting as the core reads it: its name, and its value."""
    if name in ("deadline", "request_timeout"):
        return f"{name}_ms", _milliseconds(name, value)
    if name in _MATERIAL:
        return name, _material(value)
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


def _material(content: File | bytes) -> str:
    if not isinstance(content, bytes):
        content = read_file(content)
    # DER is not text; the core says what it expects.
    return content.decode("utf-8", "replace")


_shared: tuple[int, Verifier] | None = None


def _verifier(settings: dict[str, Any]) -> Verifier:
    """The verifier of this process, unless there are settings."""
    global _shared
    if settings:
        return Verifier(**settings)
    process = os.getpid()
    if _shared is None or _shared[0] != process:
        _shared = (process, Verifier())
    return _shared[1]


def verify_connection(url: str, policy: Policy, **settings: Any) -> Session:
    """Attest the peer behind a URL and open a session with it, before any application data is sent.

    `settings` are those of `Verifier`; use one `Verifier` for several connections with settings. Every failure is an
    `AttestationError`, except that of a file of the settings, which is an `OSError`; nothing was sent then but the attestation
    request.
    """
    return _verifier(settings).connect(url, policy)


async def verify_connection_async(url: str, policy: Policy, **settings: Any) -> AsyncSession:
    """The same for asyncio: `async with await verify_connection_async(url, policy) as session`."""
    return await _verifier(settings).connect_async(url, policy)


class _Common:
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


class Session(_Common):
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

    def get(self, target: str, **options: Any) -> Response:
        """Send a GET request: see `request`."""
        return self.request("GET", target, **options)

    def head(self, target: str, **options: Any) -> Response:
        """Send a HEAD request."""
        return self.request("HEAD", target, **options)

    def options(self, target: str, **options: Any) -> Response:
        """Send an OPTIONS request."""
        return self.request("OPTIONS", target, **options)

    def post(self, target: str, **options: Any) -> Response:
        """Send a POST request."""
        return self.request("POST", target, **options)

    def put(self, target: str, **options: Any) -> Response:
        """Send a PUT request."""
        return self.request("PUT", target, **options)

    def patch(self, target: str, **options: Any) -> Response:
        """Send a PATCH request."""
        return self.request("PATCH", target, **options)

    def delete(self, target: str, **options: Any) -> Response:
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


class AsyncSession(_Common):
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

    async def get(self, target: str, **options: Any) -> AsyncResponse:
        """Send a GET request."""
        return await self.request("GET", target, **options)

    async def head(self, target: str, **options: Any) -> AsyncResponse:
        """Send a HEAD request."""
        return await self.request("HEAD", target, **options)

    async def options(self, target: str, **options: Any) -> AsyncResponse:
        """Send an OPTIONS request."""
        return await self.request("OPTIONS", target, **options)

    async def post(self, target: str, **options: Any) -> AsyncResponse:
        """Send a POST request."""
        return await self.request("POST", target, **options)

    async def put(self, target: str, **options: Any) -> AsyncResponse:
        """Send a PUT request."""
        return await self.request("PUT", target, **options)

    async def patch(self, target: str, **options: Any) -> AsyncResponse:
        """Send a PATCH request."""
        return await self.request("PATCH", target, **options)

    async def delete(self, target: str, **options: Any) -> AsyncResponse:
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
