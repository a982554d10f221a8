#include "archiver.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum {
    STEP_MS_MAX = 1000,
    LOOK_MS = 100, /* While something is behind: its age is known as exactly as that. */
    SOON_MS = 50,
    DURABLE_MS = 2, /* Until the log is looked at again. */
    STORE_MS_MIN =
        2,           /* Where storing takes less than that, waiting for others would take longer. */
    GATHER_PART = 4, /* Of what storing took... */
    GATHER_MS = 3,   /* ... and this, for answers to go out and writes to come and be durable. */
};

void archiver_init(struct archiver *archiver, const struct archiver_settings *settings,
                   struct archiver_port *port, uint64_t sequence, uint64_t now_ms)
{
    assert(settings->shard_count > 0 && settings->shard_count <= ARCHIVER_SHARDS_MAX);
    memset(archiver, 0, sizeof *archiver);
    archiver->settings = *settings;
    archiver->port = port;
    archiver->sequence = sequence;
    archiver->begun_ms = archiver->kept_ms = now_ms;
    archiver->pause_ms = settings->pause_ms;
    for (uint32_t i = 0; i < settings->shard_count; i++) {
        archiver->shards[i].times[0].ms = now_ms;
        archiver->shards[i].time_count = 1;
    }
}

void archiver_begin(struct archiver *archiver, uint32_t shard, uint64_t archived, uint64_t durable)
{
    struct archiver_shard *to = &archiver->shards[shard];

    to->archived = to->to = to->times[0].lsn = archived;
    to->durable = to->appended = durable;
}

static void lift(uint64_t *number, uint64_t to)
{
    *number = to > *number ? to : *number;
}

void archiver_reach(struct archiver *archiver, uint32_t shard, uint64_t wanted, uint64_t durable,
                    uint64_t appended)
{
    struct archiver_shard *to = &archiver->shards[shard];

    lift(&to->wanted, wanted);
    lift(&to->durable, durable);
    lift(&to->appended, appended);
}

void archiver_asked(struct archiver *archiver, uint64_t writes)
{
    lift(&archiver->asked, writes);
}

/* ---- When ---- */

static uint64_t behind(const struct archiver_shard *shard)
{
    return shard->durable > shard->archived ? shard->durable - shard->archived : 0;
}

uint64_t archiver_behind_bytes(const struct archiver *archiver)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < archiver->settings.shard_count; i++) {
        const struct archiver_shard *shard = &archiver->shards[i];
        bytes += shard->appended > shard->archived ? shard->appended - shard->archived : 0;
    }
    return bytes;
}

uint64_t archiver_behind_ms(const struct archiver *archiver, uint64_t now_ms)
{
    uint64_t most_ms = 0;

    for (uint32_t i = 0; i < archiver->settings.shard_count; i++) {
        const struct archiver_shard *shard = &archiver->shards[i];
        if (shard->appended > shard->archived && now_ms > shard->times[0].ms) {
            lift(&most_ms, now_ms - shard->times[0].ms);
        }
    }
    return most_ms;
}

/* Times before what is archived are of no use any more, but for the last. */
static void drop_times(struct archiver_shard *shard)
{
    uint32_t first = 0;

    while (first + 1 < shard->time_count && shard->times[first + 1].lsn <= shard->archived) {
        first++;
    }
    shard->time_count -= first;
    memmove(shard->times, shard->times + first, shard->time_count * sizeof shard->times[0]);
}

/* Every second one of them. */
static void thin_times(struct archiver_shard *shard)
{
    shard->time_count /= 2;
    for (uint32_t i = 0; i < shard->time_count; i++) {
        shard->times[i] = shard->times[2 * i];
    }
}

static void add_time(struct archiver_shard *shard, uint64_t lsn, uint64_t now_ms)
{
    const struct archiver_time *last = &shard->times[shard->time_count - 1];

    if (shard->time_count > 1 &&
        (now_ms - last->ms) * (ARCHIVER_TIMES / 2) < now_ms - shard->times[0].ms) {
        return;
    }
    if (shard->time_count == ARCHIVER_TIMES) {
        thin_times(shard);
    }
    shard->times[shard->time_count++] = (struct archiver_time){lsn, now_ms};
}

/* Nothing that comes later is older than now. */
static void note_time(struct archiver *archiver, uint64_t now_ms)
{
    for (uint32_t i = 0; i < archiver->settings.shard_count; i++) {
        struct archiver_shard *shard = &archiver->shards[i];
        struct archiver_time *last = &shard->times[shard->time_count - 1];
        uint64_t end = shard->appended > shard->archived ? shard->appended : shard->archived;
        if (last->lsn == end) {
            last->ms = now_ms;
        } else {
            add_time(shard, end, now_ms);
        }
        drop_times(shard);
    }
}

/* Are more writes to come before an object begins for those that wait? */
static bool gathers(const struct archiver *archiver, uint64_t now_ms)
{
    return now_ms < archiver->gather_until_ms &&
           archiver->asked - archiver->asked_stored < archiver->group;
}

static void gather(struct archiver *archiver, uint64_t took_us, uint64_t now_ms)
{
    uint64_t took_ms = took_us / 1000, wait_ms = GATHER_MS + took_ms / GATHER_PART;

    if (wait_ms > archiver->settings.gather_ms_max) {
        wait_ms = archiver->settings.gather_ms_max;
    }
    archiver->group = archiver->asked - archiver->asked_stored;
    archiver->gather_until_ms = took_ms < STORE_MS_MIN ? now_ms : now_ms + wait_ms;
}

static bool is_due(const struct archiver *archiver, uint64_t now_ms)
{
    uint64_t bytes = 0;
    bool wanted = archiver->ending, gathered = !gathers(archiver, now_ms);

    for (uint32_t i = 0; i < archiver->settings.shard_count; i++) {
        const struct archiver_shard *shard = &archiver->shards[i];
        bytes += behind(shard);
        wanted = wanted || (gathered && shard->wanted > shard->archived);
    }
    return archiver->tails ||
           (bytes > 0 && (wanted || bytes >= archiver->settings.object_bytes ||
                          now_ms - archiver->begun_ms >= archiver->settings.flush_ms));
}

void archiver_tails(struct archiver *archiver, bool due)
{
    archiver->tails = due;
}

static bool must_keep(const struct archiver *archiver, uint64_t now_ms)
{
    return archiver->moved && (now_ms - archiver->kept_ms >= archiver->settings.keep_ms ||
                               (archiver->ending && !is_due(archiver, now_ms)));
}

static void build(struct archiver *archiver, uint64_t now_ms)
{
    archiver->state = ARCHIVER_BUILDING;
    archiver->begun_ms = now_ms;
    archiver->asked_built = archiver->asked;
    archiver->port->build(archiver->port, archiver->sequence, archiver->anew, archiver->bare);
}

static void wait_for(struct archiver *archiver, bool building_next, uint64_t pause_ms,
                     uint64_t now_ms)
{
    archiver->state = ARCHIVER_PAUSING;
    archiver->building_next = building_next;
    archiver->until_ms = now_ms + pause_ms;
}

/* Is all durable that is in the object? */
static bool is_durable(const struct archiver *archiver)
{
    uint32_t shard = 0;

    while (shard < archiver->settings.shard_count &&
           archiver->shards[shard].durable >= archiver->shards[shard].needs) {
        shard++;
    }
    return shard == archiver->settings.shard_count;
}

static void store(struct archiver *archiver, uint64_t now_ms)
{
    if (!is_durable(archiver)) {
        wait_for(archiver, false, DURABLE_MS, now_ms);
        return;
    }
    archiver->state = ARCHIVER_STORING;
    archiver->store_ms = now_ms;
    archiver->port->store(archiver->port);
}

void archiver_trouble(struct archiver *archiver, const char *text, uint64_t now_ms)
{
    size_t size = strnlen(text, sizeof archiver->text - 1);

    memmove(archiver->text, text, size);
    archiver->text[size] = '\0';
    if (archiver->away_ms == 0) {
        archiver->away_ms = now_ms == 0 ? 1 : now_ms;
        archiver->probe_ms = now_ms + archiver->settings.pause_max_ms;
        archiver->port->away(archiver->port, archiver->text);
    }
}

uint64_t archiver_step(struct archiver *archiver, uint64_t now_ms)
{
    note_time(archiver, now_ms);
    if (archiver->state == ARCHIVER_PAUSING) {
        if (now_ms < archiver->until_ms) {
            return archiver->until_ms - now_ms;
        }
        if (archiver->building_next) {
            build(archiver, now_ms);
        } else {
            store(archiver, now_ms);
        }
    }
    if (archiver->state == ARCHIVER_PAUSING) {
        return archiver->until_ms - now_ms;
    }
    if (archiver->state == ARCHIVER_STORING && archiver->away_ms == 0 &&
        now_ms - archiver->store_ms >= archiver->settings.slow_ms) {
        archiver_trouble(archiver, "an object is being stored, and there is no end of it yet",
                         now_ms);
    }
    if (archiver->state != ARCHIVER_IDLE) {
        return STEP_MS_MAX;
    }
    if (must_keep(archiver, now_ms)) {
        archiver->state = ARCHIVER_KEEPING;
        archiver->kept_ms = now_ms;
        archiver->moved = false;
        archiver->port->keep(archiver->port);
        return STEP_MS_MAX;
    }
    if (is_due(archiver, now_ms)) {
        build(archiver, now_ms);
        return STEP_MS_MAX;
    }
    if (archiver->away_ms != 0 && !archiver->probing && !archiver->ending &&
        now_ms >= archiver->probe_ms) {
        archiver->probing = true;
        archiver->port->probe(archiver->port);
    }
    uint64_t passed_ms = now_ms - archiver->begun_ms;
    uint64_t left_ms =
        archiver->settings.flush_ms > passed_ms ? archiver->settings.flush_ms - passed_ms : SOON_MS;
    if (gathers(archiver, now_ms) && archiver->gather_until_ms - now_ms < left_ms) {
        left_ms = archiver->gather_until_ms - now_ms;
    }
    uint64_t most_ms = archiver_behind_bytes(archiver) > 0 ? LOOK_MS : STEP_MS_MAX;
    return left_ms < most_ms ? left_ms : most_ms;
}

/* ---- What came of it ---- */

/* Another try later, the later the more came to nothing. */
static void fail(struct archiver *archiver, bool building_next, const char *text, uint64_t now_ms)
{
    archiver->figures.failures++;
    archiver_trouble(archiver, text, now_ms);
    wait_for(archiver, building_next, archiver->pause_ms, now_ms);
    archiver->pause_ms *= 2;
    if (archiver->pause_ms > archiver->settings.pause_max_ms) {
        archiver->pause_ms = archiver->settings.pause_max_ms;
    }
}

static void well(struct archiver *archiver)
{
    archiver->pause_ms = archiver->settings.pause_ms;
    if (archiver->away_ms != 0) {
        archiver->away_ms = 0;
        archiver->port->away(archiver->port, NULL);
    }
}

/* The archive has what was built. */
static void advance(struct archiver *archiver)
{
    archiver->state = ARCHIVER_IDLE;
    archiver->anew = archiver->left_out = false;
    archiver->asked_stored = archiver->asked_built;
    archiver->figures.gap_bytes += archiver->built.gap_bytes;
    archiver->figures.baseless += archiver->built.baseless;
    if (archiver->built.gap_bytes > 0) {
        archiver->port->lost(archiver->port);
        archiver->port->alarm(archiver->port,
                              "some of the log was given up or is damaged, and is not in it: "
                              "see archive.backlog");
    }
    for (uint32_t i = 0; i < archiver->settings.shard_count; i++) {
        struct archiver_shard *shard = &archiver->shards[i];
        if (shard->to > shard->archived) {
            shard->archived = shard->to;
            drop_times(shard);
            archiver->moved = true;
            archiver->port->archived(archiver->port, i, shard->archived);
        }
    }
}

void archiver_built(struct archiver *archiver, const struct archiver_built *built, uint64_t now_ms)
{
    assert(archiver->state == ARCHIVER_BUILDING);
    if (built->rc == -EAGAIN) {
        archiver->anew = true;
        wait_for(archiver, true, SOON_MS, now_ms);
        return;
    }
    if (built->rc != 0) {
        archiver->anew = true;
        fail(archiver, true, strerror(-built->rc), now_ms);
        return;
    }
    if (built->gap_bytes > 0 && !archiver->left_out) {
        archiver->anew = archiver->bare = true;
        build(archiver, now_ms);
        return;
    }
    archiver->built = *built;
    for (uint32_t i = 0; i < archiver->settings.shard_count; i++) {
        archiver->shards[i].to = built->to[i];
        archiver->shards[i].needs = built->needs[i];
    }
    archiver->built.to = archiver->built.needs = NULL;
    if (built->records == 0 && !archiver->bare) {
        archiver->port->passed(archiver->port);
        advance(archiver);
    } else {
        store(archiver, now_ms);
    }
}

/* It is behind the number that is left out that what comes next belongs. */
static void leave_out(struct archiver *archiver, uint64_t now_ms)
{
    archiver->sequence++;
    archiver->bare = false;
    archiver->left_out = true;
    build(archiver, now_ms);
}

void archiver_stored(struct archiver *archiver, int rc, const char *text, uint64_t now_ms,
                     uint64_t took_us)
{
    assert(archiver->state == ARCHIVER_STORING);
    if (rc == -EEXIST) {
        archiver->figures.conflicts++;
        archiver->port->alarm(archiver->port,
                              "its next object's name is taken by another object, which stays: "
                              "does a copy of this node's data directory run?");
        archiver->sequence++;
        archiver->anew = true;
        build(archiver, now_ms);
        return;
    }
    if (rc != 0) {
        fail(archiver, false, text, now_ms);
        return;
    }
    histogram_record(&archiver->figures.store_us, took_us);
    archiver->figures.objects++;
    archiver->figures.records += archiver->built.records;
    archiver->figures.raw_bytes += archiver->built.raw_bytes;
    archiver->figures.object_bytes += archiver->built.object_bytes;
    archiver->figures.stored_ms = now_ms;
    archiver->sequence++;
    well(archiver);
    if (archiver->bare) {
        leave_out(archiver, now_ms);
        return;
    }
    gather(archiver, took_us, now_ms);
    advance(archiver);
}

void archiver_kept(struct archiver *archiver, int rc, uint64_t now_ms)
{
    assert(archiver->state == ARCHIVER_KEEPING);
    archiver->state = ARCHIVER_IDLE;
    archiver->kept_ms = now_ms;
    archiver->moved = archiver->moved || rc != 0;
}

void archiver_probed(struct archiver *archiver, int rc, const char *text, uint64_t now_ms)
{
    assert(archiver->probing);
    archiver->probing = false;
    archiver->probe_ms = now_ms + archiver->settings.pause_max_ms;
    if (rc != 0) {
        archiver_trouble(archiver, text, now_ms);
    } else if (archiver->state == ARCHIVER_IDLE) { /* Else what is under way tells. */
        well(archiver);
    }
}

void archiver_end(struct archiver *archiver)
{
    archiver->ending = true;
}

bool archiver_is_done(const struct archiver *archiver)
{
    bool behind_any = false;

    for (uint32_t i = 0; i < archiver->settings.shard_count; i++) {
        behind_any = behind_any || behind(&archiver->shards[i]) > 0;
    }
    return archiver->state == ARCHIVER_IDLE && !behind_any && !archiver->moved;
}
