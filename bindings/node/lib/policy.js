'use strict';

const fs = require('node:fs');

const { argument, value } = require('./errors');
const { native } = require('./native');

/** The largest file that is read, as in the core. */
const MAX_BYTES = 4 << 20;

/** Reads a file of at most 4 MiB. */
function readFile(path) {
  const file = fs.openSync(path, 'r');
  try {
    const content = Buffer.alloc(MAX_BYTES + 1);
    let size = 0;
    for (let read = 1; read > 0 && size < content.length; size += read) {
      read = fs.readSync(file, content, size, content.length - size, null);
    }
    if (size > MAX_BYTES) {
      throw argument(`${path}: expected at most ${MAX_BYTES} bytes`);
    }
    return Buffer.from(content.subarray(0, size));
  } finally {
    fs.closeSync(file);
  }
}

/** Reads a text file in UTF-8. */
function readText(path) {
  const content = readFile(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(content);
  } catch {
    throw argument(`${path}: expected text in UTF-8`);
  }
}

function text(name, found) {
  if (typeof found !== 'string') {
    throw argument(`${name}: expected a string, found ${typeof found}`);
  }
  return found;
}

/** Whether it is an object of members alone: a signal, a map or another class holds what would be ignored. */
function isPlain(given) {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    return false;
  }
  const prototype = Object.getPrototypeOf(given);
  // The prototype of objects, also that of another realm.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The fields of an object of options; others are refused. */
function known(name, options, names) {
  if (!isPlain(options)) {
    throw argument(`${name}: expected an object of options`);
  }
  for (const found of Reflect.ownKeys(options)) {
    if (!names.includes(found)) {
      throw argument(`${name}: expected ${names.join(', ')}; found ${String(found)}`);
    }
  }
  return options;
}

/** A Boolean: the text 'false' is true where a condition is expected. */
function boolean(name, found) {
  if (typeof found !== 'boolean') {
    throw argument(`${name}: expected true or false, found ${found === null ? 'null' : typeof found}`);
  }
  return found;
}

/** A copy that JSON has a form for. `JSON.stringify` leaves other values out, and a requirement with them. */
function jsonOf(name, given) {
  if (typeof given === 'string' || typeof given === 'boolean' || Number.isFinite(given)) {
    return given;
  }
  if (given instanceof HostData || given instanceof Policy) {
    return given.toJSON();
  }
  if (Array.isArray(given)) {
    return Array.from(given, (element, at) => jsonOf(`${name}[${at}]`, element));
  }
  if (isPlain(given)) {
    const members = Reflect.ownKeys(given).map((key) => {
      if (typeof key === 'symbol') {
        throw argument(`${name}: expected text as the names of members, found ${String(key)}`);
      }
      return [key, jsonOf(`${name}.${key}`, given[key])];
    });
    return Object.fromEntries(members);
  }
  const kind = given === null ? 'null' : typeof given;
  throw argument(`${name}: expected text, a number, true, false, an array or an object of these, found ${kind === 'object' ? 'an object of a class' : kind}`);
}

/** Host data of a container: the SHA-256 of its CCE policy. */
class HostData {
  #described;

  constructor(hex) {
    // A description comes from `fromCcePolicy` below.
    this.#described = hex instanceof Described ? hex.fields : JSON.parse(value(native.hostData(text('hex', hex))));
    Object.freeze(this);
  }

  static fromCcePolicy(base64) {
    return new HostData(new Described(JSON.parse(value(native.ccePolicy(text('base64', base64))))));
  }

  static fromCcePolicyFile(path) {
    return HostData.fromCcePolicy(readText(path));
  }

  get hex() {
    return this.#described.host_data;
  }

  get isKnownAllowAll() {
    return this.#described.known_allow_all;
  }

  get findings() {
    return this.#described.findings;
  }

  toString() {
    return this.hex;
  }

  toJSON() {
    return this.hex;
  }
}

class Described {
  constructor(fields) {
    this.fields = fields;
  }
}

const CONTAINER = [
  'hostData',
  'minimumSvn',
  'binding',
  'maa',
  'amd',
  'maaPolicyHash',
  'allowTestAttester',
  'uvmIssuer',
  'require',
  'allow',
];

/** What must be proven. A policy that exists can be used: it was checked when it was made. */
class Policy {
  #native;

  constructor(source) {
    this.#native = value(native.Policy.parse(text('policy', source)));
    Object.freeze(this);
  }

  /** The native policy. */
  static nativeOf(policy) {
    if (typeof policy !== 'object' || policy === null || !(#native in policy)) {
      throw argument('policy: expected a Policy, such as Policy.fromFile("policy.toml")');
    }
    return policy.#native;
  }

  static fromFile(path) {
    return new Policy(readText(path));
  }

  static fromObject(fields) {
    return new Policy(JSON.stringify(jsonOf('policy', fields)));
  }

  static confidentialContainer(options) {
    const given = known('confidentialContainer', options, CONTAINER);
    for (const [name, option] of Object.entries(given)) {
      // A setting that is missing elsewhere must not become a policy that requires less.
      if (option === undefined || option === null) {
        throw argument(`${name}: expected a value, found ${option}; leave the option out if it is not meant`);
      }
    }
    if (typeof given.binding !== 'string') {
      throw argument("binding: expected 'own-key', 'own-connection', 'own-message-key' or 'none': an assertion about the workload, which evidence cannot show");
    }
    const isTestAllowed = given.allowTestAttester !== undefined && boolean('allowTestAttester', given.allowTestAttester);
    const trust = {};
    if (given.maa !== undefined) {
      trust.maa = { issuer: given.maa };
      if (given.maaPolicyHash !== undefined) trust.maa['policy-hash'] = given.maaPolicyHash;
      if (isTestAllowed) trust.maa['allow-test-attester'] = true;
    } else if (given.maaPolicyHash !== undefined || isTestAllowed) {
      throw argument('maaPolicyHash and allowTestAttester need maa, the instance that they are about');
    }
    if (given.amd !== undefined && boolean('amd', given.amd)) trust.amd = {};
    const uvm = { 'minimum-svn': given.minimumSvn };
    if (given.uvmIssuer !== undefined) uvm.issuer = given.uvmIssuer;
    const fields = {
      version: 1,
      kind: 'confidential-container',
      trust,
      workload: {
        binding: given.binding,
        'host-data': [given.hostData].flat().map(String),
      },
      uvm,
    };
    if (given.require !== undefined) fields.require = given.require;
    if (given.allow !== undefined) fields.allow = given.allow;
    return Policy.fromObject(fields);
  }

  toToml() {
    return this.#native.toToml();
  }

  /** The fields of the policy file. */
  toJSON() {
    return JSON.parse(this.#native.toJson());
  }

  get digest() {
    return this.#native.digest();
  }

  get maaIssuer() {
    return this.#native.maaIssuer() ?? null;
  }

  lint() {
    return JSON.parse(this.#native.lint());
  }

  equals(other) {
    return other instanceof Policy && other.digest === this.digest;
  }
}

const nativePolicy = Policy.nativeOf;
// Not for users.
delete Policy.nativeOf;

module.exports = { HostData, Policy, boolean, jsonOf, known, nativePolicy, readFile };
