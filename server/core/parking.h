/* Parking: requests that wait for their session to be loaded, in the order in which they came.
 *
 * Each is kept as a copy, with what it points at, since what it was received in does not last. Those of
 * one position come out together; scans, which need everything, wait for the end of loading.
 *
 * Limits: PARKING_BYTES_MAX of copies (a request that alone is larger may be the only one).
 * Memory: from the port. Threads: the caller's.
 */
#ifndef PARKING_H
#define PARKING_H

#include "shard.h"

enum { PARKING_BYTES_MAX = 64 * 1024 * 1024, PARKING_CHAINS = 4096 };

struct parked {
    struct parked *next;
    size_t size; /* Of this block. */
    struct request request;
    uint8_t bytes[]; /* Its key, version and body. */
};

struct parking_chain {
    struct parked *first, *last;
};

struct parking {
    struct memory *memory;
    struct parking_chain *chains; /* PARKING_CHAINS, while any waits. */
    struct parking_chain scans;
    size_t bytes;
    uint32_t count;
};

void parking_init(struct parking *parking, struct memory *memory);
/* Frees what waits, unanswered. */
void parking_fini(struct parking *parking);

/* Keep a copy. `first` says whether it is the only one of its position now.
 * Returns 0; -ENOMEM; -EAGAIN at the limit. */
int parking_add(struct parking *parking, const struct request *request, bool *first);

/* Visit the slots of writes that wait. */
void parking_visit_writes(const struct parking *parking,
                          void (*visit)(void *context, uint32_t slot), void *context);

/* Take out all requests of a position, all scans, or all that wait, in order: a list, whose elements are
 * to be given to parking_free() one by one. NULL: none. */
struct parked *parking_take(struct parking *parking, uint64_t position);
struct parked *parking_take_scans(struct parking *parking);
struct parked *parking_take_all(struct parking *parking);
void parking_free(struct parking *parking, struct parked *parked);

#endif
