#include "archive_tails.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "adopt.h"

static void lift(uint64_t *number, uint64_t to)
{
    *number = to > *number ? to : *number;
}

static void lower(uint64_t *number, uint64_t to)
{
    *number = to < *number ? to : *number;
}

void archive_tails_init(struct archive_tails *tails, struct memory *memory,
                        const struct archive_tails_settings *settings)
{
    assert(settings->shard_count > 0 && settings->shard_count <= ARCHIVE_TAILS_SHARDS_MAX);
    memset(tails, 0, sizeof *tails);
    tails->memory = memory;
    tails->settings = *settings;
    for (uint32_t i = 0; i < settings->shard_count; i++) {
        tails->shards[i].again = tails->shards[i].building = UINT64_MAX;
    }
}

static size_t tails_bytes(const struct archive_tails *tails)
{
    return tails->settings.shard_count * sizeof(struct archive_tail);
}

static void drop_marks(const struct archive_tails *tails, struct archive_tail_actor *actor)
{
    if (actor->tails != NULL) {
        tails->memory->resize(tails->memory, actor->tails, tails_bytes(tails), 0);
        actor->tails = NULL;
    }
}

void archive_tails_fini(struct archive_tails *tails)
{
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        drop_marks(tails, &tails->actors[i]);
    }
    tails->actor_count = 0;
}

/* ---- Actors ---- */

static uint32_t marks_of(const struct archive_tails *tails, const struct archive_tail_actor *actor)
{
    uint32_t count = 0;

    for (uint32_t i = 0; actor->tails != NULL && i < tails->settings.shard_count; i++) {
        count += actor->tails[i].count;
    }
    return count;
}

static bool is_rest(const struct archive_tail_actor *actor)
{
    return actor->actor.node == 0;
}

static struct archive_tail_actor *find(struct archive_tails *tails, struct actor wanted)
{
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        if (actor_compare(tails->actors[i].actor, wanted) == 0) {
            return &tails->actors[i];
        }
    }
    return NULL;
}

/* A place for one more: a new one, or that of one that is over and has no marks. NULL: there is none. */
static struct archive_tail_actor *place(struct archive_tails *tails)
{
    bool has_rest = find(tails, (struct actor){0, 0}) != NULL;

    if (tails->actor_count < ARCHIVE_TAILS_ACTORS_MAX + (uint32_t)has_rest) {
        return &tails->actors[tails->actor_count++];
    }
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        struct archive_tail_actor *actor = &tails->actors[i];
        if ((actor->down || actor->ended) && !is_rest(actor) && marks_of(tails, actor) == 0) {
            drop_marks(tails, actor);
            return actor;
        }
    }
    return NULL;
}

/* Of the lives of a node all but the last one have ended. */
static void end_lives(struct archive_tails *tails, struct archive_tail_actor *newcomer)
{
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        struct archive_tail_actor *other = &tails->actors[i];
        if (other->actor.node == newcomer->actor.node) {
            other->ended = other->ended || other->actor.start < newcomer->actor.start;
            newcomer->ended = newcomer->ended || newcomer->actor.start < other->actor.start;
        }
    }
}

/* Found or made; NULL: there is no place. */
static struct archive_tail_actor *find_or_make(struct archive_tails *tails, struct actor wanted,
                                               uint64_t now_ms)
{
    struct archive_tail_actor *actor = find(tails, wanted);

    if (actor == NULL) {
        actor = place(tails);
        if (actor != NULL) {
            *actor = (struct archive_tail_actor){.actor = wanted, .moved_ms = now_ms};
            end_lives(tails, actor);
        }
    }
    return actor;
}

/* What has no place of its own is of these. */
static struct archive_tail_actor *find_or_make_rest(struct archive_tails *tails)
{
    struct archive_tail_actor *rest = find(tails, (struct actor){0, 0});

    if (rest == NULL) {
        assert(tails->actor_count < ARCHIVE_TAILS_TAKEN_MAX);
        rest = &tails->actors[tails->actor_count++];
        *rest = (struct archive_tail_actor){.ended = true};
    }
    return rest;
}

/* ---- Marks ---- */

static void add_mark(const struct archive_tails *tails, struct archive_tail *tail,
                     const struct archive_feed_note *note, uint64_t first_lsn, uint64_t now_ms)
{
    struct archive_tail_mark *last = tail->count == 0 ? NULL : &tail->marks[tail->count - 1];

    if (last != NULL && (tail->count == ARCHIVE_TAIL_MARKS_MAX ||
                         now_ms - last->since_ms < tails->settings.mark_ms)) {
        lift(&last->last_lsn, note->last_lsn);
        lift(&last->newest_hlc, note->newest_hlc);
        return;
    }
    tail->marks[tail->count++] = (struct archive_tail_mark){
        .first_lsn = first_lsn,
        .last_lsn = note->last_lsn,
        .newest_hlc = note->newest_hlc,
        .since_ms = now_ms,
    };
}

static void pop_mark(struct archive_tail *tail)
{
    tail->count--;
    memmove(tail->marks, tail->marks + 1, tail->count * sizeof tail->marks[0]);
}

int archive_tails_note(struct archive_tails *tails, const struct archive_feed_note *note,
                       uint64_t now_ms)
{
    struct archive_tails_shard *shard = &tails->shards[note->shard];
    uint64_t first_lsn = note->first_lsn;

    if (note->last_lsn < shard->noted) {
        return 0;
    }
    struct archive_tail_actor *actor = find_or_make(tails, note->actor, now_ms);
    if (actor == NULL) {
        actor = find_or_make_rest(tails);
    }
    if (note->newest_hlc <= actor->has_hlc) {
        return 0;
    }
    if (actor->tails == NULL) {
        actor->tails = tails->memory->resize(tails->memory, NULL, 0, tails_bytes(tails));
        if (actor->tails == NULL) {
            return -ENOMEM;
        }
        memset(actor->tails, 0, tails_bytes(tails));
    }
    lift(&first_lsn, shard->noted); /* What lies before that is in an older mark, or goes. */
    add_mark(tails, &actor->tails[note->shard], note, first_lsn, now_ms);
    if (actor->taken && !actor->building) { /* The walk that found it did not take it. */
        lower(&shard->again, first_lsn);
    }
    return 0;
}

void archive_tails_walked(struct archive_tails *tails, uint32_t shard, uint64_t lsn)
{
    lift(&tails->shards[shard].noted, lsn);
}

/* ---- Objects ---- */

uint32_t archive_tails_build(struct archive_tails *tails, uint64_t from[],
                             struct archive_feed_taken taken[ARCHIVE_TAILS_TAKEN_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        struct archive_tails_shard *shard = &tails->shards[i];
        lower(&shard->building, shard->again);
        shard->again = UINT64_MAX;
        shard->archived = from[i];
        lower(&from[i], shard->building);
    }
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        struct archive_tail_actor *actor = &tails->actors[i];
        actor->building = actor->taken;
        if (actor->taken) {
            taken[count++] = (struct archive_feed_taken){actor->actor, actor->has_hlc};
        }
    }
    return count;
}

void archive_tails_stored(struct archive_tails *tails, const uint64_t to[])
{
    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        struct archive_tails_shard *shard = &tails->shards[i];
        if (shard->building != UINT64_MAX && to[i] < shard->archived) {
            lower(&shard->again, to[i]); /* The rest of it. */
        }
        shard->building = UINT64_MAX;
        for (uint32_t j = 0; j < tails->actor_count; j++) {
            struct archive_tail_actor *actor = &tails->actors[j];
            struct archive_tail *tail = actor->tails == NULL ? NULL : &actor->tails[i];
            while (actor->building && tail != NULL && tail->count > 0 &&
                   tail->marks[0].last_lsn < to[i]) {
                pop_mark(tail);
            }
        }
    }
    for (uint32_t j = 0; j < tails->actor_count; j++) {
        tails->actors[j].building = false;
    }
}

uint64_t archive_tails_begin(const struct archive_tails *tails, uint32_t shard, uint64_t archived)
{
    uint64_t begin = archived;

    lower(&begin, tails->shards[shard].again);
    lower(&begin, tails->shards[shard].building);
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        const struct archive_tail_actor *actor = &tails->actors[i];
        if (actor->tails != NULL && actor->tails[shard].count > 0) {
            lower(&begin, actor->tails[shard].marks[0].first_lsn);
        }
    }
    return begin;
}

/* ---- The others ---- */

static bool is_other(const struct archive_tails *tails, struct actor actor)
{
    return actor.node != 0 && actor.node != tails->settings.self.node && actor.node < ADOPT_NODES;
}

bool archive_tails_has(struct archive_tails *tails, struct actor of, uint64_t hlc, uint64_t now_ms)
{
    struct archive_tail_actor *actor =
        hlc != 0 && is_other(tails, of) ? find_or_make(tails, of, now_ms) : NULL;

    if (actor == NULL || hlc <= actor->has_hlc) {
        return false;
    }
    actor->has_hlc = hlc;
    actor->moved_ms = now_ms;
    actor->taken = false;
    for (uint32_t i = 0; actor->tails != NULL && i < tails->settings.shard_count; i++) {
        struct archive_tail *tail = &actor->tails[i];
        while (tail->count > 0 && tail->marks[0].newest_hlc <= hlc) {
            pop_mark(tail);
        }
    }
    return true;
}

void archive_tails_down(struct archive_tails *tails, uint32_t index, bool down)
{
    tails->actors[index].down = down;
}

/* When its oldest mark was noted; UINT64_MAX: it has none. */
static uint64_t oldest_ms(const struct archive_tails *tails, const struct archive_tail_actor *actor)
{
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; actor->tails != NULL && i < tails->settings.shard_count; i++) {
        if (actor->tails[i].count > 0) {
            lower(&oldest, actor->tails[i].marks[0].since_ms);
        }
    }
    return oldest;
}

static void take(struct archive_tails *tails, struct archive_tail_actor *actor)
{
    actor->taken = true;
    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        if (actor->tails[i].count > 0) {
            lower(&tails->shards[i].again, actor->tails[i].marks[0].first_lsn);
        }
    }
}

bool archive_tails_step(struct archive_tails *tails, bool away, uint64_t now_ms)
{
    bool due = false;

    for (uint32_t i = 0; i < tails->actor_count; i++) {
        struct archive_tail_actor *actor = &tails->actors[i];
        uint64_t since_ms = oldest_ms(tails, actor);
        if (away) {
            actor->moved_ms = now_ms;
        }
        if (is_rest(actor) && since_ms == UINT64_MAX) {
            actor->taken = false; /* For what comes of it there is room now, perhaps. */
        }
        if (actor->taken || since_ms == UINT64_MAX) {
            continue;
        }
        lift(&since_ms, actor->moved_ms);
        if (actor->down || actor->ended || now_ms - since_ms >= tails->settings.behind_ms) {
            take(tails, actor);
        }
    }
    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        due = due || tails->shards[i].again != UINT64_MAX;
    }
    return due;
}

static bool is_archived_here(const struct archive_tails *tails,
                             const struct archive_tail_actor *actor)
{
    return actor->taken && marks_of(tails, actor) > 0;
}

uint32_t archive_tails_taken(const struct archive_tails *tails)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tails->actor_count; i++) {
        bool counts = is_archived_here(tails, &tails->actors[i]);
        for (uint32_t j = 0; j < i && counts; j++) { /* Another life of it? */
            counts = tails->actors[j].actor.node != tails->actors[i].actor.node ||
                     !is_archived_here(tails, &tails->actors[j]);
        }
        count += counts;
    }
    return count;
}

uint64_t archive_tails_behind_ms(const struct archive_tails *tails, uint64_t now_ms)
{
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < tails->actor_count; i++) {
        lower(&oldest, oldest_ms(tails, &tails->actors[i]));
    }
    return oldest < now_ms ? now_ms - oldest : oldest == now_ms ? 1 : 0;
}

/* ---- This node ---- */

void archive_tails_own(struct archive_tails *tails, uint32_t shard, uint64_t hlc)
{
    lift(&tails->shards[shard].own_hlc, hlc);
}

uint64_t archive_tails_own_hlc(const struct archive_tails *tails)
{
    uint64_t least = UINT64_MAX;

    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        lower(&least, tails->shards[i].own_hlc);
    }
    return least;
}

/* ---- The message ---- */

static int put_item(struct actor actor, uint64_t hlc, struct buffer *to)
{
    uint8_t bytes[2 * VARINT_BYTES_MAX + 8], *end = varint_put(bytes, actor.node);

    end = varint_put(end, actor.start);
    store_u64(end, hlc);
    return buffer_append(to, bytes_of(bytes, (size_t)(end + 8 - bytes)));
}

int archive_tails_put(const struct archive_tails *tails, struct buffer *to)
{
    uint64_t own_hlc = archive_tails_own_hlc(tails);
    uint32_t count = own_hlc != 0;
    uint8_t head[1 + VARINT_BYTES_MAX] = {ARCHIVE_TAILS_VERSION};

    for (uint32_t i = 0; i < tails->actor_count; i++) {
        count += tails->actors[i].has_hlc != 0;
    }
    const uint8_t *end = varint_put(head + 1, count);
    int rc = buffer_append(to, bytes_of(head, (size_t)(end - head)));
    if (rc == 0 && own_hlc != 0) {
        rc = put_item(tails->settings.self, own_hlc, to);
    }
    for (uint32_t i = 0; i < tails->actor_count && rc == 0; i++) {
        const struct archive_tail_actor *actor = &tails->actors[i];
        rc = actor->has_hlc == 0 ? 0 : put_item(actor->actor, actor->has_hlc, to);
    }
    return rc;
}

/* Returns the hlc. */
static uint64_t read_item(struct reader *from, struct actor *actor)
{
    uint64_t node = read_varint(from), start = read_varint(from);

    from->bad = from->bad || node == 0 || node > UINT32_MAX || start == 0 || start > UINT32_MAX;
    *actor = (struct actor){(uint32_t)node, (uint32_t)start};
    return read_u64(from);
}

int archive_tails_take(struct archive_tails *tails, struct bytes message, uint64_t now_ms)
{
    struct reader from = reader_of(message);
    uint8_t version = read_u8(&from);
    uint64_t count = read_varint(&from);
    struct reader items = from;
    struct actor actor;

    for (uint64_t i = 0; i < count && !from.bad; i++) {
        (void)read_item(&from, &actor);
    }
    if (version != ARCHIVE_TAILS_VERSION || !reader_done(&from)) {
        return -EBADMSG;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint64_t hlc = read_item(&items, &actor);
        (void)archive_tails_has(tails, actor, hlc, now_ms);
    }
    return 0;
}
