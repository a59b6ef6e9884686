'use strict';

// Requests that may be processed twice, behind a front end that loses their responses.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const blindbox = require('@blindbox/attestation');

const { Emulator } = require('./emulator');

test('a request is sent again if the caller permits it', async () => {
  // It delivers a request, and says that the instance does not know the key.
  const lossy = ['--agent', 'bound-message', '--front-end', '--knob', 'front-end-report-unknown-key'];
  const emulator = await Emulator.start(...lossy);
  try {
    const session = await emulator.connect();
    const count = async () => (await emulator.traffic()).application_requests;
    const processed = async (init) => {
      const before = await count();
      const sent = session.fetch('/echo', { method: 'POST', ...init });
      await assert.rejects(sent, { code: 'application-unreachable', requestSent: true });
      return (await count()) - before;
    };
    assert.equal(await processed({ body: 'x' }), 1);
    assert.equal(await processed({ body: 'x', idempotent: false }), 1);
    assert.equal(await processed({ body: 'x', idempotent: undefined }), 1);
    assert.equal(await processed({ body: 'x', idempotent: true }), 3);
    // It can be read once.
    assert.equal(await processed({ body: new Blob(['x']).stream(), duplex: 'half', idempotent: true }), 1);

    const before = await count();
    for (const wrong of [null, 1, 'false']) {
      const found = wrong === null ? 'null' : typeof wrong;
      const message = `idempotent: expected true or false, found ${found}`;
      await assert.rejects(session.fetch('/echo', { idempotent: wrong }), (error) => {
        return error instanceof blindbox.Misconfigured && error.message.includes(message);
      });
    }
    assert.equal(await count(), before);
    session.close();
  } finally {
    await emulator.stop();
  }
});
