#include <errno.h>
#include <string.h>

#include "archive_state_private.h"
#include "archive_vector.h"
#include "keeper.h"
#include "log_format.h"
#include "record.h"

enum { COVERS_FIRST = 64 };

void archive_state_init(struct archive_state *state, struct memory *memory, uint64_t as_of_hlc,
                        bool (*wants)(void *context, struct bytes key), void *context)
{
    memset(state, 0, sizeof *state);
    state->memory = state->vectors.memory = state->work.memory = memory;
    archive_arena_init(&state->arena, memory);
    state->as_of_hlc = as_of_hlc;
    state->wants = wants;
    state->context = context;
    state->part.parts = 1;
}

void archive_state_limit(struct archive_state *state, uint64_t bytes_max)
{
    state->bytes_max = bytes_max;
}

void archive_state_set_part(struct archive_state *state, struct state_part part)
{
    state->part = part;
}

static bool is_of_part(const struct archive_state *state, struct bytes key)
{
    return keeper_position(0, key) % state->part.parts == state->part.part;
}

void archive_state_clear(struct archive_state *state)
{
    state_clear_entries(state);
    memset(state->heads, 0, sizeof state->heads);
    state->cover_count = 0;
    state->vectors.size = 0;
    state->left = 0;
}

void archive_state_fini(struct archive_state *state)
{
    struct memory *memory = state->memory;

    archive_state_clear(state);
    state_free_entries(state);
    if (state->covers != NULL) {
        memory->resize(memory, state->covers, state->cover_capacity * sizeof *state->covers, 0);
    }
    buffer_fini(&state->vectors);
    buffer_fini(&state->work);
}

/* ---- What checkpoints have ---- */

static struct bytes vector_of(const struct archive_state *state, const struct state_cover *cover)
{
    return bytes_of(state->vectors.data + cover->vector_at, cover->vector_size);
}

/* Is all that this record of a log tells of in a checkpoint, or has ended there? */
static bool is_covered(const struct archive_state *state, uint16_t slot, struct bytes body)
{
    struct record opened;

    if (state->heads[slot] == 0 || body.size == 0 ||
        record_open_head(&opened, body, body.data[0] & 0xf0) != 0) {
        return false;
    }
    for (uint32_t at = state->heads[slot]; at != 0; at = state->covers[at - 1].next) {
        if (archive_vector_covers_own(vector_of(state, &state->covers[at - 1]), &opened.version)) {
            return true;
        }
    }
    return false;
}

/* ---- Records ---- */

static int note_birth(struct state_entry *entry, uint32_t checkpoint, struct stamp stamp)
{
    const struct state_birth birth = {.checkpoint = checkpoint, .stamp = stamp};

    if (!entry->is_known) {
        entry->first = birth;
        entry->is_known = true;
        return 0;
    }
    return buffer_append(&entry->known, bytes_of(&birth, sizeof birth));
}

/* A checkpoint has these births. */
static int note_births(struct state_entry *entry, struct bytes record, uint32_t checkpoint)
{
    struct record opened;
    int rc = record_open(&opened, record, RECORD_FORMAT);

    for (uint32_t i = 0; rc == 0 && i < opened.birth_count; i++) {
        rc = note_birth(entry, checkpoint, record_birth(&opened, i).stamp);
    }
    return rc;
}

static int add_whole(struct archive_state *state, struct bytes record, uint32_t checkpoint)
{
    struct state_entry *entry;
    int rc = session_check(record) != 0 ? -EBADMSG : 0;

    if (rc != 0 || (state->wants != NULL && !state->wants(state->context, session_key(record)))) {
        return rc;
    }
    if (!is_of_part(state, session_key(record))) {
        return 0;
    }
    rc = state_take_entry(state, session_key(record), record, &entry);
    if (rc == 0 && entry->record == NULL) {
        rc = state_set_record(state, entry, record);
    } else if (rc == 0) {
        rc = session_merge(state_record(entry), record, &state->work);
        rc = rc != 0 ? rc : state_set_record(state, entry, buffer_bytes(&state->work));
    }
    if (rc < 0) {
        return rc;
    }
    return checkpoint == STATE_LOG ? 0 : note_births(entry, record, checkpoint);
}

/* Returns 0; -ESTALE: its base is not here. */
static int apply_delta(struct archive_state *state, struct state_entry *entry, struct bytes delta)
{
    int rc = session_apply_delta(state_record(entry), delta, &state->work);

    return rc != 0 ? rc : state_set_record(state, entry, buffer_bytes(&state->work));
}

static int hold_delta(struct archive_state *state, struct state_entry *entry, struct bytes delta)
{
    uint8_t size[4];

    store_u32(size, (uint32_t)delta.size);
    int rc = state_count_bytes(state, sizeof size + delta.size);
    rc = rc != 0 ? rc : buffer_reserve(&entry->held, sizeof size + delta.size);
    rc = rc != 0 ? rc : buffer_append(&entry->held, bytes_of(size, sizeof size));
    return rc != 0 ? rc : buffer_append(&entry->held, delta);
}

static int add_delta(struct archive_state *state, struct bytes delta)
{
    struct state_entry *entry;
    int rc = session_check_delta(delta) != 0 ? -EBADMSG : 0;

    if (rc != 0 || (state->wants != NULL && !state->wants(state->context, session_key(delta)))) {
        return rc;
    }
    if (!is_of_part(state, session_key(delta))) {
        return 0;
    }
    rc = state_take_entry(state, session_key(delta), bytes_of(NULL, 0), &entry);
    rc = rc < 0 ? rc : apply_delta(state, entry, delta);
    return rc == -ESTALE ? hold_delta(state, entry, delta) : rc;
}

static bool is_too_new(const struct archive_state *state, struct bytes body)
{
    return session_newest_stamp(body) > state->as_of_hlc;
}

static int add_one(struct archive_state *state, uint16_t slot, uint8_t kind, struct bytes body,
                   uint32_t checkpoint)
{
    if (checkpoint == STATE_LOG && is_covered(state, slot, body)) {
        return 0;
    }
    return kind == LOG_DELTA ? add_delta(state, body) : add_whole(state, body, checkpoint);
}

static int add_batch(struct archive_state *state, const struct archive_record *record,
                     uint32_t checkpoint)
{
    struct reader items = reader_of(record->body);
    struct log_batch_item item;
    bool counts = true;
    int rc;

    while ((rc = log_batch_next(&items, &item)) == 1) {
        counts = counts && !is_too_new(state, item.body);
    }
    items = reader_of(record->body);
    while (rc == 0 && counts && log_batch_next(&items, &item) == 1) {
        rc = add_one(state, record->slot, item.kind, item.body, checkpoint);
    }
    return rc;
}

int archive_state_add(struct archive_state *state, const struct archive_record *record,
                      uint32_t checkpoint)
{
    switch (record->kind) {
    case LOG_BATCH:
        return add_batch(state, record, checkpoint);
    case LOG_FULL:
    case LOG_BURY:
    case LOG_DELTA:
        return is_too_new(state, record->body)
                   ? 0
                   : add_one(state, record->slot, record->kind, record->body, checkpoint);
    default:
        return -EBADMSG;
    }
}

/* ---- What checkpoints cover ---- */

int archive_state_cover(struct archive_state *state, uint32_t checkpoint, uint16_t slot,
                        struct bytes vector)
{
    struct memory *memory = state->memory;

    if (state->cover_count == state->cover_capacity) {
        size_t capacity = state->cover_capacity == 0 ? COVERS_FIRST : state->cover_capacity * 2;
        struct state_cover *covers =
            memory->resize(memory, state->covers, state->cover_capacity * sizeof *covers,
                           capacity * sizeof *covers);
        if (covers == NULL) {
            return -ENOMEM;
        }
        state->covers = covers;
        state->cover_capacity = capacity;
    }
    size_t at = state->vectors.size;
    int rc = buffer_append(&state->vectors, vector);
    if (rc == 0) {
        state->covers[state->cover_count++] = (struct state_cover){
            .checkpoint = checkpoint,
            .next = state->heads[slot],
            .vector_at = at,
            .vector_size = vector.size,
        };
        state->heads[slot] = (uint32_t)state->cover_count;
    }
    return rc;
}

static bool knows(const struct state_entry *entry, uint32_t checkpoint, struct stamp stamp)
{
    const size_t count = entry->known.size / sizeof(struct state_birth);

    if (!entry->is_known) {
        return false;
    }
    if (entry->first.checkpoint == checkpoint && stamp_compare(entry->first.stamp, stamp) == 0) {
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        struct state_birth birth;
        memcpy(&birth, entry->known.data + i * sizeof birth, sizeof birth);
        if (birth.checkpoint == checkpoint && stamp_compare(birth.stamp, stamp) == 0) {
            return true;
        }
    }
    return false;
}

/* Does a checkpoint say that what was born so, as this record has it, has ended? */
static bool has_ended(const struct archive_state *state, const struct state_entry *entry,
                      const struct record *record, struct stamp birth)
{
    for (uint32_t at = state->heads[state_slot(entry)]; at != 0; at = state->covers[at - 1].next) {
        const struct state_cover *cover = &state->covers[at - 1];
        if (archive_vector_has_birth(vector_of(state, cover), record, birth) &&
            !knows(entry, cover->checkpoint, birth)) {
            return true;
        }
    }
    return false;
}

/* ---- The end ---- */

/* Up to which hlc the entry's births have ended: of the newest that has, before the oldest that lives. 0: none. */
static uint64_t ended_hlc(const struct archive_state *state, const struct state_entry *entry,
                          const struct record *opened)
{
    uint64_t ended = 0;

    for (uint32_t i = 0; i < opened->birth_count; i++) {
        struct stamp stamp = record_birth(opened, i).stamp;
        if (!has_ended(state, entry, opened, stamp)) {
            return ended != 0 && stamp.hlc == ended ? ended - 1 : ended;
        }
        ended = stamp.hlc;
    }
    return ended;
}

static int end_births(struct archive_state *state, struct state_entry *entry)
{
    struct record opened;

    if (entry->record == NULL || state->heads[state_slot(entry)] == 0) {
        return 0;
    }
    int rc = record_open(&opened, state_record(entry), RECORD_FORMAT);
    uint64_t hlc = rc == 0 ? ended_hlc(state, entry, &opened) : 0;
    if (hlc == 0) {
        return rc;
    }
    rc = session_end(state_record(entry), hlc, &state->work);
    return rc != 0 ? rc : state_set_record(state, entry, buffer_bytes(&state->work));
}

/* Is all that a delta tells of something that has ended? */
static bool is_of_the_dead(const struct archive_state *state, const struct state_entry *entry,
                           struct bytes delta)
{
    struct record opened;

    if (record_open(&opened, delta, RECORD_DELTA) != 0 || opened.birth_count == 0) {
        return false;
    }
    for (uint32_t i = 0; i < opened.birth_count; i++) {
        if (!has_ended(state, entry, &opened, record_birth(&opened, i).stamp)) {
            return false;
        }
    }
    return true;
}

/* Apply what is held, again and again while that helps; the rest stays. Returns 0 or -ENOMEM. */
static int apply_held(struct archive_state *state, struct state_entry *entry)
{
    bool more = entry->held.size > 0;

    while (more) {
        struct reader held = reader_of(buffer_bytes(&entry->held));
        size_t kept = 0;
        more = false;
        while (reader_left(&held) > 0) {
            const uint8_t *begin = held.at;
            struct bytes delta = read_bytes(&held, read_u32(&held));
            int rc = apply_delta(state, entry, delta);
            if (rc == -ENOMEM) {
                return rc;
            }
            if (rc == 0) {
                more = true;
            } else {
                size_t size = (size_t)(held.at - begin);
                memmove(entry->held.data + kept, begin, size);
                kept += size;
            }
        }
        entry->held.size = kept;
        more = more && kept > 0;
    }
    return 0;
}

/* How many deltas are left, without those of what has ended. */
static uint32_t count_left(const struct archive_state *state, const struct state_entry *entry)
{
    struct reader held = reader_of(buffer_bytes(&entry->held));
    uint32_t left = 0;

    while (reader_left(&held) > 0) {
        struct bytes delta = read_bytes(&held, read_u32(&held));
        left += !is_of_the_dead(state, entry, delta);
    }
    return left;
}

int archive_state_finish(struct archive_state *state)
{
    int rc = 0;

    state_put_in_order(state);

    for (size_t i = 0; i < state->entry_count && rc == 0; i++) {
        struct state_entry *entry = &state->entries[i];
        rc = apply_held(state, entry);
        rc = rc != 0 ? rc : end_births(state, entry);
        state->left += rc == 0 ? count_left(state, entry) : 0;
    }
    return rc;
}

int archive_state_visit(const struct archive_state *state,
                        int (*visit)(void *context, struct bytes key, struct bytes record,
                                     uint32_t left),
                        void *context)
{
    int rc = 0;

    for (size_t i = 0; i < state->entry_count && rc == 0; i++) {
        const struct state_entry *entry = &state->entries[state->order[i]];
        uint32_t left = count_left(state, entry);
        if (entry->record != NULL || left > 0) {
            rc = visit(context, state_key(entry), state_record(entry), left);
        }
    }
    return rc;
}
