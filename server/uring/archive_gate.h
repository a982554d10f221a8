/* Between a shard's thread and whoever archives its log: how far that is durable, and wanted in the archive; how far it is
 * there; and records as they are now.
 *
 * The numbers are words that one side writes and the other reads when it comes by, so that a write of a lower level costs
 * nothing more for it. Threads: as each function says.
 */
#ifndef ARCHIVE_GATE_H
#define ARCHIVE_GATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct plane_basis;
struct plane_records;
struct shard_thread;

struct archive_gate {
    bool open;                                  /* There is an archive. */
    _Atomic uint64_t appended, durable, wanted; /* The shard's thread's: LSNs. */
    _Atomic uint64_t archived;                  /* Whoever archives. */
    _Atomic uint64_t
        lost; /* The same: up to here not all will be there, whatever `archived` says. Set first. */
    uint64_t released, lost_told; /* What the shard was told of them. */
};

/* Once a turn, on the shard's thread. Returns in how many microseconds to come again at the latest. */
uint64_t archive_gate_turn(struct shard_thread *thread);

/* Fill in what was asked for (plane_records()). The shard's thread. */
void archive_gate_answer(struct shard_thread *thread, struct plane_records *records);

/* The same of plane_basis(). */
void archive_gate_basis(struct shard_thread *thread, struct plane_basis *basis, bool ends);

#endif
