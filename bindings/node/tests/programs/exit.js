'use strict';

const connect = require('./session');

async function* endless() {
  for (;;) {
    yield Buffer.alloc(1000);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

connect().then(async (session) => {
  for (let number = 0; number < 20; number += 1) {
    session.fetch('/slow');
  }
  session.fetch('/echo', { method: 'POST', body: endless() });
  connect();
  const response = await session.fetch('/large?bytes=3000000');
  response.arrayBuffer();
  console.log('ended');
  process.exit(0);
});
