/* Data larger than memory: the fields of the coldest sessions leave it, and come back on use.
 *
 * Above a mark of memory_max a hand goes round the keeper (the clock, keeper.h) and leaves of each session
 * that was not used for a round its cold record (cold.h), down to a lower mark. That is done only where
 * the checkpoint has all of the session: stamps of this node grow along the log, so that is so for every record whose
 * newest stamp is at or below that of the last segment compacted, or of anything that the checkpoint gave at a
 * restart; but for those that got older stamps of other nodes, which are noted with where they are in the log
 * (uncovered.h). So a cold session needs nothing of the
 * log, and what is written is always a whole one again.
 *
 * A request that needs the fields is parked, as while loading, and the store fetches the record. It takes
 * the cold one's place only if it is the same state of the session; where it is not there, or damaged, the
 * client is told so (DAMAGED), never that there is no session.
 *
 * Where memory is full of what the checkpoint does not have yet, the store is asked to compact now, and
 * whoever wants more memory is answered BUSY: writers go as fast as the disk does. Only once a round has found
 * nothing that can go any more is memory full for good.
 *
 * The hand's work is counted, as in shard_expiry.c. */
#include "cold.h"
#include "record.h"
#include "shard_state.h"

#include <assert.h>

enum {
    SAME_POSITION_MAX = 64, /* More keys than this never share one. */
    COLD_SAVES_MIN = 64,    /* Bytes; less is left as it is. */
    HIGH_PART = 16,         /* Above memory_max less this part of it sessions go... */
    LOW_PART = 8,           /* ... until what they use is this part below... */
    LEAST_PART = 2,         /* ... or, where evacuation does not give back enough, this part. */
    MARK_PART = 4,          /* From this part below on use is marked. */
    AHEAD_PART = 8,  /* Log that the checkpoint lacks beyond this part of memory_max is compacted
                            at once. */
    SWEEP_MAX = 128, /* Records, and room for those that share a position. */
    SWEEP_NS = 150,  /* For one record. */
    SWEEP_CALL_NS = 20000,
    FREEZE_NS = 1500,
};

static const char cold_text[] = "memory is full until more of it is on the disk; try again later";

bool shard_can_freeze(const struct shard *shard)
{
    return shard->options.memory_max != 0 && shard->loader != NULL;
}

static uint64_t mark_of(const struct shard *shard, uint64_t part)
{
    return shard->options.memory_max - shard->options.memory_max / part;
}

/* ---- Room ---- */

bool shard_memory_is_full(const struct shard *shard, bool begins)
{
    uint64_t max = shard->options.memory_max;
    struct keeper_stats stats;

    if (max == 0) {
        return false;
    }
    keeper_stats(shard->keeper, &stats);
    if (stats.memory_bytes > max + max / MEMORY_RESERVE_PART) {
        return true;
    }
    /* What evacuation is still to give back is room all the same. */
    bool used = !shard_can_freeze(shard) || stats.used_bytes > mark_of(shard, HIGH_PART);
    return begins && used && stats.memory_bytes > max;
}

enum status shard_full_status(const struct shard *shard, const char **text)
{
    if (!shard_can_freeze(shard) || !shard->cold.shrinks) {
        return STATUS_MEMORY_FULL;
    }
    *text = cold_text;
    return STATUS_BUSY;
}

/* ---- Freezing ---- */

/* Is all of the record in the checkpoint? */
static bool is_covered(const struct shard *shard, uint64_t position, struct bytes record)
{
    struct record opened;

    return record_open_head(&opened, record, RECORD_FORMAT) == 0 &&
           opened.version.newest.hlc <= shard->cold.covered_hlc &&
           !uncovered_has(&shard->cold.uncovered, position);
}

void shard_note_logged(struct shard *shard, uint64_t position, uint64_t newest_hlc,
                       uint64_t logged_hlc, uint64_t lsn)
{
    if (newest_hlc <= logged_hlc && shard_can_freeze(shard)) {
        uncovered_add(&shard->cold.uncovered, position, lsn);
    }
}

/* Make the cold record of a session in shard->scratch. Returns whether that is worth it. */
static bool make_cold(struct shard *shard, struct bytes record)
{
    if (record.size < COLD_SAVES_MIN || record_is_cold(record) ||
        !shard_glance(shard, record, shard->now_ms).counted) {
        return false;
    }
    uint64_t hash = session_hash(record, shard->options.seed);
    return session_freeze(record, hash, &shard->scratch) == 0 &&
           shard->scratch.size + COLD_SAVES_MIN <= record.size;
}

struct freezing {
    struct shard *shard;
    bool found;
};

static bool freeze_visit(void *context, uint64_t position, struct bytes record)
{
    struct freezing *freezing = context;

    /* What the checkpoint once had not is not left to it again. */
    freezing->found = !record_is_cold(record) && is_covered(freezing->shard, position, record) &&
                      !position_set_has(&freezing->shard->cold.damaged, position) &&
                      make_cold(freezing->shard, record);
    return !freezing->found;
}

/* Whatever of a position can go goes. */
static void freeze_at(struct shard *shard, uint64_t position)
{
    struct freezing freezing = {.shard = shard};

    do {
        freezing.found = false;
        keeper_visit(shard->keeper, position, freeze_visit, &freezing);
        if (freezing.found) {
            if (keeper_set(shard->keeper, position, buffer_bytes(&shard->scratch)) != 0) {
                return; /* No memory for less: another time. */
            }
            shard->stats.cold++;
            shard->stats.frozen++;
            shard->cold.round_frozen++;
        }
    } while (freezing.found);
}

/* ---- The hand ---- */

struct sweep {
    struct shard *shard;
    uint32_t count;
    uint64_t positions[SWEEP_MAX + SAME_POSITION_MAX];
};

static void sweep_visit(void *context, uint64_t position, struct bytes record)
{
    struct sweep *sweep = context;
    struct shard *shard = sweep->shard;

    if (record.size < COLD_SAVES_MIN || record_is_cold(record)) {
        return;
    }
    if (!is_covered(shard, position, record)) {
        shard->cold.round_uncovered++;
    } else if (sweep->count < sizeof sweep->positions / sizeof sweep->positions[0]) {
        sweep->positions[sweep->count++] = position;
    }
}

/* A round is over. Where it did nothing, and left no mark to come back to, the next one waits until the
 * checkpoint has more; but at once where it got more during this one, which passed what it has now. */
static void end_round(struct shard *shard)
{
    struct cold_state *cold = &shard->cold;

    if (cold->round_frozen == 0 && cold->round_marked == 0 && !cold->round_gained) {
        cold->stalled = true;
        cold->shrinks = cold->round_uncovered > 0;
    }
    cold->round_frozen = cold->round_marked = cold->round_uncovered = 0;
    cold->round_gained = false;
}

static void sweep_step(struct shard *shard, uint64_t *budget_ns)
{
    struct cold_state *cold = &shard->cold;
    struct sweep sweep = {.shard = shard};
    uint32_t marked = 0;
    uint64_t max = *budget_ns / (SWEEP_NS + FREEZE_NS);

    max = max < 1 ? 1 : max > SWEEP_MAX ? SWEEP_MAX : max;
    cold->hand =
        keeper_sweep(shard->keeper, cold->hand, (uint32_t)max, sweep_visit, &sweep, &marked);
    cold->round_marked += marked;
    for (uint32_t i = 0; i < sweep.count; i++) {
        freeze_at(shard, sweep.positions[i]);
    }
    uint64_t cost_ns = SWEEP_CALL_NS + max * SWEEP_NS + (uint64_t)sweep.count * FREEZE_NS;
    *budget_ns -= cost_ns < *budget_ns ? cost_ns : *budget_ns;
    if (cold->hand == 0) {
        end_round(shard);
    }
}

/* ---- The store ---- */

/* What the checkpoint has by now. */
static void look_at_covered(struct shard *shard)
{
    struct cold_state *cold = &shard->cold;
    uint64_t lsn = 0, hlc = 0;

    shard->loader->covered(shard->loader, &lsn, &hlc);
    hlc = hlc > cold->stored_hlc ? hlc : cold->stored_hlc;
    if (hlc > cold->covered_hlc) {
        cold->covered_hlc = hlc;
        cold->round_gained = cold->hand != 0;
        cold->stalled = false;
    }
    if (lsn > cold->covered_lsn) {
        cold->covered_lsn = lsn;
        cold->round_gained = cold->hand != 0;
        cold->stalled = false;
        uncovered_advance(&cold->uncovered, lsn);
    }
}

/* Have the log compacted where too much of memory waits for that; one part after the other. */
static void press(struct shard *shard)
{
    struct cold_state *cold = &shard->cold;
    uint64_t ahead = shard->options.memory_max / AHEAD_PART;
    /* Reading cold sessions keeps the hand from stalling; that must not keep writers waiting. */
    bool due =
        cold->freezes && cold->shrinks && (cold->stalled || shard_memory_is_full(shard, true));

    if ((due || shard->appended_lsn > cold->covered_lsn + ahead) &&
        cold->covered_lsn >= cold->pressed_lsn) {
        cold->pressed_lsn = shard->appended_lsn;
        shard->options.log->seal(shard->options.log);
        shard->loader->hurry(shard->loader, shard->appended_lsn);
    }
}

/* ---- The tick's part ---- */

/* Has more to go, once it began? */
static bool is_above(const struct shard *shard)
{
    struct keeper_stats stats;

    keeper_stats(shard->keeper, &stats);
    return stats.used_bytes > mark_of(shard, LOW_PART) ||
           (stats.memory_bytes > shard->options.memory_max &&
            stats.used_bytes > mark_of(shard, LEAST_PART));
}

bool shard_freeze(struct shard *shard, uint64_t *budget_ns)
{
    struct cold_state *cold = &shard->cold;
    struct keeper_stats stats;

    if (!shard_can_freeze(shard)) {
        return false;
    }
    keeper_stats(shard->keeper, &stats);
    cold->marks = stats.memory_bytes > mark_of(shard, MARK_PART);
    if (!cold->marks) {
        cold->freezes = false;
        return false;
    }
    look_at_covered(shard);
    press(shard);
    cold->freezes = cold->freezes || stats.memory_bytes > mark_of(shard, HIGH_PART);
    cold->freezes = cold->freezes && is_above(shard);
    while (cold->freezes && !cold->stalled && *budget_ns >= FREEZE_NS) {
        sweep_step(shard, budget_ns);
        cold->freezes = is_above(shard);
    }
    return cold->freezes && !cold->stalled;
}

/* ---- Coming back ---- */

bool shard_is_lost(const struct shard *shard, const struct request *request)
{
    const struct cold_state *cold = &shard->cold;

    return (cold->answering && request->position == cold->answered) ||
           position_set_has(&cold->damaged, request->position);
}

void shard_await(struct shard *shard, const struct request *request, uint64_t now_us)
{
    if (shard_is_lost(shard, request)) {
        shard_answer_error(shard, request, STATUS_DAMAGED, NULL, now_us);
        return;
    }
    shard->stats.cold_requests++;
    shard_park(shard, request, now_us);
}

int shard_thaw(struct shard *shard, uint64_t position, struct bytes cold, struct bytes stored)
{
    int rc = session_thaw(cold, stored, &shard->scratch);

    if (rc == 0) {
        rc = keeper_set(shard->keeper, position, buffer_bytes(&shard->scratch));
        rc = rc != 0 ? -ENOMEM : 0;
    }
    if (rc == 0) {
        shard->stats.cold--;
        shard->stats.thawed++;
        shard->cold.stalled = false;
        shard->cold.shrinks = true;
        (void)keeper_use(shard->keeper, position, session_key(stored));
    }
    return rc;
}

bool shard_takes_cold(struct shard *shard, struct bytes record)
{
    struct keeper_stats stats;

    if (!shard_can_freeze(shard)) {
        return false;
    }
    keeper_stats(shard->keeper, &stats);
    return stats.used_bytes > shard->cold.load_mark && make_cold(shard, record);
}

static bool missing_visit(void *context, uint64_t position, struct bytes record)
{
    struct shard *shard = context;

    if (record_is_cold(record)) {
        shard->loader->tell(shard->loader, LOAD_STORED, record, -ENODATA);
        (void)position_set_add(&shard->cold.damaged, position);
    }
    return true;
}

void shard_check_fetched(struct shard *shard, uint64_t position)
{
    if (!position_set_has(&shard->cold.damaged, position)) {
        keeper_visit(shard->keeper, position, missing_visit, shard);
    }
}

void shard_refreeze(struct shard *shard, uint64_t position)
{
    if (shard_can_freeze(shard) && shard_memory_is_full(shard, true)) {
        look_at_covered(shard);
        freeze_at(shard, position);
    }
}

/* How much may be taken in whole while loading, so that the log still has room. */
void shard_set_load_mark(struct shard *shard)
{
    uint64_t max = shard->options.memory_max, log_bytes = shard->loader->log_bytes;

    log_bytes = log_bytes > max / 2 ? max / 2 : log_bytes;
    shard->cold.load_mark = mark_of(shard, LOW_PART) - log_bytes;
}
