/* Bytes on their way between client and broker, and the bugs that a control run plants into them. */
#ifndef SIMULATOR_PLANTS_H
#define SIMULATOR_PLANTS_H

#include "sim.h"

void plant_output(struct sim_conn *conn, const uint8_t *bytes, size_t size);
void plant_input(struct sim_conn *conn, const uint8_t *bytes, size_t size);

#endif
