/* What ends by itself: sessions past their deadline, tombstones past their time, sparse memory.
 *
 * A session past its deadline is hidden at once by its view; here it leaves memory, soon after. It is
 * logged as buried first, so that a restart, which gives idle sessions a little more time, does not
 * bring it back. The same record says that a tombstone was let go.
 *
 * Work is counted, not timed: the core has no clock. The costs below are what it took on the machine of
 * the measurements, rounded up. */
#include "adopt.h"
#include "record.h"
#include "shard_state.h"

enum {
    VISIT_NS = 200,         /* The patrol looks at one record. */
    FIRE_NS = 2000,         /* The wheel looks one up, and buries it. */
    VOID_NS = 20,           /* An entry of an earlier turn. */
    EVACUATE_NS = 2,        /* One byte is moved. */
    SAME_POSITION_MAX = 64, /* More keys than this never share one. */
    PATROL_STEP_MS = 64,
    PATROL_STEP_SMALL_MS = 256, /* With few records. */
    PATROL_STEP_EMPTY_MS = 1000,
    SMALL_RECORDS = 4096,
};

/* Without memory for it, a later round of the patrol finds it, past its time. */
static void add_entry(struct shard *shard, uint64_t at_ms, uint64_t position, bool turn)
{
    (void)wheel_add(&shard->wheel, at_ms, (struct wheel_entry){.position = position, .mark = turn});
}

void shard_arm(struct shard *shard, uint64_t position, uint64_t due_ms)
{
    if (due_ms != 0 && due_ms < patrol_next_visit_ms(&shard->patrol, position)) {
        add_entry(shard, due_ms, position, patrol_turn(&shard->patrol, position));
    }
}

/* ---- Idle time that a restart took ---- */

void shard_give_grace(struct shard *shard, uint64_t position, struct bytes record)
{
    struct session_view *view = &shard->view;
    size_t size = 0;

    if (position_set_has(&shard->graced, position) || session_open(view, record, 0) != 0 ||
        !view->live || view->idle_ms == 0 || view->last_access_ms >= shard->restored_ms) {
        return;
    }
    uint64_t to_ms = view->last_access_ms + session_idle_part_ms(view->idle_ms);
    uint8_t *stored = keeper_find_mutable(shard->keeper, position, session_key(record), &size);
    session_touch_in_place(stored, size, to_ms < shard->restored_ms ? to_ms : shard->restored_ms);
}

/* Alone it does: where there are other nodes who opens the session allows for uses that are not known here (shard_open()), and
 * what stands in its record joins by maximum, so that each node's restart would add to that of the others. */
static bool gives_grace(const struct shard *shard)
{
    return shard->idle_restored && shard->copies == NULL;
}

void shard_give_grace_early(struct shard *shard, uint64_t position, struct bytes record)
{
    if (gives_grace(shard) && patrol_is_ahead(&shard->patrol, position) &&
        shard_glance(shard, record, shard->now_ms).expired) {
        shard_give_grace(shard, position, record);
        (void)position_set_add(&shard->graced, position); /* Else the patrol gives it once more. */
    }
}

/* ---- Patrol ---- */

struct slice {
    struct shard *shard;
    uint64_t target;
    uint64_t visits_left;
};

static bool patrol_visit(void *context, uint64_t position, struct bytes record)
{
    struct slice *slice = context;
    struct shard *shard = slice->shard;

    if (gives_grace(shard)) {
        shard_give_grace(shard, position, record);
    }
    struct glance glance = shard_glance(shard, record, shard->now_ms);
    if (glance.there && shard_is_moved(shard, record)) {
        shard_note_moved(shard, position);
    }
    /* Its visit of this round is this one: what counts is the next round's, and the turn after it. */
    if (glance.due_ms != 0 && glance.due_ms < patrol_after_visit_ms(&shard->patrol, position)) {
        add_entry(shard, glance.due_ms, position, !patrol_turn(&shard->patrol, position));
    }
    if (slice->visits_left > 0) {
        slice->visits_left--;
    }
    return position < slice->target && slice->visits_left > 0;
}

/* Go on to where the patrol should be by now. Returns false where the budget ended before. */
static bool patrol_step(struct shard *shard, uint64_t *budget_ns)
{
    struct patrol *patrol = &shard->patrol;
    struct slice slice = {
        .shard = shard,
        .target = patrol_target(patrol, shard->now_ms),
        .visits_left = *budget_ns / 2 / VISIT_NS + 1,
    };
    uint64_t visits = slice.visits_left;

    if (patrol->finished || patrol->cursor > slice.target) {
        return true;
    }
    patrol_visited(patrol, keeper_scan(shard->keeper, patrol->cursor, patrol_visit, &slice));
    if (patrol->finished && patrol->first) {
        shard->idle_restored = false;
        position_set_fini(&shard->graced);
    }
    *budget_ns -= (visits - slice.visits_left) * VISIT_NS;
    return patrol->finished || patrol->cursor > slice.target;
}

/* ---- Burials ---- */

void shard_tell_expired(struct shard *shard, uint64_t position, struct bytes key, bool faded)
{
    shard->stats.expired++;
    shard_trace(shard, faded ? TRACE_SESSION_DELETED : TRACE_SESSION_EXPIRED, position, key);
}

/* What is to be done with one record at a position where something may be due. */
struct due {
    struct shard *shard;
    uint64_t position;
    bool found;          /* One is to be buried: what to log of it is in shard->scratch. */
    bool expired;        /* It was a session, not a tombstone... */
    bool faded;          /* ... that went with its fields... */
    bool cold;           /* ... or whose fields were not in memory. */
    uint64_t newest_hlc; /* Of it, before that. */
    int rc;              /* Of making that. */
};

/* Make the record to log: of a session its tombstone; of a tombstone the same with a later death, so that the log says
 * what time it was when that was let go. (A node that began again before it, as its clock was set back, would not keep
 * away what it has to.) */
static int make_burial(struct due *due, struct bytes record)
{
    struct shard *shard = due->shard;

    shard->scratch.size = 0;
    if (!due->expired && shard->copies != NULL) {
        return buffer_append(&shard->scratch,
                             record); /* Another node's birth may be older than now. */
    }
    const struct stamp stamp = {
        .hlc = hlc_next(shard->hlc, shard->now_ms),
        .actor = shard_actor(shard, due->position),
    };
    int rc = session_bury(record, stamp, shard->copies != NULL, &shard->scratch);
    if (rc == 0) {
        shard->hlc = stamp.hlc;
    }
    return rc;
}

/* With other nodes it is one of them that buries, once all agree; the others see its tombstone then. The longer that
 * takes, the more seldom they are asked. */
static bool may_bury(const struct due *due, uint64_t position, struct bytes record, uint64_t due_ms)
{
    struct shard *shard = due->shard;
    struct copies_port *copies = shard->copies;
    bool asked;

    if (copies == NULL || rename_is_journal(session_key(record)) ||
        copies->may_bury(copies, position, session_key(record), record, &asked)) {
        return true;
    }
    uint64_t wait_ms = asked ? 0 : (shard->now_ms - due_ms) / 4;
    wait_ms = wait_ms < COPIES_BURY_MS ? COPIES_BURY_MS : wait_ms;
    shard_arm(shard, position, shard->now_ms + wait_ms);
    return false;
}

static bool due_visit(void *context, uint64_t position, struct bytes record)
{
    struct due *due = context;
    struct glance glance = shard_glance(due->shard, record, due->shard->now_ms);
    if (glance.due_ms == 0) {
        return true;
    }
    if (glance.due_ms > due->shard->now_ms || (glance.counted && !glance.expired)) {
        shard_arm(due->shard, position, glance.due_ms);
        return true;
    }
    if (glance.expired ? !may_bury(due, position, record, glance.due_ms)
                       : !shard_may_forget(due->shard, position, record)) {
        return true;
    }
    due->found = true;
    due->expired = glance.expired;
    due->faded = glance.faded;
    due->newest_hlc = session_newest_hlc(record);
    due->cold = record_is_cold(record);
    due->rc = make_burial(due, record);
    return false;
}

/* Does a death before the session's last life keep late writes away still? */
static bool remembers(struct bytes tombstone)
{
    struct record opened;

    return record_open_head(&opened, tombstone, RECORD_FORMAT) == 0 &&
           opened.version.death.until > opened.version.newest.hlc;
}

/* Log the burial in shard->scratch and forget the session, or all but its tombstone. Returns what the log says, or
 * -ENOMEM: it has to be done again. */
static int bury(struct due *due)
{
    struct shard *shard = due->shard;
    struct bytes record = buffer_bytes(&shard->scratch), key = session_key(record);
    /* Other nodes keep it for as long as the policy says, so that copies stay the same. What was put back may be again. */
    bool stays =
        due->expired && (shard->copies != NULL || remembers(record) || session_is_adopted(record));
    enum log_kind kind = stays ? LOG_FULL : LOG_BURY;
    /* That a tombstone was let go is no news to other nodes. */
    int rc = due->expired ? shard_append(shard, kind, due->position, key, &record, 1)
                          : shard_log(shard, kind, due->position, key, &record, 1);

    if (rc != 0) {
        return rc;
    }
    if (stays && keeper_set(shard->keeper, due->position, record) != 0) {
        return -ENOMEM;
    }
    if (!stays) {
        keeper_remove(shard->keeper, due->position, key);
    }
    /* Its dedup window goes with it: from here on nobody can tell whether such a write was done. */
    shard->gone_hlc = due->newest_hlc > shard->gone_hlc ? due->newest_hlc : shard->gone_hlc;
    shard->stats.cold -= due->cold;
    if (due->expired) {
        shard->stats.live--;
        shard_tell_expired(shard, due->position, key, due->faded);
    }
    return 0;
}

/* An entry of the wheel fired. Returns 0; an error when a burial has to wait. */
static int fire(struct shard *shard, uint64_t position)
{
    for (int i = 0; i < SAME_POSITION_MAX; i++) {
        struct due due = {.shard = shard, .position = position};
        keeper_visit(shard->keeper, position, due_visit, &due);
        if (!due.found) {
            return 0;
        }
        int rc = due.rc != 0 ? due.rc : bury(&due);
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* Returns false where the budget ended before the due entries. */
static bool wheel_step(struct shard *shard, uint64_t *budget_ns)
{
    struct wheel_entry entry;

    while (*budget_ns >= FIRE_NS) {
        if (!wheel_pop(&shard->wheel, &entry)) {
            return true;
        }
        if (entry.mark != patrol_turn(&shard->patrol, entry.position)) {
            *budget_ns -= VOID_NS;
            continue;
        }
        *budget_ns -= FIRE_NS;
        int rc = fire(shard, entry.position);
        if (rc == -EIO) {
            continue; /* The log has failed: nothing will be buried any more, only hidden. */
        }
        if (rc != 0 && rc != -EBADMSG) {
            add_entry(shard, shard->now_ms, entry.position, entry.mark);
            return true; /* The log or memory takes nothing now: again at the next tick. */
        }
    }
    return false;
}

/* ---- The tick ---- */

static uint32_t pause_ms(const struct shard *shard)
{
    struct keeper_stats stats;
    uint32_t step_ms = PATROL_STEP_MS;

    keeper_stats(shard->keeper, &stats);
    if (stats.records == 0) {
        return PATROL_STEP_EMPTY_MS;
    }
    if (stats.records < SMALL_RECORDS) {
        step_ms = PATROL_STEP_SMALL_MS;
    }
    uint32_t tick_ms = WHEEL_TICK_MS - (uint32_t)(shard->now_ms % WHEEL_TICK_MS);
    return shard->wheel.count > 0 && tick_ms < step_ms ? tick_ms : step_ms;
}

uint32_t shard_tick(struct shard *shard, uint64_t now_ms, uint32_t budget_us)
{
    uint64_t budget_ns = (uint64_t)budget_us * 1000;

    shard_advance(shard, now_ms);
    if (shard->loader != NULL) {
        shard->loader->live(shard->loader, keeper_record_bytes(shard->keeper));
    }
    if (overload_ended(&shard->overload, shard->now_ms)) {
        shard_trace(shard, TRACE_OVERLOAD_END, 0, bytes_of(NULL, 0));
    }
    shard_keep_seen(shard);
    uint64_t evacuation_ns = budget_ns / 4; /* Its part, whatever else is due. */
    budget_ns -= evacuation_ns;
    uint64_t freezing_ns = budget_ns / 2; /* The same. */
    budget_ns -= freezing_ns;
    bool freezes = shard_freeze(shard, &freezing_ns);
    budget_ns += freezing_ns;
    bool patrolled = shard->loading || patrol_step(shard, &budget_ns);
    bool buried = shard->loading || wheel_step(shard, &budget_ns);
    uint32_t bytes = (uint32_t)((evacuation_ns + budget_ns) / EVACUATE_NS);
    bool more = keeper_evacuate(shard->keeper, bytes);

    return patrolled && buried && !freezes && !more ? pause_ms(shard) : 0;
}
