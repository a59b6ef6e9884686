'use strict';

const { setMaxListeners } = require('node:events');

const { Attestation, Evidence } = require('./attestation');
const { argument, isFailure, made, value } = require('./errors');
const { native } = require('./native');
const { known, nativePolicy } = require('./policy');
const { prepare } = require('./request');
const { respond } = require('./response');
const { SETTINGS, settingsOf } = require('./settings');
const { Feeder } = require('./upload');

/** Waits for a native call, which a signal ends. `discard` gets a result that comes too late. */
async function call(start, signal, discard = () => {}) {
  const cancel = new native.Cancel();
  if (signal === null || signal === undefined) {
    return start(cancel);
  }
  if (typeof signal.aborted !== 'boolean' || typeof signal.addEventListener !== 'function') {
    throw argument(`signal: expected an AbortSignal, found ${typeof signal}`);
  }
  if (signal.aborted) {
    throw signal.reason;
  }
  // One signal for many requests is no leak: each listens until its response was read.
  if (signal instanceof EventTarget) {
    setMaxListeners(0, signal);
  }
  const abort = () => cancel.cancel();
  signal.addEventListener('abort', abort, { once: true });
  try {
    const outcome = await start(cancel);
    if (signal.aborted) {
      if (!isFailure(outcome)) {
        discard(outcome);
      }
      throw signal.reason;
    }
    return outcome;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** Opens sessions with attested peers. One verifier serves a whole process: sessions share keys and certificates. */
class Verifier {
  #native;

  constructor(settings = {}) {
    this.#native = value(native.Verifier.create(JSON.stringify(settingsOf(settings))));
  }

  async connect(url, policy, options = {}) {
    const { signal } = known('connect', options, ['signal']);
    const session = await call(
      (cancel) => this.#native.connect(String(url), nativePolicy(policy), cancel),
      signal,
      (late) => late.close(),
    );
    return new Session(value(session));
  }

  async collect(url, policy, options = {}) {
    const { signal } = known('collect', options, ['signal']);
    const collected = await call((cancel) => this.#native.collect(String(url), nativePolicy(policy), cancel), signal);
    return new Evidence(value(collected));
  }
}

let shared = null;

/** Attests the peer behind a URL and opens a session with it, before any application data is sent. */
async function verifyConnection(url, policy, options = {}) {
  const { signal, ...settings } = known('verifyConnection', options, ['signal', ...Object.keys(SETTINGS)]);
  if (Object.keys(settings).length > 0) {
    return new Verifier(settings).connect(url, policy, { signal });
  }
  shared ??= new Verifier();
  return shared.connect(url, policy, { signal });
}

/** A session with an attested peer. Requests go to its origin only. */
class Session {
  #native;

  constructor(opened) {
    if (!(opened instanceof native.Session)) {
      throw argument('expected verifyConnection(...) to open a session');
    }
    this.#native = opened;
    /** Bound to the session, so that it can be given away as a function. */
    this.fetch = (input, init = {}) => this.#fetch(input, init ?? {});
  }

  get url() {
    return value(this.#native.url());
  }

  get attestation() {
    return new Attestation(value(this.#native.attestation()), value(this.#native.attestationText()));
  }

  async #fetch(input, init) {
    const { request, method, target, headers, body, signal, redirect, idempotent } = prepare(input, init);
    const feeder = body !== null && body.source !== null ? new Feeder(body.source, body.length) : null;
    try {
      const outcome = await call(
        (cancel) => {
          const bytes = body === null ? null : body.bytes;
          const sent = this.#native.send(method, target, headers, bytes, feeder?.upload, idempotent, cancel);
          feeder?.run();
          return sent;
        },
        signal,
        (late) => late.close(),
      );
      if (isFailure(outcome)) {
        const cause = outcome.code === 'request-body-failed' ? feeder?.failure : undefined;
        throw made(outcome, cause === undefined ? undefined : { cause });
      }
      return respond(outcome, { request, method, redirect, signal, feeder });
    } catch (error) {
      feeder?.stop(error);
      throw error;
    }
  }

  async reattest(options = {}) {
    const { signal } = known('reattest', options, ['signal']);
    return new Attestation(value(await call((cancel) => this.#native.reattest(cancel), signal)));
  }

  close() {
    this.#native.close();
  }
}

if (Symbol.dispose !== undefined) {
  Object.defineProperty(Session.prototype, Symbol.dispose, { value: Session.prototype.close });
}
if (Symbol.asyncDispose !== undefined) {
  async function asyncDispose() {
    this.close();
  }
  Object.defineProperty(Session.prototype, Symbol.asyncDispose, { value: asyncDispose });
}

module.exports = { Session, Verifier, verifyConnection };
