'use strict';

const { Attestation, Evidence, inspect, verifyRecorded, verifyUnappraised } = require('./lib/attestation');
const { classes, codes } = require('./lib/errors');
const { enableLogging } = require('./lib/log');
const { version } = require('./lib/native');
const { HostData, Policy } = require('./lib/policy');
const { Session, Verifier, verifyConnection } = require('./lib/session');

module.exports = {
  Attestation,
  Evidence,
  HostData,
  Policy,
  Session,
  Verifier,
  codes,
  enableLogging,
  inspect,
  verifyConnection,
  verifyRecorded,
  verifyUnappraised,
  version,
  ...classes,
};
