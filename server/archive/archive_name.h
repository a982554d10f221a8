/* Names of the archive's objects, below the store's prefix:
 *
 *   CLUSTER/log/ACTOR/SEQUENCE              a log object: one per node and flush
 *   CLUSTER/checkpoint/ACTOR/SEQUENCE/PART  a part of a checkpoint
 *   CLUSTER/checkpoint/ACTOR/SEQUENCE/done  the last one of a checkpoint that is whole
 *
 * CLUSTER is the cluster's id as 32 hexadecimal digits, ACTOR node and start as 8 and 8, SEQUENCE 16, PART 8; all in
 * lower case. So the order of names is that of actors and, of one, of sequences and parts, with `done` behind the
 * parts. An actor counts sequences of its logs from 1, those of its checkpoints from 1, parts from 0. An actor is one
 * life of a node and never comes back, so a name is given once. Threads: any.
 */
#ifndef ARCHIVE_NAME_H
#define ARCHIVE_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "limits.h"
#include "stamp.h"

enum archive_kind {
    ARCHIVE_LOG = 1,
    ARCHIVE_PART = 2, /* Of a checkpoint. */
    ARCHIVE_DONE = 3, /* Of a checkpoint; it has no records. */
};

enum {
    ARCHIVE_NAME_BYTES = 96, /* With its zero. */
    ARCHIVE_PARTS_MAX = 1 << 20,
};

struct archive_name {
    enum archive_kind kind;
    uint8_t cluster[CLUSTER_ID_BYTES];
    struct actor actor;
    uint64_t sequence;
    uint32_t part; /* ARCHIVE_PART: below ARCHIVE_PARTS_MAX; else 0. */
};

/* Write the name. */
void archive_name_put(char to[ARCHIVE_NAME_BYTES], const struct archive_name *name);

/* What names of a cluster's logs or checkpoints (ARCHIVE_PART or ARCHIVE_DONE) begin with; of one actor's where its
 * node is not 0. With a '/' at the end. */
void archive_name_prefix(char to[ARCHIVE_NAME_BYTES], enum archive_kind kind,
                         const uint8_t cluster[CLUSTER_ID_BYTES], struct actor actor);

/* Returns 0 with `name` set; -EINVAL: it is no such name, in this very form. */
int archive_name_parse(const char *text, struct archive_name *name);

/* The order of their text. Returns less than, equal to or greater than 0. */
int archive_name_compare(const struct archive_name *a, const struct archive_name *b);

#endif
