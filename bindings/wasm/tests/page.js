// The page in headless Chromium: real evidence and the emulator's, every check as a table, nothing sent, usable by keyboard.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';

import { Browser } from './browser.js';
import { emulated } from './emulator.js';

const PAGE = pathToFileURL(process.env.BLINDBOX_PAGE).href;
const SCREENSHOTS = process.env.BLINDBOX_SCREENSHOTS;
const VECTORS = process.env.BLINDBOX_VECTORS;

let browser;
const requests = [];
const faults = [];

before(async () => {
  browser = await Browser.open(process.env.BLINDBOX_BROWSER);
  browser.listen(({ method, params }) => {
    if (method === 'Network.requestWillBeSent') requests.push(params.request.url);
    if (method === 'Runtime.exceptionThrown') faults.push(params.exceptionDetails.text);
    if (method === 'Log.entryAdded' && params.entry.level === 'error') faults.push(params.entry.text);
  });
  if (SCREENSHOTS !== undefined) mkdirSync(SCREENSHOTS, { recursive: true });
});

after(async () => {
  await browser.close();
});

async function open(width = 1280) {
  await browser.send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: false });
  await browser.visit(PAGE);
}

async function screenshot(name) {
  if (SCREENSHOTS !== undefined) writeFileSync(path.join(SCREENSHOTS, `${name}.png`), await browser.screenshot());
}

const text = (selector) => browser.evaluate(`document.querySelector(${JSON.stringify(selector)}).innerText`);

/** The rows of a table: the texts of their cells. */
const rows = (selector) =>
  browser.evaluate(`[...document.querySelectorAll(${JSON.stringify(`${selector} tbody tr`)})].map((row) => [...row.cells].map((cell) => cell.innerText))`);

const inDirectory = (directory) => readdirSync(directory).map((name) => path.join(directory, name));

async function verify() {
  await browser.until("!document.querySelector('#verify').disabled");
  await browser.evaluate("document.querySelector('#verify').click()");
  await browser.until("document.querySelector('#verdict').innerText !== ''");
}

test('a directory of fetch: accepted, and every check is a row', async () => {
  await emulated(['--product', 'milan'], async ({ files, saved, at }) => {
    await open();
    await browser.choose('#files', inDirectory(saved));
    await browser.until("document.querySelectorAll('#file-table tbody tr').length > 5");
    await browser.choose('#key-set', [path.join(files, 'key-set.json')]);
    await browser.choose('#amd-roots', [path.join(files, 'amd-roots.pem')]);
    assert.equal(await browser.evaluate("document.querySelector('#at').value"), String(at));
    assert.match(await text('#at-hint'), /the time that the files state/);
    assert.match(await text('#lint'), /The policy is valid/);
    await verify();
    assert.match(await text('#verdict'), /^Accepted for .* neither fresh nor bound to a connection\. With roots that are not AMD's/);
    const checks = await rows('#checks');
    assert(checks.length > 10);
    assert(checks.every(([, verdict]) => ['passed', 'allowed', 'not evaluated'].includes(verdict)));
    await screenshot('accepted');
    // Without the key set from elsewhere nothing is accepted.
    await browser.evaluate("{ const input = document.querySelector('#key-set'); input.value = ''; input.dispatchEvent(new Event('change')); }");
    await verify();
    assert.match(await text('#verdict'), /Refused[\s\S]*key-set-not-authenticated/);
  });
});

test('files never replace what the user chose, and the verdict names what they chose', async () => {
  await emulated([], async ({ saved }) => {
    await open();
    await browser.evaluate("{ const policy = document.querySelector('#policy'); policy.value = 'kind = 1'; policy.dispatchEvent(new Event('input')); const at = document.querySelector('#at'); at.value = '1774000000'; at.dispatchEvent(new Event('input')); }");
    await browser.choose('#files', inDirectory(saved));
    await browser.until("document.querySelectorAll('#file-table tbody tr').length > 3");
    assert.match(await text('#verdict'), /policy\.toml: not used, since a policy was entered/);
    assert.equal(await browser.evaluate("document.querySelector('#policy').value"), 'kind = 1');
    assert.equal(await browser.evaluate("document.querySelector('#at').value"), '1774000000');
    // The page as it begins takes both from the files, and the verdict says so.
    await open();
    await browser.choose('#files', inDirectory(saved));
    await browser.until("document.querySelectorAll('#file-table tbody tr').length > 3");
    await browser.choose('#key-set', [path.join(saved, 'key-set.json')]);
    await verify();
    assert.match(
      await text('#verdict'),
      /^Accepted for .*The policy and the time came with the files: their author chose it\. The key set has the bytes of one of the files: that it came from elsewhere is your assertion\.$/,
    );
    // The same file again changes nothing; another one of its name does not take its place.
    await browser.choose('#files', [path.join(saved, 'token.jwt')]);
    await browser.until("document.querySelector('#verdict').innerText === ''");
    await browser.evaluate(`{
      const files = new DataTransfer();
      files.items.add(new File(['another'], 'token.jwt'));
      const input = document.querySelector('#files');
      input.files = files.files;
      input.dispatchEvent(new Event('change'));
    }`);
    await browser.until("document.querySelector('#verdict').innerText !== ''");
    assert.match(await text('#verdict'), /token\.jwt: a file of this name is there with another content/);
  });
});

test('a debug guest: refused, with the checks that failed', async () => {
  await emulated(['--knob', 'debug'], async ({ files, saved }) => {
    await open();
    await browser.choose('#files', inDirectory(saved));
    await browser.until("document.querySelectorAll('#file-table tbody tr').length > 3");
    await browser.choose('#key-set', [path.join(files, 'key-set.json')]);
    await verify();
    assert.match(await text('#verdict'), /Refused[\s\S]*debug-mode \(101, rejected\)/);
    const failed = (await rows('#checks')).filter(([, verdict]) => verdict === 'failed');
    assert(failed.some(([name]) => name.includes('debug')), JSON.stringify(failed));
    await screenshot('refused');
    // Another policy: the verdict on the former is gone.
    await browser.evaluate("document.querySelector('#policy').value = 'kind = 1'; document.querySelector('#policy').dispatchEvent(new Event('input'))");
    assert.equal(await text('#verdict'), '');
    assert.match(await text('#lint'), /invalid-policy[\s\S]*line 1/);
  });
});

test('real evidence', { skip: VECTORS === undefined || !existsSync(VECTORS) }, async () => {
  const directory = path.join(VECTORS, 'snp-aci-milan-v3-20250617');
  const expected = JSON.parse(readFileSync(path.join(directory, 'expected.json')));
  await open();
  await browser.choose('#files', ['report.bin', 'vcek.der', 'uvm.cose', 'README.md'].map((name) => path.join(directory, name)));
  await browser.until("document.querySelectorAll('#file-table tbody tr').length === 4");
  const files = Object.fromEntries((await rows('#file-table')).map(([name, , kind, use, verified]) => [name, { kind, use, verified }]));
  assert.deepEqual([files['report.bin'].kind, files['report.bin'].use], ['report', 'report.bin']);
  assert.deepEqual([files['uvm.cose'].kind, files['uvm.cose'].use], ['endorsement', 'uvm-endorsement.cose']);
  assert.equal(files['README.md'].use, 'not used');
  assert.match(files['uvm.cose'].verified, /^yes/);
  assert((await browser.evaluate("document.querySelector('#contents').textContent")).includes(expected.measurement));
  const policy = (hostData) => JSON.stringify({
    version: 1,
    kind: 'confidential-container',
    trust: { amd: { revocation: 'allow-off' } },
    workload: { binding: 'own-key', 'host-data': [hostData] },
    uvm: { 'minimum-svn': 101 },
  });
  const set = async (hostData) => {
    const script = `{ const policy = document.querySelector('#policy'); policy.value = ${JSON.stringify(policy(hostData))}; policy.dispatchEvent(new Event('input')); const at = document.querySelector('#at'); at.value = '1774000000'; at.dispatchEvent(new Event('input')); }`;
    await browser.evaluate(script);
    await verify();
  };
  await set('5a'.repeat(32));
  assert.match(await text('#verdict'), /Refused[\s\S]*invalid-enclave-code/);
  const found = (await rows('#checks')).find(([name]) => name === 'workload');
  assert.equal(found[1], 'failed');
  assert(found[3].includes(expected.host_data), JSON.stringify(found));
  await screenshot('real');
});

test('it is usable by keyboard and by assistive technology', async () => {
  await open();
  const { nodes } = await browser.send('Accessibility.getFullAXTree');
  const named = (role) => nodes.filter((node) => !node.ignored && node.role?.value === role).map((node) => node.name?.value ?? '');
  for (const role of ['button', 'textbox', 'heading']) {
    const names = named(role);
    assert(names.length > 0, role);
    assert(names.every((name) => name.trim() !== ''), `${role}: ${JSON.stringify(names)}`);
  }
  // Each input has a label, the regions of results announce what changes.
  assert(await browser.evaluate("[...document.querySelectorAll('input, textarea')].every((one) => one.labels.length > 0)"));
  assert(await browser.evaluate("document.querySelector('#verdict').getAttribute('aria-live') === 'polite'"));
  assert.equal(await browser.evaluate('document.documentElement.lang'), 'en');
  // The order of the keyboard.
  const order = [];
  for (let count = 0; count < 6; count += 1) {
    await browser.press('Tab');
    order.push(await browser.evaluate('document.activeElement.id'));
  }
  assert.deepEqual(order, ['files', 'directory', 'policy', 'key-set', 'amd-roots', 'at']);
  // Contrast of text of each colour against what is behind it, in both schemes (WCAG 2.2, 1.4.3: 4.5).
  for (const scheme of ['light', 'dark']) {
    await browser.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    const colours = await browser.evaluate(`Object.fromEntries(['text', 'quiet', 'link', 'good', 'bad', 'warn', 'back', 'panel'].map((name) => [name, getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim()]))`);
    for (const front of ['text', 'quiet', 'link', 'good', 'bad', 'warn']) {
      for (const back of ['back', 'panel']) {
        const ratio = contrast(colours[front], colours[back]);
        assert(ratio >= 4.5, `${scheme}: ${front} on ${back}: ${ratio}`);
      }
    }
  }
  await browser.send('Emulation.setEmulatedMedia', { features: [] });
  // A narrow screen: tables scroll by themselves, the page does not.
  await open(360);
  assert(await browser.evaluate('document.documentElement.scrollWidth <= 360'));
});

function contrast(one, other) {
  const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (high + 0.05) / (low + 0.05);
}

function luminance(colour) {
  const [red, green, blue] = colour.match(/[0-9a-f]{2}/gi).map((digits) => {
    const value = Number.parseInt(digits, 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

test('markup in a name or in evidence stays text', async () => {
  await open();
  await browser.evaluate(`{
    const files = new DataTransfer();
    files.items.add(new File(['{"keys":[]}'], '<img src=x onerror=document.title=1>\\u202e.json'));
    const input = document.querySelector('#files');
    input.files = files.files;
    input.dispatchEvent(new Event('change'));
  }`);
  await browser.until("document.querySelectorAll('#file-table tbody tr').length === 1");
  assert.equal(await browser.evaluate("document.querySelectorAll('#file-table img').length"), 0);
  const [[name]] = await rows('#file-table');
  assert.equal(name, '<img src=x onerror=document.title=1>\\u{202e}.json');
});

test('dropped files', async () => {
  await open();
  await browser.evaluate(`{
    const data = new DataTransfer();
    for (const name of ['key-set.json', 'policy.toml']) data.items.add(new File(['{"keys":[]}'], name));
    document.querySelector('#drop').dispatchEvent(new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true }));
  }`);
  await browser.until("document.querySelectorAll('#file-table tbody tr').length === 2");
  assert.equal(await browser.evaluate("document.querySelector('#policy').value"), '{"keys":[]}');
  assert.match(await text('#lint'), /invalid-policy/);
});

test('nothing is sent: the page forbids itself every connection', async () => {
  await open();
  const policy = await browser.evaluate("document.querySelector('meta[http-equiv=Content-Security-Policy]').content");
  assert.match(policy, /^default-src 'none'; script-src 'sha256-[^']+' 'wasm-unsafe-eval'; style-src 'sha256-[^']+'; base-uri 'none'; form-action 'none'$/);
  // No other page, image, script or request than the page itself, in all tests so far.
  assert.deepEqual([...new Set(requests)].filter((url) => url !== PAGE && url !== 'about:blank'), []);
  assert.deepEqual(faults, []);
  // And an attempt fails.
  for (const attempt of ["fetch('http://127.0.0.1:9/')", "fetch('file:///')", "new Promise((_, reject) => { const image = new Image(); image.onerror = () => reject(new Error('refused')); image.src = 'http://127.0.0.1:9/'; })"]) {
    await assert.rejects(browser.evaluate(attempt));
  }
  assert.equal(await browser.evaluate("(() => { try { return eval('1') } catch { return 'refused' } })()"), 'refused');
});
