'use strict';

const { Readable, pipeline } = require('node:stream');
const zlib = require('node:zlib');

const { made, isFailure, ofCode } = require('./errors');

const NULL_BODY = new Set([101, 204, 205, 304]);

const DECODERS = {
  gzip: () => zlib.createGunzip(),
  'x-gzip': () => zlib.createGunzip(),
  deflate: () => zlib.createInflate(),
  br: () => zlib.createBrotliDecompress(),
};

/** A `Response` that knows the URL of its request. */
class AttestedResponse extends Response {
  #url;

  constructor(body, init, url) {
    super(body, init);
    this.#url = url;
  }

  get url() {
    return this.#url;
  }

  clone() {
    return Object.defineProperty(super.clone(), 'url', { value: this.#url });
  }
}

// Bodies whose responses were dropped unread leave no listener behind at a signal that outlives them.
const dropped = new FinalizationRegistry((detach) => detach());

/**
 * Aborts a body with a signal, without keeping the body alive; returns how to stop that. A function of its own: what it makes keeps
 * all variables around it alive.
 */
function attach(signal, body) {
  const listener = () => body.deref()?.abort(signal.reason);
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** A body as it is pulled. */
class Body {
  #response;
  #early;
  #controller = null;
  #feeder;
  #detach = null;
  // The signal of a `Request` follows the caller's signal only while the `Request` is alive.
  #request;

  constructor(response, early, { request, signal, feeder }) {
    this.#request = request;
    this.#response = response;
    this.#early = early;
    this.#feeder = feeder;
    if (signal !== null && signal !== undefined) {
      this.#detach = attach(signal, new WeakRef(this));
      dropped.register(this, this.#detach, this);
    }
  }

  stream() {
    return new ReadableStream(
      {
        type: 'bytes',
        start: (controller) => {
          this.#controller = controller;
        },
        pull: (controller) => this.#pull(controller),
        cancel: () => this.#end(),
      },
      { highWaterMark: 0 },
    );
  }

  async #pull(controller) {
    if (this.#early.length > 0) {
      // Copied: the stream takes the memory of what it is given.
      controller.enqueue(new Uint8Array(this.#early));
      this.#early = Buffer.alloc(0);
      return;
    }
    const chunk = await this.#response.chunk();
    if (this.#controller === null) {
      // It was aborted or cancelled.
      return;
    }
    if (isFailure(chunk)) {
      const cause = this.#feeder?.failure;
      this.#end();
      throw made(chunk, cause === undefined ? undefined : { cause });
    }
    if (chunk !== null) {
      controller.enqueue(new Uint8Array(chunk));
      return;
    }
    this.#end();
    controller.close();
    // A reader that brought its own buffer waits for it.
    controller.byobRequest?.respond(0);
  }

  abort(reason) {
    const controller = this.#controller;
    this.#end();
    controller?.error(reason);
  }

  #end() {
    this.#controller = null;
    this.#request = null;
    if (this.#detach !== null) {
      this.#detach();
      this.#detach = null;
      dropped.unregister(this);
    }
    this.#feeder?.stop();
    this.#response.close();
  }
}

/** The `Response` of a native response to what was sent: `request` is a `Request`, or null; `feeder` writes the body. */
function respond(response, { request, method, redirect, signal, feeder }) {
  const head = response.head();
  const give = (status, body) => {
    const headers = new Headers();
    for (let at = 0; at < head.headers.length; at += 2) {
      headers.append(head.headers[at], head.headers[at + 1]);
    }
    return new AttestedResponse(body, { status, headers }, head.url);
  };
  const giveUp = () => {
    feeder?.stop();
    response.close();
  };
  // While the request was sent another listener was at the signal, which is gone: an abort since then came to neither.
  if (signal?.aborted) {
    giveUp();
    throw signal.reason;
  }
  if (redirect === 'error' && [301, 302, 303, 307, 308].includes(head.status)) {
    giveUp();
    throw new TypeError(`the response is a redirect (${head.status}), and the request has redirect: 'error'`);
  }
  if (head.status > 599) {
    giveUp();
    const message = `invalid response: expected a status below 600, found ${head.status}`;
    throw ofCode('invalid-response', message, { requestSent: true });
  }
  if (method === 'HEAD' || NULL_BODY.has(head.status)) {
    giveUp();
    return give(head.status, null);
  }
  const encoding = encodingOf(head.headers);
  if (head.complete && feeder === null) {
    if (encoding === null) {
      return give(head.status, head.early);
    }
    return give(head.status, decoded(new Response(head.early).body, encoding));
  }
  const body = new Body(response, head.early, { request, signal, feeder }).stream();
  return give(head.status, encoding === null ? body : decoded(body, encoding));
}

/** The decoder of a body. None is asked for, but an application may use one. */
function encodingOf(headers) {
  for (let at = 0; at < headers.length; at += 2) {
    if (headers[at] === 'content-encoding') {
      return DECODERS[headers[at + 1].trim().toLowerCase()] ?? null;
    }
  }
  return null;
}

/** A decoded body. An empty one is complete, such as one that was never compressed. */
function decoded(body, makeDecoder) {
  const source = Readable.fromWeb(body);
  let isEmpty = true;
  let failure = null;
  source.once('data', () => {
    isEmpty = false;
  });
  source.once('error', (error) => {
    failure = { error };
  });
  // The error of either side reaches the reader through the last stream.
  const reader = Readable.toWeb(pipeline(source, makeDecoder(), () => {})).getReader();
  const pull = async (controller) => {
    try {
      const { done, value } = await reader.read();
      return done ? controller.close() : controller.enqueue(value);
    } catch (error) {
      if (failure !== null) {
        throw failure.error;
      }
      if (isEmpty) {
        return controller.close();
      }
      // What the decoder says is of the form of the body, and nothing of its content.
      const message = `invalid response: expected a body in the encoding of its header, found ${error.message}`;
      throw ofCode('invalid-response', message, { requestSent: true });
    }
  };
  return new ReadableStream({ pull, cancel: (reason) => reader.cancel(reason) }, { highWaterMark: 0 });
}

module.exports = { respond };
