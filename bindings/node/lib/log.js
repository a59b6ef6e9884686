'use strict';

const { argument, isFailure, value } = require('./errors');
const { native } = require('./native');

/** How often events are taken from the queue of the core, in milliseconds. */
const INTERVAL = 100;

let timer = null;

/** Reports events of the core to a function, from a level on; `off` ends it. */
function enableLogging(level, listener = undefined) {
  if (level !== 'off' && typeof listener !== 'function') {
    throw argument('expected a function that takes events');
  }
  value(native.logLevel(level));
  clearInterval(timer);
  timer = null;
  if (level !== 'off') {
    timer = setInterval(drain, INTERVAL, listener);
    // Events do not keep a process running.
    timer.unref();
  }
}

function drain(listener) {
  for (let event = native.logNext(); event !== null && !isFailure(event); event = native.logNext()) {
    listener({ ...event, fields: JSON.parse(event.fields) });
  }
}

module.exports = { enableLogging };
