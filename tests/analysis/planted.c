/* Defects for `tests/analysis/run --control`: one for each tool to find. Nothing compiles this into anything. */
#include <stdlib.h>

int planted_null(int wanted);
int planted_after_free(void);
long planted_product(int a, int b);
int planted_bounds(void);

int planted_null(int wanted) {
    int *at = NULL;
    if (wanted > 0) wanted = -wanted;
    return *at + wanted;
}

int planted_after_free(void) {
    int *at = malloc(sizeof *at);
    if (!at) return 0;
    *at = 1;
    free(at);
    return *at;
}

long planted_product(int a, int b) { return a * b; }

int planted_bounds(void) {
    int numbers[4] = { 1, 2, 3, 4 };
    return numbers[4];
}
