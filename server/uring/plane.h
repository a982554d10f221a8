/* The data plane: N shard threads with their connections, and nothing shared between them.
 *
 * Each thread owns one io_uring, one shard of the core, one log writer and the connections handed to
 * it. Everything from outside (control thread, other shards) comes as a message through a bounded
 * queue, and a MSG_RING or eventfd wakes the thread once per batch.
 *
 * Threads: plane_*() from the control thread only, but where they say otherwise; they may block for one turn of a shard.
 */
#ifndef PLANE_H
#define PLANE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "logins.h"
#include "policy.h"
#include "replication.h"
#include "roster.h"
#include "segments.h"
#include "shard.h"
#include "staging.h"

struct plane; /* private to plane.c */
struct slot_table;

struct plane_limits {
    uint32_t connections;     /* All shards together. */
    uint32_t in_flight;       /* Requests per connection. */
    uint32_t frame_bytes;     /* Largest body of a frame. */
    uint64_t output_bytes;    /* Unread replies per connection before its requests wait; twice
                                      as much closes it. */
    uint32_t queue_delay_ms;  /* BUSY above it. */
    uint32_t log_interval_ms; /* storage.log_interval. */
};

/* Of copies on other nodes (replication.h); 0: as it says there. */
struct plane_cluster {
    uint64_t window_bytes, heal_bytes_per_s;
    uint32_t silence_ms, round_ms, hold_ms;
    uint32_t heal_percent; /* Of a thread's time, for comparisons (heal_share.h); 0: all of it. */
    uint32_t skew_ms;      /* How far apart nodes' clocks may be. */
    /* This node is the slot's primary, and all targets have what its owners have. About once a second until the slot table
     * says something else; on that shard's thread; must not block. NULL: nobody asks. */
    void (*level)(void *context, uint32_t shard, uint32_t slot, const struct slot_owners *targets);
};

struct plane_options {
    const char *node_name;
    const char *address;   /* To listen on. */
    uint16_t port;         /* 0 picks; see plane_port(). */
    bool has_cluster_port; /* For cluster-aware Redis clients (resp_cluster.h)... */
    uint16_t cluster_port; /* ... this one, or as above; see plane_cluster_port(). */
    uint32_t shard_count;
    struct plane_limits limits;
    struct roster
        *users; /* NULL: none, everybody may do everything. With them `logins`, which answers by
                              plane_login_answered(). */
    struct logins *logins;
    bool allow_flush; /* FLUSHDB and FLUSHALL. */
    int64_t
        slowlog_slower_than_us; /* The slow log (slowlog.h), until CONFIG SET says otherwise; below 0: none. */
    uint32_t slowlog_len; /* Its entries, at most SLOWLOG_LEN_MAX. */
    uint32_t
        events; /* Keyspace events that are told, until CONFIG SET says otherwise (events.h). */
    struct plane_cluster cluster;
    struct actor actor;
    struct memory *memory; /* For what is under way; used by any thread. NULL: the heap. */
    uint32_t run; /* No other start of this node had it: ids of clients are made with it. */
    uint64_t (*now_ms)(void *clock); /* Wall time that never goes back; any thread. */
    void *clock;
    /* A FRAME_ADMIN came; answer with plane_admin_reply(). Called on a shard's thread; must not block
     * (hand it to the control loop). */
    void (*admin)(void *context, uint64_t token, struct bytes command, struct bytes argument);
    /* There is an archive (the end of this page): what asks for it waits so long for it at most. 0: there is none. */
    uint64_t archive_wait_us;
    /* Writes wait for the archive, and are durable: plane_log_reach() says how far. On that shard's thread; must not block. */
    void (*archive_wanted)(void *context, uint32_t shard);
    /* A slot is waited for that is lost, and has not come back (plane_restore()): once for each time that it is lost. On that
     * shard's thread; must not block. NULL: nobody asks. */
    void (*restore_wanted)(void *context, uint32_t slot);
    /* A trace event of any shard; on that shard's thread; must not block. */
    void (*trace)(void *context, uint32_t shard, enum trace_event event, uint64_t a,
                  struct bytes text);
    /* A link of plane_link() is gone; where it was dialled here, it is to be dialled again. On that shard's thread; must
     * not block. NULL: nobody asks. */
    void (*link_lost)(void *context, uint32_t shard, uint32_t node, uint32_t node_shard,
                      bool dialled);
    void *context;
};

enum { LOG_FAILURE_BYTES = 160 };

struct plane_log_stats {
    uint64_t lsn_appended, lsn_durable;
    uint64_t records, bytes, device_writes, device_bytes;
    struct histogram device_write_us;
    bool failed, full;
    char failure[LOG_FAILURE_BYTES]; /* What failed, and how. */
};

enum { PLANE_LAGS_MAX = 256 }; /* As many as there may be members. */

/* What was streamed to a node, and not acknowledged. */
struct plane_lag {
    uint32_t node;
    uint64_t records_behind, bytes_behind, behind_us;
};

/* Requests that waited as the slot of their session was switched to another node. */
struct plane_held {
    struct histogram us;   /* How long. */
    uint32_t longest_slot; /* Whose took longest. */
};

struct plane_shard_stats {
    struct shard_stats shard;
    struct keeper_stats keeper;
    struct plane_log_stats log;
    uint64_t connections, accepted, refused_connections;
    uint64_t bytes_in, bytes_out, frames_bad, hops, output_limited, events_dropped;
    uint64_t links, link_bytes_in, link_bytes_out, far_asked, far_executed;
    uint64_t pauses;                     /* Of the thread (pause.h)... */
    uint64_t far_returned, late_refused; /* ... and what came before: passed back, refused. */
    struct plane_held held;
    uint64_t link_waits; /* Times that a link was not read on, as the log had no room for copies. */
    struct replication_stats copies;
    uint64_t records_behind, bytes_behind; /* Streamed to other nodes, and not acknowledged... */
    uint64_t behind_us;                    /* ... and the age of the oldest of them... */
    uint32_t lag_count;
    struct plane_lag lags[PLANE_LAGS_MAX]; /* ... and the same by node. */
    uint64_t buffer_bytes;                 /* Memory of requests and answers under way, now. */
    uint64_t cpu_us;                       /* Of the thread. */
};

/* Make rings, listeners and threads-to-be, each with its shard (made by the caller, with a NULL door
 * and log, which plane_attach fills in). Writes what is wrong, and what to do, into `message`: where
 * io_uring is not permitted it says exactly that and what to allow.
 * Returns 0 or negative errno. */
int plane_create(const struct plane_options *options, struct plane **created, char *message,
                 size_t message_size);

/* Ports for shard `index`: to be put into its shard_options. Good until plane_destroy(). */
struct log_port *plane_log_port(struct plane *plane, uint32_t index);
struct door *plane_door(struct plane *plane, uint32_t index);
struct tracer *plane_tracer(struct plane *plane, uint32_t index);

/* Give the shard (whose restore is done, or see below) and its log: segments, staging and the LSN to go on
 * from. The plane does not own them. */
void plane_attach(struct plane *plane, uint32_t index, struct shard *shard,
                  struct segments *segments, struct staging *staging, uint64_t lsn);

/* Give the shard's loader, which is started with the thread. `loads`: serving begins before the shard's
 * sessions are here, after shard_loading_begin(), and it brings them. */
void plane_attach_loader(struct plane *plane, uint32_t index, struct loader_port *loader,
                         bool loads);

/* Start the threads and serve. Returns 0 or negative errno. */
int plane_start(struct plane *plane);
uint16_t plane_port(const struct plane *plane);
uint16_t plane_cluster_port(const struct plane *plane); /* 0: there is none. */

/* Stop taking requests, write the log out, close connections, join the threads.
 * Returns 0, or -EIO where a shard's log could not be written out whole. */
int plane_stop(struct plane *plane);
void plane_destroy(struct plane *plane);

/* A consistent copy of one shard's counters. Returns 0, or -ETIMEDOUT after a second. */
int plane_stats(struct plane *plane, uint32_t index, struct plane_shard_stats *stats);

/* Answer a FRAME_ADMIN, once: a JSON document, or an error. */
void plane_admin_reply(struct plane *plane, uint64_t token, enum status status, const char *text,
                       struct bytes json);

/* The answer to a login (logins_listener's `answered`). Any thread. */
void plane_login_answered(struct plane *plane, uint64_t token, void *carrier,
                          const struct login_answer *answer);

/* The roster has other users: connections of those that are gone, or have lost a password, end now, where there is no
 * memory to tell a shard of it at their next request. Any thread. */
void plane_users_changed(struct plane *plane);

/* ---- Other nodes ---- */

/* A connection to (`dialled`) or from a shard of another node, after the handshake. */
struct plane_link {
    int fd;
    bool dialled;           /* By this node. */
    uint32_t node, start;   /* Of the other end... */
    uint32_t shard, shards; /* ... which shard of it, of how many. */
    struct bytes rest;      /* What came behind the handshake; copied. */
};

/* Give it to a shard, which owns the socket from here on; options.link_lost is called once it is gone. Returns 0, or
 * -ENOMEM with the socket still the caller's. Any thread. */
int plane_link(struct plane *plane, uint32_t shard, const struct plane_link *link);

/* Who holds which slot, from here on. The table must stay as it is until `released` was called with it, which is once no
 * thread uses it any more: after another one came, or from within plane_destroy(); on any thread. Returns 0, or -ENOMEM:
 * nothing has changed, and it will not be called. Without any the node is alone. */
int plane_set_table(struct plane *plane, const struct slot_table *table,
                    void (*released)(void *context, const struct slot_table *table), void *context);

/* All threads have come to go by a table of this epoch, or a newer one, with no slot kept (replication.h) from before; 0: not all
 * have one yet. Any thread. */
uint64_t plane_followed(const struct plane *plane);

/* Who has taken a later message has these. Returns 0; -ENOMEM: some shards may not get them: give them again, or others. */
int plane_set_policies(struct plane *plane, const struct policies *policies);

/* ---- The archive ---- */

/* LSNs of a shard's log, each at or below the next one where it says so. */
struct plane_log_reach {
    uint64_t
        wanted; /* Writes wait for the archive to have this, which is durable; 0: none ever did. */
    uint64_t durable;  /* At or below... */
    uint64_t appended; /* ... this. */
    uint64_t asked;    /* How many writes have waited so far for log up to `wanted`. */
};

/* Any thread. */
void plane_log_reach(struct plane *plane, uint32_t shard, struct plane_log_reach *reach);

/* The archive has the log of this shard up to `lsn`: who waited for it is answered. Who waited for what is at or below
 * `lost` is told that it is not there; 0: nothing is missing. Any thread, one at a time. */
void plane_archived(struct plane *plane, uint32_t shard, uint64_t lost, uint64_t lsn);

/* What this shard was told to be missing is in the archive by now: it came with a checkpoint. As plane_archived(). */
void plane_archive_based(struct plane *plane, uint32_t shard);

/* What a shard has of a key. */
enum plane_record {
    PLANE_RECORD_NONE,
    PLANE_RECORD_WHOLE,   /* Its record follows. */
    PLANE_RECORD_COLD,    /* Its fields are in the checkpoint alone. */
    PLANE_RECORD_LOADING, /* It is not known yet. */
};

struct plane_record_head {
    uint64_t position;
    uint64_t size; /* Of the record that follows. */
    enum plane_record what;
};

enum { PLANE_RECORDS_MAX = 64, PLANE_RECORDS_BYTES = 256 * 1024 };

struct plane_records {
    struct buffer
        keys; /* Of each: position (8), varint size, key. About PLANE_RECORDS_MAX of them. */
    struct buffer
        found; /* Of each, in the same order: a head, and the record. Heads lie anywhere: copy them. */
    uint32_t answered; /* So many were: fewer where they take more than PLANE_RECORDS_BYTES. */
    uint64_t lsn;      /* The log before it has all that they are. */
};

/* Ask a shard for records as they are now; its thread does that in one turn. Not the shard's thread. Returns 0 with
 * `found`, `answered` and `lsn` set; -ENOMEM; -ETIMEDOUT: not within a second. `keys` is as before. */
int plane_records(struct plane *plane, uint32_t shard, struct plane_records *records);

/* The same once plane_stop() has returned, at once. */
void plane_records_stopped(struct plane *plane, uint32_t shard, struct plane_records *records);

/* What a checkpoint of a shard for the archive goes by. */
struct plane_basis {
    uint32_t first_slot,
        slot_count; /* Of these slots: about PLANE_BASIS_SLOTS of them, or none... */
    bool
        copies; /* ... those of which this node is any owner; else those of which it is the primary. */
    struct buffer
        vectors; /* Of each of these of which it is known what it has seen: slot (4), size (4), vector. */
    uint64_t lsn; /* The log before it has all that they say... */
    uint64_t
        hlc; /* ... and all that was stamped here, which is at or below this; what will be is above. */
    uint64_t
        epoch; /* Of the slot table that the shard goes by: with another one slots may have left it. */
    uint32_t missing; /* The others of these. */
    bool known;       /* Else sessions are still being loaded: ask again. */
};

enum { PLANE_BASIS_SLOTS = 1024 };

/* Ask a shard for it; the last slots of all (`ends`) have it bring its log into the store's checkpoint soon. Returns as
 * plane_records(). */
int plane_basis(struct plane *plane, uint32_t shard, bool ends, struct plane_basis *basis);

/* Wait until what the shard has appended to its log by now is durable, however long its turns take. Not the shard's thread.
 * Returns 0; -ENOMEM; -ECANCELED: `stops` is set. */
int plane_await_durable(struct plane *plane, uint32_t shard, const atomic_bool *stops);

/* What became of it. */
struct plane_restored {
    int rc; /* 0: all that it has is done. -ECANCELED: the shard's thread ends, or has no memory. */
    uint64_t merged, refused; /* Records. */
};

/* Sessions of lost slots (map.h), back from the archive, and slots of which all has come. All that it calls is called on the
 * shard's thread, and must not block; `done` comes last. */
struct plane_restore {
    /* Of each: the epoch in which its slot was lost (8), varint size, a whole record. All of slots of this shard. */
    struct buffer records;
    /* Of each: slot (2), the epoch in which it was lost (8), varint size, what the archive has seen of it (seen.h; perhaps
     * nothing). They are whole once the records are merged. */
    struct buffer slots;
    /* A record that will never be merged, and why; the key is valid during the call. */
    void (*refused)(void *context, struct bytes key, enum status status);
    /* A record of a time that has not come yet, by the clock here (recover_is_ahead()): it is not merged, and its slot is missed. The
     * key as above. */
    void (*ahead)(void *context, struct bytes key);
    /* The slot is not whole by this: it is not lost any more, or not in that epoch, or another node coordinates it now. Of
     * such records nothing is merged here. Where it is still waited for it is wanted anew. A slot may be told more than once. */
    void (*missed)(void *context, uint32_t slot, uint64_t lost);
    void (*done)(void *context, const struct plane_restored *result);
    void *context;
};

/* Have a shard merge records as writes of level `replica`, for as long as that takes, then serve the slots. Its buffers go with
 * it. `done` is called once, on the shard's thread or from within plane_destroy(). Returns 0; -ENOMEM, with nothing changed.
 * Any thread. */
int plane_restore(struct plane *plane, uint32_t shard, struct plane_restore *restore);

/* The map of the cluster for clients of the native protocol: client_map_encode()'s bytes, which are copied. Those that
 * asked for it are told. Epochs ascend. Returns 0; -ENOMEM: not all shards have it, give it again. */
int plane_set_client_map(struct plane *plane, uint64_t epoch, struct bytes map);

#endif
