/* The steps of a rename, each of which may be asked twice, refused, or the last before a crash. */
#include "shard_world.h"

#include "limits.h"
#include "slot.h"

enum { ID = 77, OTHER_ID = 78 };

static uint16_t tags[SLOT_COUNT];

static void test_journals(void **state)
{
    uint8_t room[RENAME_KEY_BYTES];

    (void)state;
    rename_tags(tags);
    for (uint32_t shard = 0; shard < RENAME_JOURNALS; shard++) {
        for (uint32_t number = 0; number < RENAMES_MAX; number++) {
            struct bytes key = rename_journal_key(tags[shard], number, room);
            assert_int_equal(slot_of_key(key), shard);
            assert_true(rename_is_journal(key));
        }
    }
    assert_false(rename_is_journal(text("\1r")));
    assert_false(rename_is_journal(text("\0013:abcd")));
}

/* ---- The steps ---- */

static struct bytes journal(uint32_t number)
{
    static uint8_t room[RENAME_KEY_BYTES];

    return rename_journal_key(tags[0], number, room);
}

/* Returns what the answer begins with; with an error 0, and `error` set. */
static enum status error;

static int ask(const struct procedure *procedure, enum request_op op, struct bytes key,
               struct bytes body)
{
    error = world_run((struct request){.op = (uint8_t)op,
                                       .mode = WRITE_UPDATE,
                                       .ack = op == REQUEST_WRITE ? ACK_MEMORY : ACK_DEFAULT,
                                       .key = key,
                                       .body = body,
                                       .procedure = procedure});
    return error == STATUS_OK ? world.answer.reply.results.data[0] : 0;
}

static int lock(uint64_t id, const char *key, bool only_new)
{
    uint8_t body[9];

    store_u64(body, id);
    body[8] = only_new;
    return ask(&rename_lock, REQUEST_WRITE, text(key), bytes_of(body, sizeof body));
}

static int unlock(uint64_t id, const char *key)
{
    uint8_t body[8];

    store_u64(body, id);
    return ask(&rename_unlock, REQUEST_GET, text(key), bytes_of(body, sizeof body));
}

/* What the last commit gave. */
static uint8_t intent[4096];
static size_t intent_size;

static int commit(uint64_t id, const char *from, const char *to)
{
    uint8_t body[18 + 64];

    store_u64(body, id);
    store_u64(body + 8, shard_hlc(world.shard));
    body[16] = (uint8_t)(tags[0] >> 8);
    body[17] = (uint8_t)tags[0];
    memcpy(body + 18, to, strlen(to));
    int answer = ask(&rename_commit, REQUEST_WRITE, text(from), bytes_of(body, 18 + strlen(to)));
    struct bytes results = world.answer.reply.results;
    if (answer == RENAME_DONE) {
        assert_true(results.size - 1 <= sizeof intent);
        intent_size = results.size - 1;
        memcpy(intent, results.data + 1, intent_size);
    }
    return answer;
}

static int apply(const char *to)
{
    return ask(&rename_apply, REQUEST_WRITE, text(to), bytes_of(intent, intent_size));
}

static int forget(uint64_t id, uint32_t number)
{
    uint8_t body[8];

    store_u64(body, id);
    return ask(&rename_forget, REQUEST_WRITE, journal(number), bytes_of(body, sizeof body));
}

static void expect(const char *key, const char *value)
{
    assert_int_equal(world_get(key), value == NULL ? STATUS_NOT_FOUND : STATUS_OK);
    if (value != NULL) {
        assert_string_equal(world.answer.blob, value);
    }
}

static void begin(void)
{
    rename_tags(tags);
    world_begin();
    assert_int_equal(world_put("old", "treasure"), STATUS_OK);
    assert_int_equal(world_put("new", "what was there"), STATUS_OK);
}

static void test_steps(void **state)
{
    (void)state;
    begin();
    assert_int_equal(lock(ID, "new", true), RENAME_EXISTS);
    assert_int_equal(lock(ID, "new", false), RENAME_DONE);
    assert_int_equal(lock(ID, "new", false), RENAME_DONE); /* Once more. */

    /* Who asks for the new key waits from here on... */
    uint64_t answers = world.answers;
    struct request get = {.op = REQUEST_GET, .key = text("new"), .ticket = 1000};
    shard_prepare(world.shard, &get);
    shard_execute(world.shard, &get, world.now_ms, world.now_us);
    assert_int_equal(world.answers, answers);

    size_t records = world.record_count;
    assert_int_equal(commit(ID, "old", "new"), RENAME_DONE);
    assert_int_equal(world.record_count, records + 1); /* One record for both. */
    assert_int_equal(world.records[records].kind, LOG_BATCH);
    expect("old", NULL);
    assert_int_equal(commit(ID, "old", "new"), RENAME_DONE); /* The same. */
    assert_int_equal(world.record_count, records + 1);

    /* ... until it has its session, and is let go. */
    assert_int_equal(apply("new"), RENAME_DONE);
    answers = world.answers;
    uint8_t body[8];
    store_u64(body, ID);
    struct request request = {.op = REQUEST_GET,
                              .key = text("new"),
                              .ticket = 1001,
                              .body = bytes_of(body, sizeof body),
                              .procedure = &rename_unlock};
    shard_prepare(world.shard, &request);
    shard_execute(world.shard, &request, world.now_ms, world.now_us);
    assert_int_equal(world.answers, answers + 2);
    assert_int_equal(world.answer.ticket, 1000);
    assert_string_equal(world.answer.blob, "treasure");

    /* Applied twice it is done once, whatever became of it. */
    assert_int_equal(world_put("new", "changed"), STATUS_OK);
    assert_int_equal(apply("new"), RENAME_DONE);
    expect("new", "changed");
    assert_int_equal(world_destroy("new"), STATUS_OK);
    assert_int_equal(apply("new"), RENAME_DONE);
    expect("new", NULL);

    assert_int_equal(forget(ID, 0), RENAME_DONE);
    assert_int_equal(forget(ID, 0), RENAME_DONE);
    assert_int_equal(commit(ID, "old", "new"), RENAME_NONE);
    assert_int_equal(shard_stats(world.shard)->live, 0);
    /* The session ended once, under its last name; so did what it displaced. */
    assert_int_equal(world.traces[TRACE_SESSION_DELETED], 2);
    world_end();
}

static void test_refused(void **state)
{
    static const int refusals[] = {-EAGAIN, -ENOSPC};

    (void)state;
    begin();
    assert_int_equal(lock(ID, "new", false), RENAME_DONE);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        world.log_rc = refusals[i];
        assert_int_equal(commit(ID, "old", "new"), 0);
        world.log_rc = 0;
        expect("old", "treasure");
    }
    assert_int_equal(commit(ID, "old", "new"), RENAME_DONE);
    world.log_rc = -EAGAIN;
    assert_int_equal(apply("new"), 0);
    assert_int_equal(error, STATUS_BUSY);
    assert_int_equal(shard_lock_owner(world.shard, keeper_position(42, text("new"))), ID);
    world.log_rc = 0;
    assert_int_equal(apply("new"), RENAME_DONE);
    assert_int_equal(unlock(ID, "new"), RENAME_DONE);
    expect("new", "treasure");
    world_end();
}

/* Each request for memory fails once. */
static void test_no_memory(void **state)
{
    uint64_t failures = 0;
    int done = 0;

    (void)state;
    begin();
    assert_int_equal(lock(ID, "new", false), RENAME_DONE);
    for (uint64_t n = 1; done < 2; n++) {
        world.memory.fail_at = world.memory.requests + n;
        int answer = done == 0 ? commit(ID, "old", "new") : apply("new");
        world.memory.fail_at = 0;
        if (answer == RENAME_DONE) {
            done++;
            n = 0;
            continue;
        }
        assert_int_equal(error, STATUS_MEMORY_FULL);
        if (done == 0) {
            expect("old", "treasure");
        }
        failures++;
    }
    assert_true(failures > 3);
    expect("old", NULL);
    assert_int_equal(unlock(ID, "new"), RENAME_DONE);
    expect("new", "treasure");
    world_end();
}

/* The steps are no requests of clients, who cannot write to a journal either. */
static void test_inner(void **state)
{
    char name[RENAME_KEY_BYTES + 1] = {0};

    (void)state;
    begin();
    const struct shard_stats before = *shard_stats(world.shard);
    assert_int_equal(lock(ID, "new", false), RENAME_DONE);
    assert_int_equal(commit(ID, "old", "new"), RENAME_DONE);
    assert_int_equal(apply("new"), RENAME_DONE);
    assert_int_equal(unlock(ID, "new"), RENAME_DONE);
    assert_int_equal(ask(&rename_look, REQUEST_GET, journal(0), bytes_of("x", 1)), RENAME_DONE);
    assert_int_equal(forget(ID, 0), RENAME_DONE);
    const struct shard_stats *after = shard_stats(world.shard);
    assert_memory_equal(before.requests, after->requests, sizeof before.requests);
    assert_memory_equal(before.answers, after->answers, sizeof before.answers);
    assert_memory_equal(before.latency, after->latency, sizeof before.latency);
    assert_memory_equal(before.acks, after->acks, sizeof before.acks);
    assert_int_equal(before.hits + before.misses, after->hits + after->misses);

    memcpy(name, journal(0).data, RENAME_KEY_BYTES);
    assert_int_equal(strlen(name), RENAME_KEY_BYTES);
    assert_int_equal(world_put(name, "x"), STATUS_INVALID);
    assert_int_equal(world_destroy(name), STATUS_INVALID);
    world_end();
}

static void test_who_waits(void **state)
{
    char key[16];

    (void)state;
    begin();
    assert_int_equal(lock(OTHER_ID, "old", false), RENAME_DONE);
    assert_int_equal(commit(ID, "old", "new"), RENAME_LOCKED);
    assert_int_equal(load_u64(world.answer.reply.results.data + 1), OTHER_ID);
    assert_int_equal(unlock(ID, "old"), RENAME_DONE); /* It is not this one's. */
    assert_int_equal(commit(ID, "old", "new"), RENAME_LOCKED);
    assert_int_equal(unlock(OTHER_ID, "old"), RENAME_DONE);
    expect("old", "treasure");
    assert_int_equal(commit(ID, "nothing", "new"), RENAME_NONE);

    for (uint64_t i = 0; i < RENAMES_MAX; i++) {
        snprintf(key, sizeof key, "%u", (unsigned)i);
        assert_int_equal(world_put(key, "x"), STATUS_OK);
        assert_int_equal(commit(100 + i, key, "new"), RENAME_DONE);
    }
    assert_int_equal(commit(ID, "old", "new"), RENAME_WAIT);
    assert_int_equal(forget(101, 1), RENAME_DONE);
    assert_int_equal(commit(ID, "old", "new"), RENAME_DONE);

    for (uint64_t i = 0; i < LOCKS_MAX; i++) {
        snprintf(key, sizeof key, "k%u", (unsigned)i);
        assert_int_equal(lock(ID, key, false), RENAME_DONE);
    }
    assert_int_equal(lock(ID, "one more", false), RENAME_WAIT);
    assert_int_equal(lock(OTHER_ID, "k0", false), RENAME_WAIT);
    world_end();
}

/* What the log has after a crash between the steps is enough. */
static void test_crash(void **state)
{
    (void)state;
    begin();
    assert_int_equal(lock(ID, "new", false), RENAME_DONE);
    assert_int_equal(commit(ID, "old", "new"), RENAME_DONE);
    struct shard *before = world.shard;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    struct reader batch = {0};
    for (size_t i = 0; i < world.record_count; i++) {
        const struct logged *logged = &world.records[i];
        if (logged->kind == LOG_FULL) {
            assert_int_equal(
                shard_restore_record(world.shard, bytes_of(logged->body, logged->size)), 0);
            continue;
        }
        batch = reader_of(bytes_of(logged->body, logged->size));
        while (reader_left(&batch) > 0) {
            (void)read_u8(&batch);
            (void)read_u64(&batch);
            assert_int_equal(shard_restore_record(world.shard, read_string(&batch)), 0);
        }
    }
    shard_restore_done(world.shard, world.now_ms);
    shard_destroy(before);

    intent_size = 0;
    assert_int_equal(ask(&rename_look, REQUEST_GET, journal(1), bytes_of("x", 1)), RENAME_NONE);
    assert_int_equal(ask(&rename_look, REQUEST_GET, journal(0), bytes_of("x", 1)), RENAME_DONE);
    intent_size = world.answer.reply.results.size - 1;
    memcpy(intent, world.answer.reply.results.data + 1, intent_size);
    struct rename_intent read;
    assert_true(rename_intent_read(bytes_of(intent, intent_size), &read));
    assert_int_equal(read.id, ID);
    assert_true(bytes_equal(read.key, text("new")));
    expect("old", NULL);
    expect("new", "what was there");
    assert_int_equal(commit(OTHER_ID, "new", "old"), RENAME_DONE); /* In another journal. */
    assert_int_equal(ask(&rename_look, REQUEST_GET, journal(1), bytes_of("x", 1)), RENAME_DONE);
    world_end();
}

static void test_bad_intents(void **state)
{
    struct rename_intent read;

    (void)state;
    begin();
    assert_int_equal(commit(ID, "old", "new"), RENAME_DONE);
    for (size_t size = 0; size < 29; size++) { /* Numbers, and the key with its size. */
        assert_false(rename_intent_read(bytes_of(intent, size), &read));
    }
    assert_true(rename_intent_read(bytes_of(intent, intent_size), &read));
    intent_size -= read.record.size - 3;
    assert_int_equal(apply("new"), 0);
    assert_int_equal(error, STATUS_DAMAGED);
    expect("new", "what was there");
    world_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_journals),  cmocka_unit_test(test_steps),
        cmocka_unit_test(test_refused),   cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_who_waits), cmocka_unit_test(test_crash),
        cmocka_unit_test(test_inner),     cmocka_unit_test(test_bad_intents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
