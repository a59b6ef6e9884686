// Carries out the commands of the conformance suite that need no network with the WebAssembly module, under Node.

import { readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

// The directory with the module and its wrapper is given.
const dist = process.argv[2];
const { AttestationError, load } = await import(pathToFileURL(path.resolve(dist, 'blindbox.js')));
const blindbox = await load(readFileSync(path.join(dist, 'blindbox.wasm')));

const DO = {
  recorded({ directory, policy, at, later = 0, key_set, amd_roots, ak_root }) {
    const documents = Object.fromEntries(readdirSync(directory).map((name) => [name, readFileSync(path.join(directory, name))]));
    const options = { at: at + later };
    if (key_set !== undefined) options.keySet = readFileSync(key_set);
    if (amd_roots !== undefined) options.amdRoots = readFileSync(amd_roots, 'utf8');
    if (ak_root !== undefined) options.akRoot = readFileSync(ak_root, 'utf8');
    return { attestation: blindbox.verifyRecorded(documents, policy, options) };
  },

  policy({ policy }) {
    return { digest: blindbox.policy(policy).digest };
  },

  close() {
    return {};
  },
};

function described(error) {
  if (!(error instanceof AttestationError)) throw error;
  const { code, number, category, retryable, message, appraisal } = error;
  // One class for all codes; the module lists the name of each. It sends nothing.
  const { name } = blindbox.codes.find((known) => known.code === code);
  return { code, number, category, name, retryable, request_sent: false, message, checks: appraisal };
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  let outcome;
  try {
    outcome = DO[command.do](command);
  } catch (error) {
    outcome = { error: described(error) };
  }
  process.stdout.write(`${JSON.stringify(outcome)}\n`);
}
