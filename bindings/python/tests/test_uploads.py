"""Request bodies that are read while they are sent."""

import asyncio
import http.server
import io
import socket
import threading
import types

import httpx
import pytest

import blindbox_attestation as blindbox
from blindbox_attestation import requests as attested
from blindbox_attestation.httpx import AsyncTransport, Transport, _limited

# The limit of httpx, five seconds, is short for a busy machine.
LONG = 300


class Echo(http.server.BaseHTTPRequestHandler):
    """Responds to each piece of a request as it arrives."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        while True:
            size = int(self.rfile.readline(), 16)
            piece = self.rfile.read(size + 2)[:size]
            self.wfile.write(f"{size:x}\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
            if size == 0:
                return

    def log_message(self, *arguments):
        pass


class EchoServer(http.server.ThreadingHTTPServer):
    """A server to which requests that end early are no news."""

    def handle_error(self, request, client_address):
        pass


@pytest.fixture
def echo(emulate):
    server = EchoServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield emulate("--application", f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def pieces(count, size, read=None):
    for number in range(count):
        if read is not None:
            read.append(number)
        yield bytes([number % 256]) * size


def broken():
    yield b"half"
    raise ValueError("the disk is gone")


def test_a_large_body_is_read_in_pieces(session):
    read = []
    echoed = session.post("/echo", content=pieces(80, 1 << 16, read)).content
    assert echoed == b"".join(pieces(80, 1 << 16)) and read == list(range(80))


def test_a_file_is_sent_with_its_length(session, tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(b"0123456789" * 100_000)
    with open(path, "rb") as file:
        assert len(session.post("/echo", content=file).content) == 1_000_000
    with open(path, "rb") as file:
        file.seek(999_990)
        sent = dict(session.request("GET", "/headers", content=file).json())
        assert sent["content-length"] == "10"
    with open(path, encoding="utf-8") as text:
        assert len(session.post("/echo", content=text).content) == 1_000_000
    sent = dict(session.request("GET", "/headers", content=iter([b"a"])).json())
    assert "content-length" not in sent


def test_a_source_that_raises_ends_its_request(session):
    with pytest.raises(ValueError, match="the disk is gone"):
        session.post("/echo", content=broken())
    with pytest.raises(blindbox.Misconfigured, match="found int"):
        session.post("/echo", content=iter([b"a", 1]))
    assert session.get("/").status == 200


def test_nothing_is_read_of_a_body_that_is_not_sent(session):
    read = []
    with pytest.raises(blindbox.InvalidRequest):
        session.post("https://evil.example/", content=pieces(1, 1, read))
    assert read == []


def test_a_response_is_read_while_its_request_is_sent(echo):
    read = []
    with echo.connect() as session:
        # More than any window holds: neither side can go on without the other.
        response = session.post("/", content=pieces(160, 1 << 17, read))
        assert len(response.read()) == 160 << 17
        assert read == list(range(160))
        # Given up with the response.
        read.clear()
        response = session.post("/", content=pieces(10_000, 1 << 17, read))
        response.close()
        assert len(read) < 10_000
        with pytest.raises(blindbox.Closed):
            response.read()


def test_a_time_limit_ends_a_request_with_an_upload(emulator, session):
    emulator.order("fail /echo=hang")
    with pytest.raises(blindbox.Timeout):
        session.post("/echo", content=iter([b"a"]), timeout=0.05)


def test_requests_and_httpx_send_files(emulator, session, tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(b"x" * 300_000)
    with attested.SecureSession(emulator.url, policy=emulator.policy, **emulator.settings) as secure:
        with open(path, "rb") as file:
            assert len(secure.post("/echo", data=file).content) == 300_000
        with pytest.raises(ValueError, match="gone"):
            secure.post("/echo", data=broken())
    with httpx.Client(transport=Transport(session), base_url=emulator.url, trust_env=False, timeout=LONG) as client:
        with open(path, "rb") as file:
            assert len(client.post("/echo", content=file).content) == 300_000
        with open(path, "rb") as file:
            assert len(client.post("/echo", files={"file": file}).content) > 300_000
        with pytest.raises(ValueError, match="gone"):
            client.post("/echo", content=broken())


async def later(count, size, read):
    for piece in pieces(count, size, read):
        await asyncio.sleep(0)
        yield piece


def test_a_task_reads_the_body_of_an_asynchronous_request(echo):
    async def fails():
        yield b"half"
        raise ValueError("the disk is gone")

    async def main():
        async with await echo.connect_async() as session:
            read = []
            response = await session.post("/", content=later(160, 1 << 17, read))
            assert len(await response.read()) == 160 << 17 and len(read) == 160
            assert await (await session.post("/", content=iter([b"a", "b"]))).read() == b"ab"
            for source in (fails(), broken()):
                # The response may begin before the source fails.
                with pytest.raises(ValueError, match="gone"):
                    await (await session.post("/", content=source)).read()
            read.clear()
            response = await session.post("/", content=later(10_000, 1 << 17, read))
            await response.aclose()
            with pytest.raises(blindbox.Closed):
                await response.read()
            assert len(read) < 10_000
            transport = AsyncTransport(session)
            async with httpx.AsyncClient(transport=transport, base_url=echo.url, trust_env=False, timeout=LONG) as client:
                read.clear()
                response = await client.post("/", content=later(20, 1 << 17, read))
                assert len(response.content) == 20 << 17 and len(read) == 20

    asyncio.run(main())


@pytest.mark.parametrize("full", [False, True])
def test_a_cancelled_request_gives_up_its_source(emulate, full):
    async def main():
        # The source waits for its next piece, or the request for room.
        taken, closed = [], asyncio.Event()

        async def source():
            try:
                while not taken or (full and len(taken) < 10_000):
                    taken.append(0)
                    yield bytes(1 << 17)
                await asyncio.Event().wait()
            finally:
                closed.set()

        async with await emulator.connect_async() as session:
            sent = asyncio.ensure_future(session.post("/", content=source()))
            known = 0
            while not sent.done() and (not taken or (full and len(taken) > known)):
                known = len(taken)
                await asyncio.sleep(0.2)
            sent.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sent
            await asyncio.wait_for(closed.wait(), 60)
            assert len(taken) < 10_000

    # An application that takes the connection of the kernel's queue, and reads nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        emulator = emulate("--application", f"http://127.0.0.1:{silent.getsockname()[1]}")
        asyncio.run(main())


def test_an_asynchronous_request_sends_a_file(emulator, tmp_path):
    path = tmp_path / "upload"
    path.write_bytes(b"x" * 300_000)

    async def main():
        async with await emulator.connect_async() as session:
            with open(path, "rb") as file:
                assert len(await (await session.post("/echo", content=file)).read()) == 300_000
            assert await (await session.post("/echo", content=io.BytesIO(b"ab"))).read() == b"ab"

    asyncio.run(main())


class NotReady(io.RawIOBase):
    """A file in non-blocking mode that has half of its data."""

    def __init__(self):
        super().__init__()
        self.parts = [b"half", None]

    def readable(self):
        return True

    def read(self, size=-1):
        return self.parts.pop(0) if self.parts else b""


def test_a_file_that_has_nothing_yet_is_not_taken_for_its_end(emulator, session):
    refused = pytest.raises(blindbox.Misconfigured, match="a file that blocks until it has data")
    with refused:
        session.post("/echo", content=NotReady()).read()
    with attested.SecureSession(emulator.url, policy=emulator.policy, **emulator.settings) as secure:
        with refused:
            secure.post("/echo", data=NotReady())

    async def main():
        async with await emulator.connect_async() as session:
            with refused:
                await (await session.post("/echo", content=NotReady())).read()

    asyncio.run(main())


# That of blocking calls is in the facade (`limit.rs`), with its tests.
def test_a_read_timeout_of_asyncio_does_not_limit_an_upload():
    # No wait for a piece is shorter.
    request = httpx.Request("POST", "https://a", extensions={"timeout": {"read": 0}})

    class Progress:
        """An upload of which a piece was taken whenever it is asked."""

        asked = 0

        @property
        def taken(self):
            self.asked += 1
            if self.asked == 100:
                ended.set_result("sent")
            return self.asked

    async def main():
        nonlocal ended
        ended = asyncio.get_running_loop().create_future()
        upload = Progress()
        assert await _limited(ended, request, upload) == "sent" and upload.asked >= 100
        for stands_still in (types.SimpleNamespace(taken=5), None):
            silent = asyncio.get_running_loop().create_future()
            with pytest.raises(blindbox.Timeout):
                await _limited(silent, request, stands_still)
            assert silent.cancelled()

    ended = None
    asyncio.run(main())


def test_a_read_timeout_ends_an_upload_that_stands_still(emulator):
    async def stands_still():
        yield b"x"
        await asyncio.Event().wait()

    async def main():
        async with await emulator.connect_async() as session, httpx.AsyncClient(
            transport=AsyncTransport(session), base_url=emulator.url, trust_env=False, timeout=0.2
        ) as client:
            with pytest.raises(httpx.ReadTimeout) as caught:
                await client.post("/echo", content=stands_still())
            assert isinstance(caught.value, blindbox.Timeout) and caught.value.request_sent

    asyncio.run(main())
