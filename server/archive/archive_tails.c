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

static void drop_marks(const struct archive_tails *tails, struct archive_tail_node *node)
{
    if (node->tails != NULL) {
        tails->memory->resize(tails->memory, node->tails, tails_bytes(tails), 0);
        node->tails = NULL;
    }
}

void archive_tails_fini(struct archive_tails *tails)
{
    for (uint32_t i = 0; i < tails->node_count; i++) {
        drop_marks(tails, &tails->nodes[i]);
    }
    tails->node_count = 0;
}

/* ---- Nodes ---- */

static uint32_t marks_of(const struct archive_tails *tails, const struct archive_tail_node *node)
{
    uint32_t count = 0;

    for (uint32_t i = 0; node->tails != NULL && i < tails->settings.shard_count; i++) {
        count += node->tails[i].count;
    }
    return count;
}

static struct archive_tail_node *find(struct archive_tails *tails, uint32_t number)
{
    for (uint32_t i = 0; i < tails->node_count; i++) {
        if (tails->nodes[i].node == number) {
            return &tails->nodes[i];
        }
    }
    return NULL;
}

/* A place for one more: a new one, or that of one that is of no more use. */
static struct archive_tail_node *place(struct archive_tails *tails)
{
    if (tails->node_count < ARCHIVE_TAILS_NODES_MAX) {
        return &tails->nodes[tails->node_count++];
    }
    for (uint32_t i = 0; i < tails->node_count; i++) {
        struct archive_tail_node *node = &tails->nodes[i];
        if (node->down && marks_of(tails, node) == 0) {
            drop_marks(tails, node);
            return node;
        }
    }
    return NULL;
}

/* Found or made. */
static struct archive_tail_node *find_or_make(struct archive_tails *tails, uint32_t number,
                                              uint64_t now_ms)
{
    struct archive_tail_node *node = find(tails, number);

    if (node == NULL) {
        node = place(tails);
        if (node != NULL) {
            *node = (struct archive_tail_node){.node = number, .moved_ms = now_ms};
        }
    }
    return node;
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
    struct archive_tail_node *node = find_or_make(tails, note->node, now_ms);
    if (node == NULL) {
        return -ENOSPC;
    }
    if (note->newest_hlc <= node->has_hlc) {
        return 0;
    }
    if (node->tails == NULL) {
        node->tails = tails->memory->resize(tails->memory, NULL, 0, tails_bytes(tails));
        if (node->tails == NULL) {
            return -ENOMEM;
        }
        memset(node->tails, 0, tails_bytes(tails));
    }
    lift(&first_lsn, shard->noted); /* What lies before that is in an older mark, or goes. */
    add_mark(tails, &node->tails[note->shard], note, first_lsn, now_ms);
    if (node->taken && !node->building) { /* The walk that found it did not take it. */
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
                             struct archive_feed_taken taken[ARCHIVE_TAILS_NODES_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        struct archive_tails_shard *shard = &tails->shards[i];
        lower(&shard->building, shard->again);
        shard->again = UINT64_MAX;
        shard->archived = from[i];
        lower(&from[i], shard->building);
    }
    for (uint32_t i = 0; i < tails->node_count; i++) {
        struct archive_tail_node *node = &tails->nodes[i];
        node->building = node->taken;
        if (node->taken) {
            taken[count++] = (struct archive_feed_taken){.node = node->node, .hlc = node->has_hlc};
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
        for (uint32_t j = 0; j < tails->node_count; j++) {
            struct archive_tail_node *node = &tails->nodes[j];
            struct archive_tail *tail = node->tails == NULL ? NULL : &node->tails[i];
            while (node->building && tail != NULL && tail->count > 0 &&
                   tail->marks[0].last_lsn < to[i]) {
                pop_mark(tail);
            }
        }
    }
    for (uint32_t j = 0; j < tails->node_count; j++) {
        tails->nodes[j].building = false;
    }
}

uint64_t archive_tails_begin(const struct archive_tails *tails, uint32_t shard, uint64_t archived)
{
    uint64_t begin = archived;

    lower(&begin, tails->shards[shard].again);
    lower(&begin, tails->shards[shard].building);
    for (uint32_t i = 0; i < tails->node_count; i++) {
        const struct archive_tail_node *node = &tails->nodes[i];
        if (node->tails != NULL && node->tails[shard].count > 0) {
            lower(&begin, node->tails[shard].marks[0].first_lsn);
        }
    }
    return begin;
}

/* ---- The others ---- */

static bool is_other(const struct archive_tails *tails, uint64_t number)
{
    return number != 0 && number != tails->settings.self && number < ADOPT_NODES;
}

bool archive_tails_has(struct archive_tails *tails, uint32_t number, uint64_t hlc, uint64_t now_ms)
{
    struct archive_tail_node *node =
        is_other(tails, number) ? find_or_make(tails, number, now_ms) : NULL;

    if (node == NULL || hlc <= node->has_hlc) {
        return false;
    }
    node->has_hlc = hlc;
    node->moved_ms = now_ms;
    node->taken = false;
    for (uint32_t i = 0; node->tails != NULL && i < tails->settings.shard_count; i++) {
        struct archive_tail *tail = &node->tails[i];
        while (tail->count > 0 && tail->marks[0].newest_hlc <= hlc) {
            pop_mark(tail);
        }
    }
    return true;
}

void archive_tails_down(struct archive_tails *tails, uint32_t index, bool down)
{
    tails->nodes[index].down = down;
}

/* When its oldest mark was noted; UINT64_MAX: it has none. */
static uint64_t oldest_ms(const struct archive_tails *tails, const struct archive_tail_node *node)
{
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; node->tails != NULL && i < tails->settings.shard_count; i++) {
        if (node->tails[i].count > 0) {
            lower(&oldest, node->tails[i].marks[0].since_ms);
        }
    }
    return oldest;
}

static void take(struct archive_tails *tails, struct archive_tail_node *node)
{
    node->taken = true;
    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        if (node->tails[i].count > 0) {
            lower(&tails->shards[i].again, node->tails[i].marks[0].first_lsn);
        }
    }
}

bool archive_tails_step(struct archive_tails *tails, bool away, uint64_t now_ms)
{
    bool due = false;

    for (uint32_t i = 0; i < tails->node_count; i++) {
        struct archive_tail_node *node = &tails->nodes[i];
        uint64_t since_ms = oldest_ms(tails, node);
        if (away) {
            node->moved_ms = now_ms;
        }
        if (node->taken || since_ms == UINT64_MAX) {
            continue;
        }
        lift(&since_ms, node->moved_ms);
        if (node->down || now_ms - since_ms >= tails->settings.behind_ms) {
            take(tails, node);
        }
    }
    for (uint32_t i = 0; i < tails->settings.shard_count; i++) {
        due = due || tails->shards[i].again != UINT64_MAX;
    }
    return due;
}

uint32_t archive_tails_taken(const struct archive_tails *tails)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tails->node_count; i++) {
        count += tails->nodes[i].taken && marks_of(tails, &tails->nodes[i]) > 0;
    }
    return count;
}

uint64_t archive_tails_behind_ms(const struct archive_tails *tails, uint64_t now_ms)
{
    uint64_t oldest = UINT64_MAX;

    for (uint32_t i = 0; i < tails->node_count; i++) {
        lower(&oldest, oldest_ms(tails, &tails->nodes[i]));
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

static int put_item(uint32_t node, uint64_t hlc, struct buffer *to)
{
    uint8_t bytes[VARINT_BYTES_MAX + 8], *end = varint_put(bytes, node);

    store_u64(end, hlc);
    return buffer_append(to, bytes_of(bytes, (size_t)(end + 8 - bytes)));
}

int archive_tails_put(const struct archive_tails *tails, struct buffer *to)
{
    uint64_t own_hlc = archive_tails_own_hlc(tails);
    uint32_t count = own_hlc != 0;
    uint8_t head[1 + VARINT_BYTES_MAX] = {ARCHIVE_TAILS_VERSION};

    for (uint32_t i = 0; i < tails->node_count; i++) {
        count += tails->nodes[i].has_hlc != 0;
    }
    const uint8_t *end = varint_put(head + 1, count);
    int rc = buffer_append(to, bytes_of(head, (size_t)(end - head)));
    if (rc == 0 && own_hlc != 0) {
        rc = put_item(tails->settings.self, own_hlc, to);
    }
    for (uint32_t i = 0; i < tails->node_count && rc == 0; i++) {
        const struct archive_tail_node *node = &tails->nodes[i];
        rc = node->has_hlc == 0 ? 0 : put_item(node->node, node->has_hlc, to);
    }
    return rc;
}

int archive_tails_take(struct archive_tails *tails, struct bytes message, uint64_t now_ms)
{
    struct reader from = reader_of(message);
    uint8_t version = read_u8(&from);
    uint64_t count = read_varint(&from);
    struct reader items = from;

    for (uint64_t i = 0; i < count && !from.bad; i++) {
        uint64_t node = read_varint(&from);
        from.bad = from.bad || node == 0 || node > UINT32_MAX;
        (void)read_u64(&from);
    }
    if (version != ARCHIVE_TAILS_VERSION || !reader_done(&from)) {
        return -EBADMSG;
    }
    for (uint64_t i = 0; i < count; i++) {
        uint32_t node = (uint32_t)read_varint(&items);
        (void)archive_tails_has(tails, node, read_u64(&items), now_ms);
    }
    return 0;
}
