'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { pathToFileURL } = require('node:url');
const { after, before, test } = require('node:test');

const blindbox = require('@blindbox/attestation');

const { Emulator } = require('./emulator');

const { HostData, Policy } = blindbox;
const MAA = 'https://sharedneu.neu.attest.azure.net';

let emulator;

before(async () => {
  emulator = await Emulator.start();
});
after(() => emulator.stop());

test('policies', () => {
  const { policy } = emulator;
  for (const same of [
    new Policy(policy.toToml()),
    new Policy(JSON.stringify(policy)),
    Policy.fromObject(policy.toJSON()),
    Policy.fromFile(pathToFileURL(emulator.file('policy.toml'))),
  ]) {
    assert(same.equals(policy));
    assert.equal(same.digest, policy.digest);
  }
  assert.match(policy.maaIssuer, /^https:/);
  const options = { hostData: emulator.about.host_data, minimumSvn: 101, maa: MAA };
  const made = Policy.confidentialContainer({ ...options, binding: 'own-key' });
  assert(!made.equals(policy));
  // An assertion that nothing can check is the caller's to make.
  assert.throws(() => Policy.confidentialContainer(options), { name: 'Misconfigured', message: /binding: expected 'own-key'/ });
  assert.throws(() => Policy.confidentialContainer({ ...options, minimumSvm: 1 }), /found minimumSvm/);
  const unbound = Policy.confidentialContainer({
    ...options,
    hostData: [new HostData(emulator.about.host_data)],
    binding: 'none',
    allow: { 'unbound-channel': true },
  });
  assert.equal(unbound.lint()[0].code, 'channel-not-bound');
  for (const binding of ['own-connection', 'own-message-key']) {
    assert.equal(Policy.confidentialContainer({ ...options, binding }).toJSON().workload.binding, binding);
  }
  assert.throws(() => Policy.confidentialContainer({ ...options, binding: 'own' }), { name: 'InvalidPolicy', message: /expected one of `own-key`/ });
  // Nothing that was meant as a requirement is left out, and nothing is relaxed by a text that reads otherwise.
  for (const relaxing of [
    { allowTestAttester: 'false' },
    { allowTestAttester: 0 },
    { amd: 'no' },
    { maaPolicyHash: undefined },
    { maaPolicyHash: null },
    { require: undefined },
    { require: { 'chip-ids': undefined } },
    { require: { 'chip-ids': null } },
    { require: new Map([['chip-ids', ['00']]]) },
    { require: { 'chip-ids': new Set(['00']) } },
    { require: { [Symbol('chip-ids')]: [] } },
    { require: () => ({}) },
    { allow: { 'unbound-channel': Number.NaN } },
  ]) {
    const given = { ...options, binding: 'own-key', ...relaxing };
    const [name] = Object.keys(relaxing);
    assert.throws(() => Policy.confidentialContainer(given), { code: 'misconfigured', message: new RegExp(name) });
  }
  const { require: _, ...fields } = policy.toJSON();
  for (const lost of [undefined, null, () => {}, Symbol('a'), new Map(), new Date(0), Number.NaN, 1n, [undefined]]) {
    assert.throws(() => Policy.fromObject({ ...fields, require: lost }), { code: 'misconfigured', message: /policy\.require/ });
  }
  assert.throws(() => new Policy('kind = 1'), { name: 'InvalidPolicy', message: /line 1/ });
  assert.throws(() => Policy.fromObject({ versoin: 1 }), { name: 'InvalidPolicy' });
  assert.throws(() => new Policy(1), { name: 'Misconfigured' });
  assert.throws(() => Policy.fromFile(emulator.file('nowhere')), { code: 'ENOENT' });
});

test('host data', () => {
  const file = emulator.file('cce-policy.base64');
  const hostData = HostData.fromCcePolicyFile(file);
  assert.equal(hostData.hex, emulator.about.host_data);
  assert.equal(String(hostData), JSON.parse(JSON.stringify(hostData)));
  assert.equal(HostData.fromCcePolicy(fs.readFileSync(file, 'utf8')).hex, hostData.hex);
  assert.equal(hostData.isKnownAllowAll, false);
  assert(Array.isArray(hostData.findings));
  const known = '73973b78d70cc68353426de188db5dfc57e5b766e399935fb73a61127ea26d20';
  assert.equal(new HostData(known).isKnownAllowAll, true);
  assert.equal(new HostData(known).findings, null);
  assert.throws(() => new HostData('5a'), { name: 'Misconfigured' });
  assert.throws(() => HostData.fromCcePolicy('?'), { name: 'Misconfigured' });
});

test('recorded evidence', async () => {
  const { policy } = emulator;
  const evidence = await new blindbox.Verifier(emulator.settings).collect(emulator.url, policy);
  const accepted = evidence.verify(policy);
  assert.equal(accepted.channel, null);
  assert(accepted.claims.snp && accepted.appraisal.length > 10);
  const at = evidence.about.asked_at;
  const keySet = fs.readFileSync(emulator.file('key-set.json'));
  const { documents } = evidence;
  for (const time of [at, new Date(at * 1000)]) {
    assert(blindbox.verifyRecorded(documents, policy, { at: time, keySet }).appraisal.length > 10);
  }
  assert.throws(() => blindbox.verifyRecorded(documents, policy, { at }), { name: 'KeySetNotAuthenticated' });
  const later = at + 10 * 365 * 86_400;
  assert.throws(() => blindbox.verifyRecorded(documents, policy, { at: later, keySet }), { name: 'InvalidToken' });
  const token = Buffer.from(documents['token.jwt']);
  token.fill('A', token.length - 8);
  const tampered = { ...documents, 'token.jwt': token };
  assert.throws(() => blindbox.verifyRecorded(tampered, policy, { at, keySet }), { name: 'InvalidToken' });
  for (const [wrong, options] of [
    [{ 'token.jwx': token }, { at }],
    [{ 'token.jwt': 'text' }, { at }],
    [documents, {}],
    [documents, { at: 1.5 }],
    [documents, { at, keyset: keySet }],
  ]) {
    assert.throws(() => blindbox.verifyRecorded(wrong, policy, options), { name: 'Misconfigured' });
  }
  const { claims } = blindbox.verifyUnappraised(documents, { at, maaIssuer: policy.maaIssuer, keySet });
  assert(claims.snp);
});

test('recorded evidence of a confidential VM', async (t) => {
  const vm = await Emulator.start('--guest', 'vm', '--product', 'milan', '--trust', 'amd');
  t.after(() => vm.stop());
  const { documents, about } = await new blindbox.Verifier(vm.settings).collect(vm.url, vm.policy);
  const { amdRoots, akRoot } = vm.settings;
  const options = { at: about.asked_at, amdRoots, akRoot };
  const withNotes = { ...documents, 'about.json': Buffer.from('{}'), 'policy.toml': Buffer.alloc(0) };
  const names = blindbox.verifyRecorded(withNotes, vm.policy, options).appraisal.map((check) => check.name);
  assert(names.includes('tpm quote') && names.includes('ak certificate'));
  // Text is a path, as in the settings of a verifier, and null does not stand for the roots that are built in.
  for (const name of ['amdRoots', 'akRoot']) {
    const content = fs.readFileSync(options[name]);
    const verify = (root) => blindbox.verifyRecorded(documents, vm.policy, { ...options, [name]: root });
    assert.equal(verify(content).appraisal.length, verify(pathToFileURL(options[name])).appraisal.length);
    for (const call of [verify, (root) => new blindbox.Verifier({ [name]: root })]) {
      assert.throws(() => call(content.toString()), { syscall: 'open' });
      assert.throws(() => call(null), { name: 'Misconfigured', message: new RegExp(`${name}: expected a value, found null`) });
      assert.throws(() => call(1), { name: 'Misconfigured', message: new RegExp(`${name}: expected a path, or the content as bytes`) });
    }
  }
  const signature = Buffer.from(documents['tpm-quote.sig']);
  signature[255] ^= 1;
  const tampered = { ...documents, 'tpm-quote.sig': signature };
  assert.throws(() => blindbox.verifyRecorded(tampered, vm.policy, options), { name: 'InvalidTpmQuote' });
  const { 'pcrs.json': _, ...part } = documents;
  assert.throws(() => blindbox.verifyRecorded(part, vm.policy, options), { name: 'Misconfigured', message: /only a part/ });
  const builtIn = { ...options, akRoot: undefined };
  assert.throws(() => blindbox.verifyRecorded(documents, vm.policy, builtIn), { name: 'InvalidAkCertificate' });
});

test('inspection', async () => {
  const evidence = await new blindbox.Verifier(emulator.settings).collect(emulator.url, emulator.policy);
  const [found] = blindbox.inspect(evidence.documents['token.jwt']);
  assert.deepEqual([found.kind, found.verified], ['token', false]);
  assert.equal(blindbox.inspect(emulator.file('key-set.json'))[0].kind, 'key-set');
  assert.throws(() => blindbox.inspect(Buffer.from('nothing')), { name: 'Misconfigured' });
});
