'use strict';

const { Policy, verifyConnection } = require('@blindbox/attestation');

/** Opens a session with the emulator that the arguments name. */
module.exports = function connect(files = process.argv.slice(2)) {
  const [url, policy, applicationRoots, collateralRoots] = files;
  return verifyConnection(url, Policy.fromFile(policy), { applicationRoots, collateralRoots });
};
