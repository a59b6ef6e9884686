'use strict';

const { argument } = require('./errors');
const { boolean } = require('./policy');

const NORMALIZED = new Set(['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT']);

// Written by callers for connections of other clients: the core frames the message and keeps the connection itself.
const DROPPED = new Set(['connection', 'keep-alive', 'content-length']);

// Options that would send a request another way, or promise a check that is not made.
const REFUSED = ['dispatcher', 'agent', 'integrity'];

const REDIRECTS = ['follow', 'error', 'manual'];

/** A request as the native part takes it, from the arguments of `fetch`. */
function prepare(input, init) {
  if (typeof init !== 'object' && typeof init !== 'function') {
    throw argument(`fetch: expected an object of options, found ${typeof init}`);
  }
  for (const name of REFUSED) {
    if (init[name] !== undefined && init[name] !== null && init[name] !== '') {
      throw argument(`fetch: expected no ${name}: every request goes over the attested connection`);
    }
  }
  const request = isRequest(input) ? input : null;
  const target = request === null ? String(input) : request.url;
  let method = String(init.method ?? request?.method ?? 'GET');
  if (NORMALIZED.has(method.toUpperCase())) {
    method = method.toUpperCase();
  }
  const redirect = init.redirect ?? request?.redirect ?? 'manual';
  if (!REDIRECTS.includes(redirect)) {
    throw argument(`fetch: expected the redirect ${REDIRECTS.join(', ')}, found ${redirect}`);
  }
  if (init.duplex !== undefined && init.duplex !== 'half') {
    throw argument(`fetch: expected the duplex half, found ${init.duplex}`);
  }
  // Of the object that is given: one on its prototype is no statement about this request.
  const given = Object.hasOwn(init, 'idempotent') ? init.idempotent : undefined;
  const idempotent = given !== undefined && boolean('idempotent', given);
  const headers = new Headers(init.headers ?? request?.headers);
  const body = init.body === undefined && request !== null ? unused(request) : extract(init.body ?? null);
  if (body !== null && (method === 'GET' || method === 'HEAD')) {
    throw argument(`fetch: expected no body with ${method}`);
  }
  if (body !== null && body.type && !headers.has('content-type')) {
    headers.set('content-type', body.type);
  }
  const length = headers.get('content-length');
  if (body !== null && body.source !== null && body.length === null && /^\d{1,15}$/.test(length ?? '')) {
    body.length = Number(length);
  }
  const flat = [];
  for (const [name, value] of headers) {
    if (!DROPPED.has(name)) {
      flat.push(name, value);
    }
  }
  const signal = init.signal === undefined ? (request?.signal ?? null) : init.signal;
  return { request, method, target, headers: flat, body, signal, redirect, idempotent };
}

/** Whether it is a `Request`, also one of a package such as undici. */
function isRequest(input) {
  return typeof input === 'object' && input !== null && !(input instanceof URL) && 'url' in input && 'headers' in input;
}

/** The body of a `Request`, which is read once. */
function unused(request) {
  if (request.bodyUsed || request.body?.locked) {
    throw new TypeError('the body of the request was read before');
  }
  return request.body === null || request.body === undefined ? null : streamed(request.body, null, null);
}

function inMemory(bytes, type) {
  return { bytes, type, source: null, length: null };
}

function streamed(source, type, length) {
  return { bytes: null, type, source, length };
}

/** The body and its content type (Fetch, "extract a body"), and asynchronous iterables besides. */
function extract(body) {
  if (body === null) {
    return null;
  }
  if (typeof body === 'string') {
    return inMemory(Buffer.from(body), 'text/plain;charset=UTF-8');
  }
  if (ArrayBuffer.isView(body)) {
    return inMemory(Buffer.from(body.buffer, body.byteOffset, body.byteLength), null);
  }
  if (body instanceof ArrayBuffer || (typeof SharedArrayBuffer !== 'undefined' && body instanceof SharedArrayBuffer)) {
    return inMemory(Buffer.from(body), null);
  }
  if (body instanceof URLSearchParams) {
    return inMemory(Buffer.from(body.toString()), 'application/x-www-form-urlencoded;charset=UTF-8');
  }
  if (body instanceof Blob) {
    return streamed(body.stream(), body.type, body.size);
  }
  if (body instanceof FormData) {
    // The boundary of the parts is in the content type.
    const encoded = new Response(body);
    return streamed(encoded.body, encoded.headers.get('content-type'), null);
  }
  if (typeof body.getReader === 'function' || typeof body[Symbol.asyncIterator] === 'function') {
    return streamed(body, null, null);
  }
  throw argument(
    `fetch: expected a body of text, bytes, URLSearchParams, FormData, a Blob, a stream or an asynchronous iterable, found ${typeof body}; JSON is JSON.stringify(...)`,
  );
}

module.exports = { prepare };
