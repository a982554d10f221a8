/* Inside of replication: private to replication*.c (replication.h says which is what). */
#ifndef REPLICATION_PRIVATE_H
#define REPLICATION_PRIVATE_H

#include "compare.h"
#include "eras.h"
#include "replication.h"
#include "session.h"
#include "stream.h"

enum {
    KIND_COVERS = 128, /* In a run: other slots are streamed from here on... */
    KIND_RELEASE,      /* ... the receiver coordinates the slot from here on... */
    KIND_UNKEPT,       /* ... this node has nothing to release of it. */
    RUN_BYTES = 64 * 1024,
    ACK_BYTES = 64 * 1024, /* Received: then it is acknowledged within the turn. */
    LINK_QUEUE_BYTES_MAX = 16 * 1024 * 1024, /* Kept while the link is full; more cuts it. */
    PENDING_MAX = 65536,                     /* Records of a stream given to the shard, in order. */
    HOLD_MS_MIN = 20,
    HOLD_MS_MAX = 1000,
    CREDIT_BYTES_MAX =
        1024 * 1024, /* Of comparisons' sessions, on their way to a shard at most... */
    CREDIT_BYTES_LEAST = 64 * 1024, /* ... and on a link without a word. */
    SENDS_MAX = 1 << 20,            /* Positions to be sent on a link. */
    SENDS_QUEUED = 256,    /* With more than so many no message of a comparison is looked at. */
    WHOLES_MAX = 64,       /* Positions that the shard was asked for... */
    WHOLES_HEALED = 48,    /* ... of which so many by comparisons. */
    JOBS_MAX = 128,        /* Slots compared at a time on a link. */
    RANGE_SESSIONS = 1024, /* One comparison has at most so many. */
    INBOX_BYTES_MAX = 8 * 1024 * 1024,
    WORK_OF_TICK = 4096, /* Sessions looked at; sending one counts as WORK_OF_SEND. */
    WORK_OF_SEND = 16,
    WORK_OF_WALK = 200, /* To begin one: the shard sorts what lies around it. */
    BURIALS_MAX = 4096,
    BURIAL_FRESH_MS = 5000, /* So long others' agreement holds... */
    BURIAL_ASK_MS = 2000,   /* ... and an answer is waited for. */
    STRAYS_MAX = 256,       /* Slots of others that are compared with their owners at a time. */
    SLOT_WORDS = SLOT_COUNT / 64,
    NOBODY = UINT16_MAX,
};

enum flag {
    FLAG_LEVEL = 1,
    FLAG_SEEN = 2,
    FLAGS = FLAG_LEVEL | FLAG_SEEN,
    FLAG_NOTHING = 4, /* Of COMPARE_OPEN and OPENED... */
    FLAG_GIVEN = 8,   /* ... and of OPENED. */
    FLAG_STRAY = 16,  /* Of both: the sender has no part in the slot, and may drop what it has. */
};

struct slot_set {
    uint64_t words[SLOT_WORDS];
};

static inline bool slot_set_has(const struct slot_set *set, uint32_t slot)
{
    return (set->words[slot / 64] >> (slot % 64) & 1) != 0;
}

static inline void slot_set_put(struct slot_set *set, uint32_t slot, bool is)
{
    const uint64_t bit = UINT64_C(1) << (slot % 64);

    set->words[slot / 64] = is ? set->words[slot / 64] | bit : set->words[slot / 64] & ~bit;
}

static inline uint64_t slot_first(uint32_t slot)
{
    return (uint64_t)slot << (64 - SLOT_BITS);
}

static inline uint64_t slot_last(uint32_t slot)
{
    return slot_first(slot) | UINT64_MAX >> SLOT_BITS;
}

/* A queue of items of one size, in a ring that grows. */
struct queue {
    uint8_t *data;
    uint32_t item_bytes, first, count, capacity;
};

/* Returns the place of a new last item, or NULL: no memory, or more than `max`. */
void *queue_push(struct queue *queue, struct memory *memory, uint32_t item_bytes, uint32_t max);
static inline void *queue_at(const struct queue *queue, uint32_t index)
{
    return queue->data +
           (size_t)((queue->first + index) & (queue->capacity - 1)) * queue->item_bytes;
}
static inline void queue_pop(struct queue *queue)
{
    queue->first = (queue->first + 1) & (queue->capacity - 1);
    queue->count--;
}
void queue_fini(struct queue *queue, struct memory *memory);

/* ---- A link ---- */

/* A position to be sent whole. */
struct send {
    uint8_t kind;    /* Of the message: WHOLE, COMPARE_RECORD, COPY. */
    uint64_t number; /* Its number. */
    uint64_t position;
};

enum job_state {
    JOB_FREE = 0,
    JOB_OPENING,   /* The asking end: OPEN or RANGE was sent... */
    JOB_COMPARING, /* ... the range is compared... */
    JOB_CLOSING,   /* ... all is; CLOSE is sent once everything else is... */
    JOB_CLOSED,    /* ... MERGED is awaited... */
    JOB_SETTLING,  /* ... what came is merged... */
    JOB_STORING,   /* ... SETTLED is sent once it is durable, or that takes too long... */
    JOB_SETTLED,   /* ... CLOSED is awaited... */
    JOB_OVER,      /* ... what was sent back last is merged. */
    JOB_ANSWERING, /* The answering end: until CLOSE. CLOSING: until MERGED, CLOSED: until SETTLED, SETTLING, STORING: until CLOSED. */
};

/* A slot that is compared: one end's part. */
struct job {
    struct compare_source source;
    struct replication_link *link;
    enum job_state state;
    uint64_t number; /* Of its messages: `which`. */
    uint16_t slot;
    uint8_t flags; /* The other end's. */
    bool failed;
    bool nothing; /* The asking end: it said so when it opened... */
    bool opened;  /* ... and has heard that the other end takes part. */
    bool drops;   /* The other end may drop what it has by what it is told. */
    /* Something came from elsewhere since it began: the other end may not have it. */
    bool overtaken;
    /* It says nothing of a stray: the slot was this node's own then, or more of it has come here since, and was merged. */
    bool outdated;
    uint32_t serial;
    uint64_t asks;              /* The replication's, when it began. */
    uint32_t merges, sends;     /* Not done. */
    uint64_t in_turn, out_turn; /* Of the peer, when it began. */
    uint64_t first, last;       /* The range. */
    uint64_t lsn;               /* STORING: until the log here is durable up to this... */
    uint64_t stores_us;         /* ... since then. */
    struct buffer seen;         /* The other end's vector, when it began. */
    struct compare compare;     /* The asking end's. */
};

struct replication_link {
    struct replication *replication;
    struct peer *peer;
    void *link; /* The port's. */
    uint32_t serial;
    bool dialled, cut, full;
    bool spared; /* Since it was last heard this end was paused. */
    uint64_t heard_us, sent_us;
    struct buffer queue; /* Messages that wait: 1 kind, u64 number, u32 size, body. */
    size_t queue_at;
    struct buffer inbox; /* Messages of comparisons that were not looked at: the same. */
    size_t inbox_at;
    struct queue sends; /* struct send: what a record or a burial waits for... */
    struct queue heals; /* ... and what comparisons do, at their pace. */
    /* What it has sent of comparisons' sessions, what it may have in all, the last one, and since when more waits. */
    uint64_t heal_sent, heal_limit, heal_last_bytes, starved_us;
    bool stuck;
    uint64_t heal_came, heal_allowed, allowed_us; /* What came, what may in all, said at. */
    uint32_t job_count;
    uint16_t job_slots[JOBS_MAX]; /* Of the jobs; NOBODY: free. */
    struct job *jobs;             /* JOBS_MAX, or NULL. */
};

/* ---- A shard of another node ---- */

/* A record in flight. */
struct flight {
    uint64_t copy; /* 0: nobody waits for it here. */
    uint64_t us;
    uint32_t bytes;
};

/* A record that was given to the shard. */
struct pending {
    uint64_t position, hlc;
    uint32_t wholes; /* Under way; of UNKEPT: who has the slot. */
    uint8_t state;   /* enum pending_state */
    uint8_t era;
    bool given; /* All that there is of wholes has come. */
};

enum pending_state {
    PENDING_OPEN,
    PENDING_MERGED,
    PENDING_ASKED,
    PENDING_FAILED,
    PENDING_RELEASE, /* No session: the slot is released once all before is merged... */
    PENDING_UNKEPT,  /* ... or was not kept. */
};

enum in_state { IN_DOWN, IN_HELLO, IN_RUNNING, IN_HELD };

struct peer {
    uint32_t node, shard, shards, start;
    uint16_t index;
    bool listed, next_listed; /* In the table; in the one that is being set. */
    uint16_t next;            /* Of the same node, while a table is set. */
    bool reachable;           /* As of the last tick. */
    bool degraded;            /* By the table: it stores nothing now. */
    bool apart;               /* By the table: clocks are. */
    bool hands_on;            /* By the table: it has others coordinate creates. */
    bool unheeded;       /* What goes there does not come there: its copies are not waited for. */
    uint8_t doubts;      /* PINGs sent to find out... */
    uint64_t doubt_us;   /* ... since this. */
    uint64_t heard_us;   /* Last time that it was reachable... */
    uint64_t reached_ms; /* ... and since when it is, or was; of now_ms. */
    struct replication_link *out, *in;

    /* What goes there. */
    struct stream_out stream;
    bool begun;
    uint64_t out_turn; /* Of what is streamed: another after each gap. */
    struct queue flights;
    uint64_t flight_bytes;
    bool waits_for_link; /* Something in flight is not left yet, though the link was lost. */
    struct histogram merged_us;
    struct slot_set covers;  /* Slots that are streamed there... */
    struct slot_set covered; /* ... and of which it has all since it was compared. */

    /* What comes from there. */
    struct stream_in stream_in;
    enum in_state in_state;
    uint64_t acked, ack_sent; /* Merged; said so. */
    uint64_t ack_bytes;       /* Received since. */
    uint64_t in_turn;         /* Another after each gap. */
    uint32_t generation;      /* Of tickets. */
    struct queue pending;     /* From acked + 1 on. */
    uint32_t open;            /* Of these with the shard. */
    uint64_t hello_us, held_until_us;
    uint32_t hold_ms;
    bool poisoned; /* It sent what is no good: not again. */

    /* Comparisons. */
    struct slot_set compared; /* Since this node's start. */
    struct slot_set urgent;
    uint32_t urgent_count;
    uint32_t cursor, needed; /* Of the pass: the next step; slots that were compared. */
    bool resting;            /* It is over, since... */
    uint32_t passes;         /* One after the other that found something. */
    uint64_t pass_us;        /* ... this. */
    uint32_t background;     /* Next slot of the background. */
    uint64_t background_us;

    struct buffer burials;      /* BURY_ASK to be sent. */
    struct buffer seen_asks;    /* SEEN_ASK. */
    struct buffer takes, keeps; /* TAKE and KEEP, while they are made. */
    uint64_t told_us; /* When it last said KEEP, or something that it streamed was merged. */
    struct slot_set next_covers; /* While a table is set. */
};

/* ---- All ---- */

/* Who gets what of a slot of this shard. */
struct slot_route {
    uint16_t peers[2 * PLACEMENT_REPLICAS_MAX]; /* Indices: the other owners first. */
    uint8_t ranks[PLACEMENT_REPLICAS_MAX];      /* Of the owners among them. */
    uint8_t owners, count;
    bool lacks;        /* A node that owns it, or is to, is not known. */
    uint8_t rank;      /* This node's as owner; PLACEMENT_REPLICAS_MAX: none. */
    bool mine;         /* Owner or target. */
    bool settled;      /* Owners are the targets. */
    bool taken;        /* This node may coordinate it: the first owner does, but after a pause. */
    bool paused;       /* After a pause: who is not reached is waited for, too. */
    uint8_t awaits;    /* Ranks that it waits for before it does... */
    uint32_t asked_ms; /* ... since this, of now_us. */
    uint64_t first_ms; /* The first owner since then, and not paused, of now_ms. */

    /* The switch. Both are reached while they stand here. */
    uint16_t keeps_for; /* The peer that is its first owner, while this node keeps it; NOBODY... */
    uint16_t awaits_from; /* ... the peer from which this node, which is that, awaits it; NOBODY. */
    bool asked;           /* It is asked for. */
    bool holds;     /* Writes are held, since `hold_ms`, or the last hold was in vain then... */
    uint8_t lapses; /* ... and so many were. */
    uint8_t hints;  /* So many have said who has it instead of them. */
    bool anew;      /* This node was paused since it awaits it. */
    bool took;      /* It was taken by a switch, at `took_ms`. */
    uint32_t hold_ms, took_ms; /* Of now_us. */
    /* The node that this one let have it last, in that life of the stream there; 0: none since it had it itself. */
    uint32_t given_to, given_life;
};

struct copy_state {
    uint8_t waiting; /* Streams that may acknowledge it, and with `all` have not. */
    bool done;
    bool all;   /* All that have the slot are to have it... */
    bool lost;  /* ... which one of them will not tell. */
    bool first; /* The slot's first owner is to have it. */
};

struct whole {
    struct replication_link *link; /* NULL: gone. */
    uint8_t kind;
    bool used;
    uint32_t generation;
    uint64_t number, position;
};

struct burial {
    uint64_t digest; /* Of key, version and last access. */
    uint64_t us;     /* Asked, or agreed, at. */
    uint8_t awaits;  /* Ranks. */
    uint8_t state;   /* 0 free, 1 asked, 2 agreed. */
};

struct stray {
    uint32_t slot;
    bool used, drops;
    uint8_t agreed; /* Ranks. */
    uint64_t retry_us;
};

struct replication {
    struct replication_options options;
    struct memory *memory;
    struct replication_port *port;
    struct replication_shard *core;
    const struct slot_table *table; /* NULL: none yet. */
    uint64_t now_ms, now_us, start_us;
    bool restarted;     /* The first table was kept over a start. */
    bool clock_doubted; /* replication_doubt_clock() */
    uint32_t serial;    /* Of links and jobs, for tickets: replication_next_serial(). */
    struct replication_stats stats;

    struct peer **peers; /* By index; NULL: free. */
    uint32_t peer_capacity;
    uint32_t first_peer;       /* Of the next tick. */
    struct slot_route *routes; /* By slot / shards. */
    bool degraded;             /* This node is, by the table... */
    bool hands_on;             /* ... or has others coordinate creates. */
    struct slot_set level;
    uint64_t asks; /* The number of SEEN_ASK: another after each pause. */
    uint64_t
        away; /* How often another node may have taken this one's place: by pauses, and nodes that were lost. */

    uint32_t switches;  /* Slots that are kept, and awaited. */
    uint64_t switch_us; /* When what concerns them is said again. */
    uint64_t try_us;    /* When what is asked for is tried again to be let go. */
    uint64_t waits_us;  /* A slot was last begun to be awaited. */
    struct slot_set
        waiting; /* Slots of which writes wait in the shard, while they are looked at. */

    uint64_t copy_base, copy_next; /* Numbers: the first that is not settled, the next one. */
    struct queue copies;           /* struct copy_state */
    bool appending;                /* Within replication_append(). */

    struct whole wholes[WHOLES_MAX];
    uint32_t whole_count;
    int64_t heal_tokens;         /* Bytes that comparisons may send... */
    uint64_t heal_us, heal_rest; /* ... and millionths of another one. */
    uint64_t credit_us;          /* When any was given last. */
    int32_t work;                /* Left in this tick. */
    uint64_t
        hung_lsn; /* A comparison has waited for the log to be durable up to this in vain; 0. */

    uint64_t level_us, report_us;
    struct slot_set told; /* To be level with these targets. */
    uint32_t level_cursor, report_cursor, stray_cursor;
    uint64_t stray_us; /* No look for more before. */
    uint32_t stray_looked;
    struct slot_set stray; /* stats.slots_stray */
    struct stray strays[STRAYS_MAX];

    struct burial *burials; /* BURIALS_MAX, open addressing. */
    uint32_t burial_count;
    struct session_view view, other_view;
    struct buffer scratch, answer, token, other_token, batch;
    uint64_t copying; /* Position of the copy that the shard is given just now. */
};

static inline bool is_here(const struct replication *r, uint32_t slot)
{
    return slot < SLOT_COUNT && slot % r->options.shards == r->options.shard;
}

static inline struct slot_route *route_of(const struct replication *r, uint32_t slot)
{
    return &r->routes[slot / r->options.shards];
}

static inline bool has_slot(const struct replication *r, const struct peer *peer, uint32_t slot)
{
    return is_here(r, slot) && slot % peer->shards == peer->shard;
}

/* ---- replication_link.c ---- */

int replication_link_make(struct replication *r, struct peer *peer, void *link, bool dialled,
                          struct replication_link **made);
void replication_link_free(struct replication_link *link);
/* Send, or keep it until there is room. */
void replication_link_send(struct replication_link *link, uint8_t kind, uint64_t number,
                           const struct bytes parts[], uint32_t part_count);
void replication_link_send_bytes(struct replication_link *link, uint8_t kind, uint64_t number,
                                 struct bytes body);
/* Nothing waits on it: bulk may go. */
bool replication_link_is_clear(const struct replication_link *link);
/* Send now or not at all. Returns whether it was sent. */
bool replication_link_try(struct replication_link *link, uint8_t kind, uint64_t number,
                          struct bytes body);
void replication_link_flush(struct replication_link *link);
void replication_link_cut(struct replication_link *link);
/* Something that it said was not right. */
void replication_link_bad(struct replication_link *link);
/* The inbox, for comparisons. */
bool replication_link_keep(struct replication_link *link, uint8_t kind, uint64_t number,
                           struct bytes body);
bool replication_link_kept(struct replication_link *link, uint8_t *kind, uint64_t *number,
                           struct bytes *body);

/* ---- replication_peers.c ---- */

struct peer *replication_peer_find(const struct replication *r, uint32_t node, uint32_t shard);
/* Found or made; NULL: no memory. */
struct peer *replication_peer_take(struct replication *r, uint32_t node, uint32_t shard,
                                   uint32_t shards);
void replication_peers_free(struct replication *r);
/* It goes, if it is not listed and no link is left. */
void replication_peer_drop(struct replication *r, struct peer *peer);
size_t replication_route_bytes(const struct replication *r);
bool replication_peer_reaches(const struct replication *r, const struct peer *peer);
static inline struct peer *peer_at(const struct replication *r, uint32_t index)
{
    return r->peers[index];
}
/* The owner of that rank; NULL: it is this node, nobody or unknown. */
struct peer *replication_owner_of(const struct replication *r, uint32_t slot, uint32_t rank);
/* Does it store what is sent to it, as far as can be known? */
static inline bool peer_takes(const struct peer *peer)
{
    return peer->reachable && !peer->degraded;
}

/* ---- replication_streams.c ---- */

void replication_out_up(struct peer *peer);
void replication_out_down(struct replication *r, struct peer *peer);
void replication_take_hello(struct replication *r, struct peer *peer, uint64_t number,
                            struct bytes body);
void replication_take_ack(struct replication *r, struct peer *peer, uint64_t number,
                          struct bytes body);
void replication_send_runs(struct replication *r, struct peer *peer);
/* A word on a slot, behind all that was streamed. Returns whether it was appended; else the stream has lapsed. */
bool replication_stream_mark(struct replication *r, struct peer *peer, uint8_t kind, uint32_t slot,
                             uint32_t node);
/* Other slots are streamed now: the receiver is told, in its place. */
void replication_tell_covers(struct replication *r, struct peer *peer,
                             const struct slot_set *covers);

/* ---- replication_copies.c ---- */

/* Make room for the next number. Returns whether there is. */
bool replication_copies_reserve(struct replication *r);
void replication_copies_add(struct replication *r, uint32_t waiting);
void replication_copy_done(struct replication *r, uint64_t number);
void replication_copies_settle(struct replication *r);
/* None of what is in flight to this peer will be waited for. `for_good`: also not what it alone is to have, which waits for
 * a link that may be made anew. */
void replication_copies_leave(struct replication *r, struct peer *peer, bool for_good);
/* The link was not. */
void replication_copies_give_up(struct replication *r, struct peer *peer);

/* ---- replication_merge.c ---- */

void replication_in_up(struct replication *r, struct peer *peer);
void replication_in_down(struct peer *peer);
void replication_take_begin(struct replication *r, struct peer *peer, uint64_t number,
                            struct bytes body);
void replication_take_run(struct replication *r, struct peer *peer, uint64_t number,
                          struct bytes run);
void replication_take_whole(struct replication *r, struct peer *peer, uint64_t number,
                            struct bytes body);
void replication_take_whole_done(struct replication *r, struct peer *peer, uint64_t number);
void replication_send_acks(struct replication *r, struct peer *peer);
/* A whole session that came otherwise, for a job (or NULL). */
void replication_take_copy(struct replication *r, struct replication_link *link, struct job *job,
                           struct bytes body);

/* ---- replication_whole.c ---- */

/* Send all of a position. Returns 0, -ENOMEM. */
int replication_send_whole(struct replication_link *link, uint8_t kind, uint64_t number,
                           uint64_t position);
void replication_take_whole_ask(struct replication *r, struct peer *peer, uint64_t number,
                                struct bytes body);
/* Ask the shard for what is to be sent. Returns whether more could be done now. */
bool replication_send_wholes(struct replication *r, struct replication_link *link);
void replication_wholes_forget(struct replication *r, const struct replication_link *link);

/* ---- replication_credit.c ---- */

/* May another session of a comparison be sent there now? */
bool replication_has_credit(const struct replication *r, const struct replication_link *link);
/* One was sent, one came, in a body of so many bytes. */
void replication_credit_spend(struct replication_link *link, size_t body_bytes);
void replication_credit_came(struct replication_link *link, size_t body_bytes);
/* CREDIT. Returns false where it cannot be read. */
bool replication_take_credit(struct replication_link *link, uint64_t limit, struct bytes body);
/* Say on all links how much more may come. */
void replication_credits(struct replication *r);

/* ---- replication_heal.c ---- */

/* Begin comparisons that are due. Returns whether more could be done now. */
bool replication_heal(struct replication *r, struct peer *peer);
void replication_heal_pace(struct replication *r);
bool replication_may_heal(const struct replication *r);
void replication_want(struct peer *peer, uint32_t slot);

/* ---- replication_jobs.c ---- */

/* The next number; never 0. */
static inline uint32_t replication_next_serial(struct replication *r)
{
    r->serial += r->serial == UINT32_MAX ? 2 : 1;
    return r->serial;
}

/* What a message with this number is about; SLOT_COUNT or more: there is no such number. None begins with 0:
 * that of slot 0 would be none. */
static inline uint32_t replication_number_slot(uint64_t number)
{
    return number >> 48 == 0 && number >> 16 != 0 ? (uint32_t)(number & UINT16_MAX) : SLOT_COUNT;
}
struct job *replication_job(const struct replication_link *link, uint32_t slot);
/* The one that a message with this number is about; NULL: it is over. */
struct job *replication_job_of(const struct replication_link *link, uint64_t number);
/* A free job, begun. `number` 0: the next one of this end. NULL: there is none, or no memory. */
struct job *replication_job_make(struct replication *r, struct replication_link *link,
                                 uint32_t slot, uint64_t number);
/* It ends: without a word... */
void replication_job_free(struct replication *r, struct job *job);
/* ... in vain, which the other end may be told... */
void replication_job_fail(struct replication *r, struct job *job, bool tell);
/* ... as it should: `flags` and `seen` are the other end's at the end. `job` is gone after each of these. */
void replication_job_done(struct replication *r, struct job *job, uint8_t flags, struct bytes seen);
void replication_jobs_drop(struct replication *r, struct replication_link *link);
/* What is here of the slot goes: who compares it is told that it is no use. */
void replication_jobs_fail(struct replication *r, uint32_t slot);
/* Send the session of a position with it. Returns 0 or -ENOMEM. */
int replication_job_send(struct job *job, uint64_t position);
void replication_job_sent(struct replication_link *link, uint64_t number, bool good);
void replication_job_merged(struct replication *r, struct job *job, bool good);

/* ---- replication_compare.c ---- */

bool replication_job_open(struct replication *r, struct peer *peer, uint32_t slot);
/* Look at messages that wait, and finish what can be. Returns whether more could be done now. */
bool replication_compare_work(struct replication *r, struct replication_link *link);
uint8_t replication_flags(const struct replication *r, uint32_t slot);

/* ---- replication_ranges.c ---- */

/* Where a range that begins at `first` is to end, so that there are not too many sessions in it. `nothing`: there are none
 * up to `last`. */
uint64_t replication_cut_range(struct replication *r, uint64_t first, uint64_t last, bool *nothing);
/* The other end has nothing of a range: send all of it. Returns 0, -ENOMEM. */
int replication_give_range(struct replication *r, struct job *job, uint64_t first, uint64_t last);

/* ---- replication_levels.c ---- */

/* A comparison has ended: `flags` and `seen` are the other end's at the end, if it said so. */
void replication_slot_compared(struct replication *r, struct peer *peer, const struct job *job,
                               uint8_t flags, struct bytes seen);
/* Something of the slot came from there that was not streamed to all others who have it, or are to have it: each of them is
 * compared with this node again before it counts as having all that is here. */
void replication_came_alone(struct replication *r, const struct peer *from, uint32_t slot);
/* The other end has not all of the slot after all. */
void replication_slot_uncovered(struct replication *r, struct peer *peer, uint32_t slot);
/* More of a slot that this node has no part in is here now, or it has none from now on: what its owners were found to have
 * of it before may not be all. */
void replication_stray_grew(struct replication *r, uint32_t slot);
bool replication_levels(struct replication *r);
void replication_levels_reset(struct replication *r);
bool replication_check_level(struct replication *r, uint32_t slot);
/* Others have been reached, or not, or found to have another clock: may it be this node whose clock is wrong? So it is taken where no
 * more nodes can be reached than are apart from it, and after a start until one can be, or none could for
 * REPLICATION_ALONE_MS: each that has links with this one has compared clocks with it. */
void replication_doubt_clock(struct replication *r);
/* This node has no part in the slot any more. */
void replication_level_leave(struct replication *r, uint32_t slot);

/* ---- replication_degraded.c ---- */

/* A new table: who is degraded by it? */
void replication_follow_degraded(struct replication *r);
/* This node is, and another owner of the slot is there that is not. */
bool replication_stands_back(const struct replication *r, uint32_t slot);
/* All owners before this node are, and it coordinates the slot for them. */
bool replication_stands_in(const struct replication *r, uint32_t slot);

/* ---- replication_routes.c ---- */

/* Whether it can be reached has changed. */
void replication_reach_changed(struct replication *r, struct peer *peer);
void replication_take_seen_ask(struct replication *r, struct replication_link *link,
                               uint64_t number, struct bytes body);
void replication_take_seen(struct replication *r, struct replication_link *link, uint64_t number,
                           struct bytes body);
/* A comparison that began when r->asks was that is over. */
void replication_taken_compared(struct replication *r, struct peer *peer, uint32_t slot,
                                uint64_t asks);
/* What has it seen of the slot? Returns whether there was memory for the question. */
bool replication_ask_seen(struct peer *peer, uint32_t slot);
/* Before this node coordinates the slot: it asks the later owners, and earlier ones that are there and store nothing. */
void replication_take_over(struct replication *r, uint32_t slot);
/* All slots that this node coordinates it takes anew. */
void replication_take_anew(struct replication *r);
void replication_send_asks(const struct replication *r, struct peer *peer);

/* ---- replication_switch.c ---- */

/* A new table, before it is used: who is first in it takes the slot from who was. `after` is its route by that table. */
void replication_switch_follow(struct replication *r, uint32_t slot, struct slot_route *after,
                               const struct slot_table *table);
/* Whether it can be reached, and stores, has changed. */
void replication_switch_reach_changed(struct replication *r, const struct peer *peer);
/* This node was paused, or stores nothing now: what it kept others may have taken. */
void replication_switch_doubt(struct replication *r);
/* TAKE and KEEP. Returns false where it cannot be read. */
bool replication_take_take(struct replication *r, struct replication_link *link, struct bytes body);
bool replication_take_keep(struct replication *r, struct replication_link *link, struct bytes body);
/* RELEASE or UNKEPT came, and all before it is merged. */
void replication_switch_released(struct replication *r, const struct peer *peer, uint32_t slot);
void replication_switch_unkept(struct replication *r, const struct peer *peer, uint32_t slot,
                               uint32_t given_to);
/* Say what there is to say, let go of what may go. Returns whether a slot is being switched. */
bool replication_switch_tick(struct replication *r);
/* Is the slot being switched? Then where a request goes. */
bool replication_switch_route(const struct replication *r, uint32_t slot, uint8_t flags,
                              enum route *kind, struct route_far *far);

/* ---- replication_burials.c ---- */

void replication_take_bury_ask(struct replication *r, struct replication_link *link,
                               struct bytes body);
void replication_take_bury_answer(struct replication *r, struct replication_link *link,
                                  struct bytes body);

#endif
