/* The version of the library that is linked, as opposed to that of the headers. */
#include <lago/version.h>

const char *lago_version(void) { return LAGO_VERSION; }
