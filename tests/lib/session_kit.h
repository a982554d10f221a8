/* Writing to sessions in tests: change lists by printf-like calls, one actor per writer, a store of one
 * copy. Asserts that every record that comes out is accepted by session_check(). */
#ifndef SESSION_KIT_H
#define SESSION_KIT_H

#include "check.h"
#include "session.h"
#include "written_check.h"

struct kit {
    struct test_memory memory;
    struct session_rules rules;
    struct session_written written;
    struct buffer record; /* The copy. */
    struct buffer list;   /* The change list being built. */
    struct buffer merged;
    struct bytes key;
    struct actor actor;
    uint64_t now_ms, known_ms;
    uint64_t client, sequence, retry_hlc;
    struct bytes if_version;
    enum session_type type;
    enum write_mode mode;
    bool fades;
    bool elsewhere;
};

enum { KIT_NOW_MS = 1700000000 };

static inline void kit_init(struct kit *kit)
{
    *kit = (struct kit){
        .memory = test_memory(),
        .rules = {.session_bytes_max = 1 << 20, .fields_max = 65536, .tombstone_keep_ms = 3600000},
        .key = bytes_of("key", 3),
        .actor = {1, 1},
        .now_ms = KIT_NOW_MS * UINT64_C(1000),
        .type = SESSION_MAP,
    };
    kit->record.memory = kit->list.memory = kit->merged.memory = &kit->memory.memory;
    session_written_init(&kit->written, &kit->memory.memory);
}

static inline void kit_fini(struct kit *kit)
{
    session_written_fini(&kit->written);
    buffer_fini(&kit->record);
    buffer_fini(&kit->list);
    buffer_fini(&kit->merged);
    assert_int_equal(kit->memory.outstanding_bytes, 0);
}

static inline void kit_add(struct kit *kit, struct change change)
{
    if (change.name.data == NULL) {
        change.name = bytes_of("", 0);
    }
    if (change.value.data == NULL) {
        change.value = bytes_of("", 0);
    }
    assert_int_equal(buffer_reserve(&kit->list, change_size(&change)), 0);
    uint8_t *end = change_put(kit->list.data + kit->list.size, &change);
    kit->list.size = (size_t)(end - kit->list.data);
}

static inline struct bytes kit_name(const char *name)
{
    return bytes_of(name, strlen(name));
}

/* KIT_CHANGE(SET, .value = ...) */
#define KIT_CHANGE(...) ((struct change){.operation = CHANGE_##__VA_ARGS__})

/* Do the list; the copy follows. `blank` lists are made by kit_add() before. */
static inline enum status kit_write(struct kit *kit)
{
    struct session_write write = {
        .key = kit->key,
        .record = buffer_bytes(&kit->record),
        .rules = &kit->rules,
        .now_ms = kit->now_ms,
        .known_ms = kit->known_ms,
        .actor = kit->actor,
        .mode = kit->mode,
        .type = kit->type,
        .fades = kit->fades,
        .elsewhere = kit->elsewhere,
        .if_version = kit->if_version,
        .changes = buffer_bytes(&kit->list),
        .client = kit->client,
        .sequence = kit->sequence,
        .retry_hlc = kit->retry_hlc,
    };
    assert_true(change_check(write.changes) >= 0);
    enum status status = session_write(&write, &kit->written);
    kit->list.size = 0;
    if (status != STATUS_OK) {
        assert_false(kit->written.changed);
    }
    if (kit->written.changed) {
        struct bytes record = buffer_bytes(&kit->written.record);
        assert_int_equal(session_check(record), 0);
        assert_true(written_next_is_sound(&kit->written, kit->now_ms));
        if (kit->written.delta.size > 0) {
            assert_int_equal(session_check_delta(buffer_bytes(&kit->written.delta)), 0);
            assert_int_equal(session_apply_delta(buffer_bytes(&kit->record),
                                                 buffer_bytes(&kit->written.delta), &kit->merged),
                             0);
            assert_bytes_equal(buffer_bytes(&kit->merged), record);
        }
        if (kit->record.size > 0) {
            assert_int_equal(session_merge(buffer_bytes(&kit->record), record, &kit->merged), 0);
            assert_bytes_equal(buffer_bytes(&kit->merged), record);
        }
        kit->record.size = 0;
        assert_int_equal(buffer_append(&kit->record, record), 0);
    }
    return status;
}

static inline enum status kit_do(struct kit *kit, struct change change)
{
    kit_add(kit, change);
    return kit_write(kit);
}

/* The n-th result of the last write, from 0. */
static inline int64_t kit_result(const struct kit *kit, int index)
{
    struct reader from = reader_of(buffer_bytes(&kit->written.results));
    int64_t result = 0;

    for (int i = 0; i <= index; i++) {
        result = unzigzag(read_varint(&from));
    }
    assert_false(from.bad);
    return result;
}

static inline void kit_open(const struct kit *kit, struct session_view *view)
{
    assert_int_equal(session_open(view, buffer_bytes(&kit->record), kit->now_ms), 0);
}

/* Assert what a field shows; NULL: nothing. */
static inline void kit_expect(const struct kit *kit, const char *name, const char *value)
{
    struct session_view view;
    struct session_field field;

    kit_open(kit, &view);
    bool found = view.live && session_find(&view, kit_name(name), &field);
    if (value == NULL) {
        assert_false(found);
        return;
    }
    assert_true(found);
    if (!bytes_equal(field.value, kit_name(value))) {
        print_error("%s: %.*s, not %s\n", name, (int)field.value.size,
                    (const char *)field.value.data, value);
    }
    assert_bytes_equal(field.value, kit_name(value));
}

/* Take a copy where there is none. */
static inline void kit_take_first(struct kit *kit, const struct kit *from)
{
    assert_int_equal(kit->record.size, 0);
    assert_int_equal(buffer_append(&kit->record, buffer_bytes(&from->record)), 0);
}

/* Merge another copy into this one, both ways round. */
static inline void kit_take(struct kit *kit, const struct kit *from)
{
    struct bytes mine = buffer_bytes(&kit->record), theirs = buffer_bytes(&from->record);

    assert_int_equal(session_merge(theirs, mine, &kit->merged), 0);
    assert_int_equal(session_merge(mine, theirs, &kit->written.record), 0);
    assert_bytes_equal(buffer_bytes(&kit->merged), buffer_bytes(&kit->written.record));
    assert_int_equal(session_check(buffer_bytes(&kit->merged)), 0);
    kit->record.size = 0;
    assert_int_equal(buffer_append(&kit->record, buffer_bytes(&kit->merged)), 0);
}

#endif
