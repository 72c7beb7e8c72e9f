/* Version of the headers, and of the library that is linked. */
#ifndef LAGO_VERSION_H
#define LAGO_VERSION_H

#include <lago/types.h>

#define LAGO_VERSION_MAJOR 0
#define LAGO_VERSION_MINOR 1
#define LAGO_VERSION_PATCH 0
#define LAGO_VERSION       "0.1.0"

/* The headers' version as one number that compares: 0xMMmmpp. */
#define LAGO_VERSION_NUMBER ((LAGO_VERSION_MAJOR << 16) | (LAGO_VERSION_MINOR << 8) | LAGO_VERSION_PATCH)

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The version of the library in use, as "major.minor.patch".
 *
 * Compare it with LAGO_VERSION to see whether headers and library belong together.
 *
 * @return A static string. Thread: any.
 */
LAGO_EXPORT const char *lago_version(void);

#ifdef __cplusplus
}
#endif
#endif
