/// <reference lib="esnext.disposable" />
import { Check, Code } from './errors';

export * from './errors';

/** The version of this package, which is that of its native part. */
export const version: string;

/** All kinds of errors, in the order of their numbers. */
export function codes(): Code[];

/** The path of a file. */
export type File = string | URL;

/** Something that a policy does not restrict. */
export interface Lint {
  readonly code: string;
  readonly message: string;
}

/** Host data of a container: the SHA-256 of its CCE policy. */
export class HostData {
  /** Parses 64 hexadecimal digits. */
  constructor(hex: string);
  /** Returns the host data of a container with this CCE policy, in base64 as it is deployed. */
  static fromCcePolicy(base64: string): HostData;
  /** Returns the host data of a container with the CCE policy in a file, in base64 as it is deployed. */
  static fromCcePolicyFile(path: File): HostData;
  /** The 64 hexadecimal digits. */
  readonly hex: string;
  /** Whether it is the digest of a published CCE policy that allows everything, which requires nothing. */
  readonly isKnownAllowAll: boolean;
  /** What the CCE policy allows that it should not; null if only the digest is known. */
  readonly findings: readonly string[] | null;
  toString(): string;
  toJSON(): string;
}

/** Options of `Policy.confidentialContainer`. */
export interface ConfidentialContainer {
  /** The CCE policies that are expected, by their digests. */
  hostData: HostData | string | readonly (HostData | string)[];
  /** The minimum security version of the utility VM. */
  minimumSvn: number;
  /**
   * Your assertion about what the workload attests, which evidence cannot show: only its own TLS key, or each connection, or its own
   * key of sealed messages, behind a front end that ends TLS. With `none` the channel is not bound, and `allow` needs
   * `unbound-channel`.
   */
  binding: 'own-key' | 'own-connection' | 'own-message-key' | 'none';
  /** The MAA instance that judges the evidence, such as `https://sharedneu.neu.attest.azure.net`. */
  maa?: string;
  /** Verify the hardware report down to AMD's root. Either this or `maa`, or both. */
  amd?: boolean;
  maaPolicyHash?: string;
  /** True accepts an instance of Azure's test ring (`*.test.attest.azure.net`). Only true and false are accepted here. */
  allowTestAttester?: boolean;
  uvmIssuer?: string;
  /** The table `require` of a policy file. */
  require?: Record<string, unknown>;
  /** The table `allow` of a policy file. */
  allow?: Record<string, boolean>;
}

/** What must be proven. A policy that exists can be used: it was checked when it was made. `docs/policy.md` has every field. */
export class Policy {
  /** Parses a policy file: JSON if it begins with a brace, otherwise TOML. */
  constructor(text: string);
  static fromFile(path: File): Policy;
  /** Makes a policy from the fields of a policy file. */
  static fromObject(fields: object): Policy;
  static confidentialContainer(options: ConfidentialContainer): Policy;
  toToml(): string;
  /** Returns the fields of the policy file. */
  toJSON(): Record<string, unknown>;
  /** The SHA-256 of the policy: two policies have the same one exactly if they require the same. */
  readonly digest: string;
  /** The trusted MAA instance; null under AMD trust alone. */
  readonly maaIssuer: string | null;
  /** Returns what the policy does not restrict, the most severe first. */
  lint(): Lint[];
  equals(other: unknown): boolean;
}

/** What was proven: claims, checks and times. `toString()` is a table for people, in which values that identify a machine are shortened. */
export class Attestation {
  private constructor();
  /** All of it, as in the JSON of the command. It holds values that identify a machine: do not log it. */
  readonly fields: Record<string, any>;
  /** The state of the TEE. It holds values that identify a machine. */
  readonly claims: Record<string, any>;
  /** Every check. They hold values that identify a machine. */
  readonly appraisal: Check[];
  /** How the connection is tied to the evidence: `bound`, or an unbound form; null for recorded evidence. */
  readonly channel: string | null;
  readonly expiresAt: Date;
  /** Returns what loggers print: nothing that identifies a machine. `fields` has all of it. */
  toJSON(): { channel: string | null; expiresAt: Date };
  toString(): string;
}

/**
 * Evidence and what vouches for it, by the names of the files that `blindbox-attest fetch` writes, those of a confidential VM included.
 * Its policy and its notes about the request (`policy.toml`, `about.json`) may be among them, and are not read; other names are refused.
 */
export type Documents = Record<string, Uint8Array>;

/** Evidence as received. Nothing of it is verified. */
export class Evidence {
  private constructor();
  readonly documents: Documents;
  /** How and when the peer was asked. */
  readonly about: Record<string, any>;
  /** Returns the verdict of a policy on the evidence, as a record: it proves nothing about a later connection. */
  verify(policy: Policy): Attestation;
}

/**
 * Settings of a verifier. None of them relaxes a check. Roots and key sets are paths of files, or their content as bytes; roots that
 * are given replace the built-in ones. No variable of the environment is read. `docs/trust.md` and `docs/faults.md` describe each.
 */
export interface Settings {
  /** Milliseconds for one connection with its attestation. */
  deadline?: number;
  /** Milliseconds for each request, to the end of the response body. */
  requestTimeout?: number;
  applicationRoots?: File | Uint8Array;
  extraApplicationRoots?: File | Uint8Array;
  /** TLS roots for the connections to MAA and AMD's service. */
  collateralRoots?: File | Uint8Array;
  platformCollateralRoots?: boolean;
  keySet?: File | Uint8Array;
  amdRoots?: File | Uint8Array;
  /** The root that replaces Azure's root of virtual TPMs. */
  akRoot?: File | Uint8Array;
  agent?: string;
  proxy?: string;
  /** Host to `IP:PORT`. */
  resolve?: Record<string, string>;
  /** Headers for a front end that ends TLS, such as a key of a gateway: it reads them, and the application does not get them. */
  frontEndHeaders?: Record<string, string>;
  kds?: string;
  thim?: string;
  cacheDir?: File;
}

export interface CallOptions {
  /** Ends the call. The promise is rejected with the signal's reason. */
  signal?: AbortSignal | null;
}

/** Opens sessions with attested peers. One verifier serves a whole process: sessions share keys and certificates. */
export class Verifier {
  constructor(settings?: Settings);
  /** Attests the peer behind a URL and opens a session with it, before any application data is sent. */
  connect(url: string | URL, policy: Policy, options?: CallOptions): Promise<Session>;
  /** Collects the evidence of the peer behind a URL without verifying it. */
  collect(url: string | URL, policy: Policy, options?: CallOptions): Promise<Evidence>;
}

/**
 * Options of a request: those of `fetch`, asynchronous iterables as bodies, and `idempotent`. `integrity` and `dispatcher` are refused: a
 * check that is not made, and another way than the attested connection.
 */
export interface FetchOptions extends Omit<RequestInit, 'body' | 'integrity' | 'dispatcher'> {
  body?: RequestInit['body'] | AsyncIterable<Uint8Array | string> | null;
  /**
   * States that to process the request twice has the same effect as to process it once. It counts in sessions with sealed messages
   * (`own-message-key`): after an error that the front end may have made up, the request is sent again, at most twice. One whose body is
   * read while it is sent (a stream, an iterable, a `Blob`, `FormData`, the body of a `Request`) is sent once. `GET`, `HEAD` and `OPTIONS`
   * are idempotent without it.
   */
  idempotent?: boolean;
}

/**
 * A session with an attested peer. Requests go to its origin only; redirects are returned as responses.
 */
export class Session {
  private constructor();
  /** The URL that the session was opened with. */
  readonly url: string;
  /** The latest attestation of the peer. */
  readonly attestation: Attestation;
  /**
   * Sends a request, as `fetch` does. It is bound to the session, so that it can be given to a library that takes a `fetch`.
   *
   * `input` is a target that begins with a slash, or a URL or `Request` on the session's origin. Redirects are not followed. A
   * request that was cancelled may have been received by the peer; so may one whose error has `requestSent`.
   */
  readonly fetch: (input: string | URL | Request, init?: FetchOptions) => Promise<Response>;
  /** Opens a new connection and attests its peer again, whatever is known of it. */
  reattest(options?: CallOptions): Promise<Attestation>;
  /** Closes the session: it sends nothing more. Responses that are being read are not cut off. */
  close(): void;
  /** `close`, for `using`; where Node has the symbol (since 18.18 and 20.4). */
  [Symbol.dispose](): void;
  /** `close`, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Attests the peer behind a URL and opens a session with it, before any application data is sent. Failures are
 * `AttestationError`, but for a signal's reason and a file that cannot be read; nothing was sent then but the attestation
 * request. Use one `Verifier` for several connections with settings.
 */
export function verifyConnection(url: string | URL, policy: Policy, options?: Settings & CallOptions): Promise<Session>;

/** The time of a verdict on recorded evidence, and what is known from elsewhere: paths of files, or their content as bytes. */
export interface RecordedOptions {
  /** The time of the verdict: a Date, or whole seconds since 1970-01-01 UTC. */
  at: Date | number;
  /** The key set of the MAA instance, from elsewhere: `key-set.json` among the documents proves nothing. */
  keySet?: File | Uint8Array;
  /** Roots that replace AMD's, in PEM. */
  amdRoots?: File | Uint8Array;
  /** The root that replaces Azure's root of virtual TPMs, in PEM. */
  akRoot?: File | Uint8Array;
}

/** Verifies recorded evidence and appraises it. The result proves neither freshness nor whose connection it was. */
export function verifyRecorded(documents: Documents, policy: Policy, options: RecordedOptions): Attestation;

/** Verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable. */
export function verifyUnappraised(
  documents: Documents,
  options: RecordedOptions & { maaIssuer?: string | null },
): Record<string, any>;

/** Returns what a file of evidence is, for display: its bytes, or its path. What it says is not verified. */
export function inspect(evidence: Uint8Array | File): Record<string, any>[];

/** An event of the core. From `info` on it holds codes, durations and counts, and nothing from evidence. */
export interface LogEvent {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
  readonly fields: Record<string, unknown>;
  /** How many events before it were dropped. */
  readonly dropped: number;
}

/** Reports events of the core to a function, from a level on. Off by default. Events do not keep a process running. */
export function enableLogging(level: LogEvent['level'], listener: (event: LogEvent) => void): void;
export function enableLogging(level: 'off'): void;
