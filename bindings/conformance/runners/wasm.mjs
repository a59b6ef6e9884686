// Carries out the commands of the conformance suite that need no network with the WebAssembly module, under Node.

import { readFileSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';
import { pathToFileURL } from 'node:url';

// The directory with the module and its wrapper is given.
const dist = process.argv[2];
const { AttestationError, load } = await import(pathToFileURL(path.resolve(dist, 'blindbox.js')));
const blindbox = await load(readFileSync(path.join(dist, 'blindbox.wasm')));

const text = (file) => file && readFileSync(file, 'utf8');

const DO = {
  recorded({ documents, policy, at, key_set, amd_roots, ak_root }) {
    const options = { at: Number(at), amdRoots: text(amd_roots), akRoot: text(ak_root) };
    if (key_set) options.keySet = readFileSync(key_set);
    const files = Object.fromEntries(documents.split(' ').filter(Boolean).map((name) => [name, readFileSync(name)]));
    return { attestation: blindbox.verifyRecorded(files, text(policy), options) };
  },

  policy({ policy }) {
    return { digest: blindbox.policy(text(policy)).digest };
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
  const command = Object.fromEntries(line.split('\t').map((field) => field.split(/=(.*)/s, 2)));
  let outcome;
  try {
    outcome = DO[command.do](command);
  } catch (error) {
    outcome = described(error);
  }
  const fields = Object.entries(outcome).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  process.stdout.write(`${fields.join('\t')}\n`);
}
