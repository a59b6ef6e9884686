// Verification of recorded evidence in WebAssembly, for browsers and for Node. Types and documentation: blindbox.d.ts.

/** The version of this file, which the module must have too. */
const VERSION = '0.1.0';
/** The longest argument in bytes, as in the module. */
const MAX_BYTES = 16 << 20;
/** The largest file, as the command reads it. */
const MAX_FILE_BYTES = 4 << 20;

export class AttestationError extends Error {
  constructor({ code, number, category, retryable, request_sent = false, message }, appraisal = null, cause = undefined) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'AttestationError';
    this.code = code;
    this.number = number;
    this.category = category;
    this.retryable = retryable;
    this.requestSent = request_sent;
    // Not shown with the error: it holds values that identify a machine.
    Object.defineProperty(this, 'appraisal', { value: appraisal, enumerable: false });
  }
}

export function argument(message) {
  return new AttestationError({ code: 'misconfigured', number: 404, category: 'misconfigured', retryable: false, message });
}

export function internal(message, cause) {
  const text = `internal error, nothing was verified: ${message}`;
  return new AttestationError({ code: 'internal', number: 902, category: 'internal', retryable: false, message: text }, null, cause);
}

function base64(name, content) {
  if (!(content instanceof Uint8Array)) {
    throw argument(`${name}: expected bytes (Uint8Array), found ${content === null ? 'null' : typeof content}`);
  }
  if (content.length > MAX_FILE_BYTES) {
    throw argument(`${name}: expected at most ${MAX_FILE_BYTES} bytes, found ${content.length}`);
  }
  let binary = '';
  for (let at = 0; at < content.length; at += 8192) {
    binary += String.fromCharCode(...content.subarray(at, at + 8192));
  }
  return btoa(binary);
}

function text(name, found) {
  if (typeof found !== 'string') {
    throw argument(`${name}: expected a string, found ${found === null ? 'null' : typeof found}`);
  }
  return found;
}

function seconds(at) {
  const found = at instanceof Date ? Math.floor(at.getTime() / 1000) : at;
  if (!Number.isSafeInteger(found) || found < 0) {
    throw argument(`at: expected a Date, or whole seconds since 1970-01-01 UTC, found ${String(at)}`);
  }
  return found;
}

/** The options that are given, and nothing of a prototype: what another script adds to it must not become a root or a key set. */
export function options(name, given, known) {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw argument(`${name}: expected an object of options`);
  }
  for (const found of Reflect.ownKeys(given)) {
    if (!known.includes(found)) {
      throw argument(`${name}: expected ${known.join(', ')}; found ${String(found)}`);
    }
  }
  return Object.assign(Object.create(null), given);
}

/** What `verifyRecorded` and `verifyUnappraised` have in common. */
function recorded(documents, given) {
  if (typeof documents !== 'object' || documents === null) {
    throw argument('documents: expected an object, the names of files to their contents');
  }
  const made = {
    documents: Object.fromEntries(Object.entries(documents).map(([name, content]) => [name, base64(name, content)])),
    at: seconds(given.at),
  };
  if (given.keySet !== undefined) made.key_set = base64('keySet', given.keySet);
  if (given.amdRoots !== undefined) made.amd_roots = text('amdRoots', given.amdRoots);
  if (given.akRoot !== undefined) made.ak_root = text('akRoot', given.akRoot);
  return made;
}

class Blindbox {
  #module;
  #instance = null;

  constructor(module) {
    this.#module = module;
    const { version, codes, documents } = this.#call('bb_about', {});
    // Checked by the first use of the module: another version may take and return other members.
    if (version !== VERSION) {
      throw new Error(`blindbox.js ${VERSION} found a module of version ${version}: take both from one build`);
    }
    this.version = version;
    this.codes = codes;
    this.documentNames = documents;
    Object.freeze(this);
  }

  verifyRecorded(documents, policy, given) {
    const known = options('verifyRecorded', given, ['at', 'keySet', 'amdRoots', 'akRoot']);
    return this.#call('bb_verify_recorded', { ...recorded(documents, known), policy: text('policy', policy) });
  }

  verifyUnappraised(documents, given) {
    const known = options('verifyUnappraised', given, ['at', 'maaIssuer', 'keySet', 'amdRoots', 'akRoot']);
    const made = recorded(documents, known);
    if (known.maaIssuer !== undefined) made.attester = text('maaIssuer', known.maaIssuer);
    return this.#call('bb_verify_unappraised', made);
  }

  inspect(content) {
    return this.#call('bb_inspect', { content: base64('content', content) });
  }

  policy(source) {
    return this.#call('bb_policy', { policy: text('policy', source) });
  }

  hostData(hex) {
    return this.#call('bb_host_data', { hex: text('hex', hex) });
  }

  ccePolicy(source) {
    return this.#call('bb_cce_policy', { base64: text('base64', source) });
  }

  /** The size of the module's memory in bytes; it never shrinks while an instance lives. */
  get memoryBytes() {
    return this.#instance === null ? 0 : this.#instance.exports.memory.buffer.byteLength;
  }

  #call(name, parameters) {
    const { outcome, failure } = this.#run(name, new TextEncoder().encode(JSON.stringify(parameters)));
    if (failure !== undefined) throw failure;
    if (Object.hasOwn(outcome, 'ok')) return outcome.ok;
    throw new AttestationError(outcome.error, outcome.appraisal);
  }

  #run(name, bytes) {
    if (bytes.length > MAX_BYTES) {
      return { failure: argument(`arguments: expected at most ${MAX_BYTES} bytes, found ${bytes.length}`) };
    }
    try {
      this.#instance ??= new WebAssembly.Instance(this.#module, {});
      const { exports } = this.#instance;
      const input = exports.bb_allocate(bytes.length) >>> 0;
      if (input === 0) throw new RangeError('the module has no memory for the arguments');
      new Uint8Array(exports.memory.buffer, input, bytes.length).set(bytes);
      const output = exports[name](input) >>> 0;
      // Memory may have grown, and then its buffer is another.
      const found = new Uint8Array(exports.memory.buffer, output, exports.bb_length(output) >>> 0).slice();
      exports.bb_free(output);
      return { outcome: JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(found)) };
    } catch (error) {
      // A trap leaves memory as it was in the middle of the work: the next call gets another instance.
      this.#instance = null;
      return { failure: internal('the module ended; please report it', error) };
    }
  }
}

/** Loads the module: its bytes, a compiled `WebAssembly.Module`, or a `Response` with its bytes. */
export async function load(source) {
  if (source instanceof WebAssembly.Module) return new Blindbox(source);
  const bytes = typeof Response !== 'undefined' && source instanceof Response ? await source.arrayBuffer() : source;
  return new Blindbox(await WebAssembly.compile(bytes));
}
