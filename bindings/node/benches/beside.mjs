// Compares the `fetch` of a session with the one of Node and that of undici, to the same emulated application.
//
// Each client keeps its connection. They take turns in one run, so that what else the machine does meets all of them; the ratio of the
// medians is the result that transfers to other machines.

import { performance } from 'node:perf_hooks';

import { Policy, verifyConnection } from '@blindbox/attestation';
import * as undici from 'undici';

const { BLINDBOX_URL: url, BLINDBOX_POLICY, BLINDBOX_APPLICATION_ROOT, BLINDBOX_COLLATERAL_ROOT } = process.env;
const megabyte = Buffer.alloc(1 << 20, 'blindbox');
const rounds = Number(process.argv[2] ?? 20);

/** By name: how often a turn repeats it, what is sent, and how many bytes come back. */
const cases = {
  'GET, 21 bytes': { repeats: 50, target: '/', options: {}, size: 21 },
  '1 MB down': { repeats: 4, target: `/large?bytes=${megabyte.length}`, options: {}, size: megabyte.length },
  '1 MB up and down': { repeats: 4, target: '/echo', options: { method: 'POST', body: megabyte }, size: megabyte.length },
};

const session = await verifyConnection(url, Policy.fromFile(BLINDBOX_POLICY), {
  applicationRoots: BLINDBOX_APPLICATION_ROOT,
  collateralRoots: BLINDBOX_COLLATERAL_ROOT,
});

const bytesOf = async (response) => (await response.arrayBuffer()).byteLength;
const clients = {
  'session.fetch': async (target, options) => bytesOf(await session.fetch(target, options)),
  'fetch of Node': async (target, options) => bytesOf(await fetch(url + target, options)),
  'fetch of undici': async (target, options) => bytesOf(await undici.fetch(url + target, options)),
};

/** The ratio that is to be reached: case, peer, goal. */
const goals = ['fetch of undici', 'fetch of Node'].flatMap((peer) => [
  ['GET, 21 bytes', peer, 1.0],
  ['1 MB down', peer, 1.2],
  ['1 MB up and down', peer, 1.2],
]);

const times = {};
const names = Object.keys(clients);
for (let turn = 0; turn <= rounds; turn += 1) {
  // In another order each time.
  const first = turn % names.length;
  for (const name of [...names.slice(first), ...names.slice(0, first)]) {
    for (const [label, { repeats, target, options, size }] of Object.entries(cases)) {
      for (let count = 0; count < repeats; count += 1) {
        const began = performance.now();
        const found = await clients[name](target, options);
        const took = performance.now() - began;
        if (found !== size) throw new Error(`${name}, ${label}: expected ${size} bytes, found ${found}`);
        // The first turn opens connections, and compiles.
        if (turn > 0) ((times[name] ??= {})[label] ??= []).push(took);
      }
    }
  }
}

function median(values) {
  const sorted = values.slice().sort((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

const labels = Object.keys(cases);
console.log(''.padEnd(20) + labels.map((label) => label.padStart(26)).join(''));
for (const name of names) {
  const row = labels.map((label) => `${Math.round(median(times[name][label]) * 1000)} us`.padStart(26));
  console.log(name.padEnd(20) + row.join(''));
}
console.log();
for (const [label, peer, goal] of goals) {
  const ratio = median(times['session.fetch'][label]) / median(times[peer][label]);
  const verdict = ratio <= goal ? 'met' : 'MISSED';
  console.log(`${`session.fetch / ${peer}, ${label}`.padEnd(55)} ${ratio.toFixed(2).padStart(5)}  goal ${goal.toFixed(1)}  ${verdict}`);
}
session.close();
// Connections of undici would keep the process for some seconds.
await undici.getGlobalDispatcher().close();
