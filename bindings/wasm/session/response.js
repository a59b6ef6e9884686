// The response of the application, opened piece by piece.

import { allBytes } from './bytes.js';
import { interrupted, reasonOf } from './errors.js';

const NULL_BODY = [204, 205, 304];

/** Ends exchanges whose responses were forgotten without being read. */
const forgotten = new FinalizationRegistry(({ machine, exchange, reader }) => {
  machine.close(exchange);
  reader.cancel().catch(() => {});
});

/** The response to a request, once its head is there. */
export async function openedResponse(machine, exchange, response, { abort, method, url }) {
  const opened = new OpenedResponse(machine, exchange, response, abort);
  const { status, headers } = await opened.head();
  const hasBody = !NULL_BODY.includes(status) && method !== 'HEAD';
  if (!hasBody) await opened.drain();
  return from(url, new Response(hasBody ? opened.stream() : null, { status, headers }));
}

/** What reads a response whole. */
const READERS = ['arrayBuffer', 'blob', 'bytes', 'formData', 'json', 'text'].filter((name) => name in Response.prototype);

/** The response as the page sees it, and its clones: it says where it is from, and errors as its stream does. */
function from(url, response) {
  const own = { url: { value: url }, clone: { value: () => from(url, Response.prototype.clone.call(response)) } };
  for (const name of READERS) own[name] = { value: () => whole(response, name) };
  return Object.defineProperties(response, own);
}

/** Reads it by its stream: Chromium has a `TypeError` of its own in place of the stream's error. */
async function whole(response, name) {
  const { body, headers } = response;
  if (body === null) return Response.prototype[name].call(response);
  const content = await allBytes(body.getReader());
  return new Response(content, { headers })[name]();
}

/** The content of a sealed response. */
class OpenedResponse {
  #machine;
  #exchange;
  #reader;
  #abort;
  #ready = [];
  #done = false;

  constructor(machine, exchange, response, abort) {
    [this.#machine, this.#exchange, this.#abort] = [machine, exchange, abort];
    this.#reader = (response.body ?? new Response('').body).getReader();
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
        machine.close(exchange);
        throw signal.reason;
      }
      machine.step('refuse', { exchange, failure: reasonOf(error) });
    }
    try {
      const steps = piece.done ? [machine.step('finish', { exchange })] : machine.inSteps('open', { exchange }, piece.value);
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
          this.#machine.close(this.#exchange);
          return this.#reader.cancel(reason);
        },
      },
      { highWaterMark: 0 },
    );
  }
}
