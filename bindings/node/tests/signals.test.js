'use strict';

const assert = require('node:assert/strict');
const { getEventListeners } = require('node:events');
const { after, afterEach, before, test } = require('node:test');

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

test('a signal ends a request that hangs, and the session goes on', async () => {
  await emulator.order('fail /=hang');
  const abort = new AbortController();
  const reason = new Error('enough');
  const sent = session.fetch('/', { signal: abort.signal });
  setTimeout(() => abort.abort(reason), 50);
  await assert.rejects(sent, reason);
  await assert.rejects(session.fetch('/', { signal: AbortSignal.timeout(20) }), { name: 'TimeoutError' });
  const request = new Request(`${emulator.url}/`, { signal: AbortSignal.timeout(20) });
  await assert.rejects(session.fetch(request), { name: 'TimeoutError' });
  await emulator.order('reset');
  assert.equal((await session.fetch('/')).status, 200);
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
});

test('a signal that was aborted before sends nothing', async () => {
  const sent = (await emulator.traffic()).application_requests;
  const signal = AbortSignal.abort();
  await assert.rejects(session.fetch('/', { signal }), { name: 'AbortError' });
  await assert.rejects(emulator.connect({ signal }), { name: 'AbortError' });
  await assert.rejects(session.reattest({ signal }), { name: 'AbortError' });
  assert.equal((await emulator.traffic()).application_requests, sent);
});

test('a signal ends a body that stalls, and one that waits unread', async () => {
  await emulator.order('fail /=drip:60000');
  const abort = new AbortController();
  const response = await session.fetch('/', { signal: abort.signal });
  const reading = response.text();
  setTimeout(() => abort.abort(), 20);
  await assert.rejects(reading, { name: 'AbortError' });
  const later = new AbortController();
  const unread = await session.fetch('/large?bytes=3000000', { signal: later.signal });
  later.abort();
  await assert.rejects(unread.text(), { name: 'AbortError' });
});

test('a body that was read leaves nothing behind at its signal', async () => {
  const { signal } = new AbortController();
  for (let number = 0; number < 20; number += 1) {
    await (await session.fetch('/large?bytes=100000', { signal })).arrayBuffer();
    await (await session.fetch('/', { signal })).text();
  }
  assert.equal(getEventListeners(signal, 'abort').length, 0);
});

test('a signal ends an attestation that hangs', async () => {
  await emulator.order('fail /attest=hang');
  await assert.rejects(emulator.connect({ signal: AbortSignal.timeout(100) }), { name: 'TimeoutError' });
});

test('an abort between the sending and the response is not lost', async () => {
  const abort = new AbortController();
  const reason = new Error('enough');
  const { signal } = abort;
  // The listener of the sending is taken away, and the one of the body is not there yet.
  signal.removeEventListener = (...given) => {
    EventTarget.prototype.removeEventListener.apply(signal, given);
    abort.abort(reason);
  };
  await assert.rejects(session.fetch('/large?bytes=3000000', { signal }), reason);
});

test('a signal in the place of options is refused', async () => {
  const { signal } = new AbortController();
  const expected = { name: 'Misconfigured', message: /expected an object of options/ };
  const verifier = new blindbox.Verifier(emulator.settings);
  for (const given of [signal, null, [], new Map()]) {
    await assert.rejects(verifier.connect(emulator.url, emulator.policy, given), expected);
    await assert.rejects(verifier.collect(emulator.url, emulator.policy, given), expected);
    await assert.rejects(blindbox.verifyConnection(emulator.url, emulator.policy, given), expected);
    await assert.rejects(session.reattest(given), expected);
  }
});
