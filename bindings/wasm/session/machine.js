// The module, as steps: JSON and bytes in, JSON and bytes out.

import { AttestationError, internal } from '../blindbox.js';

/** How many random bytes a step takes. */
const RANDOM_BYTES = 64;
/** The most bytes of content in one step: a step has at most 16 MiB. */
const MAX_PIECE_BYTES = 1 << 20;
const NOTHING = new Uint8Array(0);

/** One instance of the module, with one client. */
export class Machine {
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

  /** The steps that a piece of content takes, one after the other: each as the module returns it. */
  *inSteps(name, parameters, content) {
    for (let at = 0; at < content.length; at += MAX_PIECE_BYTES) {
      yield this.step(name, parameters, content.subarray(at, at + MAX_PIECE_BYTES));
    }
  }

  /** Ends an exchange whose response is not read. */
  close(exchange) {
    try {
      this.step('close', { exchange });
    } catch {
      // The module has ended, and the exchange with it.
    }
  }

  /** Wipes the keys. */
  end(reason) {
    if (this.#ended === undefined) this.step('drop');
    this.#ended ??= reason;
    this.#exports = undefined;
  }
}
