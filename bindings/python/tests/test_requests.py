"""`blindbox_attestation.requests`: `requests` over an attested session, and the original client's interface."""

import gzip
import http.server
import io
import json
import pickle
import subprocess
import sys
import threading
import warnings
import zlib

import pytest
import requests

import blindbox_attestation as blindbox
from blindbox_attestation import requests as attested
from blindbox_attestation.requests._decoder import Decoder


@pytest.fixture
def secure(emulator):
    with attested.SecureSession(emulator.url, policy=emulator.policy, **emulator.settings) as session:
        yield session


@pytest.fixture
def canary():
    """Another server, which must get nothing."""
    received = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        do_GET = do_POST

        def log_message(self, *arguments):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def compressed():
    """Starts a server that responds with a body of gzip."""
    stops = []

    def start(body):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-encoding", "gzip")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        stops.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in stops:
        server.shutdown()
        thread.join()
        server.server_close()


def test_requests_as_usual(emulator, secure):
    response = secure.post("/generate", json={"prompt": "hi"})
    assert isinstance(response, requests.Response) and response.ok
    assert response.json() == {"text": "a response to: hi"}
    assert response.url == emulator.url + "/generate" and response.request.method == "POST"
    assert response.elapsed.total_seconds() > 0
    assert secure.get("/").text == "hello from a BlindBox"
    assert secure.get(emulator.url + "/", params={"a": "b"}).status_code == 200
    assert secure.head("/").text == ""
    for data in ("abc", b"abc", io.BytesIO(b"abc"), iter([b"a", b"bc"])):
        assert secure.put("/echo", data=data).content == b"abc"
    assert secure.post("/echo", data={"a": "1 2"}).text == "a=1+2"
    assert b"content" in secure.post("/echo", files={"file": b"content"}).content
    assert secure.delete("/echo").text == "DELETE" and secure.options("/echo").text == "OPTIONS"
    assert dict(secure.get("/headers", headers={"X-Mine": "1"}, auth=("a", "b")).json())["authorization"]
    with pytest.raises(requests.HTTPError):
        secure.get("/nowhere").raise_for_status()


def test_targets_are_below_the_address(emulator, secure):
    address = emulator.url + "/redirect"
    with attested.SecureSession(address, policy=emulator.policy, **emulator.settings) as below:
        with blindbox.verify_connection(address, emulator.policy, **emulator.settings) as session:
            for target, path in (("/x", "/x"), ("/x?a=//b:c", "/x?a=//b:c"), ("/", "/")):
                assert below.get(target).url == session.get(target).url == address + path
        for target, path in (("x", "/x"), ("?a=b", "/?a=b"), ("", "/"), (address + "/y", "/y")):
            assert below.get(target).url == address + path
        before = emulator.traffic()["application_requests"]
        for target in (emulator.url + "/", "/../echo", "../echo", "//evil.example/", "https://evil.example/redirect/"):
            with pytest.raises(blindbox.InvalidRequest):
                below.get(target)
        assert emulator.traffic()["application_requests"] == before
    for target in ("/echo", "echo", "./echo", emulator.url + "/echo"):
        assert secure.delete(target).url == emulator.url + "/echo"


def test_streaming(emulator, secure):
    with secure.get("/large?bytes=1000000", stream=True) as response:
        pieces = list(response.iter_content(10_000))
    assert sum(map(len, pieces)) == 1_000_000 and max(map(len, pieces)) == 10_000
    assert list(secure.post("/echo", data="a\nb", stream=True).iter_lines()) == [b"a", b"b"]
    raw = secure.get("/large?bytes=100000", stream=True).raw
    assert len(raw.read(10)) == 10 and len(raw.read()) == 99_990
    emulator.order("fail /large=truncated")
    with pytest.raises(requests.ConnectionError) as caught:
        secure.get("/large?bytes=100000")
    assert isinstance(caught.value, blindbox.ApplicationUnreachable)


def test_a_compressed_body_is_decoded(emulator, secure):
    emulator.order("fail /=gzip")
    assert secure.get("/").text == "hello from a BlindBox"


def test_redirects_stay_within_the_origin(emulator, secure, canary):
    other, received = canary
    assert secure.get("/redirect").text == "hello from a BlindBox"
    emulator.order(f"fail /echo=redirect:{other}/steal")
    with pytest.raises(blindbox.InvalidRequest) as caught:
        secure.post("/echo", data="a secret prompt")
    assert isinstance(caught.value, requests.exceptions.InvalidURL)
    for url in (other, other + "/x", "https://evil.example"):
        with pytest.raises(blindbox.InvalidRequest):
            secure.post(url, data="a secret prompt")
    assert received == []


def test_nothing_goes_around_the_attested_connection(emulator, secure, monkeypatch, canary):
    other, received = canary
    monkeypatch.setenv("HTTPS_PROXY", other)
    monkeypatch.setenv("ALL_PROXY", other)
    assert secure.get("/").ok
    before = emulator.traffic()["application_requests"]
    for options in ({"verify": False}, {"verify": "/x"}, {"cert": "/x"}, {"proxies": {"https": other}}):
        with pytest.raises(blindbox.Misconfigured):
            secure.get("/", **options)
    with pytest.raises(blindbox.Misconfigured):
        secure.mount("https://", requests.adapters.HTTPAdapter())
    with pytest.raises(blindbox.Misconfigured):
        secure.trust_env = True
    secure.verify = False
    with pytest.raises(blindbox.Misconfigured):
        secure.get("/")
    assert not secure.adapters and received == []
    assert emulator.traffic()["application_requests"] == before


def test_another_host_is_refused(emulator, secure):
    own = emulator.url.removeprefix("https://")
    assert secure.get("/", headers={"Host": own}).ok
    before = emulator.traffic()["application_requests"]
    for host in ("evil.example", "", own + "0"):
        with pytest.raises(blindbox.InvalidRequest):
            secure.get("/", headers={"host": host})
    assert emulator.traffic()["application_requests"] == before


def test_an_exception_of_requests_survives_pickling(emulator, secure):
    emulator.order("fail /large=truncated")
    with pytest.raises(requests.ConnectionError) as caught:
        secure.get("/large?bytes=100000", headers={"Authorization": "Bearer a-secret"})
    content = pickle.dumps(caught.value)
    copy = pickle.loads(content)
    assert isinstance(copy, requests.ConnectionError) and isinstance(copy, blindbox.ApplicationUnreachable)
    assert (copy.code, copy.number, copy.request_sent) == ("application-unreachable", caught.value.number, True)
    assert str(copy) == str(caught.value) and copy.request is None
    assert b"a-secret" not in content


def test_a_timeout_is_that_of_requests(emulator, secure):
    emulator.order("fail /=hang")
    with pytest.raises(requests.Timeout) as caught:
        secure.get("/", timeout=0.05)
    assert isinstance(caught.value, blindbox.Timeout) and isinstance(caught.value, TimeoutError)
    with pytest.raises(requests.Timeout):
        secure.get("/", timeout=(0.05, 0.05))


def test_the_interface_of_the_original_client(emulate):
    legacy = emulate("--agent", "legacy")
    endpoint = legacy.policy.maa_issuer.removeprefix("https://")
    arguments = (legacy.url, legacy.directory / "cce-policy.base64", endpoint)
    options = {
        "maa_policy_hash": _field(legacy, "trust", "maa", "policy-hash"),
        "agent": legacy.about["agent_url"],
        **legacy.settings,
    }
    with pytest.raises(blindbox.ChannelNotBound):
        attested.SecureSession(*arguments, **options)
    with pytest.warns(attested.UnboundChannelWarning):
        session = attested.connect(*arguments, allow_unbound=True, **options)
    with session:
        assert session.post("/generate", json={"prompt": "hi"}).json()["text"] == "a response to: hi"
    with pytest.warns(attested.UnboundChannelWarning):
        response = attested.post(legacy.url + "/echo?x=1", *arguments[1:], data="a", allow_unbound=True, **options)
    assert (response.status_code, response.text) == (200, "a")
    legacy.order("knob debug")
    with pytest.warns(attested.UnboundChannelWarning), pytest.raises(attested.DebugMode) as caught:
        attested.get(legacy.url, *arguments[1:], allow_unbound=True, **options)
    assert isinstance(caught.value, attested.AttestationException)


def _field(emulator, *path):
    found = json.loads(emulator.policy.to_json())
    for name in path:
        found = found[name]
    return found


def test_what_the_original_client_had_and_this_one_has_not(emulator):
    cce_file = emulator.directory / "cce-policy.base64"
    for arguments, options, message in (
        ((emulator.url, cce_file, "a.example", True), {}, "debug_mode=True skipped attestation"),
        ((emulator.url,), {}, "expected cce_file"),
        ((emulator.url, cce_file), {}, "allow_test_attester=True"),
        ((emulator.url, cce_file, "a.example"), {"policy": emulator.policy}, "either policy"),
        # A requirement beside a policy would be one that is not checked.
        ((emulator.url,), {"policy": emulator.policy, "maa_policy_hash": "5a" * 32}, "either policy"),
        ((emulator.url,), {"policy": emulator.policy, "minimum_svn": 200}, "either policy"),
        ((emulator.url,), {"policy": emulator.policy, "uvm_issuer": "did:x509:a"}, "either policy"),
        ((emulator.url,), {"policy": emulator.policy, "allow_test_attester": True}, "either policy"),
    ):
        with pytest.raises(blindbox.Misconfigured, match=message):
            attested.SecureSession(*arguments, **options)
    with pytest.raises(blindbox.InvalidPolicy):
        attested.SecureSession(emulator.url, cce_file, "sharedeus2.eus2.test.attest.azure.net")


def test_clear_text_is_never_a_fallback(emulate):
    plain = emulate("--agent", "legacy", "--transport", "plain-http")
    arguments = (plain.url, plain.directory / "cce-policy.base64", plain.policy.maa_issuer)
    options = {
        "maa_policy_hash": _field(plain, "trust", "maa", "policy-hash"),
        "agent": plain.about["agent_url"],
        "collateral_roots": plain.directory / "collateral-root.pem",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", attested.UnboundChannelWarning)
        with pytest.raises(blindbox.InvalidUrl, match="does not allow plain http"):
            attested.SecureSession(*arguments, allow_unbound=True, **options)
        with pytest.warns(attested.PlainHttpWarning):
            session = attested.SecureSession(*arguments, allow_unbound=True, allow_plain_http=True, **options)
    with session:
        assert session.get("/").text == "hello from a BlindBox"


@pytest.mark.parametrize("knob, name", [("no-compliance-status", "NonCompliantUvm"), ("debug", "DebugMode")])
def test_the_examples_of_the_guide_print_the_name_of_the_error(emulator, tmp_path, knob, name):
    emulator.order("knob " + knob)
    script = tmp_path / "guide.py"
    script.write_text(
        "import sys\n"
        "import blindbox_attestation as blindbox\n"
        "url, policy, application, collateral = sys.argv[1:]\n"
        "try:\n"
        "    with blindbox.verify_connection(\n"
        "        url, blindbox.Policy.from_file(policy), application_roots=application, collateral_roots=collateral\n"
        "    ) as session:\n"
        "        print(session.post('/generate', json={'prompt': 'hi'}).text)\n"
        "except blindbox.AttestationError as error:\n"
        "    print(type(error).__name__)\n"
    )
    files = [str(emulator.directory / file) for file in ("policy.toml", "application-root.pem", "collateral-root.pem")]
    done = subprocess.run(
        [sys.executable, str(script), emulator.url, *files], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, name + "\n", "")


@pytest.mark.parametrize("name", ["allow_unbound", "allow_plain_http", "allow_test_attester"])
@pytest.mark.parametrize("wrong", ["false", "no", 1, 0, None])
def test_what_relaxes_a_check_is_true_or_false(emulator, name, wrong):
    cce_file = emulator.directory / "cce-policy.base64"
    for arguments, options in (((emulator.url, cce_file, "a.example"), {}), ((emulator.url,), {"policy": emulator.policy})):
        with pytest.raises(blindbox.Misconfigured, match=f"{name}: expected True or False"):
            attested.SecureSession(*arguments, **options, **{name: wrong})


def decoded(encoding, *pieces):
    decoder = Decoder(encoding)
    found = b"".join(part for piece in pieces for part in decoder.add(piece))
    decoder.finish()
    return found


def test_compressed_bodies_are_read_to_their_end():
    two = gzip.compress(b"one ") + gzip.compress(b"two")
    assert decoded("gzip", two) == decoded("x-gzip", *(two[at : at + 1] for at in range(len(two)))) == b"one two"
    assert decoded("deflate", zlib.compress(b"one")) == b"one"
    # That of a response to HEAD.
    assert decoded("gzip") == b""
    first = len(gzip.compress(b"one "))
    for encoding, body in (
        ("gzip", two[:-1]),
        ("gzip", two[: first + 1]),
        ("gzip", two + b"more"),
        ("gzip", zlib.compress(b"one")),
        ("deflate", zlib.compress(b"one") * 2),
        ("deflate", zlib.compress(b"one")[:-1]),
    ):
        with pytest.raises(requests.exceptions.ContentDecodingError):
            decoded(encoding, body)


@pytest.mark.parametrize("encoding, compress", [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_a_body_that_decodes_to_much_more_comes_in_pieces(encoding, compress):
    # 16 MiB of 16 KiB, in two members where there can be two.
    members = 2 if encoding == "gzip" else 1
    decoder = Decoder(encoding)
    sizes = [len(part) for part in decoder.add(compress(bytes(16 << 20)) * members)]
    decoder.finish()
    assert sum(sizes) == members * 16 << 20 and max(sizes) <= Decoder.LIMIT
    # What is left is asked for, although nothing of the body is left to read.
    decoder = Decoder(encoding)
    body = compress(bytes(Decoder.LIMIT))
    first = b"".join(decoder.add(body[:-1]))
    assert len(first + b"".join(decoder.add(body[-1:]))) == Decoder.LIMIT
    decoder.finish()


def test_a_body_of_two_members_is_whole(emulate, compressed):
    emulator = emulate("--application", compressed(gzip.compress(b"one ") + gzip.compress(b"two")))
    with attested.SecureSession(emulator.url, policy=emulator.policy, **emulator.settings) as secure:
        assert secure.get("/").content == b"one two"
