// What a hostile front end does to a session, and what a session does not send: for the tests in Node and in a page.

/** Actions on a sealed request or its response, and the reason that is shown; in a page a second one, where it differs. */
export const ACTIONS = [
  ['change-request=0', /responded with the status 400|has the message key/],
  ['change-request=1140', /has the message key/],
  ['cut-request=1200', /has the message key/],
  ['request-without-final-chunk', /status 502/],
  ['repeat-request', /received the request before/],
  ['change-response=0', /does not decrypt/],
  ['change-response=40', /does not decrypt/],
  ['cut-response=10', /ends before its final chunk/],
  ['cut-response=60', /ends before its final chunk/],
  ['response-without-final-chunk', /ends before its final chunk/],
  ['reorder-chunks', /does not decrypt/],
  ['repeat-chunk', /does not decrypt/],
  ['append-to-response', /does not decrypt/],
  ['withhold-response', /: fetch failed/, /: Failed to fetch$/],
  ['report-unknown-key', /has the message key/],
  ['forge-response=200', /something else than a sealed message/],
  ['forge-response=404', /status 404/],
  ['forge-response=302', /responded with the status 302, which the instance has not sealed$/, /responded with a redirect, which the instance has not sealed$/],
];

/** Guests and front ends whose evidence is refused, with the code. */
export const REFUSED_EVIDENCE = [
  ['debug', 'debug-mode'],
  [`host-data=${'5a'.repeat(32)}`, 'invalid-enclave-code'],
  ['uvm-svn=1', 'uvm-too-old'],
  ['old-nonce', 'false-attestation-report'],
  ['old-token', 'false-attestation-report'],
  ['no-token', 'maa-token-not-found'],
  ['refuse-message-form', 'channel-not-bound'],
  ['answer-in-server-form', 'channel-not-bound'],
  [`foreign-message-key=${'cd'.repeat(32)}`, 'false-attestation-report'],
  ['front-end-own-message-key', 'false-attestation-report'],
];

/** Faults of the agent, with the code. */
export const AGENT_FAULTS = [
  ['status:503', 'agent-unreachable'],
  ['redirect:https://other.example/', 'invalid-agent-answer'],
  ['content-type:text/html', 'invalid-agent-answer'],
  ['malformed-json', 'invalid-agent-answer'],
  ['close-early', 'agent-unreachable'],
];

/** Arguments of `fetch` that are refused before anything is sent, with the code. */
export const refusedRequests = (url) => [
  ['https://other.example/', {}, 'invalid-request'],
  [url.replace(/\d+$/, '1'), {}, 'invalid-request'],
  [url.replace('https', 'http'), {}, 'invalid-request'],
  [`${url}//echo`, {}, 'invalid-request'],
  ['/echo', { headers: { 'blindbox-message': 'x' } }, 'invalid-request'],
  ['/echo', { headers: { 'proxy-authorization': 'x' } }, 'invalid-request'],
  ['/echo', { headers: { expect: '100-continue' } }, 'invalid-request'],
  ['/echo', { signal: 'a signal' }, 'misconfigured'],
  ['/echo', { idempotent: 'false' }, 'misconfigured'],
  ['/echo', { integrity: 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' }, 'misconfigured'],
  ['/echo', { redirect: 'error' }, 'misconfigured'],
  ['/echo', 'GET', 'misconfigured'],
];

/** Headers that a page's `Request` drops. A sealed request has them: they are between its ends. */
export const DROPPED_BY_PAGES = { cookie: 'a=b', 'user-agent': 'a program', 'accept-encoding': 'none', origin: 'https://other.example' };
