// Carries out the commands of the conformance suite with the C library, in two threads: one that waits, one that cancels.
#include <blindbox.h>

#include <pthread.h>
#include <time.h>

#include "line.h"

static bb_session *session;
static bb_cancel *cancel;
static struct timespec triggered;

// Prints what a call wrote, if it succeeded: its argument is a pointer, since arguments have no order.
static uint32_t print_attestation(uint32_t result, char **json) {
    if (!result) printf("\"attestation\":%s", *json), bb_string_free(*json);
    return result;
}

static bb_verifier *verifier(void) {
    bb_verifier *made = NULL;
    return bb_verifier_new(string("settings"), &made, &error) ? NULL : made;
}

#include "recorded.h"

static void *cancel_later(void *milliseconds) {
    nanosleep(&(struct timespec){.tv_nsec = *(long long *)milliseconds * 1000000}, NULL);
    clock_gettime(CLOCK_MONOTONIC, &triggered);
    bb_cancel_trigger(cancel);
    return NULL;
}

static uint32_t new_request(bb_request **request) {
    uint32_t result = bb_request_new(string("method"), string("target"), request, &error);
    if (result || !member("header")) return result;
    size_t length;
    uint8_t *value = bytes("value", &length);
    return bb_request_header(*request, string("header"), value, length, &error);
}

static uint32_t sent(bb_request *request, bb_response **response) {
    size_t length;
    uint8_t *body = file(string("body"), &length);
    uint32_t result;
    if (!member("streamed")) {
        result = body ? bb_request_body(request, body, length, &error) : 0;
        if (!result) result = bb_session_send(session, request, cancel, response, &error);
        return free(body), result;
    }
    bb_upload *upload = NULL;
    bb_exchange *exchange = NULL;
    bool taken = true;
    result = bb_upload_new(BB_LENGTH_UNKNOWN, &upload, &error);
    if (!result) result = bb_request_upload(request, upload, &error);
    if (!result) result = bb_session_start(session, request, cancel, &exchange, &error);
    for (size_t at = 0, part; at < length && taken && !result; at += part) {
        part = length - at < 65536 ? length - at : 65536;
        result = bb_upload_write(upload, body + at, part, cancel, &taken, &error);
    }
    bb_upload_finish(upload);
    if (!result) result = bb_exchange_wait(exchange, response, &error);
    return bb_upload_free(upload), bb_exchange_free(exchange), free(body), result;
}

static void print_header(const bb_response *response, const char *name) {
    const uint8_t *value = NULL;
    size_t length = 0;
    for (size_t i = 0; i < bb_response_header_count(response) && !value; i++) {
        if (strcmp(bb_response_header_name(response, i), name) == 0) value = bb_response_header_value(response, i, &length);
    }
    printf(value ? ",\"%s\":\"" : ",\"%s\":null", name);
    if (value) print_bytes(value, length), putchar('"');
}

static uint32_t print_response(bb_response *response) {
    char *shown = string("show");
    printf("\"status\":%u", bb_response_status(response));
    for (char *name = shown ? strtok(shown, " ") : NULL; name; name = strtok(NULL, " ")) print_header(response, name);
    printf(",\"content\":\"");
    uint8_t room[65536];
    uint32_t result = 0;
    for (size_t got = 1; got && !result; print_bytes(room, got)) {
        got = 0;
        result = bb_response_read(response, room, sizeof room, cancel, &got, &error);
    }
    printf(result ? "\"," : "\"");
    return bb_response_free(response), result;
}

static uint32_t request(void) {
    bb_request *made = NULL;
    bb_response *response = NULL;
    pthread_t thread;
    long long milliseconds = number("cancel_ms");
    uint32_t result = new_request(&made);
    if (milliseconds >= 0 && (bb_cancel_new(&cancel, NULL) || pthread_create(&thread, NULL, cancel_later, &milliseconds))) exit(1);
    if (!result) result = sent(made, &response);
    if (!result && milliseconds < 0) result = print_response(response);
    else if (!result) {  // Printed is only that it was cancelled.
        uint8_t room[65536];
        for (size_t got = 1; got && !result;) result = bb_response_read(response, room, sizeof room, cancel, &got, &error);
    }
    bb_request_free(made);
    if (milliseconds < 0) return result;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    pthread_join(thread, NULL), bb_cancel_release(cancel), cancel = NULL;
    if (result != BB_CANCELLED) return result;
    long long late = (now.tv_sec - triggered.tv_sec) * 1000LL + (now.tv_nsec - triggered.tv_nsec) / 1000000;
    return printf("\"cancelled\":true,\"milliseconds\":%lld", late < 0 ? 0 : late), bb_error_free(error), error = NULL, 0;
}

static uint32_t run(const char *command) {
    char *json = NULL;
    if (strcmp(command, "request") == 0) return request();
    if (strcmp(command, "close") == 0) return bb_session_close(session), bb_session_free(session), session = NULL, 0;
    if (strcmp(command, "reattest") == 0) return print_attestation(bb_session_reattest(session, NULL, &json, &error), &json);
    if (strcmp(command, "start") == 0) {
        bb_request *made = NULL;
        bb_exchange *exchange = NULL;
        uint32_t result = new_request(&made);
        return result ? result : bb_session_start(session, made, NULL, &exchange, &error);
    }
    bb_policy *policy = NULL;
    uint32_t result = bb_policy_parse(string("policy"), &policy, &error);
    if (!result && strcmp(command, "policy") == 0) {
        result = bb_policy_digest(policy, &json, &error);
        if (!result) print_string("digest", json), bb_string_free(json);
    } else if (!result && strcmp(command, "recorded") == 0) {
        result = recorded(policy);
    } else if (!result) {
        bb_verifier *made = verifier();
        result = made ? bb_connect(made, string("url"), policy, NULL, &session, &error) : bb_error_number(error);
        bb_verifier_free(made);
        if (!result) result = print_attestation(bb_session_attestation(session, &json, &error), &json);
    }
    return bb_policy_free(policy), result;
}

int main(void) {
    for (size_t room = 0; getline(&line, &room, stdin) > 0;) {
        putchar('{');
        if (run(string("do"))) print_error();
        puts("}"), fflush(stdout);
    }
}
