/* Real shards, as copies of each other by their replication: what is written at one is at the others, what ended stays
 * ended, and who was emptied is filled. */
#include "check.h"

#include <stddef.h>

#include <stdio.h>

#include "change.h"
#include "log_kind.h"
#include "replication_core.h"

enum { MEMBERS = 3, STEP_US = 500, MESSAGES_MAX = 100000 };

struct message {
    uint8_t kind, from, to;
    bool dialled; /* On the link that `from` dialled. */
    uint64_t number;
    uint8_t *body; /* On the heap. */
    size_t size;
};

/* An end of a link. */
struct link_end {
    uint8_t to;
    bool dialled;
};

struct member {
    struct log_port log;
    struct door door;
    struct tracer tracer;
    struct replication_port port;
    struct shard *shard;
    struct replication *r;
    struct replication_core core;
    uint32_t number, start;
    uint64_t lsn;
    struct replication_link *out[MEMBERS], *in[MEMBERS];
    /* The last answer. */
    enum status status;
    enum ack_level level;
    bool held;
    char value[64];
    uint64_t releases;
};

static struct test_memory memory;
static struct policies policies;
static struct slot_table table;
static struct member members[MEMBERS];
static struct link_end ends[MEMBERS][2]; /* Towards each; accepted, dialled. */
static struct message messages[MESSAGES_MAX];
static uint32_t first_message, message_count;
static uint64_t now_ms, now_us;

/* ---- The shard's ports ---- */

static int append(struct log_port *log, uint8_t kind, struct log_subject subject,
                  const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    (void)kind, (void)subject, (void)parts, (void)part_count;
    *lsn = ++((struct member *)log)->lsn;
    return 0;
}

static void nothing(struct log_port *log)
{
    (void)log;
}

static struct member *of_door(struct door *door)
{
    return (struct member *)(void *)((char *)door - offsetof(struct member, door));
}

static void reply(struct door *door, uint64_t ticket, const struct reply *answer, bool held)
{
    struct member *member = of_door(door);
    struct session_field field;

    (void)ticket;
    member->status = answer->status;
    member->level = answer->ack;
    member->held = held;
    member->value[0] = '\0';
    if (answer->view != NULL && session_find(answer->view, bytes_of("", 0), &field)) {
        memcpy(member->value, field.value.data, field.value.size);
        member->value[field.value.size] = '\0';
    }
}

static void release(struct door *door, uint64_t ticket, enum status status, enum ack_level level,
                    const char *message)
{
    struct member *member = of_door(door);

    (void)ticket, (void)message;
    member->status = status;
    member->level = level;
    member->releases++;
}

static void trace(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes about)
{
    (void)tracer, (void)event, (void)a, (void)about;
}

/* ---- The network: in order, at once, and nothing is lost but with its link ---- */

static struct member *of_port(struct replication_port *port)
{
    return (struct member *)(void *)((char *)port - offsetof(struct member, port));
}

static bool send_it(struct replication_port *port, void *link, uint8_t kind, uint64_t number,
                    const struct bytes parts[], uint32_t part_count)
{
    const struct link_end *other = link;
    struct message *message = &messages[(first_message + message_count++) % MESSAGES_MAX];
    size_t size = 0;

    assert_true(message_count <= MESSAGES_MAX);
    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    uint8_t *body = malloc(size + 1), *at = body;
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(at, parts[i].data, parts[i].size);
            at += parts[i].size;
        }
    }
    *message = (struct message){
        .kind = kind,
        .from = (uint8_t)(of_port(port)->number - 1),
        .to = other->to,
        .dialled = other->dialled,
        .number = number,
        .body = body,
        .size = size,
    };
    return true;
}

static void cut(struct replication_port *port, void *link)
{
    (void)port, (void)link;
    fail_msg("no link is cut here");
}

static void say_level(struct replication_port *port, uint32_t slot,
                      const struct slot_owners *targets)
{
    (void)port, (void)slot, (void)targets;
}

static void dial(uint32_t from, uint32_t to)
{
    const struct replication_peer there = {true, to + 1, members[to].start, 0, 1};
    const struct replication_peer here = {false, from + 1, members[from].start, 0, 1};

    assert_int_equal(replication_link_up(members[from].r, &there, &ends[to][1], now_ms, now_us,
                                         &members[from].out[to]),
                     0);
    assert_int_equal(replication_link_up(members[to].r, &here, &ends[from][0], now_ms, now_us,
                                         &members[to].in[from]),
                     0);
}

static void deliver(void)
{
    while (message_count > 0) {
        const struct message message = messages[first_message];
        struct member *to = &members[message.to];
        struct replication_link *link =
            message.dialled ? to->in[message.from] : to->out[message.from];
        first_message = (first_message + 1) % MESSAGES_MAX;
        message_count--;
        if (link != NULL) {
            replication_receive(to->r, link, message.kind, message.number,
                                bytes_of(message.body, message.size), now_ms, now_us);
        }
        free(message.body);
    }
}

static void step(void)
{
    now_us += STEP_US;
    now_ms += now_us % 1000 == 0;
    deliver();
    for (uint32_t i = 0; i < MEMBERS; i++) {
        if (members[i].r != NULL) {
            (void)replication_tick(members[i].r, now_ms, now_us);
        }
    }
}

static void run(uint32_t ms)
{
    for (uint64_t end_us = now_us + (uint64_t)ms * 1000; now_us < end_us;) {
        step();
        if (now_us % 20000 == 0) {
            for (uint32_t i = 0; i < MEMBERS; i++) {
                if (members[i].shard != NULL) {
                    (void)shard_tick(members[i].shard, now_ms, 1000);
                    shard_log_durable(members[i].shard, members[i].lsn, now_us);
                }
            }
        }
    }
}

/* ---- Members ---- */

static void start(uint32_t index)
{
    struct member *member = &members[index];

    member->log = (struct log_port){.append = append, .hurry = nothing, .seal = nothing};
    member->door = (struct door){.reply = reply, .release = release};
    member->tracer = (struct tracer){.event = trace};
    member->port = (struct replication_port){.send = send_it, .cut = cut, .level = say_level};
    member->number = index + 1;
    member->start++;
    const struct shard_options of_shard = {
        .seed = 42,
        .actor = {member->number, member->start},
        .policies = &policies,
        .memory = &memory.memory,
        .log = &member->log,
        .door = &member->door,
        .tracer = &member->tracer,
    };
    assert_int_equal(shard_create(&of_shard, &member->shard), 0);
    replication_core_init(&member->core, member->shard);
    const struct replication_options options = {
        .self = of_shard.actor,
        .shards = 1,
        .window_bytes = 1 << 20,
        .memory = &memory.memory,
        .port = &member->port,
        .core = &member->core.port,
    };
    assert_int_equal(replication_create(&options, now_ms, now_us, &member->r), 0);
    replication_core_attach(&member->core, member->r);
    shard_set_copies(member->shard, &member->core.copies);
    assert_int_equal(replication_set_table(member->r, &table, now_ms, now_us), 0);
    for (uint32_t other = 0; other < MEMBERS; other++) {
        if (other != index && members[other].r != NULL) {
            dial(index, other);
            dial(other, index);
        }
    }
}

static void end(uint32_t index)
{
    struct member *member = &members[index];

    deliver();
    for (uint32_t other = 0; other < MEMBERS; other++) {
        struct member *with = &members[other];
        if (with->out[index] != NULL) {
            replication_link_down(with->r, with->out[index], now_ms, now_us);
            replication_link_down(with->r, with->in[index], now_ms, now_us);
        }
        with->out[index] = with->in[index] = NULL;
        member->out[other] = member->in[other] = NULL;
    }
    shard_destroy(member->shard);
    replication_destroy(member->r);
    member->shard = NULL;
    member->r = NULL;
}

static bool is_level(uint32_t index)
{
    return members[index].r != NULL &&
           replication_stats(members[index].r)->slots_owned == SLOT_COUNT &&
           replication_stats(members[index].r)->slots_not_level == 0;
}

static void run_until_level(void)
{
    for (int rounds = 0; !(is_level(0) && is_level(1) && is_level(2)); rounds++) {

        assert_true(rounds < 50);
        run(100);
    }
}

static void begin(void)
{
    static struct policy policy;

    memory = test_memory();
    memset(members, 0, sizeof members);
    policy_defaults(&policy);
    assert_int_equal(policies_init(&policies, &policy, 1), 0);
    now_ms = UINT64_C(1700000000000);
    now_us = 1000000;
    memset(&table, 0, sizeof table);
    table.member_count = MEMBERS;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        table.members[i] =
            (struct slot_table_member){.number = i + 1, .start = 1, .shards = 1, .serves = true};
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        table.owners[slot] = table.targets[slot] = (struct slot_owners){{1, 2, 3}};
    }
    for (uint32_t i = 0; i < MEMBERS; i++) {
        ends[i][0] = (struct link_end){(uint8_t)i, false};
        ends[i][1] = (struct link_end){(uint8_t)i, true};
    }
    for (uint32_t i = 0; i < MEMBERS; i++) {
        start(i);
    }
    run_until_level();
}

static void finish(void)
{
    for (uint32_t i = 0; i < MEMBERS; i++) {
        if (members[i].shard != NULL) {
            end(i);
        }
    }
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* ---- Requests ---- */

static enum status execute(uint32_t index, struct request request)
{
    struct member *member = &members[index];

    request.ticket = 1;
    request.received_us = now_us;
    shard_prepare(member->shard, &request);
    shard_execute(member->shard, &request, now_ms, now_us);
    return member->status;
}

static enum status change_one(uint32_t index, const char *key, struct change change,
                              enum ack_level ack)
{
    uint8_t list[256];

    change.name = bytes_of("", 0);
    change.value = change.value.data == NULL ? bytes_of("", 0) : change.value;
    const size_t size = (size_t)(change_put(list, &change) - list);
    return execute(index, (struct request){.op = REQUEST_WRITE,
                                           .key = text(key),
                                           .type = SESSION_BLOB,
                                           .ack = (uint8_t)ack,
                                           .body = bytes_of(list, size)});
}

static enum status put(uint32_t index, const char *key, const char *value)
{
    return change_one(index, key, (struct change){.operation = CHANGE_SET, .value = text(value)},
                      ACK_REPLICA);
}

static enum status get(uint32_t index, const char *key)
{
    return execute(index, (struct request){.op = REQUEST_GET, .key = text(key)});
}

/* ---- Tests ---- */

static void test_write(void **state)
{
    (void)state;
    begin();
    struct member *one = &members[0];
    assert_int_equal(put(0, "key", "value"), STATUS_OK);
    assert_true(one->held);
    assert_int_equal(one->releases, 0);
    run(5);
    assert_int_equal(one->releases, 1);
    assert_int_equal(one->level, ACK_REPLICA);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(get(i, "key"), STATUS_OK);
        assert_string_equal(members[i].value, "value");
    }
    assert_int_equal(put(1, "key", "another"), STATUS_OK); /* By whomever. */
    run(5);
    assert_int_equal(get(2, "key"), STATUS_OK);
    assert_string_equal(members[2].value, "another");
    finish();
}

/* Nobody else is there: the log has to do, and the answer says so. */
static void test_write_alone(void **state)
{
    (void)state;
    begin();
    struct member *one = &members[0];
    assert_int_equal(put(0, "a", "1"), STATUS_OK); /* On its way when the others go. */
    end(1);
    end(2);
    run(50);
    assert_int_equal(one->releases, 1);
    assert_int_equal(one->level, ACK_DISK);
    assert_int_equal(put(0, "b", "1"), STATUS_OK);
    assert_true(one->held);
    run(50);
    assert_int_equal(one->releases, 2);
    assert_int_equal(one->level, ACK_DISK);
    finish();
}

/* A node that comes back with nothing gets all of it, what it missed included, and nothing that ended. */
static void test_emptied(void **state)
{
    char key[32];

    (void)state;
    begin();
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(put(0, key, key), STATUS_OK);
    }
    run(20);
    for (int i = 0; i < 2000; i += 10) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(
            change_one(0, key, (struct change){.operation = CHANGE_DESTROY}, ACK_REPLICA),
            STATUS_OK);
    }
    end(2);
    assert_int_equal(put(0, "key-11", "written meanwhile"), STATUS_OK);
    run(20);
    start(2);
    run_until_level();
    assert_true(seen_is_filled(shard_seen(members[2].shard), slot_of_key(text("key-7"))));
    assert_int_equal(members[0].releases, 2201);
    for (int i = 0; i < 2000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        assert_int_equal(get(2, key), i % 10 == 0 ? STATUS_NOT_FOUND : STATUS_OK);
        assert_string_equal(members[2].value, i % 10 == 0 ? ""
                                              : i == 11   ? "written meanwhile"
                                                          : key);
    }
    assert_int_equal(shard_stats(members[2].shard)->live, 1800);
    assert_int_equal(shard_stats(members[0].shard)->live, 1800);
    finish();
}

/* Past its deadline a session is hidden at once, and its memory comes back once all agree. */
static void test_expiry(void **state)
{
    (void)state;
    begin();
    assert_int_equal(put(0, "key", "value"), STATUS_OK);
    assert_int_equal(
        change_one(0, "key", (struct change){.operation = CHANGE_TTL, .ms = 200}, ACK_REPLICA),
        STATUS_OK);
    run(250);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(get(i, "key"), STATUS_NOT_FOUND);
    }
    for (int rounds = 0; shard_stats(members[0].shard)->expired == 0; rounds++) {
        assert_true(rounds < 100);
        run(100);
    }
    run(20);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        assert_int_equal(shard_stats(members[i].shard)->live, 0);
    }
    assert_int_equal(shard_stats(members[1].shard)->expired, 0); /* Told once. */
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_alone),
        cmocka_unit_test(test_emptied),
        cmocka_unit_test(test_expiry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
