/* The C interface against the emulator: interface PROGRAM DIRECTORY */
#include "emulator.h"

#include <pthread.h>
#include <sys/stat.h>
#include <time.h>

static emulator emulated;
static bb_policy *policy;
static bb_verifier *verifier;
/* For what is refused: that reaches every session of a verifier. */
static bb_verifier *without_session;
static bb_session *session;

static void failed(uint32_t result, uint32_t number, bb_error *error, const char *code) {
    /* A call that succeeds sets no error. */
    const char *message = result == BB_OK ? "success" : bb_error_message(error);
    if (result != number) fprintf(stderr, "expected %s, found %u: %s\n", code, (unsigned)result, message);
    CHECK(result == number && bb_error_number(error) == number);
    CHECK(strcmp(bb_error_code(error), code) == 0);
    bb_error_free(error);
}

/* A call that fails. It is made before its error is read. */
#define expect(call, number, error, code)       \
    do {                                        \
        uint32_t outcome = (call);              \
        failed(outcome, number, error, code);   \
    } while (0)

static bb_session *connected(void) {
    bb_error *error = NULL;
    bb_session *made = NULL;
    OK(bb_connect(verifier, emulated.url, policy, NULL, &made, &error));
    return made;
}

static bb_request *request_of(const char *method, const char *target) {
    bb_error *error = NULL;
    bb_request *request = NULL;
    OK(bb_request_new(method, target, &request, &error));
    return request;
}

static bb_response *sent(bb_request *request) {
    bb_error *error = NULL;
    bb_response *response = NULL;
    OK(bb_session_send(session, request, NULL, &response, &error));
    bb_request_free(request);
    return response;
}

/* Reads a body to its end: its length, and whether every byte is the one that `byte_at` says. */
static size_t read_all(bb_response *response, uint8_t (*byte_at)(size_t)) {
    bb_error *error = NULL;
    uint8_t buffer[7001];
    size_t total = 0, length = 1;
    while (length > 0) {
        OK(bb_response_read(response, buffer, sizeof buffer, NULL, &length, &error));
        for (size_t i = 0; byte_at && i < length; i++) CHECK(buffer[i] == byte_at(total + i));
        total += length;
    }
    bb_response_free(response);
    return total;
}

static uint8_t pattern(size_t index) { return (uint8_t)(index * 31 + index / 251); }

static void versions_and_codes(void) {
    size_t count = 0;
    CHECK(strcmp(bb_version(), BB_VERSION) == 0);
    const bb_code *codes = bb_codes(&count);
    CHECK(count > 50 && codes == bb_codes(&count) && bb_codes(NULL) == NULL);
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        CHECK(i == 0 || codes[i - 1].number < codes[i].number);
        if (codes[i].number != BB_DEBUG_MODE) continue;
        found = strcmp(codes[i].code, "debug-mode") == 0 && strcmp(codes[i].name, "DebugMode") == 0 &&
                strcmp(codes[i].category, "rejected") == 0 && !codes[i].retryable;
    }
    CHECK(found);
}

static void arguments_that_cannot_be_used(void) {
    bb_error *error = NULL;
    bb_policy *parsed = (bb_policy *)&error;
    expect(bb_policy_parse(NULL, &parsed, &error), BB_MISCONFIGURED, error, "misconfigured");
    expect(bb_policy_parse("version = 1\xff", &parsed, &error), BB_MISCONFIGURED, error, "misconfigured");
    expect(bb_policy_parse("kind = 1", &parsed, &error), BB_INVALID_POLICY, error, "invalid-policy");
    /* The receiver is untouched. */
    CHECK(parsed == (bb_policy *)&error);
    CHECK(bb_policy_parse("kind = 1", NULL, NULL) == BB_MISCONFIGURED);
    CHECK(bb_connect(NULL, "https://a.example", policy, NULL, &session, NULL) == BB_MISCONFIGURED);
    expect(bb_verifier_new("{\"deadlin\": 1}", &verifier, &error), BB_MISCONFIGURED, error, "misconfigured");
    bb_request *request = request_of("GET", "/");
    expect(bb_request_header(request, "x", NULL, 3, &error), BB_MISCONFIGURED, error, "misconfigured");
    bb_request_free(request);
    bb_error_free(NULL), bb_policy_free(NULL), bb_verifier_free(NULL), bb_session_free(NULL), bb_request_free(NULL);
    bb_response_free(NULL), bb_cancel_release(NULL), bb_cancel_retain(NULL), bb_cancel_trigger(NULL);
    bb_collected_free(NULL), bb_exchange_free(NULL), bb_upload_free(NULL), bb_string_free(NULL);
    CHECK(bb_error_number(NULL) == 0 && *bb_error_message(NULL) == 0 && bb_response_status(NULL) == 0);
}

static void a_session_sends_requests_to_the_attested_peer(void) {
    bb_error *error = NULL;
    bb_request *request = request_of("POST", "/generate");
    OK(bb_request_body(request, (const uint8_t *)"{\"prompt\": \"hi\"}", 16, &error));
    OK(bb_request_header(request, "content-type", (const uint8_t *)"application/json", 16, &error));
    bb_response *response = sent(request);
    CHECK(bb_response_status(response) == 200 && strcmp(bb_response_version(response), "HTTP/2") == 0);
    CHECK(strstr(bb_response_url(response), "/generate"));
    bool typed = false;
    for (size_t i = 0; i < bb_response_header_count(response); i++) {
        size_t length = 0;
        const uint8_t *value = bb_response_header_value(response, i, &length);
        if (strcmp(bb_response_header_name(response, i), "content-type") == 0) {
            typed = length >= 16 && memcmp(value, "application/json", 16) == 0;
        }
    }
    CHECK(typed && bb_response_header_name(response, 1000) == NULL);
    uint8_t body[128];
    size_t length = 0;
    OK(bb_response_read(response, body, sizeof body - 1, NULL, &length, &error));
    body[length] = 0;
    CHECK(strcmp((char *)body, "{\"text\":\"a response to: hi\"}") == 0);
    OK(bb_response_read(response, body, sizeof body, NULL, &length, &error));
    CHECK(length == 0);
    expect(bb_response_read(response, body, 0, NULL, &length, &error), BB_MISCONFIGURED, error, "misconfigured");
    bb_response_free(response);
    char *text = NULL;
    OK(bb_session_attestation(session, &text, &error));
    CHECK(strstr(text, "\"channel\":\"bound\""));
    bb_string_free(text);
    OK(bb_session_attestation_table(session, &text, &error));
    CHECK(strstr(text, "debug"));
    bb_string_free(text);
    OK(bb_session_reattest(session, NULL, &text, &error));
    bb_string_free(text);
    OK(bb_session_url(session, &text, &error));
    CHECK(strcmp(text, emulated.url) == 0);
    bb_string_free(text);
}

static void a_refusal(const char *knob, uint32_t number, const char *code, const char *name) {
    bb_error *error = NULL;
    bb_session *none = NULL;
    long before = traffic(&emulated, "application_bytes");
    order(&emulated, knob);
    CHECK(bb_connect(without_session, emulated.url, policy, NULL, &none, &error) == number);
    CHECK(none == NULL && bb_error_number(error) == number && strcmp(bb_error_code(error), code) == 0);
    CHECK(strcmp(bb_error_name(error), name) == 0 && strcmp(bb_error_category(error), "rejected") == 0);
    CHECK(!bb_error_retryable(error) && !bb_error_request_sent(error));
    CHECK(strstr(bb_error_appraisal(error), "\"verdict\":\"failed\""));
    CHECK(!strstr(bb_error_message(error), "\"verdict\""));
    bb_error_free(error);
    /* Without room for the error, the number is left. */
    CHECK(bb_connect(without_session, emulated.url, policy, NULL, &none, NULL) == number);
    order(&emulated, "reset");
    CHECK(traffic(&emulated, "application_bytes") == before);
}

static void bodies_of_a_megabyte(void) {
    bb_error *error = NULL;
    size_t size = 1 << 20;
    uint8_t *body = malloc(size);
    CHECK(body);
    for (size_t i = 0; i < size; i++) body[i] = pattern(i);
    bb_request *request = request_of("POST", "/echo");
    OK(bb_request_body(request, body, size, &error));
    CHECK(read_all(sent(request), pattern) == size);
    /* The same, written while it is sent, with and without its length. */
    for (int known = 0; known < 2; known++) {
        bb_upload *upload = NULL;
        bb_exchange *exchange = NULL;
        bb_response *response = NULL;
        bool taken = false;
        OK(bb_upload_new(known ? size : BB_LENGTH_UNKNOWN, &upload, &error));
        request = request_of("POST", "/echo");
        OK(bb_request_upload(request, upload, &error));
        OK(bb_session_start(session, request, NULL, &exchange, &error));
        bb_request_free(request);
        for (size_t at = 0; at < size; at += 65536) {
            OK(bb_upload_write(upload, body + at, 65536, NULL, &taken, &error));
            CHECK(taken);
        }
        bb_upload_finish(upload);
        OK(bb_exchange_wait(exchange, &response, &error));
        CHECK(read_all(response, pattern) == size);
        expect(bb_exchange_wait(exchange, &response, &error), BB_CLOSED, error, "closed");
        bb_exchange_free(exchange);
        bb_upload_free(upload);
    }
    free(body);
    CHECK(read_all(sent(request_of("GET", "/large?bytes=3000000")), NULL) == 3000000);
}

static void an_upload_whose_source_fails(void) {
    bb_error *error = NULL;
    bb_upload *upload = NULL;
    bb_exchange *exchange = NULL;
    bb_response *response = NULL;
    OK(bb_upload_new(BB_LENGTH_UNKNOWN, &upload, &error));
    bb_request *request = request_of("POST", "/echo");
    OK(bb_request_upload(request, upload, &error));
    OK(bb_session_start(session, request, NULL, &exchange, &error));
    OK(bb_upload_fail(upload, "the disk is gone", &error));
    uint32_t result = bb_exchange_wait(exchange, &response, &error);
    CHECK(result == BB_REQUEST_BODY_FAILED && strstr(bb_error_message(error), "the disk is gone"));
    bb_error_free(error);
    bool taken = true;
    OK(bb_upload_write(upload, (const uint8_t *)"x", 1, NULL, &taken, &error));
    CHECK(!taken);
    /* An upload is sent once. */
    expect(bb_session_send(session, request, NULL, &response, &error), BB_INVALID_REQUEST, error, "invalid-request");
    bb_request_free(request), bb_exchange_free(exchange), bb_upload_free(upload);
    /* An upload that is freed before its end, although its request exists. */
    OK(bb_upload_new(BB_LENGTH_UNKNOWN, &upload, &error));
    request = request_of("POST", "/echo");
    OK(bb_request_upload(request, upload, &error));
    OK(bb_session_start(session, request, NULL, &exchange, &error));
    bb_upload_free(upload);
    expect(bb_exchange_wait(exchange, &response, &error), BB_REQUEST_BODY_FAILED, error, "request-body-failed");
    bb_request_free(request), bb_exchange_free(exchange);
    /* A request that is given up before its response. */
    order(&emulated, "fail /=hang");
    request = request_of("GET", "/");
    OK(bb_session_start(session, request, NULL, &exchange, &error));
    bb_exchange_free(exchange);
    bb_request_free(request);
    order(&emulated, "reset");
    /* On the same connection: what arrives of the other one has arrived by the end of this one, before a later test counts. */
    bb_response_free(sent(request_of("GET", "/")));
}

static void a_body_that_breaks_off_is_never_an_end(void) {
    bb_error *error = NULL;
    order(&emulated, "fail /large=truncated");
    bb_response *response = sent(request_of("GET", "/large?bytes=100000"));
    uint8_t buffer[4096];
    size_t length = 1;
    uint32_t result = BB_OK;
    while (result == BB_OK) {
        result = bb_response_read(response, buffer, sizeof buffer, NULL, &length, &error);
        CHECK(result || length > 0);
    }
    CHECK(bb_error_request_sent(error));
    expect(result, BB_APPLICATION_UNREACHABLE, error, "application-unreachable");
    result = bb_response_read(response, buffer, sizeof buffer, NULL, &length, &error);
    expect(result, BB_APPLICATION_UNREACHABLE, error, "application-unreachable");
    bb_response_free(response);
    order(&emulated, "reset");
}

/* How many requests there must be before `trigger` triggers its handle; 0 to trigger it at once. */
static long awaited;

/* The thread that waits for the call gives no orders to the emulator. */
static void *trigger(void *cancel) {
    struct timespec moment = {0, 5 * 1000 * 1000};
    for (int i = 0; awaited && traffic(&emulated, "application_requests") < awaited; i++) {
        CHECK(i < 12000);
        nanosleep(&moment, NULL);
    }
    bb_cancel_trigger(cancel);
    bb_cancel_release(cancel);
    return NULL;
}

static void a_call_that_hangs_is_cancelled(void) {
    bb_error *error = NULL;
    bb_response *response = NULL;
    bb_cancel *cancel = NULL;
    pthread_t thread;
    order(&emulated, "fail /=hang");
    OK(bb_cancel_new(&cancel, &error));
    bb_cancel_retain(cancel);
    awaited = traffic(&emulated, "application_requests") + 1;
    CHECK(pthread_create(&thread, NULL, trigger, cancel) == 0);
    bb_request *request = request_of("GET", "/");
    uint32_t result = bb_session_send(session, request, cancel, &response, &error);
    CHECK(bb_error_request_sent(error));
    expect(result, BB_CANCELLED, error, "cancelled");
    CHECK(pthread_join(thread, NULL) == 0);
    /* A handle stays triggered; nothing is sent. */
    result = bb_session_send(session, request, cancel, &response, &error);
    CHECK(!bb_error_request_sent(error));
    expect(result, BB_CANCELLED, error, "cancelled");
    bb_cancel_release(cancel);
    bb_request_free(request);
    order(&emulated, "reset");
    /* A read that is cancelled closes its response: the rest cannot be taken for the whole. */
    order(&emulated, "fail /=drip:60000");
    response = sent(request_of("GET", "/"));
    uint8_t byte;
    size_t length;
    /* The first byte comes at once, the next one in a minute. */
    OK(bb_response_read(response, &byte, 1, NULL, &length, &error));
    CHECK(length == 1);
    OK(bb_cancel_new(&cancel, &error));
    bb_cancel_retain(cancel);
    /* Whether it comes before the read or during it, the outcome is the same. */
    awaited = 0;
    CHECK(pthread_create(&thread, NULL, trigger, cancel) == 0);
    expect(bb_response_read(response, &byte, 1, cancel, &length, &error), BB_CANCELLED, error, "cancelled");
    CHECK(pthread_join(thread, NULL) == 0);
    expect(bb_response_read(response, &byte, 1, NULL, &length, &error), BB_CLOSED, error, "closed");
    bb_cancel_release(cancel);
    bb_response_free(response);
    order(&emulated, "reset");
}

static void other_origins_and_reserved_headers_are_refused(void) {
    bb_error *error = NULL;
    bb_response *response = NULL;
    long before = traffic(&emulated, "application_requests");
    const char *targets[] = {"https://evil.example/", "//evil.example/", ""};
    for (size_t i = 0; i < 3; i++) {
        bb_request *request = request_of("GET", targets[i]);
        uint32_t result = bb_session_send(session, request, NULL, &response, &error);
        expect(result, BB_INVALID_REQUEST, error, "invalid-request");
        bb_request_free(request);
    }
    bb_request *request = request_of("GET", "/");
    OK(bb_request_header(request, "host", (const uint8_t *)"evil.example", 12, &error));
    expect(bb_session_send(session, request, NULL, &response, &error), BB_INVALID_REQUEST, error, "invalid-request");
    bb_request_free(request);
    CHECK(traffic(&emulated, "application_requests") == before);
    response = sent(request_of("GET", "/redirect?to=https://evil.example/"));
    CHECK(bb_response_status(response) == 302);
    bb_response_free(response);
}

static void a_closed_session_and_a_limit_of_time(void) {
    bb_error *error = NULL;
    bb_response *response = NULL;
    bb_session *other = connected();
    bb_request *request = request_of("GET", "/");
    bb_session_close(other);
    expect(bb_session_send(other, request, NULL, &response, &error), BB_CLOSED, error, "closed");
    bb_session_free(other);
    order(&emulated, "fail /=hang");
    OK(bb_request_timeout(request, 50, &error));
    expect(bb_session_send(session, request, NULL, &response, &error), BB_TIMEOUT, error, "timeout");
    bb_request_free(request);
    order(&emulated, "reset");
}

/* A thread may be inside the allocator of the sanitizer during the fork, which does not take care of that. */
#if defined(__SANITIZE_ADDRESS__)
#define FORKS false
#elif defined(__has_feature)
#define FORKS (!__has_feature(address_sanitizer))
#else
#define FORKS true
#endif

static void a_forked_child_makes_its_own_session(void) {
    if (!FORKS) {
        puts("a forked child: tested by the program without the sanitizer");
        return;
    }
    bb_cancel *parents = NULL;
    bb_error *error = NULL;
    OK(bb_cancel_new(&parents, &error));
    bb_response *received = sent(request_of("GET", "/"));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(120);
        bb_response *response = NULL;
        bb_request *request = request_of("GET", "/");
        expect(bb_session_send(session, request, NULL, &response, &error), BB_FORKED, error, "forked");
        /* The beginning of the body came with its headers, and is not to be read here. */
        uint8_t byte;
        size_t length;
        expect(bb_response_read(received, &byte, 1, NULL, &length, &error), BB_FORKED, error, "forked");
        bb_verifier *own = emulator_verifier(&emulated);
        /* The parent's handle would never end the call. */
        bb_session *no = NULL;
        expect(bb_connect(own, emulated.url, policy, parents, &no, &error), BB_FORKED, error, "forked");
        bb_session *made = NULL;
        OK(bb_connect(own, emulated.url, policy, NULL, &made, &error));
        OK(bb_session_send(made, request, NULL, &response, &error));
        _exit(bb_response_status(response) == 200 ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    bb_cancel_release(parents);
    bb_response_free(received);
}

static void recorded_evidence(void) {
    bb_error *error = NULL;
    bb_collected *collected = NULL;
    char *json = NULL;
    OK(bb_collect(verifier, emulated.url, policy, NULL, &collected, &error));
    OK(bb_collected_verify(collected, policy, &json, &error));
    bb_string_free(json);
    OK(bb_collected_about(collected, &json, &error));
    CHECK(strstr(json, "\"nonce\""));
    bb_string_free(json);
    bb_document documents[8] = {{0}};
    bb_document token = {0};
    bb_recorded recorded = {.documents = documents, .document_count = bb_collected_count(collected)};
    CHECK(recorded.document_count == 3 && bb_collected_name(collected, 99) == NULL);
    for (size_t i = 0; i < recorded.document_count; i++) {
        documents[i].name = bb_collected_name(collected, i);
        documents[i].data = bb_collected_bytes(collected, i, &documents[i].length);
        if (strcmp(documents[i].name, "token.jwt") == 0) token = documents[i];
        if (strcmp(documents[i].name, "key-set.json") == 0) {
            recorded.key_set = documents[i].data, recorded.key_set_length = documents[i].length;
        }
    }
    CHECK(token.data && recorded.key_set);
    uint64_t now = (uint64_t)time(NULL);
    OK(bb_verify_recorded(&recorded, policy, now, &json, &error));
    CHECK(strstr(json, "\"appraisal\""));
    bb_string_free(json);
    char *maa_issuer = NULL;
    OK(bb_policy_maa_issuer(policy, &maa_issuer, &error));
    OK(bb_verify_unappraised(&recorded, maa_issuer, now, &json, &error));
    bb_string_free(json), bb_string_free(maa_issuer);
    bb_recorded wrong = recorded;
    wrong.key_set = NULL, wrong.key_set_length = 0;
    uint32_t result = bb_verify_recorded(&wrong, policy, now, &json, &error);
    expect(result, BB_KEY_SET_NOT_AUTHENTICATED, error, "key-set-not-authenticated");
    result = bb_verify_recorded(&recorded, policy, now + 1000000000, &json, &error);
    expect(result, BB_INVALID_TOKEN, error, "invalid-token");
    wrong = recorded, wrong.documents = NULL;
    result = bb_verify_recorded(&wrong, policy, now, &json, &error);
    expect(result, BB_MISCONFIGURED, error, "misconfigured");
    wrong = recorded, wrong.document_count = 65;
    result = bb_verify_recorded(&wrong, policy, now, &json, &error);
    expect(result, BB_MISCONFIGURED, error, "misconfigured");
    for (int i = 0; i < 3; i++) {
        // Without a name, with one that is not known, with one that is there twice.
        documents[3].name = (const char *[]){NULL, "token.jwx", "token.jwt"}[i];
        recorded.document_count = 4;
        result = bb_verify_recorded(&recorded, policy, now, &json, &error);
        expect(result, BB_MISCONFIGURED, error, "misconfigured");
    }
    result = bb_verify_recorded(NULL, policy, now, &json, &error);
    expect(result, BB_MISCONFIGURED, error, "misconfigured");
    OK(bb_inspect(token.data, token.length, &json, &error));
    CHECK(strstr(json, "\"kind\":\"token\""));
    bb_string_free(json);
    bb_collected_free(collected);
}

static void policies(void) {
    bb_error *error = NULL;
    char *text = NULL, *digests[2] = {NULL, NULL};
    bb_policy *again = NULL;
    OK(bb_policy_digest(policy, &digests[0], &error));
    for (int form = 0; form < 2; form++) {
        if (form) OK(bb_policy_to_json(policy, &text, &error));
        else OK(bb_policy_to_toml(policy, &text, &error));
        OK(bb_policy_parse(text, &again, &error));
        bb_string_free(text);
        OK(bb_policy_digest(again, &digests[1], &error));
        CHECK(strcmp(digests[0], digests[1]) == 0);
        bb_string_free(digests[1]);
        bb_policy_free(again);
    }
    bb_string_free(digests[0]);
    OK(bb_policy_lint(policy, &text, &error));
    CHECK(text[0] == '[');
    bb_string_free(text);
    char hex[65];
    memset(hex, 'a', 64), hex[64] = 0;
    OK(bb_host_data(hex, &text, &error));
    CHECK(strstr(text, hex) && strstr(text, "\"known_allow_all\":false"));
    bb_string_free(text);
    expect(bb_host_data("ab", &text, &error), BB_MISCONFIGURED, error, "misconfigured");
    expect(bb_cce_policy("%", &text, &error), BB_MISCONFIGURED, error, "misconfigured");
}

static void events_are_pulled(void) {
    bb_error *error = NULL;
    bb_session *none = NULL;
    char *event = NULL;
    OK(bb_log_level("info", &error));
    order(&emulated, "knob debug");
    CHECK(bb_connect(without_session, emulated.url, policy, NULL, &none, NULL) == BB_DEBUG_MODE);
    order(&emulated, "reset");
    bool found = false;
    while (!found) {
        OK(bb_log_next(60000, &event, &error));
        CHECK(event);
        found = strstr(event, "debug-mode") != NULL;
        bb_string_free(event);
    }
    OK(bb_log_level("off", &error));
    expect(bb_log_level("loud", &error), BB_MISCONFIGURED, error, "misconfigured");
}

/* The process has the default action of SIGPIPE, which would end it. */
static void a_connection_that_is_cut_during_an_upload(void) {
    bb_error *error = NULL;
    static uint8_t piece[65536];
    bb_session *other = connected();
    bb_upload *upload = NULL;
    bb_exchange *exchange = NULL;
    bb_response *response = NULL;
    bool taken = true;
    OK(bb_upload_new(BB_LENGTH_UNKNOWN, &upload, &error));
    bb_request *request = request_of("POST", "/echo");
    OK(bb_request_upload(request, upload, &error));
    OK(bb_session_start(other, request, NULL, &exchange, &error));
    OK(bb_upload_write(upload, piece, sizeof piece, NULL, &taken, &error));
    CHECK(taken);
    order(&emulated, "rotate-tls-key");
    while (taken) OK(bb_upload_write(upload, piece, sizeof piece, NULL, &taken, &error));
    uint32_t result = bb_exchange_wait(exchange, &response, &error);
    expect(result, BB_APPLICATION_UNREACHABLE, error, "application-unreachable");
    bb_exchange_free(exchange), bb_upload_free(upload), bb_request_free(request), bb_session_free(other);
}

static void *requests(void *failed) {
    bb_error *error = NULL;
    for (int i = 0; i < 25; i++) {
        bb_response *response = NULL;
        bb_request *request = request_of("GET", "/");
        if (bb_session_send(session, request, NULL, &response, &error) || bb_response_status(response) != 200) {
            *(bool *)failed = true;
        }
        bb_request_free(request), bb_response_free(response);
    }
    return NULL;
}

static void threads_share_a_session(void) {
    pthread_t threads[8];
    bool failed[8] = {false};
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, requests, &failed[i]) == 0);
    for (int i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0 && !failed[i]);
}

/* How often the application receives a request that fails. */
static long processed(emulator *lossy, bb_session *behind, bool idempotent, bool uploaded) {
    bb_error *error = NULL;
    bb_response *response = NULL;
    bb_exchange *exchange = NULL;
    bb_upload *upload = NULL;
    bb_request *request = request_of("POST", "/echo");
    if (idempotent) OK(bb_request_idempotent(request, &error));
    long before = traffic(lossy, "application_requests");
    if (uploaded) {
        bool taken;
        OK(bb_upload_new(1, &upload, &error));
        OK(bb_request_upload(request, upload, &error));
        OK(bb_session_start(behind, request, NULL, &exchange, &error));
        OK(bb_upload_write(upload, (const uint8_t *)"x", 1, NULL, &taken, &error));
        bb_upload_finish(upload);
    } else {
        OK(bb_request_body(request, (const uint8_t *)"x", 1, &error));
        OK(bb_session_start(behind, request, NULL, &exchange, &error));
    }
    uint32_t result = bb_exchange_wait(exchange, &response, &error);
    CHECK(bb_error_request_sent(error));
    expect(result, BB_APPLICATION_UNREACHABLE, error, "application-unreachable");
    bb_exchange_free(exchange), bb_upload_free(upload), bb_request_free(request);
    return traffic(lossy, "application_requests") - before;
}

static void a_request_is_sent_again_if_the_caller_permits_it(const char *program) {
    static emulator lossy;
    char directory[512];
    snprintf(directory, sizeof directory, "%s/lossy", emulated.directory);
    CHECK(mkdir(directory, 0700) == 0);
    emulator_start(&lossy, program, directory, true);
    bb_error *error = NULL;
    bb_session *behind = NULL;
    bb_policy *of_messages = emulator_policy(&lossy);
    bb_verifier *own = emulator_verifier(&lossy);
    OK(bb_connect(own, lossy.url, of_messages, NULL, &behind, &error));
    CHECK(processed(&lossy, behind, false, false) == 1);
    CHECK(processed(&lossy, behind, true, false) == 3);
    /* It can be read once. */
    CHECK(processed(&lossy, behind, true, true) == 1);
    bb_session_free(behind), bb_verifier_free(own), bb_policy_free(of_messages);
    emulator_stop(&lossy);
    expect(bb_request_idempotent(NULL, &error), BB_MISCONFIGURED, error, "misconfigured");
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    emulator_start(&emulated, arguments[1], arguments[2], false);
    policy = emulator_policy(&emulated);
    verifier = emulator_verifier(&emulated);
    without_session = emulator_verifier(&emulated);
    session = connected();
    versions_and_codes();
    arguments_that_cannot_be_used();
    a_session_sends_requests_to_the_attested_peer();
    a_refusal("knob debug", BB_DEBUG_MODE, "debug-mode", "DebugMode");
    a_refusal("knob no-compliance-status", BB_NON_COMPLIANT_UVM, "non-compliant-uvm", "NonCompliantUvm");
    a_refusal("knob uvm-svn=1", BB_UVM_TOO_OLD, "uvm-too-old", "UvmTooOld");
    bodies_of_a_megabyte();
    an_upload_whose_source_fails();
    a_call_that_hangs_is_cancelled();
    other_origins_and_reserved_headers_are_refused();
    a_closed_session_and_a_limit_of_time();
    a_forked_child_makes_its_own_session();
    recorded_evidence();
    policies();
    events_are_pulled();
    threads_share_a_session();
    for (int i = 0; i < 5; i++) a_connection_that_is_cut_during_an_upload();
    a_body_that_breaks_off_is_never_an_end();
    a_request_is_sent_again_if_the_caller_permits_it(arguments[1]);
    bb_session_free(session);
    bb_verifier_free(verifier);
    bb_verifier_free(without_session);
    bb_policy_free(policy);
    emulator_stop(&emulated);
    puts("the C interface: all tests passed");
    return 0;
}
