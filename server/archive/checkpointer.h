/* When a node's checkpoints go to the archive, part by part, beside its log (archiver.h).
 *
 * A checkpoint has whole sessions of all slots of which the node is the primary (or any owner, where it is a base: of what the
 * archive lacks others may have none), and says what these slots had seen before
 * they were read; so a restore needs no log from before it, and one that the node never sent is not missed. One is made
 * when the archive lacks something that no log object will bring (what was there before the archive was, a gap), and
 * when the log that is archived since the last one exceeds what reading all of that costs.
 *
 *   RESTING -> BASING -> SEALING -> COVERING -> FILLING <-> STORING -> ... -> FILLING (done) -> STORING -> RESTING
 *                 a failure, at any of these, of storing: PAUSING, then the same object; of another: RESTING
 *
 * First it is asked what the slots have seen (BASING), again and again until that is known, which keeps nothing else busy;
 * then the log is brought into the store's checkpoint (SEALING), which has to have that (COVERING); then it is read. What comes meanwhile makes it only newer than it says. Its last object says that it is whole; one that was cut
 * short is nothing, and the next one has another number.
 *
 * Pure. Memory: the caller's. Threads: the caller's.
 */
#ifndef CHECKPOINTER_H
#define CHECKPOINTER_H

#include <stdbool.h>
#include <stdint.h>

struct checkpointer_port {
    /* Ask what the slots have seen: checkpointer_based(). */
    void (*base)(struct checkpointer_port *port);
    /* It is known: have the log that tells of it brought into the store's checkpoint: checkpointer_sealed(). */
    void (*seal)(struct checkpointer_port *port);
    /* Does the store's checkpoint have all of that? */
    bool (*covers)(struct checkpointer_port *port);
    /* Make the next part, or, `last`, the object that says how many there are: checkpointer_filled(). */
    void (*fill)(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last);
    /* Store what was made last: checkpointer_stored(). */
    void (*store)(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last);
    /* The checkpoint of this number is whole. */
    void (*made)(struct checkpointer_port *port, uint64_t sequence);
};

enum checkpointer_state {
    CHECKPOINTER_RESTING,
    CHECKPOINTER_BASING,
    CHECKPOINTER_SEALING,
    CHECKPOINTER_COVERING,
    CHECKPOINTER_FILLING,
    CHECKPOINTER_STORING,
    CHECKPOINTER_PAUSING,
};

enum { CHECKPOINTER_PAUSE_MS = 1000 };

struct checkpointer {
    struct checkpointer_port *port;
    enum checkpointer_state state;
    uint64_t sequence; /* Of the one that is made, or of the next. */
    uint32_t part;
    bool last;           /* It is at `done`. */
    bool more;           /* There are more parts. */
    bool wanted;         /* The archive lacks something. */
    uint64_t done_bytes; /* Of log that was archived when the last one began. */
    uint64_t begun_bytes;
    uint64_t until_ms;
    uint64_t made, failures; /* Since the start. */
};

/* `sequence`: of the next one. */
void checkpointer_init(struct checkpointer *checkpointer, struct checkpointer_port *port,
                       uint64_t sequence);

/* The archive lacks something that no log object brings. */
void checkpointer_want(struct checkpointer *checkpointer);

/* Do what is due. `archived_bytes`: of log, ever; one is due at `due_bytes` more than when the last one began. Returns in how
 * many milliseconds to come again, if nothing happens before. */
uint64_t checkpointer_step(struct checkpointer *checkpointer, uint64_t archived_bytes,
                           uint64_t due_bytes, uint64_t now_ms);

/* How what was begun by the port ended. -EAGAIN: not now. */
void checkpointer_based(struct checkpointer *checkpointer, int rc, uint64_t now_ms);
void checkpointer_sealed(struct checkpointer *checkpointer, int rc, uint64_t now_ms);
/* `more`: there will be another part. */
void checkpointer_filled(struct checkpointer *checkpointer, int rc, bool more, uint64_t now_ms);
void checkpointer_stored(struct checkpointer *checkpointer, int rc, uint64_t now_ms);

#endif
