/*
 * The parser of dictionary literals: recursive descent, bounded in depth and size, into blocks that are freed together.
 *
 * Must not know what the dictionary is for.
 */
#include "literal.h"
#include "alloc.h"
#include <lago/error.h>
#include <string.h>

/* Decimal digits that always fit a uint64_t. */
#define MANTISSA_DIGITS_MAX 19u

/* Beyond this any mantissa of 19 digits is 0 or too large for a double; keeps the scaling loop short. */
#define EXPONENT_MAX 400

struct literal_block {
    _Alignas(max_align_t) struct literal_block *next; /* what follows may be anything */
    size_t size;
};

struct parser {
    struct literal *literal;
    const char *text;
    size_t size, at;
    unsigned depth;
};

static int parse_value(struct parser *p, lago_value_t *value);

/* ---------------------------------------------------------------- characters and memory */

static int fail(struct parser *p, const char *problem) {
    p->literal->problem = problem;
    p->literal->at = p->at;
    return LAGO_ETABLE;
}

/* The next character, or NUL at the end; a NUL inside the text fits no rule, so the two need not differ. */
static char peek(const struct parser *p) { return p->at < p->size ? p->text[p->at] : '\0'; }

static char peek_after_space(struct parser *p) {
    while (p->at < p->size && strchr(" \t\r\n", p->text[p->at]) && p->text[p->at] != '\0') p->at++;
    return peek(p);
}

static bool accept(struct parser *p, char c) {
    if (peek_after_space(p) != c) return false;
    p->at++;
    return true;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* Memory that lives until literal_free; so much as LITERAL_SIZE_MAX characters may ask for. */
static void *block_new(struct literal *literal, size_t count, size_t size) {
    struct literal_block *block = mem_alloc(literal->alloc, sizeof *block + count * size);
    if (!block) return NULL;
    block->next = literal->blocks;
    block->size = count * size;
    literal->blocks = block;
    return block + 1;
}

/* Room for one more element: doubles whenever `count` has reached a power of two. */
static void *grown(struct literal *literal, void *old, size_t count, size_t size) {
    if (count & (count - 1)) return old;
    void *larger = block_new(literal, count ? count * 2 : 1, size);
    if (larger && count) memcpy(larger, old, count * size);
    return larger;
}

/* ---------------------------------------------------------------- strings */

static int hex_value(char c) {
    if (is_digit(c)) return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

static bool parse_hex(struct parser *p, unsigned digits, uint32_t *code) {
    *code = 0;
    for (unsigned i = 0; i < digits; i++) {
        int digit = hex_value(peek(p));
        if (digit < 0) return false;
        *code = *code << 4 | (uint32_t)digit;
        p->at++;
    }
    return true;
}

static size_t put_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t size = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = size - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    out[0] = (char)(lead[size] | code);
    return size;
}

/* The four digits after \u are read; a high surrogate must be followed by \u and a low one, as JSON writes them. */
static bool parse_surrogates(struct parser *p, uint32_t *code) {
    if (*code < 0xd800 || *code > 0xdfff) return true;
    uint32_t low;
    if (*code > 0xdbff || p->size - p->at < 6 || p->text[p->at] != '\\' || p->text[p->at + 1] != 'u') return false;
    p->at += 2;
    if (!parse_hex(p, 4, &low) || low < 0xdc00 || low > 0xdfff) return false;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

/* The backslash is read. */
static int parse_escape(struct parser *p, char *out, size_t *size) {
    static const char letters[] = "\\'\"/abfnrtv", meanings[] = "\\'\"/\a\b\f\n\r\t\v";
    char c = peek(p);
    const char *letter = c ? strchr(letters, c) : NULL;
    p->at++;
    if (letter) {
        out[(*size)++] = meanings[letter - letters];
        return 0;
    }
    uint32_t code = 0;
    bool good = false;
    if (c == 'x') good = parse_hex(p, 2, &code);
    if (c == 'u') good = parse_hex(p, 4, &code) && parse_surrogates(p, &code);
    if (c == 'U') good = parse_hex(p, 8, &code) && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    if (!good) return fail(p, "bad escape in a string");
    *size += put_utf8(out + *size, code);
    return 0;
}

/* Where the string that begins behind the quote at `at` ends, or p->size. */
static size_t find_end(const struct parser *p, char quote) {
    size_t end = p->at;
    while (end < p->size && p->text[end] != quote) end += p->text[end] == '\\' && p->size - end > 1 ? 2 : 1;
    return end;
}

static int parse_string(struct parser *p, lago_string_t *string) {
    char quote = p->text[p->at++];
    size_t end = find_end(p, quote), size = 0;
    if (end >= p->size) return fail(p, "a string is not closed");
    char *out = block_new(p->literal, end - p->at + 1, 1); /* no escape is shorter than what it stands for */
    if (!out) return LAGO_ENOMEM;
    while (p->at < end) {
        char c = p->text[p->at];
        if ((unsigned char)c < ' ') return fail(p, "a control character in a string");
        p->at++;
        if (c != '\\') {
            out[size++] = c;
            continue;
        }
        int rc = parse_escape(p, out, &size);
        if (rc < 0) return rc;
    }
    p->at = end + 1;
    *string = (lago_string_t){ out, size };
    return 0;
}

/* ---------------------------------------------------------------- numbers and words */

struct number {
    uint64_t mantissa;
    int exponent;
    unsigned digits; /* significant ones in the mantissa */
    bool negative, real, large;
};

static void add_digits(struct parser *p, struct number *n, bool fraction) {
    for (; is_digit(peek(p)); p->at++) {
        if (n->digits == MANTISSA_DIGITS_MAX) {
            n->large = true;
            if (!fraction) n->exponent++;
            continue;
        }
        n->mantissa = n->mantissa * 10 + (uint64_t)(peek(p) - '0');
        if (n->mantissa) n->digits++;
        if (fraction) n->exponent--;
    }
}

/* The letter is read. */
static bool add_exponent(struct parser *p, struct number *n) {
    char sign = peek(p);
    int exponent = 0;
    if (sign == '-' || sign == '+') p->at++;
    if (!is_digit(peek(p))) return false;
    for (; is_digit(peek(p)); p->at++)
        if (exponent < EXPONENT_MAX * 100) exponent = exponent * 10 + (peek(p) - '0');
    n->exponent += sign == '-' ? -exponent : exponent;
    return true;
}

/* Exact up to 15 digits and 10^22, else off by a few units in the last place: enough for what people write by hand. */
static double scaled(const struct number *n) {
    double value = (double)n->mantissa, power = 1.0, base = 10.0;
    int exponent = n->exponent < 0 ? -n->exponent : n->exponent;
    if (n->mantissa == 0) return 0.0;
    if (exponent > EXPONENT_MAX) exponent = EXPONENT_MAX;
    /* in two halves, because 10^308 is the largest power that a double holds, and 10^-323 is still a number */
    for (int half = exponent / 2, part = 0; part < 2; part++, half = exponent - exponent / 2) {
        power = 1.0;
        base = 10.0;
        for (int e = half; e; e >>= 1, base *= base)
            if (e & 1) power *= base;
        value = n->exponent < 0 ? value / power : value * power;
    }
    return value;
}

static int finish_real(struct parser *p, const struct number *n, lago_value_t *value) {
    double real = scaled(n);
    if (real > 1.7976931348623157e308) return fail(p, "a number is too large");
    value->type = LAGO_TYPE_DOUBLE;
    value->as.real = n->negative ? -real : real;
    return 0;
}

static int finish_integer(struct parser *p, const struct number *n, lago_value_t *value) {
    uint64_t limit = (uint64_t)INT64_MAX + (n->negative ? 1 : 0);
    if (n->large || n->mantissa > limit) return fail(p, "an integer does not fit into 64 bits");
    int64_t integer = (int64_t)n->mantissa;
    if (n->negative) integer = n->mantissa > INT64_MAX ? INT64_MIN : -integer;
    value->type = integer >= INT32_MIN && integer <= INT32_MAX ? LAGO_TYPE_INT32 : LAGO_TYPE_INT64;
    value->as.integer = integer;
    return 0;
}

static int parse_number(struct parser *p, lago_value_t *value) {
    struct number n = { .negative = peek(p) == '-' };
    if (n.negative) p->at++;
    size_t start = p->at;
    add_digits(p, &n, false);
    if (p->at == start) return fail(p, "a value is expected");
    if (p->text[start] == '0' && p->at - start > 1) return fail(p, "a number begins with 0");
    if (peek(p) == '.') {
        n.real = true;
        start = ++p->at;
        add_digits(p, &n, true);
        if (p->at == start) return fail(p, "a digit is expected behind the point");
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        n.real = true;
        p->at++;
        if (!add_exponent(p, &n)) return fail(p, "a digit is expected in the exponent");
    }
    return n.real ? finish_real(p, &n, value) : finish_integer(p, &n, value);
}

static int parse_word(struct parser *p, lago_value_t *value) {
    static const struct {
        const char *word;
        lago_type_t type;
        bool boolean;
    } words[] = {
        { "True", LAGO_TYPE_BOOLEAN, true },   { "true", LAGO_TYPE_BOOLEAN, true }, { "False", LAGO_TYPE_BOOLEAN, false },
        { "false", LAGO_TYPE_BOOLEAN, false }, { "None", LAGO_TYPE_VOID, false },   { "null", LAGO_TYPE_VOID, false },
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t size = strlen(words[i].word);
        if (p->size - p->at < size || memcmp(p->text + p->at, words[i].word, size) != 0) continue;
        p->at += size;
        value->type = words[i].type;
        if (value->type == LAGO_TYPE_BOOLEAN) value->as.boolean = words[i].boolean;
        return 0;
    }
    return fail(p, "a value is expected");
}

/* ---------------------------------------------------------------- dictionaries, lists, tuples */

static bool has_name(const lago_field_t *fields, size_t count, lago_string_t name) {
    for (size_t i = 0; i < count; i++)
        if (fields[i].name.size == name.size && memcmp(fields[i].name.data, name.data, name.size) == 0) return true;
    return false;
}

static int parse_entry(struct parser *p, lago_field_t *fields, size_t count) {
    lago_field_t *field = &fields[count];
    char c = peek_after_space(p);
    if (c != '\'' && c != '"') return fail(p, "a name in quotes is expected");
    int rc = parse_string(p, &field->name);
    if (rc < 0) return rc;
    if (has_name(fields, count, field->name)) return fail(p, "a name occurs twice");
    if (!accept(p, ':')) return fail(p, "':' is expected");
    return parse_value(p, &field->value);
}

/* The opening brace is read. */
static int parse_dictionary(struct parser *p, lago_table_t *table) {
    lago_field_t *fields = NULL;
    size_t count = 0;
    while (!accept(p, '}')) {
        if (count && !accept(p, ',')) return fail(p, "',' or '}' is expected");
        if (count && accept(p, '}')) break; /* {'a': 1,} */
        fields = grown(p->literal, fields, count, sizeof *fields);
        if (!fields) return LAGO_ENOMEM;
        int rc = parse_entry(p, fields, count);
        if (rc < 0) return rc;
        count++;
    }
    *table = (lago_table_t){ .fields = fields, .size = count };
    return 0;
}

/* The opening bracket is read. */
static int parse_sequence(struct parser *p, char close, lago_value_t *value) {
    lago_value_t *values = NULL;
    size_t count = 0;
    bool comma = false;
    while (!accept(p, close)) {
        if (count && !accept(p, ',')) return fail(p, "',' or a closing bracket is expected");
        comma = count > 0;
        if (count && accept(p, close)) break;
        values = grown(p->literal, values, count, sizeof *values);
        if (!values) return LAGO_ENOMEM;
        int rc = parse_value(p, &values[count]);
        if (rc < 0) return rc;
        count++;
    }
    if (close == ')' && count == 1 && !comma) { /* (1) is 1, (1,) is a tuple */
        *value = values[0];
        return 0;
    }
    value->type = LAGO_TYPE_ARRAY;
    value->as.array = (lago_array_t){ .values = values, .size = count };
    return 0;
}

static int parse_nested(struct parser *p, char open, lago_value_t *value) {
    if (p->depth == LITERAL_DEPTH_MAX) return fail(p, "nested more than 16 deep");
    p->at++;
    p->depth++;
    int rc;
    if (open == '{') {
        value->type = LAGO_TYPE_TABLE;
        rc = parse_dictionary(p, &value->as.table);
    } else {
        rc = parse_sequence(p, open == '[' ? ']' : ')', value);
    }
    p->depth--;
    return rc;
}

static int parse_value(struct parser *p, lago_value_t *value) {
    memset(value, 0, sizeof *value);
    char c = peek_after_space(p);
    if (c == '{' || c == '[' || c == '(') return parse_nested(p, c, value);
    if (c == '\'' || c == '"') {
        value->type = LAGO_TYPE_STRING;
        return parse_string(p, &value->as.string);
    }
    if (c == '-' || is_digit(c)) return parse_number(p, value);
    return parse_word(p, value);
}

int literal_parse(struct literal *literal, const lago_allocator_t *alloc, const char *text, size_t size) {
    *literal = (struct literal){ .alloc = alloc };
    struct parser p = { .literal = literal, .text = text, .size = size };
    if (size > LITERAL_SIZE_MAX) return fail(&p, "longer than 16384 bytes");
    lago_value_t value;
    int rc = parse_value(&p, &value);
    if (rc < 0) return rc;
    peek_after_space(&p);
    if (p.at != p.size) return fail(&p, "something follows the dictionary");
    if (value.type == LAGO_TYPE_TABLE)
        literal->table = value.as.table;
    else if (value.type != LAGO_TYPE_VOID)
        return fail(&p, "not a dictionary");
    literal->none = value.type == LAGO_TYPE_VOID;
    return 0;
}

void literal_free(struct literal *literal) {
    while (literal->blocks) {
        struct literal_block *block = literal->blocks;
        literal->blocks = block->next;
        mem_wipe(block + 1, block->size);
        mem_free(literal->alloc, block);
    }
    literal->table = (lago_table_t){ 0 };
}
