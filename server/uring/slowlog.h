/* The slow log: the last commands of Redis clients that took long, of all threads together.
 *
 * What is measured is the time that a shard's thread executes the command's requests: from when the shard is given one,
 * prefetched, to its answer being made. Waiting (in sockets, queues, the batch, for the disk, for other shards, for a
 * session that is being read back) is not in it. A command of many keys or of all keys is many requests, perhaps of many
 * shards: their times are added up. What the door does by itself (INFO, CONFIG, SUBSCRIBE) is measured there.
 *
 * The price: a command that may take long has a *slow request*, a block with its arguments made while the door takes it
 * apart, which goes along with the calls and takes the time on; about 0.2 us. A *short* command (FAST, or SET and its
 * kin, in at most SLOWLOG_SHORT_BYTES) has none, and no clock is read for it, unless the log is asked for less than
 * SLOWLOG_SHORT_US: what it costs then is one branch in the door and one before it is executed.
 *
 * Memory: the port's, a block for each slow request; those that were slow enough are the log's entries. Threads: any.
 */
#ifndef SLOWLOG_H
#define SLOWLOG_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "bytes.h"
#include "commands.h"
#include "memory.h"
#include "peer.h"
#include "resp.h"

enum {
    SLOWLOG_NAME_BYTES = 65,
    SLOWLOG_SLOWER_THAN_US = 10000, /* Defaults, as Redis's. */
    SLOWLOG_LEN = 128,
};

struct slowlog;

/* One command under way, or an entry. Fields are the door's thread's until it drops it, but for what is atomic. */
struct slow_request {
    struct slowlog *slowlog;
    _Atomic uint32_t holders; /* The door, calls and tasks: the last one ends it. */
    _Atomic uint64_t took_us;
    _Atomic bool ran;  /* Something was measured: it was not merely put off. */
    bool asked;        /* It became requests, which are measured. */
    uint64_t began_us; /* By the door, monotonic. */
    struct slow_request *older, *newer;
    uint64_t id, time_s;
    char address[PEER_BYTES], name[SLOWLOG_NAME_BYTES];
    size_t block_size;
    struct bytes arguments; /* As an array of RESP, in the block. */
};

struct slowlog {
    struct memory *memory;
    uint64_t (*now_ms)(void *clock); /* Wall time. */
    void *clock;
    _Atomic int64_t slower_than_us; /* Those that took at least so long; below 0: none. */
    pthread_mutex_t lock;           /* Of what follows. */
    uint64_t next_id;
    uint32_t count, count_max;
    struct slow_request *newest, *oldest;
};

void slowlog_init(struct slowlog *slowlog, struct memory *memory, int64_t slower_than_us,
                  uint32_t count_max, uint64_t (*now_ms)(void *clock), void *clock);
/* When no slow request is under way any more. */
void slowlog_fini(struct slowlog *slowlog);

/* ---- Measuring ---- */

/* Is a command to be measured that is short, or not? */
static inline bool slowlog_measures(const struct slowlog *slowlog, bool is_short)
{
    int64_t slower_than = atomic_load_explicit(&slowlog->slower_than_us, memory_order_relaxed);

    return slower_than >= 0 && (!is_short || slower_than < SLOWLOG_SHORT_US);
}

/* A command begins; the door holds it. NULL: no memory, it is not measured. */
struct slow_request *slow_begin(struct slowlog *slowlog, const struct command *command,
                                struct bytes array);
/* One more holder of it. */
static inline void slow_hold(struct slow_request *slow)
{
    atomic_fetch_add_explicit(&slow->holders, 1, memory_order_relaxed);
}
/* The same for a request of it, or what will make some: their times count. By the door. */
static inline void slow_ask(struct slow_request *slow)
{
    slow->asked = true;
    slow_hold(slow);
}
/* A part of it was executed. */
void slow_ran(struct slow_request *slow, uint64_t us);
/* After the last holder has, it is an entry, where it took long enough, or gone. */
void slow_drop(struct slow_request *slow);

/* ---- For SLOWLOG and CONFIG ---- */

void slowlog_set(struct slowlog *slowlog, int64_t slower_than_us, uint32_t count_max);
uint32_t slowlog_count_max(struct slowlog *slowlog);
uint32_t slowlog_count(struct slowlog *slowlog);
void slowlog_reset(struct slowlog *slowlog);
/* An array of the newest entries. Returns 0 or -ENOMEM. */
int slowlog_put(struct slowlog *slowlog, uint64_t count, const struct resp_out *out);

#endif
