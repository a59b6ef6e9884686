'use strict';

const path = require('node:path');
const { fileURLToPath } = require('node:url');

const { argument } = require('./errors');
const { boolean, jsonOf, known, readFile } = require('./policy');

function isFile(given) {
  return typeof given === 'string' || given instanceof URL;
}

/** Certificates or a key set, which are a path, or their content as bytes. */
function content(name, given) {
  if (isFile(given)) {
    return readFile(given);
  }
  if (given instanceof Uint8Array) {
    return Buffer.from(given.buffer, given.byteOffset, given.byteLength);
  }
  throw argument(`${name}: expected a path, or the content as bytes`);
}

/** The same as text. DER is none; the core says what it expects. */
function material(name, given) {
  return content(name, given).toString('utf8');
}

function milliseconds(name, given) {
  if (typeof given !== 'number' || !(given >= 1 && given <= 1e12)) {
    throw argument(`${name}: expected 1 to 1000000000000 milliseconds, found ${given}`);
  }
  return Math.round(given);
}

function text(name, given) {
  if (typeof given !== 'string' && !(given instanceof URL)) {
    throw argument(`${name}: expected a string, found ${typeof given}`);
  }
  return String(given);
}

/** Strings by their names. */
function texts(name, given) {
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw argument(`${name}: expected an object of strings by their names`);
  }
  return jsonOf(name, given);
}

function directory(name, given) {
  // The empty path would be the current directory.
  if (!isFile(given) || given === '') {
    throw argument(`${name}: expected the path of a directory`);
  }
  return path.resolve(given instanceof URL ? fileURLToPath(given) : given);
}

/** The settings, by their names in JavaScript: the name in the core, and how a value is read. */
const SETTINGS = {
  deadline: ['deadline_ms', milliseconds],
  requestTimeout: ['request_timeout_ms', milliseconds],
  applicationRoots: ['application_roots', material],
  extraApplicationRoots: ['extra_application_roots', material],
  collateralRoots: ['collateral_roots', material],
  platformCollateralRoots: ['platform_collateral_roots', boolean],
  keySet: ['key_set', material],
  amdRoots: ['amd_roots', material],
  akRoot: ['ak_root', material],
  agent: ['agent', text],
  proxy: ['proxy', text],
  resolve: ['resolve', texts],
  frontEndHeaders: ['front_end_headers', texts],
  kds: ['kds', text],
  thim: ['thim', text],
  cacheDir: ['cache_dir', directory],
};

/** Whether a setting is given. No value is no way to say so: a variable without one must not choose the default. */
function isGiven(name, value) {
  if (value === null) {
    throw argument(`${name}: expected a value, found null; leave it out for its default`);
  }
  return value !== undefined;
}

function settingsOf(options) {
  const settings = {};
  for (const [name, value] of Object.entries(known('settings', options, Object.keys(SETTINGS)))) {
    if (isGiven(name, value)) {
      const [ofCore, read] = SETTINGS[name];
      settings[ofCore] = read(name, value);
    }
  }
  return settings;
}

module.exports = { SETTINGS, content, isGiven, material, settingsOf };
