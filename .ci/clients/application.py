"""The application behind the proxy: a server that OpenAI-compatible clients can talk to, and that shows what it received.

A stream sends its first event, and the others only when a client that has read the first one asks for `/go`: what arrives is a
stream then, without a clock.
"""

import email.parser
import email.policy
import hashlib
import json
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# No client waits for longer.
LIMIT = 60

# The key of the application itself.
API_KEY = "sk-of-the-application"


class Application(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.gates = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def gate(self, name):
        with self.lock:
            return self.gates.setdefault(name, threading.Event())


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        target = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(target.query))
        if target.path == "/v1/headers":
            self.json([[name.lower(), value] for name, value in self.headers.items()])
        elif target.path == "/v1/models":
            self.json({"object": "list", "data": [{"id": "emulated", "object": "model", "created": 1, "owned_by": "test"}]})
        elif target.path == "/v1/go":
            self.server.gate(query["stream"]).set()
            self.json({"ok": True})
        elif target.path == "/v1/events":
            self.events(query["stream"], ["1", "2", "3"])
        else:
            self.json({"error": {"message": "no such path"}}, 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])) if "Content-Length" in self.headers else self.chunks()
        if self.path == "/v1/echo":
            self.json({"text": body.decode()})
        elif self.path == "/v1/chat/completions":
            self.chat(json.loads(body))
        elif self.path == "/v1/files":
            self.file(body)
        else:
            self.json({"error": {"message": "no such path"}}, 404)

    def chat(self, request):
        said = request["messages"][-1]["content"]
        words = ["you ", "said ", said]
        chunk = {"id": "chat-1", "created": 1, "model": request["model"]}
        if not request.get("stream"):
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            self.json({**chunk, "object": "chat.completion", "choices": [choice]})
            return
        deltas = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in words]
        chunks = [json.dumps({**chunk, "object": "chat.completion.chunk", "choices": [delta]}) for delta in deltas]
        self.events(request.get("user"), [*chunks, "[DONE]"])

    def file(self, body):
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
        content = parts["file"].get_payload(decode=True)
        digest = hashlib.sha256(content).hexdigest()
        about = {"id": digest, "object": "file", "bytes": len(content), "created_at": 1, "status": "processed"}
        self.json({**about, "filename": parts["file"].get_filename(), "purpose": parts["purpose"].get_content().strip()})

    def events(self, stream, events):
        """Server-sent events. Those of a named stream are sent once its first one was read."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(events):
            if number == 1 and stream and not self.server.gate(stream).wait(LIMIT):
                # The client does not see the first event before the others are there: the stream is cut.
                self.close_connection = True
                return
            data = f"data: {event}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def chunks(self):
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def json(self, value, status=200):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
