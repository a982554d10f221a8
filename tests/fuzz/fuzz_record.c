/* Fuzz target: records and deltas from outside.
 *
 * Input: 2 bytes, the size of the first part, little-endian; the first part; the second part. Each part
 * is taken for a record and for a delta. Nothing may crash, whether session_check() accepts it or not;
 * what it accepts must come out of a join with itself as the same bytes, join the same both ways, come
 * back from a cold record, and take writes whose results it accepts again.
 */
#include <assert.h>

#include "cold.h"
#include "fuzz.h"
#include "heap.h"
#include "session.h"

static struct memory memory = {.resize = heap_resize};

/* Read all that can be read. */
static void walk(struct bytes record)
{
    struct session_view view;
    struct session_field field, found;
    struct buffer room = {.memory = &memory};
    struct bytes token;

    session_key(record);
    session_newest_hlc(record);
    if (session_open(&view, record, UINT64_C(1700000000000)) == 0) {
        while (!view.cold && session_next(&view, true, &field)) {
            session_find(&view, field.name, &found);
        }
        if (session_token(&view, &room, &token) == 0) {
            session_covers(record, token);
        }
    }
    session_covers(record, record);
    buffer_fini(&room);
}

/* Its fields leave memory and come back. */
static void freeze(struct bytes record)
{
    struct buffer cold = {.memory = &memory}, out = {.memory = &memory};

    assert(session_freeze(record, 7, &cold) == 0);
    walk(buffer_bytes(&cold));
    assert(session_newest_hlc(buffer_bytes(&cold)) == session_newest_hlc(record));
    assert(session_thaw(buffer_bytes(&cold), record, &out) == 0);
    assert(bytes_equal(buffer_bytes(&out), record));
    buffer_fini(&cold);
    buffer_fini(&out);
}

/* Accepted by session_check(). */
static void use_good(struct bytes record)
{
    static const struct session_rules rules = {1 << 20, 65536, 1000, 1000, 1000, true};
    static const uint8_t lists[][5] = {
        {1, 1, 'a', 1, 'b'}, {4, 1, 'a', 2}, {6}, {11}, {12}, {16, 1, 'a', 0}, {3, 0},
    };
    static const uint8_t sizes[] = {5, 4, 1, 1, 1, 4, 2};
    struct buffer out = {.memory = &memory};
    struct session_written written;

    assert(session_merge(record, record, &out) == 0);
    assert(bytes_equal(buffer_bytes(&out), record));
    freeze(record);
    session_written_init(&written, &memory);
    for (size_t i = 0; i < sizeof sizes; i++) {
        struct session_write write = {
            .key = session_key(record),
            .record = record,
            .rules = &rules,
            .now_ms = UINT64_C(1700000000000),
            .actor = {7, 7},
            .type = SESSION_NONE,
            .changes = bytes_of(lists[i], sizes[i]),
            .client = 1,
            .sequence = i + 1,
        };
        if (session_newest_hlc(record) > UINT64_MAX - hlc_of_ms(1 << 20)) {
            break; /* No stamp is left above it. */
        }
        assert(session_write(&write, &written) != STATUS_DAMAGED);
        if (written.changed) {
            assert(session_check(buffer_bytes(&written.record)) == 0);
            assert(session_merge(record, buffer_bytes(&written.record), &out) == 0);
            assert(bytes_equal(buffer_bytes(&out), buffer_bytes(&written.record)));
        }
        if (written.changed && written.delta.size > 0) {
            assert(session_check_delta(buffer_bytes(&written.delta)) == 0);
            assert(session_apply_delta(record, buffer_bytes(&written.delta), &out) == 0);
            assert(bytes_equal(buffer_bytes(&out), buffer_bytes(&written.record)));
        }
    }
    session_written_fini(&written);
    buffer_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    size_t first_size = load_u16(data);
    first_size = first_size > size - 2 ? size - 2 : first_size;
    struct bytes parts[2] = {
        bytes_of(data + 2, first_size),
        bytes_of(data + 2 + first_size, size - 2 - first_size),
    };
    struct buffer ab = {.memory = &memory}, ba = {.memory = &memory};
    int good[2];

    for (int i = 0; i < 2; i++) {
        walk(parts[i]);
        (void)session_freeze(parts[i], 7, &ab);
        (void)session_thaw(parts[i], parts[1 - i], &ab);
        good[i] = session_check(parts[i]) == 0;
        if (good[i]) {
            use_good(parts[i]);
        }
        int good_delta = session_check_delta(parts[i]) == 0;
        int rc = session_apply_delta(parts[1 - i], parts[i], &ab);
        assert(rc != 0 || !good_delta || session_check(parts[1 - i]) != 0 ||
               session_check(buffer_bytes(&ab)) == 0);
    }
    int rc_ab = session_merge(parts[0], parts[1], &ab);
    int rc_ba = session_merge(parts[1], parts[0], &ba);
    if (good[0] && good[1]) {
        assert(rc_ab == rc_ba);
        assert(rc_ab != 0 || bytes_equal(buffer_bytes(&ab), buffer_bytes(&ba)));
        assert(rc_ab != 0 || session_check(buffer_bytes(&ab)) == 0);
    }
    buffer_fini(&ab);
    buffer_fini(&ba);
    return 0;
}
