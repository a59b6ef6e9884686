'use strict';

const connect = require('./session');

/** Collects garbage until all that can be collected is gone. */
async function collect() {
  for (let round = 0; round < 5; round += 1) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    global.gc();
  }
}

/** The only reference to the `Request` is what the session keeps. */
const send = (session, target, signal) => session.fetch(new Request(`${session.url}${target}`, { signal }));

async function isAborted(promise) {
  return promise.then(
    () => false,
    (error) => error.name === 'AbortError',
  );
}

async function main() {
  const session = await connect();
  const sending = new AbortController();
  const sent = isAborted(send(session, '/slow', sending.signal));
  await collect();
  sending.abort();
  console.log('while it is sent:', await sent);
  const reading = new AbortController();
  const response = await send(session, '/large?bytes=3000000', reading.signal);
  await collect();
  reading.abort();
  console.log('while its response is read:', await isAborted(response.text()));
  session.close();
}

main();
