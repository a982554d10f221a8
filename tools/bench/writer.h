/* The one writer of each key in a recorded run: what it wrote, what was acknowledged, what may be there.
 *
 * Writes of one key are counted from 1 and never overlap. After a write whose effect is unknown the key
 * is left alone, since a late effect of it could not be told from a fault of the server.
 * Threads: one.
 */
#ifndef BENCH_WRITER_H
#define BENCH_WRITER_H

#include <stdbool.h>
#include <stdint.h>

#include <belay/belay.h>

#include "exchange.h"
#include "options.h"
#include "record.h"
#include "verdict.h"

struct writer_key {
    uint32_t acked, sent;
    bool busy;    /* A write is under way. */
    bool retired; /* The last one's effect is unknown. */
    bool ended;   /* The last effective write was a delete. */
};

struct writer {
    const struct bench_options *options;
    struct record record;
    struct writer_key *keys;
    uint8_t *value;
    uint64_t keys_retired;
    uint64_t verdicts[VERDICT_COUNT]; /* Of reads during the run. */
};

/* Open the record and make room for the keys. Returns 0 or negative errno. */
int writer_open(struct writer *writer, const struct bench_options *options);
void writer_close(struct writer *writer);

/* The next write of that key into `ask`; `count` is set. False while one is under way, or after an unknown one. */
bool writer_begin(struct writer *writer, uint64_t key, uint64_t *count, struct ask *ask);

/* Its answer. */
void writer_end(struct writer *writer, uint64_t key, uint64_t count, const struct answer *answer);

/* What a read must see at least, noted before it is sent. */
uint64_t writer_read_begin(const struct writer *writer, uint64_t key);

/* Judge what it saw (OK or NOT_FOUND) against that. */
void writer_read_end(struct writer *writer, uint64_t key, uint64_t at_least,
                     const struct answer *answer);

#endif
