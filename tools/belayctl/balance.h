/* Weights from loads: what each node is to take so that all are loaded alike.
 *
 * A node's load is taken to be in proportion to its weight. So there is a load, the *level*, that all would have with other weights
 * of the same sum. A step goes half of the way to these weights, and no weight changes by more than a quarter: what was measured lags
 * behind, and where load grows with the square of a weight half of the way is still not too far. The sum stays, so weights do not drift.
 *
 * It is left as it is while the most loaded node is less than BALANCE_SPREAD above the level, or has less than BALANCE_IDLE: what
 * would be won is not worth that sessions move, and where loads are measured a little differently each time nothing goes to and fro.
 * A node whose load does not follow its weight would lose all of it: nobody is brought below a tenth of the mean.
 *
 * Pure: no memory, clock or state. Loads are parts of what a node can do, 1: all of it.
 */
#ifndef BALANCE_H
#define BALANCE_H

#include <stdbool.h>
#include <stdint.h>

#define BALANCE_SPREAD 0.1
#define BALANCE_IDLE   0.1

struct balance_node {
    uint32_t weight; /* From 1 to NODE_WEIGHT_MAX. */
    double load;     /* From 0 up. */
};

/* One step: `to` gets the new weight of each, with the same sum. Returns whether any is another one. */
bool balance_step(const struct balance_node nodes[], uint32_t count, uint32_t to[]);

#endif
