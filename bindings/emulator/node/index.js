'use strict';

// An emulated BlindBox, MAA and, on request, AMD on loopback, with real signatures: for tests of programs that attest.

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');

/** The path of the program `blindbox-attest`, which has the emulator. */
const program = path.join(__dirname, 'bin', 'blindbox-attest');

/** A running emulator on ports that the system chose. */
class Emulator {
  #process;
  #lines;
  #ended;

  /** Starts one. The arguments are those of `blindbox-attest emulate`. */
  static async start(...options) {
    const emulator = new Emulator();
    emulator.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'blindbox-'));
    const command = ['emulate', '--out', emulator.directory, ...options];
    // It ends when its standard input does, so it cannot outlive this process.
    emulator.#process = spawn(program, command, { stdio: ['pipe', 'pipe', 'inherit'] });
    emulator.#ended = new Promise((resolve) => {
      emulator.#process.once('close', resolve);
      emulator.#process.once('error', resolve);
    });
    // A command to a program that has ended: it gets no outcome, and says so.
    emulator.#process.stdin.on('error', () => {});
    emulator.#lines = readline.createInterface({ input: emulator.#process.stdout })[Symbol.asyncIterator]();
    const { value } = await emulator.#lines.next();
    if (value === undefined) {
      await emulator.stop();
      throw new Error(`the emulator did not start: ${[program, ...command].join(' ')}`);
    }
    emulator.about = JSON.parse(value);
    emulator.url = emulator.about.url;
    return emulator;
  }

  /** The settings with which a client trusts it, by their names in the package @blindbox/attestation. */
  get settings() {
    const files = { applicationRoots: 'application-root', collateralRoots: 'collateral-root', amdRoots: 'amd-roots', akRoot: 'ak-root' };
    const paths = Object.entries(files).map(([name, file]) => [name, path.join(this.directory, `${file}.pem`)]);
    const settings = Object.fromEntries(paths.filter(([, file]) => fs.existsSync(file)));
    if (this.about.kds) {
      settings.kds = this.about.kds.url;
    }
    return settings;
  }

  /** The text of a policy that accepts the emulated guest. */
  policyText() {
    return fs.readFileSync(path.join(this.directory, 'policy.toml'), 'utf8');
  }

  /** Sends a command, such as `knob debug`, `fail /attest/=hang`, `reset` or `traffic`, and returns its outcome. */
  async command(text) {
    this.#process.stdin.write(`${text}\n`);
    const { value } = await this.#lines.next();
    if (value === undefined) {
      throw new Error(`${text}: the emulator has ended`);
    }
    const outcome = JSON.parse(value);
    if (outcome.ok !== true) {
      throw new Error(`${text}: ${JSON.stringify(outcome)}`);
    }
    return outcome;
  }

  /** Ends it and removes its files. May be called again. */
  async stop() {
    this.#process.stdin.end();
    await this.#ended;
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}

module.exports = { Emulator, program };
