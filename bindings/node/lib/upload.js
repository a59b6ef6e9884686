'use strict';

const { native } = require('./native');
const { value } = require('./errors');

/** Writes a body while it is sent. */
class Feeder {
  /** Why the source failed; undefined while it has not. */
  failure = undefined;
  #source;
  #ended = false;

  constructor(source, length) {
    this.upload = new native.Upload(length);
    this.#source = opened(source);
  }

  /** Reads the source and writes the upload, until either ends. Never rejects. */
  async run() {
    const upload = this.upload;
    try {
      // Nothing is read before the request has a connection.
      let wants = value(await upload.ready());
      while (wants && !this.#ended) {
        const { done, value: piece } = await this.#source.next();
        if (this.#ended) {
          break;
        }
        if (done) {
          this.#ended = true;
          upload.finish();
          return;
        }
        wants = value(await upload.write(bytesOf(piece)));
      }
      this.stop();
    } catch (error) {
      if (!this.#ended) {
        this.failure = error;
        // The request first: the source runs code of its caller when it ends.
        upload.fail(`its source failed: ${error instanceof Error ? error.name : typeof error}`);
        this.stop(error);
      }
    }
  }

  /** Ends the source: the request takes no more. */
  stop(reason = undefined) {
    if (!this.#ended) {
      this.#ended = true;
      this.#source.stop(reason);
    }
  }
}

function ignore() {}

/** A source, one piece at a time. */
function opened(source) {
  if (typeof source.getReader === 'function') {
    const reader = source.getReader();
    return {
      next: () => reader.read(),
      // It also ends a read that is waiting, which an iterator cannot.
      stop: (reason) => void reader.cancel(reason).catch(ignore),
    };
  }
  const iterator = source[Symbol.asyncIterator]();
  return {
    next: () => iterator.next(),
    stop: () => void Promise.resolve()
      .then(() => iterator.return?.())
      .catch(ignore),
  };
}

function bytesOf(piece) {
  if (typeof piece === 'string') {
    return Buffer.from(piece);
  }
  if (ArrayBuffer.isView(piece)) {
    return Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength);
  }
  throw new TypeError(`expected bytes (Uint8Array) or text as the pieces of a body, found ${typeof piece}`);
}

module.exports = { Feeder };
