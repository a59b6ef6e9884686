// The examples of the README, as they stand.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { load } from '../blindbox.js';
import { emulated } from './emulator.js';
import { MODULE, behind } from './front_end.js';

const README = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const blocks = (language) => [...README.matchAll(new RegExp(`^( *)\`\`\`${language}\\n(.*?)^ *\`\`\`$`, 'gms'))].map(([, indent, code]) => code.replaceAll(`\n${indent}`, '\n').slice(indent.length));
const [SESSIONS, OWN_HEADER, RECORDED] = blocks('js');
const [POLICY] = blocks('toml');

let runs = 0;

/** Runs an example with what it takes as given, and returns what it prints: its lines are joined. */
async function printed(code, module, given) {
  const directory = mkdtempSync(path.join(tmpdir(), 'blindbox-readme-'));
  const lines = [];
  const [log, name] = [console.log, `readme${(runs += 1)}`];
  try {
    const original = `'./dist/${module}'`;
    assert(code.includes(original));
    const url = new URL(`../${module}`, import.meta.url);
    globalThis[name] = given;
    writeFileSync(path.join(directory, 'given.mjs'), `export * from '${url}';\nexport const { ${Object.keys(given)} } = globalThis.${name};\n`);
    const variables = Object.keys(given).filter((variable) => !new RegExp(`[{,] ${variable} } from`).test(code));
    const script = path.join(directory, 'readme.mjs');
    writeFileSync(script, `import { ${variables} } from './given.mjs';\n${code.replace(original, "'./given.mjs'")}`);
    console.log = (...values) => void lines.push(values.join(' '));
    await import(pathToFileURL(script));
  } finally {
    console.log = log;
    delete globalThis[name];
    rmSync(directory, { recursive: true, force: true });
  }
  return lines.join('\n');
}

test('the example of a session', async () => {
  await behind([], async (front) => {
    // The example says only where the application is.
    const connect = (url, policy, { keySet }) => {
      assert.deepEqual([url, keySet], ['https://my-app.example', '/key-set.json']);
      return front.connect({}, policy);
    };
    const found = await printed(SESSIONS, 'session.js', { connect, policy: front.policy });
    const bytes = new TextEncoder().encode('{"text":"a response to: hi"}');
    assert(found.startsWith('passed '), found);
    assert(found.endsWith(`\n${bytes}`), found);
    await front.order('knob debug');
    assert.match(await printed(SESSIONS, 'session.js', { connect, policy: front.policy }), /^debug-mode .* false$/s);
  });
});

test('the example of a header for the front end', async () => {
  await behind([], async (front) => {
    const seen = async (text) => (await front.order(`seen ${text}`)).seen;
    const connect = (url, policy, { keySet, fetch }) => {
      assert.equal(keySet, '/key-set.json');
      return front.connect({ fetch }, policy);
    };
    await printed(OWN_HEADER.replaceAll('https://my-app.example', front.url), 'session.js', { connect, policy: front.policy, fetch: front.fetch, key: 'the-key' });
    // It is not for MAA, whose key set was fetched too.
    assert.deepEqual([await seen('subscription-key: the-key'), front.sent], [1, ['/attest/maa', '/certs']]);
  });
});

test('the policy is valid', async () => {
  const blindbox = await load(MODULE);
  const lint = ['front-end-chooses-instance', 'classical-message-key', 'no-advisory-floors', 'no-minimum-tcb', 'any-chip'];
  assert.deepEqual(blindbox.policy(POLICY).lint.map(({ code }) => code), lint);
  assert.match(POLICY, /own-message-key/);
});

test('the example of recorded evidence', async () => {
  const fetch = (name) => {
    assert.equal(name, 'blindbox.wasm');
    return new Response(readFileSync(process.env.BLINDBOX_WASM), { headers: { 'content-type': 'application/wasm' } });
  };
  for (const [options, expected] of [
    [[], /^(passed|allowed|not-evaluated) /],
    [['--knob', 'debug'], /^debug-mode 101 rejected /],
  ]) {
    await emulated(options, async ({ documents, policy, keySet }) => {
      assert.match(await printed(RECORDED, 'blindbox.js', { fetch, documents, policy, keySet }), expected);
    });
  }
});
