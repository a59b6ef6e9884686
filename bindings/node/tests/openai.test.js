'use strict';

const assert = require('node:assert/strict');
const { File } = require('node:buffer');
const http = require('node:http');
const { after, before, test } = require('node:test');

const { DebugMode, InvalidRequest } = require('@blindbox/attestation');

const { Emulator } = require('./emulator');

let OpenAI;
try {
  OpenAI = require('openai');
} catch {
  console.error('SKIPPED: the tests with the package openai, which is not installed');
}

/** An OpenAI-compatible server with two words. */
function respondTo(asked, response) {
  if (asked.stream) {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const content of ['hello ', 'world']) {
      response.write(`data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`);
    }
    response.end('data: [DONE]\n\n');
    return;
  }
  const message = { role: 'assistant', content: 'hello world' };
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ id: '1', choices: [{ index: 0, message, finish_reason: 'stop' }] }));
}

let server;
let emulator;
let received = '';

before(async () => {
  server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (data) => (body += data));
    request.on('end', () => {
      received = body;
      if (request.url.startsWith('/v1/chat')) return respondTo(JSON.parse(body), response);
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ text: 'heard' }));
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  emulator = await Emulator.start('--application', `http://127.0.0.1:${server.address().port}`);
});
after(async () => {
  await emulator.stop();
  server.closeAllConnections();
  server.close();
});

test('the package openai over a session', { skip: OpenAI === undefined }, async () => {
  const session = await emulator.connect();
  const client = new OpenAI({ baseURL: `${session.url}/v1`, apiKey: 'k', fetch: session.fetch });
  const question = { model: 'm', messages: [{ role: 'user', content: 'hi' }] };
  const whole = await client.chat.completions.create(question);
  assert.equal(whole.choices[0].message.content, 'hello world');
  let words = '';
  for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
    words += chunk.choices[0].delta.content;
  }
  assert.equal(words, 'hello world');
  const file = new File(['sound'], 'speech.wav');
  const heard = await client.audio.transcriptions.create({ model: 'm', file });
  assert.equal(heard.text, 'heard');
  assert.match(received, /sound/);
  const elsewhere = new OpenAI({ baseURL: 'https://evil.example/v1', apiKey: 'k', fetch: session.fetch, maxRetries: 0 });
  await assert.rejects(elsewhere.chat.completions.create(question), (error) => error.cause instanceof InvalidRequest);
  await emulator.order('knob debug');
  await assert.rejects(session.reattest(), DebugMode);
  session.close();
});
