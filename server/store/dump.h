/* The store's files as text, for people and scripts: what belayctl log dump and data dump print.
 *
 * Reading only. A log file may be dumped while the daemon writes it; a data directory only when no daemon
 * uses it. One line for each thing, beginning with what it is; keys are quoted, and bytes that are not
 * printable become \xHH.
 */
#ifndef DUMP_H
#define DUMP_H

#include <stddef.h>
#include <stdio.h>

#include "bytes.h"
#include "memory.h"

/* The rest of a line about a record, or an item of a batch: ` kind=NAME position=HEX bytes=N key="..."`. Of a batch,
 * a line `item ...` for each of its items follows. */
void dump_item(FILE *out, uint32_t kind, uint64_t position, struct bytes body);

/* One segment file, or a staging. A segment: `segment ...`, then each record as
 * `record offset=N lsn=N kind=NAME position=HEX bytes=N key="..."`, `damaged offset=N bytes=N`,
 * `torn offset=N`, and last `end lsn=N records=N`.
 * A staging: `staging file=NAME shard=N`, and for what no device write took yet
 * `area index=N epoch=N lsn=N bytes=N holds=yes|no` and its records.
 * Returns 0; negative errno with `message` saying what is wrong. */
int dump_log(struct memory *memory, const char *path, FILE *out, char *message,
             size_t message_size);

/* A data directory: `directory ...`, for each shard `shard ...`, `segment ...` for its files,
 * `staging ...` and `area ...`, and
 * `session shard=N position=HEX bytes=N key="..."` for each session of its checkpoint.
 * Returns 0; negative errno (-EBUSY: in use) with `message` saying what is wrong. */
int dump_data(struct memory *memory, const char *path, FILE *out, char *message,
              size_t message_size);

#endif
