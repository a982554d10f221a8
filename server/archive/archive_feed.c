#include "archive_feed.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "adopt.h"
#include "log_format.h"
#include "record.h"
#include "rename.h"
#include "session.h"

/* A delta that waits to be settled. */
struct held {
    uint64_t lsn, position;
    size_t at, size;       /* Of its body. */
    const uint8_t *bodies; /* For sorting. */
};

void archive_feed_init(struct archive_feed *feed, struct memory *memory,
                       struct archive_writer *writer, struct actor self)
{
    *feed = (struct archive_feed){
        .memory = memory,
        .writer = writer,
        .self = self,
        .notes = {.memory = memory},
        .held = {.memory = memory},
        .bodies = {.memory = memory},
    };
    position_set_init(&feed->bases, memory);
    position_set_init(&feed->others, memory);
}

static void forget(struct archive_feed *feed)
{
    position_set_fini(&feed->bases);
    position_set_fini(&feed->others);
    position_set_init(&feed->bases, feed->memory);
    position_set_init(&feed->others, feed->memory);
}

void archive_feed_fini(struct archive_feed *feed)
{
    forget(feed);
    buffer_fini(&feed->notes);
    buffer_fini(&feed->held);
    buffer_fini(&feed->bodies);
}

void archive_feed_begin(struct archive_feed *feed, bool anew,
                        const struct archive_feed_taken taken[], uint32_t taken_count)
{
    if (anew || feed->bases.count > ARCHIVE_FEED_BASES_MAX ||
        feed->others.count > ARCHIVE_FEED_BASES_MAX) {
        forget(feed);
    }
    feed->held.size = feed->bodies.size = feed->notes.size = 0;
    feed->baseless = feed->taken_records = 0;
    feed->taken = taken;
    feed->taken_count = taken_count;
    archive_feed_shard(feed, 0, 0);
}

void archive_feed_shard(struct archive_feed *feed, uint32_t shard, uint64_t own_lsn)
{
    feed->shard = shard;
    feed->own_lsn = own_lsn;
    feed->own_hlc = 0;
    feed->notes_at = feed->notes.size;
}

void archive_feed_lost(struct archive_feed *feed)
{
    forget(feed);
}

static int add(struct archive_feed *feed, uint8_t kind, uint64_t position, struct bytes body,
               struct stamp newest)
{
    const struct archive_record record = {.kind = kind, .position = position, .body = body};

    return archive_writer_add(feed->writer, &record, newest);
}

/* A whole record. Deltas are to build on all that it has, also on what other nodes stamped, which these may not have archived
 * yet, and on what this node did in an earlier life, which a crash may have lost here before others brought it back: a
 * checkpoint that has not seen that stands in for nothing. */
static int add_whole(struct archive_feed *feed, uint8_t kind, uint64_t position, struct bytes body,
                     struct stamp newest)
{
    struct record opened;
    struct version_item item;

    int rc = add(feed, kind, position, body, newest);
    if (rc != 0 || record_open_head(&opened, body, RECORD_FORMAT) != 0) {
        return rc;
    }
    struct version_walk walk = version_walk(&opened.version);
    while (rc == 0 && version_next(&walk, &item)) {
        const struct stamp stamp = {item.hlc, item.actor};
        bool own = actor_is_of(item.actor, feed->self);
        if (item.hlc != 0 && !own && item.actor.node < ADOPT_NODES &&
            stamp_compare(stamp, newest) != 0) {
            rc = archive_writer_note(feed->writer, stamp);
        }
    }
    return rc;
}

static int hold(struct archive_feed *feed, uint64_t lsn, uint64_t position, struct bytes body)
{
    const struct held held = {
        .lsn = lsn, .position = position, .at = feed->bodies.size, .size = body.size};

    int rc = buffer_reserve(&feed->bodies, body.size);
    if (rc == 0) {
        rc = buffer_append(&feed->held, bytes_of(&held, sizeof held));
    }
    return rc != 0 ? rc : buffer_append(&feed->bodies, body);
}

/* ---- What others stamped ---- */

static int note(struct archive_feed *feed, uint64_t lsn, struct stamp newest)
{
    struct archive_feed_note *notes = (struct archive_feed_note *)(void *)feed->notes.data;
    size_t i = feed->notes_at / sizeof *notes, count = feed->notes.size / sizeof *notes;

    while (i < count && !actor_is_of(newest.actor, notes[i].actor)) {
        i++;
    }
    if (i == count) {
        const struct archive_feed_note first = {
            .shard = feed->shard,
            .actor = actor_life(newest.actor),
            .first_lsn = lsn,
            .last_lsn = lsn,
            .newest_hlc = newest.hlc,
        };
        return buffer_append(&feed->notes, bytes_of(&first, sizeof first));
    }
    notes[i].last_lsn = lsn;
    notes[i].newest_hlc = newest.hlc > notes[i].newest_hlc ? newest.hlc : notes[i].newest_hlc;
    return 0;
}

static bool is_taken(const struct archive_feed *feed, struct stamp newest)
{
    bool rest = false;

    for (uint32_t i = 0; i < feed->taken_count; i++) {
        if (actor_is_of(newest.actor, feed->taken[i].actor)) {
            return newest.hlc > feed->taken[i].hlc;
        }
        rest = rest || feed->taken[i].actor.node == 0;
    }
    return rest;
}

/* Nothing may build on it here, whether it goes or not. */
static int pass(struct archive_feed *feed, uint64_t lsn, uint8_t kind, uint64_t position,
                struct bytes body, struct stamp newest)
{
    int rc = note(feed, lsn, newest);

    rc = rc != 0 ? rc : position_set_add(&feed->others, position);
    if (rc != 0 || !is_taken(feed, newest)) {
        return rc;
    }
    rc = kind == LOG_DELTA ? hold(feed, lsn, position, body)
                           : add(feed, kind, position, body, newest);
    feed->taken_records += rc == 0;
    return rc;
}

/* ---- A record ---- */

/* Without memory for a position its session goes whole more often; what came from elsewhere must be noted. */
static int take(struct archive_feed *feed, uint64_t lsn, uint8_t kind, uint64_t position,
                struct bytes body)
{
    struct stamp newest;

    if (kind == LOG_TOUCH || kind == LOG_DROP || kind == LOG_MARK) {
        return 0;
    }
    if (rename_is_journal(session_key(body))) {
        return 0;
    }
    if (!session_newest(body, &newest)) {
        return -EBADMSG;
    }
    if (newest.actor.node != feed->self.node && newest.actor.node < ADOPT_NODES) {
        return pass(feed, lsn, kind, position, body, newest);
    }
    if (actor_is_of(newest.actor, feed->self) && newest.hlc > feed->record_hlc) {
        feed->record_hlc = newest.hlc;
    }
    if (lsn < feed->own_lsn) {
        return 0;
    }
    bool whole = kind != LOG_DELTA;
    if (!whole &&
        (!position_set_has(&feed->bases, position) || position_set_has(&feed->others, position))) {
        return hold(feed, lsn, position, body);
    }
    if (!whole) {
        return add(feed, kind, position, body, newest);
    }
    int rc = add_whole(feed, kind, position, body, newest);
    if (rc == 0) {
        (void)position_set_add(&feed->bases, position);
    }
    return rc;
}

int archive_feed_record(struct archive_feed *feed, uint64_t lsn, uint8_t kind, uint64_t position,
                        struct bytes body)
{
    struct reader batch = reader_of(body);
    struct log_batch_item item;
    int rc = 0;

    feed->record_hlc = 0;
    if (kind != LOG_BATCH) {
        rc = take(feed, lsn, kind, position, body);
    } else {
        while (rc == 0 && (rc = log_batch_next(&batch, &item)) == 1) {
            rc = take(feed, lsn, item.kind, item.position, item.body);
        }
    }
    if (rc == 0 && feed->record_hlc > feed->own_hlc) {
        feed->own_hlc = feed->record_hlc;
    }
    return rc;
}

/* ---- Settling ---- */

static struct bytes body_of(const struct archive_feed *feed, const struct held *held)
{
    return bytes_of(feed->bodies.data + held->at, held->size);
}

static struct bytes key_of(const struct archive_feed *feed, const struct held *held)
{
    return session_key(body_of(feed, held));
}

static int compare_held(const void *left, const void *right)
{
    const struct held *a = left, *b = right;

    if (a->position != b->position) {
        return a->position < b->position ? -1 : 1;
    }
    int order = bytes_compare(session_key(bytes_of(a->bodies + a->at, a->size)),
                              session_key(bytes_of(b->bodies + b->at, b->size)));
    return order != 0 ? order : (a->lsn > b->lsn) - (a->lsn < b->lsn);
}

/* One session's deltas: from `first` up to `end`. */
struct deltas {
    size_t first, end;
};

static int settle_group(struct archive_feed *feed, const struct held *all, struct deltas group,
                        const struct archive_feed_ask *ask, uint64_t *lsn)
{
    struct stamp newest;
    int rc = 0;

    if (ask->found == ARCHIVE_FEED_WHOLE && session_newest(ask->record, &newest)) {
        rc = add_whole(feed, LOG_FULL, ask->position, ask->record, newest);
        for (size_t i = group.first; i < group.end && rc == 0; i++) {
            (void)session_newest(body_of(feed, &all[i]), &newest); /* It was read before. */
            rc = archive_writer_note(feed->writer, newest);
        }
        if (rc == 0) {
            (void)position_set_add(&feed->bases, ask->position);
        }
    } else if (ask->found == ARCHIVE_FEED_NONE) {
        for (size_t i = group.first; i < group.end && rc == 0; i++) {
            struct bytes body = body_of(feed, &all[i]);
            (void)session_newest(body, &newest); /* It was read before. */
            rc = add(feed, LOG_DELTA, ask->position, body, newest);
            feed->baseless += rc == 0;
        }
    } else {
        rc = -EAGAIN;
    }
    if (rc == -EAGAIN || rc == -EFBIG) {
        *lsn = all[group.first].lsn < *lsn ? all[group.first].lsn : *lsn;
        return 0;
    }
    return rc;
}

int archive_feed_settle(struct archive_feed *feed, struct archive_feed_source *source,
                        uint64_t *lsn)
{
    struct held *all = (struct held *)(void *)feed->held.data;
    size_t count = feed->held.size / sizeof *all;
    struct archive_feed_ask asks[ARCHIVE_FEED_ASKS_MAX];
    struct deltas groups[ARCHIVE_FEED_ASKS_MAX];
    int rc = 0;

    for (size_t i = 0; i < count; i++) {
        all[i].bodies = feed->bodies.data;
    }
    if (count > 0) {
        qsort(all, count, sizeof *all, compare_held);
    }
    for (size_t at = 0; at < count && rc == 0;) {
        uint32_t ask_count = 0;
        for (; at < count && ask_count < ARCHIVE_FEED_ASKS_MAX; ask_count++) {
            struct deltas *group = &groups[ask_count];
            *group = (struct deltas){at, at + 1};
            struct bytes key = key_of(feed, &all[at]);
            while (group->end < count && all[group->end].position == all[at].position &&
                   bytes_equal(key_of(feed, &all[group->end]), key)) {
                group->end++;
            }
            asks[ask_count] = (struct archive_feed_ask){
                .position = all[at].position, .key = key, .found = ARCHIVE_FEED_UNKNOWN};
            at = group->end;
        }
        rc = source->ask(source, asks, ask_count);
        for (uint32_t i = 0; i < ask_count && rc == 0; i++) {
            rc = settle_group(feed, all, groups[i], &asks[i], lsn);
        }
    }
    feed->held.size = feed->bodies.size = 0;
    return rc;
}
