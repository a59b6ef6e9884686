"""Clients as people have them, each through `proxy` to an application in an emulated BlindBox: a request and a stream.

    clients.py BLINDBOX_ATTEST [PYTHON WITH OPENAI]

A client that is not on this machine is skipped in a banner.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

from application import Application

HERE = os.path.dirname(os.path.abspath(__file__))
BINARY = sys.argv[1]
PYTHON = sys.argv[2] if len(sys.argv) > 2 else None
# Only a hang reaches it: `go run` may have to compile the standard library first.
LIMIT = 600


def skip(why):
    banner = "#" * 60
    print(f"\n{banner}\nSKIPPED: {why}\n{banner}\n", file=sys.stderr, flush=True)


@contextlib.contextmanager
def serving(*command):
    """A process that prints one line of JSON and serves until its standard input is closed, or it is asked to stop."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            line = process.stdout.readline()
            assert line, f"{command[1]} did not start"
            yield json.loads(line)
        finally:
            process.stdin.close()
            process.terminate()
            process.wait(timeout=LIMIT)


def run(what, command, variables):
    environment = {**os.environ, **variables, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    subprocess.run(command, env=environment, timeout=LIMIT, check=True)
    print("ok      " + what, flush=True)


def offers_h2c():
    curl = shutil.which("curl")
    features = subprocess.run([curl, "--version"], capture_output=True, text=True, check=True).stdout if curl else ""
    return "HTTP2" in features.split()


def node_version():
    if not shutil.which("node"):
        return 0
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(version.removeprefix("v").split(".")[0])


def curl(proxy, token, socket=None):
    """`curl --http2`, which offers h2c on a connection in clear."""
    base = proxy + "/v1"
    command = ["curl", "-sSN", "--fail", "--noproxy", "*", "--max-time", str(LIMIT), "-H", f"X-Blindbox-Token: {token}"]
    command += ["--unix-socket", socket] if socket else ["--http2"]
    echo = subprocess.run([*command, "-d", "hello", base + "/echo"], capture_output=True, text=True, check=True)
    assert json.loads(echo.stdout) == {"text": "hello"}, echo
    name = "socket" if socket else "curl"
    with subprocess.Popen([*command, f"{base}/events?stream={name}"], stdout=subprocess.PIPE, text=True) as stream:
        assert stream.stdout.readline() == "data: 1\n"
        subprocess.run([*command, "-o", os.devnull, f"{base}/go?stream={name}"], check=True)
        assert stream.stdout.read() == "\ndata: 2\n\ndata: 3\n\n"
    assert stream.returncode == 0
    print("ok      curl over a Unix socket" if socket else "ok      curl --http2", flush=True)


def blocks(page, *languages):
    """The code on a page of docs/."""
    with open(os.path.join(HERE, "../../docs", page), encoding="utf-8") as file:
        text = file.read()
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(language, code) for language, code in found if language in languages]


def recipes(variables, directory):
    """The recipes of docs/clients.md, pasted: each asks for a chat completion and prints it."""
    tools = {
        "python": ([PYTHON], "recipe.py", PYTHON, "python3 with openai, requests and httpx"),
        "sh": (["sh", "-e"], "recipe.sh", offers_h2c(), "curl"),
        "js": (["node"], "recipe.mjs", node_version() >= 18, "Node of version 18 or later"),
        "java": (["java"], "Chat.java", shutil.which("javac"), "a JDK"),
        "go": (["go", "run"], "recipe.go", shutil.which("go"), "Go"),
    }
    found = blocks("clients.md", *tools)
    assert [language for language, _ in found] == ["python", "python", "python", "sh", "js", "java", "go"], found
    environment = {**os.environ, **variables}
    for language, code in found:
        command, name, available, needed = tools[language]
        if not available:
            skip(f"the recipe in {language}: needs {needed}")
            continue
        path = os.path.join(directory, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(code)
        done = subprocess.run([*command, path], env=environment, timeout=LIMIT, capture_output=True, text=True)
        expected = 2 if language == "sh" else 1
        assert done.returncode == 0 and done.stdout.count("you said hello") == expected, (code, done)
        print(f"ok      recipe in {language}", flush=True)


def migration(directory):
    """The module of docs/python-client.md, pasted, with a peer that is accepted and one that is refused."""
    [(_, code)] = blocks("python-client.md", "python")
    with open(os.path.join(directory, "blindbox_proxy.py"), "w", encoding="utf-8") as file:
        file.write(code)
    path = os.pathsep.join([os.path.dirname(os.path.abspath(BINARY)), os.environ["PATH"]])
    run("migration from the Python client", [PYTHON, os.path.join(HERE, "migrated.py")], {"PATH": path, "PYTHONPATH": directory})


def main():
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        file = lambda name: os.path.join(directory, name)  # noqa: E731
        application = Application()
        box = stack.enter_context(serving(BINARY, "emulate", "--application", application.url, "--out", directory))
        proxy = [BINARY, "proxy", box["url"], "--json", "--policy", file("policy.toml")]
        proxy += ["--application-root", file("application-root.pem"), "--collateral-root", file("collateral-root.pem")]
        proxy += ["--access-token-file", file("token")]
        at = stack.enter_context(serving(*proxy))["listen"]
        with open(file("token"), encoding="ascii") as text:
            token = text.read().strip()
        variables = {"BLINDBOX_PROXY": at, "BLINDBOX_ACCESS_TOKEN": token}

        if offers_h2c():
            curl(at, token)
            socket = file("s")
            stack.enter_context(serving(*proxy, "--listen", "unix:" + socket))
            curl("http://localhost", token, socket)
        else:
            skip("curl --http2: there is no curl with HTTP/2")
        if shutil.which("java") and shutil.which("javac"):
            run("java.net.http", ["java", os.path.join(HERE, "Client.java")], variables)
        else:
            skip("java.net.http: there is no JDK")
        if node_version() >= 18:
            run("node fetch", ["node", os.path.join(HERE, "client.mjs")], variables)
        else:
            skip("fetch of Node: there is no Node of version 18 or later")
        if PYTHON:
            run("openai, requests, httpx", [PYTHON, os.path.join(HERE, "openai_client.py")], variables)
        socket = file("recipes")
        stack.enter_context(serving(*proxy, "--listen", "unix:" + socket))
        recipes({**variables, "BLINDBOX_SOCKET": socket}, directory)
        if PYTHON:
            migration(directory)


main()
