// Sealed messages to an attested BlindBox behind any front end, for pages and for Node. Types and documentation: session.d.ts.
//
// This file and those in `session` move bytes. The module decides: what is requested, whether evidence is accepted, what is sealed and to
// whom, whether a response is that of the instance and complete, and whether a request may be sent again.
//
// | file in `session` | responsibility |
// |---|---|
// | `machine` | the module, as steps |
// | `attestation` | what an attestation fetches |
// | `request` | what the arguments of `fetch` become |
// | `exchange` | one sealed request, and what comes back |
// | `response` | the response of the application, opened piece by piece |
// | `network`, `clock`, `waiting`, `bytes`, `errors` | what these share |

import { AttestationError, argument, load, options } from './blindbox.js';
import { Attester } from './session/attestation.js';
import { Clock } from './session/clock.js';
import { asSent, closed } from './session/errors.js';
import { exchanged } from './session/exchange.js';
import { Machine } from './session/machine.js';
import { authenticatesServers, send } from './session/network.js';
import { requestOf, streamsRequests, wholeStream } from './session/request.js';
import { abortable, pause } from './session/waiting.js';

/** AMD's Key Distribution Service. */
const KDS = 'https://kdsintf.amd.com';

class Session {
  #machine;
  #base;
  #attester;
  #attesting = null;
  #attestation = null;
  #closed = new AbortController();
  /** What an exchange uses. */
  #means;
  /** Whether a stream was refused that was sent once it was read. */
  #refusesStreams = false;

  constructor(machine, base, settings) {
    const clock = new Clock(settings.clock);
    [this.#machine, this.#base] = [machine, base];
    this.#attester = new Attester(machine, settings, clock, this.#closed.signal);
    this.#means = { machine, now: () => clock.now(), send: (url, init) => send(settings.fetch, url, init) };
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
  fetch = async (input, init) => {
    const isStreamed = () => !this.#refusesStreams && streamsRequests();
    const request = await requestOf(input, init, { base: this.#base, closed: this.#closed.signal, isStreamed });
    try {
      return await this.#exchange(request);
    } catch (error) {
      request.stream?.cancel(error).catch(() => {});
      throw error;
    }
  };

  async #exchange(request) {
    const { method, url, headers, repeatable, idempotent } = request;
    const { signal } = request.abort;
    const wasStreamed = request.stream !== null;
    // Whether an earlier attempt may have arrived: the error of a later one must not say that nothing did.
    let arrived = false;
    for (let attempt = 0; ; attempt += 1) {
      let wait;
      try {
        // Others that waited for the same attestation may have used it up. The module limits how often it begins one.
        while (!this.#machine.step('attested', { at: this.#means.now() }).attested) await abortable(this.#attest(), signal);
        const sealing = { method, url, headers, repeatable, idempotent, attempt, at: this.#means.now() };
        const response = await exchanged(this.#means, this.#machine.randomStep('seal', sealing), request);
        if (response !== null) {
          if (wasStreamed && request.stream === null) this.#refusesStreams = true;
          return response;
        }
      } catch (error) {
        if (!(error instanceof AttestationError)) throw error;
        arrived ||= error.requestSent;
        wait = error.againAfterMs;
        if (wait === undefined) throw arrived ? asSent(error) : error;
      }
      if (wait === undefined) {
        // Nothing of the stream was sent: it is read, and sent once.
        [request.content, request.stream] = [await wholeStream(request.stream, signal), null];
      } else {
        await pause(wait, signal).catch((error) => {
          throw arrived ? asSent(error) : error;
        });
      }
    }
  }

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

  /** Attests, together with others that want it. */
  #attest() {
    const attest = async () => {
      this.#attestation = await this.#attester.attest();
    };
    this.#attesting ??= attest().finally(() => {
      this.#attesting = null;
    });
    return this.#attesting;
  }
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
