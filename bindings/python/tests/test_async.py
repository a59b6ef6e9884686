"""Sessions on asyncio."""

import asyncio
import gc
import http.server
import queue
import threading

import httpx
import pytest

import blindbox_attestation as blindbox
from blindbox_attestation.httpx import AsyncTransport

# For what happens at once, however busy the machine is.
LONG = 300


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


class Silent(http.server.BaseHTTPRequestHandler):
    """Has no response, or half of one, until its client has gone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/half":
            self.send_response(200)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"a")
            self.wfile.flush()
        self.server.events.put("open")
        try:
            assert self.rfile.read(1) == b""
        except ConnectionError:
            pass
        self.close_connection = True
        self.server.events.put("closed")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def silent(emulate):
    """An emulator before an application that is silent, and what happens to the connections between them."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    server.events = queue.Queue()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield emulate("--application", f"http://127.0.0.1:{server.server_port}"), server.events
    server.shutdown()
    thread.join()
    server.server_close()


async def event(events):
    return await asyncio.to_thread(events.get, timeout=LONG)


async def of_session(session, path):
    return await (await session.get(path)).read()


async def of_httpx(session, path):
    transport = AsyncTransport(session)
    async with httpx.AsyncClient(transport=transport, base_url=session.url, trust_env=False, timeout=LONG) as client:
        return (await client.get(path)).content


@pytest.mark.parametrize("path", ["/", "/half"])
@pytest.mark.parametrize("request_of", [of_session, of_httpx])
def test_a_cancelled_request_ends(silent, request_of, path):
    emulator, events = silent

    async def main():
        async with await emulator.connect_async() as session:
            sent = asyncio.ensure_future(request_of(session, path))
            assert await event(events) == "open"
            sent.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sent
            assert await event(events) == "closed"

    asyncio.run(main())


@pytest.mark.parametrize("path", ["/", "/half"])
@pytest.mark.parametrize("request_of", [of_session, of_httpx])
def test_a_request_whose_coroutine_is_closed_ends(silent, request_of, path):
    emulator, events = silent

    async def main():
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["message"]))
        async with await emulator.connect_async() as session:
            sent = request_of(session, path)
            # As a task would, but for the closing.
            waits_for = sent.send(None)
            while events.empty():
                await asyncio.sleep(0.01)
                if waits_for.done():
                    waits_for = sent.send(None)
            assert await event(events) == "open"
            sent.close()
            # It may have the response already, which would stay open with it.
            del waits_for
            assert await event(events) == "closed"
        gc.collect()
        await asyncio.sleep(0)
        # Python itself may report that a generator of the closed coroutine was running.
        assert "Future exception was never retrieved" not in reported

    asyncio.run(main())


def test_a_session_goes_on_after_a_cancelled_request(emulator):
    async def main():
        async with await emulator.connect_async() as session:
            emulator.order("fail /=hang")
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(session.get("/"), 0.1)
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
