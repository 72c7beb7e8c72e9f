/* The parts, and the sum of them in the last line. */
#include "hostile.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    setenv("CMOCKA_TEST_ABORT", "1", 1); /* checks outside of a test end the program without a word else */
    char path[4096];
    if (argc > 2) return bounds(strcmp(argv[2], "--brief-bounds") == 0);
    snprintf(path, sizeof(path), "%s/cells.txt", argv[1]);
    cells_of_session(path);
    snprintf(path, sizeof(path), "%s/cells_client.txt", argv[1]);
    cells_of_client(path);
    attack_methods();
    attack_frames();
    attack_contents();
    attack_tables();
    attack_client();
    snprintf(path, sizeof(path), "%s/cves.txt", argv[1]);
    replay_cves(path, argv[1]);
    printf("hostile: %lu cells, %lu cases, %lu failures\n", sum.cells, sum.cases, sum.failures);
    return sum.failures ? 1 : 0;
}
