/** Verification of recorded evidence: nothing here says anything about a connection. `session.d.ts` has those. */

/** A failure. `code` and `number` are frozen; `code` is `internal` for a fault of the module, and then nothing was verified. */
export class AttestationError extends Error {
  readonly name: 'AttestationError';
  readonly code: string;
  readonly number: number;
  readonly category: 'rejected' | 'untrusted' | 'unavailable' | 'misconfigured' | 'internal';
  /**
   * Whether the same call may succeed later without any change of settings or deployment. It does not say that a request may be
   * repeated: that depends on `requestSent`.
   */
  readonly retryable: boolean;
  /** Whether the application may have received the request that failed. If so, repeat it only if processing it twice does no harm. */
  readonly requestSent: boolean;
  /** Every check, if the evidence was appraised. It holds values that identify a machine, and is not printed with the error. */
  readonly appraisal: Check[] | null;
}

export interface Check {
  readonly name: string;
  readonly verdict: 'passed' | 'allowed' | 'failed' | 'not-evaluated';
  readonly expected: string;
  readonly actual: string;
  readonly why?: string;
}

/** Evidence that was accepted. */
export interface Recorded {
  readonly appraisal: Check[];
  readonly claims: Record<string, any>;
  readonly [member: string]: any;
}

/** The frozen facts about one code. */
export interface Code {
  readonly code: string;
  readonly number: number;
  readonly category: string;
  readonly retryable: boolean;
  readonly name: string;
}

/** Documents by the names of the files that `blindbox-attest fetch` writes, such as `token.jwt`; each at most 4 MiB. */
export type Documents = Record<string, Uint8Array>;

export interface RecordedOptions {
  /** The time of the verdict: a Date, or whole seconds since 1970-01-01 UTC. */
  at: Date | number;
  /** The key set of the MAA instance, from elsewhere: `key-set.json` among the documents proves nothing. */
  keySet?: Uint8Array;
  /** Roots that replace AMD's, in PEM: for tests. */
  amdRoots?: string;
  /** The root that replaces Azure's root of virtual TPMs, in PEM: for tests. */
  akRoot?: string;
}

/** What a policy is. */
export interface PolicyDescription {
  readonly policy: Record<string, any>;
  readonly toml: string;
  /** SHA-256 in hexadecimal: two policies have the same digest exactly if they require the same. */
  readonly digest: string;
  readonly attester: string | null;
  /** What the policy does not restrict, the most severe first. */
  readonly lint: { readonly code: string; readonly message: string }[];
}

/** What host data are. */
export interface HostDataDescription {
  readonly host_data: string;
  readonly known_allow_all: boolean;
  readonly findings: string[] | null;
}

/** What a document in a file is, for display. */
export interface Inspection {
  readonly kind: string;
  readonly verified: boolean;
  readonly why: string;
  readonly [member: string]: any;
}

/** The module. Calls run on this thread and take some milliseconds. */
export interface Blindbox {
  readonly version: string;
  readonly codes: Code[];
  /** The names of the files that `fetch` writes, which documents have. */
  readonly documentNames: readonly string[];
  /** The size of the module's memory in bytes. */
  readonly memoryBytes: number;
  /** Verifies recorded evidence and appraises it against a policy, as text. The result proves neither freshness nor whose connection it was. */
  verifyRecorded(documents: Documents, policy: string, options: RecordedOptions): Recorded;
  /** Verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable. */
  verifyUnappraised(documents: Documents, options: RecordedOptions & { maaIssuer?: string }): Record<string, any>;
  /** Returns what the bytes of a file are, for display. What they say is not verified. */
  inspect(content: Uint8Array): Inspection[];
  /** Parses a policy, as TOML or JSON. */
  policy(source: string): PolicyDescription;
  /** Parses host data in hexadecimal. */
  hostData(hex: string): HostDataDescription;
  /** Reads a CCE policy in base64, as it is deployed. */
  ccePolicy(source: string): HostDataDescription;
}

/** Loads the module: its bytes, a compiled module, or a `Response` with its bytes. One of another version is refused with an `Error`. */
export function load(source: BufferSource | WebAssembly.Module | Response): Promise<Blindbox>;
