// A web server with the files of the build, on an origin of its own, and a browser that opens its pages.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';

import { Browser } from './browser.js';

const DIST = path.dirname(process.env.BLINDBOX_WASM);
const SCREENSHOTS = process.env.BLINDBOX_SCREENSHOTS;
const TYPES = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript', '.wasm': 'application/wasm' };

export class Site {
  /** What is served beside the files of the build, or in place of one, by path. */
  documents = {};
  /** Errors of pages that no script caught. */
  faults = [];

  static async open() {
    const site = new Site();
    site.server = http.createServer((request, response) => {
      const { pathname } = new URL(request.url, 'http://page');
      try {
        const content = site.documents[pathname] ?? readFileSync(path.join(DIST, pathname));
        response.writeHead(200, { 'content-type': TYPES[path.extname(pathname)] ?? 'application/json' }).end(content);
      } catch {
        response.writeHead(404).end();
      }
    });
    await new Promise((resolve) => site.server.listen(0, '127.0.0.1', resolve));
    site.origin = `http://127.0.0.1:${site.server.address().port}`;
    site.browser = await Browser.open(process.env.BLINDBOX_BROWSER, ['127.0.0.1']);
    site.browser.listen(({ method, params }) => {
      if (method === 'Runtime.exceptionThrown') site.faults.push(params.exceptionDetails.text);
    });
    return site;
  }

  async screenshot(name) {
    if (SCREENSHOTS === undefined) return;
    mkdirSync(SCREENSHOTS, { recursive: true });
    writeFileSync(path.join(SCREENSHOTS, name), await this.browser.screenshot());
  }

  async close() {
    await this.browser.close();
    this.server.closeAllConnections();
    this.server.close();
  }
}
