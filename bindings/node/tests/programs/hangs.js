'use strict';

// A worker with a request that hangs, and one whose body does.

const { parentPort, workerData } = require('node:worker_threads');

const connect = require('./session');

async function* silent() {
  yield 'half';
  await new Promise(() => {});
}

connect(workerData).then((session) => {
  session.fetch('/hangs');
  session.fetch('/hangs', { method: 'POST', body: silent() });
  parentPort.on('message', () => process.exit(0));
});
