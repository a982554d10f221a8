/* One shard's thread: its ring, connections, log writer and shard, and the turns it takes.
 *
 * A turn: reap all completions; take all requests apart; prefetch and execute them; send all answers,
 * one send per connection; begin a log write where one is due; do a little of the shard's own work; then
 * submit and wait in one system call.
 *
 * Memory: made and destroyed by the plane. Threads: everything here belongs to the thread itself, but
 * for what is marked atomic, the mailbox, and the hops.
 */
#ifndef SHARD_THREAD_H
#define SHARD_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "archive_gate.h"
#include "arena.h"
#include "aside.h"
#include "batch.h"
#include "calls.h"
#include "connection.h"
#include "copies.h"
#include "far.h"
#include "hop.h"
#include "link.h"
#include "log_writer.h"
#include "mailbox.h"
#include "marks.h"
#include "moves.h"
#include "native_answer.h"
#include "native_busy.h"
#include "native_map.h"
#include "pause.h"
#include "plane.h"
#include "ports.h"
#include "restores.h"
#include "ring.h"
#include "shard.h"
#include "turned.h"

/* Answers to one other shard that wait for room in the queue to it: calls whose answer is made (in `held`,
 * or lost for want of memory), and requests that found no call. */
struct owed {
    uint32_t first, last; /* Index + 1 of calls. */
    uint64_t bytes;       /* Of their answers. */
    uint32_t refused_count;
    uint64_t refused[REFUSED_MAX]; /* Tickets there. */
};

enum { FRAME_BUFFER_BYTES = 4096 }; /* Always there for an answer without a value. */

struct resp_session;
struct slow_request;

struct shard_thread {
    struct door door;
    struct tracer tracer;
    struct plane *plane;
    uint32_t index;
    struct memory *memory; /* Of the plane: any thread's. */
    struct shard *shard;
    struct ring ring;
    struct log_writer log;
    struct connections connections;
    struct calls calls;
    struct batch batch;
    struct chunk_pool chunks;
    struct chunk *spent;        /* Executed from; given back after the batch. */
    struct loader_port *loader; /* Brings sessions; NULL: there is none. */
    atomic_bool loads;          /* Not all that a restart has is here yet. */
    atomic_bool load_ready;     /* It has something, perhaps. */
    struct load_block *loading; /* What is being taken in. */
    uint64_t loading_us;        /* Not before. */
    struct arena arena;
    struct buffer scratch, frame;
    struct native_map client_map;
    struct native_answer answer; /* Between answer_room() and answer_put(). */
    struct native_busy busy;

    /* From and to the other shards, by their number; NULL for itself. */
    struct hop **hops_in, **hops_out;
    struct marks *turned_marks; /* Of the other shards' connections (turned.h). */
    struct aside aside;
    struct links links;
    struct far far;
    struct copies copies;
    struct restores restores;
    struct pause pause;
    struct archive_gate archive;
    struct plane_table *table; /* NULL: there are no other nodes... */
    bool clustered;    /* ... and this says whether there are any members beside this one. */
    struct owed *owed; /* Answers that found a queue full (cross_answer.c). */
    _Atomic uint64_t
        followed; /* Epoch of the last slot table by which it went at the end of a turn, with no slot kept. */
    _Atomic uint32_t asleep;
    _Atomic uint32_t connection_count; /* Including those on their way here. */
    struct mailbox mailbox;

    uint64_t now_ms, now_us; /* Of this turn. */
    uint64_t late_us;        /* The clock as last looked at: what is refused now is so by this. */
    uint64_t waited_us;      /* How long what is read now may have waited in the socket. */
    uint64_t turn_us;        /* How long the turn before took, without waiting. */
    uint64_t tick_us, check_us;  /* When next. */
    uint64_t bulk_bytes;         /* Of large requests served in this turn. */
    bool bulk_over;              /* It serves no more of them. */
    uint64_t gather_bytes;       /* In replies that are being put together... */
    uint64_t gathered_bytes;     /* ... and what came into them in this turn... */
    uint64_t gathers_kept_bytes; /* ... and in those that are whole and wait. */
    uint64_t deferred_bytes;     /* Of parts that wait for room in a queue (turned.h). */
    uint64_t unread_bytes;       /* That connections have to be sent. */
    uint64_t crossed_bytes;      /* Of answers given to other shards in this turn. */
    uint32_t
        cross_batch; /* Of other shards' requests, so many are executed together; at first one. */
    uint32_t cross_first; /* The shard whose requests come first. */
    struct task *tasks;
    uint64_t news_number; /* Of the last question to other nodes (news.h). */
    struct moves_found moves;
    uint64_t multi_bytes;           /* That transactions have queued. */
    bool messages_came;             /* There are some in its queue (pubsub.h), perhaps... */
    struct pubsub_queued *messages; /* ... and these were taken from it. */
    struct resp_session *monitors;  /* Connections that watch (monitor.h). */
    struct slow_request
        *slow;   /* Of the command that the RESP door takes apart now; NULL: it is not measured. */
    bool unseen; /* That one was put off or refused: it is neither shown nor measured. */
    uint64_t rename_id;  /* Of the last one. */
    uint32_t recovering; /* Journals not looked at, and what was found in them. */
    bool again;          /* There is more to do: do not wait. */
    bool stopping, drained;
    uint64_t stop_us;
    pthread_t thread;
    struct plane_shard_stats stats; /* What the thread itself counts. */
};

/* Returns 0 or negative errno, with `message` where io_uring refused. */
int shard_thread_init(struct shard_thread *thread, struct plane *plane, uint32_t index,
                      char *message, size_t message_size);
void shard_thread_fini(struct shard_thread *thread);

/* Returns 0 or negative errno. */
int shard_thread_start(struct shard_thread *thread);
void shard_thread_join(struct shard_thread *thread);

uint64_t monotonic_us(void);

#endif
