"""`blindbox_attestation.httpx`: transports, and the `openai` package over them."""

import asyncio
import http.server
import json
import threading

import httpx
import openai
import pytest

import blindbox_attestation as blindbox
from blindbox_attestation.httpx import AsyncTransport, Transport

# The limit of httpx, five seconds, is short for a busy machine.
LONG = 300


@pytest.fixture
def client(emulator, session):
    with httpx.Client(transport=Transport(session), base_url=emulator.url, trust_env=False, timeout=LONG) as client:
        yield client


def test_requests_as_usual(client):
    assert client.get("/").text == "hello from a BlindBox"
    response = client.post("/generate", json={"prompt": "hi"})
    assert response.json() == {"text": "a response to: hi"} and response.http_version == "HTTP/2"
    assert client.post("/echo", content=iter([b"a", b"b"])).content == b"ab"
    assert b"content" in client.post("/echo", files={"file": b"content"}).content
    assert client.head("/").content == b""
    with client.stream("GET", "/large?bytes=1000000") as response:
        assert sum(map(len, response.iter_bytes())) == 1_000_000
    assert client.get("/redirect", follow_redirects=True).text == "hello from a BlindBox"


def test_a_compressed_body_is_decoded(emulator, client):
    emulator.order("fail /=gzip")
    assert client.get("/").text == "hello from a BlindBox"


def test_other_origins_are_refused(emulator, client):
    before = emulator.traffic()["application_requests"]
    with pytest.raises(blindbox.InvalidRequest) as caught:
        client.get("https://evil.example/")
    assert isinstance(caught.value, httpx.UnsupportedProtocol)
    assert emulator.traffic()["application_requests"] == before
    with pytest.raises(blindbox.InvalidRequest):
        client.get("/redirect?to=https://evil.example/", follow_redirects=True)


def test_the_statement_about_a_request_is_not_about_its_redirect(emulator, session):
    seen = []

    class Recording(Transport):
        def handle_request(self, request):
            seen.append(request.extensions.get("idempotent"))
            return super().handle_request(request)

    with httpx.Client(transport=Recording(session), base_url=emulator.url, trust_env=False, timeout=LONG) as client:
        client.get("/redirect", follow_redirects=True, extensions={"idempotent": True})
    assert seen == [True, None]


def test_another_host_is_refused(emulator, client):
    own = emulator.url.removeprefix("https://")
    assert client.get("/", headers={"Host": own}).status_code == 200
    before = emulator.traffic()["application_requests"]
    for host in ("evil.example", "", own + "0"):
        with pytest.raises(blindbox.InvalidRequest):
            client.get("/", headers={"host": host})
    assert emulator.traffic()["application_requests"] == before


def test_errors_are_those_of_httpx(emulator, client):
    emulator.order("fail /=hang")
    with pytest.raises(httpx.ReadTimeout) as caught:
        client.get("/", timeout=0.05)
    assert isinstance(caught.value, blindbox.Timeout) and caught.value.request_sent
    assert caught.value.request.url.path == "/"
    emulator.order("reset")
    emulator.order("fail /large=truncated")
    with pytest.raises(httpx.ReadError):
        client.get("/large?bytes=100000")


def test_asyncio(emulator):
    async def main():
        async with await emulator.connect_async() as session:
            transport = AsyncTransport(session)
            async with httpx.AsyncClient(transport=transport, base_url=emulator.url, trust_env=False, timeout=LONG) as client:
                assert (await client.get("/")).text == "hello from a BlindBox"
                assert (await client.post("/echo", content=b"ab")).content == b"ab"
                async with client.stream("GET", "/large?bytes=1000000") as response:
                    assert sum([len(piece) async for piece in response.aiter_bytes()]) == 1_000_000
                emulator.order("fail /=hang")
                with pytest.raises(httpx.ReadTimeout) as caught:
                    await client.get("/", timeout=0.05)
                assert isinstance(caught.value, blindbox.Timeout) and caught.value.request_sent
                assert caught.value.request.url.path == "/"
                with pytest.raises(blindbox.InvalidRequest):
                    await client.get("https://evil.example/")

    asyncio.run(main())


class Model(http.server.BaseHTTPRequestHandler):
    """An OpenAI-compatible server of two words."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked.get("stream"):
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("connection", "close")
            self.end_headers()
            for word in ("hello ", "world"):
                chunk = {"choices": [{"index": 0, "delta": {"content": word}}]}
                self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
            return
        message = {"role": "assistant", "content": "hello world"}
        body = json.dumps({"id": "1", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def test_the_openai_package(emulate):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        emulator = emulate("--application", f"http://127.0.0.1:{server.server_port}")
        question = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        with emulator.connect() as session:
            http_client = httpx.Client(transport=Transport(session), trust_env=False, timeout=LONG)
            with openai.OpenAI(base_url=emulator.url + "/v1", api_key="k", http_client=http_client) as client:
                answer = client.chat.completions.create(**question)
                assert answer.choices[0].message.content == "hello world"
                stream = client.chat.completions.create(**question, stream=True)
                assert "".join(chunk.choices[0].delta.content for chunk in stream) == "hello world"

        async def main():
            async with await emulator.connect_async() as session:
                http_client = httpx.AsyncClient(transport=AsyncTransport(session), trust_env=False, timeout=LONG)
                async with openai.AsyncOpenAI(
                    base_url=emulator.url + "/v1", api_key="k", http_client=http_client
                ) as client:
                    stream = await client.chat.completions.create(**question, stream=True)
                    words = [chunk.choices[0].delta.content async for chunk in stream]
                    assert "".join(words) == "hello world"

        asyncio.run(main())
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
