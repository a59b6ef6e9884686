'use strict';

const { native } = require('./native');

/**
 * The reason why there is no attested connection, or why a request failed. `code` and `number` never change between releases.
 *
 * `appraisal` holds values that identify a machine: it is part neither of the message nor of what is printed.
 */
class AttestationError extends Error {
  #appraisal;

  constructor(message, failure = {}, options = undefined) {
    super(message, options);
    this.code = failure.code ?? 'internal';
    this.number = failure.number ?? 902;
    this.category = failure.category ?? 'internal';
    this.retryable = failure.retryable ?? false;
    this.requestSent = failure.requestSent ?? false;
    this.#appraisal = failure.appraisal ?? null;
  }

  get appraisal() {
    return this.#appraisal === null ? null : JSON.parse(this.#appraisal);
  }
}

class Rejected extends AttestationError {}
class Untrusted extends AttestationError {}
class Unavailable extends AttestationError {}
class Misconfigured extends AttestationError {}
class Internal extends AttestationError {}

const CATEGORIES = {
  rejected: Rejected,
  untrusted: Untrusted,
  unavailable: Unavailable,
  misconfigured: Misconfigured,
  internal: Internal,
};

const classes = { AttestationError, Rejected, Untrusted, Unavailable, Misconfigured, Internal };
const byCode = new Map();

/** One class for each code of the core. */
function generate() {
  for (const code of native.codes()) {
    const base = CATEGORIES[code.category] ?? Internal;
    const kind = base.name === code.name ? base : { [code.name]: class extends base {} }[code.name];
    classes[code.name] = kind;
    byCode.set(code.code, { ...code, kind });
  }
  for (const [name, kind] of Object.entries(classes)) {
    // As with the built-in errors: a property of the prototype, which is not listed.
    Object.defineProperty(kind.prototype, 'name', { value: name, writable: true, configurable: true });
  }
}

generate();

/** All kinds of errors, in the order of their numbers. */
function codes() {
  return Array.from(byCode.values(), ({ code, number, category, retryable, name }) => ({ code, number, category, retryable, name }));
}

/** The error of a failure. A code that is not known, of a newer core, gets the class of its category. */
function made(failure, options = undefined) {
  const kind = byCode.get(failure.code)?.kind ?? CATEGORIES[failure.category] ?? Internal;
  return new kind(failure.message, failure, options);
}

/** An error that is found in JavaScript, by the code of its kind. */
function ofCode(code, message, facts = {}) {
  const { number, category, retryable } = byCode.get(code);
  return made({ code, number, category, retryable, message, ...facts });
}

/** The error of an argument that cannot be used. */
function argument(reason) {
  return ofCode('misconfigured', `misconfigured: ${reason}`);
}

function isFailure(outcome) {
  return typeof outcome === 'object' && outcome !== null && typeof outcome.category === 'string';
}

/** The value of an outcome of the native part. */
function value(outcome) {
  if (isFailure(outcome)) {
    throw made(outcome);
  }
  return outcome;
}

module.exports = { argument, classes, codes, isFailure, made, ofCode, value };
