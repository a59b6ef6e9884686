// One sealed request, and what comes back.

import { AttestationError } from '../blindbox.js';
import { firstBytes, joined } from './bytes.js';
import { interrupted, interruptible, reasonOf } from './errors.js';
import { aboutOf } from './network.js';
import { openedResponse } from './response.js';
import { within } from './waiting.js';

/** The most bytes of a response that is not sealed, which only has a reason in it. */
const MAX_PROBLEM_BYTES = 4096;
/** How long the reason in a response that is not sealed is read, in milliseconds. */
const PROBLEM_TIMEOUT = 5_000;
const NOTHING = new Uint8Array(0);

/**
 * Sends a request that was begun, and returns the response. Returns null if the platform has sent nothing of a stream: Chromium refuses one
 * over HTTP/1.1, before it asks for the first piece.
 */
export async function exchanged(session, begun, request) {
  const { machine, send, now } = session;
  const { exchange } = begun;
  const { signal } = request.abort;
  const sealing = new Sealing(machine, exchange, now);
  // What was handed to the platform may have arrived.
  let handed = false;
  let response;
  try {
    const body = request.stream === null ? sealing.whole(begun.bytes, request.content) : sealing.stream(begun.bytes, request.stream);
    const duplex = request.stream === null ? {} : { duplex: 'half' };
    handed = true;
    response = await send(begun.url, { method: 'POST', headers: begun.headers, signal, body, ...duplex });
  } catch (error) {
    if (sealing.failed !== undefined || signal.aborted || error instanceof AttestationError) {
      machine.close(exchange);
      const cause = sealing.failed !== undefined ? sealing.failed.error : signal.aborted ? signal.reason : error;
      throw handed ? interrupted(cause) : cause;
    }
    if (request.stream !== null && !sealing.isAskedFor && refusesStreams()) {
      machine.close(exchange);
      return null;
    }
    return interruptible(() => machine.step('refuse', { exchange, failure: reasonOf(error) }));
  }
  const about = { exchange, ...aboutOf(response) };
  if (interruptible(() => machine.step('response', about)).sealed) return openedResponse(machine, exchange, response, request);
  const bytes = await within(PROBLEM_TIMEOUT, signal, (limit) => firstBytes(response, MAX_PROBLEM_BYTES, limit)).catch(() => NOTHING);
  return interruptible(() => machine.step('refuse', about, bytes));
}

/** Whether this is a browser, which may send streams over some versions of HTTP only. Others send them over each. */
function refusesStreams() {
  return globalThis.location !== undefined;
}

/** Seals the content of one request. */
class Sealing {
  #machine;
  #exchange;
  #now;
  /** Whether the platform has asked for a piece of a stream. Nothing can have been sent before. */
  isAskedFor = false;
  /** Why a stream has ended without its final chunk. */
  failed;

  constructor(machine, exchange, now) {
    [this.#machine, this.#exchange, this.#now] = [machine, exchange, now];
  }

  /** A request whose content is there. */
  whole(start, content) {
    return joined([start, ...this.#pieces(content), this.#end()]);
  }

  /** A request whose content comes piece by piece. */
  stream(start, reader) {
    return new ReadableStream(
      {
        pull: async (controller) => {
          if (!this.isAskedFor) {
            this.isAskedFor = true;
            return controller.enqueue(start);
          }
          try {
            for (;;) {
              const { done, value } = await reader.read();
              if (done) {
                controller.enqueue(this.#end());
                return controller.close();
              }
              for (const bytes of this.#pieces(value)) controller.enqueue(bytes);
              // What is empty gives nothing, and a stream that gives nothing is not asked again.
              if (value.length > 0) return undefined;
            }
          } catch (error) {
            // Without its final chunk, the request is incomplete for the instance.
            this.failed = { error };
            throw error;
          }
        },
        // One that was not asked for is still the session's.
        cancel: (reason) => (this.isAskedFor ? reader.cancel(reason) : undefined),
      },
      { highWaterMark: 0 },
    );
  }

  *#pieces(content) {
    for (const { bytes } of this.#machine.inSteps('content', { exchange: this.#exchange, at: this.#now() }, content)) yield bytes;
  }

  #end() {
    return this.#machine.step('end', { exchange: this.#exchange, at: this.#now() }).bytes;
  }
}
