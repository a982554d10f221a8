/* Replication: what makes the shards of several nodes copies of each other. One per shard.
 *
 * Each shard sends what it stamps to the other nodes that own the slot, or are to own it, in streams (stream.h), one
 * to each of their shards that has slots of this one. Where something may be missing, after a new life of a stream, or
 * in a slot that a node is new to, both ends compare what they have (compare.h) and send what differs; the same goes on
 * all the time, slowly, in the background. All of it ends in the receiving shard's merge, so it may repeat and overlap.
 *
 *   replication.c           begin and end, links, messages to where they belong, the tick
 *   replication_link.c      what is sent on a link, and kept while it is full
 *   replication_peers.c     the other nodes' shards, and who gets what of each slot, from the slot table
 *   replication_streams.c   out: appending, runs, acknowledgements
 *   replication_copies.c    which writes a copy of is elsewhere
 *   replication_merge.c     in: records to the shard, in order; what is missing is asked for
 *   replication_whole.c     whole sessions to other nodes, as the shard gives them
 *   replication_heal.c      comparisons: which, when, at what pace
 *   replication_jobs.c      comparisons: those under way, begun and ended
 *   replication_compare.c   comparisons: their messages
 *   replication_credit.c    comparisons: how many sessions the other end takes now
 *   replication_ranges.c    ranges of a slot: where they end, all of one
 *   replication_levels.c    what is level, reports, slots that are not this node's any more
 *   replication_routes.c    who serves a slot now
 *   replication_switch.c    a slot from one first owner to the next
 *   replication_degraded.c  nodes whose disk is full
 *   replication_burials.c   sessions past their deadline: do all owners agree?
 *
 * Links: a node dials every other one, so that two shards have two links. On the one that it dialled a node is the
 * *sender*: its stream goes there, and the comparisons that it asks for; acknowledgements and answers come back.
 *
 * Messages, by kind; `number` and body. Integers are little-endian, varints and strings as in bytes.h. > goes from who
 * dialled, < to him.
 *
 *   32 <  HELLO         another each time: u64 life, u64 applied: what the receiver has of the sender's stream (0, 0:
 *                              nothing). Once the link is there, again while it is not answered, and again where
 *                              the receiver could not go on.
 *   33 >  BEGIN         HELLO's; u64 life, u8 1 it goes on from there, 0 a new life begins
 *   34 >  RUN           first  records as in stream.h; of these kinds: LOG_FULL, DELTA, BATCH, TOUCH, BURY; 128: the
 *                              sender now streams other slots than before: u16 for each that came or went; 129: the
 *                              receiver coordinates the slot of the position from here on, 130: the sender does not keep
 *                              it; both: u32 node that has it instead as far as the sender knows, or 0
 *   35 <  ACK           all up to this number are merged; u64 life
 *   36 <> PING          0      nothing; each REPLICATION_PING_MS without another message
 *   37 <  WHOLE_ASK     number of a record that could not be merged; u64 life, u64 position
 *   38 >  WHOLE         the same number; u64 position, one whole session of that position
 *   39 >  WHOLE_DONE    the same number; nothing: these were all
 *   40 >  COMPARE_OPEN  which  u8 flags, u64 first, u64 last, then the seen vector if flagged (seen.h); a range of
 *                              the slot's positions, at most as many sessions as one comparison may have
 *   41 <  COMPARE_OPENED which u8 flags, u64 last, perhaps less than asked for, vector. Where it says `given` all of
 *                              the range is sent, and where it says `nothing` the asking end may send all that it
 *                              has: then no items follow. Flags of both: 1 level, 2 vector, 4 nothing, 8 given, 16 the
 *                              sender has no part in the slot, and may drop it: then the other one says SETTLED or
 *                              CLOSED once all is durable
 *   42 >  COMPARE_RANGE which  u64 first, u64 last: the next range of the slot
 *   43 <  COMPARE_RANGED which u64 last
 *   44 >  COMPARE_ITEMS which  as in compare.h
 *   45 <  COMPARE_ANSWERS which as in compare.h
 *   46 <> COMPARE_RECORD which u64 position, one whole session
 *   47 >  COMPARE_CLOSE which  nothing: all ranges are compared, and everything was sent
 *   48 <  COMPARE_CLOSED which u8 flags, vector: after SETTLED; what was sent back is merged; this is what has
 *                              been seen now
 *   49 <> COMPARE_FAILED which nothing: it is over, and no use
 *   50 >  BURY_ASK      0      each: u64 number, u64 position, string key, string version, varint ms of last access
 *   51 <  BURY_ANSWER   0      each: u64 number, u8 1 agreed
 *   52 <> COPY          0      u64 position, one whole session that the other end should have
 *   53 >  SEEN_ASK      any    u16 slot, each
 *   54 <  SEEN          the same number; each: u16 slot, u8 flags, string vector (empty where not flagged)
 *   55 <> COMPARE_CREDIT limit  nothing: so much of COMPARE_RECORDs may come on this link, of all since it is there; each
 *                              counts with its body and 64 bytes. 64 KiB may come without a word. It only grows
 *   56 <  COMPARE_MERGED which nothing: all that came is merged, and everything was sent
 *   57 >  COMPARE_SETTLED which nothing: what came is merged here, too, and what of it has ended here was sent back
 *   58 >  KEEP          0      u8 1 by the sender's map the receiver owns them first, and may ask for them; 0 an answer to
 *                              TAKE: not yet; each: u16 slot
 *   59 <  TAKE          0      each: u16 slot: by the sender's map it owns them first
 *
 *   which: u16 slot, u32 a number that the asking end gives each comparison, not 0, u16 0: what is said of one that is over, as it
 *   failed at either end, comes when the next one of the slot may have begun, and is not about that
 *   flags: 1 the slot is level here, 2 a vector follows: its seen is known, 4 (COMPARE_OPEN and OPENED) nothing of the
 *   range is here, 8 (OPENED) given
 *
 * What cannot be read, or is not to be said then, cuts the link. Who adds a message or changes one raises the version
 * in the handshake of links.
 *
 * The switch of a slot to another first owner, once the map says so (after it was level with all that are to own it):
 *
 *   former first owner                                        new first owner
 *   goes on: it keeps the slot                                asks him what it is asked: it awaits the slot
 *                                <-------- TAKE --------      (once both have the map: else KEEP comes before)
 *   lets go, RELEASE in the stream ----- RUN ----------->     merges what is before it, coordinates
 *   passes on what comes         ------------------------->   what comes before RELEASE is merged waits for that
 *
 * So there is one coordinator at each time, though the map changes at each node when it comes there, and what is held is held
 * for as long as a copy takes. Both may be held: writes at the former owner until writes of the slot that wait within it (for
 * the disk, for the log) are done, `hold_ms` at most at a time; all requests that come to the new one from the former before
 * RELEASE is merged. Where either is out of reach for the other each goes by its map, as in a failover.
 *
 * Memory: from the port. For each other shard 20 KiB, what its stream's window holds, and comparisons under way; a few
 * hundred KiB beside. Threads: the shard's. Time comes with the events: `now_ms` since 1970, `now_us` monotonic.
 */
#ifndef REPLICATION_H
#define REPLICATION_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"
#include "memory.h"
#include "seen.h"
#include "slot_table.h"
#include "stamp.h"
#include "status.h"

enum {
    REPLICATION_PING_MS = 100,
    REPLICATION_SILENCE_MS = 500, /* The default: who was not heard for so long is passed over. */
    REPLICATION_ALONE_MS =
        3000,                   /* Without any other owner for so long a slot is served as it is. */
    REPLICATION_HOLD_MS = 20,   /* The default: so long a switch holds writes at a time. */
    REPLICATION_TOOK_MS = 1000, /* So long a slot counts as just taken. */
    REPLICATION_BODY_BYTES_MAX = 65 * 1024 * 1024,
};

/* Who serves says something within each third of the silence for which he would be passed over, so that nobody does it
 * sooner than two thirds of it after the last of his turns. Where the next turn is later than that he was stopped (SIGSTOP,
 * a paused machine, a starved thread), and somebody may have stood in for him: replication_paused(). */
static inline uint64_t replication_pause_us(uint32_t silence_ms)
{
    return (uint64_t)(silence_ms == 0 ? REPLICATION_SILENCE_MS : silence_ms) * 2000 / 3;
}

/* When a link counts as last heard after such a pause, which began at `before_us`. What came meanwhile lies in its socket, so
 * who was heard of late is given the time in which one that lives says something, and its turn comes: half the silence. Once
 * (`spared`, until it is heard): else who pauses again and again would never notice that another node is gone. Who was silent
 * before stays so. */
static inline uint64_t replication_heard_before_pause(uint64_t heard_us, uint64_t before_us,
                                                      uint64_t now_us, uint64_t silence_us,
                                                      bool *spared)
{
    const bool was_silent = heard_us < before_us && before_us - heard_us >= silence_us;

    if (*spared || was_silent || now_us - heard_us <= silence_us / 2) {
        return heard_us;
    }
    *spared = true;
    return now_us - silence_us / 2;
}

enum replication_kind {
    REPLICATION_HELLO = 32,
    REPLICATION_BEGIN,
    REPLICATION_RUN,
    REPLICATION_ACK,
    REPLICATION_PING,
    REPLICATION_WHOLE_ASK,
    REPLICATION_WHOLE,
    REPLICATION_WHOLE_DONE,
    REPLICATION_COMPARE_OPEN,
    REPLICATION_COMPARE_OPENED,
    REPLICATION_COMPARE_RANGE,
    REPLICATION_COMPARE_RANGED,
    REPLICATION_COMPARE_ITEMS,
    REPLICATION_COMPARE_ANSWERS,
    REPLICATION_COMPARE_RECORD,
    REPLICATION_COMPARE_CLOSE,
    REPLICATION_COMPARE_CLOSED,
    REPLICATION_COMPARE_FAILED,
    REPLICATION_BURY_ASK,
    REPLICATION_BURY_ANSWER,
    REPLICATION_COPY,
    REPLICATION_SEEN_ASK,
    REPLICATION_SEEN,
    REPLICATION_COMPARE_CREDIT,
    REPLICATION_COMPARE_MERGED,
    REPLICATION_COMPARE_SETTLED,
    REPLICATION_KEEP,
    REPLICATION_TAKE,
    REPLICATION_KINDS_END,
};

struct replication;      /* private to replication_private.h */
struct replication_link; /* the same */

/* ---- Ports ---- */

/* The network and the control thread. Nothing here may call back into replication. */
struct replication_port {
    /* Send a message on the link; `link` is the caller's (replication_link_up()). In order, and whole, or the link is
     * broken. Returns false, with nothing taken, where too much waits to be sent: replication_writable() comes once
     * there is room. The parts are valid during the call; those of a REPLICATION_RUN until its records are acknowledged
     * or replication_link_down() was called, so that they may be sent from where they lie. */
    bool (*send)(struct replication_port *port, void *link, uint8_t kind, uint64_t number,
                 const struct bytes parts[], uint32_t part_count);
    /* The link is of no more use: close it, call replication_link_down() later, not from here, and dial anew if it was
     * dialled here. */
    void (*cut)(struct replication_port *port, void *link);
    /* This node is the slot's primary, and all `targets` have what its owners have: they may own it. Said as soon
     * as it is so, and about once a second until the table says something else. */
    void (*level)(struct replication_port *port, uint32_t slot, const struct slot_owners *targets);
    /* Of what was sent on the link the other end's machine has said of nothing for so many us that it came there, as TCP
     * does whatever the process does (RFC 9293, 3.8.6): the machine is gone, or the way to it. NULL: that is not known. */
    bool (*unheeded)(struct replication_port *port, void *link, uint64_t us);
    /* How many bytes of sessions that comparisons bring this shard's log takes now without that writes wait for room in it. NULL:
     * any number. */
    uint64_t (*room)(struct replication_port *port);
    /* A shard of that node has taken none of the sessions that wait to be sent there for ten seconds; or it does again. NULL: nobody
     * asks. */
    void (*stuck)(struct replication_port *port, uint32_t node, bool stuck);
    /* A switch of the slot has come to its end at this node: what waits for it goes on, here or elsewhere. NULL: nobody cares. */
    void (*taken)(struct replication_port *port, uint32_t slot);
};

/* What another node stamped or has, for the shard to merge. `kind` as in log_kind.h. */
struct replication_copy {
    uint64_t ticket;
    uint8_t kind;
    uint64_t position;
    struct bytes body; /* Valid during the call. */
};

/* The shard. */
struct replication_shard {
    /* Merge it; replication_merged() says what became of it, once, from within or later. */
    void (*copy)(struct replication_shard *shard, const struct replication_copy *copy,
                 uint64_t now_ms, uint64_t now_us);
    /* Another owner has merged the write of this number (replication_append()). Each at most once, in no order. */
    void (*copied)(struct replication_shard *shard, uint64_t number, uint64_t now_us);
    /* Nobody will say so any more of those up to this number of which it was not said. */
    void (*uncopied)(struct replication_shard *shard, uint64_t number, uint64_t now_us);
    /* Visit what is there, tombstones that are kept included, by ascending position, until `visit` returns false;
     * `hash` is that of a session's key and all of its content, or 0 where `hashes` are not asked for. */
    void (*walk)(struct replication_shard *shard, uint64_t first, uint64_t last, bool hashes,
                 bool (*visit)(void *context, uint64_t position, uint64_t hash), void *context);
    /* Give all whole sessions of a position: replication_whole() for each, then replication_whole_done(), from within
     * or later. Returns 0, or negative errno: nothing will be given. */
    int (*whole)(struct replication_shard *shard, uint64_t position, uint64_t ticket,
                 uint64_t now_us);
    /* Some of a slot goes, and with the first of it what was seen: what is left vouches for nothing. Returns 1 while there is
     * more; 0: nothing of it is left; negative errno: not now. */
    int (*drop)(struct replication_shard *shard, uint32_t slot, uint64_t now_ms);
    /* The record of a key, whole or cold, empty where there is none; valid until the shard is called. Returns false
     * where it is not known yet. */
    bool (*find)(struct replication_shard *shard, uint64_t position, struct bytes key,
                 struct bytes *record);
    /* Is all that was stored here known, be it cold? Until then nothing is compared. */
    bool (*ready)(struct replication_shard *shard);
    /* Up to where its log goes now; and is it durable up to there? */
    uint64_t (*appended)(struct replication_shard *shard);
    bool (*durable)(struct replication_shard *shard, uint64_t lsn);
    struct seen *seen;       /* Of all slots. Own writes are the shard's to note in it... */
    const struct eras *eras; /* ... and it says as whom they are stamped. */
    /* A copy for this position is given soon: what is needed to find it may be fetched from memory, and, once that is
     * there, `found`, what is there. NULL: nothing is done. */
    void (*prefetch)(struct replication_shard *shard, uint64_t position, bool found);
    /* Visit the slots of writes that were taken and are not executed yet; a slot may come more than once. NULL: there are
     * never any. */
    void (*waiting)(struct replication_shard *shard, void (*visit)(void *context, uint32_t slot),
                    void *context);
};

struct replication_options {
    struct actor self;
    uint32_t shard, shards;    /* Which one this is, and of how many. */
    uint64_t lives;            /* Lives of this actor's streams begin above it: run << 32. */
    uint64_t window_bytes;     /* Of each stream. */
    uint64_t heal_bytes_per_s; /* Sessions sent by comparisons; 0: no limit. */
    uint32_t silence_ms;       /* 0: REPLICATION_SILENCE_MS. */
    uint32_t round_ms; /* The background compares everything once in so long; 0: ten minutes. */
    uint32_t hold_ms;  /* 0: REPLICATION_HOLD_MS. */
    struct memory *memory;
    struct replication_port *port;
    struct replication_shard *core; /* This node's shard. */
};

/* Returns 0 or -ENOMEM. */
int replication_create(const struct replication_options *options, uint64_t now_ms, uint64_t now_us,
                       struct replication **replication);
/* NULL is fine. Links that are still there are forgotten. */
void replication_destroy(struct replication *replication);

/* ---- Events ---- */

/* A new table; it stays valid until the next one was set. Returns 0, or -ENOMEM: the old one goes on to be used. */
int replication_set_table(struct replication *replication, const struct slot_table *table,
                          uint64_t now_ms, uint64_t now_us);

/* A link that has passed the handshake. */
struct replication_peer {
    bool dialled;           /* By this end. */
    uint32_t node, start;   /* The other end's actor... */
    uint32_t shard, shards; /* ... which shard of it, of how many. */
};

/* One is there; `link` is what the port is told. An older one that the same shard dialled is cut. Returns 0 with
 * `made`, which is valid until replication_link_down(); -ENOMEM; -EINVAL: these shards have no slots in common;
 * -EEXIST: this end dialled one before, which is not down yet. */
int replication_link_up(struct replication *replication, const struct replication_peer *peer,
                        void *link, uint64_t now_ms, uint64_t now_us,
                        struct replication_link **made);
void replication_link_down(struct replication *replication, struct replication_link *link,
                           uint64_t now_ms, uint64_t now_us);

/* A message came, of a kind from REPLICATION_HELLO to below REPLICATION_KINDS_END; its checksum was right. What is not
 * right in it cuts the link. */
void replication_receive(struct replication *replication, struct replication_link *link,
                         uint8_t kind, uint64_t number, struct bytes body, uint64_t now_ms,
                         uint64_t now_us);
/* Any other message came on the link: the other end is alive. */
void replication_heard(struct replication *replication, struct replication_link *link,
                       uint64_t now_us);
/* There is room for more, after send() returned false. */
void replication_writable(struct replication *replication, struct replication_link *link,
                          uint64_t now_ms, uint64_t now_us);

/* Nothing was done here for replication_pause_us() or longer; said before anything else is. That the others were not heard
 * meanwhile need not be their fault (replication_heard_before_pause()). Slots that this node coordinates it takes anew:
 * it asks the later owners what they have seen, and waits for those that it reached before. */
void replication_paused(struct replication *replication, uint64_t now_ms, uint64_t now_us);

/* Say what there is to say, and do a little of what is due: at the end of each turn in which anything happened here or
 * in the shard, and at the latest when the last one asked for it. At most about a millisecond.
 * Returns in how many ms to call again; 0: there is more to do now. */
uint32_t replication_tick(struct replication *replication, uint64_t now_ms, uint64_t now_us);

/* ---- For the shard: what its copies port calls ---- */

/* The shard has appended this to its log. Returns the number that copied() or uncopied() will name, dense, from 1 up;
 * 0: no other owner can be reached. */
uint64_t replication_append(struct replication *replication, uint8_t kind, uint64_t position,
                            uint64_t hlc, const struct bytes parts[], uint32_t part_count);
/* What that has just returned for a write at this position (0: nobody is sent it) is copied() only once all other nodes that
 * own the slot, or are to, have merged it; where one of them cannot be told, or is lost meanwhile, it is uncopied().
 * Returns false: there is no other node. */
bool replication_await_all(struct replication *replication, uint64_t position, uint64_t number);
/* The same once the slot's first owner has merged it, whatever others have: also if the link there is made anew before the
 * node has been out of reach for `silence_ms`, and the stream goes on. */
void replication_await_first(struct replication *replication, uint64_t position, uint64_t number);
/* What became of a copy: OK; DESTROYED: what came is dead here, and its death is sent back; VERSION_MISMATCH: a delta
 * without its base; BUSY, MEMORY_FULL, DISK_FULL, LOG_FAILED,
 * UNAVAILABLE or STOPPING: not now; DAMAGED: the session here cannot be read; else it is no good. */
void replication_merged(struct replication *replication, uint64_t ticket, enum status status);
void replication_whole(struct replication *replication, uint64_t ticket, struct bytes record);
void replication_whole_done(struct replication *replication, uint64_t ticket, enum status status);
/* May this session, which is past its deadline, be buried? False: not now, ask again in a while (100 ms or more); with
 * `asked`, within a second, as other owners were asked just now, and what they say does not hold for long. */
bool replication_may_bury(struct replication *replication, uint64_t position, struct bytes key,
                          struct bytes record, bool *asked);
/* Is there another owner of this position's slot to whom replication_append() would send now? */
bool replication_reaches_owner(const struct replication *replication, uint64_t position);
/* Since when this node has been told of each use of the sessions of this position's slot: it is the primary since then, and
 * no other owner came back since, who may have stood in for it. UINT64_MAX: it is not the primary. */
uint64_t replication_known_ms(const struct replication *replication, uint64_t position);
/* Since when this node is the slot's primary without a pause, where it coordinates it; of `now_ms`. What came before another one may
 * have taken. 0: there was no table yet. */
uint64_t replication_first_ms(const struct replication *replication, uint32_t slot);

/* ---- Routes ---- */

enum route {
    ROUTE_LOCAL, /* Execute it here. */
    ROUTE_FAR,   /* Another node is to coordinate. */
    ROUTE_WAIT, /* This node is just taking over, or letting go: known in a few milliseconds, ask again then. */
    ROUTE_NOWHERE, /* Nobody can be reached who could: UNAVAILABLE. */
};

enum route_flag {
    ROUTE_COORDINATE = 1, /* An earlier owner cannot serve, and asks this one to. */
    ROUTE_READS = 2,      /* It is a read: they go on while writes are held. Never sent. */
};

struct route_far {
    uint32_t node, shard; /* Who is to coordinate... */
    uint8_t flags;        /* ... and what to tell him. */
};

/* Where does a request for this slot go? `flags` came with it, 0 from a client. `far` is set with ROUTE_FAR. */
enum route replication_route(struct replication *replication, uint32_t slot, uint8_t flags,
                             struct route_far *far);

/* This node is the slot's primary, and degraded as somebody said so: who coordinates a write to a session of which it knows
 * nothing? Returns whether there is somebody, with `far` as above. The answer comes once this node has the session. */
bool replication_route_create(const struct replication *replication, uint32_t slot,
                              struct route_far *far);

/* Is it degraded so? */
bool replication_hands_on(const struct replication *replication);

/* Does this node still coordinate the slot, of which another one is the first owner by now? */
bool replication_keeps(const struct replication *replication, uint32_t slot);
/* Is this node to coordinate it, and still asks who does? What that one passes on waits. */
bool replication_awaits(const struct replication *replication, uint32_t slot);
/* Does this node keep or await any slot? */
bool replication_is_switching(const struct replication *replication);
/* Is what waits for the slot held by a switch? */
bool replication_switches(const struct replication *replication, uint32_t slot);
/* Did this node take the slot from another one within the last REPLICATION_TOOK_MS? What that one was asked may come back. */
bool replication_took_lately(struct replication *replication, uint32_t slot);

/* Is this node the first owner of the slot? */
bool replication_is_first(const struct replication *replication, uint32_t slot);

/* Has this node a way to the first owner, so that what it writes for it comes there? */
bool replication_tells_first(const struct replication *replication, uint32_t slot);

/* Has this node all that the slot's other present owners have, as far as can be known? */
bool replication_is_level(const struct replication *replication, uint32_t slot);

/* Is there a way to that shard and back that was heard lately? */
bool replication_reaches(const struct replication *replication, uint32_t node, uint32_t shard);

/* ---- Figures ---- */

struct replication_stats {
    uint64_t records_out, bytes_out; /* Appended to streams. */
    uint64_t records_in;             /* Merged from streams. */
    uint64_t copied, uncopied;       /* Writes. */
    uint64_t lives, resumes, lapses; /* Of streams out. */
    uint64_t held;                   /* Times that a stream in had to wait for the shard. */
    uint64_t
        unheeded; /* Times that copies to a shard were not waited for, as its machine took nothing. */
    uint64_t wholes_asked, wholes_sent; /* Deltas without base; sessions sent for them. */
    uint64_t compared, compares_failed; /* Slots. */
    uint64_t healed_in, healed_out;     /* Sessions that a comparison brought, or sent. */
    uint64_t healed_bytes_out;
    uint64_t stuck_times;  /* That the other end took none of them for long. */
    uint64_t bad_messages; /* Links cut for them. */
    uint64_t burials_asked, burials_refused;
    uint64_t takeovers; /* Slots asked about before they were coordinated. */
    uint64_t slots_dropped;
    uint64_t slots_taken, slots_released; /* By switches. */
    uint64_t holds, holds_lapsed; /* Times that a switch held a slot's writes; of these, in vain. */
    uint32_t slots_owned, slots_not_level; /* Of this shard, now. */
    /* Of this shard, and not this node's, but something of them is here, if only of sessions that have ended; until `looked`,
     * which is once all were looked at under the present table, there may be more. */
    uint32_t slots_stray;
    bool looked;
    uint32_t compares; /* Under way. */
    uint32_t stuck;    /* Links whose other end takes none of what waits. */
};

struct replication_lag {
    uint32_t node, shard;
    bool reachable;
    uint64_t records_behind, bytes_behind; /* Streamed, and not acknowledged. */
    uint64_t oldest_us;                    /* Age of the oldest of them. */
    const struct histogram *merged_us;     /* From the append to the acknowledgement. */
};

const struct replication_stats *replication_stats(const struct replication *replication);

/* The other shards, by index from 0. Returns false past the last one. */
bool replication_lag(const struct replication *replication, uint32_t index,
                     struct replication_lag *lag);

#endif
