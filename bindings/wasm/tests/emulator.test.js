// Evidence of the emulator: the same verdicts, checks and codes as natively.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AttestationError } from '../blindbox.js';
import { emulated } from './emulator.js';
import { Native, base64, blindbox, instance, raw } from './native.js';

for (const [about, options, expected] of [
  ['a container', [], 'ok'],
  ['a container, with its hardware', ['--product', 'milan'], 'ok'],
  ['a debug guest', ['--knob', 'debug'], 'debug-mode'],
  ['a non-compliant guest', ['--knob', 'no-compliance-status'], 'non-compliant-uvm'],
]) {
  test(about, async () => {
    const native = new Native();
    try {
      await emulated(options, async ({ documents, policy, at, keySet, amdRoots }) => {
        const parameters = {
          documents: Object.fromEntries(Object.entries(documents).map(([name, content]) => [name, base64(content)])),
          policy,
          at,
          key_set: base64(keySet),
          ...(amdRoots === undefined ? {} : { amd_roots: amdRoots }),
        };
        for (const later of [0, 10 * 365 * 86_400]) {
          const call = { ...parameters, at: at + later };
          assert.equal(raw(instance.exports, 'verify_recorded', JSON.stringify(call)), await native.call('verify_recorded', call));
        }
        const options = { at, keySet, ...(amdRoots === undefined ? {} : { amdRoots }) };
        if (expected === 'ok') {
          const accepted = blindbox.verifyRecorded(documents, policy, options);
          assert(accepted.appraisal.length > 10);
          assert(accepted.appraisal.every(({ verdict }) => verdict !== 'failed'));
          // The key set that was stored with the evidence proves nothing.
          const { keySet: _, ...without } = options;
          assert.throws(() => blindbox.verifyRecorded(documents, policy, without), { code: 'key-set-not-authenticated' });
        } else {
          assert.throws(() => blindbox.verifyRecorded(documents, policy, options), (error) => {
            assert(error instanceof AttestationError);
            assert.deepEqual([error.code, error.category], [expected, 'rejected']);
            assert(error.appraisal.some(({ verdict }) => verdict === 'failed'));
            // What identifies a machine is not printed with the error.
            assert(!Object.keys(error).includes('appraisal'));
            return true;
          });
        }
        assert.throws(() => blindbox.verifyRecorded(documents, policy, { ...options, at: at + 10 * 365 * 86_400 }), { category: 'untrusted' });
      });
    } finally {
      await native.stop();
    }
  });
}
