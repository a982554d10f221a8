/* Topics, subscriptions and queues, without connections. */
#include "check.h"

#include <errno.h>
#include <stdio.h>

#include "pubsub.h"

struct world {
    struct test_memory memory;
    struct pubsub pubsub;
    uint32_t wakes[4];
};

static void wake(void *context, uint32_t shard)
{
    struct world *world = context;

    world->wakes[shard]++;
}

static void begin(struct world *world)
{
    *world = (struct world){.memory = test_memory()};
    pubsub_init(&world->pubsub, &world->memory.memory, 7, wake, world);
}

static void end(struct world *world)
{
    pubsub_fini(&world->pubsub);
    assert_int_equal(world->memory.outstanding_bytes, 0);
}

static int64_t publish(struct world *world, const char *channel, const char *payload)
{
    return pubsub_publish(&world->pubsub, bytes_of_string(channel), bytes_of_string(payload));
}

static int listen(struct world *world, struct subscriber *subscriber, enum pubsub_kind kind,
                  const char *name)
{
    return pubsub_subscribe(&world->pubsub, subscriber, kind, bytes_of_string(name));
}

/* What is in a thread's queue: the payloads, one after the other. */
static const char *taken(struct world *world, uint32_t shard)
{
    static char text[4096];
    size_t size = 0;

    text[0] = '\0';
    struct pubsub_queued *queued = pubsub_take(&world->pubsub, shard);
    while (queued != NULL) {
        struct pubsub_queued *next = queued->next;
        struct bytes payload = queued->message->payload;
        size += (size_t)snprintf(text + size, sizeof text - size, "%.*s ", (int)payload.size,
                                 (const char *)payload.data);
        pubsub_give_back(&world->pubsub, queued);
        queued = next;
    }
    return text;
}

static void test_queues(void **state)
{
    struct subscriber a = {.shard = 0}, b = {.shard = 1}, c = {.shard = 1};
    struct world world;

    (void)state;
    begin(&world);
    assert_int_equal(publish(&world, "news", "nobody"), 0);
    assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, "news"), 1);
    assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, "news"), 0);
    assert_int_equal(listen(&world, &b, PUBSUB_CHANNEL, "news"), 1);
    assert_int_equal(listen(&world, &b, PUBSUB_PATTERN, "n*"), 1);
    assert_int_equal(listen(&world, &c, PUBSUB_PATTERN, "n*"), 1);
    assert_int_equal(listen(&world, &c, PUBSUB_PATTERN, "news"), 1);
    assert_int_equal(pubsub_count(&b), 2);
    assert_int_equal(publish(&world, "news", "1"), 5);
    assert_int_equal(publish(&world, "none", "2"), 2);
    assert_int_equal(publish(&world, "other", "3"), 0);
    assert_string_equal(taken(&world, 0), "1 ");
    assert_string_equal(taken(&world, 1), "1 2 ");
    assert_string_equal(taken(&world, 1), "");
    assert_int_equal(world.wakes[0], 1);
    assert_int_equal(world.wakes[1], 1); /* Once, though there were two. */
    assert_int_equal(pubsub_subscribers(&world.pubsub, bytes_of_string("news")), 2);
    assert_int_equal(pubsub_pattern_count(&world.pubsub), 2);

    const struct subscription_share *share =
        pubsub_share(&world.pubsub, 1, bytes_of_string("news"));
    assert_non_null(share);
    assert_int_equal(share->count, 1);
    assert_ptr_equal(share->first->subscriber, &b);
    assert_int_equal(share->first->since, 0);
    assert_null(pubsub_share(&world.pubsub, 2, bytes_of_string("news")));

    pubsub_unsubscribe(&world.pubsub, &b, PUBSUB_CHANNEL, bytes_of_string("news"));
    pubsub_unsubscribe(&world.pubsub, &b, PUBSUB_CHANNEL, bytes_of_string("news"));
    assert_null(pubsub_share(&world.pubsub, 1, bytes_of_string("news")));
    pubsub_leave(&world.pubsub, &c);
    assert_int_equal(publish(&world, "news", "4"), 2);
    pubsub_leave(&world.pubsub, &a);
    pubsub_leave(&world.pubsub, &b);
    pubsub_leave(&world.pubsub, &b);
    assert_int_equal(publish(&world, "news", "5"), 0);
    assert_int_equal(pubsub_pattern_count(&world.pubsub), 0);
    end(&world); /* With 4 still in queues. */
}

static void test_limits(void **state)
{
    struct subscriber a = {.shard = 0}, b = {.shard = 1};
    static uint8_t large[PUBSUB_QUEUE_BYTES_MAX];
    struct world world;
    char name[16];

    (void)state;
    begin(&world);
    for (uint32_t i = 0; i < PUBSUB_CHANNELS_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, name), 1);
    }
    assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, "more"), -EDQUOT);
    assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, "7"), 0);
    for (uint32_t i = 0; i < PUBSUB_PATTERNS_MAX; i++) {
        snprintf(name, sizeof name, "%u", i);
        assert_int_equal(listen(&world, &a, PUBSUB_PATTERN, name), 1);
    }
    assert_int_equal(listen(&world, &a, PUBSUB_PATTERN, "more"), -EDQUOT);
    pubsub_leave(&world.pubsub, &a);
    struct bytes long_name = bytes_of(large, PUBSUB_NAMES_BYTES_MAX - 1);
    assert_int_equal(pubsub_subscribe(&world.pubsub, &a, PUBSUB_CHANNEL, long_name), 1);
    assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, "c"), 1);
    assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, "d"), -EMSGSIZE);
    assert_int_equal(listen(&world, &b, PUBSUB_CHANNEL, "d"), 1);

    /* A queue takes more until it has as much; then nobody gets it. */
    struct bytes payload = bytes_of(large, sizeof large);
    assert_int_equal(pubsub_publish(&world.pubsub, bytes_of_string("d"), payload), 1);
    assert_int_equal(publish(&world, "d", "more"), -EAGAIN);
    pubsub_leave(&world.pubsub, &a);
    assert_int_equal(listen(&world, &a, PUBSUB_PATTERN, "*"), 1);
    assert_int_equal(publish(&world, "d", "more"), -EAGAIN);
    assert_string_equal(taken(&world, 0), "");
    pubsub_give_back(&world.pubsub, pubsub_take(&world.pubsub, 1));
    assert_int_equal(publish(&world, "d", "more"), 2);
    assert_string_equal(taken(&world, 0), "more ");
    pubsub_leave(&world.pubsub, &a);
    pubsub_leave(&world.pubsub, &b);
    end(&world);
}

/* Subscribe, and send, with the n-th request for memory failing. Returns whether all went well. */
static bool try(struct world *world, struct subscriber *subscribers, uint32_t count)
{
    bool all = true;

    for (uint32_t i = 0; i < count; i++) {
        int rc = listen(world, &subscribers[i], i % 2 ? PUBSUB_PATTERN : PUBSUB_CHANNEL, "c");
        assert_true(rc == 1 || rc == -ENOMEM);
        all &= rc == 1;
    }
    int64_t sent = publish(world, "c", "m");
    if (sent == -ENOMEM) {
        assert_string_equal(taken(world, 0), "");
        assert_string_equal(taken(world, 1), "");
        return false;
    }
    return all && sent == count;
}

static void test_without_memory(void **state)
{
    bool done = false;

    (void)state;
    for (uint64_t n = 1; !done; n++) {
        struct subscriber subscribers[4] = {{.shard = 0}, {.shard = 0}, {.shard = 1}, {.shard = 1}};
        struct world world;
        begin(&world);
        world.memory.fail_at = n;
        done = try(&world, subscribers, 4);
        world.memory.fail_at = 0;
        for (uint32_t i = 0; i < 4; i++) {
            pubsub_leave(&world.pubsub, &subscribers[i]);
        }
        end(&world);
        assert_true(n < 100);
    }
}

static void test_events(void **state)
{
    struct subscriber a = {.shard = 0};
    struct world world;

    (void)state;
    begin(&world);
    assert_int_equal(pubsub_told(&world.pubsub), 0);
    pubsub_set_events(&world.pubsub, 5);
    assert_int_equal(pubsub_told(&world.pubsub), 0); /* Nobody listens. */
    assert_int_equal(listen(&world, &a, PUBSUB_CHANNEL, "c"), 1);
    assert_int_equal(pubsub_told(&world.pubsub), 5);
    pubsub_leave(&world.pubsub, &a);
    assert_int_equal(pubsub_told(&world.pubsub), 0);
    assert_int_equal(pubsub_events(&world.pubsub), 5);
    end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_queues),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_events),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
