/* Between a shard's thread and whoever archives its log: how far that is durable, and wanted in the archive, and by how
 * many writes; how far it is there; and records as they are now.
 *
 * The numbers are words that one side writes and the other reads when it comes by, so that a write of a lower level costs
 * nothing more for it; what the archive has is looked at under a lock only where that word has changed. Threads: as each
 * function says.
 */
#ifndef ARCHIVE_GATE_H
#define ARCHIVE_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct plane_basis;
struct plane_records;
struct shard_thread;

/* What the archive has, as whoever waits for it is to be told: in this order. */
struct archive_news {
    uint64_t whole;    /* All up to here is there... */
    uint64_t lost;     /* ... of what is behind it, up to here, some is not (0: of nothing)... */
    uint64_t archived; /* ... and then all up to here is... */
    bool based;        /* ... and what was lost came with a checkpoint. */
};

struct archive_gate {
    bool open;                                  /* There is an archive. */
    _Atomic uint64_t appended, durable, wanted; /* The shard's thread's: LSNs... */
    _Atomic uint64_t asked; /* ... and how many writes waited so far for log up to `wanted`. */
    _Atomic uint64_t told;  /* Whoever archives: how often there was news. */
    pthread_mutex_t lock;   /* Of `news`. */
    struct archive_news news;
    uint64_t heard; /* How often the shard's thread looked at it. */
};

void archive_gate_init(struct archive_gate *gate);
void archive_gate_fini(struct archive_gate *gate);

/* The archive has the log up to `lsn`, but for some of it at or below `lost`; 0: for none. Any thread, one at a time. */
void archive_gate_tell(struct archive_gate *gate, uint64_t lost, uint64_t lsn);

/* What was lost so far, and what the log never had, is in the archive by now. As archive_gate_tell(). */
void archive_gate_based(struct archive_gate *gate);

/* What was told since the last time. Returns false: nothing was. One thread, the shard's. */
bool archive_gate_news(struct archive_gate *gate, struct archive_news *news);

/* Once a turn, on the shard's thread. Returns in how many microseconds to come again at the latest. */
uint64_t archive_gate_turn(struct shard_thread *thread);

/* Fill in what was asked for (plane_records()). The shard's thread. */
void archive_gate_answer(struct shard_thread *thread, struct plane_records *records);

/* The same of plane_basis(). */
void archive_gate_basis(struct shard_thread *thread, struct plane_basis *basis, bool ends);

#endif
