/* The data directory: whose it is, which life of the node this is, and where the shards lie.
 *
 *   DIR/LOCK                      flock()ed by the daemon that uses it; holds its process id
 *   DIR/META                      lines of text, the last one a checksum; always replaced whole; it has the secret
 *                                 of the cluster, and only its owner may read it
 *   DIR/JOINED                    what the node got when it joined a cluster: the beginning of DIR/raft, until that is there
 *   DIR/raft                      what the cluster has agreed on (server/store/raft_storage.h)
 *   DIR/RESERVE                   64 KiB that a start on a full disk takes for META, so that it can read
 *   DIR/gen-N/shard-I/MADE        empty; of a first start: without any file a shard's directory was emptied
 *   DIR/gen-N/shard-I/log-*.seg   the log of shard I (log_format.h)
 *   DIR/gen-N/shard-I/checkpoint-*  its LMDB environment (checkpoint.h)
 *
 * The generation N changes with the number of shards: META says which is valid, others are leftovers of a
 * conversion that was cut short and are removed.
 *
 * The directories are made before META: a start that finds META but not them is refused, as one that finds
 * sessions but no META.
 *
 * Each start that does not follow a proven clean stop is a new actor: the old one may have given out
 * stamps that no log knows. A directory that was copied is noticed by its LOCK's inode, and gets
 * numbers far from those that the original will use.
 *
 * A new directory is a cluster of its own, of which this is the first node; or who opens it has been told by another
 * cluster which node of it this is to be (struct directory_entrance). A directory of version 1 had no cluster: at its
 * next start it gets one.
 *
 * Threads: one.
 */
#ifndef DIRECTORY_H
#define DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "files.h"
#include "limits.h"
#include "memory.h"
#include "stamp.h"

#define DIRECTORY_RAFT_NAME "raft"

enum { DIRECTORY_VERSION = 2, DIRECTORY_SHARDS_MAX = 255, DIRECTORY_FIRST_NODE = 1 };

/* Who the node is among others. */
struct directory_identity {
    uint8_t cluster[CLUSTER_ID_BYTES];    /* Random. */
    uint8_t secret[CLUSTER_SECRET_BYTES]; /* What its nodes prove to each other that they have. */
    uint64_t seed;                        /* Of positions: the same on all its nodes. */
    uint32_t node;
    struct buffer beginning; /* Of DIR/raft: kept in DIR/JOINED. directory_open() frees it. */
};

/* For a directory that is to be of a certain cluster. */
struct directory_entrance {
    const uint8_t *cluster; /* Its id. */
    /* The directory is new: become a node of the cluster. Returns 0 with `identity` set; else negative errno with
     * `message`, and the directory stays empty. */
    int (*enter)(void *context, struct directory_identity *identity, char *message,
                 size_t message_size);
    void *context;
};

struct directory_meta {
    uint64_t id; /* Random, of this directory. */
    uint8_t cluster[CLUSTER_ID_BYTES];
    uint8_t secret[CLUSTER_SECRET_BYTES];
    uint64_t seed;
    bool
        begun; /* DIR/raft has been made; without it the node does not know its cluster any more. */
    uint32_t
        policies; /* Which ones the configuration had when they last became the cluster's (a sum of them); 0: none. */
    struct actor actor;
    uint32_t run; /* Of the node: unlike its actor's start, another one after a clean stop, too. */
    uint32_t shards;
    uint64_t generation;
    bool clean;         /* The last user stopped cleanly... */
    uint64_t clean_hlc; /* ... having given out no stamp above this. */
    uint64_t inode;     /* Of LOCK. */
};

struct directory {
    struct files *files;
    int lock_fd, whole_fd; /* LOCK and the directory itself; -1: not open. */
    char path[PATH_BYTES_MAX];
    struct directory_meta meta;
    bool created; /* It is new. */
    bool copied;  /* It was copied since its last use. */
    bool resumed; /* The last user stopped cleanly, and its life goes on. */
};

/* Open for use, making what is missing: lock it, and begin a new life of the node unless the last one
 * stopped cleanly, which is on the disk when this returns. `entrance` may be NULL: a new directory is then the first
 * node of a new cluster.
 * `shards` is the number wanted: where meta.shards differs afterwards, convert (convert.h).
 *
 * Returns 0; otherwise negative errno and `message` says what is wrong and what to do: -EBUSY: in use;
 * -ENOTEMPTY: holds something else, or sessions but no META; -ENOENT: a directory that META speaks of is
 * missing; -EPROTONOSUPPORT: of another version; -EBADMSG: META is damaged; -EEXIST: of another cluster than the
 * entrance's; what enter() returned. */
int directory_open(struct directory *directory, struct files *files, const char *path,
                   uint32_t shards, const struct directory_entrance *entrance, char *message,
                   size_t message_size);

/* Open for looking only (belayctl data dump): locked, but nothing changes. */
int directory_inspect(struct directory *directory, struct files *files, const char *path,
                      char *message, size_t message_size);

/* Append what DIR/raft is to begin with, where !meta.begun and the node joined; nothing where it is the first one of its
 * cluster. Returns 0; -EBADMSG: DIR/JOINED is damaged; another negative errno. */
int directory_beginning(const struct directory *directory, struct buffer *to);

/* The node drains to stop, and is to be active again at its next start: DIR/DRAINED says so until that is forgotten. Both are on the
 * disk when they return 0; else negative errno, and the next start may find either. What is not there is forgotten as well.
 * `degraded`: an operator had said that it is, and it is to be so again. */
int directory_put_drained(const struct directory *directory, bool degraded);
int directory_forget_drained(const struct directory *directory);
bool directory_was_drained(const struct directory *directory, bool *degraded);

/* The node was removed from its cluster: DIR/REMOVED says so from here on. Returns 0 or negative errno. */
int directory_put_removed(const struct directory *directory);

/* Was it? Of any directory, open or not. Returns 0: no; -ESHUTDOWN: yes, and `message` says what to do. */
int directory_was_removed(struct files *files, const char *path, char *message,
                          size_t message_size);

/* Is there a node in it? Of any directory, for who must not make a new one. Returns 0: yes, or that is not known; -ENOENT: no,
 * and `message` says so. */
int directory_check_used(struct files *files, const char *path, char *message, size_t message_size);

/* Note a sum of policies. Returns 0 or negative errno. */
int directory_set_policies(struct directory *directory, uint32_t sum);

/* DIR/raft is there, durably. Returns 0 or negative errno. */
int directory_begun(struct directory *directory);

/* Unlock. The next start is a new actor, unless directory_stop() was called. */
void directory_close(struct directory *directory);

/* Everything is durable, no stamp above `hlc` was given out, and none will be. Returns 0 or errno. */
int directory_stop(struct directory *directory, uint64_t hlc);

/* Another number of shards lies ready in another generation: commit to it and remove the old one. Returns 0 or
 * negative errno: `directory` says the old number, and the next start may find either; nothing may be written to the
 * shards before that. */
int directory_commit(struct directory *directory, uint64_t generation, uint32_t shards);

/* Remove generations other than the valid one. */
int directory_sweep(struct directory *directory);

/* DIR/gen-N, DIR/gen-N/shard-I. Return 0 or -ENAMETOOLONG. */
int directory_generation_path(const struct directory *directory, uint64_t generation,
                              char path[PATH_BYTES_MAX]);
int directory_shard_path(const struct directory *directory, uint64_t generation, uint32_t shard,
                         char path[PATH_BYTES_MAX]);

/* Make both, durably, where they are missing. Returns 0 or negative errno. */
int directory_make_shard(struct directory *directory, uint64_t generation, uint32_t shard);

#endif
