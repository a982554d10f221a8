/* Verdict: at the Raft leader, what the members report of each other becomes proposals of map changes.
 *
 * Down. A member is *confirmed* silent while at least verdict_needed() others report it so: more than half of all other
 * members, dead or alive, so that neither one who is mistaken nor a minority that is cut off can take it out:
 *
 *   members  2  3  4  5  16  256
 *   needed   1  2  2  3   8  128
 *
 * With two members nobody is there to confirm: the leader's own word counts, after the whole of `down_after`. While at
 * most half of the members are dead, those that live are enough in a cluster of any size. Who is confirmed is
 * proposed at once where nobody else is so much as suspected, else after one heartbeat without a break: so those that
 * die together are seen together.
 *
 * Panic. A member *looks* down where more of the fresh reports say silent than heard (a suspect is heard until it is
 * silent). While more than half of the members (`panic_percent`) look down, ownership freezes: nobody is taken out and nobody comes
 * back. The fault is then more likely in what lies between them, and moving everything onto a few would end these too.
 * It goes on for a heartbeat after fewer do. For the same reason nobody is taken out while more than half would be out
 * if all that look down were: such members are *held*.
 *
 * Up. A member that is down comes back once it has reported, and more of the fresh reports have said heard than silent,
 * for all of its `cooldown`, without a break. That is `cooldown` the first time, and twice the last one each time it
 * goes down again, up to `cooldown_max`. After it stayed up for `cooldown_max` that is forgotten. The map keeps the
 * cooldown, so that a new leader knows it; how long a member was up or heard counts from when the leader began.
 *
 * Degraded. What a node finds wrong with itself is proposed at once, also in a panic, as no slot moves by it; that it
 * is well again after `cooldown` without a change. What an operator set stays.
 *
 * A leader that is new, or was paused, knows nothing. It acts when two heartbeats have gone by, in which each member
 * can report twice, and while at least half of the members have fresh reports (not older than `down_after`).
 *
 * So a member that dies alone is proposed, without loss of messages, at most `down_after` and LIVENESS_SLOW_MAX heartbeats
 * and a few ticks after it was last heard: by default 3 s, and up to 6 where those who live are in trouble themselves;
 * where others die with it or are suspected, a heartbeat later. After a reset of its connection, when its process has
 * ended, others are asked first, which takes a heartbeat or a second, whichever is shorter.
 *
 * Time and threads as in liveness.h. Memory: all in the struct (about 45 KiB: keep it off the stack).
 */
#ifndef VERDICT_H
#define VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "awake.h"
#include "liveness.h"

/* A member as the map has it. */
struct verdict_member {
    uint32_t node;
    bool down;
    uint8_t condition;    /* CONDITION bits, the operator's too. */
    uint32_t cooldown_ms; /* Of the last time it went down; 0: it never did. */
};

enum verdict_kind { VERDICT_DOWN, VERDICT_UP, VERDICT_CONDITION, VERDICT_KINDS };

struct verdict_change {
    enum verdict_kind kind;
    uint32_t node;
    uint32_t cooldown_ms; /* Of DOWN: for the map to keep. */
    uint8_t
        condition; /* Of CONDITION: the CONDITION_OWN bits that hold now, in the place of those before. */
};

struct verdict_port {
    /* Put it to Raft. It may be lost: what does not show in verdict_members() within `down_after` is proposed again
     * while it holds. verdict_members() is not called from within. */
    void (*propose)(struct verdict_port *port, const struct verdict_change *change);
};

struct verdict_counters {
    uint64_t reports;
    uint64_t
        reports_stale;  /* Repeated, out of order, of an earlier life, or of no member: dropped. */
    uint64_t confirmed; /* Members that began to be confirmed silent. */
    uint64_t downs, ups, conditions; /* Proposals. */
    uint64_t flaps;                  /* Of `downs`: with a longer cooldown than the first. */
    uint64_t panics;                 /* Began. */
    uint64_t held; /* Members that would have been taken out, but for panic or `held`, each once. */
    uint64_t pauses; /* Own ones. */
};

/* Private to verdict.c. Times are of the awake clock; 0 is not. */
struct verdict_place {
    struct verdict_member member; /* Node 0: a free place. */
    /* Its last report. */
    struct actor reporter;
    uint64_t report_number;
    uint64_t report_ms;
    uint8_t condition;
    uint64_t heard[LIVENESS_MEMBERS_MAX / 64], silent[LIVENESS_MEMBERS_MAX / 64],
        suspected[LIVENESS_MEMBERS_MAX / 64]; /* By place. */
    /* What the others' say. */
    bool looks_down;
    bool held;
    uint64_t confirmed_since_ms;
    uint64_t fit_since_ms;  /* While down: heard without a break. */
    uint64_t up_since_ms;   /* While up. */
    uint64_t well_since_ms; /* Its report has not what the map has. */
    uint64_t proposed_ms[VERDICT_KINDS];
};

/* Private to verdict.c, but for counters and the three above them. */
struct verdict {
    struct liveness_settings settings;
    struct verdict_port *port;
    struct awake awake;
    uint64_t begin_ms; /* Knows from here. */
    uint32_t member_count;
    uint32_t fresh_count; /* Members with fresh reports. */
    uint32_t looking_down_count;
    bool panic;
    uint64_t calm_since_ms; /* No panic since then. */
    struct verdict_counters counters;
    struct verdict_place places[LIVENESS_MEMBERS_MAX];
};

/* How many must report a member silent where there are `members`, it included. */
static inline uint32_t verdict_needed(uint32_t members)
{
    return members < 2 ? 1 : (members - 1) / 2 + 1;
}

/* This node begins to lead. The settings are valid. verdict_members() follows before anything else. */
void verdict_init(struct verdict *verdict, const struct liveness_settings *settings,
                  struct verdict_port *port, uint64_t now_ms);

/* The map's members are these now, the leader among them, each once; at most LIVENESS_MEMBERS_MAX. Those that left are
 * not. */
void verdict_members(struct verdict *verdict, uint64_t now_ms,
                     const struct verdict_member members[], uint32_t count);

/* A report came, also the leader's own. */
void verdict_report(struct verdict *verdict, uint64_t now_ms, const struct liveness_report *report);

/* Call it every liveness_tick_ms(): decides. */
void verdict_tick(struct verdict *verdict, uint64_t now_ms);

#endif
