// Evidence of `blindbox-attest emulate`, as `blindbox-attest fetch` saves it.

import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { promisify } from 'node:util';

const ATTEST = process.env.BLINDBOX_ATTEST;

/** Runs work with the evidence of an emulated guest. */
export async function emulated(options, work) {
  const directory = mkdtempSync(path.join(tmpdir(), 'blindbox-wasm-'));
  const [files, saved] = ['emulator', 'evidence'].map((name) => path.join(directory, name));
  const emulator = spawn(ATTEST, ['emulate', '--out', files, ...options], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => emulator.once('exit', resolve));
  try {
    const lines = readline.createInterface({ input: emulator.stdout })[Symbol.asyncIterator]();
    const about = JSON.parse((await lines.next()).value);
    const file = (name) => path.join(files, name);
    const hasHardware = readdirSync(files).includes('amd-roots.pem');
    const hardware = hasHardware ? ['--kds', about.kds.url, '--amd-roots', file('amd-roots.pem')] : [];
    const fetching = ['fetch', about.url, '--policy', file('policy.toml'), '--out', saved, '--application-root', file('application-root.pem'), '--collateral-root', file('collateral-root.pem'), ...hardware];
    // What the policy does not accept is saved all the same.
    await promisify(execFile)(ATTEST, fetching).catch(() => {});
    const documents = Object.fromEntries(readdirSync(saved).map((name) => [name, readFileSync(path.join(saved, name))]));
    await work({
      files,
      saved,
      documents,
      policy: readFileSync(file('policy.toml'), 'utf8'),
      at: JSON.parse(documents['about.json']).asked_at,
      keySet: readFileSync(file('key-set.json')),
      amdRoots: hasHardware ? readFileSync(file('amd-roots.pem'), 'utf8') : undefined,
    });
  } finally {
    emulator.stdin.end();
    await ended;
    rmSync(directory, { recursive: true, force: true });
  }
}
