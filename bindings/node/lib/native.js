'use strict';

const path = require('node:path');

const wanted = require('../package.json').version;

/** Loads the native part, which must be of the same version as this package. */
function load() {
  const platform = `${process.platform}-${process.arch}`;
  const file = path.join(__dirname, '..', 'native', `${platform}.node`);
  let native;
  try {
    native = require(file);
  } catch (cause) {
    const reason = `@blindbox/attestation has no native part that works on ${platform}: expected ${file}; build it with the command build of the package`;
    throw new Error(reason, { cause });
  }
  check(native.version());
  return native;
}

/** Refuses a native part of another version. */
function check(found) {
  if (found !== wanted) {
    throw new Error(`@blindbox/attestation ${wanted} found a native part of version ${found}: install it again`);
  }
}

module.exports = { native: load(), check, version: wanted };
