"""Requests that may be processed twice, behind a front end that loses their responses."""

import asyncio

import httpx
import pytest

import blindbox_attestation as blindbox
from blindbox_attestation.httpx import AsyncTransport, Transport


@pytest.fixture(scope="module")
def front_end(tmp_path_factory):
    # It delivers a request, and says that the instance does not know the key.
    from conftest import Emulator

    options = ["--agent", "bound-message", "--front-end", "--knob", "front-end-report-unknown-key"]
    emulator = Emulator(tmp_path_factory.mktemp("front-end"), *options)
    yield emulator
    emulator.stop()


def processed(emulator, work):
    """How often the application received the request of work that fails."""
    before = emulator.traffic()["application_requests"]
    with pytest.raises(blindbox.ApplicationUnreachable) as failed:
        work()
    assert failed.value.request_sent
    return emulator.traffic()["application_requests"] - before


def test_a_request_is_sent_again_if_the_caller_permits_it(front_end):
    with front_end.connect() as session:
        assert processed(front_end, lambda: session.post("/echo", content="x")) == 1
        assert processed(front_end, lambda: session.post("/echo", content="x", idempotent=False)) == 1
        assert processed(front_end, lambda: session.post("/echo", content="x", idempotent=True)) == 3
        # It can be read once.
        assert processed(front_end, lambda: session.post("/echo", content=iter([b"x"]), idempotent=True)) == 1


def test_the_same_on_asyncio(front_end):
    async def send(**options):
        async with await front_end.connect_async() as session:
            await session.post("/echo", **options)

    assert processed(front_end, lambda: asyncio.run(send(content="x"))) == 1
    assert processed(front_end, lambda: asyncio.run(send(content="x", idempotent=True))) == 3
    assert processed(front_end, lambda: asyncio.run(send(content=iter([b"x"]), idempotent=True))) == 1


def test_the_extension_of_httpx(front_end):
    permitted = {"idempotent": True}

    async def send(extensions):
        async with await front_end.connect_async() as session:
            async with httpx.AsyncClient(transport=AsyncTransport(session), trust_env=False) as client:
                await client.post(front_end.url + "/echo", content="x", extensions=extensions)

    with front_end.connect() as session:
        with httpx.Client(transport=Transport(session), base_url=front_end.url, trust_env=False) as client:
            assert processed(front_end, lambda: client.post("/echo", content="x")) == 1
            assert processed(front_end, lambda: client.post("/echo", content="x", extensions=permitted)) == 3
            with pytest.raises(blindbox.Misconfigured, match='the extension "idempotent": expected True or False, found str'):
                client.post("/echo", extensions={"idempotent": "no"})
    assert processed(front_end, lambda: asyncio.run(send({}))) == 1
    assert processed(front_end, lambda: asyncio.run(send(permitted))) == 3


@pytest.mark.parametrize("wrong", [None, 1, "true"])
def test_another_type_is_refused(front_end, wrong):
    before = front_end.traffic()["sealed_messages"]
    expected = f"idempotent: expected True or False, found {type(wrong).__name__}"

    async def send():
        async with await front_end.connect_async() as session:
            await session.post("/echo", idempotent=wrong)

    with front_end.connect() as session:
        with pytest.raises(blindbox.Misconfigured, match=expected):
            session.post("/echo", idempotent=wrong)
    with pytest.raises(blindbox.Misconfigured, match=expected):
        asyncio.run(send())
    assert front_end.traffic()["sealed_messages"] == before
