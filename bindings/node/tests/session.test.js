'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const { after, afterEach, before, test } = require('node:test');
const { brotliCompressSync, deflateSync, gzipSync } = require('node:zlib');

const blindbox = require('@blindbox/attestation');

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

/** A session with an application of the test's own. */
async function serving(t, application) {
  const server = http.createServer(application);
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const other = await Emulator.start('--application', `http://127.0.0.1:${server.address().port}`);
  const served = await other.connect();
  t.after(async () => {
    served.close();
    await other.stop();
    server.closeAllConnections();
    server.close();
  });
  return served;
}

test('a session sends requests to the attested peer', async () => {
  const response = await session.fetch('/generate', { method: 'POST', body: JSON.stringify({ prompt: 'hi' }) });
  assert(response instanceof Response);
  assert.equal(response.status, 200);
  assert.equal(response.ok, true);
  assert.equal(response.url, `${emulator.url}/generate`);
  assert.equal(response.clone().url, response.url);
  assert.match(response.headers.get('content-type'), /^application\/json/);
  assert.deepEqual(await response.json(), { text: 'a response to: hi' });
  assert.equal(session.url, emulator.url);
  assert.equal(session.attestation.channel, 'bound');
  assert(session.attestation.appraisal.every((check) => check.verdict !== 'failed'));
  assert(session.attestation.expiresAt > new Date());
  assert.match(String(session.attestation), /debug/);
});

test('targets, URLs and requests name the same resource', async () => {
  const url = `${emulator.url}/echo`;
  const init = { method: 'POST', body: 'x', duplex: 'half' };
  for (const [input, options] of [
    ['/echo', init],
    [url, init],
    [new URL(url), init],
    [new Request(url, init), undefined],
    [new Request(url, { method: 'POST' }), { body: 'x' }],
  ]) {
    assert.equal(await (await session.fetch(input, options)).text(), 'x');
  }
  const request = new Request(url, init);
  await session.fetch(request);
  await assert.rejects(session.fetch(request), { name: 'TypeError', message: /read before/ });
});

test('every method', async () => {
  assert.equal(await (await session.fetch('/')).text(), 'hello from a BlindBox');
  assert.equal(await (await session.fetch('/echo', { method: 'put', body: 'text' })).text(), 'text');
  assert.equal(await (await session.fetch('/echo', { method: 'PATCH', body: 'text' })).text(), 'text');
  assert.equal(await (await session.fetch('/echo', { method: 'delete' })).text(), 'DELETE');
  assert.equal(await (await session.fetch('/echo', { method: 'OPTIONS' })).text(), 'OPTIONS');
  const head = await session.fetch('/', { method: 'HEAD' });
  assert.deepEqual([head.status, head.body, await head.text()], [200, null, '']);
  await assert.rejects(session.fetch('/', { method: 'CONNECT' }), blindbox.InvalidRequest);
  await assert.rejects(session.fetch('/', { method: 'GET', body: 'x' }), blindbox.Misconfigured);
});

test('bodies in memory, with the content type of fetch', async () => {
  const form = new URLSearchParams({ a: '1 2' });
  for (const [body, text, type] of [
    ['ä', 'ä', 'text/plain;charset=UTF-8'],
    [form, 'a=1+2', 'application/x-www-form-urlencoded;charset=UTF-8'],
    [Buffer.from('abc'), 'abc', 'application/octet-stream'],
    [new Uint8Array(Buffer.from('xabcx').buffer, Buffer.from('xabcx').byteOffset).slice(1, 4), 'abc', 'application/octet-stream'],
    [new TextEncoder().encode('abc').buffer, 'abc', 'application/octet-stream'],
    [new Blob(['abc'], { type: 'text/x-mine' }), 'abc', 'text/x-mine'],
  ]) {
    const response = await session.fetch('/echo', { method: 'POST', body });
    assert.equal(response.headers.get('content-type'), type);
    assert.equal(await response.text(), text);
  }
  const parts = new FormData();
  parts.append('file', new Blob(['content']), 'a.txt');
  const response = await session.fetch('/echo', { method: 'POST', body: parts });
  assert.equal(await (await response.formData()).get('file').text(), 'content');
  const own = await session.fetch('/echo', { method: 'POST', body: 'x', headers: { 'Content-Type': 'text/mine' } });
  assert.equal(own.headers.get('content-type'), 'text/mine');
  await assert.rejects(session.fetch('/echo', { method: 'POST', body: { a: 1 } }), {
    name: 'Misconfigured',
    message: /JSON\.stringify/,
  });
});

test('headers', async () => {
  const headers = { 'X-Mine': '1', 'X-Latin': '\u00e4', connection: 'keep-alive', 'content-length': '7' };
  const sent = Object.fromEntries(await (await session.fetch('/headers', { headers })).json());
  assert.equal(sent['x-mine'], '1');
  // One byte, which is not UTF-8.
  assert.equal(sent['x-latin'], '\ufffd');
  assert(!('connection' in sent));
  await assert.rejects(session.fetch('/headers', { headers: { Host: 'evil.example' } }), blindbox.InvalidRequest);
  await assert.rejects(session.fetch('/headers', { headers: { x: 'a\r\nb: c' } }), TypeError);
});

test('a large body comes in pieces, to every kind of reader', async () => {
  let size = 0;
  let pieces = 0;
  for await (const piece of (await session.fetch('/large?bytes=3000000')).body) {
    assert(piece instanceof Uint8Array);
    size += piece.length;
    pieces += 1;
  }
  assert.equal(size, 3_000_000);
  assert(pieces > 3, `${pieces} pieces`);
  assert.equal((await (await session.fetch('/large?bytes=1000000')).arrayBuffer()).byteLength, 1_000_000);
  assert.equal((await (await session.fetch('/large?bytes=1000000')).blob()).size, 1_000_000);
  const reader = (await session.fetch('/large?bytes=100000')).body.getReader({ mode: 'byob' });
  let read = 0;
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(10_000));
    if (done) break;
    read += value.length;
  }
  assert.equal(read, 100_000);
});

test('a body that breaks off is an error, and never an end', async () => {
  await emulator.order('fail /large=truncated');
  const response = await session.fetch('/large?bytes=100000');
  const expected = { name: 'ApplicationUnreachable', category: 'unavailable', requestSent: true };
  await assert.rejects(response.arrayBuffer(), expected);
  const reader = (await session.fetch('/large?bytes=100000')).body.getReader();
  for (let attempt = 0; attempt < 2; attempt += 1) {
    await assert.rejects(async () => {
      while (!(await reader.read()).done);
    }, expected);
  }
});

test('a body is given up', async (t) => {
  // Each response is half of one, and the connection for it is closed when it is given up.
  const closed = [];
  const served = await serving(t, (request, response) => {
    closed.push(new Promise((resolve) => response.once('close', resolve)));
    response.writeHead(200, request.url === '/' ? {} : { 'content-encoding': request.url.slice(1) });
    response.write(gzipSync('half').subarray(0, 12));
  });
  for (const [at, target] of ['/', '/gzip'].entries()) {
    const reader = (await served.fetch(target)).body.getReader();
    // What was sent of the compressed one decodes to nothing yet.
    if (target === '/') assert.equal((await reader.read()).value.length, 12);
    const waiting = reader.read();
    await reader.cancel();
    assert.equal((await waiting).done, true);
    await closed[at];
  }
});

test('a compressed body is decoded', async () => {
  await emulator.order('fail /=gzip');
  assert.equal(await (await session.fetch('/')).text(), 'hello from a BlindBox');
});

test('a body that cannot be decoded is an invalid response', async (t) => {
  const text = Buffer.alloc(300_000, 'a line of text\n');
  const bodies = {};
  for (const [encoding, compress] of [['gzip', gzipSync], ['x-gzip', gzipSync], ['deflate', deflateSync], ['br', brotliCompressSync]]) {
    const whole = compress(text);
    bodies[encoding] = { whole, empty: Buffer.alloc(0), truncated: whole.subarray(0, -1), corrupt: Buffer.from('not of this encoding') };
  }
  const served = await serving(t, (request, response) => {
    const [, encoding, kind, length] = request.url.split('/');
    const body = bodies[encoding][kind];
    // With its length, and in a chunk that may come behind the head.
    const headers = length === 'length' ? { 'content-length': body.length } : {};
    response.writeHead(200, { 'content-encoding': encoding, ...headers });
    response.flushHeaders();
    response.end(body);
  });
  const expected = { name: 'InvalidResponse', code: 'invalid-response', number: 313, requestSent: true };
  for (const encoding of Object.keys(bodies)) {
    for (const length of ['length', 'chunks']) {
      const read = async (kind) => Buffer.from(await (await served.fetch(`/${encoding}/${kind}/${length}`)).arrayBuffer());
      assert((await read('whole')).equals(text));
      assert.equal((await read('empty')).length, 0);
      await assert.rejects(read('truncated'), expected);
      await assert.rejects(read('corrupt'), expected);
    }
  }
});

test('the errors of a compressed body are those of any body', async (t) => {
  let sent;
  const served = await serving(t, (request, response) => {
    sent = response;
    response.writeHead(200, { 'content-encoding': 'gzip' });
    response.write(gzipSync('half').subarray(0, 12));
  });
  const response = await served.fetch('/broken');
  // After the head has arrived: with its end at once, there would be no response.
  sent.destroy();
  await assert.rejects(response.text(), { name: 'ApplicationUnreachable', requestSent: true });
  const abort = new AbortController();
  const reason = new Error('enough');
  const stalled = await served.fetch('/', { signal: abort.signal });
  const reading = stalled.text();
  abort.abort(reason);
  await assert.rejects(reading, reason);
});

test('other origins are refused, and redirects are responses', async () => {
  const sent = (await emulator.traffic()).application_requests;
  const plain = emulator.url.replace('https:', 'http:');
  for (const url of ['https://evil.example/', plain, '//evil.example/', new Request('https://evil.example/')]) {
    await assert.rejects(session.fetch(url), { name: 'InvalidRequest', requestSent: false });
  }
  for (const option of ['dispatcher', 'agent', 'integrity']) {
    await assert.rejects(session.fetch('/', { [option]: 'x' }), blindbox.Misconfigured);
  }
  assert.equal((await emulator.traffic()).application_requests, sent);
  const redirect = await session.fetch('/redirect?to=https://evil.example/', { redirect: 'follow' });
  assert.equal(redirect.status, 302);
  assert.equal(redirect.headers.get('location'), 'https://evil.example/');
  await assert.rejects(session.fetch('/redirect', { redirect: 'error' }), TypeError);
});

test('200 requests at a time', async () => {
  const numbers = Array.from({ length: 200 }, (_, number) => String(number));
  const one = async (body) => (await session.fetch('/echo', { method: 'POST', body })).text();
  assert.deepEqual(await Promise.all(numbers.map(one)), numbers);
});

test('a closed session sends nothing', async () => {
  const other = await emulator.connect();
  const sent = (await emulator.traffic()).application_requests;
  other.close();
  const expected = { name: 'Closed', code: 'closed', number: 903 };
  await assert.rejects(other.fetch('/'), expected);
  await assert.rejects(other.reattest(), expected);
  assert.throws(() => other.attestation, expected);
  assert.equal((await emulator.traffic()).application_requests, sent);
});

test('a peer is attested again', async () => {
  assert.equal((await session.reattest()).channel, 'bound');
});

test('one verifier opens several sessions, and settings that cannot be used are refused', async () => {
  const verifier = new blindbox.Verifier({ ...emulator.settings, deadline: 20_000, requestTimeout: 20_000 });
  for (let number = 0; number < 2; number += 1) {
    const other = await verifier.connect(emulator.url, emulator.policy);
    assert.equal((await other.fetch('/')).status, 200);
    other.close();
  }
  for (const settings of [
    { deadline: 0 },
    { deadline: Number.NaN },
    { deadline: '1' },
    { agent: 'nonsense' },
    { collateralRoots: Buffer.from('nonsense') },
    { collateralRoots: 1 },
    { collateralRoots: Buffer.from('x'), platformCollateralRoots: true },
    { resolve: { 'a.example': 'nowhere' } },
    { deadlin: 1 },
    { proxy: () => 'https://proxy.example' },
    { agent: null },
    { platformCollateralRoots: 'false' },
    { resolve: new Map([['a.example', '127.0.0.1:1']]) },
    { resolve: { 'a.example': undefined } },
    { cacheDir: '' },
    { cacheDir: true },
    new Map([['deadline', 1]]),
  ]) {
    assert.throws(() => new blindbox.Verifier(settings), blindbox.Misconfigured, JSON.stringify(settings));
  }
  await assert.rejects(emulator.connect({ deadlin: 1 }), blindbox.Misconfigured);
  await assert.rejects(blindbox.verifyConnection(emulator.url, 'kind = 1'), blindbox.Misconfigured);
  assert.throws(() => new blindbox.Session({}), blindbox.Misconfigured);
});

test('options of fetch that would be lost are refused', async () => {
  const session = await emulator.connect();
  for (const [init, message] of [
    [{ redirect: 'folow' }, /expected the redirect follow, error, manual, found folow/],
    [{ duplex: 'full' }, /expected the duplex half/],
    [{ signal: {} }, /expected an AbortSignal/],
    [{ signal: 'x' }, /expected an AbortSignal/],
    ['POST', /expected an object of options/],
  ]) {
    await assert.rejects(session.fetch('/', init), { name: 'Misconfigured', message });
  }
  await assert.rejects(session.reattest({ signal: 1 }), { name: 'Misconfigured' });
  assert.equal((await session.fetch('/', { redirect: 'follow', signal: null })).status, 200);
  session.close();
});

test('a session is closed at the end of its scope', async () => {
  for (const symbol of [Symbol.dispose, Symbol.asyncDispose].filter((symbol) => symbol !== undefined)) {
    const session = await emulator.connect();
    await session[symbol]();
    await assert.rejects(session.fetch('/'), { code: 'closed' });
  }
});

test('a time limit', async () => {
  const other = await emulator.connect({ requestTimeout: 100 });
  await emulator.order('fail /=hang');
  // Whether the request was sent by then depends on how busy the machine is.
  await assert.rejects(other.fetch('/'), { name: 'Timeout', code: 'timeout' });
  other.close();
});
