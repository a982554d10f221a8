/* A shard that is one of several: what goes to other nodes, writes that wait for them, what ended, what is here. */
#include "cold.h"
#include "copies_world.h"
#include "eras.h"

/* ---- Out ---- */

static void test_what_is_stamped_goes_out(void **state)
{
    struct changes changes = {.size = 0};
    char longer[200];

    (void)state;
    copies_begin();
    memset(longer, 'v', sizeof longer);
    changes_add(&changes, (struct change){.operation = CHANGE_SET,
                                          .name = text("long"),
                                          .value = bytes_of(longer, sizeof longer)});
    changes_add(&changes, (struct change){.operation = CHANGE_IDLE, .ms = 80000});
    struct request request = world_write_of("k", &changes);
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(copies.sent_count, 1);
    assert_int_equal(last_sent()->kind, LOG_FULL);
    assert_int_equal(last_sent()->hlc, shard_hlc(world.shard));
    assert_int_equal(last_sent()->position, last_logged()->position);
    assert_bytes_equal(bytes_of(last_sent()->body, last_sent()->size), here("k"));

    changes.size = 0;
    changes_add(&changes, (struct change){
                              .operation = CHANGE_SET, .name = text("short"), .value = text("v")});
    request = world_write_of("k", &changes);
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(copies.sent_count, 2);
    assert_int_equal(last_sent()->kind, LOG_DELTA);
    assert_int_equal(last_sent()->hlc, shard_hlc(world.shard));

    world_pass(20000);
    assert_int_equal(world_get("k"), STATUS_OK);
    assert_int_equal(copies.sent_count, 3);
    assert_int_equal(last_sent()->kind, LOG_TOUCH);
    assert_int_equal(last_sent()->hlc, 0);

    world_pass(90000); /* It has expired, and is buried. */
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 1);
    assert_int_equal(copies.sent_count, 4);
    assert_int_equal(last_sent()->kind, LOG_FULL); /* Its tombstone, which stays here, too. */
    assert_true(last_sent()->hlc != 0);
    assert_bytes_equal(bytes_of(last_sent()->body, last_sent()->size), here("k"));
    copies_end();
}

/* ---- Writes that wait ---- */

static void test_replica_waits_for_a_copy(void **state)
{
    (void)state;
    copies_begin();
    uint64_t a = put_held("a", "1", ACK_DEFAULT), b = put_held("b", "1", ACK_REPLICA);
    assert_int_equal(world.answer.reply.ack, ACK_REPLICA);
    assert_int_equal(world_run((struct request){.op = REQUEST_GET, .key = text("a")}), STATUS_OK);
    struct request memory = world_put_of("c", "1");
    memory.ack = ACK_MEMORY;
    assert_int_equal(world_run(memory), STATUS_OK);
    assert_false(world.answer.held);
    assert_int_equal(world.answer.reply.ack, ACK_MEMORY);
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    assert_int_equal(world.releases, 0);

    shard_copied(world.shard, 3, world.now_us); /* Nobody waits for it. */
    assert_int_equal(world.releases, 0);
    shard_copied(world.shard, 2, world.now_us);
    assert_int_equal(world.releases, 1);
    assert_int_equal(world.released_ticket, b);
    assert_int_equal(world.released_status, STATUS_OK);
    assert_int_equal(world.released_level, ACK_REPLICA);
    shard_copied(world.shard, 1, world.now_us);
    assert_int_equal(world.released_ticket, a);
    assert_int_equal(world.releases, 2);
    assert_int_equal(stats()->acks[ACK_REPLICA], 2);
    assert_int_equal(world.shard->replicas.waits.count, 0);
    copies_end();
}

static void test_without_copies_the_disk_has_to_do(void **state)
{
    (void)state;
    copies_begin();
    uint64_t a = put_held("a", "1", ACK_DEFAULT);
    uint64_t a_lsn = world.shard->appended_lsn;
    put_held("b", "1", ACK_DEFAULT);
    uint64_t c = put_held("c", "1", ACK_DEFAULT);
    uint64_t hurries = world.hurries;
    shard_uncopied(world.shard, 2, world.now_us);
    assert_true(world.hurries > hurries);
    assert_int_equal(world.releases, 0);
    shard_log_durable(world.shard, a_lsn, world.now_us);
    assert_int_equal(world.releases, 1);
    assert_int_equal(world.released_ticket, a);
    assert_int_equal(world.released_level, ACK_DISK);
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    assert_int_equal(world.releases, 2); /* The third still waits for its copy. */
    shard_copied(world.shard, 3, world.now_us);
    assert_int_equal(world.released_ticket, c);
    assert_int_equal(world.released_level, ACK_REPLICA);

    copies.nobody = true;
    uint64_t d = put_held("d", "1", ACK_DEFAULT);
    assert_int_equal(world.answer.reply.ack, ACK_DISK);
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    assert_int_equal(world.released_ticket, d);
    assert_int_equal(world.released_level, ACK_DISK);
    assert_int_equal(stats()->acks[ACK_DISK], 3);
    copies_end();
}

/* Where the policy says so, nobody is told OK of what one node has. */
static void test_without_copies_it_is_refused(void **state)
{
    (void)state;
    copies_begin();
    struct policy policy = world.policy;
    policy.on_no_replica = NO_REPLICA_REFUSE;
    struct policies policies;
    assert_int_equal(policies_init(&policies, &policy, 1), 0);
    shard_set_policies(world.shard, &policies);

    copies.unreachable = true; /* Known before: nothing is done. */
    size_t logged = world.record_count;
    assert_int_equal(world_put("a", "1"), STATUS_UNAVAILABLE);
    assert_non_null(strstr(world.answer.reply.text, "on_no_replica"));
    assert_int_equal(world_destroy("a"), STATUS_UNAVAILABLE);
    assert_int_equal(world.record_count, logged);
    assert_int_equal(copies.sent_count, 0);
    struct request disk = world_put_of("a", "1"); /* Who asks for another level gets it. */
    disk.ack = ACK_DISK;
    assert_int_equal(world_run(disk), STATUS_OK);
    disk.ack = ACK_MEMORY;
    assert_int_equal(world_run(disk), STATUS_OK);

    copies.unreachable = false; /* It went while the write was done. */
    copies.nobody = true;
    assert_int_equal(world_put("a", "2"), STATUS_MAYBE_APPLIED);
    assert_false(world.answer.held);
    copies.nobody = false;

    uint64_t releases = world.releases; /* It went while the write waited: the disk will not do. */
    uint64_t b = put_held("b", "1", ACK_DEFAULT), c = put_held("c", "1", ACK_REPLICA);
    shard_uncopied(world.shard, copies.number - 1, world.now_us);
    assert_int_equal(world.releases, releases + 1);
    assert_int_equal(world.released_ticket, b);
    assert_int_equal(world.released_status, STATUS_MAYBE_APPLIED);
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    shard_copied(world.shard, copies.number, world.now_us);
    assert_int_equal(world.released_ticket, c);
    assert_int_equal(world.released_status, STATUS_OK);
    assert_int_equal(world.released_level, ACK_REPLICA);
    copies_end();
}

/* What is done for the first owner is done once that has it; the disk here will not do, nor that it changed nothing. */
static void test_done_for_the_first_owner(void **state)
{
    (void)state;
    copies_begin();
    struct request create = world_put_of("a", "1");
    create.mode = WRITE_CREATE;
    create.ack = ACK_REPLICA;
    (void)put_held("b", "1", ACK_REPLICA);
    assert_int_equal(copies.awaited_first, 0);
    create.for_first = true;
    assert_int_equal(world_run(create), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(copies.awaited_first, copies.number);
    const uint64_t ticket = world.answer.ticket;
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    shard_uncopied(world.shard, copies.number, world.now_us);
    assert_int_equal(world.released_ticket, ticket);
    assert_int_equal(world.released_status, STATUS_MAYBE_APPLIED);

    struct request again = world_put_of("a", "1");
    again.mode = WRITE_CREATE;
    again.for_first = true;
    assert_int_equal(world_run(again), STATUS_EXISTS);
    struct request put = world_put_of("c", "1");
    put.ack = ACK_REPLICA;
    put.for_first = true;
    put.client = 7;
    put.sequence = 1;
    assert_int_equal(world_run(put), STATUS_OK);
    shard_copied(world.shard, copies.number, world.now_us);
    assert_int_equal(world_run(put), STATUS_OK);
    assert_true(world.answer.held);
    assert_int_equal(last_sent()->kind, LOG_TOUCH);
    assert_int_equal(copies.awaited_first, copies.number);
    shard_copied(world.shard, copies.number, world.now_us);
    assert_int_equal(world.released_ticket, world.answer.ticket);
    assert_int_equal(world.released_level, ACK_REPLICA);
    copies_end();
}

static void test_a_failed_log_ends_the_waiting(void **state)
{
    (void)state;
    copies_begin();
    put_held("a", "1", ACK_DEFAULT);
    put_held("b", "1", ACK_DEFAULT);
    shard_uncopied(world.shard, 1, world.now_us);
    shard_log_failed(world.shard, "broken");
    assert_int_equal(world.releases, 1);
    assert_int_equal(world.released_status, STATUS_LOG_FAILED);
    shard_copied(world.shard, 2, world.now_us); /* This one is safe elsewhere. */
    assert_int_equal(world.releases, 2);
    assert_int_equal(world.released_status, STATUS_OK);
    copies_end();
}

/* What it found may be here alone as yet. */
static void test_a_write_that_changed_nothing_waits_too(void **state)
{
    (void)state;
    copies_begin();
    struct request request = world_put_of("a", "1");
    request.client = 7;
    request.sequence = 1;
    assert_int_equal(world_run(request), STATUS_OK);
    request = world_put_of("a", "1");
    request.client = 7;
    request.sequence = 1;
    request.retry_hlc = 1;
    size_t logged = world.record_count;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_true(world.answer.reply.repeated && world.answer.held);
    assert_int_equal(world.record_count, logged);
    assert_int_equal(copies.sent_count, 2);
    assert_int_equal(last_sent()->kind, LOG_TOUCH);
    shard_copied(world.shard, 2, world.now_us);
    assert_int_equal(world.releases, 1);
    assert_int_equal(world.released_ticket, world.answer.ticket);

    /* What that was is not to have come: then it is the disk that both wait for. */
    shard_uncopied(world.shard, 2, world.now_us);
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(world.answer.reply.ack, ACK_DISK);
    assert_true(world.answer.held);
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    assert_int_equal(world.releases, 3);
    copies_end();
}

static void test_waits(void **state)
{
    struct test_memory memory = test_memory();
    struct copy_waits waits;
    struct copy_wait wait;
    uint64_t random = 3, next = 1, left = 0;
    static bool there[20001];

    (void)state;
    copy_waits_init(&waits, &memory.memory);
    for (int i = 0; i < 200000 && next <= 20000; i++) {
        if (random_below(&random, 5) < 3) {
            assert_int_equal(copy_waits_reserve(&waits), 0);
            next += random_below(&random, 3);
            if (next > 20000) {
                break;
            }
            copy_waits_push(
                &waits, (struct copy_wait){.number = next, .lsn = next * 2, .ticket = next + 100});
            there[next++] = true;
            left++;
        } else if (next > 1) {
            uint64_t number = random_below(&random, (uint32_t)next);
            bool found = copy_waits_take(&waits, number, &wait);
            assert_int_equal(found, there[number]);
            assert_true(!found || wait.ticket == number + 100);
            left -= there[number];
            there[number] = false;
        }
    }
    assert_false(copy_waits_pop(&waits, 0, UINT64_MAX, &wait));
    assert_false(copy_waits_pop(&waits, UINT64_MAX, 0, &wait));
    for (uint64_t last = 0; copy_waits_pop(&waits, UINT64_MAX, UINT64_MAX, &wait); left--) {
        assert_true(wait.number > last && there[wait.number]);
        last = wait.number;
    }
    assert_int_equal(left, 0);
    memory.fail_at = memory.requests + 1;
    copy_waits_fini(&waits);
    assert_int_equal(copy_waits_reserve(&waits), -ENOMEM);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* ---- What ends ---- */

static uint64_t seen_here(const char *key, struct actor actor)
{
    return seen_of(shard_seen(world.shard), slot_of_key(text(key)), actor);
}

static void test_own_stamps_are_seen(void **state)
{
    const struct actor self = {1, 1}, earlier = {1, 2};

    (void)state;
    copies_begin();
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    assert_int_equal(seen_here("a", self), 0); /* It is not known. */
    shard_begin_seen(world.shard);
    assert_int_equal(seen_here("a", self), shard_hlc(world.shard));
    uint64_t before = seen_here("a", self);
    assert_int_equal(world_put("a", "2"), STATUS_OK);
    assert_true(seen_here("a", self) > before);
    assert_int_equal(seen_here("a", self), shard_hlc(world.shard));
    assert_int_equal(seen_here("b", self), before);
    assert_int_equal(seen_here("b", earlier), 0);
    copies_end();
}

static void saw(uint64_t hlc)
{
    const struct stamp stamp = {hlc, copies.kit.actor};

    assert_int_equal(seen_advance(shard_seen(world.shard), slot_of_key(copies.kit.key), stamp), 0);
}

/* It was here, ended, and was forgotten: a copy that comes late finds that out. */
static void test_what_was_forgotten_does_not_come_back(void **state)
{
    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    other_put("k", "v");
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(world_destroy("k"), STATUS_OK);
    world_pass(world.policy.rules.tombstone_keep_ms + 200000);
    assert_true(here("k").size > 0); /* As long as that was not all in order. */
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(stats()->live, 0);
    saw(session_newest_hlc(buffer_bytes(&copies.kit.record)));
    world_pass(200000);
    assert_int_equal(here("k").size, 0);
    assert_int_equal(copy_full(), STATUS_DESTROYED);
    assert_int_equal(stats()->live, 0);
    assert_int_equal(world_get("k"), STATUS_NOT_FOUND);
    /* Again, by the tombstone that this left, which is past its time. */
    assert_int_equal(copy_full(), STATUS_DESTROYED);
    assert_int_equal(stats()->live, 0);

    /* What is here now ends it there. */
    shard_whole(world.shard, keeper_position(world.options.seed, text("k")), ++copies.ticket,
                world.now_us);
    assert_int_equal(copies.given, 1);
    struct buffer merged = {.memory = &copies.kit.memory.memory};
    assert_int_equal(
        session_merge(buffer_bytes(&copies.kit.record), buffer_bytes(&copies.gave), &merged), 0);
    struct session_view view;
    assert_int_equal(session_open(&view, buffer_bytes(&merged), world.now_ms), 0);
    assert_false(view.live);
    assert_bytes_equal(buffer_bytes(&merged), here("k"));
    buffer_fini(&merged);
    copies_end();
}

/* Fields of the life before do not get into one that began since. */
static void test_a_later_life_is_not_mixed_with_an_earlier(void **state)
{
    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    copies.kit.type = SESSION_MAP;
    copies.kit.key = text("k");
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .name = text("f"), .value = text("old"))),
                     STATUS_OK);
    saw(session_newest_hlc(buffer_bytes(&copies.kit.record)));
    world.now_ms += 1000;
    struct request request = world_one_of(
        "k", (struct change){.operation = CHANGE_SET, .name = text("g"), .value = text("new")});
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_int_equal(copy_full(), STATUS_DESTROYED);
    assert_int_equal(world_get("k"), STATUS_OK);
    assert_int_equal(world.answer.field_count, 1);

    /* One that nobody has told of here is another life of its own. */
    copies.kit.record.size = 0;
    copies.kit.now_ms = world.now_ms;
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .name = text("h"), .value = text("x"))),
                     STATUS_OK);
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(world_get("k"), STATUS_OK);
    assert_int_equal(world.answer.field_count, 2);
    copies_end();
}

static void put_idle(const char *key, uint64_t idle_ms)
{
    struct changes changes = {.size = 0};

    changes_add(&changes, (struct change){.operation = CHANGE_SET, .value = text("v")});
    changes_add(&changes, (struct change){.operation = CHANGE_IDLE, .ms = idle_ms});
    assert_int_equal(world_run(world_write_of(key, &changes)), STATUS_OK);
}

static bool scan_finds(void)
{
    assert_int_equal(world_run((struct request){.op = REQUEST_SCAN, .count = 10}), STATUS_OK);
    return world.answer.reply.keys.size > 0;
}

/* A use is told to other nodes once it slides the deadline by an eighth of the timeout: where another node has taken some, a
 * session lives on for so long. */
static void test_uses_that_were_not_told(void **state)
{
    const struct request look = {.op = REQUEST_GET, .key = text("k"), .flags = GET_NO_TOUCH};

    (void)state;
    copies_begin();
    put_idle("k", 8000);
    copies.known_ms = UINT64_MAX; /* It stands in for the primary. */
    world_pass(8900);
    assert_int_equal(world_run(look), STATUS_OK);
    assert_true(scan_finds());
    assert_int_equal(copies.asked, 0); /* Nor does it have to go. */
    copies.known_ms = 0;
    assert_int_equal(world_run(look), STATUS_NOT_FOUND);
    assert_false(scan_finds());
    copies.known_ms = world.now_ms - 8500; /* It is the new primary since shortly after that. */
    assert_int_equal(world_run(look), STATUS_NOT_FOUND);
    copies.known_ms = world.now_ms - 1000;
    assert_int_equal(world_run(look), STATUS_OK);
    struct request update = world_one_of("k", (struct change){.operation = CHANGE_TOUCH});
    update.mode = WRITE_UPDATE;
    assert_int_equal(world_run(update), STATUS_OK);
    world_pass(7900);
    assert_int_equal(world_run(look), STATUS_OK);
    world_pass(200); /* This use it knew of. */
    assert_int_equal(world_run(look), STATUS_NOT_FOUND);
    world_pass(2000);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 1);
    copies_end();
}

/* The shard of another owner, which starts again with what this one has. */
static void start_another(const char *key)
{
    struct shard *before = world.shard;
    const struct bytes record = here(key);

    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    assert_int_equal(shard_restore_record(world.shard, record), 0);
    shard_restore_done(world.shard, world.now_ms);
    shard_set_copies(world.shard, &copies.port);
    copies.known_ms = world.now_ms; /* It is the primary since then. */
    shard_destroy(before);
}

/* What one restart may have taken is given back once, however many nodes start one after the other. */
static void test_restarts_do_not_add(void **state)
{
    enum { IDLE_MS = 80000, PART_MS = IDLE_MS / 8, STARTS = 3 };
    const struct request look = {.op = REQUEST_GET, .key = text("k"), .flags = GET_NO_TOUCH};

    (void)state;
    copies_begin();
    put_idle("k", IDLE_MS);
    for (int i = 0; i < STARTS; i++) {
        world_pass(IDLE_MS / 4);
        start_another("k");
    }
    world_pass(IDLE_MS - STARTS * IDLE_MS / 4 + PART_MS - 1);
    assert_int_equal(world_run(look), STATUS_OK);
    world_pass(1);
    assert_int_equal(world_run(look), STATUS_NOT_FOUND);
    copies_end();
}

/* Who may not bury only hides; and a tombstone goes where what comes late would be found out. */
static void test_burials_need_the_others(void **state)
{
    (void)state;
    copies_begin();
    copies.agreed = false;
    assert_int_equal(world_put_until("k", "v", 1000, 0), STATUS_OK);
    world_pass(20000);
    assert_int_equal(world_get("k"), STATUS_NOT_FOUND);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 0);
    assert_int_equal(stats()->live, 1);
    assert_in_range(copies.asked, 3, 40); /* More and more seldom. */
    copies.agreed = true;
    world_pass(20000);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 1);
    assert_int_equal(stats()->live, 0);
    assert_true(here("k").size > 0);
    world_pass(world.policy.rules.tombstone_keep_ms + 400000);
    assert_true(here("k").size > 0);
    shard_begin_seen(world.shard);
    world_pass(400000);
    assert_int_equal(here("k").size, 0);
    copies_end();
}

/* What others say holds for a few seconds, however long ago the session's deadline was: that is looked at in time. */
static void test_burials_long_after_the_deadline(void **state)
{
    (void)state;
    copies_begin();
    copies.agreed = false;
    assert_int_equal(world_put_until("k", "v", 1000, 0), STATUS_OK);
    world_pass(100000);
    copies.answers = true;
    world_pass(40000);
    assert_int_equal(world.traces[TRACE_SESSION_EXPIRED], 1);
    assert_int_equal(stats()->live, 0);
    copies_end();
}

/* ---- What is here ---- */

static uint64_t hashes[16];
static uint32_t hash_count;

static bool hash_visit(void *context, uint64_t position, uint64_t hash)
{
    (void)context;
    (void)position;
    hashes[hash_count++] = hash;
    return true;
}

static uint64_t hash_here(const char *key)
{
    uint64_t position = keeper_position(world.options.seed, text(key));

    hash_count = 0;
    shard_walk(world.shard, position, position, true, hash_visit, NULL);
    return hash_count == 1 ? hashes[0] : 0;
}

/* A tombstone that is kept past its time, as this node does not know of all that may come, is compared. One that may go
 * is not: whoever sends what it has ended is told. */
static void test_an_old_tombstone_is_told(void **state)
{
    uint8_t living[512], dead[512];

    (void)state;
    copies_begin();
    assert_int_equal(world_put("k", "v"), STATUS_OK);
    const size_t living_size = here("k").size;
    memcpy(living, here("k").data, living_size);
    assert_int_equal(world_destroy("k"), STATUS_OK);
    const size_t dead_size = here("k").size;
    memcpy(dead, here("k").data, dead_size);
    assert_int_equal(copy_now(LOG_FULL, "k", bytes_of(living, living_size)), STATUS_OK);
    world_pass(world.policy.rules.tombstone_keep_ms + 1000);
    assert_true(here("k").size > 0);
    assert_true(hash_here("k") != 0);
    size_t logged = world.record_count;
    assert_int_equal(copy_now(LOG_FULL, "k", bytes_of(living, living_size)), STATUS_OK);

    shard_begin_seen(world.shard); /* Before the next patrol. */
    assert_true(here("k").size > 0);
    assert_int_equal(hash_here("k"), 0);
    assert_int_equal(copy_now(LOG_FULL, "k", bytes_of(living, living_size)), STATUS_DESTROYED);
    assert_int_equal(copy_now(LOG_FULL, "k", bytes_of(dead, dead_size)), STATUS_OK);
    assert_int_equal(world.record_count, logged);
    copies_end();
}

/* Nor is the comparison that brings what others wrote since, without knowing of that end: it has passed over the tombstone
 * when that becomes as new as what came. */
static void test_an_old_tombstone_that_becomes_new_is_told(void **state)
{
    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    assert_int_equal(world_put("k", "v"), STATUS_OK);
    copies.kit.key = text("k");
    copies.kit.record.size = 0;
    assert_int_equal(buffer_append(&copies.kit.record, here("k")), 0);
    assert_int_equal(world_destroy("k"), STATUS_OK);
    world.now_ms += world.policy.rules.tombstone_keep_ms + 1000; /* Before the next patrol. */
    assert_true(here("k").size > 0);
    assert_int_equal(world_get("other"), STATUS_NOT_FOUND); /* The clock goes on. */
    assert_int_equal(hash_here("k"), 0);
    copies.kit.now_ms = world.now_ms;
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(SET, .value = text("later"))), STATUS_OK);
    assert_int_equal(copy_full(), STATUS_DESTROYED);
    assert_int_equal(world_get("k"), STATUS_NOT_FOUND);
    assert_true(hash_here("k") != 0);
    assert_int_equal(copy_full(), STATUS_OK); /* It is told by comparisons again. */
    copies_end();
}

static void test_hashes_of_content(void **state)
{
    (void)state;
    copies_begin();
    other_put("k", big);
    assert_int_equal(kit_do(&copies.kit, KIT_CHANGE(IDLE, .ms = 80000000)), STATUS_OK);
    assert_int_equal(copy_full(), STATUS_OK);
    uint64_t hash = hash_here("k");
    assert_true(hash != 0);
    world_pass(10);
    assert_int_equal(world_get("k"),
                     STATUS_OK); /* An access that is not told is no other content... */
    assert_int_equal(hash_here("k"), hash);
    world_pass(80000000 / 8);
    assert_int_equal(world_get("k"),
                     STATUS_OK); /* ... and one that is told is: who missed it is sent it. */
    assert_true(hash_here("k") != hash);
    hash = hash_here("k");
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
    assert_int_equal(hash_here("k"), hash);
    assert_int_equal(store_run(world_put_of("k", "v")), STATUS_OK);
    assert_true(hash_here("k") != hash);

    shard_begin_seen(world.shard);
    copies.agreed = true;
    assert_int_equal(world_destroy("k"), STATUS_OK);
    assert_true(hash_here("k") != 0); /* Of a tombstone, while it is kept. */
    world.now_ms += world.policy.rules.tombstone_keep_ms + 1;
    assert_int_equal(world_get("other"), STATUS_NOT_FOUND); /* The clock goes on. */
    assert_true(here("k").size > 0);
    assert_true(hash_here("k") != 0); /* And after it, while what comes late would bring it back. */
    saw(session_newest_hlc(buffer_bytes(&copies.kit.record)));
    assert_int_equal(hash_here("k"), 0);

    assert_int_equal(world_put("a", "v"), STATUS_OK);
    assert_int_equal(world_put("b", "v"), STATUS_OK);
    hash_count = 0;
    shard_walk(world.shard, 0, UINT64_MAX, true, hash_visit, NULL);
    assert_int_equal(hash_count, 2);
    assert_true(hashes[0] != hashes[1]);
    copies_end();
}

/* ---- What goes to other nodes ---- */

static void test_a_slot_is_dropped(void **state)
{
    char key[16];

    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    uint32_t slot = slot_of_key(text("{t}"));
    put_cold("{t}cold");
    assert_int_equal(world_put("other", "v"), STATUS_OK);
    for (int i = 0; i < 300; i++) {
        snprintf(key, sizeof key, "{t}%d", i);
        assert_int_equal(world_put(key, "v"), STATUS_OK);
    }
    assert_int_equal(stats()->live, 302);
    uint32_t sent = copies.sent_count, steps = 0;
    world.log_rc = -EAGAIN;
    assert_int_equal(shard_drop_slot(world.shard, slot, world.now_ms), -EAGAIN);
    assert_int_equal(stats()->live, 302);
    world.log_rc = 0;
    while (shard_drop_slot(world.shard, slot, world.now_ms) == 1) {
        steps++;
    }
    assert_in_range(steps, 3, 10);
    assert_int_equal(stats()->live, 1);
    assert_int_equal(stats()->cold, 0);
    assert_int_equal(world_logged(LOG_DROP), 301);
    assert_int_equal(copies.sent_count, sent);
    assert_int_equal(world.traces[TRACE_SESSION_DELETED], 0);
    assert_false(seen_is_known(shard_seen(world.shard), slot));
    assert_true(seen_is_known(shard_seen(world.shard), slot_of_key(text("other"))));
    assert_int_equal(world_get("{t}7"), STATUS_NOT_FOUND);
    store_compact();
    for (size_t i = 0; i < store.count; i++) {
        assert_true(store.all[i].record.size == 0 ||
                    bytes_equal(session_key(buffer_bytes(&store.all[i].record)), text("other")));
    }
    copies_end();
}

/* It went, and came back as it was: a restart has it. */
static void test_what_was_dropped_may_come_again(void **state)
{
    struct logged *log;
    size_t count;

    (void)state;
    copies_begin();
    other_put("{t}k", "v");
    assert_int_equal(copy_full(), STATUS_OK);
    assert_int_equal(world_put("{t}gone", "v"), STATUS_OK);
    assert_int_equal(shard_drop_slot(world.shard, slot_of_key(text("{t}")), world.now_ms), 1);
    assert_int_equal(here("{t}k").size, 0);
    assert_int_equal(copy_full(), STATUS_OK);
    log = world.records;
    count = world.record_count;
    shard_destroy(world.shard);
    world.options.actor.start = 2;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(store_give(&log[i]), 0);
    }
    shard_restore_done(world.shard, world.now_ms);
    assert_int_equal(stats()->live, 1);
    assert_bytes_equal(here("{t}k"), buffer_bytes(&copies.kit.record));
    copies_end();
}

/* It gave the slot away, and begins it anew, and in it a session that it had begun before, as nobody can be asked: who comes
 * back with what was stamped here before has it still, and both are one session. */
static void test_begun_anew_without_what_was_stamped(void **state)
{
    const uint32_t slot = slot_of_key(text("{t}k"));
    uint8_t bytes[512];

    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    struct request request = world_one_of(
        "{t}k", (struct change){.operation = CHANGE_SET, .name = text("f"), .value = text("old")});
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
    const struct bytes before = bytes_of(bytes, here("{t}k").size);
    assert_true(before.size <= sizeof bytes);
    memcpy(bytes, here("{t}k").data, before.size);
    while (shard_drop_slot(world.shard, slot, world.now_ms) == 1) {
    }
    seen_begin(shard_seen(world.shard), slot);
    world.now_ms += 1000;
    request = world_one_of(
        "{t}k", (struct change){.operation = CHANGE_SET, .name = text("g"), .value = text("new")});
    request.type = SESSION_MAP;
    assert_int_equal(world_run(request), STATUS_OK);
    assert_true(shard_eras(world.shard)->begun);
    assert_int_equal(copy_now(LOG_FULL, "{t}k", before), STATUS_OK);
    assert_int_equal(world_get("{t}k"), STATUS_OK);
    assert_int_equal(world.answer.field_count, 2);
    copies_end();
}

/* ---- Over a restart ---- */

/* What was dropped is not here, and has not ended: what is kept says nothing of it, whenever a crash comes. */
static void test_what_was_dropped_is_not_kept_as_seen(void **state)
{
    const uint32_t slot = slot_of_key(text("{t}"));

    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    other_put("{t}k", "v");
    assert_int_equal(copy_full(), STATUS_OK);
    saw(session_newest_hlc(buffer_bytes(&copies.kit.record)));
    world_pass(20000);
    shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
    world_pass(300);
    assert_int_equal(store.kept_seen, 1);
    struct buffer before = {.memory = &store.memory.memory};
    assert_int_equal(buffer_append(&before, buffer_bytes(&store.seen)), 0);

    assert_int_equal(shard_drop_slot(world.shard, slot, world.now_ms), 1);
    assert_int_equal(store.kept_seen, 2);
    assert_int_equal(store.seen.size, 0);
    store.seen.size = 0; /* A crash comes before that is written. */
    assert_int_equal(buffer_append(&store.seen, buffer_bytes(&before)), 0);
    shard_destroy(world.shard);
    world.options.actor.start = 2;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    for (size_t i = 0; i < world.record_count; i++) {
        assert_int_equal(store_give(&world.records[i]), 0);
    }
    shard_restore_done(world.shard, world.now_ms);
    assert_int_equal(stats()->live, 0);
    assert_false(seen_is_known(shard_seen(world.shard), slot));
    assert_true(seen_is_known(shard_seen(world.shard), slot + 1));
    shard_set_copies(world.shard, &copies.port);
    assert_int_equal(copy_full(), STATUS_OK); /* It comes back, and lives. */
    assert_int_equal(stats()->live, 1);
    buffer_fini(&before);
    copies_end();
}

/* The store hears once of a slot that lacks nothing any more, as another node, or the archive, had all of it. */
static void test_filled_slots_are_told(void **state)
{
    static const uint8_t vector[] = {1, 7, 1, 9, 0, 0, 0, 0, 0, 0, 0};
    const struct actor self = {1, 1};

    (void)state;
    copies_begin();
    seen_set_filled(shard_seen(world.shard), 8, true);
    assert_false(seen_is_filled(shard_seen(world.shard), 8)); /* It is not known. */
    shard_begin_seen(world.shard);
    seen_set_filled(shard_seen(world.shard), 9, true);
    assert_int_equal(world_put("k", "v"), STATUS_OK);
    world_pass(20000);
    assert_int_equal(store.wholes, 1);
    assert_int_equal(store.whole_slot, 9);
    world_pass(40000);
    assert_int_equal(store.wholes, 1);
    shard_begin_slot_seen(world.shard, 10,
                          bytes_of(NULL, 0)); /* Of which the archive had not all. */
    assert_int_equal(store.wholes, 1);
    /* What this node stamped in it before, and another one had, may be what the archive lacks. */
    assert_true(seen_is_known(shard_seen(world.shard), 10));
    assert_int_equal(seen_of(shard_seen(world.shard), 10, self), 0);
    shard_begin_slot_seen(world.shard, 10, bytes_of(vector, sizeof vector));
    assert_int_equal(store.wholes, 2);
    assert_int_equal(store.whole_slot, 10);
    assert_int_equal(seen_of(shard_seen(world.shard), 10, self), world.shard->hlc);
    copies_end();
}

/* What was dropped is not kept as seen; nor where the same slot comes again, is kept, and is dropped once more. */
static void test_what_was_dropped_twice_is_not_kept_as_seen(void **state)
{
    const uint32_t slot = slot_of_key(text("{t}"));

    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    for (uint32_t round = 0; round < 2; round++) {
        other_put("{t}k", "v");
        assert_int_equal(copy_full(), STATUS_OK);
        shard_begin_slot_seen(world.shard, slot, bytes_of(NULL, 0));
        world_pass(20000);
        shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
        world_pass(300);
        assert_true(store.seen.size > 0);
        while (shard_drop_slot(world.shard, slot, world.now_ms) == 1) {
        }
        assert_int_equal(store.seen.size, 0);
    }
    copies_end();
}

/* What was seen is kept, but never more than the log is sure to give back. */
static void test_what_was_seen_is_kept(void **state)
{
    const struct actor self = {1, 1};

    (void)state;
    copies_begin();
    shard_begin_seen(world.shard);
    assert_int_equal(world_put("a", "1"), STATUS_OK);
    uint64_t first = seen_here("a", self), first_lsn = world.shard->appended_lsn;
    uint64_t hurries = world.hurries;
    world_pass(20000);
    assert_int_equal(store.kept_seen, 0); /* The log is not durable yet. */
    assert_true(world.hurries > hurries);
    assert_int_equal(world_put("a", "2"), STATUS_OK);
    shard_log_durable(world.shard, first_lsn, world.now_us);
    world_pass(300);
    assert_int_equal(store.kept_seen, 1);

    shard_destroy(world.shard);
    world.options.actor.start = 2;
    assert_int_equal(shard_create(&world.options, &world.shard), 0);
    assert_false(seen_is_known(shard_seen(world.shard), slot_of_key(text("a"))));
    shard_restore_done(world.shard, world.now_ms);
    assert_int_equal(seen_here("a", self), first);
    shard_set_copies(world.shard, &copies.port);
    const struct actor again = {1, 2};
    assert_int_equal(seen_here("a", again), shard_hlc(world.shard));
    copies_end();
}

/* What the life before stamped since `seen` was kept is there, too, after a crash: as far as the log goes, and of this node
 * alone. */
static void test_the_life_before_was_seen(void **state)
{
    (void)state;
    for (int crashed = 0; crashed < 2; crashed++) {
        copies_begin();
        shard_begin_seen(world.shard);
        assert_int_equal(world_put("a", "1"), STATUS_OK);
        uint64_t kept = seen_here("a", world.options.actor);
        world_pass(20000);
        shard_log_durable(world.shard, world.shard->appended_lsn, world.now_us);
        world_pass(300);
        assert_int_equal(store.kept_seen, 1);
        assert_int_equal(world_put("b", "2"), STATUS_OK);
        const struct actor before = world.options.actor;
        uint64_t newest = shard_hlc(world.shard);
        uint8_t record[512];
        size_t size = here("b").size;
        memcpy(record, here("b").data, size);

        shard_destroy(world.shard);
        world.options.actor.start++;
        world.options.before = crashed != 0 ? before : (struct actor){0};
        assert_int_equal(shard_create(&world.options, &world.shard), 0);
        assert_int_equal(shard_restore_record(world.shard, bytes_of(record, size)), 0);
        shard_restore_done(world.shard, world.now_ms);
        assert_int_equal(seen_here("a", before), crashed != 0 ? newest : kept);
        world.options.actor.start = 1;
        world.options.before = (struct actor){0};
        copies_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_stamped_goes_out),
        cmocka_unit_test(test_replica_waits_for_a_copy),
        cmocka_unit_test(test_without_copies_the_disk_has_to_do),
        cmocka_unit_test(test_without_copies_it_is_refused),
        cmocka_unit_test(test_done_for_the_first_owner),
        cmocka_unit_test(test_a_failed_log_ends_the_waiting),
        cmocka_unit_test(test_a_write_that_changed_nothing_waits_too),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_own_stamps_are_seen),
        cmocka_unit_test(test_what_was_forgotten_does_not_come_back),
        cmocka_unit_test(test_a_later_life_is_not_mixed_with_an_earlier),
        cmocka_unit_test(test_uses_that_were_not_told),
        cmocka_unit_test(test_restarts_do_not_add),
        cmocka_unit_test(test_burials_need_the_others),
        cmocka_unit_test(test_burials_long_after_the_deadline),
        cmocka_unit_test(test_an_old_tombstone_is_told),
        cmocka_unit_test(test_an_old_tombstone_that_becomes_new_is_told),
        cmocka_unit_test(test_hashes_of_content),
        cmocka_unit_test(test_a_slot_is_dropped),
        cmocka_unit_test(test_what_was_dropped_may_come_again),
        cmocka_unit_test(test_begun_anew_without_what_was_stamped),
        cmocka_unit_test(test_what_was_seen_is_kept),
        cmocka_unit_test(test_the_life_before_was_seen),
        cmocka_unit_test(test_what_was_dropped_is_not_kept_as_seen),
        cmocka_unit_test(test_filled_slots_are_told),
        cmocka_unit_test(test_what_was_dropped_twice_is_not_kept_as_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
