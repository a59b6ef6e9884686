// Sealed messages to an attested BlindBox behind any front end, for pages and for Node. Types and documentation: session.d.ts.
//
// This file moves bytes. The module decides: what is requested, whether evidence is accepted, what is sealed and to whom, whether a
// response is that of the instance and complete, and whether a request may be sent again.

import { AttestationError, argument, internal, load, options } from './blindbox.js';

/** How many random bytes a step takes. */
const RANDOM_BYTES = 64;
/** The most bytes of a response that are kept for a step: more than the module accepts. */
const MAX_KEPT_BYTES = 1 << 20;
/** The most bytes of a response that is not sealed, which only has a reason in it. */
const MAX_PROBLEM_BYTES = 4096;
/** The most bytes of content in one step: a step has at most 16 MiB. */
const MAX_PIECE_BYTES = 1 << 20;
const NOTHING = new Uint8Array(0);
/** AMD's Key Distribution Service. */
const KDS = 'https://kdsintf.amd.com';
/** Why, and what to do. */
const UNAUTHENTICATED = 'NODE_TLS_REJECT_UNAUTHORIZED is 0, so that Node authenticates no server; unset it, and name roots with NODE_EXTRA_CA_CERTS';
const NULL_BODY = [204, 205, 304];
/** How long the reason in a response that is not sealed is read, in milliseconds. */
const PROBLEM_TIMEOUT = 5_000;
/** How long a document is waited for that the verification can do without, in milliseconds. */
const OPTIONAL_TIMEOUT = 5_000;

/** One instance of the module, with one client. */
class Machine {
  #exports;
  #ended;

  constructor(module) {
    this.#exports = new WebAssembly.Instance(module, {}).exports;
  }

  /** Carries out a step: JSON and bytes in, JSON and bytes out. */
  step(name, parameters = {}, bytes = NOTHING) {
    if (this.#ended !== undefined) throw this.#ended;
    const json = new TextEncoder().encode(JSON.stringify({ step: name, ...parameters }));
    let outcome;
    let content;
    try {
      const exports = this.#exports;
      const length = 4 + json.length + bytes.length;
      const input = exports.bb_allocate(length) >>> 0;
      if (input === 0) throw new RangeError('the module has no memory for the arguments');
      const memory = new Uint8Array(exports.memory.buffer, input, length);
      new DataView(exports.memory.buffer, input, 4).setUint32(0, json.length, true);
      memory.set(json, 4);
      memory.set(bytes, 4 + json.length);
      const output = exports.bb_message(input) >>> 0;
      // Memory may have grown, and then its buffer is another.
      const found = new Uint8Array(exports.memory.buffer, output, exports.bb_length(output) >>> 0).slice();
      exports.bb_free(output);
      const end = 4 + new DataView(found.buffer).getUint32(0, true);
      outcome = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(found.subarray(4, end)));
      content = found.subarray(end);
    } catch (error) {
      // A trap leaves memory as it was in the middle of the work: no key of this instance is used again.
      this.#ended = internal('the module ended; please report it', error);
      throw this.#ended;
    }
    if (Object.hasOwn(outcome, 'ok')) return { ...outcome.ok, bytes: content };
    const error = new AttestationError(outcome.error, outcome.appraisal);
    const wait = Object.hasOwn(outcome, 'again_after_ms') ? outcome.again_after_ms : undefined;
    Object.defineProperty(error, 'againAfterMs', { value: wait, enumerable: false });
    throw error;
  }

  /** A step that takes random bytes, which are used once. */
  randomStep(name, parameters) {
    const random = crypto.getRandomValues(new Uint8Array(RANDOM_BYTES));
    try {
      return this.step(name, parameters, random);
    } finally {
      random.fill(0);
    }
  }

  /** Wipes the keys. */
  end(reason) {
    if (this.#ended === undefined) this.step('drop');
    this.#ended ??= reason;
    this.#exports = undefined;
  }
}

class Session {
  #machine;
  #settings;
  #base;
  #attesting = null;
  #attestation = null;
  /** The latest time, and when that was by the clock that no one sets. */
  #latest = { at: -Infinity, passed: 0 };
  #closed = new AbortController();

  constructor(machine, base, settings) {
    [this.#machine, this.#base, this.#settings] = [machine, base, settings];
  }

  get url() {
    return this.#base;
  }

  get attestation() {
    return this.#attestation;
  }

  get appraisal() {
    return this.#attestation.appraisal;
  }

  /** As `fetch` of the platform, sealed to the attested instance. */
  fetch = async (input, init = {}) => {
    const idempotent = idempotentOf(init);
    const { request, abort } = this.#request(input, init);
    const { signal } = abort;
    signal.throwIfAborted();
    const stream = init.body instanceof ReadableStream && streamsRequests() ? init.body : null;
    const whole = stream === null ? new Uint8Array(await request.arrayBuffer()) : null;
    const sealing = { method: request.method, url: request.url, headers: [...request.headers], repeatable: stream === null, idempotent };
    // Whether an earlier attempt may have arrived: the error of a later one must not say that nothing did.
    let arrived = false;
    for (let attempt = 0; ; attempt += 1) {
      let wait;
      try {
        // Others that waited for the same attestation may have used it up. The module limits how often it begins one.
        while (!this.#machine.step('attested', { at: this.#now() }).attested) await abortable(this.#attest(), signal);
        const begun = this.#machine.randomStep('seal', { at: this.#now(), ...sealing, attempt });
        return await this.#exchange(begun, { request, abort, whole, stream });
      } catch (error) {
        if (!(error instanceof AttestationError)) throw error;
        arrived ||= error.requestSent;
        wait = error.againAfterMs;
        if (wait === undefined) throw arrived ? asSent(error) : error;
      }
      await abortable(new Promise((resolve) => setTimeout(resolve, wait)), signal).catch((error) => {
        throw arrived ? asSent(error) : error;
      });
    }
  };

  /** Attests again now. */
  async reattest() {
    await this.#attest();
  }

  /** Ends requests under way, and drops the keys. */
  close() {
    const error = closed();
    this.#machine.end(error);
    this.#closed.abort(error);
  }

  #request(input, init) {
    const relative = typeof input === 'string' && input.startsWith('/') && !input.startsWith('//');
    const target = relative ? this.#base.replace(/\/+$/, '') + input : input;
    const streamed = init.body instanceof ReadableStream ? { duplex: 'half' } : {};
    const followed = [this.#closed.signal, signalOf(init), input instanceof Request ? input.signal : null].filter((signal) => signal !== null);
    // Kept until the response has ended, and not taken from the new `Request`: in Node the signal of a `Request` follows another one only
    // while the `Request` is kept, and what `any` returns keeps no signal that it follows.
    const abort = { signal: AbortSignal.any(followed), followed, input };
    return { request: new Request(target, { ...init, ...streamed, signal: null }), abort };
  }

  /** The time in seconds: that of the clock, or the latest and what has passed since if a clock that was set back says less. */
  #now() {
    const given = Number(this.#settings.clock());
    const passed = performance.now();
    const at = Math.max(given, this.#latest.at + passed - this.#latest.passed);
    // What is no time is for the module to refuse.
    if (Number.isFinite(at)) this.#latest = { at, passed };
    return Math.floor(at / 1000);
  }

  /** Attests, together with others that want it. */
  #attest() {
    this.#attesting ??= this.#attestNow().finally(() => {
      this.#attesting = null;
    });
    return this.#attesting;
  }

  async #attestNow() {
    await within(this.#settings.timeout, this.#closed.signal, (signal) => this.#attestUntil(signal));
  }

  async #attestUntil(signal) {
    const machine = this.#machine;
    // Servers that were authenticated by `connect` still are: the variable is read by Node for each connection.
    if (this.#settings.validatesNames && !authenticatesServers()) throw argument(`this attestation would authenticate no server: ${UNAUTHENTICATED}`);
    const asked = machine.randomStep('begin', { at: this.#now() });
    const json = 'application/json';
    const question = { method: 'POST', headers: { 'content-type': json, accept: json }, body: asked.body };
    const [response, keySet] = await Promise.all([this.#receive(asked.url, question, signal), this.#keySet(asked.key_set_url, signal)]);
    const needed = machine.step('evidence', { response: response.about, ...keySet }, response.bytes);
    const document = (path) => this.#document(path, signal);
    const others = needed.other_crls.map((path) => within(Math.min(OPTIONAL_TIMEOUT, this.#settings.timeout / 2), signal, (limit) => this.#document(path, limit)));
    const [certificate, ...crls] = await Promise.all([this.#firstDocument(needed.certificates, signal), ...needed.crls.map(document), ...others]);
    const documents = { crls: crls.filter((crl) => crl !== undefined).map(base64) };
    if (certificate !== undefined) documents.certificate = base64(certificate);
    const { bytes: _, ...attestation } = machine.step('attest', { at: this.#now(), ...documents });
    this.#attestation = deepFreeze(attestation);
  }

  /** A whole response for a step of the module, or why there is none. */
  async #receive(url, init, signal) {
    try {
      const response = await this.#send(url, { ...init, signal });
      const bytes = await firstBytes(response, MAX_KEPT_BYTES);
      return { about: { status: response.status, content_type: response.headers.get('content-type') ?? '' }, bytes };
    } catch (error) {
      this.#closed.signal.throwIfAborted();
      return { about: { failure: reasonOf(error) }, bytes: NOTHING };
    }
  }

  async #keySet(url, signal) {
    if (url === null) return { key_set_fetched: false };
    const given = this.#settings.keySet;
    // What a caller's `fetch` brings is the caller's, whichever URL it was asked for.
    const fetched = given === undefined && this.#settings.isPlatforms;
    const failed = (error) => {
      this.#closed.signal.throwIfAborted();
      return { key_set_failure: reasonOf(error), key_set_fetched: fetched };
    };
    let found = given;
    try {
      if (typeof given === 'function') found = await abortable(Promise.resolve(given(url)), signal);
    } catch (error) {
      return failed(error);
    }
    if (found instanceof Uint8Array) return { key_set: base64(found), key_set_fetched: false };
    if (this.#settings.isPlatforms && !authenticatesServers()) throw argument(`anyone could provide the key set of MAA: ${UNAUTHENTICATED}; or give the bytes of the key set`);
    return this.#plain(found ?? url, signal).then((bytes) => ({ key_set: base64(bytes), key_set_fetched: fetched }), failed);
  }

  /** The first document of AMD that can be fetched. */
  async #firstDocument(paths, signal) {
    for (const path of paths) {
      const found = await this.#document(path, signal);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /** A document of AMD. Without it, the verification says what is missing, if the policy needs it. */
  async #document(path, signal) {
    const { kds } = this.#settings;
    try {
      return typeof kds === 'function' ? await abortable(Promise.resolve(kds(path)), signal) : await this.#plain(kds.replace(/\/+$/, '') + path, signal);
    } catch {
      this.#closed.signal.throwIfAborted();
      return undefined;
    }
  }

  /** The content of a public document. */
  async #plain(url, signal) {
    const response = await this.#settings.fetch(url, { signal, credentials: 'omit', redirect: 'manual', referrerPolicy: 'no-referrer' });
    if (response.status !== 200) throw new Error(`it responded with the status ${response.status}`);
    return firstBytes(response, MAX_KEPT_BYTES);
  }

  /** With the cookies by which a front end leads requests to one instance. */
  #send(url, init) {
    return this.#settings.fetch(url, { credentials: 'include', redirect: 'manual', cache: 'no-store', referrerPolicy: 'no-referrer', ...init });
  }

  async #exchange(begun, { request, abort, whole, stream }) {
    const [machine, { exchange }, { signal }] = [this.#machine, begun, abort];
    const now = () => this.#now();
    let ofBody;
    // What was handed to the platform may have arrived.
    let handed = false;
    const failing = (error) => {
      ofBody = { error };
    };
    let response;
    try {
      const sent = { method: 'POST', headers: begun.headers, signal };
      const init =
        stream === null
          ? { ...sent, body: sealed(machine, exchange, now, begun.bytes, whole) }
          : { ...sent, body: sealedStream(machine, exchange, now, begun.bytes, stream, failing), duplex: 'half' };
      handed = true;
      response = await this.#send(begun.url, init);
    } catch (error) {
      if (ofBody !== undefined || signal.aborted || error instanceof AttestationError) {
        closeExchange(machine, exchange);
        const cause = ofBody !== undefined ? ofBody.error : signal.aborted ? signal.reason : error;
        throw handed ? interrupted(cause) : cause;
      }
      return interruptible(() => machine.step('refuse', { exchange, failure: reasonOf(error) }));
    }
    const about = { exchange, status: response.status, content_type: response.headers.get('content-type') ?? '' };
    if (!interruptible(() => machine.step('response', about)).sealed) {
      const bytes = await within(PROBLEM_TIMEOUT, signal, (limit) => firstBytes(response, MAX_PROBLEM_BYTES, limit)).catch(() => NOTHING);
      return interruptible(() => machine.step('refuse', about, bytes));
    }
    const opened = new OpenedResponse(machine, exchange, response, abort);
    const head = await opened.head();
    const init = { status: head.status, headers: head.headers };
    const hasBody = !NULL_BODY.includes(head.status) && request.method !== 'HEAD';
    if (!hasBody) await opened.drain();
    const made = new Response(hasBody ? opened.stream() : null, init);
    Object.defineProperty(made, 'url', { value: request.url });
    return made;
  }
}

/** Ends exchanges whose responses were forgotten without being read. */
const forgotten = new FinalizationRegistry(({ machine, exchange, reader }) => {
  closeExchange(machine, exchange);
  reader.cancel().catch(() => {});
});

/** The content of a sealed response, opened piece by piece. */
class OpenedResponse {
  #machine;
  #exchange;
  #reader;
  #abort;
  #ready = [];
  #done = false;

  constructor(machine, exchange, response, abort) {
    [this.#machine, this.#exchange, this.#abort] = [machine, exchange, abort];
    this.#reader = (response.body ?? new Response(NOTHING).body).getReader();
  }

  /** Reads the next piece, and returns the head if it came. */
  async #read() {
    try {
      return await this.#readPiece();
    } catch (error) {
      throw interrupted(error);
    }
  }

  async #readPiece() {
    const [machine, exchange] = [this.#machine, this.#exchange];
    let piece;
    try {
      piece = await this.#reader.read();
    } catch (error) {
      const { signal } = this.#abort;
      if (signal.aborted) {
        closeExchange(machine, exchange);
        throw signal.reason;
      }
      machine.step('refuse', { exchange, failure: reasonOf(error) });
    }
    try {
      const steps = piece.done ? [machine.step('finish', { exchange })] : inSteps(machine, 'open', { exchange }, piece.value);
      let head;
      for (const opened of steps) {
        head ??= opened.head;
        if (opened.bytes.length > 0) this.#ready.push(opened.bytes);
      }
      this.#done = piece.done;
      return head;
    } catch (error) {
      this.#reader.cancel(error).catch(() => {});
      throw error;
    }
  }

  async head() {
    for (;;) {
      const head = await this.#read();
      if (head !== undefined) return head;
    }
  }

  async drain() {
    while (!this.#done) await this.#read();
  }

  stream() {
    // This object, not the stream: a browser that pipes a stream keeps what it pulls from, and drops the object of the page.
    forgotten.register(this, { machine: this.#machine, exchange: this.#exchange, reader: this.#reader });
    return new ReadableStream(
      {
        pull: async (controller) => {
          while (this.#ready.length === 0 && !this.#done) await this.#read();
          const next = this.#ready.shift();
          if (next !== undefined) controller.enqueue(next);
          if (this.#done && this.#ready.length === 0) controller.close();
        },
        cancel: (reason) => {
          closeExchange(this.#machine, this.#exchange);
          return this.#reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
  }
}

/** The steps that a piece of content takes, one after the other: each as the module returns it. */
function* inSteps(machine, name, parameters, content) {
  for (let at = 0; at < content.length; at += MAX_PIECE_BYTES) {
    yield machine.step(name, parameters, content.subarray(at, at + MAX_PIECE_BYTES));
  }
}

/** A whole request. */
function sealed(machine, exchange, now, start, content) {
  const pieces = [...inSteps(machine, 'content', { exchange, at: now() }, content)].map(({ bytes }) => bytes);
  return joined([start, ...pieces, machine.step('end', { exchange, at: now() }).bytes]);
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** A request whose content comes piece by piece. */
function sealedStream(machine, exchange, now, start, content, failing) {
  const reader = content.getReader();
  return new ReadableStream(
    {
      start: (controller) => controller.enqueue(start),
      pull: async (controller) => {
        try {
          for (;;) {
            const { done, value } = await reader.read();
            if (!done && !(value instanceof Uint8Array)) throw new TypeError('expected a stream of Uint8Array');
            for (const { bytes } of inSteps(machine, 'content', { exchange, at: now() }, value ?? NOTHING)) controller.enqueue(bytes);
            if (done) {
              controller.enqueue(machine.step('end', { exchange, at: now() }).bytes);
              return controller.close();
            }
            // What is empty gives nothing, and a stream that gives nothing is not asked again.
            if (value.length > 0) return undefined;
          }
        } catch (error) {
          // Without its final chunk, the request is incomplete for the instance.
          failing(error);
          throw error;
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

function closeExchange(machine, exchange) {
  try {
    machine.step('close', { exchange });
  } catch {
    // The module has ended, and the exchange with it.
  }
}

/** Whether the caller permits that the request is processed twice. The string 'false' is true where a condition is expected. */
function idempotentOf(init) {
  const given = Object.hasOwn(init, 'idempotent') ? init.idempotent : undefined;
  if (given === undefined) return false;
  if (typeof given !== 'boolean') throw argument(`idempotent: expected true or false, found ${given === null ? 'null' : typeof given}`);
  return given;
}

/** The caller's signal. What is none would end nothing, and the caller would not know. */
function signalOf(init) {
  const given = init.signal ?? null;
  if (given !== null && !(given instanceof AbortSignal)) throw argument(`signal: expected an AbortSignal, found ${typeof given}`);
  return given;
}

/**
 * Whether `fetch` of the platform authenticates servers: Node does not with this variable. What a dispatcher that replaces its own one does
 * cannot be seen.
 */
function authenticatesServers() {
  return globalThis.process?.env?.NODE_TLS_REJECT_UNAUTHORIZED !== '0';
}

/** Whether this platform sends a stream as the content of a request. */
function streamsRequests() {
  let asked = false;
  const init = {
    body: new ReadableStream(),
    method: 'POST',
    get duplex() {
      asked = true;
      return 'half';
    },
  };
  try {
    const hasType = new Request('https://localhost', init).headers.has('content-type');
    return asked && !hasType;
  } catch {
    return false;
  }
}

/** The first bytes of a response; what is beyond the limit, or comes after the signal, is not read. */
async function firstBytes(response, limit, signal) {
  if (response.body === null) return NOTHING;
  const parts = [];
  let length = 0;
  const reader = response.body.getReader();
  signal?.addEventListener('abort', () => reader.cancel().catch(() => {}), { once: true });
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    length += value.length;
    if (length > limit) {
      reader.cancel().catch(() => {});
      break;
    }
  }
  return joined(parts);
}

/** Waits for work, or for the signal: the work goes on for others. */
function abortable(work, signal) {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}

/** Does work with a signal that follows another one and ends after so many milliseconds. */
async function within(milliseconds, followed, work) {
  // Not `AbortSignal.timeout`: in Node what `any` returns does not keep it, and a collection of garbage would take the limit away.
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(new DOMException(`it took longer than ${milliseconds} ms`, 'TimeoutError')), milliseconds);
  try {
    return await work(AbortSignal.any([followed, limit.signal]));
  } finally {
    clearTimeout(timer);
  }
}

function base64(bytes) {
  let binary = '';
  for (let at = 0; at < bytes.length; at += 8192) binary += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(binary);
}

/** What a platform says about a failure of the network: little, in a page. */
function reasonOf(error) {
  const cause = error?.cause?.message ?? error?.cause?.code;
  const text = String(error?.message ?? error);
  return cause === undefined ? text : `${text}: ${cause}`;
}

function closed() {
  return new AttestationError({ code: 'closed', number: 903, category: 'misconfigured', retryable: false, message: 'the session is closed' });
}

/** The same error, saying that the request may have arrived. Another object: the one of a session that ended is shared. */
function asSent(error) {
  if (!(error instanceof AttestationError) || error.requestSent) return error;
  const { code, number, category, retryable, message } = error;
  return new AttestationError({ code, number, category, retryable, message, request_sent: true }, error.appraisal, error);
}

/** An error after a request was handed to the platform. The module knows what was sent; a session that ended does not. */
function interrupted(error) {
  return error?.code === 'closed' || error?.code === 'internal' ? asSent(error) : error;
}

/** Carries out a step after a request was handed to the platform. */
function interruptible(step) {
  try {
    return step();
  } catch (error) {
    throw interrupted(error);
  }
}

function deepFreeze(value) {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}

async function compiled(source) {
  if (source instanceof WebAssembly.Module) return source;
  if (source === undefined) {
    const url = new URL('blindbox.wasm', import.meta.url);
    if (url.protocol !== 'file:') return WebAssembly.compile(await (await fetch(url)).arrayBuffer());
    const { readFile } = await import('node:fs/promises');
    return WebAssembly.compile(await readFile(url));
  }
  const bytes = source instanceof Response ? await source.arrayBuffer() : source;
  return WebAssembly.compile(bytes);
}

const KNOWN = ['akRoot', 'amdRoots', 'clock', 'fetch', 'kds', 'keySet', 'module', 'timeout'];

/** Attests the instance at `url` under a policy, as text, and returns a session with it. */
export async function connect(url, policy, given = {}) {
  const known = options('connect', given, KNOWN);
  for (const [name, value] of Object.entries({ url: url instanceof URL ? url.href : url, policy })) {
    if (typeof value !== 'string') throw argument(`${name}: expected a string, found ${value === null ? 'null' : typeof value}`);
  }
  const settings = {
    clock: known.clock ?? Date.now,
    fetch: known.fetch ?? ((...of) => globalThis.fetch(...of)),
    isPlatforms: known.fetch === undefined,
    kds: known.kds ?? KDS,
    keySet: known.keySet,
    timeout: known.timeout ?? 30_000,
    validatesNames: known.fetch === undefined && authenticatesServers(),
  };
  const client = { url: String(url), policy, validates_names: settings.validatesNames };
  if (known.amdRoots !== undefined) client.amd_roots = known.amdRoots;
  if (known.akRoot !== undefined) client.ak_root = known.akRoot;
  const module = await compiled(known.module);
  // It refuses a module of another version, which may take and return other members.
  await load(module);
  const machine = new Machine(module);
  machine.step('new', client);
  const session = new Session(machine, String(url), settings);
  await session.reattest();
  return session;
}

export { AttestationError };
