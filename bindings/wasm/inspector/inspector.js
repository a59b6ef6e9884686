// The page: it shows what the module reports, and decides nothing. Untrusted text is only ever set as text, never as markup.

const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Text that shows characters which reorder or hide what is beside them. */
function shown(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (found) => `\\u{${found.codePointAt(0).toString(16)}}`);
}

/** A table with a caption, header cells, and rows whose first cell is their header. It scrolls on its own, also by keyboard. */
function table(caption, columns, rows) {
  const head = columns.map((column) => element('th', { scope: 'col' }, column));
  const body = rows.map(([first, ...others]) =>
    element('tr', {}, element('th', { scope: 'row' }, first), ...others.map((cell) => element('td', {}, cell))),
  );
  const made = element('table', {}, element('caption', {}, caption), element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...body));
  const scroll = element('div', { className: 'scroll', tabIndex: 0 }, made);
  scroll.setAttribute('role', 'region');
  scroll.setAttribute('aria-label', caption);
  return scroll;
}

function mark(className, text) {
  return element('span', { className }, text);
}

function moduleBytes() {
  const binary = atob(byId('wasm').textContent.trim());
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

/** What a file with another name is used as, by its kind. */
const BY_KIND = { token: 'token.jwt', report: 'report.bin', endorsement: 'uvm-endorsement.cose', certificate: 'certificates.pem', 'revocation-list': 'revocation-list.der', 'key-set': 'key-set.json' };
/** Files that are no evidence by themselves. */
const OTHERS = { 'policy.toml': 'policy', 'about.json': 'notes of fetch', 'runtime-data.json': 'runtime data' };

let blindbox = null;
/** The files that were given: name to content, and the name that it is used as, or null. */
const given = new Map();

/** Runs work and shows why it failed. */
async function guarded(target, work) {
  try {
    await work();
  } catch (error) {
    target.replaceChildren(failure(error));
  }
}

function isSame(one, other) {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

function failure(error) {
  const code = error instanceof AttestationError ? `${error.code} (${error.number}, ${error.category}): ` : '';
  return element('p', {}, mark('error', code), shown(error.message));
}

async function read(file) {
  if (file.size > MAX_FILE_BYTES) throw argument(`${file.name}: expected at most ${MAX_FILE_BYTES} bytes, found ${file.size}`);
  return new Uint8Array(await file.arrayBuffer());
}

/** A flat list of the members of what was found: `claims.exp`, `signature[0]`. */
function members(value, path = '') {
  if (typeof value !== 'object' || value === null) return [[path, shown(String(value))]];
  const entries = Array.isArray(value) ? value.map((item, at) => [`${path}[${at}]`, item]) : Object.entries(value).map(([name, item]) => [path === '' ? name : `${path}.${name}`, item]);
  return entries.length === 0 ? [[path, Array.isArray(value) ? 'none' : '{}']] : entries.flatMap(([name, item]) => members(item, shown(name)));
}

function showFiles() {
  const rows = [];
  const contents = [];
  for (const [name, file] of given) {
    const { content } = file;
    file.usedAs = blindbox.documentNames.includes(name) ? name : null;
    let kinds = OTHERS[name];
    let verified = 'no evidence by itself';
    if (kinds === undefined) {
      try {
        const found = blindbox.inspect(content);
        const unique = [...new Set(found.map(({ kind }) => kind))];
        kinds = unique.join(', ');
        if (unique.length === 1) file.usedAs ??= BY_KIND[unique[0]] ?? null;
        const good = found.every((one) => one.verified);
        verified = element('span', {}, mark(good ? 'yes' : 'quiet', good ? 'yes' : 'no'), ` (${shown([...new Set(found.map(({ why }) => why))].join('; '))})`);
        found.forEach((one, at) => {
          const { kind, verified: isGood, why, ...rest } = one;
          const title = `${shown(name)}${found.length > 1 ? `, part ${at + 1}` : ''}: ${kind}, ${isGood ? 'verified' : 'not verified'}`;
          contents.push(element('details', {}, element('summary', {}, title), table(`Contents of ${title}`, ['Member', 'Value'], [['why', shown(why)], ...members(rest)])));
        });
      } catch (error) {
        kinds = '';
        verified = failure(error);
      }
    }
    const remove = element('button', { type: 'button', className: 'small' }, 'Remove');
    remove.setAttribute('aria-label', `Remove ${shown(name)}`);
    remove.addEventListener('click', () => {
      given.delete(name);
      showFiles();
      byId('files').focus();
    });
    rows.push(element('tr', {}, element('th', { scope: 'row' }, shown(name)), element('td', {}, String(content.length)), element('td', {}, kinds), element('td', {}, file.usedAs ?? 'not used'), element('td', {}, verified), element('td', {}, remove)));
  }
  byId('file-table').hidden = rows.length === 0;
  byId('file-table').tBodies[0].replaceChildren(...rows);
  byId('contents').replaceChildren(...contents);
  byId('drop-hint').textContent = rows.length === 0 ? 'Drop files or a directory here, or choose them:' : `${rows.length} files. Drop or choose more:`;
  ready();
}

function ready() {
  byId('verify').disabled = blindbox === null || given.size === 0 || byId('policy').value.trim() === '';
  byId('verdict').replaceChildren();
  byId('checks').replaceChildren();
}

function utc(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? 'no date' : date.toISOString().replace('.000', '');
}

/** Who chose the policy and the time. What the files state never replaces what the user chose. */
const origin = { policy: 'none', at: 'machine' };
const TIMES = { machine: 'It is the time of this machine.', files: 'It is the time that the files state: their author chose it.', user: '' };

function setTime(seconds, by) {
  byId('at').value = String(seconds);
  origin.at = by;
  showTime();
}

function showTime() {
  const found = byId('at').value.trim();
  byId('at-hint').textContent = /^\d{1,15}$/.test(found) ? `${utc(Number(found))}. ${TIMES[origin.at]}` : 'Expected a number of seconds.';
}

function setPolicy(source) {
  if (origin.policy === 'user') throw argument('policy.toml: not used, since a policy was entered; empty the field to use the one of the files');
  byId('policy').value = source;
  origin.policy = 'files';
  lint();
}

async function add(files) {
  const failures = [];
  for (const file of files) {
    try {
      await addOne(file);
    } catch (error) {
      failures.push(failure(error));
    }
  }
  showFiles();
  byId('verdict').replaceChildren(...failures);
}

async function addOne(file) {
  const content = await read(file);
  const before = given.get(file.name);
  // Two directories must not be mixed, and the later file not take the place of the one that is shown.
  if (before !== undefined && !isSame(before.content, content)) {
    throw argument(`${file.name}: a file of this name is there with another content; remove it first`);
  }
  given.set(file.name, { content, usedAs: null });
  if (before !== undefined) return;
  if (file.name === 'policy.toml') setPolicy(new TextDecoder().decode(content));
  if (file.name === 'about.json' && origin.at !== 'user') {
    const about = JSON.parse(new TextDecoder().decode(content));
    const at = about?.received_at ?? about?.asked_at;
    if (Number.isSafeInteger(at)) setTime(at, 'files');
  }
}

/** The files of what was dropped, those of directories too. */
async function dropped({ items, files: plain }) {
  // Both are gone once the event is.
  const entries = [...items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry);
  const files = entries.length === 0 ? [...plain] : [];
  for (const entry of entries) {
    if (entry.isFile) {
      files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
      continue;
    }
    const reader = entry.createReader();
    // Entries come in batches, the last of which is empty.
    for (let batch; batch === undefined || batch.length > 0; ) {
      batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      for (const inner of batch.filter((one) => one.isFile)) {
        files.push(await new Promise((resolve, reject) => inner.file(resolve, reject)));
      }
    }
  }
  return files;
}

function lint() {
  const source = byId('policy').value;
  const target = byId('lint');
  target.replaceChildren();
  ready();
  if (source.trim() === '' || blindbox === null) return;
  guarded(target, () => {
    const { digest, attester, lint: findings } = blindbox.policy(source);
    const trust = attester === null ? 'no MAA instance is trusted' : `trusts ${attester}`;
    target.append(element('p', {}, 'The policy is valid; ', shown(trust), '. SHA-256: ', element('code', {}, digest)));
    if (findings.length > 0) {
      target.append(table('What the policy does not restrict, the most severe first', ['Finding', 'Meaning'], findings.map(({ code, message }) => [code, shown(message)])));
    }
  });
}

/** The documents by the names of the files of `fetch`. */
function documents() {
  const made = {};
  for (const [name, { content, usedAs }] of given) {
    if (usedAs === null) continue;
    const used = usedAs === 'revocation-list.der' && Object.hasOwn(made, usedAs) ? 'revocation-list-other.der' : usedAs;
    if (Object.hasOwn(made, used)) throw argument(`${name}: another file is used as ${used} too; remove all but one`);
    made[used] = content;
  }
  return made;
}

const VERDICTS = { passed: 'passed', allowed: 'warning', failed: 'failed', 'not-evaluated': 'quiet' };

function showChecks(appraisal) {
  const rows = appraisal.map(({ name, verdict, expected, actual, why }) => [
    shown(name),
    mark(VERDICTS[verdict] ?? 'warning', verdict.replace('-', ' ')),
    shown(expected),
    shown(actual),
    shown(why ?? ''),
  ]);
  byId('checks').replaceChildren(table(`All ${rows.length} checks of the appraisal`, ['Check', 'Verdict', 'Expected', 'Found', 'Reason'], rows));
}

/** The part of the verdict that the author of the files chose. */
function chosen(keySet) {
  const by = [['policy', 'policy'], ['at', 'time']].filter(([what]) => origin[what] === 'files').map(([, name]) => name);
  const made = by.length === 0 ? '' : ` The ${by.join(' and the ')} came with the files: their author chose it.`;
  // A page does not learn where a file was: a genuine key set from elsewhere has these bytes too.
  const same = keySet !== undefined && [...given.values()].some(({ content }) => isSame(content, keySet));
  return same ? `${made} The key set has the bytes of one of the files: that it came from elsewhere is your assertion.` : made;
}

async function verify() {
  const verdict = byId('verdict');
  byId('checks').replaceChildren();
  verdict.replaceChildren();
  try {
    const found = byId('at').value.trim();
    if (!/^\d{1,15}$/.test(found)) throw argument('time: expected a number of seconds');
    const options = { at: Number(found) };
    const [keySet] = byId('key-set').files;
    if (keySet !== undefined) options.keySet = await read(keySet);
    const [roots] = byId('amd-roots').files;
    if (roots !== undefined) options.amdRoots = new TextDecoder().decode(await read(roots));
    const accepted = blindbox.verifyRecorded(documents(), byId('policy').value, options);
    const rooted = roots === undefined ? '' : ' With roots that are not AMD\'s: for tests only.';
    verdict.append(element('p', {}, mark('passed', 'Accepted'), ` for ${utc(options.at)}, as a record: neither fresh nor bound to a connection.${rooted}${chosen(options.keySet)}`));
    showChecks(accepted.appraisal);
  } catch (error) {
    const appraisal = error instanceof AttestationError ? error.appraisal : null;
    verdict.append(element('p', {}, mark('failed', 'Refused')), failure(error));
    if (appraisal !== null) showChecks(appraisal);
  }
}

async function start() {
  blindbox = await load(moduleBytes());
  byId('version').textContent = `blindbox-attestation ${blindbox.version}, in WebAssembly`;
  const drop = byId('drop');
  for (const [kind, over] of [['dragenter', true], ['dragover', true], ['dragleave', false], ['drop', false]]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle('over', over);
    });
  }
  // A file that misses the target must not replace the page.
  for (const kind of ['dragover', 'drop']) addEventListener(kind, (event) => event.preventDefault());
  drop.addEventListener('drop', (event) => {
    guarded(byId('verdict'), async () => add(await dropped(event.dataTransfer)));
  });
  for (const id of ['files', 'directory']) {
    byId(id).addEventListener('change', (event) => add([...event.target.files]));
  }
  byId('policy').addEventListener('input', () => {
    origin.policy = byId('policy').value.trim() === '' ? 'none' : 'user';
    lint();
  });
  for (const id of ['key-set', 'amd-roots']) byId(id).addEventListener('change', ready);
  byId('at').addEventListener('input', () => {
    origin.at = 'user';
    showTime();
    ready();
  });
  byId('verify').addEventListener('click', verify);
  setTime(Math.floor(Date.now() / 1000), 'machine');
  lint();
  document.documentElement.dataset.ready = 'true';
}

guarded(byId('verdict'), start);
