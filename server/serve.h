/* One node from its start to its clean stop, on the calling thread. */
#ifndef SERVE_H
#define SERVE_H

#include "config.h"

/* Returns 0 after a clean stop; negative errno after a failure, which it has told on stderr. */
int serve(const struct config *config);

#endif
