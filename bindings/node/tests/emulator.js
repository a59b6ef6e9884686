'use strict';

// `blindbox-attest emulate` for tests: a BlindBox, an MAA and an AMD on loopback, with real signatures.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');

const blindbox = require('@blindbox/attestation');

const BINARY = process.env.BLINDBOX_ATTEST;

// A test that waits for an event that never comes fails, and does not hang.
setTimeout(() => {
  console.error('the tests of this file took more than thirty minutes');
  process.exit(1);
}, 1_800_000).unref();

class Emulator {
  static async start(...options) {
    const emulator = new Emulator();
    emulator.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'blindbox-'));
    // It ends when its standard input does, so it cannot outlive the tests.
    const command = ['emulate', '--out', emulator.directory, ...options];
    emulator.process = spawn(BINARY, command, { stdio: ['pipe', 'pipe', 'inherit'] });
    emulator.lines = readline.createInterface({ input: emulator.process.stdout })[Symbol.asyncIterator]();
    const { value } = await emulator.lines.next();
    if (value === undefined) {
      throw new Error('the emulator did not start');
    }
    emulator.about = JSON.parse(value);
    emulator.url = emulator.about.url;
    emulator.policy = blindbox.Policy.fromFile(emulator.file('policy.toml'));
    emulator.settings = {
      applicationRoots: emulator.file('application-root.pem'),
      collateralRoots: emulator.file('collateral-root.pem'),
    };
    if (fs.existsSync(emulator.file('amd-roots.pem'))) {
      emulator.settings.amdRoots = emulator.file('amd-roots.pem');
      emulator.settings.kds = emulator.about.kds.url;
    }
    if (fs.existsSync(emulator.file('ak-root.pem'))) {
      emulator.settings.akRoot = emulator.file('ak-root.pem');
    }
    return emulator;
  }

  file(name) {
    return path.join(this.directory, name);
  }

  async order(text) {
    this.process.stdin.write(`${text}\n`);
    const outcome = JSON.parse((await this.lines.next()).value);
    if (!outcome.ok) {
      throw new Error(`${text}: ${JSON.stringify(outcome)}`);
    }
    return outcome;
  }

  traffic() {
    return this.order('traffic');
  }

  connect(options = {}) {
    return blindbox.verifyConnection(this.url, this.policy, { ...this.settings, ...options });
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.stdin.end();
    await ended;
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

/** What a program needs to reach an emulator: its URL, policy, application root, collateral root. */
function files(emulator) {
  const names = ['policy.toml', 'application-root.pem', 'collateral-root.pem'];
  return [emulator.url, ...names.map((name) => emulator.file(name))];
}

/** Runs a script with what it needs to reach an emulator as its arguments. */
function run(emulator, script, options = []) {
  const child = spawn(process.execPath, [...options, script, ...files(emulator)], { timeout: 300_000 });
  const output = { out: '', err: '' };
  child.stdout.on('data', (data) => (output.out += data));
  child.stderr.on('data', (data) => (output.err += data));
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code: code ?? signal, ...output })));
}

module.exports = { Emulator, files, run };
