"""Uses the types as a program would. `mypy --strict` checks it, also that what is wrong is found; it is not run."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import AsyncIterator

import blindbox_attestation as blindbox
from blindbox_attestation.requests import SecureSession, connect


def right(policy: blindbox.Policy, settings: blindbox.Settings) -> None:
    """What a program may write."""
    settings["deadline"] = 10
    session: blindbox.Session = blindbox.verify_connection("https://a", policy, **settings)
    other: blindbox.Session = blindbox.Verifier(key_set=b"{}", cache_dir="cache").connect("https://a", policy)
    response: blindbox.Response = session.post("/", json={"a": 1}, headers={"a": b"b"}, timeout=1, idempotent=True)
    text: str = other.get("/", params=[("a", 1)]).text
    SecureSession("https://a", policy=policy, deadline=1)
    connect("https://a", "cce", "maa.example", minimum_svn=101, **settings)
    at = datetime.now(timezone.utc)
    attestation: blindbox.Attestation = blindbox.verify_recorded({}, policy, at=at, amd_roots="roots.pem", ak_root=b"")
    print(response, text, attestation)


async def right_later(policy: blindbox.Policy, parts: list[bytes]) -> None:
    """The same for asyncio."""

    async def pieces() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    session: blindbox.AsyncSession = await blindbox.verify_connection_async("https://a", policy, deadline=1)
    response: blindbox.AsyncResponse = await session.post("/", content=pieces(), timeout=1)
    print(await response.json())


async def wrong(policy: blindbox.Policy, session: blindbox.Session, later: blindbox.AsyncSession) -> None:
    """What a program must not write: each line has one error, and it is found."""
    blindbox.Verifier(deadlin=1)  # type: ignore[call-arg]
    blindbox.Verifier(deadline="1")  # type: ignore[arg-type]
    blindbox.Verifier(amd_roots=None)  # type: ignore[arg-type]
    blindbox.verify_connection("https://a", policy, timout=1)  # type: ignore[call-arg]
    blindbox.verify_connection("https://a", "kind = 1")  # type: ignore[arg-type]
    await blindbox.verify_connection_async("https://a", policy, timout=1)  # type: ignore[call-arg]
    session.get("/", timout=1)  # type: ignore[call-arg]
    session.post("/", timeout="1")  # type: ignore[arg-type]
    await later.get("/", timout=1)  # type: ignore[call-arg]
    SecureSession("https://a", policy=policy, deadlin=1)  # type: ignore[call-arg]
    connect("https://a", policy=policy, deadlin=1)  # type: ignore[call-arg]
    blindbox.Policy.confidential_container(host_data="", minimum_svn=1)  # type: ignore[call-arg]
    blindbox.verify_recorded({}, policy, at="now")  # type: ignore[arg-type]
