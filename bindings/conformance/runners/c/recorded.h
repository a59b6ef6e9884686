// Recorded evidence: the files of a directory, or what is collected.
#include <dirent.h>

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
