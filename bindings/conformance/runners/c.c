// Carries out the commands of the conformance suite with the C library, in two threads: one that waits, one that cancels.
#include <blindbox.h>

#include <dirent.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static char *line;              // the command
static bb_session *session;
static bb_error *error;
static bb_cancel *cancel;
static struct timespec triggered;

// The value of a member as in the text: members are flat, and a quote within a string has a backslash before it.
static char *member(const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    char *found = strstr(line, key);
    return found ? found + strlen(key) : NULL;
}

static long long number(const char *name) {
    char *found = member(name);
    return found ? strtoll(found, NULL, 10) : -1;
}

// A string, without its escapes: the suite has line ends, quotes and backslashes. It is freed at the end of the process.
static char *string(const char *name) {
    char *from = member(name), *made = from ? calloc(1, strlen(from) + 1) : NULL;
    for (char *to = made; made && *++from != '"';) {
        if (*from == '\\') *to++ = *++from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        else *to++ = *from;
    }
    return made;
}

static uint8_t *file(const char *path, size_t *length) {
    struct stat about;
    FILE *from = path && stat(path, &about) == 0 ? fopen(path, "rb") : NULL;
    uint8_t *made = from ? calloc(1, (size_t)about.st_size + 1) : NULL;
    *length = from ? fread(made, 1, (size_t)about.st_size, from) : 0;
    if (from) fclose(from);
    return made;
}

static void print_string(const char *name, const char *text) {
    char *json = NULL;
    if (bb_json_string(text, &json, NULL)) exit(1);
    printf("\"%s\":%s", name, json);
    bb_string_free(json);
}

static void print_error(void) {
    const char *checks = bb_error_appraisal(error);
    printf("\"error\":{\"number\":%" PRIu32 ",\"retryable\":%s,\"request_sent\":%s,\"checks\":%s,", bb_error_number(error),
           bb_error_retryable(error) ? "true" : "false", bb_error_request_sent(error) ? "true" : "false", checks ? checks : "null");
    print_string("code", bb_error_code(error)), putchar(',');
    print_string("category", bb_error_category(error)), putchar(',');
    print_string("name", bb_error_name(error)), putchar(',');
    print_string("message", bb_error_message(error)), putchar('}');
    bb_error_free(error), error = NULL;
}

// Prints what a call wrote, if it succeeded: its argument is a pointer, since arguments have no order.
static uint32_t print_attestation(uint32_t result, char **json) {
    if (!result) printf("\"attestation\":%s", *json), bb_string_free(*json);
    return result;
}

static bb_verifier *verifier(void) {
    char settings[200000] = "{", *between = "";
    const char *files[] = {"application_roots", "collateral_roots", "amd_roots", "ak_root"};
    for (int i = 0; i < 4; i++) {
        size_t length;
        char *json = NULL, *path = string(files[i]), *content = (char *)file(path, &length);
        if (!content) continue;
        if (bb_json_string(content, &json, NULL)) exit(1);
        sprintf(settings + strlen(settings), "%s\"%s\":%s", between, files[i], json), between = ",";
    }
    if (member("kds")) sprintf(settings + strlen(settings), ",\"kds\":\"%s\"", string("kds"));
    const char *limits[] = {"deadline_ms", "request_timeout_ms"};
    for (int i = 0; i < 2; i++) {
        if (member(limits[i])) sprintf(settings + strlen(settings), ",\"%s\":%lld", limits[i], number(limits[i]));
    }
    bb_verifier *made = NULL;
    return bb_verifier_new(strcat(settings, "}"), &made, &error) ? NULL : made;
}

static void *cancel_later(void *milliseconds) {
    nanosleep(&(struct timespec){.tv_nsec = *(long long *)milliseconds * 1000000}, NULL);
    clock_gettime(CLOCK_MONOTONIC, &triggered);
    bb_cancel_trigger(cancel);
    return NULL;
}

static uint32_t new_request(bb_request **request) {
    uint32_t result = bb_request_new(string("method"), string("target"), request, &error);
    char *header = string("header"), *value = header ? strstr(header, ": ") : NULL;
    if (value && !result) {
        *value = 0, value += 2;
        size_t length = 0;  // UTF-8 to Latin-1
        for (uint8_t *at = (uint8_t *)value; *at; at += *at < 0x80 ? 1 : 2) {
            value[length++] = (char)(*at < 0x80 ? *at : (at[0] & 3) << 6 | (at[1] & 63));
        }
        result = bb_request_header(*request, header, (uint8_t *)value, length, &error);
    }
    return result;
}

static uint32_t sent(bb_request *request, bb_response **response) {
    size_t length = member("bytes") ? (size_t)number("bytes") : 0;
    uint8_t *body = malloc(length + 1);
    for (size_t i = 0; i < length; i++) body[i] = (uint8_t)('a' + i % 23);
    uint32_t result;
    if (!member("streamed")) {
        result = member("bytes") ? bb_request_body(request, body, length, &error) : 0;
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

static uint32_t print_response(bb_response *response) {
    char *shown = string("show");
    printf("\"status\":%u", bb_response_status(response));
    for (char *name = shown ? strtok(shown, " ") : NULL; name; name = strtok(NULL, " ")) {
        char value[1000] = "";
        bool found = false;
        for (size_t i = 0, length; i < bb_response_header_count(response) && !found; i++) {
            const uint8_t *bytes = bb_response_header_value(response, i, &length);
            found = strcmp(bb_response_header_name(response, i), name) == 0;
            for (size_t at = 0, to = 0; found && at < length && to < 990; at++) {  // Latin-1 to UTF-8
                if (bytes[at] > 0x7f) value[to++] = (char)(0xc0 | bytes[at] >> 6);
                value[to++] = (char)(bytes[at] > 0x7f ? 0x80 | (bytes[at] & 63) : bytes[at]);
            }
        }
        putchar(',');
        if (found) print_string(name, value);
        else printf("\"%s\":null", name);
    }
    uint8_t room[65536], begins[31] = "";
    size_t length = 0, got = 1;
    uint32_t crc = UINT32_MAX, result = 0;
    while (!result && got) {
        got = 0;
        result = bb_response_read(response, room, sizeof room, cancel, &got, &error);
        for (size_t i = 0; i < got && !result; i++, length++) {
            if (length < 30) begins[length] = room[i];
            crc ^= room[i];
            for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
        }
    }
    bb_response_free(response);
    if (result) return putchar(','), result;
    printf(",\"length\":%zu,\"crc32\":%" PRIu32 ",", length, ~crc);
    return print_string("begins", (char *)begins), 0;
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

static uint32_t recorded(bb_policy *policy) {
    bb_document documents[64] = {{0}};
    size_t length;
    bb_recorded given = {.documents = documents, .amd_roots = (char *)file(string("amd_roots"), &length),
                         .ak_root = (char *)file(string("ak_root"), &length)};
    given.key_set = file(string("key_set"), &given.key_set_length);
    char *directory = string("directory"), *json = NULL;
    long long at = number("at");
    uint32_t result = 0;
    bb_collected *collected = NULL;
    DIR *entries = directory ? opendir(directory) : NULL;
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        bb_document *document = &documents[given.document_count];
        char path[1000];
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_name[0] == '.') continue;
        document->name = strdup(entry->d_name), document->data = file(path, &document->length), given.document_count++;
    }
    if (!directory) {
        bb_verifier *collector = verifier();
        result = collector ? bb_collect(collector, string("url"), policy, NULL, &collected, &error) : bb_error_number(error);
        bb_verifier_free(collector);
        for (size_t i = 0; i < bb_collected_count(collected); i++, given.document_count++) {
            documents[i].name = bb_collected_name(collected, i);
            documents[i].data = bb_collected_bytes(collected, i, &documents[i].length);
            if (member("beside") || strcmp(documents[i].name, "key-set.json")) continue;
            given.key_set = documents[i].data, given.key_set_length = documents[i].length;
        }
        if (!result) result = bb_collected_about(collected, &json, &error);
        if (!result) at = strtoll(strstr(json, "\"asked_at\":") + 11, NULL, 10), bb_string_free(json);
    }
    if (member("later")) at += number("later");
    if (!result) result = bb_verify_recorded(&given, policy, (uint64_t)at, &json, &error);
    if (entries) closedir(entries);
    return bb_collected_free(collected), print_attestation(result, &json);
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
