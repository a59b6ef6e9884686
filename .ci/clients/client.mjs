// `fetch` of Node through the proxy: a request and a stream.

import assert from "node:assert";

const base = `${process.env.BLINDBOX_PROXY}/v1`;
const headers = { Authorization: `Bearer ${process.env.BLINDBOX_ACCESS_TOKEN}` };

const echo = await fetch(`${base}/echo`, { method: "POST", headers, body: "hello" });
assert.deepEqual([echo.status, await echo.json()], [200, { text: "hello" }]);

const stream = await fetch(`${base}/events?stream=node`, { headers });
let text = "";
for await (const chunk of stream.body.pipeThrough(new TextDecoderStream())) {
  if (text === "") {
    assert.equal(chunk, "data: 1\n\n");
    assert.equal((await fetch(`${base}/go?stream=node`, { headers })).status, 200);
  }
  text += chunk;
}
assert.equal(text, "data: 1\n\ndata: 2\n\ndata: 3\n\n");
