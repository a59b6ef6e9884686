"""Sessions on asyncio."""

import asyncio
import time

import pytest

import blindbox_attestation as blindbox


def test_a_session_and_its_bodies(emulator):
    async def parts():
        yield b"a"
        yield b"b"

    async def main():
        async with await emulator.connect_async() as session:
            assert session.attestation.channel == "bound"
            assert await (await session.get("/")).text() == "hello from a BlindBox"
            assert await (await session.post("/generate", json={"prompt": "x"})).json() == {"text": "a response to: x"}
            assert await (await session.post("/echo", content=parts())).read() == b"ab"
            assert [line async for line in (await session.post("/echo", content="1\n2")).iter_lines()] == ["1", "2"]
            large = await session.get("/large?bytes=1000000")
            assert sum([len(piece) async for piece in large.iter_bytes()]) == 1_000_000
            assert (await session.reattest()).channel == "bound"
        with pytest.raises(blindbox.Closed):
            await session.get("/")

    asyncio.run(main())


def test_many_requests_at_a_time(emulator):
    async def main():
        async with await emulator.connect_async() as session:

            async def one(number):
                return await (await session.post("/echo", content=str(number))).text()

            assert await asyncio.gather(*map(one, range(200))) == [str(number) for number in range(200)]

    asyncio.run(main())


def test_a_cancelled_request_ends_and_the_session_goes_on(emulator):
    async def main():
        async with await emulator.connect_async() as session:
            emulator.order("fail /=hang")
            started = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.get("/"), 0.1)
            assert time.monotonic() - started < 300
            emulator.order("reset")
            assert (await session.get("/")).status == 200

    asyncio.run(main())


def test_a_body_whose_reading_was_cancelled_is_not_read_from_the_middle(emulator):
    async def main():
        async with await emulator.connect_async() as session:
            response = await session.get("/large?bytes=3000000")
            reading = asyncio.ensure_future(response.read())
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            with pytest.raises(blindbox.Closed):
                await response.read()

    asyncio.run(main())


def test_a_refusal(emulator):
    emulator.order("knob debug")

    async def main():
        with pytest.raises(blindbox.DebugMode) as caught:
            await emulator.connect_async()
        assert caught.value.appraisal

    asyncio.run(main())


def test_evidence_is_collected(emulator):
    async def main():
        verifier = blindbox.Verifier(**emulator.settings)
        return await verifier.collect_async(emulator.url, emulator.policy)

    assert "token.jwt" in asyncio.run(main()).documents


def test_a_body_of_which_a_piece_was_read_is_not_read_whole(emulator):
    async def main():
        async with await emulator.connect_async() as session:
            response = await session.get("/large?bytes=300000")
            first = await response.iter_bytes().__anext__()
            for use in (response.read, response.json, response.text):
                with pytest.raises(blindbox.Misconfigured, match="read before"):
                    await use()
            rest = sum([len(piece) async for piece in response.iter_bytes()])
            assert len(first) + rest == 300_000
            with pytest.raises(blindbox.Misconfigured, match="expected json= or form="):
                await session.post("/echo", content={"prompt": "x"})

    asyncio.run(main())
