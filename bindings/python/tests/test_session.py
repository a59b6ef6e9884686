"""Blocking sessions."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime, timezone

import pytest

import blindbox_attestation as blindbox


def test_a_session_sends_requests_to_the_attested_peer(emulator, session):
    response = session.post("/generate", json={"prompt": "hi"})
    assert (response.status, response.ok) == (200, True)
    assert response.json() == {"text": "a response to: hi"}
    assert response.headers["Content-Type"].startswith("application/json")
    assert response.http_version == "HTTP/2"
    assert response.url == emulator.url + "/generate"
    assert session.attestation.channel == "bound"
    assert all(check.verdict != "failed" for check in session.attestation.appraisal)
    assert "debug" in str(session.attestation)
    assert session.attestation.expires_at > datetime.now(timezone.utc)


def test_every_method(session):
    assert session.get("/").text == "hello from a BlindBox"
    assert session.head("/").read() == b""
    assert session.put("/echo", content="text").text == "text"
    assert session.patch("/echo", content=b"bytes").content == b"bytes"
    assert session.delete("/echo").text == "DELETE"
    assert session.options("/echo").text == "OPTIONS"
    with pytest.raises(blindbox.InvalidRequest):
        session.request("CONNECT", "/")


def test_bodies_of_every_kind_are_sent(session):
    parts = [b"a", bytearray(b"b"), b"c"]
    for content in (b"abc", "abc", memoryview(b"abc"), iter(parts), (part for part in parts), io.BytesIO(b"abc")):
        assert session.post("/echo", content=content).content == b"abc"
    assert session.post("/echo", form={"a": "1 2", "b": ["x", "y"]}).content == b"a=1+2&b=x&b=y"
    megabyte = os.urandom(1 << 20)
    assert session.post("/echo", content=megabyte).content == megabyte
    structured = ({"prompt": "x"}, {"x"}, frozenset([b"x"]), {"a": b"x"}.keys())
    for content in structured:
        with pytest.raises(blindbox.Misconfigured, match="expected json= or form="):
            session.post("/echo", content=content)
    for wrong in ({"content": 1}, {"content": [1]}, {"content": b"x", "json": {}}):
        with pytest.raises(blindbox.Misconfigured):
            session.post("/echo", **wrong)


def test_headers_and_parameters(session):
    sent = dict(session.get("/headers?a=1", params={"b": "x y"}, headers={"X-Mine": "ä"}).json())
    assert sent["x-mine"] == "ä"
    latin = dict(session.get("/headers", headers={"X-Latin": b"\xe4"}).json())
    assert latin["x-latin"] == "\ufffd"
    with pytest.raises(blindbox.InvalidRequest):
        session.get("/headers", headers={"Host": "evil.example"})
    with pytest.raises(blindbox.InvalidRequest):
        session.get("/headers", headers={"x": "a\r\nb: c"})


def test_a_large_body_comes_in_pieces(session):
    with session.get("/large?bytes=3000000") as response:
        pieces = list(response.iter_bytes())
    assert sum(map(len, pieces)) == 3_000_000
    assert len(pieces) > 3


def test_lines(session):
    text = "a\r\nb\rc\n\nend\u00e4"
    assert list(session.post("/echo", content=text).iter_lines()) == ["a", "b", "c", "", "end\u00e4"]


def test_lines_across_pieces():
    from blindbox_attestation._lines import Lines

    lines = Lines("utf-8")
    encoded = "x\r\ny\u00e4\rz".encode()
    found = [line for byte in encoded for line in lines.add(bytes([byte]))]
    assert found + lines.add(b"", final=True) == ["x", "y\u00e4", "z"]


def test_a_body_is_read_once(session):
    response = session.get("/large?bytes=300000")
    assert len(b"".join(response.iter_bytes())) == 300_000
    with pytest.raises(blindbox.Misconfigured, match="read before"):
        response.read()
    # A part of it is not the whole.
    response = session.get("/large?bytes=300000")
    first = next(response.iter_bytes())
    for use in (response.read, response.json, lambda: response.content, lambda: response.text):
        with pytest.raises(blindbox.Misconfigured, match="read before"):
            use()
    assert len(first) + sum(map(len, response.iter_bytes())) == 300_000
    assert list(session.head("/").iter_bytes()) == []
    small = session.get("/")
    assert small.read() == small.content == b"hello from a BlindBox"


def test_a_body_that_breaks_off_raises(emulator, session):
    emulator.order("fail /large=truncated")
    response = session.get("/large?bytes=100000")
    for _ in range(2):
        with pytest.raises(blindbox.ApplicationUnreachable) as caught:
            response.read()
        assert isinstance(caught.value, ConnectionError)
        assert caught.value.request_sent


def test_a_closed_session_and_a_closed_response(emulator):
    session = emulator.connect()
    response = session.get("/large?bytes=3000000")
    response.close()
    with pytest.raises(blindbox.Closed):
        next(response.iter_bytes())
    session.close()
    with pytest.raises(blindbox.Closed) as caught:
        session.get("/")
    assert (caught.value.code, caught.value.number) == ("closed", 903)


def test_a_session_that_is_not_closed_warns(emulator):
    session = emulator.connect()
    with pytest.warns(ResourceWarning, match="was not closed"):
        del session


def test_other_origins_and_redirects(emulator, session):
    before = emulator.traffic()["application_requests"]
    for url in ("https://evil.example/", emulator.url.replace("https", "http"), "//evil.example/"):
        with pytest.raises(blindbox.InvalidRequest):
            session.get(url)
    assert emulator.traffic()["application_requests"] == before
    assert session.get(emulator.url + "/").status == 200
    redirect = session.get("/redirect?to=https://evil.example/")
    assert (redirect.status, redirect.headers["location"]) == (302, "https://evil.example/")


def test_status(session):
    response = session.get("/nowhere")
    with pytest.raises(blindbox.StatusError, match="status 404"):
        response.raise_for_status()
    session.get("/").raise_for_status()


def test_reattest(session):
    assert session.reattest().channel == "bound"


def test_a_timeout(emulator, session):
    emulator.order("fail /=hang")
    with pytest.raises(TimeoutError) as caught:
        session.get("/", timeout=0.05)
    # Whether the request was sent by then is not known.
    assert isinstance(caught.value, blindbox.Timeout)


def test_threads_share_a_session(session):
    failures = []

    def work():
        try:
            for _ in range(20):
                assert session.post("/echo", content=b"x").read() == b"x"
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not failures and not any(thread.is_alive() for thread in threads)


@pytest.fixture
def interruptible():
    """Python leaves a SIGINT alone that was ignored when it started, as in the background of a shell without job control."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_call_that_hangs(emulator, session, interruptible):
    emulator.order("fail /=hang")
    before = emulator.traffic()["application_requests"]
    interrupted = []

    def interrupt():
        # The main thread gives no orders to the emulator while it waits for its response.
        end = time.monotonic() + 60
        while emulator.traffic()["application_requests"] == before and time.monotonic() < end:
            time.sleep(0.01)
        if time.monotonic() < end:
            interrupted.append(time.monotonic())
            if os.name == "nt":
                signal.raise_signal(signal.SIGINT)
            else:
                os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        session.get("/", timeout=250)
    assert time.monotonic() - interrupted[0] < 60
    thread.join()
    emulator.order("reset")
    assert session.get("/").status == 200


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_session(emulator, session):
    response = session.get("/large?bytes=1000000")
    small, lines = session.get("/"), session.get("/")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            for use in (
                lambda: session.get("/"),
                lambda: list(response.iter_bytes()),
                small.read,
                lambda: list(lines.iter_lines()),
            ):
                try:
                    use()
                except blindbox.Forked as error:
                    assert error.number == 904
                else:
                    os._exit(2)
            with emulator.connect() as own:
                code = 0 if own.get("/").status == 200 else 3
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert session.get("/").status == 200


def test_the_interpreter_ends_with_work_under_way(emulator, tmp_path):
    emulator.order("fail /slow=hang")
    script = tmp_path / "script.py"
    script.write_text(
        "import asyncio, sys, threading, time\n"
        "import blindbox_attestation as b\n"
        "policy = b.Policy.from_file(sys.argv[2])\n"
        "roots = dict(application_roots=sys.argv[3], collateral_roots=sys.argv[4])\n"
        "session = b.verify_connection(sys.argv[1], policy, **roots)\n"
        "for _ in range(8):\n"
        "    threading.Thread(target=session.get, args=('/slow',), daemon=True).start()\n"
        "async def main():\n"
        "    other = await b.verify_connection_async(sys.argv[1], policy, **roots)\n"
        "    tasks = [asyncio.ensure_future(other.get('/slow')) for _ in range(20)]\n"
        "    await asyncio.sleep(0.1)\n"
        "asyncio.run(main())\n"
        "print('ended')\n"
    )
    files = [str(emulator.directory / name) for name in ("policy.toml", "application-root.pem", "collateral-root.pem")]
    done = subprocess.run(
        [sys.executable, str(script), emulator.url, *files], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")
