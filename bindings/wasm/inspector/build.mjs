// Makes the page one file without outer parts: `node build.mjs MODULE OUT`. Its policy (CSP) allows its own style, its own script and
// WebAssembly, and no connection at all.

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const [module, out] = process.argv.slice(2);
const near = (name) => readFileSync(new URL(name, import.meta.url), 'utf8');
const style = near('inspector.css');
// One script: a page that is opened as a file cannot import another.
const script = near('../blindbox.js').replace(/^export /gm, '') + near('inspector.js');
const hash = (text) => `sha256-${createHash('sha256').update(text).digest('base64')}`;
if (/<\/(script|style)/i.test(script + style)) throw new Error('a part of the page would end its element');

const parts = {
  'script-hash': hash(script),
  'style-hash': hash(style),
  style,
  script,
  wasm: readFileSync(module).toString('base64'),
};
writeFileSync(out, near('index.html').replace(/\{\{([a-z-]+)\}\}/g, (_, name) => {
  if (!Object.hasOwn(parts, name)) throw new Error(`the page has no part ${name}`);
  return parts[name];
}));
