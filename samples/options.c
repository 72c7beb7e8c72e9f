/* The command line of the two asynchronous samples; knows nothing of AMQP and of libuv. */
#include "options.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define BODY_SIZE_MAX (128u << 20) /* what lago and RabbitMQ take as one message by default */

static void quit(const char *usage, int code) {
    fputs(usage, code == 0 ? stdout : stderr);
    exit(code);
}

static uint64_t number(const char *text, uint64_t highest, const char *usage) {
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    /* strtoull takes "-1" for a very large number */
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value > highest) {
        fprintf(stderr, "'%s' is not a number from 0 to %llu\n", text, (unsigned long long)highest);
        quit(usage, 2);
    }
    return value;
}

void options_read(options_t *options, int argc, char **argv, const struct option *known, const char *usage) {
    int letter;
    while ((letter = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (letter) {
        case 'u': options->url = optarg; break;
        case 'e': options->exchange = optarg; break;
        case 'q': options->queue = optarg; break;
        case 'c': options->count = number(optarg, ENDLESS - 1, usage); break;
        case 's': options->size = (size_t)number(optarg, BODY_SIZE_MAX, usage); break;
        case 'f': options->prefetch = (uint16_t)number(optarg, UINT16_MAX, usage); break;
        case 'p': options->progress = true; break;
        case 'd': options->delete_at_end = true; break;
        case 'h': quit(usage, 0); break;
        default: quit(usage, 2);
        }
    }
    if (optind < argc) quit(usage, 2);
}
