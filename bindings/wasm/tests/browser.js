// Headless Chromium by its debugging protocol over pipes: no package, no port.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** How long an event may take, in milliseconds. */
const LIMIT = 300_000;

export class Browser {
  #pending = new Map();
  #listeners = [];
  #last = 0;
  #rest = '';

  /** Opens it. It resolves no name but those given, and no address, and trusts the emulator's certificates where some are. */
  static async open(program, hosts = []) {
    const browser = new Browser();
    browser.directory = mkdtempSync(path.join(tmpdir(), 'blindbox-chromium-'));
    // Cookies of other sites, which some builds block: a user may allow them.
    mkdirSync(path.join(browser.directory, 'Default'));
    writeFileSync(path.join(browser.directory, 'Default', 'Preferences'), JSON.stringify({ profile: { cookie_controls_mode: 0 } }));
    browser.process = spawn(
      program,
      [
        '--headless',
        '--remote-debugging-pipe',
        '--no-sandbox',
        '--disable-gpu',
        '--disable-dev-shm-usage',
        '--no-first-run',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-proxy-server',
        `--host-resolver-rules=${['MAP * ~NOTFOUND', ...hosts.map((host) => `EXCLUDE ${host}`)].join(', ')}`,
        ...(hosts.length > 0 ? ['--ignore-certificate-errors'] : []),
        `--user-data-dir=${browser.directory}`,
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    browser.ended = new Promise((resolve) => browser.process.once('exit', resolve));
    const output = browser.process.stdio[4];
    output.setEncoding('utf8');
    output.on('data', (chunk) => browser.#receive(chunk));
    browser.process.stdio[3].on('error', () => {});
    browser.ended.then(() => browser.#fail(new Error('the browser ended')));
    const { targetId } = await browser.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await browser.send('Target.attachToTarget', { targetId, flatten: true });
    browser.session = sessionId;
    for (const domain of ['Page', 'Runtime', 'Network', 'Log', 'DOM', 'Accessibility']) await browser.send(`${domain}.enable`);
    return browser;
  }

  #receive(chunk) {
    const messages = (this.#rest + chunk).split('\0');
    this.#rest = messages.pop();
    for (const text of messages) {
      const message = JSON.parse(text);
      const waiting = this.#pending.get(message.id);
      if (waiting === undefined) {
        this.#listeners.forEach((listener) => listener(message));
      } else {
        this.#pending.delete(message.id);
        if (message.error === undefined) waiting.resolve(message.result);
        else waiting.reject(new Error(JSON.stringify(message.error)));
      }
    }
  }

  #fail(error) {
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  listen(listener) {
    this.#listeners.push(listener);
  }

  send(method, params = {}) {
    this.#last += 1;
    const id = this.#last;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${method}: no answer`)), LIMIT);
      const settle = (then) => (value) => {
        clearTimeout(timer);
        then(value);
      };
      this.#pending.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`);
    });
  }

  /** Evaluates an expression in the page. */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true, allowUnsafeEvalBlockedByCSP: false });
    if (exceptionDetails !== undefined) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Waits until an expression is true. */
  async until(expression) {
    for (const end = Date.now() + LIMIT; Date.now() < end; ) {
      // What is evaluated in a page that is just replaced has no result.
      const isTrue = await this.evaluate(expression).catch((error) => {
        if (!/context was destroyed|Cannot find (default )?context|navigated or closed/.test(error.message)) throw error;
      });
      if (isTrue) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`it did not become true: ${expression}; the page: ${await this.evaluate('document.body.innerText')}`);
  }

  /** Opens a page, and waits until its script says that it is ready. */
  async visit(url) {
    // The page that is open may be the same one: what it says is not meant.
    await this.evaluate('delete document.documentElement?.dataset.ready');
    const { errorText } = await this.send('Page.navigate', { url });
    if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
    await this.until("document.documentElement?.dataset.ready === 'true'");
  }

  /** Sets the files of an input. */
  async choose(selector, files) {
    const { root } = await this.send('DOM.getDocument');
    const { nodeId } = await this.send('DOM.querySelector', { nodeId: root.nodeId, selector });
    await this.send('DOM.setFileInputFiles', { nodeId, files });
  }

  async press(key, text = '') {
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', key, code: key, text, windowsVirtualKeyCode: { Tab: 9, Enter: 13 }[key] });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', key, code: key, windowsVirtualKeyCode: { Tab: 9, Enter: 13 }[key] });
  }

  async screenshot() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
    return Buffer.from(data, 'base64');
  }

  async close() {
    this.session = undefined;
    this.send('Browser.close').catch(() => {});
    const timer = setTimeout(() => this.process.kill('SIGKILL'), LIMIT);
    await this.ended;
    clearTimeout(timer);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
