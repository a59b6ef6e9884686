// A chat with an application in a TEE. `config.json` beside this page names the application, its policy and the key set of MAA:
// {"url": "https://my-app.example", "policy": "policy.toml", "keySet": "key-set.json", "path": "/generate"}; `amdRoots` is for tests. The
// content security policy of index.html names it too.

import { AttestationError, connect } from '../session.js';

const element = (id) => document.getElementById(id);
const near = async (name) => {
  const response = await fetch(new URL(name, document.baseURI), { cache: 'no-store' });
  if (!response.ok) throw new Error(`${name}: status ${response.status}`);
  return response;
};

let session = null;
let config = null;

function say(text) {
  element('state').textContent = text;
}

function enable(enabled) {
  for (const id of ['prompt', 'send']) element(id).disabled = !enabled;
}

function row(...texts) {
  const tr = document.createElement('tr');
  for (const text of texts) tr.insertCell().textContent = text;
  return tr;
}

function showVerified() {
  const { attestation, appraisal } = session;
  element('refusal').hidden = true;
  element('verified').hidden = false;
  element('front-end').textContent = new URL(session.url).host;
  const facts = {
    'Message key (SHA-256)': attestation.message_key,
    'Name of the server': attestation.server_name,
    'Verified at': new Date(attestation.issued_at * 1000).toISOString(),
    'Valid until': new Date(attestation.expires_at * 1000).toISOString(),
  };
  element('facts').replaceChildren(
    ...Object.entries(facts).flatMap(([name, value]) => ['dt', 'dd'].map((tag) => Object.assign(document.createElement(tag), { textContent: tag === 'dt' ? name : value }))),
  );
  element('checks').replaceChildren(...appraisal.map(({ name, verdict, expected, actual }) => row(name, verdict, expected, actual)));
  say(`Verified: ${appraisal.length} checks. Messages are sealed to the attested application.`);
  enable(true);
}

/** Whether the error is about the evidence; others concern one request. */
const isRefusal = (error) => ['rejected', 'untrusted', 'internal'].includes(error.category) || error.code === 'session-poisoned';

function showRefusal(error) {
  enable(false);
  element('verified').hidden = true;
  element('refusal').hidden = false;
  element('refusal-code').textContent = error instanceof AttestationError ? error.code : 'error';
  element('refusal-message').textContent = error.message;
  const failed = (error.appraisal ?? []).filter(({ verdict }) => verdict === 'failed');
  element('refusal-checks').replaceChildren(
    ...failed.map(({ name, expected, actual }) => Object.assign(document.createElement('li'), { textContent: `${name}: expected ${expected}, found ${actual}` })),
  );
  say('Not verified. Nothing is sent.');
  element('refusal').focus();
}

async function verify() {
  enable(false);
  say('Verifying the application …');
  try {
    if (session === null) {
      config = await (await near('config.json')).json();
      const options = { keySet: config.keySet === undefined ? undefined : new URL(config.keySet, document.baseURI) };
      if (config.amdRoots !== undefined) options.amdRoots = await (await near(config.amdRoots)).text();
      session = await connect(config.url, await (await near(config.policy)).text(), options);
    } else {
      await session.reattest();
    }
    showVerified();
  } catch (error) {
    showRefusal(error);
  }
}

function entry(author, text) {
  const item = document.createElement('li');
  item.append(Object.assign(document.createElement('b'), { textContent: author }), text);
  element('log').append(item);
  return item.lastChild;
}

/** Shows text while it arrives; of JSON, the member `text`. */
async function show(response, node) {
  const isJson = response.headers.get('content-type')?.includes('json');
  let found = '';
  // A response such as 204 has no content.
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done) break;
    found += value;
    if (!isJson) node.data = found;
  }
  node.data = isJson ? textOf(found) : found;
  return found !== '';
}

/** The member `text` of JSON; what is something else, as it is. */
function textOf(json) {
  try {
    const { text } = JSON.parse(json);
    return typeof text === 'string' ? text : json;
  } catch {
    return json;
  }
}

async function send(prompt) {
  entry('You', prompt);
  const node = entry('Application', '…');
  enable(false);
  try {
    const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ prompt }) };
    const response = await session.fetch(config.path, request);
    const hasContent = await show(response, node);
    const status = `The application responded with the status ${response.status}`;
    if (!hasContent) node.data = `${status}, without content.`;
    else if (!response.ok) node.data = `${status}: ${node.data}`;
    showVerified();
  } catch (error) {
    node.data = `No complete response (${error.code ?? error.name}): ${error.message}${error.requestSent ? ' It may have been processed.' : ''}`;
    if (isRefusal(error)) return showRefusal(error);
    enable(true);
    say('The last message has no complete response. Verified as before; the next message is sealed again.');
  }
  element('prompt').focus();
}

element('form').addEventListener('submit', (event) => {
  event.preventDefault();
  const prompt = element('prompt').value.trim();
  if (prompt === '') return;
  element('prompt').value = '';
  send(prompt);
});
element('retry').addEventListener('click', verify);
await verify();
document.documentElement.dataset.ready = 'true';
