// Sessions through a front end: honest, curious and hostile; each refusal with its exact code, and nothing sent.

import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';
import v8 from 'node:v8';
import vm from 'node:vm';

import { AttestationError, connect } from '../session.js';
import { MODULE, behind } from './front_end.js';
import { ACTIONS, AGENT_FAULTS, REFUSED_EVIDENCE, refusedRequests } from './hostile.js';

const SECRET = 'the-secret-of-this-test';

/** The error of work that must fail. */
async function failing(work) {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'it did not fail' });
}

async function refused(work, code, requestSent = false) {
  const error = await failing(work);
  assert(error instanceof AttestationError, String(error.stack));
  assert.deepEqual([error.code, error.requestSent], [code, requestSent], error.message);
  return error;
}

/** No session, no sealed message, and no byte at the application. */
async function nothingSent(front, code, options, policy) {
  const error = await refused(front.connect(options, policy), code);
  assert.equal(front.count('/attest/message'), 0);
  assert.equal((await front.order('traffic')).application_bytes, 0);
  return error;
}

/** Collects garbage until all that can be collected is gone. */
async function collect() {
  v8.setFlagsFromString('--expose-gc');
  const gc = vm.runInNewContext('gc');
  for (let round = 0; round < 5; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    gc();
  }
}

const text = async (response) => (await response).text();
const post = (session, body, init = {}) => session.fetch('/echo', { method: 'POST', body, ...init });

test('an attested instance: every check, and a front end that sees nothing', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    assert.equal(session.url, front.url);
    assert.equal(session.attestation.channel, 'bound-message');
    // The tests have a `fetch` of their own, of which nothing is known.
    assert.equal(session.attestation.server_name, 'not-evaluated');
    assert(session.appraisal.length > 10);
    assert(session.appraisal.every(({ verdict }) => verdict !== 'failed'));
    assert(Object.isFrozen(session.appraisal[0]));
    const response = await post(session, SECRET, { headers: { 'x-secret': SECRET, 'content-type': 'text/secret' } });
    assert.deepEqual([response.status, response.ok, response.url], [200, true, `${front.url}/echo`]);
    assert.equal(response.headers.get('content-type'), 'text/secret');
    assert.equal(await response.text(), SECRET);
    const sent = await (await session.fetch(`${front.url}/headers`, { headers: { 'x-secret': SECRET } })).json();
    assert(sent.some(([name, value]) => name === 'x-secret' && value === SECRET));
    assert(sent.some(([name, value]) => name === 'accept' && value === '*/*'));
    assert(sent.every(([name]) => name !== 'blindbox-message'));
    assert.equal(await text(session.fetch(new Request(`${front.url}/echo`, { method: 'PUT', body: SECRET }))), SECRET);
    assert.equal((await front.order(`seen ${SECRET}`)).seen, 0);
    assert.equal((await front.order('traffic')).application_requests, 3);
    assert.equal(front.count('/attest/maa'), 1);
  });
});

test('statuses without a body, HEAD, redirects and 404', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const head = await session.fetch('/', { method: 'HEAD' });
    assert.deepEqual([head.status, head.body], [200, null]);
    const missing = await session.fetch('/nowhere');
    assert.equal(missing.status, 404);
    await missing.text();
    // It is not followed.
    const redirect = await session.fetch('/redirect?to=https://other.example/');
    assert.deepEqual([redirect.status, redirect.headers.get('location')], [302, 'https://other.example/']);
    // What belongs to the agent is not served inside.
    assert.equal((await session.fetch('/status')).status, 404);
  });
});

test('bodies of each kind, and a megabyte in both directions', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const large = crypto.getRandomValues(new Uint8Array(65_536));
    const megabyte = new Uint8Array(1 << 20).map((_, at) => large[at % large.length]);
    const same = async (body) => assert.deepEqual(new Uint8Array(await (await post(session, body)).arrayBuffer()), megabyte);
    await same(megabyte);
    await same(megabyte.buffer);
    await same(new Blob([megabyte]));
    let at = 0;
    await same(
      new ReadableStream({
        pull(controller) {
          controller.enqueue(new Uint8Array(0));
          controller.enqueue(megabyte.subarray(at, (at += 65_536)));
          if (at === megabyte.length) controller.close();
        },
      }),
    );
    assert.equal(await text(post(session, new URLSearchParams({ a: 'b c' }))), 'a=b+c');
    assert.match(await text(post(session, Object.assign(new FormData(), {}))), /^--/);
    assert.equal(await text(post(session, '')), '');
    assert.equal((await (await session.fetch('/large?bytes=3000000')).arrayBuffer()).byteLength, 3_000_000);
    // More than one step of the module takes.
    assert.equal((await (await post(session, new Uint8Array(20 << 20))).arrayBuffer()).byteLength, 20 << 20);
  });
});

test('a response is given piece by piece, and errors if its end is missing', async () => {
  let write;
  const begun = [];
  const application = http.createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    write = (piece) => response.write(piece);
    begun.push(response);
    response.write('one');
  });
  await new Promise((resolve) => application.listen(0, '127.0.0.1', resolve));
  try {
    await behind(['--application', `http://127.0.0.1:${application.address().port}`], async (front) => {
      const session = await front.connect();
      const response = await session.fetch('/events');
      const reader = response.body.getReader();
      const next = async () => new TextDecoder().decode((await reader.read()).value);
      assert.equal(await next(), 'one');
      // The application goes on only now: what was read before has not waited for its end.
      write('two');
      assert.equal(await next(), 'two');
      begun[0].end('three');
      assert.equal(await next(), 'three');
      assert.equal((await reader.read()).done, true);

      const cut = await session.fetch('/events');
      begun[1].destroy();
      await refused(cut.text(), 'application-unreachable', true);

      const stopped = new AbortController();
      const aborted = await session.fetch('/events', { signal: stopped.signal });
      const reason = new Error('no longer wanted');
      const closed = new Promise((resolve) => begun[2].once('close', resolve));
      stopped.abort(reason);
      assert.equal(await failing(aborted.text()), reason);
      await closed;

      const given = await session.fetch('/events');
      const gone = new Promise((resolve) => begun[3].once('close', resolve));
      await given.body.cancel();
      await gone;
    });
  } finally {
    application.closeAllConnections();
    application.close();
  }
});

test('a response that stalls ends with a signal or the session, whatever is collected in between', async () => {
  const application = http.createServer((request, response) => void response.writeHead(200).write('one'));
  await new Promise((resolve) => application.listen(0, '127.0.0.1', resolve));
  try {
    await behind(['--application', `http://127.0.0.1:${application.address().port}`], async (front) => {
      const session = await front.connect();
      const reason = new Error('no longer wanted');
      const ends = [];
      // Nothing but the session keeps the `Request`.
      for (const input of [() => ['/'], (signal) => [new Request(`${front.url}/`, { signal })], (signal) => ['/', { signal }]]) {
        const stopped = new AbortController();
        const reader = (await session.fetch(...input(stopped.signal))).body.getReader();
        assert.equal(new TextDecoder().decode((await reader.read()).value), 'one');
        ends.unshift({ stopped, next: failing(reader.read()) });
      }
      await collect();
      for (const { stopped, next } of ends.splice(0, 2)) {
        stopped.abort(reason);
        assert.equal(await next, reason);
      }
      session.close();
      await refused(ends[0].next.then((error) => Promise.reject(error)), 'closed', true);
      // A signal that no one else keeps.
      const other = await front.connect();
      const late = failing(async () => (await other.fetch('/', { signal: AbortSignal.timeout(500) })).text());
      await collect();
      assert.equal((await late).name, 'TimeoutError');
    });
  } finally {
    application.closeAllConnections();
    application.close();
  }
});

test('an attestation that stalls ends in time, whatever is collected in between', async () => {
  await behind([], async (front) => {
    const fetch = (url, { signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
    const connecting = failing(front.connect({ fetch, timeout: 500 }));
    await collect();
    const error = await connecting;
    assert.deepEqual([error.code, error.requestSent], ['agent-unreachable', false]);
    assert.match(error.message, /longer than 500 ms/);
  });
});

test('a front end that is hostile reads nothing and changes nothing unnoticed', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    for (const [knob, reason] of ACTIONS) {
      await front.order(`knob front-end-${knob}`);
      const error = await refused(async () => text(post(session, SECRET)), 'application-unreachable', true);
      assert.match(error.message, reason, knob);
      await front.order('reset');
      assert.equal(await text(post(session, 'again')), 'again', knob);
    }
    assert.equal((await front.order(`seen ${SECRET}`)).seen, 0);
  });
});

test('what was begun for one request is never the response to another', async () => {
  await behind([], async (front) => {
    await front.order('knob front-end-earlier-response');
    const session = await front.connect();
    assert.equal(await text(post(session, 'first')), 'first');
    await refused(async () => text(post(session, 'second')), 'application-unreachable', true);
    await front.order('reset');
    await front.order('knob front-end-earlier-request');
    await refused(async () => text(post(session, 'third')), 'application-unreachable', true);
  });
});

for (const [knob, code] of REFUSED_EVIDENCE) {
  test(`refused before anything is sealed: ${knob}`, async () => {
    await behind(['--knob', knob], async (front) => {
      const error = await nothingSent(front, code);
      if (error.category === 'rejected') assert(error.appraisal.some(({ verdict }) => verdict === 'failed'));
    });
  });
}

test('a failure of the agent, of MAA or of the network is no attestation', async () => {
  await behind([], async (front) => {
    for (const [fault, code] of AGENT_FAULTS) {
      await front.order(`fail /attest/=${fault}`);
      await nothingSent(front, code);
      await front.order('reset');
    }
    await front.order('fail-maa /=status:500');
    await nothingSent(front, 'maa-unreachable');
    await front.order('reset');
    // What the emulator's front end would not pass on.
    for (const [change, code] of [
      [(found) => found.replace('{', '{"token":"",'), 'invalid-agent-answer'],
      [(found) => found + ' '.repeat(400_000), 'too-large'],
      [(found) => found + ' '.repeat(4_000_000), 'too-large'],
      [(found) => found.replace(/"session":"[^"]*"/, '"session":"x"'), 'invalid-agent-answer'],
      [(found) => found.replace(/"key_config":"[^"]*",?/, ''), 'channel-not-bound'],
      [(found) => found.replace(/"runtime_data":"[^"]*",?/, ''), 'channel-not-bound'],
    ]) {
      const changed = async (url, init) => {
        const response = await front.fetch(url, init);
        return url.includes('/attest/') ? new Response(change(await response.text()), response) : response;
      };
      await nothingSent(front, code, { fetch: changed });
    }
    const down = () => Promise.reject(new TypeError('fetch failed'));
    await nothingSent(front, 'agent-unreachable', { fetch: down });
    await nothingSent(front, 'maa-unreachable', { keySet: down });
    await nothingSent(front, 'invalid-key-set', { keySet: new TextEncoder().encode('{}') });
  });
});

test('the page can give the key set, as bytes, from a URL or a function', async () => {
  await behind([], async (front) => {
    const document = new TextEncoder().encode(front.file('key-set.json'));
    for (const keySet of [document, (url) => (assert.match(url, /\/certs$/), document), () => `data:application/json,${encodeURIComponent(front.file('key-set.json'))}`]) {
      const session = await front.connect({ keySet });
      assert.equal(await text(post(session, 'x')), 'x');
      assert(session.appraisal.every(({ verdict }) => verdict !== 'failed'));
    }
    // None was fetched from MAA.
    assert.equal((await front.order('traffic')).key_set_fetches, 0);
  });
});

/** Runs work as in a process with this variable, which Node reads for each connection. */
async function unauthenticated(work) {
  process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
  try {
    return await work();
  } finally {
    delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  }
}

test('Node that authenticates no server fetches no key set, and validates no name', async () => {
  await behind([], async (front) => {
    const platforms = (options) => connect(front.url, front.policy, { module: MODULE, ...options });
    await unauthenticated(async () => {
      for (const keySet of [undefined, 'https://localhost/keys', () => 'https://localhost/keys']) {
        const error = await refused(platforms(keySet === undefined ? {} : { keySet }), 'misconfigured');
        assert.match(error.message, /NODE_TLS_REJECT_UNAUTHORIZED is 0/);
      }
      assert.equal((await front.order('traffic')).key_set_fetches, 0);
      // Who gives the bytes vouches for them, and messages are sealed to the attested instance.
      const session = await platforms({ keySet: new TextEncoder().encode(front.file('key-set.json')) });
      assert.equal(session.attestation.server_name, 'not-evaluated');
      assert.equal(await text(post(session, 'x')), 'x');
      session.close();
      // A `fetch` of the caller is trusted with the key set as it is without the variable.
      (await front.connect()).close();
    });
  });
});

test('a session that authenticated servers does not attest without', async () => {
  await behind([], async (front) => {
    const { fetch } = globalThis;
    try {
      globalThis.fetch = (url, init) => {
        front.sent.push(new URL(url).pathname);
        return fetch(url, { ...init, dispatcher: front.dispatcher });
      };
      const session = await connect(front.url, front.policy, { module: MODULE });
      const error = await unauthenticated(() => refused(session.reattest(), 'misconfigured'));
      assert.match(error.message, /NODE_TLS_REJECT_UNAUTHORIZED is 0/);
      assert.equal(front.count('/attest/maa'), 1);
      await session.reattest();
      session.close();
    } finally {
      globalThis.fetch = fetch;
    }
  });
});

test("AMD's root: certificates of the agent, and CRLs from the service", async () => {
  await behind(['--product', 'milan'], async (front) => {
    const amdRoots = front.file('amd-roots.pem');
    const session = await front.connect({ amdRoots, kds: front.about.kds.url });
    assert(session.appraisal.some(({ name, verdict }) => name.includes('revo') && verdict === 'passed'));
    assert.equal(await text(post(session, SECRET)), SECRET);
    assert.equal(front.count('/attest/combined'), 1);
    await refused(front.connect({ kds: front.about.kds.url }), 'invalid-report');
    await refused(front.connect({ amdRoots, kds: () => undefined }), 'revocation-unavailable');
    // The CRL for the other kind of key is asked for too, and its absence is no reason to refuse.
    const asked = [];
    const kds = async (path) => {
      asked.push(path);
      return path.startsWith('/vlek') ? undefined : new Uint8Array(await (await front.fetch(front.about.kds.url + path)).arrayBuffer());
    };
    await text(post(await front.connect({ amdRoots, kds }), SECRET));
    assert.deepEqual(asked.sort(), ['/vcek/v1/Milan/crl', '/vlek/v1/Milan/crl']);
  });
  // A CRL without a distribution point may be for either kind of key: the service could swap the two.
  const knobs = ['kds-crl-names-no-distribution-point', 'kds-crl-of-other-kind', 'kds-issuer-revoked'];
  await behind(['--product', 'milan', ...knobs.flatMap((knob) => ['--knob', knob])], async (front) => {
    const error = await refused(front.connect({ amdRoots: front.file('amd-roots.pem'), kds: front.about.kds.url }), 'invalid-report');
    assert.match(error.message, /revoked/);
  });
});

test('a policy for another form, or none, sends nothing', async () => {
  await behind([], async (front) => {
    for (const binding of ['own-key', 'own-connection', 'none']) {
      const policy = front.policy.replace('"own-message-key"', `"${binding}"`);
      await nothingSent(front, 'channel-not-allowed', {}, policy);
    }
    await nothingSent(front, 'invalid-policy', {}, 'version = 2');
    assert.deepEqual(front.sent, []);
    const { policy } = front;
    for (const [url, code] of [
      ['http://127.0.0.1:1', 'channel-not-allowed'],
      ['ftp://127.0.0.1', 'invalid-url'],
      ['https://user@127.0.0.1', 'invalid-url'],
      ['/relative', 'invalid-url'],
    ]) {
      await refused(connect(url, policy, { module: MODULE, fetch: front.fetch }), code);
    }
    await refused(front.connect({ keyset: 1 }), 'misconfigured');
    await refused(front.connect({}, null), 'misconfigured');
    assert.deepEqual(front.sent, []);
  });
});

test('requests that are not sealed are not sent', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const before = front.sent.length;
    for (const [target, init, code] of refusedRequests(front.url)) {
      await refused(session.fetch(target, init), code);
    }
    assert.equal((await failing(session.fetch('/', { signal: AbortSignal.abort() }))).name, 'AbortError');
    await refused(session.fetch('/', { signal: new AbortController() }), 'misconfigured');
    assert.equal(front.sent.length, before);
    const failure = new Error('of the body');
    const body = new ReadableStream({
      pull(controller) {
        controller.error(failure);
      },
    });
    assert.equal(await failing(post(session, body)), failure);
    assert.equal(await text(post(session, 'still')), 'still');
  });
});

test('random bytes that are constant or repeated seal nothing', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const before = front.sent.length;
    const real = crypto.getRandomValues;
    try {
      crypto.getRandomValues = (bytes) => bytes.fill(0);
      await refused(front.connect(), 'misconfigured');
      await refused(post(session, SECRET), 'misconfigured');
      const once = real.call(crypto, new Uint8Array(64));
      crypto.getRandomValues = (bytes) => (bytes.set(once), bytes);
      assert.equal(await text(post(session, 'first')), 'first');
      await refused(post(session, SECRET), 'misconfigured');
    } finally {
      delete crypto.getRandomValues;
    }
    assert.equal(front.sent.length, before + 1);
    assert.equal(await text(post(session, 'last')), 'last');
  });
});

test('a restarted instance has another key: what is safe is sent again, and nothing else', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const first = session.attestation;
    await front.restart();
    const error = await refused(post(session, SECRET), 'application-unreachable', true);
    assert.match(error.message, /has the message key/);
    // The next request attests first.
    assert.equal(await text(post(session, 'now')), 'now');
    assert.notEqual(session.attestation.message_key, first.message_key);
    await front.restart();
    assert.equal(await text(session.fetch('/')), 'hello from a BlindBox');
    assert.equal(front.count('/attest/maa'), 3);
  });
});

test('an instance that declines is asked again, for its content is not processed', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    await front.order('knob decline-messages');
    const error = await refused(post(session, SECRET), 'application-unreachable');
    assert.match(error.message, /did not process/);
    assert.equal(front.count('/attest/message'), 3);
    await front.order('reset');
    assert.equal(await text(post(session, 'now')), 'now');
    assert.equal(front.count('/attest/maa'), 1);
  });
});

test('an attestation ends, and the next request has another', async () => {
  await behind([], async (front) => {
    // Tokens pass with a clock that is up to a minute off: as long as possible, so that a busy machine ends no attestation early.
    let later = -50_000;
    const policy = `${front.policy}\n[require]\nmax-session-age-seconds = 50\n`;
    let asked;
    const clock = () => {
      const now = Date.now() + later;
      asked ??= now;
      return now;
    };
    const session = await front.connect({ clock }, policy);
    assert.equal(await text(post(session, '1')), '1');
    // From the challenge, which is the first that needs the time.
    assert.equal(session.attestation.expires_at, Math.floor(asked / 1000) + 50);
    later = 0;
    assert.equal(await text(Promise.all([1, 2, 3].map(() => post(session, '2'))).then(([one]) => one)), '2');
    assert.equal(front.count('/attest/maa'), 2);
    // A clock that is set back makes nothing longer: the time of the next line is the latest for ever.
    later = 50_000;
    await front.order('knob debug');
    await refused(post(session, SECRET), 'debug-mode');
    later = -50_000;
    const error = await refused(post(session, SECRET), 'session-poisoned');
    assert.match(error.message, /debug-mode/);
    await refused(session.reattest(), 'debug-mode');
    await front.order('reset');
    await refused(post(session, SECRET), 'session-poisoned');
    assert.equal((await front.order(`seen ${SECRET}`)).seen, 0);
  });
});

test('an attestation ends in time after the clock was set back', async (t) => {
  await behind([], async (front) => {
    let [later, passed] = [0, 0];
    const elapsed = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => elapsed() + passed);
    const policy = `${front.policy}\n[require]\nmax-session-age-seconds = 50\n`;
    const session = await front.connect({ clock: () => Date.now() + later }, policy);
    later = -3_600_000;
    assert.equal(await text(post(session, '1')), '1');
    assert.equal(front.count('/attest/maa'), 1);
    passed = 50_000;
    assert.equal(await text(post(session, '2')), '2');
    assert.equal(front.count('/attest/maa'), 2);
  });
});

test('a refusal ends what is under way, until another attestation succeeds', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const response = await session.fetch('/large?bytes=2000000');
    await front.order('knob debug');
    await refused(session.reattest(), 'debug-mode');
    await refused(response.arrayBuffer(), 'session-poisoned', true);
    await front.order('reset');
    await session.reattest();
    assert.equal(await text(post(session, 'again')), 'again');
  });
});

test('a session that is closed sends nothing', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const response = await session.fetch('/large?bytes=2000000');
    const slow = session.fetch('/slow?ms=60000');
    session.close();
    await refused(slow, 'closed');
    await refused(response.arrayBuffer(), 'closed', true);
    await refused(session.fetch('/'), 'closed');
    await refused(session.reattest(), 'closed');
  });
});

/** A request whose content the test gives piece by piece, and what comes of it. */
function slowly(session) {
  let controller;
  const body = new ReadableStream({ start: (given) => void (controller = given) });
  const outcome = session.fetch('/echo', { method: 'POST', body });
  outcome.catch(() => {});
  return { outcome, send: (piece) => controller.enqueue(new TextEncoder().encode(piece)), end: () => controller.close() };
}

/** Does work again while the front end has not replaced a connection that a request was cut on. */
async function again(work) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 100 || !/status 502/.test(error.message)) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Waits until the front end has been sent so many requests of this path. */
async function sentTo(front, path, count) {
  while (front.count(path) < count) await new Promise((resolve) => setTimeout(resolve, 5));
}

test('an error after a request was handed over says that it may have arrived', async () => {
  await behind([], async (front) => {
    // Closed with a request under way.
    let session = await front.connect();
    let request = slowly(session);
    request.send('one');
    await sentTo(front, '/attest/message', 1);
    session.close();
    await refused(request.outcome, 'closed', true);
    // Refused while content is sent.
    session = await again(() => front.connect());
    request = slowly(session);
    request.send('one');
    await sentTo(front, '/attest/message', 2);
    await front.order('knob debug');
    await refused(session.reattest(), 'debug-mode');
    request.send('two');
    await refused(request.outcome, 'session-poisoned', true);
    await front.order('reset');
    // Sent again after the instance had restarted, and then no attestation.
    let isAway = false;
    const fetch = (url, init) => (isAway && String(url).endsWith('/attest/maa') ? Promise.reject(new Error('away')) : front.fetch(url, init));
    session = await again(() => front.connect({ fetch }));
    await front.restart();
    isAway = true;
    await refused(session.fetch('/'), 'agent-unreachable', true);
    await refused(session.fetch('/'), 'agent-unreachable');
  });
});

test('content is not sealed after the end of its attestation, or after a refusal', async () => {
  await behind([], async (front) => {
    let later = 0;
    const policy = `${front.policy}\n[require]\nmax-session-age-seconds = 50\n`;
    const session = await front.connect({ clock: () => Date.now() + later }, policy);
    let request = slowly(session);
    request.send('in time');
    await sentTo(front, '/attest/message', 1);
    later = 50_000;
    request.send(SECRET);
    await refused(request.outcome, 'attestation-expired', true);
    await again(() => session.reattest());
    request = slowly(session);
    request.send('before');
    await sentTo(front, '/attest/message', 2);
    await front.order('knob debug');
    await refused(session.reattest(), 'debug-mode');
    await front.order('reset');
    await session.reattest();
    // The attestation is another, and the request stays refused.
    request.send(SECRET);
    await refused(request.outcome, 'session-poisoned', true);
    await again(() => session.reattest());
    assert.equal(await again(() => text(post(session, 'again'))), 'again');
  });
});

test('options are read from the object that is given, not from its prototype', async () => {
  await behind([], async (front) => {
    const asked = [];
    const fetch = (url, init) => (asked.push(String(url)), front.fetch(url, init));
    try {
      Object.prototype.keySet = 'https://other.example/keys';
      Object.prototype.ok = {};
      const session = await front.connect({ fetch });
      assert.equal(await text(post(session, 'hello')), 'hello');
      await front.order('knob debug');
      await refused(session.reattest(), 'debug-mode');
    } finally {
      delete Object.prototype.keySet;
      delete Object.prototype.ok;
    }
    assert.deepEqual(asked.filter((url) => url.includes('other.example')), []);
  });
});

test('many requests at a time, each with its own response', async () => {
  await behind([], async (front) => {
    const session = await front.connect();
    const bodies = Array.from({ length: 40 }, (_, number) => `${number} `.repeat(1000));
    assert.deepEqual(await Promise.all(bodies.map((body) => text(post(session, body)))), bodies);
    assert.equal((await front.order('traffic')).application_requests, 40);
  });
});
