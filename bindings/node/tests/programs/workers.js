'use strict';

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

const connect = require('./session');

async function inWorker() {
  const session = await connect(workerData);
  const response = await session.fetch('/echo', { method: 'POST', body: 'from a worker' });
  parentPort.postMessage(await response.text());
  session.fetch('/slow');
  session.fetch('/large?bytes=3000000').then((large) => large.arrayBuffer());
  // Without waiting for either.
  process.exit(0);
}

async function main() {
  for (let round = 0; round < 3; round += 1) {
    const workers = Array.from({ length: 4 }, () => new Worker(__filename, { workerData: process.argv.slice(2) }));
    const ended = workers.map(async (worker, number) => {
      // Before the message: a worker that exits at once may do so in the same turn of the loop.
      const exited = new Promise((resolve) => worker.once('exit', resolve));
      const text = await new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      });
      if (text !== 'from a worker') throw new Error(text);
      // Half of them are ended from outside.
      if (number % 2 === 0) return worker.terminate();
      return exited;
    });
    await Promise.all(ended);
  }
  const session = await connect();
  if ((await session.fetch('/')).status !== 200) throw new Error('the main thread has no session');
  session.close();
  console.log('ended');
}

if (isMainThread) {
  main();
} else {
  inWorker();
}
