/*
 * Replays inputs by any compiler and without an engine: files, folders, and packs (*.pack: a number of bytes in four octets, high one
 * first, then these bytes, and so on). With --deep it fails unless they reach every milestone of the target.
 *
 *     replay_frames [--deep] PATH...
 */
#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static size_t inputs;
static bool verbose;

static void no(const char *what, const char *path) {
    fprintf(stderr, "replay: %s: %s\n", path, what);
    exit(2);
}

/* In memory of exactly its size, so that a sanitizer sees who reads beyond. */
static void run(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) no("no memory", "an input");
    if (size) memcpy(copy, data, size);
    (void)LLVMFuzzerTestOneInput(copy, size);
    free(copy);
    inputs++;
}

static void run_pack(const char *path, const uint8_t *data, size_t size) {
    for (size_t at = 0; at < size;) {
        if (size - at < 4) no("no pack", path);
        size_t one = (size_t)data[at] << 24 | (size_t)data[at + 1] << 16 | (size_t)data[at + 2] << 8 | data[at + 3];
        at += 4;
        if (one > size - at) no("no pack", path);
        if (verbose) fprintf(stderr, "%s: input %zu at %zu, %zu bytes\n", path, inputs, at, one);
        run(data + at, one);
        at += one;
    }
}

static void run_file(const char *path, size_t size) {
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(size + 1);
    if (!file || !data || fread(data, 1, size, file) != size) no("cannot be read", path);
    (void)fclose(file);
    const char *dot = strrchr(path, '.');
    if (dot && strcmp(dot, ".pack") == 0)
        run_pack(path, data, size);
    else
        run(data, size);
    free(data);
}

static int compare(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void run_path(const char *path);

/* In the order of their names, so that every run is alike. */
static void run_folder(const char *path) {
    DIR *folder = opendir(path);
    char **names = NULL;
    size_t count = 0;
    if (!folder) no("cannot be read", path);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.') continue;
        size_t size = strlen(path) + strlen(entry->d_name) + 2;
        names = realloc(names, (count + 1) * sizeof(*names));
        if (!names || !(names[count] = malloc(size))) no("no memory", path);
        (void)snprintf(names[count++], size, "%s/%s", path, entry->d_name);
    }
    (void)closedir(folder);
    if (count) qsort(names, count, sizeof(*names), compare);
    for (size_t i = 0; i < count; i++) {
        run_path(names[i]);
        free(names[i]);
    }
    free(names);
}

static void run_path(const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) no("is not there", path);
    if (verbose) fprintf(stderr, "%s\n", path);
    if (S_ISDIR(about.st_mode))
        run_folder(path);
    else
        run_file(path, (size_t)about.st_size);
}

/* @return how many milestones were not reached */
static unsigned tell_milestones(void) {
    unsigned missing = 0;
    for (unsigned i = 0; fuzz_milestones[i]; i++) {
        bool reached = fuzz_reached >> i & 1;
        missing += !reached;
        if (!reached) printf("not reached: %s\n", fuzz_milestones[i]);
    }
    return missing;
}

int main(int argc, char **argv) {
    bool deep = false;
    unsigned total = 0, missing = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--deep") == 0)
            deep = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else
            run_path(argv[i]);
    }
    while (fuzz_milestones[total]) total++;
    if (deep) missing = tell_milestones();
    printf("replay: %zu inputs, %u of %u milestones, 0 findings\n", inputs, deep ? total - missing : total, total);
    return missing ? 1 : 0;
}
