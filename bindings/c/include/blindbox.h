#ifndef BLINDBOX_H
#define BLINDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/*
 * The C interface of blindbox-attestation: a connection to a BlindBox (an application in an AMD SEV-SNP confidential container or VM
 * on Azure) exists only if the peer has proven what it runs. This file is generated: see bindings/c/tests/header.rs.
 *
 * Results     A function that can fail returns BB_OK (0) or the frozen number of an error, such as BB_DEBUG_MODE (101). Receivers of
 *             results are written only on success, the receiver of the error only on failure. A program that ignores the result has
 *             no session.
 * Memory      Each parameter states who frees. A pointer that is not said to be kept is borrowed for the call. NULL where something
 *             must be given is the error BB_MISCONFIGURED, and freeing NULL does nothing.
 * Texts       UTF-8 that ends with a zero. Other bytes are the error BB_MISCONFIGURED. A zero within a text that the library gives
 *             is replaced by U+FFFD.
 * Threads     Every function may be called from every thread; what is said at a type limits that. Nothing is called back. A call
 *             that blocks ends when its bb_cancel handle is triggered. It works on the thread that calls: give it 512 KiB of stack.
 * Fork        Objects belong to the process that made them. In a forked child their use is the error BB_FORKED; make new ones, after
 *             the fork.
 * Panics      A fault of the library is the error BB_INTERNAL, and nothing was verified. It does not end the process.
 * Unloading   The library has threads that run to the end of the process: do not unload it.
 */

#if defined(__GNUC__) || defined(__clang__)
#define BB_MUST_USE __attribute__((warn_unused_result))
#else
#define BB_MUST_USE
#endif

/* The version of this header; bb_version() gives that of the library. */
#define BB_VERSION "0.1.0"

/* The results of functions: the frozen numbers of errors. docs/errors.md describes each. */
enum {
  BB_OK = 0,
  BB_DEBUG_MODE = 101,
  BB_MIGRATION_ALLOWED = 102,
  BB_NON_COMPLIANT_UVM = 103,
  BB_INVALID_ENCLAVE_CODE = 104,
  BB_WRONG_MEASUREMENT = 105,
  BB_WRONG_UVM = 106,
  BB_UVM_TOO_OLD = 107,
  BB_WRONG_MAA_POLICY = 108,
  BB_WRONG_TEE_KIND = 109,
  BB_WRONG_VMPL = 110,
  BB_WRONG_GUEST_IDENTITY = 111,
  BB_TCB_TOO_OLD = 112,
  BB_FIRMWARE_TOO_OLD = 113,
  BB_GUEST_SVN_TOO_OLD = 114,
  BB_WRONG_GUEST_POLICY = 115,
  BB_WRONG_PLATFORM_INFO = 116,
  BB_MISSING_MITIGATIONS = 117,
  BB_WRONG_CHIP = 118,
  BB_NOT_REPORTED = 119,
  BB_TOKEN_TOO_OLD = 120,
  BB_NOT_POST_QUANTUM = 121,
  BB_WRONG_MAA_KEY = 122,
  BB_KEY_NOT_IN_REPORT = 123,
  BB_WRONG_TCB_STATUS = 124,
  BB_WRONG_PCR = 125,
  BB_PCR_NOT_QUOTED = 126,
  BB_WRONG_VM_CONFIGURATION = 127,
  BB_NOT_AN_ENCLAVE = 201,
  BB_WRONG_ATTESTER = 202,
  BB_CHANNEL_MISMATCH = 203,
  BB_CHANNEL_NOT_BOUND = 204,
  BB_FALSE_ATTESTATION_REPORT = 205,
  BB_EVIDENCE_MISMATCH = 206,
  BB_INVALID_TOKEN = 207,
  BB_INVALID_KEY_SET = 208,
  BB_INVALID_REPORT = 209,
  BB_INVALID_UVM_ENDORSEMENT = 210,
  BB_MISSING_EVIDENCE = 211,
  BB_INVALID_AGENT_ANSWER = 212,
  BB_SERVER_NAME_NOT_VALIDATED = 213,
  BB_INVALID_HCL_REPORT = 214,
  BB_INVALID_TPM_QUOTE = 215,
  BB_INVALID_AK_CERTIFICATE = 216,
  BB_CONNECTION_MISMATCH = 217,
  BB_UNATTESTED_MAA_KEY = 218,
  BB_MAA_TOKEN_NOT_FOUND = 301,
  BB_AGENT_UNREACHABLE = 302,
  BB_MAA_UNREACHABLE = 303,
  BB_KDS_UNREACHABLE = 304,
  BB_APPLICATION_UNREACHABLE = 305,
  BB_TIMEOUT = 306,
  BB_TOO_LARGE = 307,
  BB_ATTESTATION_EXPIRED = 308,
  BB_SESSION_POISONED = 309,
  BB_TOO_MANY_UNATTESTED_PEERS = 310,
  BB_REVOCATION_UNAVAILABLE = 311,
  BB_KEY_SET_NOT_AUTHENTICATED = 312,
  BB_INVALID_RESPONSE = 313,
  BB_INVALID_POLICY = 401,
  BB_INVALID_URL = 402,
  BB_INVALID_REQUEST = 403,
  BB_MISCONFIGURED = 404,
  BB_CHANNEL_NOT_ALLOWED = 405,
  BB_REQUEST_BODY_FAILED = 406,
  BB_CANCELLED = 901,
  BB_INTERNAL = 902,
  BB_CLOSED = 903,
  BB_FORKED = 904,
};

/**
 * The length of a body that is not known before it ends.
 */
#define BB_LENGTH_UNKNOWN UINT64_MAX

/**
 * Ends calls from another thread. One handle may be given to many calls, at the same time and one after another. It has a count
 * of references: it is freed with the last of them.
 */
typedef struct bb_cancel bb_cancel;

/**
 * Evidence as received: nothing of it is verified, and nothing leads from it to a session. Threads may share it.
 */
typedef struct bb_collected bb_collected;

/**
 * Why a call failed. Its texts live as long as it does. Functions may be called from every thread.
 */
typedef struct bb_error bb_error;

/**
 * A request that was started, and whose response is not there yet. Threads may share it; one at a time waits for it, and a second one
 * is refused.
 */
typedef struct bb_exchange bb_exchange;

/**
 * A policy: what must be proven. Threads may share it.
 */
typedef struct bb_policy bb_policy;

/**
 * A request. One thread at a time may use it. It may be sent several times, unless it has an upload.
 */
typedef struct bb_request bb_request;

/**
 * A response: its head, and its body as it is read. One thread at a time reads; the other functions may be called from every thread.
 */
typedef struct bb_response bb_response;

/**
 * A session with an attested peer. Threads may share it.
 */
typedef struct bb_session bb_session;

/**
 * A request body that the caller writes while it is sent, in bounded memory. One thread writes; others may fail or finish it.
 */
typedef struct bb_upload bb_upload;

/**
 * Opens sessions. One serves a whole process, and threads may share it: its sessions share key sets, certificates and attestations
 * under way.
 */
typedef struct bb_verifier bb_verifier;

/**
 * The frozen facts about one kind of error.
 */
typedef struct {
  /**
   * The number, such as 101.
   */
  uint32_t number;
  /**
   * Whether the same call may succeed later.
   */
  bool retryable;
  /**
   * The code, such as `debug-mode`.
   */
  const char *code;
  /**
   * The category, such as `rejected`.
   */
  const char *category;
  /**
   * The name of the error type in other languages, such as `DebugMode`.
   */
  const char *name;
} bb_code;

/**
 * A file of recorded evidence, borrowed for a call.
 */
typedef struct {
  /**
   * The name that `blindbox-attest fetch` gives it, such as `token.jwt`.
   */
  const char *name;
  /**
   * Its bytes, in any form that the command reads.
   */
  const uint8_t *data;
  /**
   * Their number.
   */
  size_t length;
} bb_document;

/**
 * Recorded evidence, and what the caller knows from elsewhere. All pointers are borrowed for a call; what is not there is NULL.
 */
typedef struct {
  /**
   * Evidence and endorsements: an array of at most 64. Names that `blindbox-attest fetch` does not write are refused. `key-set.json`
   * among them proves nothing: it is used only if `key_set` is NULL, and refused unless the policy pins the key.
   */
  const bb_document *documents;
  /**
   * How many documents there are.
   */
  size_t document_count;
  /**
   * The key set of the MAA instance, whose origin the caller knows.
   */
  const uint8_t *key_set;
  /**
   * The number of its bytes.
   */
  size_t key_set_length;
  /**
   * Roots that replace AMD's, in PEM.
   */
  const char *amd_roots;
  /**
   * The root that replaces Azure's root of virtual TPMs, in PEM.
   */
  const char *ak_root;
} bb_recorded;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the version of the library, which never changes in a process. A program that loads the shared library compares it with
 * `BB_VERSION`, the version of the header that it was compiled with, and does not go on if they differ.
 *
 * Returns: never NULL; not freed.
 */
const char *bb_version(void);

/**
 * Notes that this process is a fork of another. Optional: objects also compare process ids, which repeat in a long chain of forks.
 * Call it in the child, for example by `pthread_atfork`; it takes no lock.
 */
void bb_note_fork(void);

/**
 * Returns the frozen number, such as 101; it is also the result of the function that failed.
 *
 * @param error NULL gives 0.
 */
uint32_t bb_error_number(const bb_error *error);

/**
 * Returns whether the same call may succeed later without any change of settings or deployment. It does not say that a request may be
 * repeated: that depends on `bb_error_request_sent`.
 *
 * @param error NULL gives false.
 */
bool bb_error_retryable(const bb_error *error);

/**
 * Returns whether the peer may have received the request that failed. If so, repeat it only if processing it twice does no harm.
 *
 * @param error NULL gives false.
 */
bool bb_error_request_sent(const bb_error *error);

/**
 * Returns the frozen code, such as `debug-mode`.
 *
 * @param error NULL gives an empty text.
 *
 * Returns: never NULL; valid until the error is freed.
 */
const char *bb_error_code(const bb_error *error);

/**
 * Returns the category: `rejected`, `untrusted`, `unavailable`, `misconfigured` or `internal`.
 *
 * @param error NULL gives an empty text.
 *
 * Returns: never NULL; valid until the error is freed.
 */
const char *bb_error_category(const bb_error *error);

/**
 * Returns the name of the error type in other languages, such as `DebugMode`.
 *
 * @param error NULL gives an empty text.
 *
 * Returns: never NULL; valid until the error is freed.
 */
const char *bb_error_name(const bb_error *error);

/**
 * Returns the reason, for people. It holds nothing that identifies a machine.
 *
 * @param error NULL gives an empty text.
 *
 * Returns: never NULL; valid until the error is freed.
 */
const char *bb_error_message(const bb_error *error);

/**
 * Returns every check as a JSON array, if the evidence was genuine and was appraised: objects with `name`, `verdict`, `expected`,
 * `actual` and `why`. It holds values that identify a machine: do not log it.
 *
 * @param error NULL gives NULL.
 *
 * Returns: NULL without an appraisal; valid until the error is freed.
 */
const char *bb_error_appraisal(const bb_error *error);

/**
 * Frees an error.
 *
 * @param error NULL, or the error; it must not be used any more.
 */
void bb_error_free(bb_error *error);

/**
 * Returns all codes in the order of their numbers.
 *
 * @param count receives how many there are.
 *
 * Returns: an array of `count` elements, never freed; NULL if `count` is NULL.
 */
const bb_code *bb_codes(size_t *count);

/**
 * Parses a policy file: JSON if it begins with a brace, otherwise TOML.
 *
 * @param text the content of the file; borrowed for the call.
 * @param policy receives the policy; free it with `bb_policy_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_policy_parse(const char *text, bb_policy **policy, bb_error **error);

/**
 * Gives the policy as TOML.
 *
 * @param policy borrowed for the call.
 * @param toml receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_policy_to_toml(const bb_policy *policy, char **toml, bb_error **error);

/**
 * Gives the policy as JSON.
 *
 * @param policy borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_policy_to_json(const bb_policy *policy, char **json, bb_error **error);

/**
 * Gives the SHA-256 of the policy in hexadecimal. Two policies have the same one exactly if they require the same.
 *
 * @param policy borrowed for the call.
 * @param digest receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_policy_digest(const bb_policy *policy,
                          char **digest,
                          bb_error **error);

/**
 * Gives what the policy does not restrict, the most severe first, as a JSON array of objects with `code` and `message`.
 *
 * @param policy borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_policy_lint(const bb_policy *policy,
                        char **json,
                        bb_error **error);

/**
 * Gives the trusted MAA instance.
 *
 * @param policy borrowed for the call.
 * @param url receives a text, which is freed with `bb_string_free`; NULL under AMD trust alone.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_policy_maa_issuer(const bb_policy *policy, char **url, bb_error **error);

/**
 * Frees a policy. Sessions that were opened with it go on.
 *
 * @param policy NULL, or the policy; it must not be used any more.
 */
void bb_policy_free(bb_policy *policy);

/**
 * Parses host data, 64 hexadecimal digits, and gives a JSON object with `host_data` and `known_allow_all`: whether it is the digest of
 * a published CCE policy that allows everything.
 *
 * @param hex borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_host_data(const char *hex,
                      char **json,
                      bb_error **error);

/**
 * Reads a CCE policy in base64, as it is deployed, and gives a JSON object with `host_data`, `known_allow_all` and `findings`: what it
 * allows that it should not.
 *
 * @param base64 borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_cce_policy(const char *base64,
                       char **json,
                       bb_error **error);

/**
 * Creates a handle with one reference.
 *
 * @param cancel receives the handle; give its reference back with `bb_cancel_release`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_cancel_new(bb_cancel **cancel, bb_error **error);

/**
 * Adds a reference: the handle exists until each was given back. A thread that triggers a handle should have one of its own.
 *
 * @param cancel NULL does nothing.
 */
void bb_cancel_retain(bb_cancel *cancel);

/**
 * Gives a reference back. Ends no call.
 *
 * @param cancel NULL does nothing; it must not be used any more through this reference.
 */
void bb_cancel_release(bb_cancel *cancel);

/**
 * Ends every call that has the handle, now and from now on: they fail with `BB_CANCELLED`. The peer may have received a request that
 * is cancelled. Returns at once.
 *
 * @param cancel NULL does nothing.
 */
void bb_cancel_trigger(const bb_cancel *cancel);

/**
 * Creates a verifier.
 *
 * @param settings NULL for the defaults, or a JSON object; `bindings/README.md` lists its members. Unknown ones are refused. Borrowed
 * for the call.
 * @param verifier receives the verifier; free it with `bb_verifier_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_verifier_new(const char *settings,
                         bb_verifier **verifier,
                         bb_error **error);

/**
 * Attests the peer behind a URL and opens a session with it. Blocks. Nothing but the attestation request is sent before the peer is
 * attested.
 *
 * @param verifier borrowed for the call.
 * @param url such as `https://my-app.example`; borrowed for the call.
 * @param policy borrowed for the call.
 * @param cancel NULL, or a handle that ends the call; borrowed for the call.
 * @param session receives the session; free it with `bb_session_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_connect(const bb_verifier *verifier,
                    const char *url,
                    const bb_policy *policy,
                    const bb_cancel *cancel,
                    bb_session **session,
                    bb_error **error);

/**
 * Collects the evidence of the peer behind a URL without verifying it. Blocks. Nothing but the attestation request is sent.
 *
 * @param verifier borrowed for the call.
 * @param url such as `https://my-app.example`; borrowed for the call.
 * @param policy borrowed for the call.
 * @param cancel NULL, or a handle that ends the call; borrowed for the call.
 * @param collected receives the evidence; free it with `bb_collected_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_collect(const bb_verifier *verifier,
                    const char *url,
                    const bb_policy *policy,
                    const bb_cancel *cancel,
                    bb_collected **collected,
                    bb_error **error);

/**
 * Frees a verifier. Its sessions go on.
 *
 * @param verifier NULL, or the verifier; it must not be used any more.
 */
void bb_verifier_free(bb_verifier *verifier);

/**
 * Sends a request, and blocks until the head of the response is there. Redirects are returned as responses.
 *
 * @param session borrowed for the call.
 * @param request borrowed for the call.
 * @param cancel NULL, or a handle that ends the call; borrowed for the call.
 * @param response receives the response; free it with `bb_response_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_session_send(const bb_session *session,
                         const bb_request *request,
                         const bb_cancel *cancel,
                         bb_response **response,
                         bb_error **error);

/**
 * Starts a request and returns at once, so that its body can be written.
 *
 * @param session borrowed for the call.
 * @param request borrowed for the call.
 * @param cancel NULL, or a handle that ends the request until its response is there; the exchange keeps what it needs of it.
 * @param exchange receives the exchange; free it with `bb_exchange_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_session_start(const bb_session *session,
                          const bb_request *request,
                          const bb_cancel *cancel,
                          bb_exchange **exchange,
                          bb_error **error);

/**
 * Blocks until the head of the response is there. It can be had once; after that, or after an error, the exchange is closed.
 *
 * @param exchange borrowed for the call.
 * @param response receives the response; free it with `bb_response_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_exchange_wait(const bb_exchange *exchange,
                          bb_response **response,
                          bb_error **error);

/**
 * Frees an exchange. A request whose response was not waited for is cancelled. Do not free it while a thread waits for it.
 *
 * @param exchange NULL, or the exchange; it must not be used any more.
 */
void bb_exchange_free(bb_exchange *exchange);

/**
 * Gives the URL that the session was opened with, without a slash at its end, so that a path can be appended.
 *
 * @param session borrowed for the call.
 * @param url receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_session_url(const bb_session *session, char **url, bb_error **error);

/**
 * Gives the latest attestation as JSON: claims, checks, channel, times. It holds values that identify a machine: do not log it.
 *
 * @param session borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_session_attestation(const bb_session *session,
                                char **json,
                                bb_error **error);

/**
 * Gives the latest attestation as a table for people; values that identify a machine are shortened.
 *
 * @param session borrowed for the call.
 * @param table receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_session_attestation_table(const bb_session *session, char **table, bb_error **error);

/**
 * Opens a new connection and attests its peer again, whatever is known of it. Blocks. Gives the attestation as JSON.
 *
 * @param session borrowed for the call.
 * @param cancel NULL, or a handle that ends the call; borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_session_reattest(const bb_session *session,
                             const bb_cancel *cancel,
                             char **json,
                             bb_error **error);

/**
 * Closes a session: further calls fail with `BB_CLOSED`. Responses that are being read are not cut off. Other threads may still use the
 * handle until it is freed.
 *
 * @param session NULL does nothing.
 */
void bb_session_close(const bb_session *session);

/**
 * Closes and frees a session. Do not free it while another thread uses it. Its responses and exchanges may be used further.
 *
 * @param session NULL, or the session; it must not be used any more.
 */
void bb_session_free(bb_session *session);

/**
 * Creates a request.
 *
 * @param method such as `POST`; borrowed for the call.
 * @param target begins with a slash, or is a URL on the session's origin; other origins are refused when it is sent. Borrowed for the
 * call.
 * @param request receives the request; free it with `bb_request_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_request_new(const char *method,
                        const char *target,
                        bb_request **request,
                        bb_error **error);

/**
 * Adds a header. It is checked when the request is sent.
 *
 * @param request changed by the call.
 * @param name borrowed for the call.
 * @param value any bytes that HTTP allows; borrowed for the call.
 * @param length the number of bytes of the value.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_request_header(bb_request *request,
                           const char *name,
                           const uint8_t *value,
                           size_t length,
                           bb_error **error);

/**
 * Sets the body, in place of an earlier one.
 *
 * @param request changed by the call.
 * @param body copied.
 * @param length the number of bytes.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_request_body(bb_request *request,
                         const uint8_t *body,
                         size_t length,
                         bb_error **error);

/**
 * Sets an upload as the body, in place of an earlier one. Such a request is sent once.
 *
 * @param request changed by the call.
 * @param upload borrowed for the call; the caller keeps it to write to it.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_request_upload(bb_request *request, const bb_upload *upload, bb_error **error);

/**
 * Limits the time to the end of the response body, in place of the verifier's limit.
 *
 * @param request changed by the call.
 * @param milliseconds the limit.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_request_timeout(bb_request *request, uint64_t milliseconds, bb_error **error);

/**
 * States that to process the request twice has the same effect as to process it once. It counts in sessions with sealed messages
 * (`own-message-key`): after an error that the front end may have made up, the request is sent again, at most twice; not one with an
 * upload. `GET`, `HEAD` and `OPTIONS` are idempotent without it.
 *
 * @param request changed by the call.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_request_idempotent(bb_request *request,
                               bb_error **error);

/**
 * Frees a request. One that is being sent goes on.
 *
 * @param request NULL, or the request; it must not be used any more.
 */
void bb_request_free(bb_request *request);

/**
 * Creates an upload. Give it to a request with `bb_request_upload`, start the request with `bb_session_start`, write, finish, and wait
 * for the response with `bb_exchange_wait`.
 *
 * @param length the number of bytes, which is sent as Content-Length; or `BB_LENGTH_UNKNOWN`.
 * @param upload receives the upload; free it with `bb_upload_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_upload_new(uint64_t length,
                       bb_upload **upload,
                       bb_error **error);

/**
 * Writes the next piece of the body. Blocks until the request takes it; at most 256 KiB and one piece are held. Do not write before
 * the request was started: nothing would take the piece.
 *
 * @param upload borrowed for the call.
 * @param data copied.
 * @param length the number of bytes.
 * @param cancel NULL, or a handle that ends the call; borrowed for the call. The piece is then in doubt: fail the upload.
 * @param taken receives whether the piece was taken. If not, the request has ended or takes no more: stop writing, and wait for the
 * outcome of the request, which says why.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_upload_write(const bb_upload *upload,
                         const uint8_t *data,
                         size_t length,
                         const bb_cancel *cancel,
                         bool *taken,
                         bb_error **error);

/**
 * Ends the body: all of it was written.
 *
 * @param upload NULL does nothing.
 */
void bb_upload_finish(const bb_upload *upload);

/**
 * Ends the body because its source failed: the request fails with `BB_REQUEST_BODY_FAILED`, and the peer sees that the body is not
 * complete.
 *
 * @param upload borrowed for the call.
 * @param reason NULL, or what is reported; borrowed for the call.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
uint32_t bb_upload_fail(const bb_upload *upload,
                        const char *reason,
                        bb_error **error);

/**
 * Frees an upload. If it was not finished, the body has failed, as by `bb_upload_fail`.
 *
 * @param upload NULL, or the upload; it must not be used any more.
 */
void bb_upload_free(bb_upload *upload);

/**
 * Returns the status, such as 200.
 *
 * @param response NULL gives 0.
 */
uint16_t bb_response_status(const bb_response *response);

/**
 * Returns the version: `HTTP/2`, `HTTP/1.1` or `HTTP/1.0`.
 *
 * @param response NULL gives an empty text.
 *
 * Returns: never NULL; valid until the response is freed.
 */
const char *bb_response_version(const bb_response *response);

/**
 * Returns the URL of the request, against which a relative `Location` is read.
 *
 * @param response NULL gives an empty text.
 *
 * Returns: never NULL; valid until the response is freed.
 */
const char *bb_response_url(const bb_response *response);

/**
 * Returns how many headers there are; one that occurs twice counts twice.
 *
 * @param response NULL gives 0.
 */
size_t bb_response_header_count(const bb_response *response);

/**
 * Returns the name of a header, in lower case.
 *
 * @param response NULL gives NULL.
 * @param index counts from 0.
 *
 * Returns: NULL beyond the last; valid until the response is freed.
 */
const char *bb_response_header_name(const bb_response *response, size_t index);

/**
 * Returns the value of a header: bytes, without a zero at their end.
 *
 * @param response NULL gives NULL.
 * @param index counts from 0.
 * @param length receives the number of bytes.
 *
 * Returns: NULL beyond the last, or if `length` is NULL; valid until the response is freed.
 */
const uint8_t *bb_response_header_value(const bb_response *response, size_t index, size_t *length);

/**
 * Reads the next bytes of the body. Blocks until there are some. A body that broke off is an error on every call, and never an end.
 *
 * @param response borrowed for the call.
 * @param buffer receives the bytes.
 * @param size the room in the buffer, at least 1.
 * @param cancel NULL, or a handle that ends the call; borrowed for the call. The response is then closed.
 * @param length receives how many bytes there are; 0 at the end of the body.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_response_read(const bb_response *response,
                          uint8_t *buffer,
                          size_t size,
                          const bb_cancel *cancel,
                          size_t *length,
                          bb_error **error);

/**
 * Gives up the rest of the body, and that of the request if it is being written (`bb_upload_write` takes no more); their stream or
 * connection is freed. A read that waits, and each later one that needs more, fails with `BB_CLOSED`.
 *
 * @param response NULL does nothing.
 */
void bb_response_close(const bb_response *response);

/**
 * Closes and frees a response. Do not free it while another thread uses it.
 *
 * @param response NULL, or the response; it must not be used any more.
 */
void bb_response_free(bb_response *response);

/**
 * Returns how many documents there are: evidence, then what vouches for it.
 *
 * @param collected NULL gives 0.
 */
size_t bb_collected_count(const bb_collected *collected);

/**
 * Returns the name of a document: that of the file which `blindbox-attest fetch` saves, such as `token.jwt`.
 *
 * @param collected NULL gives NULL.
 * @param index counts from 0.
 *
 * Returns: NULL beyond the last; valid until the evidence is freed.
 */
const char *bb_collected_name(const bb_collected *collected, size_t index);

/**
 * Returns the bytes of a document.
 *
 * @param collected NULL gives NULL.
 * @param index counts from 0.
 * @param length receives their number.
 *
 * Returns: NULL beyond the last, or if `length` is NULL; valid until the evidence is freed.
 */
const uint8_t *bb_collected_bytes(const bb_collected *collected, size_t index, size_t *length);

/**
 * Gives how and when the peer was asked, as a JSON object with `asked_at`, `received_at`, `nonce`, `channel`, `tls_key` and `missing`.
 *
 * @param collected borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_collected_about(const bb_collected *collected,
                            char **json,
                            bb_error **error);

/**
 * Appraises the evidence as a record: as of the time at which it was received, for the nonce of the request and the TLS key of its
 * connection. Gives claims and checks as JSON.
 *
 * @param collected borrowed for the call.
 * @param policy borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_collected_verify(const bb_collected *collected,
                             const bb_policy *policy,
                             char **json,
                             bb_error **error);

/**
 * Frees collected evidence.
 *
 * @param collected NULL, or the evidence; it must not be used any more.
 */
void bb_collected_free(bb_collected *collected);

/**
 * Verifies recorded evidence and appraises it against a policy, for a time. Gives claims and checks as JSON. The result proves neither
 * freshness nor whose connection it was.
 *
 * @param recorded borrowed for the call.
 * @param policy borrowed for the call.
 * @param at the time, in seconds since 1970-01-01 UTC.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_verify_recorded(const bb_recorded *recorded,
                            const bb_policy *policy,
                            uint64_t at,
                            char **json,
                            bb_error **error);

/**
 * Verifies evidence without appraising it: its content is genuine, and nothing says that it is acceptable. Gives claims as JSON.
 *
 * @param recorded borrowed for the call.
 * @param maa_issuer NULL, or the MAA instance of the token, such as `https://sharedneu.neu.attest.azure.net`; borrowed for the call.
 * @param at the time, in seconds since 1970-01-01 UTC.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_verify_unappraised(const bb_recorded *recorded,
                               const char *maa_issuer,
                               uint64_t at,
                               char **json,
                               bb_error **error);

/**
 * Gives what the bytes of a file are, for display: a JSON array of objects with `kind`, `verified`, `why` and the contents. Nothing of
 * it is verified unless it says so.
 *
 * @param data borrowed for the call.
 * @param length the number of bytes.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_inspect(const uint8_t *data,
                    size_t length,
                    char **json,
                    bb_error **error);

/**
 * Sets which events are kept for `bb_log_next`: `off` (the default), `error`, `warn`, `info`, `debug` or `trace`. At most 1024 wait;
 * earlier ones are dropped, and counted.
 *
 * @param level borrowed for the call.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_log_level(const char *level,
                      bb_error **error);

/**
 * Gives the next event as a JSON object with `level`, `message`, `fields` (JSON in a text) and `dropped`. The library never calls back:
 * pull on a thread of your own.
 *
 * @param milliseconds how long to wait for one.
 * @param json receives a text, which is freed with `bb_string_free`; NULL if none came.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE
uint32_t bb_log_next(uint64_t milliseconds,
                     char **json,
                     bb_error **error);

/**
 * Gives a text as a JSON string, with its quotes: for the value of a setting, such as certificates in PEM.
 *
 * @param plain borrowed for the call.
 * @param json receives a text; free it with `bb_string_free`.
 * @param error NULL, or receives the error; free it with `bb_error_free`.
 */
BB_MUST_USE uint32_t bb_json_string(const char *plain, char **json, bb_error **error);

/**
 * Frees a text that a function of this library returned for the caller to free.
 *
 * @param text NULL, or the text; it must not be used any more.
 */
void bb_string_free(char *text);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BLINDBOX_H */
