// What the module must return: the same calls, carried out natively over AWS-LC.

import { spawn } from 'node:child_process';
import { readFileSync, readdirSync, existsSync, statSync } from 'node:fs';
import path from 'node:path';
import readline from 'node:readline';

import { load } from '../blindbox.js';

export const MODULE = readFileSync(process.env.BLINDBOX_WASM);
export const blindbox = await load(MODULE);

// A test that waits for an event that never comes fails, and does not hang.
setTimeout(() => {
  console.error('the tests of this file took more than thirty minutes');
  process.exit(1);
}, 1_800_000).unref();

/** The program `call` of the facade: a line in, a line out. */
export class Native {
  constructor() {
    this.process = spawn(process.env.BLINDBOX_CALL, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = readline.createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
  }

  async call(name, parameters) {
    this.process.stdin.write(`${name} ${JSON.stringify(parameters)}\n`);
    const { value } = await this.lines.next();
    if (value === undefined) throw new Error('the native program ended');
    return value;
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.stdin.end();
    await ended;
  }
}

/** Calls an export by the interface that hosts without JavaScript have too. */
export function raw(exports, name, text) {
  const bytes = new TextEncoder().encode(text);
  const input = exports.bb_allocate(bytes.length);
  if (input === 0) throw new Error('no buffer');
  new Uint8Array(exports.memory.buffer, input, bytes.length).set(bytes);
  const output = exports[`bb_${name}`](input);
  const found = new Uint8Array(exports.memory.buffer, output, exports.bb_length(output)).slice();
  exports.bb_free(output);
  return new TextDecoder('utf-8', { fatal: true }).decode(found);
}

export const instance = new WebAssembly.Instance(new WebAssembly.Module(MODULE), {});

/** The directory of recorded evidence, or null, which is said aloud. */
export function vectors() {
  const found = process.env.BLINDBOX_VECTORS;
  if (found !== undefined && existsSync(found)) return found;
  console.error('SKIPPED: recorded evidence: there is no directory of vectors');
  return null;
}

/** All files below a directory. */
export function filesBelow(directory) {
  return readdirSync(directory).flatMap((name) => {
    const file = path.join(directory, name);
    return statSync(file).isDirectory() ? filesBelow(file) : [file];
  });
}

export const base64 = (bytes) => Buffer.from(bytes).toString('base64');
