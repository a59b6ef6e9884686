// A line of the standard input, which is a flat object in JSON, and what is printed of an outcome.
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char *line;
static bb_error *error;  // of the last call

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

// A string, without its escapes: the suite has line ends, tabs, quotes and backslashes. It is freed at the end of the process.
static char *string(const char *name) {
    char *from = member(name), *made = from ? calloc(1, strlen(from) + 1) : NULL;
    for (char *to = made; made && *++from != '"';) {
        if (*from == '\\') *to++ = *++from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        else *to++ = *from;
    }
    return made;
}

// The bytes of a string in hexadecimal.
static uint8_t *bytes(const char *name, size_t *length) {
    char *text = string(name);
    uint8_t *made = calloc(1, strlen(text) / 2 + 1);
    for (*length = 0; *length < strlen(text) / 2; ++*length) sscanf(text + *length * 2, "%2hhx", &made[*length]);
    return made;
}

// The content of a file, with a zero behind it; NULL without a path.
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

static void print_bytes(const uint8_t *content, size_t length) {
    for (size_t i = 0; i < length; i++) printf("%02x", content[i]);
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
