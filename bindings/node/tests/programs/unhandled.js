'use strict';

const connect = require('./session');

async function main() {
  const session = await connect();
  const ignore = () => {};
  // A peer ends a connection on which too many requests are cancelled at a time.
  for (let round = 0; round < 10; round += 1) {
    const controller = new AbortController();
    const { signal } = controller;
    const failing = (async function* () {
      yield Buffer.from('a');
      throw new Error('the source');
    })();
    const stream = new ReadableStream({
      pull() {
        throw new Error('the source');
      },
      cancel() {
        throw new Error('the source again');
      },
    });
    const waiting = [
      session.fetch('/slow', { signal }).catch(ignore),
      session.fetch('/echo', { method: 'POST', body: failing, signal }).catch(ignore),
      session.fetch('/echo', { method: 'POST', body: stream, signal }).catch(ignore),
    ];
    // A response whose body is aborted and never read.
    await session.fetch('/large?bytes=3000000', { signal });
    controller.abort();
    await Promise.all(waiting);
  }
  const response = await session.fetch('/large?bytes=3000000');
  await response.body.cancel();
  await new Promise((resolve) => setTimeout(resolve, 200));
  session.close();
  await new Promise((resolve) => setTimeout(resolve, 50));
  console.log('ended');
  process.exit(0);
}

main();
