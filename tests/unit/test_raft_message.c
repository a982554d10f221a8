/* Raft's messages: their bytes, and what a peer may send that is none. */
#include "raft_glass.h"

#include "crc32c.h"

/* ---- Bytes ---- */

struct golden {
    struct raft_message message;
    size_t size;
    uint8_t bytes[32];
};

/* A wire format: these never change. */
static const struct golden goldens[] = {
    {{.type = RAFT_PRE_VOTE, .term = 3, .index = 300, .index_term = 2}, 6, {1, 1, 3, 0xac, 2, 2}},
    {{.type = RAFT_PRE_VOTE_REPLY, .term = 0, .asked_term = 4, .granted = true},
     5,
     {1, 2, 0, 4, 1}},
    {{.type = RAFT_VOTE, .term = 4, .index = 5, .index_term = 2, .granted = true},
     6,
     {1, 3, 4, 5, 2, 1}},
    {{.type = RAFT_VOTE_REPLY, .term = 4, .asked_term = 4}, 5, {1, 4, 4, 4, 0}},
    {{.type = RAFT_APPEND, .term = 4, .index = 5, .index_term = 2, .commit = 3},
     7,
     {1, 5, 4, 5, 2, 3, 0}},
    {{.type = RAFT_APPEND,
      .term = 4,
      .commit = 9,
      .entry_count = 3,
      .entries = {(const uint8_t *)"\1\3\4\1\1\1\1\4\1\3abc\4\2\0", 16}},
     23,
     {1, 5, 4, 0, 0, 9, 3, 1, 3, 4, 1, 1, 1, 1, 4, 1, 3, 'a', 'b', 'c', 4, 2, 0}},
    {{.type = RAFT_APPEND_REPLY, .term = 4, .index = 5, .granted = true, .match = 9},
     6,
     {1, 6, 4, 5, 1, 9}},
    {{.type = RAFT_SNAPSHOT,
      .term = 4,
      .index = 200,
      .index_term = 3,
      .size = 10,
      .crc = 0x12345678,
      .offset = 7,
      .chunk = {(const uint8_t *)"xyz", 3}},
     16,
     {1, 7, 4, 0xc8, 1, 3, 10, 0x78, 0x56, 0x34, 0x12, 7, 3, 'x', 'y', 'z'}},
    {{.type = RAFT_SNAPSHOT_REPLY,
      .term = 4,
      .index = 200,
      .index_term = 3,
      .crc = 0x12345678,
      .offset = 10},
     11,
     {1, 8, 4, 0xc8, 1, 3, 0x78, 0x56, 0x34, 0x12, 10}},
    {{.type = RAFT_TIMEOUT_NOW, .term = 4}, 3, {1, 9, 4}},
};

enum { GOLDENS = sizeof goldens / sizeof goldens[0] };

/* Parse bytes whose memory ends with them. */
static int parse(const uint8_t *bytes, size_t size, struct raft_message *message)
{
    struct bytes exact = disk_copy(bytes_of(bytes, size));

    int rc = raft_message_parse(exact, message);
    disk_free(&exact);
    return rc;
}

static void test_golden(void **state)
{
    (void)state;
    struct buffer out = {.memory = heap_memory()};

    for (size_t i = 0; i < GOLDENS; i++) {
        const struct golden *golden = &goldens[i];
        struct raft_message found;
        out.size = 0;
        assert_int_equal(raft_message_put(&out, &golden->message), 0);
        assert_int_equal(out.size, golden->size);
        assert_memory_equal(out.data, golden->bytes, golden->size);
        assert_int_equal(raft_message_parse(buffer_bytes(&out), &found), 0);
        assert_true(bytes_equal(found.entries, golden->message.entries));
        assert_true(bytes_equal(found.chunk, golden->message.chunk));
        found.entries = golden->message.entries;
        found.chunk = golden->message.chunk;
        assert_int_equal(found.type, golden->message.type);
        assert_int_equal(found.term, golden->message.term);
        assert_int_equal(found.index, golden->message.index);
        assert_int_equal(found.index_term, golden->message.index_term);
        assert_int_equal(found.asked_term, golden->message.asked_term);
        assert_int_equal(found.granted, golden->message.granted);
        assert_int_equal(found.commit, golden->message.commit);
        assert_int_equal(found.entry_count, golden->message.entry_count);
        assert_int_equal(found.match, golden->message.match);
        assert_int_equal(found.size, golden->message.size);
        assert_int_equal(found.offset, golden->message.offset);
        assert_int_equal(found.crc, golden->message.crc);
    }
    struct reader reader = reader_of(goldens[5].message.entries);
    assert_int_equal(raft_message_entry(&reader).kind, RAFT_MEMBERS);
    struct raft_entry entry = raft_message_entry(&reader);
    assert_int_equal(entry.term, 4);
    assert_int_equal(entry.kind, RAFT_COMMAND);
    assert_true(bytes_equal(entry.data, text("abc")));
    assert_int_equal(raft_message_entry(&reader).kind, RAFT_NOOP);
    assert_true(reader_done(&reader));
    buffer_fini(&out);
}

static void test_bounds(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        uint8_t bytes[24];
    } bad[] = {
        {0, {0}},
        {1, {1}},
        {3, {1, 0, 4}},       /* Type. */
        {3, {1, 10, 4}},      /* Type. */
        {3, {1, 9, 0}},       /* Term 0. */
        {4, {1, 9, 0x84, 0}}, /* Not in shortest form. */
        {11,
         {1, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}}, /* Above RAFT_NUMBER_MAX. */
        {6, {1, 3, 4, 5, 2, 2}},                                    /* A flag that is neither. */
        {6, {1, 3, 4, 0, 2, 0}},                                    /* No entry, with a term. */
        {6, {1, 3, 4, 5, 0, 0}},                                    /* An entry without one. */
        {6, {1, 3, 4, 5, 5, 0}},                                    /* Of a term that is to come. */
        {5, {1, 4, 4, 0, 0}},                                       /* Nothing was asked. */
        {10, {1, 5, 4, 5, 2, 3, 1, 1, 2, 0}},                       /* The term falls. */
        {10, {1, 5, 4, 5, 2, 3, 1, 5, 2, 0}},                       /* It passes the leader's. */
        {10, {1, 5, 4, 0, 0, 3, 1, 0, 2, 0}},                       /* It is 0. */
        {10, {1, 5, 4, 5, 2, 3, 1, 2, 4, 0}},                       /* Kind. */
        {11, {1, 5, 4, 5, 2, 3, 1, 2, 2, 1, 0}},                    /* A no-op with bytes. */
        {10, {1, 5, 4, 5, 2, 3, 1, 2, 3, 0}},                       /* Members: none. */
        {15, {1, 5, 4, 5, 2, 3, 1, 2, 3, 5, 1, 1, 1, 1, 0}},        /* Members, and more. */
        {10, {1, 5, 4, 5, 2, 3, 2, 2, 2, 0}},                       /* One entry too few. */
        {11, {1, 5, 4, 5, 2, 3, 1, 2, 2, 0, 0}},                    /* Something after it. */
        {15, {1, 7, 4, 0, 0, 10, 1, 2, 3, 4, 7, 3, 'x', 'y', 'z'}}, /* A snapshot of nothing. */
        {15, {1, 7, 4, 9, 3, 10, 1, 2, 3, 4, 8, 3, 'x', 'y', 'z'}}, /* Past its end. */
        {15, {1, 7, 4, 9, 3, 10, 1, 2, 3, 4, 11, 3, 'x', 'y', 'z'}}, /* All of it. */
        {12, {1, 7, 4, 9, 3, 10, 1, 2, 3, 4, 7, 0}},                 /* An empty chunk. */
        {18,
         {1, 7, 4, 9, 3, 0x81, 0x80, 0x80, 0x20, 1, 2, 3, 4, 7, 3, 'x', 'y', 'z'}}, /* Too large. */
    };
    struct raft_message message = {.term = 77};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse(bad[i].bytes, bad[i].size, &message) != -EBADMSG) {
            fail_msg("row %zu", i);
        }
    }
    assert_int_equal(parse((const uint8_t *)"\2\11\4", 3, &message), -EPROTONOSUPPORT);
    for (size_t i = 0; i < GOLDENS; i++) {
        for (size_t size = 0; size < goldens[i].size; size++) {
            assert_int_equal(parse(goldens[i].bytes, size, &message), -EBADMSG);
        }
    }
    assert_int_equal(message.term, 77);
    /* One byte too large. */
    static uint8_t large[RAFT_MESSAGE_BYTES_MAX + 1] = {1, 9, 1};
    assert_int_equal(raft_message_parse(bytes_of(large, sizeof large), &message), -EBADMSG);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct buffer out = {.memory = &memory.memory};
    struct raft_entry entry = {.term = 1, .kind = RAFT_COMMAND, .data = text("abc")};

    memory.fail_at = 1;
    assert_int_equal(raft_message_put(&out, &goldens[0].message), -ENOMEM);
    assert_int_equal(raft_message_put_entry(&out, &entry), -ENOMEM);
    assert_int_equal(out.size, 0);
}

/* ---- Anything ---- */

static uint64_t dice;

static void send_nowhere(struct raft_net *net, uint32_t to, struct bytes message)
{
    struct raft_message parsed;

    (void)net;
    (void)to;
    /* What it says itself is in the format, whatever it was told: but for numbers that a peer made up. */
    int rc = raft_message_parse(message, &parsed);
    assert_true(rc == 0 || rc == -EBADMSG);
}

static void apply_nothing(struct raft_machine *machine, const struct raft_entry *entry)
{
    (void)machine;
    assert_true(entry->index > 0 && entry->term > 0);
}

static int save_little(struct raft_machine *machine, struct buffer *to)
{
    (void)machine;
    return buffer_append(to, text("state"));
}

static int restore_some(struct raft_machine *machine, uint64_t index, struct bytes state)
{
    (void)machine;
    (void)index;
    (void)state;
    return random_below(&dice, 3) == 0 ? -ENOMEM : 0;
}

static void see_nothing(struct raft_tracer *tracer, enum raft_event event, uint64_t a, uint64_t b)
{
    (void)tracer;
    (void)event;
    (void)a;
    (void)b;
}

/* The world would not believe what happens now. */
static void leave_world(void)
{
    static struct raft_net net = {send_nowhere};
    static struct raft_machine machine = {apply_nothing, save_little, restore_some};
    static struct raft_tracer tracer = {see_nothing};
    struct raft_ports *ports = &glass_raft()->ports;

    ports->net = &net;
    ports->machine = &machine;
    ports->tracer = &tracer;
    ports->memory = heap_memory();
}

static uint64_t near(uint64_t number)
{
    switch (random_below(&dice, 12)) {
    case 0:
        return 0;
    case 1:
        return RAFT_NUMBER_MAX - random_below(&dice, 2);
    case 2:
        return random_below(&dice, 20);
    default:
        return number + random_below(&dice, 5) - (number >= 2 ? 2 : 0);
    }
}

/* A message that keeps the format, of a peer that says what it likes about what it may know. */
static void put_plausible(struct buffer *out)
{
    const struct raft *raft = glass_raft();
    static const uint8_t chunk[] = {1, 3, 1, 1, 1, 1, 1, 1, 's', 't', 'a', 't', 'e'};
    static const uint8_t members[] = {1, 2, 1, 1, 1, 1};
    struct buffer entries = {.memory = heap_memory()};
    struct raft_message message = {
        .type = 1 + random_below(&dice, 9),
        .term = random_below(&dice, 3) > 0 ? raft->term : near(raft->term),
        .index = near(raft_log_last(&raft->log)),
        .granted = random_below(&dice, 3) > 0,
        .commit = near(raft->commit),
        .match = near(raft_log_last(&raft->log)),
        .crc = crc32c(0, bytes_of(chunk, sizeof chunk)),
        .size = sizeof chunk,
    };

    message.asked_term = near(message.term + 1);
    message.index_term =
        random_below(&dice, 4) > 0 ? raft_log_term(&raft->log, message.index) : near(message.term);
    if (message.type == RAFT_APPEND) {
        message.entry_count = random_below(&dice, 4);
        for (uint32_t i = 0; i < message.entry_count; i++) {
            struct raft_entry entry = {.term = near(message.term),
                                       .kind = 1 + random_below(&dice, 3)};
            if (entry.kind == RAFT_MEMBERS) {
                entry.data = bytes_of(members, sizeof members);
            }
            assert_int_equal(raft_message_put_entry(&entries, &entry), 0);
        }
        message.entries = buffer_bytes(&entries);
    } else if (message.type == RAFT_SNAPSHOT) {
        message.offset = random_below(&dice, 3) == 0 ? 0 : random_below(&dice, sizeof chunk);
        message.chunk = bytes_of(chunk + message.offset, sizeof chunk - message.offset);
        if (message.chunk.size > 4 && random_below(&dice, 2) == 0) {
            message.chunk.size -= 3;
        }
    } else if (message.type == RAFT_SNAPSHOT_REPLY) {
        message.index = raft->snapshot.index;
        message.index_term = raft->snapshot.term;
        message.crc = raft->snapshot.crc;
        message.offset = near(raft->snapshot.bytes.size);
    }
    assert_int_equal(raft_message_put(out, &message), 0);
    buffer_fini(&entries);
}

static void mutate(struct buffer *out)
{
    switch (random_below(&dice, 4)) {
    case 0:
        out->data[random_below(&dice, (uint32_t)out->size)] = (uint8_t)random_next(&dice);
        break;
    case 1:
        out->data[random_below(&dice, (uint32_t)out->size)] ^=
            (uint8_t)(1 << random_below(&dice, 8));
        break;
    case 2:
        out->size = random_below(&dice, (uint32_t)out->size + 1);
        break;
    default:
        assert_int_equal(buffer_append(out, bytes_of(&dice, 1 + random_below(&dice, 8))), 0);
    }
}

static void check_inside(const struct raft *raft)
{
    assert_true(raft->applied <= raft->commit);
    assert_true(raft->commit <= raft_log_last(&raft->log));
    assert_true(raft->log.base_index <= raft->snapshot.index);
    assert_true(raft->durable <= raft_log_last(&raft->log));
    assert_int_equal(raft->log.staged, 0);
    for (uint64_t i = raft->log.base_index + 1; i <= raft_log_last(&raft->log); i++) {
        assert_int_equal(raft_log_at(&raft->log, i)->index, i);
        assert_true(raft_log_term(&raft->log, i) >= raft_log_term(&raft->log, i - 1));
    }
}

/* A peer may say anything: nothing breaks inside, and what was stored can be begun with again. */
static void one_talk(uint64_t seed, uint64_t *accepted, uint64_t *refused)
{
    struct buffer out = {.memory = heap_memory()};
    struct raft_place place;

    dice = seed;
    glass_init(seed % 2 == 0 ? 3 : 1);
    leave_world();
    glass_raft()->options.log_bytes = 500;
    for (uint32_t i = 0; i < 200; i++) {
        out.size = 0;
        put_plausible(&out);
        if (seed % 4 >= 2 && random_below(&dice, 3) == 0) {
            mutate(&out);
        }
        struct bytes exact = disk_copy(buffer_bytes(&out));
        int rc = raft_receive(glass_raft(), 1 + random_below(&dice, 4), exact);
        disk_free(&exact);
        *accepted += rc == 0;
        *refused += rc != 0;
        assert_true(rc == 0 || rc == -EBADMSG || rc == -EPROTONOSUPPORT || rc == -EOVERFLOW);
        switch (random_below(&dice, 6)) {
        case 0:
            glass_wait(random_below(&dice, 2 * WORLD_ELECTION_MS));
            break;
        case 1:
            (void)raft_propose(glass_raft(), text("command"), &place);
            break;
        case 2:
        case 3:
            glass_store();
            break;
        default:
            break;
        }
        check_inside(glass_raft());
    }
    disk_do(glass_disk(), random_below(&dice, glass_disk()->call_count + 1));
    static struct raft again;
    struct raft_ports ports = glass_raft()->ports;
    int rc = -ENOMEM;
    while (rc == -ENOMEM) { /* The machine's. */
        rc = raft_init(&again, &glass_raft()->options, &ports, &glass_disk()->saved, 0);
    }
    assert_int_equal(rc, 0);
    check_inside(&again);
    raft_fini(&again);
    buffer_fini(&out);
    glass_fini();
}

static void test_anything(void **state)
{
    (void)state;
    uint64_t accepted = 0, refused = 0;

    for (uint64_t seed = 1; seed <= 4000; seed++) {
        one_talk(seed, &accepted, &refused);
    }
    print_message("%u accepted, %u refused\n", (unsigned)accepted, (unsigned)refused);
    assert_true(accepted > 200000 && refused > 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_anything),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
