// Requests that may be processed twice, behind a front end that loses their responses.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AttestationError } from '../session.js';
import { behind } from './front_end.js';

test('a request is sent again if the caller permits it', async () => {
  // It delivers a request, and says that the instance does not know the key.
  await behind(['--knob', 'front-end-report-unknown-key'], async (front) => {
    const session = await front.connect();
    const count = async () => (await front.order('traffic')).application_requests;
    const processed = async (init) => {
      const before = await count();
      const sent = session.fetch('/echo', { method: 'POST', body: 'x', ...init });
      await assert.rejects(sent, { code: 'application-unreachable', requestSent: true });
      return (await count()) - before;
    };
    assert.equal(await processed({}), 1);
    assert.equal(await processed({ idempotent: false }), 1);
    assert.equal(await processed({ idempotent: undefined }), 1);
    assert.equal(await processed({ idempotent: true }), 3);
    // It can be read once.
    assert.equal(await processed({ idempotent: true, body: new Blob(['x']).stream() }), 1);
    try {
      Object.prototype.idempotent = true;
      assert.equal(await processed({}), 1);
    } finally {
      delete Object.prototype.idempotent;
    }

    const sealed = front.count('/attest/message');
    for (const wrong of [null, 1, 'false']) {
      await assert.rejects(session.fetch('/echo', { idempotent: wrong }), (error) => {
        assert(error instanceof AttestationError);
        assert.deepEqual([error.code, error.requestSent], ['misconfigured', false]);
        assert.match(error.message, /idempotent: expected true or false, found /);
        return true;
      });
    }
    assert.equal(front.count('/attest/message'), sealed);
  });
});
