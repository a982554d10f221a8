/* An archive as who reads it, or tidies it up, sees it: each call waits for its end, on a loop of its own. For a
 * command line, or a thread that has nothing else to do; the archiver itself does not wait (archiver.h).
 *
 * Memory: malloc(). Threads: one, all calls.
 */
#ifndef ARCHIVE_ACCESS_H
#define ARCHIVE_ACCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "archive_catalog.h"
#include "archive_keys.h"
#include "archive_place.h"
#include "object_store.h"

enum {
    ACCESS_TEXT_BYTES = OBJECT_TEXT_BYTES + 128,
    ACCESS_AHEAD_CALLS = 8,                /* So many reads are under way ahead, at most... */
    ACCESS_AHEAD_BYTES = 32 * 1024 * 1024, /* ... of so many bytes, or one. */
    ACCESS_SLOW_MS = 3000,
};

struct access_part;

struct archive_access {
    struct catalog_port port; /* Opens objects with `reader`. First, so that it leads back here. */
    uv_loop_t loop;
    struct object_store *store;
    struct memory *memory;
    struct archive_keys keys; /* None: count is 0. */
    struct archive_reader reader;
    struct buffer bytes; /* The end of the object that was opened last... */
    uint64_t bytes_at;   /* ... from this offset on. */
    uint64_t bytes_read;
    struct access_part *ahead, **ahead_end; /* What is expected to be read next, in that order. */
    uint32_t ahead_calls;                   /* Of these, under way. */
    uint64_t
        ahead_bytes; /* Of those under way, and of those that have come and nobody has asked for. */
    const atomic_bool *stops; /* Where it is not NULL: calls end with -ECANCELED once it is set. */
    /* Where it is not NULL: told, once, what is waited for, when a call has taken so long that people wonder. */
    void (*slow)(void *context, const char *name);
    void *slow_context;
    bool slow_told, timer_made;
    uv_timer_t timer;
    char text[ACCESS_TEXT_BYTES]; /* Why the last call failed, for a person. */
};

/* Open it; `key_file` has the keys (archive_key_file.h; NULL: those of the environment, if any). Nothing is asked of
 * the store yet. Returns 0; negative errno with `text` set; the access is then closed. */
int access_open(struct archive_access *access, const struct archive_place *place,
                const char *key_file);

/* The same, of a store that `make` makes on that loop, without keys. The store ends with the access. Returns 0; what `make`
 * returned, or another negative errno: the access is then closed. */
int access_open_store(struct archive_access *access,
                      int (*make)(void *context, uv_loop_t *loop, struct object_store **store),
                      void *context);
void access_close(struct archive_access *access);

/* Go through all names that begin so, in ascending order, until `visit` returns another value than 0, which is
 * returned. Else 0, or negative errno with `text` set. `visit` must ask nothing of the store. */
int access_list(struct archive_access *access, const char *prefix,
                int (*visit)(void *context, const char *name, uint64_t size), void *context);

/* The first name behind `after` (NULL: of all), in `name`. Returns 0; -ENOENT: there is none; as above. */
int access_first(struct archive_access *access, const char *after, char *name, size_t name_size,
                 uint64_t *size);

/* Read a part of an object in the place of what is in `to`. Returns 0; -EBADMSG: it ends before; negative errno as
 * object_store.h has them; with `text` set. */
int access_get(struct archive_access *access, const char *name, uint64_t offset, uint64_t size,
               struct buffer *to);

/* So much of an object will be asked for with access_get(), next after what was said before: it is read ahead, several at
 * a time (archive_ahead.c). What is not asked for in the end, as something behind it is, is forgotten. Returns 0 or
 * -ENOMEM. */
int access_expect(struct archive_access *access, const char *name, uint64_t offset, uint64_t size);

/* The same for opening an object through the port. */
int access_expect_open(struct archive_access *access, const struct archive_name *name,
                       uint64_t size);

/* Nothing of what was expected will be asked for. */
void access_expect_nothing(struct archive_access *access);

/* Private to the access: what was read ahead, in the place of what is in `to`, waiting for it. Returns 1; 0: this is not
 * expected, or could not be read: it is to be asked for; -ECANCELED: `stops`. */
int access_take_ahead(struct archive_access *access, const char *name, uint64_t offset,
                      uint64_t size, struct buffer *to);

/* Private to the access: run its loop until `done`, or, where it is not NULL, `stops` is set; `name` is what is waited for. */
void access_run(struct archive_access *access, const bool *done, const atomic_bool *stops,
                const char *name);

/* Read `count` blocks, from the first on, of the object that was opened last, as stored: blocks[first] begins where
 * `stored` does, which lies in `to`, or in what the opening read, until the next call. Returns as access_get(). */
int access_blocks(struct archive_access *access, uint32_t first, uint32_t count, struct buffer *to,
                  struct bytes *stored);

int access_remove(struct archive_access *access, const char *name);

/* Remove what PUTs of such names began before then (ms since 1970) and nobody will end. Returns 0, with how many were
 * added to `removed`; negative errno with `text` set. */
int access_tidy(struct archive_access *access, const char *prefix, uint64_t before_ms,
                uint64_t *removed);

/* What object_store.h's errors, and the reader's, say of an object. */
const char *access_error(int rc);

/* ---- A cluster's objects ---- */

/* The id of the cluster that comes first behind this one (NULL: of all). Names that are none of an archive's are passed
 * over. Returns 0; -ENOENT: there is none; as access_list(). */
int access_next_cluster(struct archive_access *access, const uint8_t after[CLUSTER_ID_BYTES],
                        uint8_t cluster[CLUSTER_ID_BYTES]);

/* List what there is of a cluster into a catalog, which is initialised here and the caller's to end, and load it.
 * Returns 0; negative errno with `text` set, and nothing to end. */
int access_catalog(struct archive_access *access, const uint8_t cluster[CLUSTER_ID_BYTES],
                   struct archive_catalog *catalog);

/* The sizes of a checkpoint's parts, which the catalog does not keep, in `sizes`, which has room for those that `done` tells
 * of; 0: it is not there. Returns 0; as access_list(). */
int access_part_sizes(struct archive_access *access, const struct archive_catalog *catalog,
                      const struct catalog_checkpoint *checkpoint, uint64_t sizes[]);

#endif
