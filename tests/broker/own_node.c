/* The life of a node of the test's own: see own_node.h. */
#include "own_node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char other_url[256], own_dir[256];

bool own_node_is_possible(void) {
    if (getenv("AMQP_URL") && getenv("LAGO_TEST_BROKER") && getenv("BROKER_DIR")) return true;
    puts("AMQP_URL, LAGO_TEST_BROKER or BROKER_DIR is not set: no node to be had");
    return false;
}

const char *own_node_other_url(void) { return other_url; }

/* The tree of the other node's RabbitMQ; empty: the system's. */
static void read_root(char *root, size_t size) {
    char path[512];
    root[0] = '\0';
    snprintf(path, sizeof path, "%s/root", getenv("BROKER_DIR"));
    FILE *file = fopen(path, "r");
    if (!file) return;
    if (!fgets(root, (int)size, file)) root[0] = '\0';
    root[strcspn(root, "\n")] = '\0';
    fclose(file);
}

/* The lines of `broker start` are KEY=VALUE. */
int own_node_start(void **state) {
    char command[1024], line[512], root[256], url[256] = "";
    (void)state;
    read_root(root, sizeof root);
    snprintf(other_url, sizeof other_url, "%s", getenv("AMQP_URL"));
    snprintf(command, sizeof command, "'%s' start %s%s%s -w %d </dev/null", getenv("LAGO_TEST_BROKER"), root[0] ? "-r '" : "",
             root, root[0] ? "'" : "", (int)getpid());
    FILE *lines = popen(command, "r");
    if (!lines) return -1;
    while (fgets(line, sizeof line, lines)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "AMQP_URL=", 9) == 0) snprintf(url, sizeof url, "%.250s", line + 9);
        if (strncmp(line, "BROKER_DIR=", 11) == 0) snprintf(own_dir, sizeof own_dir, "%.250s", line + 11);
    }
    if (pclose(lines) != 0 || !own_dir[0]) return -1;
    setenv("AMQP_URL", url, 1);
    setenv("BROKER_DIR", own_dir, 1);
    return 0;
}

int own_node_stop(void **state) {
    char command[1024];
    (void)state;
    snprintf(command, sizeof command, "'%s' stop '%s'", getenv("LAGO_TEST_BROKER"), own_dir);
    return own_dir[0] && system(command) != 0 ? -1 : 0;
}
