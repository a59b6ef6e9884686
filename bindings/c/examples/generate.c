/*
 * Connects to an attested BlindBox, posts a prompt to /generate, and prints the response, or why there is no connection.
 *
 *   generate URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]
 *
 * The two files are the roots of `blindbox-attest emulate`; without them the platform's and the web's roots are used.
 */
#include <blindbox.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The content of a file as a text, or NULL. */
static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = malloc(1 << 20);
    size_t length = text ? fread(text, 1, (1 << 20) - 1, file) : 0;
    fclose(file);
    if (text) text[length] = 0;
    return text;
}

/* Settings that trust the roots in two files: JSON, or NULL. */
static char *settings_with_roots(const char *application, const char *collateral) {
    char *files[2] = {read_file(application), read_file(collateral)};
    char *quoted[2] = {NULL, NULL};
    char *settings = NULL;
    if (bb_json_string(files[0], &quoted[0], NULL) == BB_OK && bb_json_string(files[1], &quoted[1], NULL) == BB_OK) {
        size_t size = strlen(quoted[0]) + strlen(quoted[1]) + 64;
        settings = malloc(size);
        if (settings) {
            snprintf(settings, size, "{\"application_roots\": %s, \"collateral_roots\": %s}", quoted[0], quoted[1]);
        }
    }
    for (int i = 0; i < 2; i++) {
        bb_string_free(quoted[i]);
        free(files[i]);
    }
    return settings;
}

/* Sends the prompt, and prints the response. */
static uint32_t generate(const bb_session *session, bb_error **error) {
    static const char body[] = "{\"prompt\": \"hi\"}", json[] = "application/json";
    bb_request *request = NULL;
    bb_response *response = NULL;
    uint32_t result = bb_request_new("POST", "/generate", &request, error);
    if (!result) result = bb_request_header(request, "content-type", (const uint8_t *)json, strlen(json), error);
    if (!result) result = bb_request_body(request, (const uint8_t *)body, strlen(body), error);
    if (!result) result = bb_session_send(session, request, NULL, &response, error);
    if (!result) printf("status %d\n", bb_response_status(response));
    for (size_t length = 1; !result && length > 0;) {
        uint8_t buffer[4096];
        result = bb_response_read(response, buffer, sizeof buffer, NULL, &length, error);
        if (!result) fwrite(buffer, 1, length, stdout);
    }
    if (!result) puts("");
    bb_response_free(response);
    bb_request_free(request);
    return result;
}

int main(int count, char **arguments) {
    if (count != 3 && count != 5) {
        fprintf(stderr, "usage: %s URL POLICY [APPLICATION_ROOT COLLATERAL_ROOT]\n", arguments[0]);
        return 2;
    }
    if (strcmp(bb_version(), BB_VERSION) != 0) {
        fprintf(stderr, "compiled for blindbox %s, found %s\n", BB_VERSION, bb_version());
        return 2;
    }
    char *text = read_file(arguments[2]);
    char *settings = count == 5 ? settings_with_roots(arguments[3], arguments[4]) : NULL;
    if (count == 5 && !settings) {
        fprintf(stderr, "the roots cannot be read\n");
        free(text);
        return 2;
    }
    bb_error *error = NULL;
    bb_policy *policy = NULL;
    bb_verifier *verifier = NULL;
    bb_session *session = NULL;
    uint32_t result = bb_policy_parse(text, &policy, &error);
    if (!result) result = bb_verifier_new(settings, &verifier, &error);
    if (!result) result = bb_connect(verifier, arguments[1], policy, NULL, &session, &error);
    if (!result) result = generate(session, &error);
    if (result) {
        printf("%s\n", bb_error_name(error));
        /* Before what goes to the standard error. */
        fflush(stdout);
        fprintf(stderr, "%s (%u): %s\n", bb_error_code(error), (unsigned)result, bb_error_message(error));
        /* Every check, if the evidence was genuine. It is for this terminal, and not for a log. */
        if (bb_error_appraisal(error)) fprintf(stderr, "%s\n", bb_error_appraisal(error));
    }
    bb_error_free(error);
    bb_session_free(session);
    bb_verifier_free(verifier);
    bb_policy_free(policy);
    free(settings);
    free(text);
    return result ? 1 : 0;
}
