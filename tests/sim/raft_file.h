/* Raft's store (raft.h) in a file of a simulated disk: a record for each call, which is durable when the disk says so.
 *
 * A crash keeps a prefix of the calls, each whole: what is torn is cut off at the next start. Where the disk is full or
 * has failed, calls are refused.
 */
#ifndef RAFT_FILE_H
#define RAFT_FILE_H

#include "raft.h"
#include "sim.h"

struct raft_file {
    struct raft_store store;
    struct sim *sim;
    struct sim_disk *disk;
    /* Calls of this life: where each ends in the file. */
    size_t *ends;
    uint64_t call_count, call_capacity, told;
    uint64_t
        dirty; /* The log was written from this index on, and nobody has looked; 0: it was not. */
    /* What the start found, until raft_file_forget(). */
    struct raft_saved saved;
    struct raft_entry *entries;
    uint32_t entry_capacity;
    uint8_t *copy;
};

/* A node starts: read what there is into `saved`, cut off what is torn. Zeros, or what was open before. */
void raft_file_open(struct raft_file *file, struct sim *sim, struct sim_disk *disk);

/* An empty one gets this term and this snapshot, at once. */
void raft_file_begin(struct raft_file *file, const struct raft_saved *saved);

void raft_file_forget(struct raft_file *file);

/* The log is committed up to here: that is kept with what comes next, where it can be. */
void raft_file_commit(struct raft_file *file, uint64_t index);

/* A device write is over. Returns the number of a call that is newly durable, with all before it; 0: none is. */
uint64_t raft_file_written(struct raft_file *file, bool good);

void raft_file_fini(struct raft_file *file);

#endif
