'use strict';

const { argument, isFailure, value } = require('./errors');
const { native } = require('./native');

/** How often events are taken from the queue of the core, in milliseconds. */
const INTERVAL = 100;

/** How many events are reported at a time, as many as the queue holds: a listener that causes events ends nevertheless. */
const AT_A_TIME = 1024;

const LEVELS = ['trace', 'debug', 'info', 'warn', 'error'];

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
    timer = setInterval(drain, INTERVAL, level, listener);
    // Events do not keep a process running.
    timer.unref();
  }
}

function drain(level, listener) {
  for (let taken = 0; taken < AT_A_TIME; taken += 1) {
    const event = native.logNext();
    if (event === null || isFailure(event)) {
      return;
    }
    // The core has one level for the process: a worker may have asked for events with evidence, which this listener did not.
    if (LEVELS.indexOf(event.level) < LEVELS.indexOf(level)) {
      continue;
    }
    listener({ ...event, fields: JSON.parse(event.fields) });
  }
}

module.exports = { enableLogging };
