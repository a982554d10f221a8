/* The inside of the node's part in the archive, for node_archive.c (the control thread's side) and node_archive_thread.c. */
#ifndef NODE_ARCHIVE_PRIVATE_H
#define NODE_ARCHIVE_PRIVATE_H

#include <pthread.h>

#include "archive_feed.h"
#include "archiver.h"
#include "log_follow.h"
#include "node_private.h"
#include "object_store.h"

enum archive_job { ARCHIVE_JOB_NONE, ARCHIVE_JOB_BUILD, ARCHIVE_JOB_KEEP, ARCHIVE_JOB_END };

struct node_archive {
    struct node *node;
    struct object_store *store;
    struct archiver_port port;
    struct archiver archiver;
    bool began; /* archiver is made, and the handles. */
    bool closing;
    uint32_t handles;
    uv_async_t wake;
    uv_timer_t timer;
    uint64_t sequence;   /* Of the next log object; once it has begun the archiver's. */
    bool storing;        /* A call of the store is under way... */
    uint64_t storing_us; /* ... since then. */
    int begin_rc;        /* It could not be begun. */
    /* Of the question at the start. */
    int asked_rc;
    bool asked, asked_more;
    char asked_text[OBJECT_TEXT_BYTES];

    pthread_t thread;
    bool runs;
    pthread_mutex_t lock; /* Of job and done. */
    pthread_cond_t changed;
    enum archive_job
        job; /* What the thread is to do, or does; what is below is its own meanwhile. */
    bool done;

    /* Of a job: asked... */
    uint64_t job_sequence, made_ms;
    bool anew;
    atomic_bool stopped; /* The plane is: shards are asked on this thread. */
    uint64_t from[ARCHIVER_SHARDS_MAX], to[ARCHIVER_SHARDS_MAX];
    uint64_t said[ARCHIVER_SHARDS_MAX]; /* Up to where the objects say that they have it. */
    /* ... and made. */
    struct archiver_built built;
    struct bytes object;
    int kept_rc;

    struct archive_keys keys; /* None: not enciphered. */
    struct archive_writer writer;
    struct archive_feed feed;
    struct plane_records records;
    struct buffer found;             /* Records that a shard, or its checkpoint, was asked for. */
    bool based[ARCHIVER_SHARDS_MAX]; /* The mark's. */
};

/* The thread; the context is the node_archive. */
void *node_archive_main(void *context);

#endif
