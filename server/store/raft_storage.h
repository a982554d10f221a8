/* Raft's store (raft.h, struct raft_store) on the disk: term and vote, the log's entries, the snapshot, in an LMDB
 * environment of their own.
 *
 * Calls are copied into a queue, and a thread writes them in their order, as many as wait in one transaction, which is
 * synchronised before they count as stored: so a crash keeps a prefix of the calls, each wholly. Whoever runs Raft is
 * woken then and asks raft_storage_stored(): no caller waits for the disk.
 *
 * Where the disk is full, what was taken waits for room and is tried again; calls are refused with -ENOSPC until there
 * is some. Any other failure is for good: what was taken is never reported, calls are refused with it.
 *
 * LMDB's keys and values (integers little-endian, in keys big-endian); each value ends with the CRC-32C of its key and
 * of what is before it:
 *
 *   0           u32 version of all this, RAFT_STORAGE_VERSION
 *   1           u64 term, u32 node voted for
 *   2           u64 index, u64 term, then the snapshot's bytes
 *   3 u64 index u64 term, u8 kind, then the entry's data: those after the snapshot, without a gap
 *   4           u64 index up to which the log is committed
 *
 * Threads: one that uses it, and the one inside. Memory: from a port that any thread may use.
 */
#ifndef RAFT_STORAGE_H
#define RAFT_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "files.h"
#include "memory.h"
#include "raft.h"

enum {
    RAFT_STORAGE_VERSION = 1,
    RAFT_STORAGE_CALLS_MAX =
        4096, /* Waiting; more are refused with -EAGAIN, and so are more bytes than... */
    RAFT_STORAGE_BYTES_MAX = 2 * RAFT_SNAPSHOT_BYTES_MAX,
    RAFT_STORAGE_RETRY_MS = 1000, /* After the disk was full. */
};

/* What to do where it is lost. */
#define RAFT_STORAGE_LOST                                                                          \
    "Where other members live: `belayctl node remove` this one there, then let it join again "     \
    "with "                                                                                        \
    "an empty directory. Where there are none: start it once with --force-new-cluster '' "         \
    "(belayd(8)), and it goes on alone with all sessions"

struct raft_storage; /* private to raft_storage.c */

struct raft_storage_options {
    const char *directory; /* Made where it is missing; kept. */
    struct files *files;
    struct memory *memory;
    /* raft_storage_stored() or raft_storage_failure() has something new. From the thread inside; it may not call back. */
    void (*wake)(void *context);
    void *context;
    uint64_t map_bytes; /* LMDB's, to begin with; it grows. */
    uint32_t retry_ms;
};

/* Open and read all of it. Nothing is written before raft_storage_begin() or _start().
 *
 * Returns 0; otherwise negative errno with `message` set: -EPROTONOSUPPORT: of another version; -EBADMSG: damaged. */
int raft_storage_open(const struct raft_storage_options *options, struct raft_storage **storage,
                      char *message, size_t message_size);

/* What it has: all 0 where it is empty. Until raft_storage_forget(). */
const struct raft_saved *raft_storage_saved(const struct raft_storage *storage);

/* An empty one gets this term and this snapshot; there are no entries. It is durable, and what raft_storage_saved()
 * says, when this returns. Returns 0 or negative errno, and it is empty still. */
int raft_storage_begin(struct raft_storage *storage, const struct raft_saved *saved);

/* The same of one that has something: in its place. Returns 0 or negative errno, and it has what it had. */
int raft_storage_replace(struct raft_storage *storage, const struct raft_saved *saved);

/* Calls may come from here. Returns 0 or negative errno. */
int raft_storage_start(struct raft_storage *storage);

/* Raft has taken what was saved: its memory goes. */
void raft_storage_forget(struct raft_storage *storage);

/* Write what was taken, if the disk lets it, and close. NULL is fine. */
void raft_storage_close(struct raft_storage *storage);

/* The log is committed up to `index`: it is written with what comes next, behind the calls there are. Nobody waits for
 * it, and where it cannot be taken it is left out. */
void raft_storage_commit(struct raft_storage *storage, uint64_t index);

struct raft_store *raft_storage_port(struct raft_storage *storage);

/* The calls up to this number are durable. */
uint64_t raft_storage_stored(struct raft_storage *storage);

/* 0; -ENOSPC: it waits for room; else it failed for good. */
int raft_storage_failure(struct raft_storage *storage);

#endif
