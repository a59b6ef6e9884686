// Errors of a session, beside those that the module returns.

import { AttestationError } from '../blindbox.js';

/** What a platform says about a failure of the network: little, in a page. */
export function reasonOf(error) {
  const cause = error?.cause?.message ?? error?.cause?.code;
  const text = String(error?.message ?? error);
  return cause === undefined ? text : `${text}: ${cause}`;
}

export function closed() {
  return new AttestationError({ code: 'closed', number: 903, category: 'misconfigured', retryable: false, message: 'the session is closed' });
}

/** The same error, saying that the request may have arrived. Another object: the one of a session that ended is shared. */
export function asSent(error) {
  if (!(error instanceof AttestationError) || error.requestSent) return error;
  const { code, number, category, retryable, message } = error;
  return new AttestationError({ code, number, category, retryable, message, request_sent: true }, error.appraisal, error);
}

/** An error after a request was handed to the platform. The module knows what was sent; a session that ended does not. */
export function interrupted(error) {
  return error?.code === 'closed' || error?.code === 'internal' ? asSent(error) : error;
}

/** Carries out a step after a request was handed to the platform. */
export function interruptible(step) {
  try {
    return step();
  } catch (error) {
    throw interrupted(error);
  }
}
