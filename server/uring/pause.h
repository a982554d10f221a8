/* A thread that did nothing for a while: its process was stopped (SIGSTOP), its machine was, or it got no processor.
 *
 * Nodes pass over one that is silent (replication.h), and clients ask another one. So what was sent to this thread before,
 * and is read only now, may have been done elsewhere, or given up, and who asked may have gone on: a write that was done
 * now would be done twice, or over what was written since. Where a turn begins so late that this may be
 * (replication_pause_us()),
 *
 *   - what lies in the sockets of the links that other nodes dialled is passed back: who waits for it asks anew;
 *   - a write of the native protocol that lies in its connection's socket is BUSY: its client sends it again;
 *   - what a connection sent whose client has hung up is dropped. Clients of Redis that have not hung up still wait: what they
 *     sent is done;
 *   - writes that were taken in before, and are not executed yet, are BUSY: between threads, put aside, parked in the shard,
 *     waiting for another node;
 *   - replication is told, which takes the slots anew that this node coordinates.
 *
 * What lay in a socket when the turn began is told by its size: a little more than that may count as it.
 *
 * Only where there are other nodes. Memory: none of its own. Threads: the shard's.
 */
#ifndef PAUSE_H
#define PAUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;
struct shard_thread;

struct pause {
    uint64_t turn_us;  /* When the last turn began. */
    uint64_t ended_us; /* When the first turn after the last pause did; 0: there was none. */
};

/* Of a socket: what of its bytes came before the last pause's end. */
struct pause_input {
    uint64_t left; /* So many bytes of it are still to come from the socket, at most. */
    bool late;     /* What is being fed is of it... */
    bool begun;    /* ... and so is what `input` begins with... */
    bool kept;     /* ... and what was put by, or some of it. */
};

extern const char pause_text[]; /* Why such a write is BUSY. */

/* A turn begins. */
void pause_look(struct shard_thread *thread);

/* It goes on at `now_us`, with what it took in: was it stopped within? */
void pause_look_within(struct shard_thread *thread, uint64_t now_us);

/* Is it a write that came before a pause? Then it must not be executed, nor passed on. */
bool pause_spoils(const struct shard_thread *thread, const struct request *request);

/* So it is refused: BUSY; a request of another node's is passed back. The call is over. */
void pause_refuse(struct shard_thread *thread, uint64_t ticket);

/* ---- Sockets ---- */

/* The thread was paused. `begun`: there is some of a request; `kept`: there is what was put by. */
void pause_mark(struct pause_input *input, int fd, bool begun, bool kept);

/* A socket is new here: it may have waited through a pause. */
void pause_mark_new(const struct shard_thread *thread, struct pause_input *input, int fd);

/* Bytes came from it, and are fed next. */
void pause_arrived(const struct shard_thread *thread, struct pause_input *input, size_t size);

/* What is fed next was put by before; `any`: there is something. */
static inline void pause_resumes(struct pause_input *input, bool any)
{
    input->kept = input->kept && any;
    input->late = input->kept;
}

/* What is fed is put by; it begins a request; that request is whole. */
static inline void pause_keeps(struct pause_input *input)
{
    input->kept = input->kept || input->late;
}

static inline void pause_begins(struct pause_input *input)
{
    input->begun = input->late;
}

static inline void pause_completes(struct pause_input *input)
{
    input->late = input->late || input->begun;
    input->begun = false;
}

#endif
