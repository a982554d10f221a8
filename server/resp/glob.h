/* Patterns of names, as KEYS and MATCH have them: `*`, `?`, `[a-z]`, `[^a]`, and `\` before what is meant as it is.
 * Source: Redis, KEYS (redis.io/docs/latest/commands/keys). */
#ifndef GLOB_H
#define GLOB_H

#include <stdbool.h>

#include "bytes.h"

/* An empty pattern (data NULL) matches all. Takes at most the product of both sizes. */
bool glob_matches(struct bytes pattern, struct bytes text);

/* What every match begins with. */
struct bytes glob_prefix(struct bytes pattern);

#endif
