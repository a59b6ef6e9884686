// Written by tests/generated.js from the core's list of codes.

/** The frozen facts about one kind of error. */
export interface Code {
  readonly code: string;
  readonly number: number;
  readonly category: 'rejected' | 'untrusted' | 'unavailable' | 'misconfigured' | 'internal';
  /** Whether the same call may succeed later without any change of settings or deployment. */
  readonly retryable: boolean;
  /** The name of the class, such as `DebugMode`. */
  readonly name: string;
}

/** One check of an appraisal. */
export interface Check {
  readonly name: string;
  readonly verdict: 'passed' | 'allowed' | 'failed' | 'not-evaluated';
  readonly expected: string;
  readonly actual: string;
  readonly why?: string;
}

/** The reason why there is no attested connection, or why a request failed. */
export class AttestationError extends Error {
  /** The code, such as `debug-mode`, which never changes between releases; so is the number. */
  readonly code: string;
  readonly number: number;
  readonly category: 'rejected' | 'untrusted' | 'unavailable' | 'misconfigured' | 'internal';
  /**
   * Whether the same call may succeed later without any change of settings or deployment. It does not say that a request may be
   * repeated: that depends on `requestSent`.
   */
  readonly retryable: boolean;
  /** Whether the peer may have received the request that failed. If so, repeat it only if processing it twice does no harm. */
  readonly requestSent: boolean;
  /**
   * Every check of genuine evidence that was rejected, else null. It holds values that identify a machine, and is not part of the
   * message.
   */
  readonly appraisal: Check[] | null;
}

/** The evidence is genuine, but the policy does not accept it. */
export class Rejected extends AttestationError {}
/** The evidence is not genuine or not about this peer. Assume an attack. */
export class Untrusted extends AttestationError {}
/** Attestation or a request could not be completed; nothing is known about the peer. */
export class Unavailable extends AttestationError {}
/** Settings or arguments of the caller are wrong. */
export class Misconfigured extends AttestationError {}
/** A fault of this library: nothing was verified. */
export class Internal extends AttestationError {}

/** `debug-mode` (101) */
export class DebugMode extends Rejected {}
/** `migration-allowed` (102) */
export class MigrationAllowed extends Rejected {}
/** `non-compliant-uvm` (103) */
export class NonCompliantUvm extends Rejected {}
/** `invalid-enclave-code` (104) */
export class InvalidEnclaveCode extends Rejected {}
/** `wrong-measurement` (105) */
export class WrongMeasurement extends Rejected {}
/** `wrong-uvm` (106) */
export class WrongUvm extends Rejected {}
/** `uvm-too-old` (107) */
export class UvmTooOld extends Rejected {}
/** `wrong-maa-policy` (108) */
export class WrongMaaPolicy extends Rejected {}
/** `wrong-tee-kind` (109) */
export class WrongTeeKind extends Rejected {}
/** `wrong-vmpl` (110) */
export class WrongVmpl extends Rejected {}
/** `wrong-guest-identity` (111) */
export class WrongGuestIdentity extends Rejected {}
/** `tcb-too-old` (112) */
export class TcbTooOld extends Rejected {}
/** `firmware-too-old` (113) */
export class FirmwareTooOld extends Rejected {}
/** `guest-svn-too-old` (114) */
export class GuestSvnTooOld extends Rejected {}
/** `wrong-guest-policy` (115) */
export class WrongGuestPolicy extends Rejected {}
/** `wrong-platform-info` (116) */
export class WrongPlatformInfo extends Rejected {}
/** `missing-mitigations` (117) */
export class MissingMitigations extends Rejected {}
/** `wrong-chip` (118) */
export class WrongChip extends Rejected {}
/** `not-reported` (119) */
export class NotReported extends Rejected {}
/** `token-too-old` (120) */
export class TokenTooOld extends Rejected {}
/** `not-post-quantum` (121) */
export class NotPostQuantum extends Rejected {}
/** `wrong-maa-key` (122) */
export class WrongMaaKey extends Rejected {}
/** `key-not-in-report` (123) */
export class KeyNotInReport extends Rejected {}
/** `wrong-tcb-status` (124) */
export class WrongTcbStatus extends Rejected {}
/** `wrong-pcr` (125) */
export class WrongPcr extends Rejected {}
/** `pcr-not-quoted` (126) */
export class PcrNotQuoted extends Rejected {}
/** `wrong-vm-configuration` (127) */
export class WrongVmConfiguration extends Rejected {}
/** `not-an-enclave` (201) */
export class NotAnEnclave extends Untrusted {}
/** `wrong-attester` (202) */
export class WrongAttester extends Untrusted {}
/** `channel-mismatch` (203) */
export class ChannelMismatch extends Untrusted {}
/** `channel-not-bound` (204) */
export class ChannelNotBound extends Untrusted {}
/** `false-attestation-report` (205) */
export class FalseAttestationReport extends Untrusted {}
/** `evidence-mismatch` (206) */
export class EvidenceMismatch extends Untrusted {}
/** `invalid-token` (207) */
export class InvalidToken extends Untrusted {}
/** `invalid-key-set` (208) */
export class InvalidKeySet extends Untrusted {}
/** `invalid-report` (209) */
export class InvalidReport extends Untrusted {}
/** `invalid-uvm-endorsement` (210) */
export class InvalidUvmEndorsement extends Untrusted {}
/** `missing-evidence` (211) */
export class MissingEvidence extends Untrusted {}
/** `invalid-agent-answer` (212) */
export class InvalidAgentAnswer extends Untrusted {}
/** `server-name-not-validated` (213) */
export class ServerNameNotValidated extends Untrusted {}
/** `invalid-hcl-report` (214) */
export class InvalidHclReport extends Untrusted {}
/** `invalid-tpm-quote` (215) */
export class InvalidTpmQuote extends Untrusted {}
/** `invalid-ak-certificate` (216) */
export class InvalidAkCertificate extends Untrusted {}
/** `connection-mismatch` (217) */
export class ConnectionMismatch extends Untrusted {}
/** `unattested-maa-key` (218) */
export class UnattestedMaaKey extends Untrusted {}
/** `maa-token-not-found` (301) */
export class MaaTokenNotFound extends Unavailable {}
/** `agent-unreachable` (302) */
export class AgentUnreachable extends Unavailable {}
/** `maa-unreachable` (303) */
export class MaaUnreachable extends Unavailable {}
/** `kds-unreachable` (304) */
export class KdsUnreachable extends Unavailable {}
/** `application-unreachable` (305) */
export class ApplicationUnreachable extends Unavailable {}
/** `timeout` (306) */
export class Timeout extends Unavailable {}
/** `too-large` (307) */
export class TooLarge extends Unavailable {}
/** `attestation-expired` (308) */
export class AttestationExpired extends Unavailable {}
/** `session-poisoned` (309) */
export class SessionPoisoned extends Unavailable {}
/** `too-many-unattested-peers` (310) */
export class TooManyUnattestedPeers extends Unavailable {}
/** `revocation-unavailable` (311) */
export class RevocationUnavailable extends Unavailable {}
/** `key-set-not-authenticated` (312) */
export class KeySetNotAuthenticated extends Unavailable {}
/** `invalid-response` (313) */
export class InvalidResponse extends Unavailable {}
/** `invalid-policy` (401) */
export class InvalidPolicy extends Misconfigured {}
/** `invalid-url` (402) */
export class InvalidUrl extends Misconfigured {}
/** `invalid-request` (403) */
export class InvalidRequest extends Misconfigured {}
/** `channel-not-allowed` (405) */
export class ChannelNotAllowed extends Misconfigured {}
/** `request-body-failed` (406) */
export class RequestBodyFailed extends Misconfigured {}
/** `cancelled` (901) */
export class Cancelled extends Unavailable {}
/** `internal` (902) */
export class InternalError extends Internal {}
/** `closed` (903) */
export class Closed extends Misconfigured {}
/** `forked` (904) */
export class Forked extends Misconfigured {}
