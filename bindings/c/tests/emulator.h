/* `blindbox-attest emulate` for tests: a BlindBox and an MAA on loopback, with real signatures. */
#ifndef EMULATOR_H
#define EMULATOR_H

#include <blindbox.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                             \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                 \
        }                                                                            \
    } while (0)

/* A call that succeeds; `error` must be in scope. */
#define OK(call)                                                                                       \
    do {                                                                                               \
        if ((call) != BB_OK) {                                                                         \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, bb_error_message(error));   \
            exit(1);                                                                                   \
        }                                                                                              \
    } while (0)

typedef struct emulator {
    pid_t process;
    FILE *orders;
    FILE *outcomes;
    char line[1 << 16];
    char url[256];
    char directory[256];
} emulator;

/* The value of a text or number in a line of JSON that is known to have it. */
static void member(const char *line, const char *name, char *value, size_t size) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\":", name);
    const char *start = strstr(line, key);
    CHECK(start);
    start += strlen(key);
    start += strspn(start, " \"");
    size_t length = strcspn(start, "\",}");
    CHECK(length < size);
    memcpy(value, start, length);
    value[length] = 0;
}

static char *read_text(const char *directory, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "rb");
    CHECK(file);
    char *text = calloc(1, 1 << 20);
    CHECK(text);
    CHECK(fread(text, 1, (1 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

/* Starts an emulator, which is behind a front end that loses responses if `is_lossy` is true. */
static void emulator_start(emulator *emulator, const char *program, const char *directory, bool is_lossy) {
    int to[2], from[2];
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    snprintf(emulator->directory, sizeof emulator->directory, "%s", directory);
    emulator->process = fork();
    CHECK(emulator->process >= 0);
    if (emulator->process == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[0]), close(to[1]), close(from[0]), close(from[1]);
        /* It delivers a request, and says that the instance does not know the key. */
        char *lossy[] = {"--agent", "bound-message", "--front-end", "--knob", "front-end-report-unknown-key", NULL};
        char *arguments[16] = {(char *)program, "emulate", "--out", (char *)directory};
        if (is_lossy) memcpy(arguments + 4, lossy, sizeof lossy);
        execv(program, arguments);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    emulator->orders = fdopen(to[1], "w");
    emulator->outcomes = fdopen(from[0], "r");
    CHECK(fgets(emulator->line, sizeof emulator->line, emulator->outcomes));
    member(emulator->line, "url", emulator->url, sizeof emulator->url);
}

/* Gives an order, whose outcome is in `line`. */
static void order(emulator *emulator, const char *text) {
    fprintf(emulator->orders, "%s\n", text);
    fflush(emulator->orders);
    CHECK(fgets(emulator->line, sizeof emulator->line, emulator->outcomes));
    CHECK(strstr(emulator->line, "\"ok\":true"));
}

static long traffic(emulator *emulator, const char *name) {
    char value[32];
    order(emulator, "traffic");
    member(emulator->line, name, value, sizeof value);
    return strtol(value, NULL, 10);
}

/* It ends when its standard input does. */
static void emulator_stop(emulator *emulator) {
    int status;
    fclose(emulator->orders);
    fclose(emulator->outcomes);
    CHECK(waitpid(emulator->process, &status, 0) == emulator->process);
}

static bb_policy *emulator_policy(const emulator *emulator) {
    bb_error *error = NULL;
    bb_policy *policy = NULL;
    char *text = read_text(emulator->directory, "policy.toml");
    OK(bb_policy_parse(text, &policy, &error));
    free(text);
    return policy;
}

static bb_verifier *emulator_verifier(const emulator *emulator) {
    bb_error *error = NULL;
    bb_verifier *verifier = NULL;
    char *application = read_text(emulator->directory, "application-root.pem");
    char *collateral = read_text(emulator->directory, "collateral-root.pem");
    char *quoted[2];
    OK(bb_json_string(application, &quoted[0], &error));
    OK(bb_json_string(collateral, &quoted[1], &error));
    size_t size = strlen(quoted[0]) + strlen(quoted[1]) + 64;
    char *settings = malloc(size);
    CHECK(settings);
    snprintf(settings, size, "{\"application_roots\": %s, \"collateral_roots\": %s}", quoted[0], quoted[1]);
    OK(bb_verifier_new(settings, &verifier, &error));
    free(settings), free(application), free(collateral);
    bb_string_free(quoted[0]), bb_string_free(quoted[1]);
    return verifier;
}

#endif
