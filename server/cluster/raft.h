/* Raft: one member of the group that agrees on a sequence of entries.
 *
 * After Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014; "paper"), and
 * Ongaro, "Consensus: Bridging Theory and Practice" (2014; "dissertation"): with pre-vote (dissertation, 9.6), a
 * no-op on election (6.4), changes of one member at a time (4.1, with the correction that a leader first
 * commits an entry of its own term), learners (4.2.1), snapshots (5), hand-over (3.10), and a leader that steps
 * down when it does not hear from a majority (6.2). It decides the cluster map and nothing else: entries are
 * small and rare, so one APPEND is under way to each member, and simplicity goes before throughput.
 *
 * Events come in as calls (a tick, a message, "stored", a proposal), what is to be done goes out through the
 * ports below. What it does is a function of the events, the options and what the ports return.
 *
 * **What is stored.** Each call of the store is numbered, 1, 2, 3 and so on in this life, and becomes durable in
 * that order; raft_stored() reports it, later. A crash keeps a prefix of the calls, at least the reported ones.
 * Nothing that depends on a call is sent before it was reported: no message at all while term or vote are not
 * durable; no confirmation of entries that are not; nor does a leader count itself for them. (But it sends
 * entries to others while it stores them itself: dissertation, 10.2.1.)
 *
 * **What a node must not do**: come back without what was reported stored, under its number, while it is a voter.
 * It could vote twice, or forget what it confirmed. Such a node is removed first, or comes under a new
 * number. For a learner it is harmless.
 *
 * Where memory or the store fails, the event is as if it had not been: a message as if lost, a
 * timeout comes again, a proposal returns the error.
 *
 * Memory: a struct of about 20 KiB, which the caller owns; log and snapshot come from the port. What is handed to
 * a port is valid during the call. Threads: the caller's. No port may call into the same raft.
 */
#ifndef RAFT_H
#define RAFT_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "raft_log.h"
#include "raft_members.h"
#include "raft_message.h"

enum { /* Of entries that are not committed: more are not taken. */
       RAFT_UNCOMMITTED_MAX = 1024,
       RAFT_UNCOMMITTED_BYTES_MAX = 4 * 1024 * 1024,
};

/* ---- Ports. The comments are the failure model. ---- */

/* Messages may be lost, late, repeated and out of order. They are not forged: `from` of raft_receive() is
 * certain (though what a peer says is checked, raft_message.h). */
struct raft_net {
    void (*send)(struct raft_net *net, uint32_t to, struct bytes message);
};

/* What outlives a crash: the last of each. Calls take effect in order, each wholly or not at all.
 * All return 0: it will become durable, and raft_stored() will say so, after this event; or negative errno:
 * it was not taken, and is not numbered (the next call has this number again). Where what was taken cannot be
 * made durable, raft_stored() is not called any more for it and what follows. */
struct raft_store {
    /* Term, and for whom this node voted in it; 0: nobody. */
    int (*vote)(struct raft_store *store, uint64_t sequence, uint64_t term, uint32_t node);
    /* Entries that follow each other, in place of all from the first one's index on. */
    int (*append)(struct raft_store *store, uint64_t sequence, const struct raft_entry entries[],
                  uint32_t count);
    /* A snapshot that ends with the entry (index, term), in place of the one before and of the entries up to
     * `index`; with `alone` also of all entries after it. */
    int (*snapshot)(struct raft_store *store, uint64_t sequence, uint64_t index, uint64_t term,
                    struct bytes snapshot, bool alone);
};

/* What the entries are for. It is in memory only: a restart begins with the snapshot and applies again. */
struct raft_machine {
    /* The next committed entry, of any kind, each once and in order. Cannot fail: where an entry makes no sense,
     * that is the same on all nodes. */
    void (*apply)(struct raft_machine *machine, const struct raft_entry *entry);
    /* Append the present state's bytes. Returns 0 or negative errno: then the log grows until it is
     * asked again. */
    int (*save)(struct raft_machine *machine, struct buffer *to);
    /* Take the state that ends with `index` in place of the present one. Returns 0 or negative errno: nothing has
     * changed then, and it is asked again with the next tick; nothing is applied before. */
    int (*restore)(struct raft_machine *machine, uint64_t index, struct bytes state);
};

/* What happened, for logs, metrics and tests. */
enum raft_event {
    RAFT_EVENT_FOLLOWER,   /* It follows from here, in `a`: the term; `b`: the leader, or 0. */
    RAFT_EVENT_CANDIDATE,  /* a: term. */
    RAFT_EVENT_LEADER,     /* a: term. */
    RAFT_EVENT_NO_QUORUM,  /* A leader hears from no majority and steps down. a: term. */
    RAFT_EVENT_MEMBERS,    /* Other members from here. a: index of the entry; b: voters. */
    RAFT_EVENT_TRUNCATED,  /* Entries that were not committed went. a: the first; b: the last. */
    RAFT_EVENT_SAVED,      /* A snapshot was made. a: index; b: bytes. */
    RAFT_EVENT_INSTALLED,  /* A snapshot came from the leader. a: index; b: bytes. */
    RAFT_EVENT_HANDED_OVER /* A leader told another to begin. a: term; b: node. */
};

struct raft_tracer {
    void (*event)(struct raft_tracer *tracer, enum raft_event event, uint64_t a, uint64_t b);
};

struct raft_ports {
    struct memory *memory;
    struct raft_net *net;
    struct raft_store *store;
    struct raft_machine *machine;
    struct raft_tracer *tracer;
};

/* ---- The member. ---- */

struct raft_options {
    uint32_t node; /* Its own number, from 1 up. */
    /* A follower that hears nothing from a leader for this time, or up to twice this time (by lot), asks to be
     * elected, at once where it is the only voter and has heard of no later term; a leader that hears from no majority
     * for this time steps down. */
    uint32_t election_ms;
    uint32_t heartbeat_ms; /* A leader is heard at least so often: at most half of election_ms. */
    uint64_t
        log_bytes; /* A snapshot is made when the entries since the last are more (raft_entry_bytes()). */
    uint32_t
        kept_entries; /* So many before the snapshot stay in memory, for followers a little behind. */
    uint64_t seed;    /* For the lot; another one on each node. */
};

/* What the store has, at a start. All 0: nothing yet. */
struct raft_saved {
    uint64_t term;
    uint32_t voted_for;
    uint64_t snapshot_index, snapshot_term;
    /* Up to here it was committed, as this node knew when its log was what it is here; 0: not known. It may be less, and
     * is not needed: but a node that has it begins with the state it had, not with that of the snapshot. */
    uint64_t commit;
    struct bytes snapshot;
    const struct raft_entry *entries; /* Those after the snapshot. */
    uint32_t entry_count;
};

enum raft_role { RAFT_FOLLOWER, RAFT_PRE_CANDIDATE, RAFT_CANDIDATE, RAFT_LEADER };

/* What a node knows of another member. */
struct raft_peer {
    uint32_t node;
    bool granted;    /* It voted for us, in this round. */
    bool snapshot;   /* It needs entries that are not held any more. */
    uint64_t next;   /* The next entry to send; at least 1. */
    uint64_t sent;   /* Up to here entries are under way; less than `next`: none. */
    uint64_t match;  /* Up to here its log is known to be ours, and stored. */
    uint64_t told;   /* The commit index it was told. */
    uint64_t offset; /* Of the snapshot: so much has come. */
    uint64_t heard_ms;
};

struct raft_snapshot {
    uint64_t index, term; /* 0: none. */
    uint64_t sequence;    /* Of the store's call. */
    uint32_t crc;
    struct raft_members members;
    struct buffer bytes; /* u8 version (1), members (raft_members.h), then the machine's. */
    size_t state_at;     /* Where the machine's begin. */
};

/* A snapshot on its way here. */
struct raft_incoming {
    uint64_t index, term, size;
    uint32_t crc;
    struct buffer bytes;
};

/* Where an entry is. It is committed when the machine is given an entry of this index with this term; given
 * one of another term there, it is lost. */
struct raft_place {
    uint64_t index, term;
};

/* Private to raft*.c, but for what the functions below say; embedded by whoever runs it. */
struct raft {
    struct raft_options options;
    struct raft_ports ports;
    uint64_t random;
    uint64_t now_ms;
    struct buffer out; /* The message being made. */

    /* Stored. */
    uint64_t term;
    uint32_t voted_for;
    struct raft_log log;
    struct raft_snapshot snapshot;
    uint64_t issued, stored; /* Calls of the store: made, and durable. */
    uint64_t vote_sequence;  /* The last that stored term and vote. */
    uint64_t durable;        /* Up to this index the log is durable. */

    enum raft_role role;
    uint32_t leader; /* Of this term, 0: not known. */
    uint64_t commit, applied;
    /* At some time since the start all that was committed by then was applied here. */
    bool current;
    uint64_t applied_bytes;      /* Of the entries applied since the snapshot. */
    struct raft_members members; /* The newest in the log, committed or not (dissertation, 4.1). */
    uint64_t members_index;      /* Of their entry. */
    uint32_t peer_count;
    struct raft_peer peers[RAFT_MEMBERS_MAX]; /* The other members. */

    /* Of a follower and candidate. */
    uint64_t election_due_ms;
    uint64_t contact_ms; /* When the leader was last heard. */
    uint64_t matched;    /* Up to here the log is the leader's. */
    bool vote_owed;      /* What waits for the store: a vote given, our asking for votes, */
    bool ask_owed;
    bool ack_owed; /* a confirmation to the leader. */
    bool handed_over;
    struct raft_incoming incoming;

    /* Of a leader. */
    uint64_t heartbeat_due_ms;
    uint32_t transfer_to; /* 0: nobody. */
    uint64_t transfer_until_ms;
};

/* Begin, with what the store had; `saved` NULL: nothing. The caller's clock is monotonic. A new node knows no
 * members and waits for a leader that has it as a learner; a cluster begins with raft_first_snapshot() as `saved`.
 *
 * Returns 0; -ENOMEM; -EBADMSG where what was stored contradicts itself; or what the machine's restore()
 * returned. There is then nothing to raft_fini(). */
int raft_init(struct raft *raft, const struct raft_options *options, const struct raft_ports *ports,
              const struct raft_saved *saved, uint64_t now_ms);

void raft_fini(struct raft *raft);

/* Append the bytes of a first snapshot, as one that ends with entry 1 of term 1 has them: these nodes are voters, the
 * machine's state is `state`. So a cluster begins: all of `nodes` are given the same bytes as `saved`. Returns 0; -EINVAL
 * for no nodes, too many, one twice or one that is 0; or -ENOMEM. */
int raft_first_snapshot(const uint32_t nodes[], uint32_t count, struct bytes state,
                        struct buffer *to);

/* Append the bytes of a snapshot as of what is applied, which ends with the entry at `place`: what a new node may have
 * as `saved`, as if the leader had sent it. Returns 0; -EAGAIN where nothing is applied yet; -ENOMEM, or what the
 * machine's save() returned: `to` may have grown then. */
int raft_make_snapshot(struct raft *raft, struct buffer *to, struct raft_place *place);

/* Time goes on. Call it a few times in heartbeat_ms. A time before the last one counts as that. */
void raft_tick(struct raft *raft, uint64_t now_ms);

/* A message came. Returns 0, also for one that is out of date; -EBADMSG or -EPROTONOSUPPORT (raft_message_parse());
 * -ENOMEM or the store's error: it is as if lost; -EOVERFLOW where terms have come to their end. */
int raft_receive(struct raft *raft, uint32_t from, struct bytes message);

/* The calls of the store up to this number are durable. Numbers that were reported before change nothing; one
 * that was never given out is a bug. */
void raft_stored(struct raft *raft, uint64_t sequence);

/* Propose a command. It may be lost while `place` is not known to be committed.
 *
 * Returns 0; -EREMOTE where this is not the leader: raft->leader knows more, if it is not 0; -EBUSY while
 * leadership is handed over; -EAGAIN where too much is not committed (RAFT_UNCOMMITTED_MAX); -EMSGSIZE above
 * RAFT_ENTRY_BYTES_MAX; -ENOMEM or the store's error. */
int raft_propose(struct raft *raft, struct bytes command, struct raft_place *place);

/* Propose one change of the members. It counts as soon as it is in the log (dissertation, 4.1). A leader that
 * removes or demotes itself leads on until that is committed (4.2.2).
 *
 * Returns as raft_propose() and raft_members_change() do; -EAGAIN also where the change before, or any entry of
 * the leader's own term, is not committed, and for a learner that is not level or not heard from (4.2.1). */
int raft_change(struct raft *raft, enum raft_change change, uint32_t node,
                struct raft_place *place);

/* Hand leadership over to a voter, or, with 0, to the one that is most level. Until it is done, or election_ms
 * have passed, nothing can be proposed.
 *
 * Returns 0; -EREMOTE as above; -EBUSY while another is under way; -ENOENT where there is no such other voter. */
int raft_transfer(struct raft *raft, uint32_t to);

#endif
