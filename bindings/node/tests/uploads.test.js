'use strict';

const assert = require('node:assert/strict');
const { createReadStream, writeFileSync } = require('node:fs');
const http = require('node:http');
const { after, afterEach, before, test } = require('node:test');

const { Emulator } = require('./emulator');

let emulator;
let session;

before(async () => {
  emulator = await Emulator.start();
  session = await emulator.connect();
});
afterEach(() => emulator.order('reset'));
after(async () => {
  session?.close();
  await emulator.stop();
});

const upload = (body, options = {}) => session.fetch('/echo', { method: 'POST', body, duplex: 'half', ...options });

async function* pieces(count, size) {
  for (let number = 0; number < count; number += 1) {
    yield Buffer.alloc(size, number);
  }
}

test('streams of every kind are sent', async () => {
  const stream = (parts) =>
    new ReadableStream({
      start(controller) {
        parts.forEach((part) => controller.enqueue(Buffer.from(part)));
        controller.close();
      },
    });
  async function* texts() {
    yield 'a';
    yield Buffer.from('b');
  }
  assert.equal(await (await upload(stream(['a', 'b']))).text(), 'ab');
  assert.equal(await (await upload(texts())).text(), 'ab');
  assert.equal(await (await upload(stream([]))).text(), '');
  const request = new Request(`${emulator.url}/echo`, { method: 'POST', body: stream(['ab']), duplex: 'half' });
  assert.equal(await (await session.fetch(request)).text(), 'ab');
  writeFileSync(emulator.file('upload'), 'content of a file');
  assert.equal(await (await upload(createReadStream(emulator.file('upload')))).text(), 'content of a file');
  const large = new Uint8Array(await (await upload(pieces(80, 65_536))).arrayBuffer());
  assert.equal(large.length, 80 * 65_536);
  assert(large.every((byte, at) => byte === at >> 16));
});

test('a length that is announced is sent and kept', async () => {
  const headers = { 'content-length': '3' };
  assert.equal(await (await upload(pieces(1, 3), { headers })).text(), '\0\0\0');
  await assert.rejects(upload(pieces(1, 2), { headers }), {
    name: 'RequestBodyFailed',
    message: /ended after 2 of the 3 bytes/,
  });
});

test('a source that fails fails its request, and is its cause', async () => {
  const failure = new Error('the disk is gone');
  async function* broken() {
    yield Buffer.from('half');
    throw failure;
  }
  await assert.rejects(upload(broken()), (error) => {
    assert.equal(error.name, 'RequestBodyFailed');
    assert.deepEqual([error.code, error.number, error.category], ['request-body-failed', 406, 'misconfigured']);
    assert.equal(error.cause, failure);
    // The text of an error of the caller's may be secret.
    assert(!error.message.includes('disk'));
    return true;
  });
  async function* wrong() {
    yield 1;
  }
  await assert.rejects(upload(wrong()), (error) => error.cause instanceof TypeError);
  assert.equal((await session.fetch('/')).status, 200);
});

test('a source that is not sent is not read, and is given up', async () => {
  let pulled = 0;
  const source = () => {
    const state = {};
    state.cancelled = new Promise((resolve) => {
      state.stream = new ReadableStream({ pull: () => void (pulled += 1), cancel: resolve }, { highWaterMark: 0 });
    });
    return state;
  };
  const refused = source();
  const options = { method: 'POST', body: refused.stream, duplex: 'half' };
  await assert.rejects(session.fetch('https://evil.example/', options), { name: 'InvalidRequest' });
  await refused.cancelled;
  assert.equal(pulled, 0);
  // A source that never has a piece ends with the signal.
  const silent = source();
  const abort = new AbortController();
  const sent = upload(silent.stream, { signal: abort.signal });
  setTimeout(() => abort.abort(), 20);
  await assert.rejects(sent, { name: 'AbortError' });
  await silent.cancelled;
});

test('a response may come while its request is sent, piece for piece', async () => {
  const server = http.createServer((request, response) => {
    response.writeHead(200);
    request.pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const other = await Emulator.start('--application', `http://127.0.0.1:${server.address().port}`);
  try {
    const echo = await other.connect();
    let taken;
    async function* questions() {
      for (let number = 0; number < 3; number += 1) {
        const responded = new Promise((resolve) => (taken = resolve));
        yield `question ${number}`;
        await responded;
      }
    }
    const response = await echo.fetch('/', { method: 'POST', body: questions(), duplex: 'half' });
    const heard = [];
    for await (const piece of response.body) {
      heard.push(Buffer.from(piece).toString());
      taken();
    }
    assert.deepEqual(heard, ['question 0', 'question 1', 'question 2']);
    echo.close();
  } finally {
    await other.stop();
    server.closeAllConnections();
    server.close();
  }
});
