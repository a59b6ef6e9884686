// An emulated BlindBox behind a front end, and sessions with it through the module.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import readline from 'node:readline';

import { connect } from '../session.js';

export const MODULE = await WebAssembly.compile(readFileSync(process.env.BLINDBOX_WASM));

// Node loads its HTTP client, whose class of agents has no other name, with the first request.
await fetch('data:,');
const { constructor: Agent } = globalThis[Symbol.for('undici.globalDispatcher.1')];

// A test that waits for an event that never comes fails, and does not hang.
setTimeout(() => {
  console.error('the tests of this file took more than thirty minutes');
  process.exit(1);
}, 1_800_000).unref();

export class FrontEnd {
  static async start(options = []) {
    const front = new FrontEnd();
    front.directory = mkdtempSync(path.join(tmpdir(), 'blindbox-session-'));
    const fixed = ['emulate', '--front-end', '--agent', 'bound-message', '--out', front.directory];
    front.process = spawn(process.env.BLINDBOX_ATTEST, [...fixed, ...options], { stdio: ['pipe', 'pipe', 'inherit'] });
    front.ended = new Promise((resolve) => front.process.once('exit', resolve));
    front.lines = readline.createInterface({ input: front.process.stdout })[Symbol.asyncIterator]();
    front.about = JSON.parse((await front.lines.next()).value);
    front.url = front.about.url;
    front.policy = front.file('policy.toml');
    const roots = ['application-root.pem', 'collateral-root.pem'].map((name) => front.file(name));
    front.dispatcher = new Agent({ connect: { ca: roots.join(''), timeout: 600_000 } });
    return front;
  }

  file(name) {
    return readFileSync(path.join(this.directory, name), 'utf8');
  }

  /** What the page's `fetch` is: it trusts the emulator's roots, and counts. */
  sent = [];
  fetch = (url, init) => {
    this.sent.push(new URL(url).pathname);
    return fetch(url, { ...init, dispatcher: this.dispatcher });
  };

  count(pathname) {
    return this.sent.filter((found) => found === pathname).length;
  }

  connect(options = {}, policy = this.policy) {
    return connect(this.url, policy, { module: MODULE, fetch: this.fetch, ...options });
  }

  /** Gives the emulator an order. */
  async order(text) {
    this.process.stdin.write(`${text}\n`);
    const answer = JSON.parse((await this.lines.next()).value);
    if (!answer.ok) throw new Error(`${text}: ${answer.error}`);
    return answer;
  }

  /** Restarts the instance, and waits until the front end reaches it again: its connections were cut. */
  async restart() {
    await this.order('restart');
    for (let attempt = 0; attempt < 100; attempt += 1) {
      const { status } = await fetch(`${this.url}/attest/message`, { method: 'POST', dispatcher: this.dispatcher });
      if (status !== 502) return;
    }
    throw new Error('the front end does not reach the instance');
  }

  async stop() {
    this.process.stdin.end();
    await this.ended;
    await this.dispatcher.destroy();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Runs work with an emulated BlindBox. */
export async function behind(options, work) {
  const front = await FrontEnd.start(options);
  try {
    await work(front);
  } finally {
    await front.stop();
  }
}
