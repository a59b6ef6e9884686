// Sessions in a page, in headless Chromium: the same refusals as in Node, and what only a browser does.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { behind } from './front_end.js';
import { ACTIONS, AGENT_FAULTS, DROPPED_BY_PAGES, REFUSED_EVIDENCE, refusedRequests } from './hostile.js';
import { Site } from './site.js';

const SECRET = 'the-secret-of-this-test';
/** A page that does nothing but what a test says. */
const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { connect } from '/session.js';
  const near = async (name) => (await fetch(name, { cache: 'no-store' })).text();
  const outcome = (work) => work().catch(({ name, code, message, requestSent }) => ({ name, code, message, requestSent }));
  Object.assign(globalThis, {
    open: (url, given = {}) => outcome(async () => {
      globalThis.session?.close();
      globalThis.session = await connect(url, await near('/policy.toml'), { keySet: '/key-set.json', ...given });
    }),
    attempt: (...given) => outcome(async () => (await session.fetch(...given)).text()),
    post: (body) => attempt('/echo', { method: 'POST', body }),
  });
  document.documentElement.dataset.ready = 'true';
</script>`;

let site;

before(async () => {
  site = await Site.open();
});

after(() => site.close());

/** Calls a function of the page, or one that is written there, and returns what it returns. */
const call = (name, ...given) => site.browser.evaluate(`(${name})(...${JSON.stringify(given)})`);

/** Runs work with a page before an emulated BlindBox. */
async function inPage(options, work) {
  await behind(['--allow-origin', site.origin, ...options], async (front) => {
    site.documents = { '/page.html': PAGE, '/policy.toml': front.policy, '/key-set.json': front.file('key-set.json') };
    await site.browser.visit(`${site.origin}/page.html`);
    await work(front);
    assert.deepEqual(site.faults, []);
  });
}

/** The same with a session. */
async function withSession(options, work) {
  await inPage(options, async (front) => {
    assert.equal(await call('open', front.url), undefined);
    await work(front);
  });
}

function assertRefused(outcome, code, requestSent, about) {
  assert.deepEqual([outcome.name, outcome.code, outcome.requestSent], ['AttestationError', code, requestSent], `${about}: ${JSON.stringify(outcome)}`);
}

/** No session, no sealed message, and no byte at the application. */
async function assertNothingSent(front, code, about) {
  assertRefused(await call('open', front.url), code, false, about);
  assert.equal((await front.order('traffic')).application_bytes, 0);
}

test('a front end that is hostile reads nothing and changes nothing unnoticed', async () => {
  await withSession([], async (front) => {
    for (const [knob, inNode, reason = inNode] of ACTIONS) {
      await front.order(`knob front-end-${knob}`);
      const outcome = await call('post', SECRET);
      assertRefused(outcome, 'application-unreachable', true, knob);
      assert.match(outcome.message, reason, knob);
      await front.order('reset');
      assert.equal(await call('post', 'again'), 'again', knob);
    }
    assert.equal((await front.order(`seen ${SECRET}`)).seen, 0);
  });
});

test('evidence that is refused: nothing is sealed', async () => {
  for (const [knob, code] of REFUSED_EVIDENCE) {
    await inPage(['--knob', knob], (front) => assertNothingSent(front, code, knob));
  }
});

test('a failure of the agent is no attestation', async () => {
  await inPage([], async (front) => {
    for (const [fault, code] of AGENT_FAULTS) {
      await front.order(`fail /attest/=${fault}`);
      await assertNothingSent(front, code, fault);
      await front.order('reset');
    }
  });
});

test('requests that are not sealed are not sent', async () => {
  await withSession([], async (front) => {
    const { sealed_messages: sent } = await front.order('traffic');
    for (const [target, init, code] of refusedRequests(front.url)) {
      assertRefused(await call('attempt', target, init), code, false, `${target} ${JSON.stringify(init)}`);
    }
    assert.equal((await front.order('traffic')).sealed_messages, sent);
    assert.equal(await call('post', 'still'), 'still');
  });
});

test('the application gets the headers that a page does not set in clear', async () => {
  await withSession([], async () => {
    const found = JSON.parse(await call('attempt', '/headers', { headers: DROPPED_BY_PAGES }));
    for (const header of Object.entries(DROPPED_BY_PAGES)) assert.deepEqual(found.filter(([name]) => name === header[0]), [header]);
  });
});

test('a busy agent is asked three times', async () => {
  await inPage([], async (front) => {
    // `Retry-After` is not exposed to a page: it would be too long.
    await front.order('fail /attest/=too-many-requests:60');
    const [outcome, asked] = await call(`async (url) => {
      let asked = 0;
      const counting = (target, init) => {
        asked += String(target).includes('/attest/') ? 1 : 0;
        return fetch(target, init);
      };
      return [await open(url, { fetch: counting }), asked];
    }`, front.url);
    assertRefused(outcome, 'agent-unreachable', false, 'busy');
    assert.match(outcome.message, /responded with the status 429$/);
    assert.equal(asked, 3);
  });
});

test('the cookie of the front end is returned from another site', async () => {
  // Those of earlier tests are for each port of the host.
  await site.browser.send('Network.clearBrowserCookies');
  await withSession([], async (front) => {
    assert.equal(await call('post', 'hello'), 'hello');
    assert.equal((await front.order('seen front-end-replica=0')).seen, 1);
  });
});

/** A megabyte as a stream, with what was asked of it. */
const STREAMED = `async () => {
  const sent = new Uint8Array(1 << 20).map((_, at) => at * 7);
  let at = 0;
  const body = new ReadableStream({
    pull(controller) {
      controller.enqueue(sent.slice(at, (at += 1 << 16)));
      if (at === sent.length) controller.close();
    },
  });
  const response = await session.fetch('/echo', { method: 'POST', body });
  const found = new Uint8Array(await response.arrayBuffer());
  return found.length === sent.length && found.every((byte, at) => byte === sent[at]);
}`;

test('over HTTP/1.1, where Chromium refuses a stream, it is read and sent once', async () => {
  await withSession(['--http', 'http1'], async (front) => {
    for (const count of [1, 2]) {
      assert.equal(await call(STREAMED), true);
      assert.equal((await front.order('traffic')).application_requests, count);
    }
  });
});

test('a response that is piped is read to its end, whatever is collected in between', async () => {
  await withSession([], async () => {
    const length = await site.browser.evaluate(`(async () => {
      const response = await session.fetch('/large?bytes=3000000');
      const reader = response.body.pipeThrough(new TransformStream()).getReader();
      let length = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return length;
        length += value.length;
        // Collections of young objects drop those of the page that the browser can make again: a stream that is piped is one.
        for (let i = 0, some = []; i < 200_000; i += 1) some = [some[0], { some: [i] }];
      }
    })()`);
    assert.equal(length, 3_000_000);
  });
});

test('a megabyte in both directions, from memory and from a stream', async () => {
  await withSession([], async () => {
    const outcome = await site.browser.evaluate(`(async () => {
      const sent = new Uint8Array(1 << 20).map((_, at) => at * 7);
      const pieces = () => {
        let at = 0;
        return new ReadableStream({
          pull(controller) {
            controller.enqueue(sent.slice(at, (at += 1 << 16)));
            if (at === sent.length) controller.close();
          },
        });
      };
      const lengths = [];
      for (const body of [sent, new Blob([sent]), pieces()]) {
        const response = await session.fetch('/echo', { method: 'POST', body });
        const found = new Uint8Array(await response.arrayBuffer());
        lengths.push(found.every((byte, at) => byte === sent[at]) ? found.length : -1);
      }
      const aborted = new AbortController();
      const slow = session.fetch('/slow?ms=60000', { signal: aborted.signal });
      setTimeout(() => aborted.abort(new Error('no longer')), 50);
      lengths.push(await slow.catch((error) => error.message));
      session.close();
      lengths.push(await session.fetch('/').catch((error) => error.code));
      return lengths;
    })()`);
    assert.deepEqual(outcome, [1 << 20, 1 << 20, 1 << 20, 'no longer', 'closed']);
  });
});
