"""Verifiers, which open sessions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import _native
from ._async_session import AsyncSession
from ._attestation import Evidence
from ._policy import Policy
from ._session import Session
from ._settings import Settings, of_core
from ._upload import started

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Verifier:
    """Opens sessions with attested peers. One verifier serves a whole process: sessions share keys and certificates."""

    __slots__ = ("_native",)

    def __init__(self, **settings: Unpack[Settings]) -> None:
        """Create a verifier with `Settings`. No variable of the environment is read."""
        self._native = _native.Verifier(of_core(settings))

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


_shared: tuple[int, Verifier] | None = None


def _verifier(settings: Settings) -> Verifier:
    """The verifier of this process, unless there are settings."""
    global _shared
    if settings:
        return Verifier(**settings)
    process = os.getpid()
    if _shared is None or _shared[0] != process:
        _shared = (process, Verifier())
    return _shared[1]


def verify_connection(url: str, policy: Policy, **settings: Unpack[Settings]) -> Session:
    """Attest the peer behind a URL and open a session with it, before any application data is sent.

    `settings` are those of `Verifier`; use one `Verifier` for several connections with settings. Every failure is an
    `AttestationError`, except that of a file of the settings, which is an `OSError`; nothing was sent then but the attestation
    request.
    """
    return _verifier(settings).connect(url, policy)


async def verify_connection_async(url: str, policy: Policy, **settings: Unpack[Settings]) -> AsyncSession:
    """The same for asyncio: `async with await verify_connection_async(url, policy) as session`."""
    return await _verifier(settings).connect_async(url, policy)
