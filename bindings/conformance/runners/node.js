'use strict';

// Carries out the commands of the conformance suite with the Node package: the `fetch` of a session, signals, error classes.

const { createReadStream, readFileSync } = require('node:fs');
const readline = require('node:readline');

// The directory of the package is given: the suite needs no installation.
const blindbox = require(process.argv[2]);

let session;

const SETTINGS = {
  application_roots: ['applicationRoots', String],
  collateral_roots: ['collateralRoots', String],
  amd_roots: ['amdRoots', String],
  ak_root: ['akRoot', String],
  kds: ['kds', String],
  deadline_ms: ['deadline', Number],
  request_timeout_ms: ['requestTimeout', Number],
};

function settings(command) {
  const given = Object.entries(SETTINGS).filter(([member]) => member in command);
  return Object.fromEntries(given.map(([member, [name, type]]) => [name, type(command[member])]));
}

// The policy of a command, whose path is given.
const parsed = ({ policy }) => new blindbox.Policy(readFileSync(policy, 'utf8'));

function sent({ method, target, header, value, body: file, streamed, idempotent }, signal) {
  const headers = new Headers();
  // As in browsers, each character is a byte.
  if (header) headers.append(header, readFileSync(value, 'latin1'));
  const body = file && (streamed ? createReadStream(file) : readFileSync(file));
  return session.fetch(target, { method, headers, body, signal, duplex: 'half', idempotent: idempotent === 'true' });
}

const DO = {
  async connect(command) {
    session = await new blindbox.Verifier(settings(command)).connect(command.url, parsed(command));
    return { attestation: session.attestation.fields };
  },

  async reattest() {
    return { attestation: (await session.reattest()).fields };
  },

  async request(command) {
    const controller = new AbortController();
    if (command.cancel_ms) setTimeout(() => controller.abort(), Number(command.cancel_ms));
    const outcome = {};
    try {
      const response = await sent(command, controller.signal);
      outcome.status = response.status;
      for (const name of command.show.split(' ').filter(Boolean)) {
        outcome[name] = Buffer.from(response.headers.get(name) ?? '', 'latin1').toString('hex');
      }
      outcome.content = Buffer.from(await response.arrayBuffer()).toString('hex');
      return outcome;
    } catch (error) {
      return error === controller.signal.reason ? { cancelled: true } : { ...outcome, ...described(error) };
    }
  },

  async start(command) {
    sent(command).catch(() => {});
    return {};
  },

  async recorded(command) {
    const documents = Object.fromEntries(command.documents.split(' ').filter(Boolean).map((name) => [name, readFileSync(name)]));
    const { key_set: keySet, amd_roots: amdRoots, ak_root: akRoot } = command;
    const options = { at: Number(command.at), keySet, amdRoots, akRoot };
    return { attestation: blindbox.verifyRecorded(documents, parsed(command), options).fields };
  },

  async policy(command) {
    return { digest: parsed(command).digest };
  },

  async close() {
    session.close();
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
    const command = Object.fromEntries(line.split('\t').map((field) => field.split(/=(.*)/s, 2)));
    const outcome = await DO[command.do](command).catch(described);
    const fields = Object.entries(outcome).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
    process.stdout.write(`${fields.join('\t')}\n`);
  }
  // A request may still be under way.
  process.exit(0);
}

main();
