/* Blocks of records on their way from the store to the shard (loader_port in ports.h).
 *
 * Records are in the order of the log, as shard_restore_*() take them. Blocks that were fetched, one as a rule,
 * hold all that is stored of one position; the last of them is complete, or says that it cannot be read.
 */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

struct load_block {
    struct load_block *next; /* The loader's. */
    bool fetched, complete;
    int error;             /* Of what was fetched: 0, or negative errno, and it was given up. */
    uint64_t position;     /* Of what was fetched; else the loader's: how far it has come... */
    uint64_t lsn;          /* ... as is this... */
    bool checkpoint_given; /* ... and this. */
    size_t at;             /* The next record, for load_next(). */
    size_t size, capacity;
    uint8_t bytes[]; /* Of each record: kind (4), size (4), body. */
};

enum {
    LOAD_ITEM_HEADER_BYTES = 8,
    LOAD_STORED = 64, /* A kind beside those of log_kind.h: a record of the checkpoint. */
};

/* Add a record, for which there must be room. */
void load_put(struct load_block *block, uint32_t kind, struct bytes body);

/* The next record. Returns whether there is one. */
bool load_next(struct load_block *block, uint32_t *kind, struct bytes *body);

/* The record that was just given comes again. */
void load_unnext(struct load_block *block, struct bytes body);

#endif
