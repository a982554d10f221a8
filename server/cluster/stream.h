/* Streams: what a shard coordinates, to the shard of a successor, in order and without a gap.
 *
 * A stream goes from one shard of one actor to one shard of another node. Every record that the one stamps and the
 * other keeps a copy of is appended once and numbered, from 1; the receiver applies them in that order and says up to
 * which number it has come. What is not acknowledged is kept, up to a bound, so that after a broken connection the
 * stream goes on where it was: the window of a reliable transport (as in RFC 9293), but longer than a connection.
 *
 * Where it cannot go on (too much was kept, memory was short, or the receiver was restarted and lost what it had) a new
 * *life* of the stream begins, from number 1, and between the two lies a gap. Both ends then compare the slots that
 * they share; until that is done for a slot, the receiver merges what comes but does not count it as all that the
 * sender stamped (seen.h).
 *
 *   sender:    lapsed --stream_out_open()--> connected <--> cut off --too much--> lapsed
 *   receiver:  stream_in_begin() with each connection, then stream_in_receive() run by run
 *
 * On the wire a run is what lies between two acknowledgements or less: whole records, one behind the other, the first
 * of them with the number that is sent beside the run. A record is
 *
 *   u32    bytes of what follows, little-endian, as all here
 *   u8     kind (log_kind.h)
 *   u64    position
 *   u64    hlc of its newest stamp by the sender; 0: it stamps nothing (a burial)
 *   u8     era of the sender's life in the slot (eras.h)
 *   bytes  the body, as the log has it
 *
 * Memory: the sender's from the port, at most `window_max` and one record, in chunks that do not move; the receiver's
 * in its struct. Threads: the caller's.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "slot.h"
#include "stamp.h"

enum {
    STREAM_RECORD_HEAD_BYTES = 4 + 1 + 8 + 8 + 1,
    STREAM_CHUNK_BYTES = 64 * 1024,
};

struct stream_record {
    uint8_t kind;
    uint64_t position, hlc;
    uint8_t era;       /* Below ACTOR_ERAS_MAX. */
    struct bytes body; /* What is appended comes in parts beside it. */
};

/* ---- The sender ---- */

struct stream_chunk; /* private to stream_out.c */

/* Private to stream_out.c, but for reading. */
struct stream_out {
    struct memory *memory;
    uint64_t window_max; /* Bytes that may be kept. */
    uint64_t life;       /* 0: none has begun. */
    uint64_t next;       /* Number of the next record. */
    uint64_t acked;      /* All up to this number are acknowledged. */
    uint64_t bytes;      /* Kept. */
    bool open;           /* Not lapsed: what is appended is kept. */
    bool connected;
    struct stream_chunk *first, *last;
    struct stream_chunk *sending; /* What goes out next lies here... */
    size_t offset;                /* ... from here on... */
    uint64_t sending_number;      /* ... and has this number. */
};

/* Whole records that can be sent as they are. */
struct stream_run {
    uint64_t first; /* Number of the first one. */
    struct bytes bytes;
};

/* Lapsed, until a receiver is there. Its lives are numbered from the one after `lives` on: no number that a receiver
 * may remember of this actor may come again. */
void stream_out_init(struct stream_out *out, struct memory *memory, uint64_t window_max,
                     uint64_t lives);
void stream_out_fini(struct stream_out *out);

/* A connection is there, and the receiver says what it has: the number `applied` in `life` (0: nothing of this actor).
 * Returns true where the stream goes on from there; false where a new life begins, with number 1. */
bool stream_out_open(struct stream_out *out, uint64_t life, uint64_t applied);

/* The connection is gone. What was not acknowledged is kept for the next one. */
void stream_out_cut(struct stream_out *out);

/* Give up what is kept: the next connection begins a new life. */
void stream_out_lapse(struct stream_out *out);

/* Append a record; its body is the parts. Returns its number. 0: it is not kept, as the stream has lapsed: before, or
 * by this record (too much is kept, or no memory). Where a connection is there, it is of no more use then, and to be
 * closed: stream_out_cut(). */
uint64_t stream_out_append(struct stream_out *out, const struct stream_record *record,
                           const struct bytes parts[], uint32_t part_count);

/* The next records to be sent, at most `max` bytes or one record, and beyond them the next time. The bytes stay where
 * they are until they are acknowledged, or the connection is gone. Returns false where nothing is to be sent. */
bool stream_out_next(struct stream_out *out, size_t max, struct stream_run *run);

/* The run that was just given was not sent after all, and is the next one again. */
void stream_out_return(struct stream_out *out, const struct stream_run *run);

/* The receiver has applied all up to this number. Returns 0; -EPROTO: that was never sent. */
int stream_out_acked(struct stream_out *out, uint64_t number);

/* ---- The receiver ---- */

struct stream_in {
    struct actor sender;
    uint64_t life;    /* 0: none yet. */
    uint64_t applied; /* All up to this number. */
    uint64_t whole[SLOT_COUNT / 64];
};

/* Apply one record. Returns 0; anything else: it was not applied, and nothing behind it will be. */
typedef int stream_apply(void *context, const struct stream_record *record);

void stream_in_init(struct stream_in *in, struct actor sender);

/* The sender's answer to what this end has: the life goes on (`resumed`), or a new one begins, and no slot is whole.
 * Returns 0; -EPROTO: that is no answer to what was said. */
int stream_in_begin(struct stream_in *in, uint64_t life, bool resumed);

/* A run has come, whose first record has the number `first`. What was applied before is passed over. Returns 0;
 * -EPROTO: numbers are missing; -EBADMSG: it is not a run; or what `apply` returned. What came before in the run is
 * applied, and `applied` says how far; the connection is of no more use. */
int stream_in_receive(struct stream_in *in, uint64_t first, struct bytes run, stream_apply *apply,
                      void *context);

/* The slot was compared since the present life began: nothing of the sender is missing in it. */
void stream_in_set_whole(struct stream_in *in, uint32_t slot);

/* What comes of it from now on is not all: this node has dropped it, or had no part in it for a while. */
void stream_in_clear_whole(struct stream_in *in, uint32_t slot);

static inline bool stream_in_is_whole(const struct stream_in *in, uint32_t slot)
{
    return (in->whole[slot / 64] >> (slot % 64) & 1) != 0;
}

#endif
