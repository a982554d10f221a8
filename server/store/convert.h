/* Another number of shards: before serving, every session moves to the shard that it belongs to now.
 *
 * Each old shard's log is compacted to its end; then each new shard's checkpoint is built from one ordered
 * pass over all old ones (they are all in order of position), in a new generation of the data directory.
 * META commits it. A crash before that leaves the old generation as it was (compacted), and the next
 * start begins again.
 *
 * Takes about a second for a million sessions and each new shard, and room on the disk for a second
 * copy of them. Threads: one.
 */
#ifndef CONVERT_H
#define CONVERT_H

#include "directory.h"
#include "memory.h"
#include "report.h"

struct convert_options {
    uint64_t record_bytes_max; /* As in store_options. */
    uint64_t map_bytes;        /* The same. */
    struct memory *memory;
    struct reporter *reporter;
};

/* The shard of a position: its slot modulo the number of shards. */
uint32_t convert_shard_of(uint64_t position, uint32_t shards);

/* Returns 0 with directory->meta.shards changed, or negative errno with `message` saying what failed:
 * the directory is valid, with its old number unless the last step failed (directory_commit()), and is to be closed. */
int convert_shards(struct directory *directory, const struct convert_options *options,
                   uint32_t shards, char *message, size_t message_size);

#endif
