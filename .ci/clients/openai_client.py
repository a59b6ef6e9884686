"""The official `openai` package, and `requests` and `httpx`, through the proxy. Base URL and token are in the environment."""

import hashlib
import os

import httpx
import openai
import requests

from application import API_KEY

BASE, TOKEN = os.environ["BLINDBOX_PROXY"] + "/v1", os.environ["BLINDBOX_ACCESS_TOKEN"]


def main():
    # The two words of the cookbook: base_url and api_key.
    client = openai.OpenAI(base_url=BASE, api_key=TOKEN, max_retries=0, timeout=60)
    assert [model.id for model in client.models.list()] == ["emulated"]

    said = [{"role": "user", "content": "hello"}]
    completion = client.chat.completions.create(model="emulated", messages=said)
    assert completion.choices[0].message.content == "you said hello", completion

    words = []
    for chunk in client.chat.completions.create(model="emulated", messages=said, stream=True, user="openai"):
        if not words:
            client.get("/go?stream=openai", cast_to=object)
        words.append(chunk.choices[0].delta.content)
    assert words == ["you ", "said ", "hello"], words

    content = bytes(range(256)) * 4096
    stored = client.files.create(file=("data.bin", content), purpose="batch")
    assert (stored.bytes, stored.id) == (len(content), hashlib.sha256(content).hexdigest()), stored
    assert stored.filename == "data.bin", stored

    # The token is for the proxy alone.
    assert TOKEN not in str(client.get("/headers", cast_to=object))

    # Where the application has a key of its own, the token goes in the other header.
    both = openai.OpenAI(base_url=BASE, api_key=API_KEY, default_headers={"X-Blindbox-Token": TOKEN}, max_retries=0)
    received = dict(both.get("/headers", cast_to=object))
    assert received["authorization"] == f"Bearer {API_KEY}", received
    assert "x-blindbox-token" not in received, received

    # Without the token: an error of the client's own, before anything reaches the application.
    try:
        openai.OpenAI(base_url=BASE, api_key="wrong", max_retries=0).models.list()
        raise SystemExit("a wrong token is accepted")
    except openai.AuthenticationError as error:
        assert error.response.headers["x-blindbox-error"] == "wrong-access-token", error

    headers = {"X-Blindbox-Token": TOKEN}
    for name, library in [("requests", requests), ("httpx", httpx)]:
        response = library.post(BASE + "/echo", data={"of": name}, headers=headers, timeout=60)
        assert response.json() == {"text": f"of={name}"}, response.text
    with requests.get(BASE + "/events?stream=requests", headers=headers, stream=True, timeout=60) as stream:
        lines = stream.iter_lines(chunk_size=1)
        assert next(lines) == b"data: 1"
        requests.get(BASE + "/go?stream=requests", headers=headers, timeout=60).raise_for_status()
        assert b"".join(lines) == b"data: 2data: 3"
    with httpx.stream("GET", BASE + "/events?stream=httpx", headers=headers, timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines) == "data: 1"
        httpx.get(BASE + "/go?stream=httpx", headers=headers, timeout=60).raise_for_status()
        assert "".join(lines) == "data: 2data: 3"


main()
