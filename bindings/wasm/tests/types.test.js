// blindbox.d.ts, as the compiler of TypeScript reads it. The run fails without the compiler unless it could not be installed.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const tsc = process.env.BLINDBOX_TSC;
if (tsc === undefined) console.error('SKIPPED: the test of the types, since the package typescript is not installed');

test('tsc --strict accepts the types', { skip: tsc === undefined }, async () => {
  const options = ['--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', '--lib', 'es2022,dom', '--exactOptionalPropertyTypes'];
  const command = [tsc, ...options, 'types.ts'];
  const { stdout } = await promisify(execFile)(process.execPath, command, { cwd: fileURLToPath(new URL('.', import.meta.url)) }).catch((error) => error);
  assert.equal(stdout, '');
});
