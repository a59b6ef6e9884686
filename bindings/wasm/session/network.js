// How requests leave: to the front end, and for public documents.

import { firstBytes } from './bytes.js';

/** The most bytes of a response that are kept for a step: more than the module accepts. */
export const MAX_KEPT_BYTES = 1 << 20;

/** Why, and what to do. */
export const UNAUTHENTICATED = 'NODE_TLS_REJECT_UNAUTHORIZED is 0, so that Node authenticates no server; unset it, and name roots with NODE_EXTRA_CA_CERTS';

/**
 * Whether `fetch` of the platform authenticates servers: Node does not with this variable. What a dispatcher that replaces its own one does
 * cannot be seen.
 */
export function authenticatesServers() {
  return globalThis.process?.env?.NODE_TLS_REJECT_UNAUTHORIZED !== '0';
}

/** Sends a request to the front end, with the cookies by which it leads requests to one instance. */
export function send(fetch, url, init) {
  return fetch(url, { credentials: 'include', redirect: 'manual', cache: 'no-store', referrerPolicy: 'no-referrer', ...init });
}

/** The content of a public document. */
export async function publicDocument(fetch, url, signal) {
  const response = await fetch(url, { signal, credentials: 'omit', redirect: 'manual', referrerPolicy: 'no-referrer' });
  if (response.type === 'opaqueredirect') throw new Error('it responded with a redirect');
  if (response.status !== 200) throw new Error(`it responded with the status ${response.status}`);
  return firstBytes(response, MAX_KEPT_BYTES);
}

/** What a step is given about a response. A browser says no more about a redirect than that it is one. */
export function aboutOf(response) {
  if (response.type === 'opaqueredirect') return { redirect: true };
  return { status: response.status, content_type: response.headers.get('content-type') ?? '' };
}
