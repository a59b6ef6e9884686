'use strict';

// Carries out the commands of the conformance suite with the Node package: the `fetch` of a session, error classes.

const { createHash } = require('node:crypto');
const { readFileSync } = require('node:fs');
const readline = require('node:readline');

// The directory of the package is given: the suite needs no installation.
const blindbox = require(process.argv[2]);

let session = null;

function verifier(command) {
  const settings = {};
  for (const [name, member] of [
    ['applicationRoots', 'application_roots'],
    ['collateralRoots', 'collateral_roots'],
    ['amdRoots', 'amd_roots'],
    ['kds', 'kds'],
    ['deadline', 'deadline_ms'],
    ['requestTimeout', 'request_timeout_ms'],
  ]) {
    if (member in command) settings[name] = command[member];
  }
  return new blindbox.Verifier(settings);
}

const attested = (attestation) => ({ channel: attestation.channel, checks: attestation.appraisal });

async function* pieces(bytes) {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536);
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
    const headers = new Headers();
    for (const { name, value } of command.headers ?? []) headers.append(name, value);
    let body;
    if (command.bytes !== undefined) {
      body = Buffer.alloc(command.bytes, 'abcdefghijklmnopqrstuvw');
      if (command.streamed) body = pieces(body);
    }
    const response = await session.fetch(command.target, { method: command.method, headers, body, duplex: 'half' });
    const outcome = { status: response.status };
    for (const name of command.show ?? []) outcome[name] = response.headers.get(name);
    try {
      const content = Buffer.from(await response.arrayBuffer());
      outcome.length = content.length;
      outcome.sha256 = createHash('sha256').update(content).digest('hex');
      outcome.begins = content.subarray(0, 30).toString();
    } catch (error) {
      if (!(error instanceof blindbox.AttestationError)) throw error;
      outcome.error = described(error);
    }
    return outcome;
  },

  async recorded(command) {
    const policy = new blindbox.Policy(command.policy);
    const { documents, about } = await verifier(command).collect(command.url, policy);
    const options = { at: about.asked_at + (command.later ?? 0) };
    if (!command.beside && documents['key-set.json'] !== undefined) options.keySet = documents['key-set.json'];
    if (command.amd_roots !== undefined) options.amdRoots = readFileSync(command.amd_roots, 'utf8');
    return { checks: blindbox.verifyRecorded(documents, policy, options).appraisal };
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

const CATEGORIES = {
  rejected: blindbox.Rejected,
  untrusted: blindbox.Untrusted,
  unavailable: blindbox.Unavailable,
  misconfigured: blindbox.Misconfigured,
};

function described(error) {
  // A handler for the category also gets it, and so does one for the class.
  if (!(error instanceof CATEGORIES[error.category] && error instanceof blindbox[error.name])) throw error;
  return {
    code: error.code,
    number: error.number,
    category: error.category,
    name: error.name,
    retryable: error.retryable,
    request_sent: error.requestSent,
    message: error.message,
    checks: error.appraisal,
  };
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    let outcome;
    try {
      outcome = await DO[command.do](command);
    } catch (error) {
      if (!(error instanceof blindbox.AttestationError)) throw error;
      outcome = { error: described(error) };
    }
    process.stdout.write(`${JSON.stringify(outcome)}\n`);
  }
}

main();
