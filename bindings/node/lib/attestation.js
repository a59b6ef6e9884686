'use strict';

const { argument, value } = require('./errors');
const { native } = require('./native');
const { known, nativePolicy } = require('./policy');
const { content, isGiven, material } = require('./settings');

/** What was proven: claims, checks and times. `toString()` is a table for people. */
class Attestation {
  #fields;
  #text;

  constructor(fields, text = null) {
    this.#fields = JSON.parse(fields);
    this.#text = text;
  }

  /** All of it, as in the JSON of the command. It holds values that identify a machine: do not log it. */
  get fields() {
    return this.#fields;
  }

  /** What loggers print: nothing that identifies a machine. */
  toJSON() {
    return { channel: this.channel, expiresAt: this.expiresAt };
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
  return JSON.parse(value(native.inspect(content('evidence', evidence))));
}

/** What crosses into the core, which knows the names of files. */
function recorded(documents, options) {
  const read = (name, as) => (isGiven(name, options[name]) ? as(name, options[name]) : undefined);
  return {
    documents: Object.entries(documents).map(([name, document]) => ({ name, content: bytes(name, document) })),
    keySet: read('keySet', content),
    amdRoots: read('amdRoots', material),
    akRoot: read('akRoot', material),
  };
}

function bytes(name, document) {
  if (!(document instanceof Uint8Array)) {
    throw argument(`${name}: expected bytes (Uint8Array), found ${typeof document}`);
  }
  return content(name, document);
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
  const given = known('verifyRecorded', options, ['at', 'keySet', 'amdRoots', 'akRoot']);
  return new Attestation(
    value(native.verifyRecorded(recorded(documents, given), nativePolicy(policy), seconds(given.at))),
  );
}

/** Verifies evidence without appraising it. */
function verifyUnappraised(documents, options) {
  const given = known('verifyUnappraised', options, ['at', 'maaIssuer', 'keySet', 'amdRoots', 'akRoot']);
  return JSON.parse(value(native.verifyUnappraised(recorded(documents, given), given.maaIssuer, seconds(given.at))));
}

module.exports = { Attestation, Evidence, inspect, verifyRecorded, verifyUnappraised };
