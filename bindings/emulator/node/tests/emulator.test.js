'use strict';

const assert = require('node:assert/strict');
const childProcess = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const https = require('node:https');
const { test } = require('node:test');

// The programs that were started, the latest last.
const children = [];
const { execFileSync, spawn } = childProcess;
childProcess.spawn = (...given) => {
  children.push(spawn(...given));
  return children.at(-1);
};

const { Emulator, program } = require('@blindbox/emulator');

function get(url, ca) {
  return new Promise((resolve, reject) => {
    const request = https.get(url, { ca, agent: false }, (response) => {
      let body = '';
      response.on('data', (piece) => (body += piece));
      response.on('end', () => resolve(body));
    });
    request.on('error', reject);
  });
}

test('it serves until it is stopped', async () => {
  const emulator = await Emulator.start();
  const root = fs.readFileSync(emulator.settings.applicationRoots);
  assert.equal(await get(`${emulator.url}/`, root), 'hello from a BlindBox');
  assert.equal((await emulator.command('traffic')).application_requests, 1);
  assert.match(emulator.policyText(), /^version = 1/);
  await emulator.stop();
  assert.equal(fs.existsSync(emulator.directory), false);
  await assert.rejects(get(`${emulator.url}/`, root), { code: 'ECONNREFUSED' });
  await emulator.stop();
  await assert.rejects(emulator.command('traffic'), { message: 'traffic: the emulator has ended' });
});

test('arguments and commands', async () => {
  const emulator = await Emulator.start('--guest', 'vm', '--product', 'milan', '--trust', 'amd');
  const names = ['akRoot', 'amdRoots', 'applicationRoots', 'collateralRoots', 'kds'];
  assert.deepEqual(Object.keys(emulator.settings).sort(), names);
  await emulator.command('knob debug');
  await assert.rejects(emulator.command('knob nonsense'), /knob nonsense/);
  await emulator.stop();
});

test('what cannot start says so', async () => {
  await assert.rejects(Emulator.start('--nonsense'), /did not start: .* --nonsense/);
  assert(program.includes('node_modules'));
});

test('a program that has ended says so', async () => {
  const ended = { message: 'traffic: the emulator has ended' };
  for (const end of [
    async (child) => {
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
    // What a command meets if the program has just ended.
    (child) => child.stdin.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })),
  ]) {
    const emulator = await Emulator.start();
    await end(children.at(-1));
    await assert.rejects(emulator.command('traffic'), ended);
    await assert.rejects(emulator.command('traffic'), ended);
    await emulator.stop();
    assert.equal(fs.existsSync(emulator.directory), false);
  }
});

test('the program has the version of the package', () => {
  const { version } = require('@blindbox/emulator/package.json');
  assert.equal(execFileSync(program, ['--version'], { encoding: 'utf8' }), `blindbox-attest ${version}\n`);
});
