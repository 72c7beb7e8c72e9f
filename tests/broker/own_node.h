/* A node of the test's own, beside that of the other tests and of the same version: for those that kill, stop or drain it. */
#ifndef BROKER_OWN_NODE_H
#define BROKER_OWN_NODE_H

#include <stdbool.h>

/* Whether one can be had; else a line says why not. */
bool own_node_is_possible(void);

/* cmocka's group setup and teardown: from here on AMQP_URL and BROKER_DIR are its. */
int own_node_start(void **state);
int own_node_stop(void **state);

/* AMQP_URL of the node of the other tests. */
const char *own_node_other_url(void);

#endif
