// What the arguments of `fetch` become: a request to seal.

import { argument } from '../blindbox.js';
import { allBytes } from './bytes.js';
import { abortable } from './waiting.js';

/** The members of `RequestInit` that are read, own or not, as the platform does: `signal` and `body` are followed and read here. */
const MEMBERS = ['body', 'cache', 'credentials', 'headers', 'integrity', 'keepalive', 'method', 'mode', 'priority', 'redirect', 'referrer', 'referrerPolicy', 'signal', 'window'];

/** The most bytes of a stream that is read first: one without an end would fill the memory. */
const MAX_WHOLE_STREAM = 64 * 1024 * 1024;

/**
 * Returns the request. `closed` is the signal of the session, `isStreamed` says whether a stream is sent piece by piece.
 *
 * `content` is all of the content, or null where it comes from `stream`, a reader. `repeatable` says whether all of it is there to be sent again.
 */
export async function requestOf(input, init, { base, closed, isStreamed }) {
  const idempotent = idempotentOf(init);
  const given = membersOf(init);
  const abort = abortOf(given, closed, { input, init });
  abort.signal.throwIfAborted();
  const stream = given.body instanceof ReadableStream ? given.body : null;
  // Read once: it may be an iterator.
  if (given.headers !== undefined) given.headers = new Headers(given.headers);
  // A platform that does not know streams would take one for a text. Bytes have no type either.
  if (stream !== null) given.body = new Uint8Array(0);
  const request = new Request(targetOf(input, base), { ...given, signal: null });
  refuseWeakened(request);
  const url = new URL(request.url);
  url.hash = '';
  const sealable = { method: request.method, url: url.href, headers: headersOf(given, input, request), repeatable: stream === null, idempotent, abort };
  if (stream === null) return { ...sealable, content: new Uint8Array(await abortable(request.arrayBuffer(), abort.signal)), stream: null };
  const reader = new ByteReader(stream);
  if (isStreamed()) return { ...sealable, content: null, stream: reader };
  return { ...sealable, content: await wholeStream(reader, abort.signal), stream: null };
}

/** The reader of a caller's stream, which gives bytes or fails. */
class ByteReader {
  #reader;

  constructor(stream) {
    // A `Response` refuses a stream that was read before.
    this.#reader = new Response(stream).body.getReader();
  }

  async read() {
    const piece = await this.#reader.read();
    if (!piece.done && !(piece.value instanceof Uint8Array)) throw new TypeError('expected a stream of Uint8Array');
    return piece;
  }

  cancel(reason) {
    return this.#reader.cancel(reason);
  }
}

/** Reads a stream that cannot be sent piece by piece. */
export async function wholeStream(reader, signal) {
  try {
    const content = await abortable(allBytes(reader, MAX_WHOLE_STREAM), signal);
    if (content === null) throw argument(`body: expected at most ${MAX_WHOLE_STREAM} bytes of a stream, found more: this platform does not send it piece by piece`);
    return content;
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

/** Whether this platform sends a stream as the content of a request. */
export function streamsRequests() {
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

/** The members that are there. A copy of the object's own ones would have none of a `Request`. */
function membersOf(init) {
  if (init === undefined || init === null) return {};
  if (typeof init !== 'object' && typeof init !== 'function') throw argument(`init: expected an object, found ${typeof init}`);
  return Object.fromEntries(MEMBERS.map((name) => [name, init[name]]).filter(([, value]) => value !== undefined));
}

/** Whether the caller permits that the request is processed twice: never by a prototype, which another script may have changed. */
function idempotentOf(init) {
  const given = Object.hasOwn(Object(init), 'idempotent') ? init.idempotent : undefined;
  if (given === undefined) return false;
  // The string 'false' is true where a condition is expected.
  if (typeof given !== 'boolean') throw argument(`idempotent: expected true or false, found ${given === null ? 'null' : typeof given}`);
  return given;
}

/** Refuses what would protect the caller and has no effect here, as the platform has understood it. */
function refuseWeakened({ integrity, redirect }) {
  if (integrity !== '') throw argument('integrity: expected none, since no digest of the response is compared');
  if (redirect === 'error') throw argument("redirect: expected 'manual' or 'follow', found 'error': redirects are returned, and not followed");
}

/** What ends the request. */
function abortOf(given, closed, { input, init }) {
  const signal = given.signal ?? null;
  if (signal !== null && !(signal instanceof AbortSignal)) throw argument(`signal: expected an AbortSignal, found ${typeof signal}`);
  const followed = [closed, signal, input instanceof Request ? input.signal : null].filter((one) => one !== null);
  // Kept until the response has ended, and not taken from the new `Request`: in Node the signal of a `Request` follows another one only
  // while the `Request` is kept, and what `any` returns keeps no signal that it follows.
  return { signal: AbortSignal.any(followed), followed, input, init };
}

function targetOf(input, base) {
  const isBelow = typeof input === 'string' && input.startsWith('/') && !input.startsWith('//');
  return isBelow ? base.replace(/\/+$/, '') + input : input;
}

/** The headers as given. The `Request` of a page drops some without an error; which are sealed, the module decides. */
function headersOf(given, input, request) {
  const headers = new Headers(given.headers ?? (input instanceof Request ? input.headers : undefined));
  const ofBody = request.headers.get('content-type');
  if (ofBody !== null && !headers.has('content-type')) headers.set('content-type', ofBody);
  return [...headers];
}
