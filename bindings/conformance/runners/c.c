// Carries out the commands of the conformance suite with the C library.
#include <blindbox.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char *fields[32];  // of the command, each NAME=VALUE
static bb_session *session;
static bb_cancel *cancel;
static bb_error *error;  // of the call that failed
static char *json;       // what a call gave

static char *field(const char *name) {
    size_t length = strlen(name), at = 0;
    while (fields[at] && (strncmp(fields[at], name, length) != 0 || fields[at][length] != '=')) at++;
    return fields[at] ? fields[at] + length + 1 : NULL;
}

// The bytes of a file, with a zero behind them, until the process ends; NULL without a path.
static void *content(const char *path, size_t *length) {
    FILE *file = path ? fopen(path, "rb") : NULL;
    char *bytes = file ? calloc(1, 1 << 21) : NULL;
    *length = file ? fread(bytes, 1, (1 << 21) - 1, file) : 0;
    return file && fclose(file) == 0 ? realloc(bytes, *length + 1) : NULL;
}

static void print_hex(const uint8_t *bytes, size_t length) {
    for (size_t at = 0; at < length; at++) printf("%02x", bytes[at]);
}

static uint32_t print(const char *format, uint32_t result) {
    if (!result) printf(format, json), bb_string_free(json);
    return result;
}

static void print_error(void) {
    const char *checks = bb_error_appraisal(error);
    if (print("message=%s\t", bb_json_string(bb_error_message(error), &json, NULL))) exit(1);
    printf("number=%u\tcode=\"%s\"\tname=\"%s\"\t", bb_error_number(error), bb_error_code(error), bb_error_name(error));
    printf("category=\"%s\"\tchecks=%s\t", bb_error_category(error), checks ? checks : "null");
    printf("retryable=%s\t", bb_error_retryable(error) ? "true" : "false");
    printf("request_sent=%s\t", bb_error_request_sent(error) ? "true" : "false");
    bb_error_free(error);
}

// Sends a request, and its body while it is read.
static uint32_t stream(bb_request *request, FILE *body, bb_response **response) {
    uint8_t piece[65536];
    bool taken = true;
    bb_upload *upload = NULL;
    bb_exchange *exchange = NULL;
    uint32_t result = bb_upload_new(BB_LENGTH_UNKNOWN, &upload, &error);
    if (!result) result = bb_request_upload(request, upload, &error);
    if (!result) result = bb_session_start(session, request, cancel, &exchange, &error);
    for (size_t length; !result && taken && (length = fread(piece, 1, sizeof piece, body)) > 0;) {
        result = bb_upload_write(upload, piece, length, cancel, &taken, &error);
    }
    if (!ferror(body)) bb_upload_finish(upload);
    bb_upload_free(upload);  // The body has failed if it is not finished.
    if (!result) result = bb_exchange_wait(exchange, response, &error);
    return bb_exchange_free(exchange), fclose(body), result;
}

static uint32_t request(void) {
    static bb_exchange *started;  // It goes on until the process ends.
    uint8_t piece[65536];
    size_t length;
    bb_request *request = NULL;
    bb_response *response = NULL;
    void *value = content(field("value"), &length);
    uint32_t result = bb_request_new(field("method"), field("target"), &request, &error);
    if (!result && value) result = bb_request_header(request, field("header"), value, length, &error);
    if (!result && field("idempotent")) result = bb_request_idempotent(request, &error);
    void *body = field("streamed") ? NULL : content(field("body"), &length);
    if (!result && body) result = bb_request_body(request, body, length, &error);
    if (!result && field("streamed")) result = stream(request, fopen(field("body"), "rb"), &response);
    else if (!result && strcmp(field("do"), "start") == 0) result = bb_session_start(session, request, NULL, &started, &error);
    else if (!result) result = bb_session_send(session, request, cancel, &response, &error);
    for (size_t i = 0; i < bb_response_header_count(response); i++) {
        const uint8_t *bytes = bb_response_header_value(response, i, &length);
        const char *name = bb_response_header_name(response, i);
        if (strstr(field("show"), name)) printf("%s=\"", name), print_hex(bytes, length), printf("\"\t");
    }
    if (response) printf("status=%u\tcontent=\"", bb_response_status(response));
    for (length = 1; response && !result && length > 0; print_hex(piece, length)) {
        length = 0;
        result = bb_response_read(response, piece, sizeof piece, cancel, &length, &error);
    }
    if (response) printf("\"\t");
    return bb_request_free(request), bb_response_free(response), result;
}

static void *cancel_later(void *milliseconds) {
    nanosleep(&(struct timespec){.tv_nsec = atol(milliseconds) * 1000000}, NULL);
    return bb_cancel_trigger(cancel), NULL;
}

static uint32_t cancelled(void) {
    pthread_t thread;
    if (bb_cancel_new(&cancel, NULL) || pthread_create(&thread, NULL, cancel_later, field("cancel_ms"))) exit(1);
    uint32_t result = request();
    pthread_join(thread, NULL), bb_cancel_release(cancel), cancel = NULL;
    return result;
}

static uint32_t recorded(const bb_policy *policy) {
    size_t length;
    bb_document documents[64];
    bb_recorded given = {.documents = documents, .amd_roots = content(field("amd_roots"), &length)};
    given.ak_root = content(field("ak_root"), &length);
    given.key_set = content(field("key_set"), &given.key_set_length);
    for (char *name = strtok(field("documents"), " "); name; name = strtok(NULL, " ")) {
        bb_document *document = &documents[given.document_count++];
        document->name = name, document->data = content(name, &document->length);
    }
    return bb_verify_recorded(&given, policy, strtoull(field("at"), NULL, 10), &json, &error);
}

static uint32_t run(const char *command) {
    size_t length;
    bb_policy *policy = NULL;
    bb_verifier *verifier = NULL;
    if (field("method")) return field("cancel_ms") ? cancelled() : request();
    if (strcmp(command, "reattest") == 0) return print("attestation=%s\t", bb_session_reattest(session, NULL, &json, &error));
    if (strcmp(command, "close") == 0) return bb_session_free(session), session = NULL, BB_OK;
    uint32_t result = bb_policy_parse(content(field("policy"), &length), &policy, &error);
    if (!result && strcmp(command, "policy") == 0) result = print("digest=\"%s\"\t", bb_policy_digest(policy, &json, &error));
    else if (!result && strcmp(command, "recorded") == 0) result = print("attestation=%s\t", recorded(policy));
    else if (!result) result = bb_verifier_new(content(field("settings"), &length), &verifier, &error);
    if (verifier) result = bb_connect(verifier, field("url"), policy, NULL, &session, &error);
    if (verifier && !result) result = print("attestation=%s\t", bb_session_attestation(session, &json, &error));
    return bb_policy_free(policy), bb_verifier_free(verifier), result;
}

int main(void) {
    char *line = NULL;
    for (size_t room = 0, count = 0; getline(&line, &room, stdin) > 0; count = 0) {
        for (char *next = strtok(line, "\t\n"); next; next = strtok(NULL, "\t\n")) fields[count++] = next;
        fields[count] = NULL;
        if (run(field("do"))) print_error();
        puts("");
        fflush(stdout);
    }
}
