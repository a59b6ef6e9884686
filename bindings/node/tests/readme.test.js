'use strict';

// The examples of the README, as they stand: run, and accepted by the compiler of TypeScript.

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { promisify } = require('node:util');

const { Emulator } = require('./emulator');

const run = promisify(execFile);
const PACKAGED = path.dirname(require.resolve('@blindbox/attestation/package.json'));
const README = fs.readFileSync(path.join(PACKAGED, 'README.md'), 'utf8');
const BLOCKS = [...README.matchAll(/^```js\n(.*?)^```$/gms)].map(([, code]) => code);

// The package, with what the emulator needs: the example says only where the application is.
const PACKAGE = `
import * as blindbox from '@blindbox/attestation';
export * from '@blindbox/attestation';
export const verifyConnection = (url, policy) => blindbox.verifyConnection(url, policy, JSON.parse(process.env.SETTINGS));
`;

function has(name) {
  try {
    return require.resolve(name) !== '';
  } catch {
    return false;
  }
}

test('the examples run', async () => {
  const emulator = await Emulator.start('--host', 'my-app.example');
  const directory = fs.mkdtempSync(path.join(__dirname, 'readme-'));
  try {
    const address = `127.0.0.1:${new URL(emulator.url).port}`;
    const SETTINGS = JSON.stringify({ ...emulator.settings, resolve: { 'my-app.example': address } });
    fs.writeFileSync(path.join(directory, 'package.mjs'), PACKAGE);
    // In one module: the second goes on with the policy of the first.
    const code = BLOCKS.slice(0, has('openai') ? 2 : 1).join('\n');
    const script = path.join(directory, 'readme.mjs');
    fs.writeFileSync(script, code.replace("'@blindbox/attestation'", "'./package.mjs'"));
    const printed = () => run(process.execPath, [script], { cwd: emulator.directory, env: { ...process.env, SETTINGS } });
    assert.equal((await printed()).stdout, '{"text":"a response to: hi"}');
    await emulator.order('knob debug');
    fs.writeFileSync(script, BLOCKS[0].replace("'@blindbox/attestation'", "'./package.mjs'"));
    assert.match((await printed()).stdout, /^debug-mode 101 \[\s*\{\s*name: 'debug',/);
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
    await emulator.stop();
  }
});

test('the example of the emulator runs', async () => {
  const readme = fs.readFileSync(path.join(path.dirname(require.resolve('@blindbox/emulator')), 'README.md'), 'utf8');
  const [, code] = readme.match(/^```js\n(.*?)^```$/ms);
  const directory = fs.mkdtempSync(path.join(__dirname, 'readme-'));
  try {
    const script = path.join(directory, 'emulator.mjs');
    fs.writeFileSync(script, code);
    assert.equal((await run(process.execPath, [script])).stdout, '101\n');
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
});

test('tsc --strict accepts the examples', { skip: !has('typescript/bin/tsc') || !has('openai') }, async () => {
  const directory = fs.mkdtempSync(path.join(__dirname, 'readme-'));
  try {
    fs.writeFileSync(path.join(directory, 'readme.mts'), BLOCKS.join('\n'));
    const tsc = require.resolve('typescript/bin/tsc');
    const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', '--exactOptionalPropertyTypes'];
    const { stdout } = await run(process.execPath, [tsc, ...options, 'readme.mts'], { cwd: directory }).catch((error) => error);
    assert.equal(stdout, '');
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
});
