// The chat in headless Chromium, from another origin than the front end: it verifies, chats, and shows refusals.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { after, before, test } from 'node:test';

import { behind } from './front_end.js';
import { Site } from './site.js';

const PAGE = readFileSync(new URL('../chat/index.html', import.meta.url), 'utf8');
const SECRET = 'the-secret-of-this-test';

let site;
let browser;

before(async () => {
  site = await Site.open();
  browser = site.browser;
});

after(() => site.close());

/** Runs work with the page open before an emulated BlindBox. */
async function chatting(options, work, allowed = site.origin) {
  await behind(['--allow-origin', allowed, ...options], async (front) => {
    site.documents = {
      '/chat/index.html': PAGE.replace('https://my-app.example', front.url),
      '/chat/config.json': JSON.stringify({ url: front.url, policy: 'policy.toml', keySet: 'key-set.json', path: '/generate' }),
      '/chat/policy.toml': front.policy,
      '/chat/key-set.json': front.file('key-set.json'),
    };
    await browser.visit(`${site.origin}/chat/index.html`);
    await work(front);
    assert.deepEqual(site.faults, []);
  });
}

const text = (selector) => browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).innerText`);
const isHidden = (selector) => browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).hidden`);

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
    await site.screenshot('chat-verified.png');
  });
});

test('a debug guest is refused, and gets nothing', async () => {
  await chatting(['--knob', 'debug'], async (front) => {
    await assertRefused(front, 'debug-mode');
    assert.match(await text('#refusal-checks'), /debug/);
    await site.screenshot('chat-refused.png');
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

test('a response without content, and JSON without a text, are shown as they are', async () => {
  const responses = [
    [204, {}, '', 'The application responded with the status 204, without content.'],
    [200, { 'content-type': 'application/json' }, '{"text": "cut', '{"text": "cut'],
    [200, { 'content-type': 'application/json' }, 'null', 'null'],
    [500, { 'content-type': 'application/json' }, '{"text": "sorry"}', 'The application responded with the status 500: sorry'],
  ];
  let next;
  const application = http.createServer((request, response) => {
    const [status, headers, content] = next;
    request.resume().on('end', () => response.writeHead(status, headers).end(content));
  });
  await new Promise((resolve) => application.listen(0, '127.0.0.1', resolve));
  try {
    await chatting(['--application', `http://127.0.0.1:${application.address().port}`], async () => {
      for (const response of responses) {
        next = response;
        assert.equal(await say('hello'), `Application\n${response[3]}`);
        assert.match(await text('#state'), /^Verified: /);
      }
    });
  } finally {
    application.closeAllConnections();
    application.close();
  }
});
