/* Faults in words: the table is the manual of proxy.h. Must not know links. */
#include "frame.h"
#include "method.h"
#include "proxy.h"
#include <stdlib.h>
#include <string.h>

struct name {
    const char *word;
    uint8_t value;
};

static const struct name acts[] = {
    { "close", PROXY_CLOSE }, { "reset", PROXY_RESET },     { "half_close", PROXY_HALF_CLOSE },
    { "stall", PROXY_STALL }, { "drop", PROXY_DROP },       { "flip", PROXY_FLIP },
    { "tell", PROXY_TELL },   { "nothing", PROXY_NOTHING }, { NULL, 0 },
};

static const struct name frames[] = {
    { "method", FRAME_METHOD },
    { "header", FRAME_HEADER },
    { "body", FRAME_BODY },
    { "heartbeat", FRAME_HEARTBEAT },
    { "any", 0 },
    { NULL, 0 },
};

static const struct name records[] = {
    { "change_cipher_spec", 20 }, { "alert", 21 }, { "handshake", 22 }, { "application_data", 23 }, { "any", 0 }, { NULL, 0 },
};

static bool is_word(const char *at, size_t size, const char *word) { return size == strlen(word) && memcmp(at, word, size) == 0; }

static bool find_name(const struct name *names, const char *at, size_t size, uint8_t *value) {
    while (names->word && !is_word(at, size, names->word)) names++;
    *value = names->value;
    return names->word != NULL;
}

static bool read_number(const char *at, size_t size, uint64_t *value) {
    *value = 0;
    for (size_t i = 0; i < size; i++) {
        if (at[i] < '0' || at[i] > '9' || *value > UINT32_MAX) return false;
        *value = *value * 10 + (uint64_t)(at[i] - '0');
    }
    return size > 0;
}

/* Another act, or another time for one: what was said of the one before is forgotten. */
static void new_mark(struct proxy_faults *faults, enum proxy_mark at) {
    faults->at = at;
    faults->type = 0;
    faults->method = 0;
}

static bool read_frame(const char *at, size_t size, struct proxy_faults *faults) {
    const struct method_info *method = method_find_name(at, size);
    new_mark(faults, PROXY_AT_FRAME);
    if (!method) return find_name(frames, at, size, &faults->type);
    faults->type = FRAME_METHOD;
    faults->method = method->id;
    return true;
}

static bool read_act(const char *at, size_t size, struct proxy_faults *faults) {
    uint8_t act;
    if (!find_name(acts, at, size, &act)) return false;
    faults->act = act;
    return true;
}

static bool read_record(const char *at, size_t size, struct proxy_faults *faults) {
    new_mark(faults, PROXY_AT_RECORD);
    return find_name(records, at, size, &faults->type);
}

static uint32_t *number_of(struct proxy_faults *faults, const char *key, size_t size) {
    const struct {
        const char *key;
        uint32_t *number;
    } numbers[] = {
        { "latency_ms", &faults->latency_ms },
        { "jitter_ms", &faults->jitter_ms },
        { "bytes_per_s", &faults->bytes_per_s },
        { "slice_max", &faults->slice_max },
        { "flip_per_million", &faults->flip_per_million },
        { "close_ms", &faults->close_ms },
        { "nth", &faults->nth },
        { "within", &faults->within },
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (is_word(key, size, numbers[i].key)) return numbers[i].number;
    return NULL;
}

static const char *read_numbered(const char *key, size_t key_size, const char *at, size_t size, struct proxy_faults *faults) {
    uint64_t value;
    uint32_t *number = number_of(faults, key, key_size);
    bool is_place = is_word(key, key_size, "byte") || is_word(key, key_size, "offset");
    bool is_channel = is_word(key, key_size, "channel"), is_behind = is_word(key, key_size, "behind");
    if (!number && !is_place && !is_channel && !is_behind) return "there is no such word";
    if (!read_number(at, size, &value) || (number && value > UINT32_MAX)) return "not a number";
    if (is_channel && value > UINT16_MAX) return "there is no such channel";
    if (number == &faults->nth && value == 0) return "the first one is nth=1";
    if (number)
        *number = (uint32_t)value;
    else if (is_place)
        faults->offset = value;
    else if (is_behind)
        faults->behind = value != 0;
    else
        faults->channel = (int32_t)value;
    return NULL;
}

static const char *read_pair(const char *key, size_t key_size, const char *at, size_t size, struct proxy_faults *faults) {
    if (is_word(key, key_size, "act")) return read_act(at, size, faults) ? NULL : "there is no such act";
    if (is_word(key, key_size, "frame")) return read_frame(at, size, faults) ? NULL : "there is no such frame";
    if (is_word(key, key_size, "record")) return read_record(at, size, faults) ? NULL : "there is no such record";
    if (is_word(key, key_size, "byte")) new_mark(faults, PROXY_AT_BYTE);
    return read_numbered(key, key_size, at, size, faults);
}

/* A new act begins with a clean sheet of when. */
static void forget_when(struct proxy_faults *faults) {
    new_mark(faults, PROXY_AT_BYTE);
    faults->nth = 1;
    faults->offset = faults->within = 0;
    faults->behind = false;
    faults->channel = PROXY_ANY_CHANNEL;
}

const char *faults_read(const char *words, struct proxy_faults *faults) {
    struct proxy_faults said = *faults;
    const char *wrong = NULL;
    words += strspn(words, " ");
    if (!*words) said = PROXY_NO_FAULTS;
    if (strstr(words, "act=")) forget_when(&said);
    while (*words && !wrong) {
        size_t size = strcspn(words, " "), key = strcspn(words, "= ");
        if (is_word(words, size, "clear"))
            said = PROXY_NO_FAULTS;
        else if (key == size)
            wrong = "a word without =";
        else
            wrong = read_pair(words, key, words + key + 1, size - key - 1, &said);
        words += size;
        words += strspn(words, " ");
    }
    if (!wrong) *faults = said;
    return wrong;
}
