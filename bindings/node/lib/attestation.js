'use strict';

const { argument, value } = require('./errors');
const { native } = require('./native');
const { known, nativePolicy, readFile } = require('./policy');

/** What was proven: claims, checks and times. `toString()` is a table for people. */
class Attestation {
  #fields;
  #text;

  constructor(fields, text = null) {
    this.#fields = JSON.parse(fields);
    this.#text = text;
  }

  /** All of it, as in the JSON of the command. */
  toJSON() {
    return this.#fields;
  }

  get claims() {
    return this.#fields.claims;
  }

  get appraisal() {
    return this.#fields.appraisal;
  }

  get channel() {
    return this.#fields.channel ?? null;
  }

  get expiresAt() {
    return new Date(this.#fields.expires_at * 1000);
  }

  toString() {
    return this.#text ?? this.appraisal.map((check) => `${check.verdict.padEnd(13)}  ${check.name}`).join('\n');
  }
}

/** Evidence as received. Nothing of it is verified. */
class Evidence {
  #native;

  constructor(collected) {
    this.#native = collected;
    this.documents = Object.fromEntries(collected.documents().map(({ name, content }) => [name, content]));
    this.about = JSON.parse(collected.about());
  }

  verify(policy) {
    return new Attestation(value(this.#native.verify(nativePolicy(policy))));
  }
}

/** Returns what a file of evidence is, for display: its bytes, or its path. What it says is not verified. */
function inspect(evidence) {
  const content = evidence instanceof Uint8Array ? evidence : readFile(evidence);
  return JSON.parse(value(native.inspect(content)));
}

const EVIDENCE = {
  'token.jwt': 'token',
  'report.bin': 'report',
  'uvm-endorsement.cose': 'uvmEndorsement',
  'runtime-data.json': 'runtimeData',
  'certificates.pem': 'certificates',
  'vcek.der': 'certificates',
};
const LISTS = ['revocation-list.der', 'revocation-list-other.der'];
const IGNORED = ['key-set.json', 'about.json', 'policy.toml'];

function recorded(documents, { keySet, amdRoots }) {
  const beside = keySet === undefined;
  const made = {
    keySet: bytes('keySet', beside ? documents['key-set.json'] : keySet),
    keySetBesideEvidence: beside,
    revocationLists: LISTS.filter((name) => name in documents).map((name) => bytes(name, documents[name])),
    amdRoots,
  };
  for (const [name, content] of Object.entries(documents)) {
    const member = Object.hasOwn(EVIDENCE, name) ? EVIDENCE[name] : undefined;
    if (member !== undefined) {
      if (made[member] !== undefined) {
        throw argument('expected either certificates.pem or vcek.der, found both');
      }
      made[member] = bytes(name, content);
    } else if (!LISTS.includes(name) && !IGNORED.includes(name)) {
      throw argument(`expected the names of files that \`blindbox-attest fetch\` writes, found ${JSON.stringify(name)}`);
    }
  }
  return made;
}

function bytes(name, content) {
  if (content !== undefined && !(content instanceof Uint8Array)) {
    throw argument(`${name}: expected bytes (Uint8Array), found ${typeof content}`);
  }
  return content === undefined ? undefined : Buffer.from(content.buffer, content.byteOffset, content.byteLength);
}

/** A time of the evidence in whole seconds. */
function seconds(at) {
  const found = at instanceof Date ? Math.floor(at.getTime() / 1000) : at;
  if (!Number.isInteger(found) || found < 0 || found > 0xffffffff) {
    throw argument(`at: expected a Date, or whole seconds since 1970-01-01 UTC, found ${at}`);
  }
  return found;
}

/** Verifies recorded evidence and appraises it against a policy, for a time. */
function verifyRecorded(documents, policy, options) {
  const given = known('verifyRecorded', options, ['at', 'keySet', 'amdRoots']);
  return new Attestation(
    value(native.verifyRecorded(recorded(documents, given), nativePolicy(policy), seconds(given.at))),
  );
}

/** Verifies evidence without appraising it. */
function verifyUnappraised(documents, options) {
  const given = known('verifyUnappraised', options, ['at', 'attester', 'keySet', 'amdRoots']);
  return JSON.parse(value(native.verifyUnappraised(recorded(documents, given), given.attester, seconds(given.at))));
}

module.exports = { Attestation, Evidence, inspect, verifyRecorded, verifyUnappraised };
