'use strict';

const assert = require('node:assert/strict');
const { execFile } = require('node:child_process');
const { test } = require('node:test');
const { promisify } = require('node:util');

let tsc;
try {
  tsc = require.resolve('typescript/bin/tsc');
} catch {
  console.error('SKIPPED: the tests of the types, since the package typescript is not installed');
}

test('tsc --strict accepts the types, for require and for import', { skip: tsc === undefined }, async () => {
  const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', '--exactOptionalPropertyTypes'];
  const command = [tsc, ...options, 'types.ts', 'types.mts'];
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: __dirname }).catch((error) => error);
  assert.equal(stdout, '');
});
