// Recorded evidence of real machines: the module returns byte for byte what the native library returns over AWS-LC.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Native, base64, filesBelow, instance, raw, vectors } from './native.js';

const directory = vectors();
let native;

before(() => {
  native = new Native();
});
after(() => native.stop());

/** The same call through both; returns the outcome. */
async function both(name, parameters, about) {
  const expected = await native.call(name, parameters);
  assert.equal(raw(instance.exports, name, JSON.stringify(parameters)), expected, `${name}: ${about}`);
  return JSON.parse(expected);
}

const AT = 1_774_000_000;

/** The sets of hardware evidence: name to documents. */
function hardware() {
  const sets = readdirSync(directory).filter((name) => existsSync(path.join(directory, name, 'vcek.der')) && existsSync(path.join(directory, name, 'report.bin')));
  return sets.map((name) => {
    const read = (file) => readFileSync(path.join(directory, name, file));
    const documents = { 'report.bin': base64(read('report.bin')), 'vcek.der': base64(read('vcek.der')) };
    for (const endorsement of ['uvm.cose', 'uvm_without_timestamp.cose']) {
      if (existsSync(path.join(directory, name, endorsement))) documents['uvm-endorsement.cose'] = base64(read(endorsement));
    }
    return [name, documents];
  });
}

/** A copy in which a bit of a document is another. */
function flipped(documents, name, at) {
  const bytes = Buffer.from(documents[name], 'base64');
  bytes[at % bytes.length] ^= 1 << (at % 8);
  return { ...documents, [name]: base64(bytes) };
}

test('inspection of every file', { skip: directory === null }, async () => {
  const kinds = new Set();
  let refused = 0;
  for (const file of filesBelow(directory)) {
    const content = readFileSync(file);
    const outcome = await both('inspect', { content: base64(content) }, file);
    for (const { kind } of outcome.ok ?? []) kinds.add(kind);
    refused += 'error' in outcome ? 1 : 0;
  }
  for (const kind of ['token', 'report', 'endorsement', 'certificate', 'key-set', 'hcl-report', 'tpm-quote']) assert(kinds.has(kind), kind);
  assert(refused > 0);
});

test('hardware evidence, as recorded and broken', { skip: directory === null }, async () => {
  const codes = {};
  for (const [name, documents] of hardware()) {
    for (const at of [AT, 0, 4_000_000_000]) {
      const { error } = await both('verify_unappraised', { documents, at }, name);
      const code = error?.code ?? 'ok';
      codes[code] = (codes[code] ?? 0) + 1;
    }
    for (const part of Object.keys(documents)) {
      for (const at of [3, 700, 1010, 1717, 5021]) {
        const changed = flipped(documents, part, at);
        const { ok } = await both('verify_unappraised', { documents: changed, at: AT }, `${name}: ${part}, byte ${at}`);
        if (part === 'report.bin' && at < 700) assert.equal(ok, undefined, `${name}: ${part}, byte ${at}`);
      }
    }
  }
  assert(codes.ok >= 8, JSON.stringify(codes));
  assert(codes['invalid-report'] >= 10, JSON.stringify(codes));
});

test('policies on hardware evidence', { skip: directory === null }, async () => {
  const verdicts = {};
  for (const [name, documents] of hardware()) {
    const expected = JSON.parse(existsSync(path.join(directory, name, 'expected.json')) ? readFileSync(path.join(directory, name, 'expected.json')) : '{}');
    for (const hostData of [expected.host_data, '5a'.repeat(32)]) {
      if (hostData === undefined) continue;
      const policy = JSON.stringify({
        version: 1,
        kind: 'confidential-container',
        trust: { amd: { revocation: 'allow-off' } },
        workload: { binding: 'own-key', 'host-data': [hostData] },
        uvm: { 'minimum-svn': 101 },
      });
      const outcome = await both('verify_recorded', { documents, policy, at: AT }, name);
      const code = outcome.error?.code ?? 'ok';
      (verdicts[code] ??= []).push(name);
    }
  }
  assert(Object.keys(verdicts).length >= 3, JSON.stringify(verdicts));
  assert(verdicts['invalid-enclave-code']?.length > 0, JSON.stringify(verdicts));
});

test('tokens', { skip: directory === null }, async () => {
  let accepted = 0;
  for (const name of readdirSync(directory).filter((one) => existsSync(path.join(directory, one, 'token.jwt')))) {
    const read = (file) => readFileSync(path.join(directory, name, file));
    if (!existsSync(path.join(directory, name, 'jwks.json'))) continue;
    const token = read('token.jwt');
    const claims = JSON.parse(Buffer.from(token.toString().split('.')[1], 'base64url'));
    const parameters = { documents: { 'token.jwt': base64(token) }, key_set: base64(read('jwks.json')), attester: claims.iss, at: claims.iat + 60 };
    const { ok } = await both('verify_unappraised', parameters, name);
    accepted += ok === undefined ? 0 : 1;
    const expired = await both('verify_unappraised', { ...parameters, at: claims.exp + 3600 }, name);
    // The token of SGX is refused for its kind.
    assert.equal(expired.error?.code, name.includes('sgx') ? 'not-an-enclave' : 'invalid-token', name);
    for (const at of [5, 400, token.length - 100, token.length - 40]) {
      const bytes = Buffer.from(token);
      bytes[at] = bytes[at] === 65 ? 66 : 65;
      const changed = await both('verify_unappraised', { ...parameters, documents: { 'token.jwt': base64(bytes) } }, `${name}: byte ${at}`);
      assert.equal(changed.ok, undefined, `${name}: byte ${at}`);
    }
  }
  assert(accepted >= 4, String(accepted));
});
