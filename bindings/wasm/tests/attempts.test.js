// A busy agent is asked again, as by the native client: three times at most, and after what it asks for.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { behind } from './front_end.js';

/** A `fetch` that takes the fault back once the agent was asked so often. */
function recoveringAfter(front, count) {
  return async (url, init) => {
    const response = await front.fetch(url, init);
    if (String(url).includes('/attest/') && front.count('/attest/maa') === count) await front.order('reset');
    return response;
  };
}

test('an agent that is busy for a while gives evidence after all', async () => {
  for (const [fault, times] of [['status:502', 1], ['status:503', 2], ['status:504', 1], ['too-many-requests:0', 2]]) {
    await behind([], async (front) => {
      await front.order(`fail /attest/=${fault}`);
      const session = await front.connect({ fetch: recoveringAfter(front, times) });
      assert.equal(front.count('/attest/maa'), times + 1, fault);
      assert.equal(await (await session.fetch('/echo', { method: 'POST', body: 'hello' })).text(), 'hello');
      session.close();
    });
  }
});

test('one that stays busy, or asks for a long wait, is unreachable', async () => {
  await behind([], async (front) => {
    for (const [fault, status, options, times] of [
      ['status:503', 503, {}, 3],
      ['too-many-requests:6', 429, {}, 1],
      ['status:500', 500, {}, 1],
    ]) {
      const before = front.count('/attest/maa');
      await front.order(`fail /attest/=${fault}`);
      const error = await front.connect(options).catch((error) => error);
      assert.deepEqual([error.code, error.requestSent], ['agent-unreachable', false], fault);
      assert.match(error.message, new RegExp(`responded with the status ${status}$`));
      assert.equal(front.count('/attest/maa') - before, times, fault);
      await front.order('reset');
    }
  });
});

test('there is no wait that the time for the attestation does not allow', async (t) => {
  await behind([], async (front) => {
    let passed = 0;
    const elapsed = performance.now.bind(performance);
    t.mock.method(performance, 'now', () => elapsed() + passed);
    const fetch = (url, init) => {
      passed = 597_000;
      return front.fetch(url, init);
    };
    await front.order('fail /attest/=too-many-requests:4');
    await assert.rejects(front.connect({ fetch, timeout: 600_000 }), { code: 'agent-unreachable', message: /responded with the status 429$/ });
    assert.equal(front.count('/attest/maa'), 1);
  });
});

test('a wait ends with the session', async (t) => {
  await behind([], async (front) => {
    const session = await front.connect();
    await front.order('fail /attest/=too-many-requests:5');
    const set = globalThis.setTimeout;
    const waits = new Promise((resolve) => {
      // The wait has no other end.
      t.mock.method(globalThis, 'setTimeout', (call, milliseconds, ...given) => (milliseconds === 5_000 ? resolve() : set(call, milliseconds, ...given)));
    });
    const error = session.reattest().catch((error) => error);
    await waits;
    session.close();
    assert.equal((await error).code, 'closed');
    assert.equal(front.count('/attest/maa'), 2);
  });
});
