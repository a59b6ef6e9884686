// One attestation after the other: what the module wants is fetched, and given to it.

import { AttestationError, argument } from '../blindbox.js';
import { base64, firstBytes } from './bytes.js';
import { reasonOf } from './errors.js';
import { MAX_KEPT_BYTES, UNAUTHENTICATED, aboutOf, authenticatesServers, publicDocument, send } from './network.js';
import { abortable, pause, within } from './waiting.js';

/** How long a document is waited for that the verification can do without, in milliseconds. */
const OPTIONAL_TIMEOUT = 5_000;
const NOTHING = new Uint8Array(0);

export class Attester {
  #machine;
  #settings;
  #clock;
  #closed;

  /** `closed` is the signal of the session. */
  constructor(machine, settings, clock, closed) {
    [this.#machine, this.#settings, this.#clock, this.#closed] = [machine, settings, clock, closed];
  }

  /** Attests, and returns the attestation. */
  attest() {
    const ends = performance.now() + this.#settings.timeout;
    return within(this.#settings.timeout, this.#closed, (signal) => this.#attestUntil(signal, ends));
  }

  async #attestUntil(signal, ends) {
    const machine = this.#machine;
    // Servers that were authenticated by `connect` still are: the variable is read by Node for each connection.
    if (this.#settings.validatesNames && !authenticatesServers()) throw argument(`this attestation would authenticate no server: ${UNAUTHENTICATED}`);
    const asked = machine.randomStep('begin', { at: this.#clock.now() });
    const json = 'application/json';
    const question = { method: 'POST', headers: { 'content-type': json, accept: json }, body: asked.body };
    const [response, keySet] = await Promise.all([this.#receive(asked.url, question, signal, ends), this.#keySet(asked.key_set_url, signal)]);
    const needed = machine.step('evidence', { response: response.about, ...keySet }, response.bytes);
    const document = (path) => this.#document(path, signal);
    const others = needed.other_crls.map((path) => within(Math.min(OPTIONAL_TIMEOUT, this.#settings.timeout / 2), signal, (limit) => this.#document(path, limit)));
    const [certificate, ...crls] = await Promise.all([this.#firstDocument(needed.certificates, signal), ...needed.crls.map(document), ...others]);
    const documents = { crls: crls.filter((crl) => crl !== undefined).map(base64) };
    if (certificate !== undefined) documents.certificate = base64(certificate);
    const { bytes: _, ...attestation } = machine.step('attest', { at: this.#clock.now(), ...documents });
    return deepFreeze(attestation);
  }

  /** The agent's response for a step of the module, or why there is none. The request is sent again while the module says so. */
  async #receive(url, init, signal, ends) {
    try {
      for (let attempt = 0; ; attempt += 1) {
        const response = await send(this.#settings.fetch, url, { ...init, signal });
        const bytes = await firstBytes(response, MAX_KEPT_BYTES);
        const wait = this.#againAfter(response, attempt, ends);
        if (wait === null) return { about: aboutOf(response), bytes };
        await pause(wait, signal);
      }
    } catch (error) {
      this.#closed.throwIfAborted();
      // Of a step, and not of the network.
      if (error instanceof AttestationError) throw error;
      return { about: { failure: reasonOf(error) }, bytes: NOTHING };
    }
  }

  #againAfter(response, attempt, ends) {
    const { headers, status } = response;
    const asked = { attempt, status, at: this.#clock.now(), remaining_ms: Math.max(0, Math.floor(ends - performance.now())) };
    // In a page, what the front end exposes.
    if (headers.has('retry-after')) asked.retry_after = headers.get('retry-after');
    if (headers.has('date')) asked.date = headers.get('date');
    return this.#machine.step('again', asked).after_ms;
  }

  async #keySet(url, signal) {
    if (url === null) return { key_set_fetched: false };
    const given = this.#settings.keySet;
    // What a caller's `fetch` brings is the caller's, whichever URL it was asked for.
    const fetched = given === undefined && this.#settings.isPlatforms;
    const failed = (error) => {
      this.#closed.throwIfAborted();
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
    return publicDocument(this.#settings.fetch, found ?? url, signal).then((bytes) => ({ key_set: base64(bytes), key_set_fetched: fetched }), failed);
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
      return typeof kds === 'function' ? await abortable(Promise.resolve(kds(path)), signal) : await publicDocument(this.#settings.fetch, kds.replace(/\/+$/, '') + path, signal);
    } catch {
      this.#closed.throwIfAborted();
      return undefined;
    }
  }
}

function deepFreeze(value) {
  if (typeof value === 'object' && value !== null) {
    Object.values(value).forEach(deepFreeze);
    Object.freeze(value);
  }
  return value;
}
