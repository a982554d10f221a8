/* Limits inside the data plane: every queue, batch and buffer has its maximum here, with what happens
 * at it. Those that an operator sets are in plane.h.
 */
#ifndef BOUNDS_H
#define BOUNDS_H

#include "frame.h"
#include "limits.h"
#include "staging.h"

enum {
    SHARDS_MAX = 255, /* plane_create() refuses more. */

    /* The ring. Where submissions outgrow theirs they are submitted early, completions never overflow
     * because every connection has at most three outstanding. */
    RING_SUBMISSIONS = 1024,
    RING_COMPLETIONS = 8192,

    /* Receive buffers of a shard: as much as it takes in a turn. Where they are used up a connection
     * waits for the next turn. */
    RECEIVE_BUFFERS = 256, /* A power of two. */
    RECEIVE_BUFFER_BYTES = 4096,

    /* A frame of which more than this is missing is received into its own memory, a slice a turn, so
     * that it neither uses up the buffers nor holds up the small ones. */
    BULK_BYTES_MIN = 32 * 1024,
    BULK_SLICE_BYTES = 128 * 1024,

    /* Memory for frames and replies under way comes in chunks; what is larger gets its own. */
    CHUNK_BYTES = 16 * 1024 - 64,
    LARGE_KEPT_BYTES = 8 * 1024 * 1024, /* Of free large ones, while they are used. */

    /* Half received frames of a shard. A frame that would pass it is skipped and answered BUSY. */
    INPUT_BYTES_MAX = 2 * FRAME_BYTES_MAX,

    /* A connection with more unsent answers than this gets no request executed until half is gone: large
     * answers are made one by one as they leave, not all in one turn. */
    OUTPUT_PACE_BYTES = 512 * 1024,
    /* An answer that another shard gives without having been asked how large it will be. */
    UNASKED_BYTES_MAX = 4 * 1024,
    /* What waits to be read by all clients of a shard together: above, it is this for each connection. */
    UNREAD_BYTES_MAX = 64 * 1024 * 1024,
    UNREAD_PACE_BYTES = 32 * 1024,
    /* Above this nobody's requests are executed, and connections are closed whose clients have read nothing for UNREAD_MS. */
    CROWDED_BYTES_MAX = 4 * UNREAD_BYTES_MAX,
    UNREAD_MS = 500,
    CROWDED_MS = 100, /* How often they are looked for then. */

    /* Replies to many keys, and scans, that are being put together for one connection. The next one waits,
     * and all that follows it; so it does where they will be larger than OUTPUT_PACE_BYTES together, if they are as those of late. */
    GATHERS_MAX = 4,
    /* Of all connections' together: no more is begun in a turn that put so many bytes into some, nor while there are so many in
     * those that are not whole. */
    GATHER_TURN_BYTES = 1024 * 1024,
    GATHER_LARGE_BYTES =
        64 * 1024, /* Where those of late were larger, that is looked at before each. */
    GATHER_BYTES_MAX = 64 * 1024 * 1024,
    /* Those that are whole, and wait as their connections have too much to be read: BUSY above. */
    GATHERS_KEPT_BYTES_MAX = 64 * 1024 * 1024,
    /* Copies of parts that found no room in the queue to their shard, of all connections of a shard: BUSY above. */
    DEFERRED_BYTES_MAX = 64 * 1024 * 1024,
    /* Of requests larger than BULK_BYTES_MIN, so many bytes are served in a turn (at least one). */
    BULK_TURN_BYTES = 1024 * 1024,

    /* One send carries at most this of a connection's replies. */
    SEND_PARTS_MAX = 16,
    SEND_BYTES_MAX = 128 * 1024,

    /* Requests taken apart before they are executed; more make another batch in the same turn. */
    BATCH_MAX = 256,
    /* How many of them are prefetched ahead: more would push each other out of the nearest cache. */
    PREFETCH_MAX = 32,

    /* How long writes of clients that cannot be told to come back wait for a segment of the log: BUSY then. */
    LOG_WAIT_MS = 10000,
    /* Requests of a shard that wait for that and could not be left with their connections (aside.h): BUSY above. */
    ASIDE_BYTES_MAX = 64 * 1024 * 1024,

    /* Requests of a shard not yet answered, its own and those of other shards: BUSY above. */
    TICKETS_MAX = 256 * 1024,
    HELD_BYTES = 256, /* Of an answer kept until its write is durable; larger ones use the heap. */
    HELD_KEPT = 4096, /* Free ones kept. */

    /* Bytes on their way from one shard to another; larger messages carry a pointer. BUSY above. */
    HOP_BYTES = 256 * 1024, /* A power of two. */
    HOP_MESSAGE_MAX = 16 * 1024,
    HOP_SPARE_BYTES = HOP_BYTES / 4, /* Requests leave this much for answers. */
    /* Answers that found the queue full. Requests of that shard: BUSY above, not executed. */
    OWED_BYTES_MAX = 16 * 1024 * 1024,
    REFUSED_MAX = 1024, /* Such refusals themselves; above, that shard's queue is left alone. */

    /* Links to shards of other nodes. plane_link(): closed above. */
    LINKS_MAX = 2048,
    LINK_FRAME_PARTS_MAX = 8,
    /* What waits to be sent over one: above, it takes no more but for answers, and its other end's requests wait. */
    LINK_OUTPUT_BYTES_MAX = 4 * 1024 * 1024,
    LINK_SEND_PARTS_MAX = 64,
    LINK_SEND_BYTES_MAX = 512 * 1024,

    /* Of each stream to another node's shard, where plane_options do not say. */
    COPIES_WINDOW_BYTES = 32 * 1024 * 1024,
    COPIES_WHOLE_US = 2000,      /* So long what was found to be level counts as that. */
    COPIES_RETRY_US = 10 * 1000, /* After there was no memory for a new table. */

    /* Requests that other nodes coordinate (far.h): BUSY above. */
    FAR_BYTES_MAX = 256 * 1024 * 1024,
    FAR_CHECK_MS = 5,
    FAR_REST_MS = 10,         /* The same, where the archive has been asked for the slot. */
    FAR_WAIT_MS = 2000,       /* So long somebody is looked for, ... */
    FAR_AGAIN_MS = 250,       /* ... and so long where other nodes have done so already. */
    FAR_ANSWER_MS = 30000,    /* So long an answer may take. */
    FAR_RETRY_MS = 2000,      /* A client's first try counts as so much older than it came here. */
    FAR_CONNECTION_BITS = 12, /* Of what tells another node's connections apart. */

    LOG_STAGING_BYTES =
        STAGING_AREA_BYTES,           /* Of one device write; larger only for one large record. */
    LOG_WRITE_BYTES_MIN = 256 * 1024, /* Written without waiting for the interval. */
    LOG_RETRY_MS = 100,
    /* What can wait fills so much of the staging, which keeps a device busy; and not the last of a segment while no other
     * is ready. */
    LOG_SPARE_BYTES = 2 * LOG_STAGING_BYTES,
    LOG_KEPT_BYTES = 4 * 1024 * 1024,

    /* Commands that wait for their EXEC, of all connections of a shard: BUSY above, and EXECABORT. */
    MULTI_QUEUED_BYTES_MAX = 256 * 1024 * 1024,

    /* Subscriptions of one connection: "ERR more than 65536 channels", "... 1024 patterns"; and the bytes of their
     * names: "ERR names of more than 8 MiB". */
    PUBSUB_CHANNELS_MAX = 65536,
    PUBSUB_PATTERNS_MAX = 1024,
    PUBSUB_NAMES_BYTES_MAX = 8 * 1024 * 1024,
    /* Messages that a thread has not given to its subscribers yet. Above it PUBLISH waits, and keyspace events are
     * dropped and counted. */
    PUBSUB_QUEUE_BYTES_MAX = 32 * 1024 * 1024,
    /* In a turn a thread gives away so many bytes of them, to all subscribers together. */
    PUBSUB_TURN_BYTES = 4 * 1024 * 1024,

    /* Lines that a thread has not given to those who watch with MONITOR yet. Above it they are missing, and the
     * watchers are told so: OUTPUT_LIMIT, and closed. */
    MONITOR_QUEUE_BYTES_MAX = 32 * 1024 * 1024,

    /* The slow log: entries at most (CONFIG SET and the configuration refuse more); what is not measured (slowlog.h). */
    SLOWLOG_LEN_MAX = 100000,
    SLOWLOG_SHORT_BYTES = 4096,
    SLOWLOG_SHORT_US = 1000,

    BUSY_RETRY_MS = 50, /* What BUSY advises where the shard itself was not asked. */

    TICK_BUDGET_US = 500,
    LOADING_TURN_US = 500,  /* Of a turn, while sessions are being loaded. */
    LOADING_RETRY_MS = 100, /* After there was no memory for one. */
    IDLE_WAIT_MS = 10000,   /* Longest sleep. */
    LINGER_MS = 2000, /* A connection we close has this long to read the error that says why. */
    CHECK_MS = 1000,  /* How often those two are looked for, and memory that nothing uses. */
    HALF_FRAME_MS = 30000, /* A frame that does not grow for so long closes its connection. */
    ACCEPT_RETRY_MS = 100,
    CUT_MS = 10000, /* So long a client has to read what came before OUTPUT_LIMIT. */
    STOP_MS = 5000, /* plane_stop() waits so long for answers to be read. */
};

#endif
