'use strict';

// Prints what many requests leave behind.

const fs = require('node:fs');
const { getEventListeners } = require('node:events');

const connect = require('./session');

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function settle() {
  for (let turn = 0; turn < 10; turn += 1) {
    global.gc();
    await pause(20);
  }
}

/** Waits until a number is at most what it was; the limit is that of the test. */
async function until(number, limit) {
  while (number() > limit) {
    global.gc();
    await pause(20);
  }
}

async function main() {
  const session = await connect();
  const { signal } = new AbortController();
  const round = async (count) => {
    for (let number = 0; number < count; number += 1) {
      await (await session.fetch('/')).text();
      await (await session.fetch('/echo', { method: 'POST', body: 'x'.repeat(1000), signal })).text();
      // Half of them are never read, under a signal that outlives them.
      const large = await session.fetch('/large?bytes=100000', { signal });
      if (number % 2 === 0) await large.arrayBuffer();
      await session.fetch('https://evil.example/').catch(() => {});
    }
    await settle();
  };
  await round(200);
  // What leaks grows in every round. What V8 does late on a busy machine does not.
  const rounds = [];
  for (let number = 0; number < 3; number += 1) {
    const before = process.memoryUsage();
    await round(750);
    await until(() => getEventListeners(signal, 'abort').length, 0);
    const after = process.memoryUsage();
    const external = after.external + after.arrayBuffers - before.external - before.arrayBuffers;
    rounds.push({ heap: after.heapUsed - before.heapUsed, external });
  }
  // Sessions that are dropped, and never closed.
  if (process.platform === 'linux') {
    const open = () => fs.readdirSync('/proc/self/fd').length;
    const few = open();
    for (let number = 0; number < 20; number += 1) {
      await (await (await connect()).fetch('/')).text();
    }
    await until(open, few);
  }
  const handles = process.getActiveResourcesInfo().filter((name) => name !== 'PipeWrap').length;
  session.close();
  console.log(JSON.stringify({ rounds, handles }));
}

main();
