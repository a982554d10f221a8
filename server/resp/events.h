/* Which keyspace events are asked for: `notify-keyspace-events` of Redis, as CONFIG has it.
 *
 * Letters choose where an event is told (K: on __keyspace@N__:KEY, E: on __keyevent@N__:EVENT) and which are (g, $, l, s, h, z,
 * x, e, t, d; A stands for all of these; m and n besides). Of them Belay tells `expired` (x) and `del` (g): the ends of
 * sessions. The others are kept and shown, and nothing comes of them.
 *
 * Source: redis.io/docs/latest/develop/use/keyspace-notifications, and Redis 7.0 for the order of the letters.
 */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdint.h>

#include "bytes.h"

enum {
    EVENTS_GENERIC = 1,  /* g: `del`. */
    EVENTS_EXPIRED = 64, /* x: `expired`. */
    EVENTS_KEYSPACE = 2048,
    EVENTS_KEYEVENT = 4096,
    EVENTS_TEXT_BYTES = 16,
};

#define EVENTS_BAD "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."

/* Returns 0, or -EINVAL where a letter is none of them (EVENTS_BAD). */
int events_parse(struct bytes text, uint32_t *events);
/* The same as Redis shows it. */
void events_print(uint32_t events, char text[EVENTS_TEXT_BYTES]);

#endif
