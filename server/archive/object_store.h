/* Where the archive's objects lie: one interface for S3 (s3.h) and for a directory (object_files.h).
 *
 * An object has a name (below the prefix that the store was made with), bytes, and never changes: it is written once,
 * wholly, or not at all. A call takes as long as the store's time limit at most, trying again meanwhile where that may
 * help, and its end is told once, on the loop's thread, never from within object_store_begin().
 *
 * Threads: the loop's, but for object_store_hash().
 */
#ifndef OBJECT_STORE_H
#define OBJECT_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"

enum {
    OBJECT_NAME_BYTES_MAX = 512, /* Of printable ASCII. */
    OBJECT_LIST_MAX = 1000,      /* Names in an answer. */
    OBJECT_LIST_BYTES_MAX = 4 * 1024 * 1024,
    OBJECT_TEXT_BYTES = 512,
    OBJECT_HASH_BYTES = 65, /* With the end. */
};

enum object_op {
    OBJECT_PUT, /* Write it. Where it is there with the same bytes already, that is as good; with others, see below. */
    OBJECT_GET, /* Read it, or a part. */
    OBJECT_LIST,   /* Names in ascending order. */
    OBJECT_REMOVE, /* One that is not there is as good as removed. */
    /* Remove what PUTs began and nobody will end, as after a crash: it is in no list, but takes room for ever. */
    OBJECT_TIDY,
};
enum { OBJECT_OPS = OBJECT_TIDY + 1 };

struct object_listed {
    char *name; /* Below the store's prefix. */
    uint64_t size;
};

/* How a call ended. All is valid during done() only. */
struct object_answer {
    /* 0, or
     * -ENOENT    GET: there is no such object.
     * -EEXIST    PUT: there is one with other bytes. Nothing was changed. Whoever asked should be alarmed.
     * -EACCES    The credentials were refused, or do not allow this.
     * -ENXIO     There is no such bucket or directory.
     * -ETIME     The clock here differs too much from the store's.
     * -EFBIG     GET: it, or the part, is larger than `bytes_max`.
     * -ETIMEDOUT Not within the time limit; `text` says what the last try met. A PUT may have been done.
     * -ECANCELED The store was destroyed. A PUT may have been done.
     * -EBADMSG   LIST, TIDY: what the server answers cannot be read.
     * -ENOSPC, -EIO, -ENOMEM: as ever. */
    int rc;
    const char *text;  /* Why, for a person. "" with 0. */
    struct bytes body; /* GET. */
    struct buffer
        *whole; /* GET: what the body, and nothing else, lies in: it may be taken, and an empty one
                           * be left. NULL: it lies elsewhere. */
    uint64_t size; /* GET: of the whole object. */
    const struct object_listed
        *listed; /* LIST; TIDY: what was removed, also where it failed then. */
    uint32_t listed_count;
    bool
        more; /* LIST: there are more behind the last one. TIDY: there is more that may have to go. */
};

struct object_call {
    enum object_op op;
    const char *name; /* Copied. LIST, TIDY: what names begin with, perhaps "". */
    /* PUT. Must stay until the end. */
    struct bytes body;
    /* PUT: object_store_hash() of the body, copied; NULL or "": it is made on the loop's thread, where it takes its time. */
    const char *hash;
    /* PUT: it is the first of that name, or has the same bytes. Without it a PUT may be put together of parts, and may
     * replace what is there: for an object whose name says all of its content. */
    bool only_new;
    uint64_t offset;    /* GET: where to begin. */
    uint64_t bytes_max; /* GET: to read at most. */
    bool
        part; /* GET: so many bytes from the offset on, or fewer at its end, are asked for, not all of it. */
    const char *after; /* LIST: the name behind which to begin; NULL: the first. Copied. */
    /* TIDY: what was begun before then (ms since 1970, by the store's clock) goes; to be so long ago that nobody is still
     * writing it. */
    uint64_t before_ms;
    void (*done)(void *context, const struct object_answer *answer);
    void *context;
};

/* What calls met, since the start. */
struct object_store_stats {
    uint64_t calls[OBJECT_OPS]; /* By object_op, that ended. */
    uint64_t
        failures[OBJECT_OPS]; /* And of these, not with 0 (a GET with -ENOENT counts as good). */
    uint64_t tries;           /* Requests that were sent. */
    uint64_t tries_again;     /* And of these, after one that failed. */
    uint64_t bytes_put, bytes_got;
};

struct object_store {
    /* Returns 0: done() will be called; -EINVAL: a name that cannot be; -ENOMEM. */
    int (*begin)(struct object_store *store, const struct object_call *call);
    void (*stats)(struct object_store *store, struct object_store_stats *stats);
    /* Calls that are under way end with -ECANCELED, from within or as the loop turns on, which it has to until nothing
     * of the store is left on it. */
    void (*destroy)(struct object_store *store);
    /* NULL: it needs none. */
    void (*hash)(struct bytes body, char hash[OBJECT_HASH_BYTES]);
};

static inline int object_store_begin(struct object_store *store, const struct object_call *call)
{
    return store->begin(store, call);
}

/* What a PUT of that body needs, and takes long to make of much. Any thread. */
static inline void object_store_hash(const struct object_store *store, struct bytes body,
                                     char hash[OBJECT_HASH_BYTES])
{
    hash[0] = '\0';
    if (store->hash != NULL) {
        store->hash(body, hash);
    }
}

static inline void object_store_destroy(struct object_store *store)
{
    if (store != NULL) {
        store->destroy(store);
    }
}

#endif
