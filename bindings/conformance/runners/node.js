'use strict';

// Carries out the commands of the conformance suite with the Node package: the `fetch` of a session, signals, error classes.

const { readFileSync, readdirSync } = require('node:fs');
const path = require('node:path');
const readline = require('node:readline');

// The directory of the package is given: the suite needs no installation.
const blindbox = require(process.argv[2]);

let session = null;

const SETTINGS = {
  application_roots: 'applicationRoots',
  collateral_roots: 'collateralRoots',
  amd_roots: 'amdRoots',
  ak_root: 'akRoot',
  kds: 'kds',
  deadline_ms: 'deadline',
  request_timeout_ms: 'requestTimeout',
};

function verifier(command) {
  const given = Object.entries(SETTINGS).filter(([member]) => member in command);
  return new blindbox.Verifier(Object.fromEntries(given.map(([member, name]) => [name, command[member]])));
}

const attested = (attestation) => ({ attestation: attestation.toJSON() });

async function* pieces(bytes) {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
}

function sent({ method, target, header, value, body: file, streamed }, signal) {
  const headers = new Headers();
  // As in browsers, each character is a byte.
  if (header !== undefined) headers.append(header, Buffer.from(value, 'hex').toString('latin1'));
  let body = file === undefined ? undefined : readFileSync(file);
  if (streamed) body = pieces(body);
  return session.fetch(target, { method, headers, body, signal, duplex: 'half' });
}

async function cancelled(command) {
  let start;
  const controller = new AbortController();
  setTimeout(() => {
    start = performance.now();
    controller.abort();
  }, command.cancel_ms);
  try {
    const response = await sent(command, controller.signal);
    return { status: response.status, length: (await response.arrayBuffer()).byteLength };
  } catch (error) {
    if (error !== controller.signal.reason) throw error;
    return { cancelled: true, milliseconds: Math.round(performance.now() - start) };
  }
}

const DO = {
  async connect(command) {
    const policy = new blindbox.Policy(command.policy);
    session = await verifier(command).connect(command.url, policy);
    return attested(session.attestation);
  },

  async reattest() {
    return attested(await session.reattest());
  },

  async request(command) {
    if (command.cancel_ms !== undefined) return cancelled(command);
    const response = await sent(command);
    const outcome = { status: response.status };
    for (const name of command.show?.split(' ') ?? []) {
      const value = response.headers.get(name);
      outcome[name] = value === null ? null : Buffer.from(value, 'latin1').toString('hex');
    }
    try {
      return { ...outcome, content: Buffer.from(await response.arrayBuffer()).toString('hex') };
    } catch (error) {
      return { ...outcome, error: described(error) };
    }
  },

  async start(command) {
    sent(command).catch(() => {});
    return {};
  },

  async recorded(command) {
    const policy = new blindbox.Policy(command.policy);
    const text = (file) => (file === undefined ? undefined : readFileSync(file, 'utf8'));
    const options = { amdRoots: text(command.amd_roots), akRoot: text(command.ak_root) };
    let documents;
    if (command.directory !== undefined) {
      const names = readdirSync(command.directory);
      documents = Object.fromEntries(names.map((name) => [name, readFileSync(path.join(command.directory, name))]));
      options.at = command.at;
      if (command.key_set !== undefined) options.keySet = readFileSync(command.key_set);
    } else {
      const evidence = await verifier(command).collect(command.url, policy);
      ({ documents } = evidence);
      options.at = evidence.about.asked_at;
      if (!command.beside) options.keySet = documents['key-set.json'];
    }
    options.at += command.later ?? 0;
    return attested(blindbox.verifyRecorded(documents, policy, options));
  },

  async policy(command) {
    return { digest: new blindbox.Policy(command.policy).digest };
  },

  async close() {
    session?.close();
    session = null;
    return {};
  },
};

function described(error) {
  // A handler for the category also gets it, and so does one for the class. Anything else ends the runner.
  if (!(error instanceof blindbox.AttestationError)) throw error;
  const { code, number, category, name, retryable, requestSent, message, appraisal } = error;
  const ofCategory = blindbox[category[0].toUpperCase() + category.slice(1)];
  if (!(error instanceof ofCategory && error instanceof blindbox[name])) throw error;
  return { code, number, category, name, retryable, request_sent: requestSent, message, checks: appraisal };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    const outcome = await DO[command.do](command).catch((error) => ({ error: described(error) }));
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
  // A request may still be under way.
  process.exit(0);
}

main();
