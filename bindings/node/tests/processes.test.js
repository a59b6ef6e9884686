'use strict';

const assert = require('node:assert/strict');
const http = require('node:http');
const path = require('node:path');
const { after, afterEach, before, test } = require('node:test');
const { Worker } = require('node:worker_threads');

const { Emulator, files, run } = require('./emulator');

let emulator;

before(async () => {
  emulator = await Emulator.start();
});
afterEach(() => emulator.order('reset'));
after(() => emulator.stop());

const script = (name) => path.join(__dirname, 'programs', name);

test('a process ends with work under way', async () => {
  await emulator.order('fail /slow=hang');
  assert.deepEqual(await run(emulator, script('exit.js')), { code: 0, out: 'ended\n', err: '' });
});

test('workers have sessions of their own, and exit with work under way', async () => {
  await emulator.order('fail /slow=hang');
  assert.deepEqual(await run(emulator, script('workers.js')), { code: 0, out: 'ended\n', err: '' });
});

test('the requests of a worker end with it', async () => {
  let all = () => {};
  const open = new Set();
  const server = http.createServer((request, response) => {
    open.add(request);
    response.once('close', () => {
      open.delete(request);
      all();
    });
    all();
  });
  const until = (count) =>
    new Promise((resolve) => {
      all = () => void (open.size === count && resolve());
      all();
    });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const other = await Emulator.start('--application', `http://127.0.0.1:${server.address().port}`);
  try {
    for (const end of [(worker) => worker.terminate(), (worker) => worker.postMessage('exit')]) {
      const worker = new Worker(script('hangs.js'), { workerData: files(other) });
      await until(2);
      end(worker);
      await until(0);
    }
  } finally {
    await other.stop();
    server.closeAllConnections();
    server.close();
  }
});

test('work that is given up leaves no rejection unhandled', async () => {
  await emulator.order('fail /slow=hang');
  const done = await run(emulator, script('unhandled.js'), ['--unhandled-rejections=strict']);
  assert.deepEqual(done, { code: 0, out: 'ended\n', err: '' });
});

test('a signal of a request that was collected still ends it', async () => {
  await emulator.order('fail /slow=hang');
  const done = await run(emulator, script('collected.js'), ['--expose-gc']);
  assert.deepEqual(done, { code: 0, out: 'while it is sent: true\nwhile its response is read: true\n', err: '' });
});

test('memory is flat over many requests', async () => {
  const { code, out, err } = await run(emulator, script('memory.js'), ['--expose-gc']);
  assert.deepEqual([code, err], [0, '']);
  const { rounds, handles } = JSON.parse(out);
  // Responses that stay make the heap grow by more than a million in each round, and their bodies buffers by 35 million.
  assert(rounds.some(({ heap, external }) => heap < 600_000 && external < 10_000_000), `it grew in each round: ${out}`);
  assert.equal(handles, 0);
});
