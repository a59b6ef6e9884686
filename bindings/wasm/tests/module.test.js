// The interface: arguments, errors, memory, traps, and hosts without JavaScript.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { AttestationError, load } from '../blindbox.js';
import { MODULE, Native, blindbox, instance, raw } from './native.js';

const POLICY = `
version = 1
kind = "confidential-container"
[trust.amd]
[workload]
binding = "own-key"
host-data = ["${'ab'.repeat(32)}"]
[uvm]
minimum-svn = 101
`;

test('the module imports nothing, and exports what is documented', () => {
  const module = new WebAssembly.Module(MODULE);
  assert.deepEqual(WebAssembly.Module.imports(module), []);
  const names = WebAssembly.Module.exports(module).map(({ name }) => name);
  const expected = ['about', 'allocate', 'cce_policy', 'free', 'host_data', 'inspect', 'length', 'message', 'policy', 'verify_recorded', 'verify_unappraised'];
  assert.deepEqual(names.filter((name) => name.startsWith('bb_')).sort(), expected.map((name) => `bb_${name}`));
  assert(names.includes('memory'));
  // Whatever else is exported is a value of the linker, and no function.
  for (const { name, kind } of WebAssembly.Module.exports(module)) assert(name.startsWith('bb_') || kind !== 'function', name);
});

test('version and codes', async () => {
  const native = new Native();
  try {
    const { ok } = JSON.parse(await native.call('about', {}));
    assert.equal(blindbox.version, ok.version);
    assert.deepEqual(blindbox.codes, ok.codes);
    assert.deepEqual(blindbox.documentNames, ok.documents);
    assert(ok.documents.includes('hcl-report.bin') && ok.documents.includes('policy.toml'));
  } finally {
    await native.stop();
  }
  // The codes that the wrapper itself uses.
  const numbers = Object.fromEntries(blindbox.codes.map(({ code, number }) => [code, number]));
  assert.equal(numbers.misconfigured, 404);
  assert.equal(numbers.internal, 902);
});

test('a policy, its lint, and host data', () => {
  const found = blindbox.policy(POLICY);
  assert.equal(found.attester, null);
  assert.match(found.digest, /^[0-9a-f]{64}$/);
  assert.equal(blindbox.policy(JSON.stringify(found.policy)).digest, found.digest);
  assert.equal(blindbox.policy(found.toml).digest, found.digest);
  assert(found.lint.every(({ code, message }) => code !== '' && message !== ''));
  assert.throws(() => blindbox.policy('kind = 1'), { name: 'AttestationError', code: 'invalid-policy', message: /line 1/ });
  const known = '73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20';
  assert.deepEqual(blindbox.hostData(known), { host_data: known, known_allow_all: true, findings: null });
  assert.throws(() => blindbox.hostData('5a'), { code: 'misconfigured' });
  const rego = Buffer.from('package policy\n').toString('base64');
  assert.match(blindbox.ccePolicy(rego).host_data, /^[0-9a-f]{64}$/);
  assert.throws(() => blindbox.ccePolicy('?'), { code: 'misconfigured' });
});

test('arguments that are something else', () => {
  const token = new Uint8Array(4);
  for (const wrong of [
    () => blindbox.inspect('text'),
    () => blindbox.inspect(null),
    () => blindbox.inspect(new Uint8Array((4 << 20) + 1)),
    () => blindbox.inspect(new TextEncoder().encode('nothing')),
    () => blindbox.verifyRecorded({ 'token.jwx': token }, POLICY, { at: 0 }),
    () => blindbox.verifyRecorded({ 'token.jwt': 'text' }, POLICY, { at: 0 }),
    () => blindbox.verifyRecorded({ 'vcek.der': token, 'certificates.pem': token }, POLICY, { at: 0 }),
    () => blindbox.verifyRecorded(null, POLICY, { at: 0 }),
    () => blindbox.verifyRecorded({}, POLICY, {}),
    () => blindbox.verifyRecorded({}, POLICY, { at: 1.5 }),
    () => blindbox.verifyRecorded({}, POLICY, { at: -1 }),
    () => blindbox.verifyRecorded({}, POLICY, { at: 0, keyset: token }),
    () => blindbox.verifyRecorded({}, POLICY, { at: 0, keySet: null }),
    () => blindbox.verifyRecorded({}, POLICY, { at: 0, amdRoots: 'none' }),
    () => blindbox.verifyRecorded({}, null, { at: 0 }),
    () => blindbox.policy(undefined),
  ]) {
    assert.throws(wrong, (error) => error instanceof AttestationError && error.code === 'misconfigured' && error.category === 'misconfigured');
  }
  assert.throws(() => blindbox.verifyRecorded({}, POLICY, { at: 0 }), { code: 'misconfigured', message: /at least one/ });
});

test('JSON that is something else', () => {
  const { exports } = instance;
  const refused = (name, text) => {
    const { error, appraisal } = JSON.parse(raw(exports, name, text));
    assert.equal(error?.code, 'misconfigured', `${name} ${text}`);
    assert.equal(appraisal, null);
  };
  for (const text of ['[]', '[""]', 'null', '1', '{', '{}', '{"policy":null}', '{"policy":1}', '{"policy":"","policy":""}', '{"policy":"","more":1}', '{"policy":""} x', '\u0000']) {
    refused('policy', text);
  }
  refused('about', '{"more":1}');
  refused('inspect', '{"content":"?"}');
  refused('inspect', '{"content":"YQ"}');
  for (const member of ['key_set', 'amd_roots']) refused('verify_recorded', `{"documents":{},"policy":"","at":0,"${member}":null}`);
  refused('verify_unappraised', '{"documents":{},"at":0,"attester":null}');
  refused('verify_unappraised', '{"documents":{},"at":-1}');
  refused('inspect', `{"content":${'['.repeat(100_000)}`);
});

test('addresses that are no buffers', () => {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(MODULE), {});
  assert.equal(exports.bb_allocate((16 << 20) + 1), 0);
  assert.equal(exports.bb_allocate(-1), 0);
  assert.equal(exports.bb_allocate(0), 0);
  for (const address of [0, 1, 1024, -1]) {
    assert.equal(exports.bb_length(address), 0);
    exports.bb_free(address);
    const output = exports.bb_policy(address);
    assert(exports.bb_length(output) > 0);
    exports.bb_free(output);
  }
  // A host that frees nothing gets no more buffers, and no trap.
  const taken = Array.from({ length: 20 }, () => exports.bb_allocate(16)).filter((address) => address !== 0);
  assert.equal(taken.length, 8);
  taken.forEach((address) => exports.bb_free(address));
  assert.notEqual(exports.bb_allocate(16), 0);
});

test('memory stays flat', async () => {
  const own = await load(MODULE);
  const content = new TextEncoder().encode(JSON.stringify({ keys: [], padding: 'x'.repeat(100_000) }));
  const use = () => {
    own.policy(POLICY);
    assert.throws(() => own.inspect(content), { code: 'misconfigured' });
  };
  for (let count = 0; count < 20; count += 1) use();
  const before = own.memoryBytes;
  for (let count = 0; count < 500; count += 1) use();
  assert.equal(own.memoryBytes, before);
  assert(before < 8 << 20, String(before));
});

/** A module with the exports that loading uses, in which everything else traps. */
function trapping(version) {
  const name = (text) => [text.length, ...Buffer.from(text)];
  const section = (id, ...contents) => [id, contents.length, ...contents];
  const about = Buffer.from(`{"ok":{"version":"${version}","codes":[]}}`);
  const functions = ['bb_allocate', 'bb_length', 'bb_free', 'bb_about', 'bb_policy'];
  const types = [0, 0, 1, 0, 0];
  const body = (...code) => [code.length + 2, 0, ...code, 0x0b];
  const bodies = [body(0x41, 0xc0, 0x00), body(0x41, about.length), body(), body(0x41, 0x00), body(0x00)];
  const sections = [
    ...section(1, 2, 0x60, 1, 0x7f, 1, 0x7f, 0x60, 1, 0x7f, 0),
    ...section(3, types.length, ...types),
    ...section(5, 1, 0, 1),
    ...section(7, functions.length + 1, ...functions.flatMap((text, at) => [...name(text), 0, at]), ...name('memory'), 2, 0),
    ...section(10, bodies.length, ...bodies.flat()),
    ...section(11, 1, 0, 0x41, 0, 0x0b, about.length, ...about),
  ];
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections]);
}

test('a trap is an error that says that nothing was verified, and the next call works', async () => {
  const own = await load(trapping(blindbox.version));
  for (let count = 0; count < 2; count += 1) {
    assert.throws(() => own.policy('{}'), (error) => {
      assert(error instanceof AttestationError);
      assert.deepEqual([error.code, error.number, error.category], ['internal', 902, 'internal']);
      assert.match(error.message, /nothing was verified/);
      assert(error.cause instanceof WebAssembly.RuntimeError);
      return true;
    });
    assert.equal(own.memoryBytes, 0);
  }
});

test('a module of another version is refused', async () => {
  await assert.rejects(load(trapping('0.0.1')), /blindbox\.js \d+\.\d+\.\d+ found a module of version 0\.0\.1: take both from one build/);
});
