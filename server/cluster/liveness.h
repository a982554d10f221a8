/* Liveness: what a node believes of the other members, from what it hears of them and the clock.
 *
 * Every member sends every other one a heartbeat at each interval, as there are links between all of them anyway. Each
 * judges for itself whom it hears; the members' reports come together at the Raft leader, where verdict.h makes
 * proposals of them. What one node believes moves nothing.
 *
 *   UNKNOWN --heard--> HEARD --half of down_after silent, or a reset--> SUSPECT --down_after silent--> SILENT
 *                        ^                                                |    \--reset and confirmed--^  |
 *                        \----------------------heard---------------------+-------------------------------/
 *
 * - *Heard* means both ways. Each message says for how long its sender has not heard the receiver; one of a sender to
 *   whom nothing comes through is no sign that the two could work together. Whoever hears and is not heard is found
 *   silent by both ends.
 * - A suspect is asked for a heartbeat again and again, and some members are asked whether they hear it (the indirect
 *   probe of SWIM: Das, Gupta and Motivala, 2002). Who is asked pings it and answers YES once something was heard
 *   after the question, NO when the time for that is over (the nack of Lifeguard: Dadgar et al., 2018), or UNSURE.
 * - After a reset one NO and no YES make the suspect SILENT before `down_after`: its process is gone, and somebody else
 *   has found the same. With nobody to ask (two members) only `down_after` counts. A YES leaves it suspected: the link
 *   is broken, not the node.
 * - This node's own trouble must not be taken for that of the others (Lifeguard). Pauses do not count as silence
 *   (awake.h); and each pause, and each round of probes that nobody at all answered, makes it wait one heartbeat
 *   longer, up to LIVENESS_SLOW_MAX, until it hears others again.
 *
 * So a member that dies is SILENT here at most `down_after` + LIVENESS_SLOW_MAX heartbeats and two ticks after it was
 * last heard. One is never SILENT while messages come through each way at least once in `down_after`, and after a reset
 * of its connection at least once in a round of probes (a heartbeat, at most a second; suspects are pinged eight times
 * in it, by those who are asked too).
 *
 * Failover needs to know sooner that its own link to a primary is dead: that is replication's to see (replication.h).
 *
 * Time is the caller's, monotonic, in milliseconds, and never goes back; it comes with each event. Memory: all in the
 * struct (about 26 KiB: keep it off the stack). Threads: the caller's. Ports are called from within events.
 */
#ifndef LIVENESS_H
#define LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

#include "awake.h"
#include "stamp.h"

enum {
    LIVENESS_MEMBERS_MAX = 256, /* With this node. */
    LIVENESS_ASKED_MAX =
        256,               /* Questions of others under way; one more is answered UNSURE at once. */
    LIVENESS_SLOW_MAX = 3, /* Heartbeats that a node in trouble waits longer. */
    LIVENESS_PROBE_MS_MAX = 1000,
    LIVENESS_TICK_MS_MAX = LIVENESS_PROBE_MS_MAX / 8, /* So often suspects are pinged. */
};

/* All in milliseconds, where nothing else is said. */
struct liveness_settings {
    uint32_t heartbeat_ms;    /* `cluster.heartbeat`: 100 to 10,000. */
    uint32_t down_after_ms;   /* `cluster.down_after`: 3 heartbeats to 120,000. */
    uint32_t probe_members;   /* `cluster.probes`: how many are asked about a suspect: 0 to 16. */
    uint32_t cooldown_ms;     /* `cluster.cooldown`: 0 to cooldown_max_ms. */
    uint32_t cooldown_max_ms; /* `cluster.cooldown_max`: up to 86,400,000. */
    uint32_t panic_percent;   /* `cluster.panic`: 10 to 50. */
};

#define LIVENESS_SETTINGS_DEFAULT                                                                  \
    {                                                                                              \
        .heartbeat_ms = 1000, .down_after_ms = 3000, .probe_members = 3, .cooldown_ms = 30 * 1000, \
        .cooldown_max_ms = 10 * 60 * 1000, .panic_percent = 50                                     \
    }

/* Returns 0, or -ERANGE: one of them is outside what its comment allows. */
int liveness_settings_check(const struct liveness_settings *settings);

/* How often liveness_tick() and verdict_tick() are to be called: 4 times in a heartbeat, and at least each
 * LIVENESS_TICK_MS_MAX. */
uint32_t liveness_tick_ms(const struct liveness_settings *settings);

/* What is wrong with a member that lives on as `degraded`: bits. The node finds out about the others itself. */
enum {
    CONDITION_OPERATOR = 1, /* Somebody said so; only in the map. */
    CONDITION_DISK_FULL = 2,
    CONDITION_LOG_FAILED = 4,
    CONDITION_OWN = CONDITION_DISK_FULL | CONDITION_LOG_FAILED,
};

enum liveness_kind {
    LIVENESS_HEARTBEAT, /* Also the answer to a ping. */
    LIVENESS_PING,      /* A heartbeat that wants one back at once. */
    LIVENESS_PROBE,     /* Do you hear `subject`? Answer within `wait_ms`. */
    LIVENESS_YES,       /* `subject` was heard after the question. */
    LIVENESS_NO,        /* It was not, in `wait_ms`. */
    LIVENESS_UNSURE,    /* Cannot tell: not a member here, or too much to do. */
};

/* From one node to another. May be lost, repeated, late, and out of order. */
struct liveness_message {
    enum liveness_kind kind;
    struct actor from;
    uint32_t unheard_ms; /* For how long the sender has not heard the receiver, while awake. */
    uint8_t condition;   /* Of the sender: CONDITION_OWN bits. */
    uint64_t followed;   /* Of the sender: liveness_follow(). */
    uint32_t subject;    /* Node, of a probe and its answers; otherwise 0, as all below. */
    uint32_t number;     /* Of the round of probes. */
    uint32_t wait_ms;    /* Of a probe. */
};

enum liveness_belief {
    BELIEF_UNKNOWN, /* Neither heard yet, nor long enough silent. */
    BELIEF_HEARD,
    BELIEF_SUSPECT,
    BELIEF_SILENT,
};

/* To whoever is Raft leader; this node itself may be. May be lost, repeated, late, and out of order. */
struct liveness_report {
    struct actor from;
    uint64_t number; /* Grows while the actor lives. */
    uint8_t condition;
    uint32_t count;
    struct {
        uint32_t node;
        enum liveness_belief belief;
    } members[LIVENESS_MEMBERS_MAX]; /* All others that it knows. */
};

struct liveness_port {
    /* Send, or drop where there is no connection; a try to connect may follow from it. */
    void (*send)(struct liveness_port *port, uint32_t node, const struct liveness_message *message);
    /* At each heartbeat, and at once where a belief or the condition changed. Valid during the call. */
    void (*report)(struct liveness_port *port, const struct liveness_report *report);
};

struct liveness_counters {
    uint64_t heartbeats_sent, heartbeats_heard; /* With pings and their answers. */
    uint64_t pings_sent;
    uint64_t stale;             /* Messages of an actor's earlier life, or of no member: dropped. */
    uint64_t deaf;              /* Messages of a sender that does not hear this node. */
    uint64_t resets;            /* Connections that broke. */
    uint64_t restarts;          /* Members that came back as a new actor. */
    uint64_t suspicions;        /* Began; */
    uint64_t refuted;           /* the suspect was heard after all; */
    uint64_t confirmed;         /* others had not heard it either; */
    uint64_t silent;            /* all that ended in SILENT, with those confirmed. */
    uint64_t probes_sent;       /* Questions to others, each member counted. */
    uint64_t probes_unanswered; /* Rounds that nobody answered. */
    uint64_t probes_heard;      /* Questions by others, */
    uint64_t answered_yes, answered_no, answered_unsure; /* and what they were told. */
    uint64_t pauses;                                     /* Own ones. */
};

/* Private to liveness*.c. Times are of the awake clock. */
struct liveness_peer {
    uint32_t node;     /* 0: a free place. */
    uint32_t start;    /* Of the newest life heard; 0: none. */
    uint64_t followed; /* The greatest of that life. */
    uint64_t heard_ms;
    uint64_t mutual_ms; /* Last heard and being heard. */
    uint64_t pinged_ms;
    enum liveness_belief belief;
    bool broken; /* Reset, and nothing heard since. */
    /* The round of probes while suspected. */
    uint32_t number;
    uint32_t asked;
    uint64_t round_end_ms;
    bool yes, no, unsure;
};

/* A question by another member, not answered yet. Private to liveness*.c. */
struct liveness_asked {
    uint32_t asker; /* Node; 0: a free place. */
    uint32_t subject;
    uint32_t number;
    uint64_t end_ms;
};

/* Private to liveness*.c, but for counters. */
struct liveness {
    struct liveness_settings settings;
    struct liveness_port *port;
    struct actor self;
    struct awake awake;
    uint64_t heartbeat_due_ms; /* By the caller's clock. */
    uint64_t random;
    uint64_t report_number;
    uint32_t round_number;
    uint32_t slow;
    uint8_t condition;
    uint64_t followed;
    bool changed; /* Since the last report. */
    bool trouble; /* Of its own, since the last heartbeat. */
    struct liveness_peer peers[LIVENESS_MEMBERS_MAX];
    struct liveness_asked asked[LIVENESS_ASKED_MAX];
    struct liveness_report report;
    struct liveness_counters counters;
};

/* `self` is this life of this node, `random` any number, other ones on other nodes. The settings are valid. */
void liveness_init(struct liveness *liveness, const struct liveness_settings *settings,
                   struct liveness_port *port, struct actor self, uint64_t random, uint64_t now_ms);

/* The members are these, each once, in any order, this node or not among them; at most LIVENESS_MEMBERS_MAX. What is
 * known of those that were members stays. */
void liveness_members(struct liveness *liveness, uint64_t now_ms, const uint32_t nodes[],
                      uint32_t count);

/* Call it every liveness_tick_ms(). */
void liveness_tick(struct liveness *liveness, uint64_t now_ms);

/* A message came. */
void liveness_receive(struct liveness *liveness, uint64_t now_ms,
                      const struct liveness_message *message);

/* The connection with `node` was reset, refused or closed by it. */
void liveness_reset(struct liveness *liveness, uint64_t now_ms, uint32_t node);

/* Somebody else leads now: it is told at once. */
void liveness_new_leader(struct liveness *liveness, uint64_t now_ms);

/* What this node finds wrong with itself: CONDITION_OWN bits, 0 where nothing is. All are told at once. */
void liveness_condition(struct liveness *liveness, uint64_t now_ms, uint8_t condition);

/* What of that on which the members agree this node goes by: a number that only grows, and is said with each message. */
void liveness_follow(struct liveness *liveness, uint64_t followed);

/* What is known of a member as of the last event; UNKNOWN of a node that is none. */
enum liveness_belief liveness_belief(const struct liveness *liveness, uint32_t node);

/* The greatest number that a member has said so in the newest life of it that was heard; 0: none, or it is no member. */
uint64_t liveness_followed(const struct liveness *liveness, uint32_t node);

/* The present length of silence that makes a member SILENT, longer than `down_after` while this node is in trouble. */
uint64_t liveness_patience_ms(const struct liveness *liveness);

#endif
