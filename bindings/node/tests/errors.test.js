'use strict';

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { after, afterEach, before, test } = require('node:test');
const { inspect } = require('node:util');

const blindbox = require('@blindbox/attestation');

const { Emulator, run } = require('./emulator');
const { generated } = require('./generated');

const root = path.dirname(require.resolve('@blindbox/attestation/package.json'));
const { native, check } = require(path.join(root, 'lib/native.js'));
const { made } = require(path.join(root, 'lib/errors.js'));

let emulator;

before(async () => {
  emulator = await Emulator.start();
});
afterEach(() => emulator.order('reset'));
after(() => emulator.stop());

test('there is a class for each code', () => {
  const categories = { rejected: 'Rejected', untrusted: 'Untrusted', unavailable: 'Unavailable' };
  Object.assign(categories, { misconfigured: 'Misconfigured', internal: 'Internal' });
  const codes = blindbox.codes();
  assert(codes.length > 40);
  assert.deepEqual(codes, native.codes());
  assert.deepEqual(codes[0], { code: 'debug-mode', number: 101, category: 'rejected', retryable: false, name: 'DebugMode' });
  for (const { code, number, category, retryable, name } of codes) {
    const error = made({ code, number, category, retryable, requestSent: true, message: 'the reason' });
    assert(error instanceof blindbox[name] && error instanceof blindbox[categories[category]]);
    assert(error instanceof blindbox.AttestationError && error instanceof Error);
    assert.equal(error.name, name);
    assert.equal(error.constructor.name, name);
    assert.deepEqual(
      [error.code, error.number, error.category, error.retryable, error.requestSent, error.message, error.appraisal],
      [code, number, category, retryable, true, 'the reason', null],
    );
  }
});

test('a code of a newer core has the class of its category', () => {
  const error = made({ code: 'new-check', number: 199, category: 'rejected', message: 'new', appraisal: '[]' });
  assert.equal(error.constructor, blindbox.Rejected);
  assert.deepEqual([error.name, error.code, error.appraisal], ['Rejected', 'new-check', []]);
  assert.equal(made({ code: 'x', number: 999, category: 'new', message: '' }).constructor, blindbox.Internal);
});

test('the generated files have every class', () => {
  for (const [name, content] of Object.entries(generated(root))) {
    assert.equal(fs.readFileSync(path.join(root, name), 'utf8'), content, `run tests/generated.js: ${name}`);
  }
});

test('import has the same names', async () => {
  const module = await import('@blindbox/attestation');
  const names = Object.keys(module).filter((name) => name !== 'module.exports');
  assert.deepEqual(names.sort(), Object.keys(blindbox).sort());
  assert.equal(module.DebugMode, blindbox.DebugMode);
});

test('a rejection has its checks, but not where it is printed', async () => {
  const amd = await Emulator.start('--product', 'milan');
  try {
    const session = await amd.connect();
    const chip = session.attestation.claims.snp.chip_id;
    assert.equal(chip.length, 128);
    // Nor is the attestation printed with it: loggers use both.
    const { attestation } = session;
    const printed = JSON.stringify({ attestation });
    assert.deepEqual(JSON.parse(printed), {
      attestation: { channel: 'bound', expiresAt: attestation.expiresAt.toISOString() },
    });
    for (const printed of [String(attestation), inspect(attestation, { depth: null })]) {
      assert(!printed.includes(chip));
    }
    assert.equal(attestation.fields.claims.snp.chip_id, chip);
    session.close();
    const require = { 'chip-ids': [[...chip].reverse().join('')] };
    amd.policy = blindbox.Policy.fromObject({ ...amd.policy.toJSON(), require });
    await assert.rejects(amd.connect(), (error) => {
      assert.equal(error.name, 'WrongChip');
      const failed = error.appraisal.filter((check) => check.verdict === 'failed');
      assert.equal(failed.length, 1);
      assert.equal(failed[0].actual, chip);
      for (const printed of [error.message, String(error), error.stack, inspect(error), JSON.stringify(error)]) {
        assert(!printed.includes(chip));
      }
      return true;
    });
  } finally {
    await amd.stop();
  }
});

for (const [knob, name, category] of [
  ['debug', 'DebugMode', 'Rejected'],
  ['no-compliance-status', 'NonCompliantUvm', 'Rejected'],
  [`host-data=${'66'.repeat(32)}`, 'InvalidEnclaveCode', 'Rejected'],
  ['uvm-svn=1', 'UvmTooOld', 'Rejected'],
  ['token-bad-signature', 'InvalidToken', 'Untrusted'],
  ['old-nonce', 'FalseAttestationReport', 'Untrusted'],
  ['token-issuer=https://evil.example', 'WrongAttester', 'Untrusted'],
  ['no-token', 'MaaTokenNotFound', 'Unavailable'],
]) {
  test(`refused: ${knob}`, async () => {
    const sent = (await emulator.traffic()).application_bytes;
    await emulator.order(`knob ${knob}`);
    await assert.rejects(emulator.connect(), (error) => {
      assert(error instanceof blindbox[category]);
      assert.equal(error.name, name);
      assert.equal(error.requestSent, false);
      return true;
    });
    assert.equal((await emulator.traffic()).application_bytes, sent);
  });
}

for (const [knob, name] of [['no-compliance-status', 'NonCompliantUvm'], ['debug', 'DebugMode']]) {
  test(`the example of the guide prints ${name}`, async () => {
    await emulator.order(`knob ${knob}`);
    const script = path.join(__dirname, 'guide.mjs');
    assert.deepEqual(await run(emulator, script), { code: 0, out: `${name}\n`, err: '' });
  });
}

test('an application that is not there', async () => {
  const policy = blindbox.Policy.confidentialContainer({
    hostData: '5a'.repeat(32),
    minimumSvn: 101,
    binding: 'own-key',
    maa: 'https://sharedneu.neu.attest.azure.net',
  });
  const expected = { name: 'ApplicationUnreachable', category: 'unavailable', retryable: true };
  await assert.rejects(blindbox.verifyConnection('https://127.0.0.1:1', policy), expected);
  await assert.rejects(blindbox.verifyConnection('nonsense', policy), { name: 'InvalidUrl' });
});

test('a native part of another version is refused', () => {
  assert.equal(native.version(), require('@blindbox/attestation/package.json').version);
  assert.equal(blindbox.version, native.version());
  check(blindbox.version);
  assert.throws(() => check('0.0.1'), /found a native part of version 0\.0\.1: install it again/);
});

test('events of the core', async () => {
  const events = [];
  const refused = new Promise((resolve) => {
    blindbox.enableLogging('info', (event) => {
      events.push(event);
      if (JSON.stringify(event.fields).includes('debug-mode')) resolve();
    });
  });
  try {
    await emulator.order('knob debug');
    await assert.rejects(emulator.connect());
    // The timer of the events keeps no process alive, so the test does.
    const alive = setInterval(() => {}, 1000);
    await refused;
    clearInterval(alive);
    assert(events.every((event) => ['info', 'warn', 'error'].includes(event.level) && event.dropped === 0));
  } finally {
    blindbox.enableLogging('off');
  }
  assert.throws(() => blindbox.enableLogging('loud', () => {}), blindbox.Misconfigured);
  assert.throws(() => blindbox.enableLogging('info'), blindbox.Misconfigured);
});

test('a listener that causes events does not hold the program', () => {
  const kept = { logNext: native.logNext, logLevel: native.logLevel };
  const { setInterval } = globalThis;
  let tick;
  globalThis.setInterval = (work, _, ...given) => {
    tick = () => work(...given);
    return setInterval(() => {}, 1_000_000);
  };
  native.logLevel = () => true;
  // There is always one more.
  native.logNext = () => ({ level: 'info', message: 'event', fields: '{}', dropped: 0 });
  let reported = 0;
  try {
    blindbox.enableLogging('info', () => {
      reported += 1;
      assert(reported < 1_000_000);
    });
    tick();
    const first = reported;
    tick();
    assert(first > 0);
    assert.equal(reported, 2 * first);
  } finally {
    blindbox.enableLogging('off');
    Object.assign(native, kept);
    globalThis.setInterval = setInterval;
  }
});
