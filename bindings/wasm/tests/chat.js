// The chat in headless Chromium, from another origin than the front end: it verifies, chats, and shows refusals.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';

import { Browser } from './browser.js';
import { behind } from './front_end.js';

const DIST = path.dirname(process.env.BLINDBOX_WASM);
const SCREENSHOTS = process.env.BLINDBOX_SCREENSHOTS;
const SECRET = 'the-secret-of-this-test';
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.wasm': 'application/wasm' };

let browser;
let server;
let origin;
/** What the page's own server serves beside the files of the build. */
let documents = {};
const faults = [];

before(async () => {
  server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://page');
    try {
      const content = documents[pathname] ?? readFileSync(path.join(DIST, pathname));
      response.writeHead(200, { 'content-type': TYPES[path.extname(pathname)] ?? 'application/json' }).end(content);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${server.address().port}`;
  browser = await Browser.open(process.env.BLINDBOX_BROWSER, ['127.0.0.1']);
  browser.listen(({ method, params }) => {
    if (method === 'Runtime.exceptionThrown') faults.push(params.exceptionDetails.text);
  });
  if (SCREENSHOTS !== undefined) mkdirSync(SCREENSHOTS, { recursive: true });
});

after(async () => {
  await browser.close();
  server.closeAllConnections();
  server.close();
});

/** Runs work with the page open before an emulated BlindBox. */
async function chatting(options, work, allowed = origin) {
  await behind(['--allow-origin', allowed, ...options], async (front) => {
    documents = {
      '/chat/config.json': JSON.stringify({ url: front.url, policy: 'policy.toml', keySet: 'key-set.json', path: '/generate' }),
      '/chat/policy.toml': front.policy,
      '/chat/key-set.json': front.file('key-set.json'),
    };
    await browser.visit(`${origin}/chat/index.html`);
    await work(front);
    assert.deepEqual(faults, []);
  });
}

const text = (selector) => browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).innerText`);
const isHidden = (selector) => browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).hidden`);

async function screenshot(name) {
  if (SCREENSHOTS !== undefined) writeFileSync(path.join(SCREENSHOTS, `chat-${name}.png`), await browser.screenshot());
}

/** Writes a message by keyboard alone, and returns the last entry once it stands. */
async function say(message) {
  await browser.evaluate("document.querySelector('#prompt').focus()");
  await browser.send('Input.insertText', { text: message });
  await browser.press('Tab');
  await browser.press('Enter', '\r');
  await browser.until("!document.querySelector('#prompt').disabled || !document.querySelector('#refusal').hidden");
  return text('#log li:last-child');
}

/** Nothing was sealed, and the application got no byte. */
async function assertRefused(front, code) {
  assert.equal(await text('#refusal-code'), code);
  assert.match(await text('#state'), /Nothing is sent/);
  assert.equal(await isHidden('#verified'), true);
  assert.equal(await browser.evaluate("document.querySelector('#prompt').disabled && document.activeElement.id === 'refusal'"), true);
  const { application_bytes, application_requests } = await front.order('traffic');
  assert.deepEqual([application_bytes, application_requests], [0, 0]);
}

test('it verifies, shows every check, and chats; the front end sees nothing', async () => {
  await chatting([], async (front) => {
    assert.match(await text('#state'), /^Verified: \d+ checks/);
    assert.equal(await isHidden('#refusal'), true);
    await browser.evaluate("document.querySelector('#verified').open = true");
    const rows = await browser.evaluate("[...document.querySelectorAll('#checks tr')].map((row) => row.cells[1].innerText)");
    assert(rows.length > 10 && rows.every((verdict) => verdict !== 'failed'));
    assert.match(await text('#facts'), /[0-9a-f]{64}/);
    assert.match(await say(SECRET), new RegExp(`a response to: ${SECRET}`));
    assert.match(await say('and again'), /a response to: and again/);
    assert.equal((await front.order(`seen ${SECRET}`)).seen, 0);
    assert.equal((await front.order('traffic')).application_requests, 2);
    await screenshot('verified');
  });
});

test('a debug guest is refused, and gets nothing', async () => {
  await chatting(['--knob', 'debug'], async (front) => {
    await assertRefused(front, 'debug-mode');
    assert.match(await text('#refusal-checks'), /debug/);
    await screenshot('refused');
    // The same page verifies again when the guest is another.
    await front.order('reset');
    await browser.evaluate("document.querySelector('#retry').click()");
    await browser.until("document.querySelector('#refusal').hidden");
    assert.match(await say('now'), /a response to: now/);
  });
});

test('a front end with a key of its own is refused, and reads nothing', async () => {
  await chatting(['--knob', 'front-end-own-message-key'], (front) => assertRefused(front, 'false-attestation-report'));
});

test('a page that the front end does not allow gets no evidence', async () => {
  await chatting([], (front) => assertRefused(front, 'agent-unreachable'), 'https://other.example');
});

test('a response that is cut is none, and the conversation goes on', async () => {
  await chatting([], async (front) => {
    await front.order('knob front-end-response-without-final-chunk');
    assert.match(await say(SECRET), /No complete response \(application-unreachable\)[\s\S]*may have been processed/);
    await front.order('reset');
    assert.match(await say('once more'), /a response to: once more/);
    await front.restart();
    assert.match(await say(SECRET), /No complete response \(application-unreachable\)/);
    // The next message is sealed to the new key, which is attested first.
    assert.match(await say('to the new key'), /a response to: to the new key/);
    await front.restart();
    await front.order('knob debug');
    assert.match(await say('lost'), /application-unreachable/);
    assert.match(await say(SECRET), /debug-mode/);
    assert.equal(await text('#refusal-code'), 'debug-mode');
    assert.equal((await front.order(`seen ${SECRET}`)).seen, 0);
  });
});

test('a response that is piped is read to its end, whatever is collected meanwhile', async () => {
  await chatting([], async (front) => {
    const length = await browser.evaluate(`(async () => {
      const { connect } = await import('/session.js');
      const near = async (name) => (await fetch('/chat/' + name)).text();
      const session = await connect(${JSON.stringify(front.url)}, await near('policy.toml'), { keySet: '/chat/key-set.json' });
      const response = await session.fetch('/large?bytes=3000000');
      const reader = response.body.pipeThrough(new TransformStream()).getReader();
      let length = 0;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return length;
        length += value.length;
        // Collections of young objects drop those of the page that the browser can make again: a stream that is piped is one.
        for (let i = 0, some = []; i < 200_000; i += 1) some = [some[0], { some: [i] }];
      }
    })()`);
    assert.equal(length, 3_000_000);
  });
});

test('a megabyte in both directions, from memory and from a stream', async () => {
  await chatting([], async (front) => {
    const outcome = await browser.evaluate(`(async () => {
      const { connect } = await import('/session.js');
      const near = async (name) => (await fetch('/chat/' + name)).text();
      const session = await connect(${JSON.stringify(front.url)}, await near('policy.toml'), { keySet: '/chat/key-set.json' });
      const sent = new Uint8Array(1 << 20).map((_, at) => at * 7);
      const pieces = () => {
        let at = 0;
        return new ReadableStream({
          pull(controller) {
            controller.enqueue(sent.slice(at, (at += 1 << 16)));
            if (at === sent.length) controller.close();
          },
        });
      };
      const lengths = [];
      for (const body of [sent, new Blob([sent]), pieces()]) {
        const response = await session.fetch('/echo', { method: 'POST', body });
        const found = new Uint8Array(await response.arrayBuffer());
        lengths.push(found.every((byte, at) => byte === sent[at]) ? found.length : -1);
      }
      const aborted = new AbortController();
      const slow = session.fetch('/slow?ms=60000', { signal: aborted.signal });
      setTimeout(() => aborted.abort(new Error('no longer')), 50);
      lengths.push(await slow.catch((error) => error.message));
      session.close();
      lengths.push(await session.fetch('/').catch((error) => error.code));
      return lengths;
    })()`);
    assert.deepEqual(outcome, [1 << 20, 1 << 20, 1 << 20, 'no longer', 'closed']);
  });
});
