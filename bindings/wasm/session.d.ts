/** Sealed messages to an attested BlindBox behind any front end: for pages, and for Node. */

import type { Check } from './blindbox.js';
import { AttestationError } from './blindbox.js';

export { AttestationError };

export interface ConnectOptions {
  /** The module: its bytes, compiled, or a `Response` with its bytes; `blindbox.wasm` beside this file if left out. */
  module?: BufferSource | WebAssembly.Module | Response;
  /**
   * The key set of the MAA instance: its bytes, a URL, or a function of its address that returns one of these. Who gives it decides which
   * tokens are genuine. If left out it is fetched from the instance, which works in a page only if that allows the page's origin.
   * With `NODE_TLS_REJECT_UNAUTHORIZED=0`, `fetch` of Node authenticates no server, and does not fetch it (`misconfigured`).
   */
  keySet?: Uint8Array | string | URL | ((url: string) => Uint8Array | string | URL | Promise<Uint8Array | string | URL>);
  /** AMD's Key Distribution Service, or a mirror of it that allows the page's origin; or a function that fetches the document at a path. */
  kds?: string | ((path: string) => Uint8Array | undefined | Promise<Uint8Array | undefined>);
  /** How long an attestation may take, in milliseconds: 30 seconds if left out. */
  timeout?: number;
  /** What sends requests to the front end and fetches documents; `fetch` of the platform if left out. It is not trusted with content. It
   * is trusted with the key set where `keySet` is left out, and no server's name counts as validated. A dispatcher that replaces the one
   * of Node for all requests cannot be seen from here: what authenticates no server then is trusted as `fetch` of the platform is. */
  fetch?: (url: string | URL, init?: any) => Promise<Response>;
  /** The time, in milliseconds since 1970-01-01 UTC; `Date.now` if left out. A clock that is set back prolongs nothing while the machine is awake. */
  clock?: () => number | Date;
  /** Roots that replace AMD's, in PEM: for tests. */
  amdRoots?: string;
  /** The root that replaces Azure's root of virtual TPMs, in PEM: for tests. */
  akRoot?: string;
}

/**
 * Options of a request: those of `fetch` of the platform, and one more. Inherited ones count as well, so that a `Request` can be given.
 *
 * Refused (`misconfigured`), since they would protect the caller and have no effect here: `integrity`, unless it is empty, and
 * `redirect: 'error'`: a redirect is returned as it is, and never followed. Without effect on a request that is sealed: `cache`,
 * `credentials` (no cookie of the application is kept or sent; those of the front end always are), `keepalive`, `mode`, `priority`,
 * `redirect` otherwise, `referrer`, `referrerPolicy`.
 */
export interface FetchOptions extends Omit<RequestInit, 'integrity' | 'redirect'> {
  /**
   * States that to process the request twice has the same effect as to process it once. A response that the instance does not know the
   * key, or has received the request before, may come from the front end after the request was processed. An idempotent request is then
   * sealed again for the instance that is attested next, at most twice; not one whose body is a stream, which can be read once.
   * `GET`, `HEAD` and `OPTIONS` are idempotent without it. It counts only as a property of the object itself.
   */
  idempotent?: boolean;
}

/** A session with an attested instance. Nothing is sealed after its attestation has ended or evidence was refused. */
export interface Session {
  /** As given to `connect`. */
  readonly url: string;
  /** Every check of the last attestation. It holds values that identify a machine. */
  readonly appraisal: readonly Check[];
  /** The last attestation: `channel`, `server_name`, `message_key`, `issued_at`, `expires_at`, `claims`, `appraisal`. */
  readonly attestation: Readonly<Record<string, any>>;
  /**
   * As `fetch` of the platform, sealed to the attested instance: method, URL, headers and content, of request and response. A string that
   * begins with `/` is below the session's URL; other origins are refused. Redirects are not followed, and cookies not kept. The content of
   * the response errors unless it is complete. Attests first if the last attestation has ended.
   */
  readonly fetch: (input: string | URL | Request, init?: FetchOptions | null) => Promise<Response>;
  /** Attests again now. After a refusal, nothing else opens the session again. */
  reattest(): Promise<void>;
  /** Ends requests under way with the error `closed`, and drops the keys. */
  close(): void;
}

/**
 * Attests the instance at `url` under a policy (TOML or JSON, with `binding = "own-message-key"`), in this page, and returns a session
 * with it.
 *
 * A page cannot know who served its own code: that party decides what this function does.
 */
export function connect(url: string | URL, policy: string, options?: ConnectOptions): Promise<Session>;
