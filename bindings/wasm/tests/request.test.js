// What the arguments of `fetch` become, as the platform reads them; and where the response says it is from.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AttestationError } from '../session.js';
import { behind } from './front_end.js';
import { DROPPED_BY_PAGES } from './hostile.js';

const SECRET = 'the-secret-of-this-test';
const streamOf = (...pieces) => {
  const given = pieces.values();
  return new ReadableStream({
    pull(controller) {
      const { done, value } = given.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  });
};
const bytes = (text) => new TextEncoder().encode(text);

/** Runs work as on a platform that changes what it has. */
async function on(changes, work) {
  const kept = Object.keys(changes).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(changes)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  try {
    await work();
  } finally {
    for (const [name, descriptor] of kept) {
      if (descriptor === undefined) delete globalThis[name];
      else Object.defineProperty(globalThis, name, descriptor);
    }
  }
}

/** The `Request` of a platform without streams as bodies: what it does not know becomes a text. */
class WithoutStreams extends Request {
  constructor(input, init = {}) {
    const { duplex: _, ...known } = init;
    super(input, known.body instanceof ReadableStream ? { ...known, body: String(known.body) } : known);
  }
}

async function failing(work, code, message) {
  await assert.rejects(work, (error) => {
    assert(error instanceof AttestationError, String(error.stack));
    assert.deepEqual([error.code, error.requestSent], [code, false]);
    assert.match(error.message, message);
    return true;
  });
}

test('a stream is read first where the platform does not send it piece by piece', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    await on({ Request: WithoutStreams }, async () => {
      const response = await session.fetch('/echo', { method: 'POST', body: streamOf(bytes('one '), bytes(''), bytes(SECRET)) });
      assert.equal(await response.text(), `one ${SECRET}`);
      // It had no type, so that the application gave it one: it is not sent as a text.
      assert.equal(response.headers.get('content-type'), 'application/octet-stream');
      const reason = new Error('no longer wanted');
      const stopped = new AbortController();
      let cancelled;
      const endless = new ReadableStream({ pull: () => stopped.abort(reason), cancel: (found) => void (cancelled = found) }, { highWaterMark: 0 });
      await assert.rejects(session.fetch('/echo', { method: 'POST', body: endless, signal: stopped.signal }), reason);
      assert.equal(cancelled, reason);
      let given = 0;
      const unending = new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array((given += 1) && 1 << 20)), cancel: (found) => void (cancelled = found) });
      await failing(session.fetch('/echo', { method: 'POST', body: unending }), 'misconfigured', /at most 67108864 bytes/);
      assert.equal(cancelled.code, 'misconfigured');
      assert(given < 70, String(given));
      await assert.rejects(session.fetch('/echo', { method: 'POST', body: streamOf('text') }), { name: 'TypeError', message: 'expected a stream of Uint8Array' });
    });
    assert.equal((await front.order('traffic')).application_requests, 1);
  });
});

test('a stream that the platform refuses before it reads is read, and sent once', async () => {
  await behind([], async (front) => {
    const streams = [];
    const fetch = (url, init) => {
      if (!(init.body instanceof ReadableStream)) return front.fetch(url, init);
      streams.push(url);
      return Promise.reject(new TypeError('Failed to fetch'));
    };
    const session = await front.connect({ fetch });
    const send = () => session.fetch('/echo', { method: 'POST', body: streamOf(bytes(SECRET)) });
    // Node sends streams over each version of HTTP: this is a failure of the network.
    await assert.rejects(send, { code: 'application-unreachable', requestSent: true });
    await on({ location: { origin: 'https://page.example' } }, async () => {
      for (const _ of [1, 2]) assert.equal(await (await send()).text(), SECRET);
    });
    // What is known is not tried again.
    assert.equal(streams.length, 2);
    assert.equal((await front.order('traffic')).application_requests, 2);
  });
});

test('a stream that was read before is refused', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const body = streamOf(bytes(SECRET));
    const reader = body.getReader();
    await reader.read();
    reader.releaseLock();
    await assert.rejects(session.fetch('/echo', { method: 'POST', body }), TypeError);
    assert.equal((await front.order('traffic')).application_requests, 0);
  });
});

test('every member of the options counts, own or not', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const url = `${front.url}/echo`;
    const init = { method: 'PUT', headers: { 'content-type': 'text/secret', 'x-secret': SECRET }, body: SECRET };
    for (const given of [new Request(url, init), Object.create(init), Object.create(Object.create(init), { body: { get: () => SECRET } })]) {
      const response = await session.fetch(url, given);
      assert.deepEqual([response.headers.get('content-type'), await response.text()], ['text/secret', SECRET]);
    }
    const sent = await (await session.fetch('/headers', new Request(url, { headers: { 'x-secret': SECRET } }))).json();
    assert.deepEqual(sent.filter(([name]) => name === 'x-secret'), [['x-secret', SECRET]]);
    // An iterator is read once.
    const headers = [['x-secret', SECRET]].values();
    assert.deepEqual((await (await session.fetch('/headers', { headers })).json()).filter(([name]) => name === 'x-secret'), [['x-secret', SECRET]]);
    const stopped = new AbortController();
    stopped.abort();
    await assert.rejects(session.fetch(url, new Request(url, { signal: stopped.signal })), { name: 'AbortError' });
    for (const none of [null, undefined, {}]) assert.equal((await session.fetch('/', none)).status, 200);
    for (const wrong of ['GET', 1, true]) await failing(session.fetch('/', wrong), 'misconfigured', /^init: expected an object, found /);
    await assert.rejects(session.fetch('/', { method: 'GET', body: SECRET }), TypeError);
    await assert.rejects(session.fetch('/', { cache: 'other' }), TypeError);
  });
});

test('what would protect the caller and has no effect is refused', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const url = `${front.url}/`;
    const integrity = 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=';
    for (const [name, value] of Object.entries({ integrity, redirect: 'error' })) {
      const init = { [name]: value };
      for (const given of [[url, init], [url, Object.create(init)], [url, new Request(url, init)], [new Request(url, init)]]) {
        await failing(session.fetch(...given), 'misconfigured', new RegExp(`^${name}: expected `));
      }
    }
    assert.equal((await front.order('traffic')).application_requests, 0);
    // What a `Request` has if nothing is said; and what has no effect, but weakens nothing.
    const ignored = { integrity: '', redirect: 'follow', credentials: 'omit', cache: 'no-cache', mode: 'same-origin', keepalive: true, priority: 'high', referrer: '', referrerPolicy: 'origin' };
    for (const given of [[new Request(url)], [url, new Request(url)], [url, ignored], [url, { redirect: 'manual' }]]) {
      assert.equal((await session.fetch(...given)).status, 200);
    }
  });
});

test('the application gets the headers that a page does not set in clear', async () => {
  await behind([], async (front) => {
    const found = await (await (await front.connect()).fetch('/headers', { headers: DROPPED_BY_PAGES })).json();
    for (const header of Object.entries(DROPPED_BY_PAGES)) assert.deepEqual(found.filter(([name]) => name === header[0]), [header]);
  });
});

test('a response says where it is from, without the fragment, and so do its clones', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const response = await session.fetch('/echo?a=b#fragment', { method: 'POST', body: SECRET });
    const clone = response.clone();
    const again = clone.clone();
    for (const one of [response, clone, again]) {
      assert(one instanceof Response);
      assert.deepEqual([one.url, one.status, await one.text()], [`${front.url}/echo?a=b`, 200, SECRET]);
    }
  });
});

test('a response is read once, in each way that the platform has', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const send = () => session.fetch('/echo', { method: 'POST', body: '{"a": "b"}', headers: { 'content-type': 'application/x' } });
    assert.equal(new TextDecoder().decode(await (await send()).arrayBuffer()), '{"a": "b"}');
    assert.deepEqual(await (await send()).json(), { a: 'b' });
    const blob = await (await send()).blob();
    assert.deepEqual([blob.type, await blob.text()], ['application/x', '{"a": "b"}']);
    const form = new FormData();
    form.set('a', 'b');
    assert.deepEqual([...(await (await session.fetch('/echo', { method: 'POST', body: form })).formData())], [['a', 'b']]);
    const response = await send();
    assert.equal(response.bodyUsed, false);
    await response.text();
    assert.equal(response.bodyUsed, true);
    await assert.rejects(response.text(), TypeError);
    assert.throws(() => response.clone(), TypeError);
    assert.equal(await (await session.fetch('/', { method: 'HEAD' })).text(), '');
  });
});
