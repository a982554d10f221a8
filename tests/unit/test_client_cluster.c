/* libbelay and a cluster: who is asked, and who instead when a node dies, is silent, or cannot serve. */
#include "fake_cluster.h"
#include "random.h"

static struct fake_cluster cluster;
static struct belay_client *client;

/* A live node answers a PING within SILENCE_MS, however busy the machine is; where none is silent, never is too late. */
enum { PATIENT_MS = 60000, SILENCE_MS = 600 };

/* Connections by the map. There may be one more to the first node, begun by the list just before the map came. */
static uint32_t ready_by_map(void)
{
    return client->ready - client->servers->ready;
}

static bool has_all(uint32_t shards)
{
    for (uint32_t i = 0; client->map != NULL && i < FAKE_NODES; i++) {
        if (client->members[i]->ready < shards) {
            return false;
        }
    }
    return client->map != NULL;
}

/* A client of the first node that knows the map and has a connection to every shard of all. */
static void start(uint32_t shards)
{
    struct belay_options *options = belay_options_create();
    int next = 0;

    fake_cluster_start(&cluster, shards);
    belay_options_timeout_ms(options, PATIENT_MS);
    client = client_for(&cluster.nodes[0].fake, options);
    client->silent_ms = PATIENT_MS;
    while (!has_all(shards)) {
        char key[16];
        snprintf(key, sizeof key, "k%d", next++ % 3000);
        assert_int_equal(belay_get(client, belay_text(key), NULL), BELAY_OK);
        uv_run(belay_client_loop(client), UV_RUN_NOWAIT);
    }
    assert_int_equal(belay_client_nodes(client), FAKE_NODES);
    assert_int_equal(ready_by_map(), FAKE_NODES * shards);
}

static void stop(void)
{
    belay_client_destroy(client);
    fake_cluster_stop(&cluster);
}

/* Get the key, and check who answers. */
static void expect_from(const char *key, uint32_t number)
{
    struct belay_result *result;
    char wanted[8];

    snprintf(wanted, sizeof wanted, "n%u", number);
    assert_int_equal(belay_get(client, belay_text(key), &result), BELAY_OK);
    assert_true(bytes_equal(bytes_in(belay_result_value(result)), text(wanted)));
    assert_memory_equal(belay_result_node(result), "fake (127.0.0.1:", 16);
    belay_result_destroy(result);
}

static uint32_t requests_of(uint32_t number)
{
    return atomic_load(&cluster.nodes[number - 1].fake.requests);
}

static void test_each_key_goes_to_its_primary(void **state)
{
    int next = 0;

    (void)state;
    start(2);
    for (int i = 0; i < FAKE_NODES; i++) {
        atomic_store(&cluster.nodes[i].wrong_shard, 0);
    }
    for (int i = 0; i < 300; i++) {
        uint32_t number = 1 + (uint32_t)i % 3;
        expect_from(fake_key(number, &next), number);
    }
    for (int i = 0; i < FAKE_NODES; i++) {
        assert_int_equal(atomic_load(&cluster.nodes[i].wrong_shard), 0);
        assert_int_equal(atomic_load(&cluster.nodes[i].fake.maps), 1);
        /* All but the very first connection came with the id that this was given. */
        uint32_t strangers =
            atomic_load(&cluster.nodes[i].fake.hellos) - atomic_load(&cluster.nodes[i].fake.known);
        assert_int_equal(strangers, i == 0);
    }
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_MOVES), 0);
    stop();
}

/* What a server stores is asked of that server, whosever the key is. */
static void test_inspect_asks_the_list(void **state)
{
    int next = 0;

    (void)state;
    start(1);
    for (uint32_t number = 1; number <= 3; number++) {
        const char *key = fake_key(number, &next);
        uint32_t before[] = {requests_of(1), requests_of(2), requests_of(3)};
        assert_int_equal(belay_run(belay_inspect_begin(client, belay_text(key)), NULL), BELAY_OK);
        assert_true(requests_of(1) > before[0]);
        assert_true(requests_of(2) == before[1] && requests_of(3) == before[2]);
    }
    stop();
}

/* One node of a list is dead, the next is asked at once. */
static void test_next_server_of_the_list(void **state)
{
    struct belay_options *options = belay_options_create();
    char servers[80];
    uint16_t nobody = 0;

    (void)state;
    fake_cluster_start(&cluster, 1);
    int bound = fake_bind(&nobody);
    snprintf(servers, sizeof servers, "127.0.0.1:%u,127.0.0.1:%u", nobody,
             cluster.nodes[1].fake.port);
    assert_int_equal(belay_options_servers(options, servers), BELAY_OK);
    assert_int_equal(belay_client_create(options, &client), BELAY_OK);
    belay_options_destroy(options);
    int next = 0;
    assert_int_equal(belay_get(client, belay_text(fake_key(2, &next)), NULL), BELAY_OK);
    assert_int_equal(client->servers->links[0] == NULL ? 0 : client->servers->links[0]->tries, 0);
    close(bound);
    stop();
}

/* A node dies with a write under way: within the call the successor gets it, as the same write. */
static void test_killed_primary(void **state)
{
    struct answer answer = {0};
    int next = 0;

    (void)state;
    start(1);
    struct fake_node *primary = &cluster.nodes[0], *successor = &cluster.nodes[1];
    const char *key = fake_key(1, &next);
    struct belay_request *write = belay_write_begin(client, belay_text(key), BELAY_UPSERT);
    belay_write_add(write, belay_text("n"), 1);
    atomic_store(&primary->mute, 1);
    send_ok(write, &answer);
    while (atomic_load(&primary->writes) == 0) {
        uv_run(belay_client_loop(client), UV_RUN_NOWAIT);
    }
    fake_node_kill(primary);
    belay_client_run(client);
    assert_true(answer.calls == 1 && answer.status == BELAY_OK);
    assert_int_equal(atomic_load(&successor->writes), 1);
    assert_true(successor->sequence[0] == primary->sequence[0] && successor->sequence[0] != 0);
    assert_true(successor->client[0] == primary->client[0] && successor->client[0] == 4711);
    assert_true(primary->retry_hlc[0] == 0 && successor->retry_hlc[0] != 0);
    expect_from(key, 2); /* Reads, too. */
    stop();
}

/* Packets vanish: the same without a reset. */
static void test_silent_primary(void **state)
{
    struct answer answer = {0};
    int next = 0;

    (void)state;
    start(1);
    struct fake_node *primary = &cluster.nodes[0], *successor = &cluster.nodes[1];
    const char *key = fake_key(1, &next);
    client->silent_ms = SILENCE_MS;
    atomic_store(&primary->fake.silent, 1);
    struct belay_request *write = belay_write_begin(client, belay_text(key), BELAY_UPSERT);
    belay_write_add(write, belay_text("n"), 1);
    send_ok(write, &answer);
    belay_client_run(client);
    assert_true(answer.calls == 1 && answer.status == BELAY_OK);
    assert_true(atomic_load(&successor->writes) == 1 && successor->retry_hlc[0] != 0);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_MOVES), 1);
    expect_from(key, 2); /* The next ones do not wait for it. */
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_MOVES), 1);
    /* It answers again, late, and is the primary again. */
    atomic_store(&primary->fake.silent, 0);
    while (client->members[0]->silent) {
        uv_run(belay_client_loop(client), UV_RUN_ONCE);
    }
    expect_from(key, 1);
    assert_true(answer.calls == 1 && atomic_load(&primary->writes) == 1);
    assert_true(member_silent_ms(client->members[0]) == 2 * SILENCE_MS); /* It was only slow. */
    assert_true(member_silent_ms(client->members[1]) == SILENCE_MS);
    stop();
}

/* Silent for so long that its connections are given up, all of them: it is connected to anew, and is the primary again. */
static void test_silent_for_long(void **state)
{
    int next = 0;

    (void)state;
    start(2);
    struct fake_node *primary = &cluster.nodes[0];
    const char *key = fake_key(1, &next);
    client->silent_ms = SILENCE_MS;
    client->silence_ms = 2 * SILENCE_MS;
    atomic_store(&primary->fake.silent, 1);
    uint64_t lost = belay_client_counter(client, BELAY_COUNT_DISCONNECTS);
    expect_from(key, 2);
    while (client->members[0]->ready > 0) {
        uv_run(belay_client_loop(client), UV_RUN_ONCE);
    }
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_DISCONNECTS), lost + 2);
    expect_from(key, 2);
    atomic_store(&primary->fake.silent, 0);
    while (client->members[0]->ready < 2) {
        char any[16];
        snprintf(any, sizeof any, "k%d", next++);
        assert_int_equal(belay_get(client, belay_text(any), NULL), BELAY_OK);
        uv_run(belay_client_loop(client), UV_RUN_NOWAIT);
    }
    expect_from(key, 1);
    stop();
}

/* The nodes that told the map are gone: another is asked for it. */
static void test_other_tells_the_map(void **state)
{
    int next = 0;

    (void)state;
    start(1);
    assert_int_equal(client->map_sources, 3);
    atomic_store(&cluster.nodes[1].fake.cut, 1);
    while (client->map_sources == 3) {
        uv_run(belay_client_loop(client), UV_RUN_ONCE);
    }
    uint32_t maps = atomic_load(&cluster.nodes[1].fake.maps);
    while (atomic_load(&cluster.nodes[1].fake.maps) == maps) {
        assert_int_equal(belay_get(client, belay_text(fake_key(2, &next)), NULL), BELAY_OK);
    }
    assert_int_equal(client->map_sources, 3);
    stop();
}

/* Both were asked; who answers first is heard. */
static void test_first_answer_counts(void **state)
{
    struct answer answer = {0};
    int next = 0;

    (void)state;
    start(1);
    struct fake_node *primary = &cluster.nodes[0], *successor = &cluster.nodes[1];
    client->silent_ms = SILENCE_MS;
    atomic_store(&primary->fake.silent, 1);
    atomic_store(&successor->mute, 1);
    send_ok(belay_get_begin(client, belay_text(fake_key(1, &next)), 0), &answer);
    uint32_t before = requests_of(2);
    while (requests_of(2) == before) {
        uv_run(belay_client_loop(client), UV_RUN_NOWAIT);
    }
    assert_int_equal(answer.calls, 0);
    atomic_store(&primary->fake.silent, 0);
    belay_client_run(client);
    assert_true(answer.calls == 1 && answer.status == BELAY_OK);
    assert_string_equal(answer.value, "n1");
    /* What comes of the other is nobody's: its place is free when it goes. */
    fake_node_kill(successor);
    expect_from(fake_key(1, &next), 1);
    stop();
}

/* What must not be sent twice is not. */
static void test_no_retry_stays(void **state)
{
    struct answer answer = {0};
    int next = 0;

    (void)state;
    start(1);
    client->silent_ms = SILENCE_MS;
    atomic_store(&cluster.nodes[0].fake.silent, 1);
    struct belay_request *write =
        belay_write_begin(client, belay_text(fake_key(1, &next)), BELAY_UPSERT);
    belay_write_add(write, belay_text("n"), 1);
    belay_request_no_retry(write);
    send_ok(write, &answer);
    while (!client->members[0]->silent) {
        uv_run(belay_client_loop(client), UV_RUN_ONCE);
    }
    atomic_store(&cluster.nodes[0].fake.silent, 0);
    belay_client_run(client);
    assert_true(answer.calls == 1 && answer.status == BELAY_OK);
    assert_int_equal(atomic_load(&cluster.nodes[0].writes), 1);
    assert_int_equal(atomic_load(&cluster.nodes[1].writes), 0);
    stop();
}

/* A slow answer on a connection that lives is waited for. */
static void test_slow_is_not_silent(void **state)
{
    struct answer answer = {0};
    int next = 0;

    (void)state;
    start(1);
    client->probe_ms = 2;
    atomic_store(&cluster.nodes[0].mute, 1);
    const char *key = fake_key(1, &next);
    send_ok(belay_get_begin(client, belay_text(key), 0), &answer);
    uint32_t before = requests_of(1);
    while (requests_of(1) < before + 5) { /* The request, and PINGs that are answered. */
        uv_run(belay_client_loop(client), UV_RUN_ONCE);
    }
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_MOVES), 0);
    assert_int_equal(answer.calls, 0);
    fake_node_kill(&cluster.nodes[0]);
    belay_client_run(client);
    assert_string_equal(answer.value, "n2");
    stop();
}

static void wait_for_epoch(uint64_t epoch)
{
    while (client->map_epoch < epoch) {
        uv_run(belay_client_loop(client), UV_RUN_ONCE);
    }
}

/* Owners change, a node goes and another comes. */
static void test_map_changes(void **state)
{
    int next = 0;

    (void)state;
    start(1);
    const char *key = fake_key(1, &next);
    uint16_t slot = slot_of_key(text(key));
    cluster.map.owners[slot] = (struct client_map_owners){.count = 2, .members = {2, 0}};
    fake_cluster_tell(&cluster);
    wait_for_epoch(2);
    expect_from(key, 3);
    cluster.map.members[2].serves = false; /* It went down. */
    fake_cluster_tell(&cluster);
    wait_for_epoch(3);
    expect_from(key, 1);
    /* It is none any more, and its connections are given up. */
    cluster.map.member_count = 2;
    for (uint32_t i = 0; i < SLOT_COUNT; i++) {
        cluster.map.owners[i] = (struct client_map_owners){.count = 1, .members = {i % 2 == 1}};
    }
    fake_cluster_tell(&cluster);
    wait_for_epoch(4);
    assert_int_equal(ready_by_map(), 2);
    expect_from(key, 1 + (slot % 2 == 1));
    /* A node that is told anew is found, though nobody named it to this client. */
    cluster.map.member_count = 3;
    cluster.map.members[2].serves = true;
    cluster.map.owners[slot] = (struct client_map_owners){.count = 1, .members = {2}};
    fake_cluster_tell(&cluster);
    wait_for_epoch(5);
    while (!has_all(1)) {
        assert_int_equal(belay_get(client, belay_text(key), NULL), BELAY_OK);
    }
    expect_from(key, 3);
    assert_int_equal(client->map->member_count, 3);
    stop();
}

/* A map that makes no sense ends its connection and changes nothing. */
static void test_bad_map(void **state)
{
    static struct fake_map bad = {.epoch = 9};
    int next = 0;

    (void)state;
    start(1);
    bad.bytes = text("\1\11 nothing of a map");
    uint64_t lost = belay_client_counter(client, BELAY_COUNT_BAD_FRAMES);
    atomic_store(&cluster.nodes[2].fake.map, &bad);
    while (belay_client_counter(client, BELAY_COUNT_BAD_FRAMES) == lost) {
        uv_run(belay_client_loop(client), UV_RUN_ONCE);
    }
    assert_int_equal(client->map_epoch, 1);
    expect_from(fake_key(1, &next), 1);
    stop();
}

/* "Not here": another node is asked, and what it is told depends on what the first may have done. */
static void test_not_here(void **state)
{
    static const struct {
        enum status status;
        bool repeated; /* As one that may have been applied. */
    } rounds[] = {{STATUS_STOPPING, false}, {STATUS_UNAVAILABLE, true}};
    int next = 0;

    (void)state;
    for (int i = 0; i < 2; i++) {
        start(1);
        struct fake_node *successor = &cluster.nodes[1];
        atomic_store(&cluster.nodes[0].status, rounds[i].status);
        const char *key = fake_key(1, &next);
        assert_int_equal(belay_field_add(client, belay_text(key), belay_text("n"), 1, NULL),
                         BELAY_OK);
        assert_int_equal(atomic_load(&cluster.nodes[0].writes), 1);
        assert_int_equal(atomic_load(&successor->writes), 1);
        assert_int_equal(successor->retry_hlc[0] != 0, rounds[i].repeated);
        stop();
    }
}

/* Nobody can: that is the answer, after some tries. */
static void test_nobody_can(void **state)
{
    struct belay_result *result;
    int next = 0;

    (void)state;
    start(1);
    for (int i = 0; i < FAKE_NODES; i++) {
        atomic_store(&cluster.nodes[i].status, STATUS_UNAVAILABLE);
    }
    client->waited_ms_max = UINT64_MAX;
    assert_int_equal(belay_get(client, belay_text(fake_key(1, &next)), &result), BELAY_UNAVAILABLE);
    assert_string_equal(belay_result_text(result), belay_status_text(BELAY_UNAVAILABLE));
    belay_result_destroy(result);
    assert_int_equal(belay_client_counter(client, BELAY_COUNT_MOVES), MOVES_MAX);
    stop();
}

/* They have waited before they say so: the next one is told for how long, and when it is enough that is the answer. */
static void test_nobody_can_for_long(void **state)
{
    int next = 0;

    (void)state;
    for (int writes = 0; writes < 2; writes++) {
        start(1);
        for (int i = 0; i < FAKE_NODES; i++) {
            atomic_store(&cluster.nodes[i].status, STATUS_UNAVAILABLE);
            atomic_store(&cluster.nodes[i].delay_ms, 20);
        }
        client->probe_ms = 60 * 1000; /* Nobody is taken for silent. */
        client->waited_ms_max = 30;
        const struct belay_bytes key = belay_text(fake_key(1, &next));
        assert_int_equal(writes ? belay_put(client, key, belay_text("v"), NULL)
                                : belay_get(client, key, NULL),
                         BELAY_UNAVAILABLE);
        assert_true(belay_client_counter(client, BELAY_COUNT_MOVES) <= 1);
        client->waited_ms_max = UINT64_MAX;
        assert_int_equal(writes ? belay_put(client, key, belay_text("v"), NULL)
                                : belay_get(client, key, NULL),
                         BELAY_UNAVAILABLE);
        uint32_t most_ms = 0;
        for (int i = 0; i < FAKE_NODES; i++) {
            uint32_t waited_ms = atomic_load(&cluster.nodes[i].waited_ms);
            most_ms = waited_ms > most_ms ? waited_ms : most_ms;
        }
        assert_true(most_ms >= 20 * MOVES_MAX / 2);
        stop();
    }
}

static struct belay_request *get_keys(int count)
{
    struct belay_request *get = belay_get_many_begin(client, 0);
    char key[16];

    for (int i = 0; i < count; i++) {
        snprintf(key, sizeof key, "k%d", i);
        belay_get_many_key(get, belay_text(key));
    }
    return get;
}

/* Many keys: each node is asked for its own, and the answers come in the order of the keys. */
static void test_many_keys(void **state)
{
    struct belay_result *result;

    (void)state;
    start(2);
    assert_int_equal(belay_run(get_keys(500), &result), BELAY_OK);
    assert_int_equal(belay_result_item_count(result), 500);
    for (int i = 0; i < 500; i++) {
        struct belay_result *item = belay_result_item(result, (size_t)i);
        char key[16], wanted[32];
        snprintf(key, sizeof key, "k%d", i);
        snprintf(wanted, sizeof wanted, "%s@%d", key, slot_of_key(text(key)) % 3 + 1);
        assert_int_equal(belay_result_status(item), BELAY_OK);
        assert_true(bytes_equal(bytes_in(belay_result_value(item)), text(wanted)));
    }
    belay_result_destroy(result);
    assert_int_equal(belay_client_unanswered(client), 0);
    /* With a callback, a part of which fails: its keys say so, the others are there. */
    atomic_store(&cluster.nodes[1].status, STATUS_MEMORY_FULL);
    assert_int_equal(belay_run(get_keys(30), &result), BELAY_OK);
    for (int i = 0; i < 30; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%d", i);
        bool failed = slot_of_key(text(key)) % 3 == 1;
        assert_int_equal(belay_result_status(belay_result_item(result, (size_t)i)),
                         failed ? BELAY_MEMORY_FULL : BELAY_OK);
    }
    belay_result_destroy(result);
    for (int i = 0; i < FAKE_NODES; i++) {
        atomic_store(&cluster.nodes[i].status, STATUS_MEMORY_FULL);
    }
    assert_int_equal(belay_run(get_keys(30), NULL), BELAY_MEMORY_FULL);
    stop();
}

static void many_answered(struct belay_result *result, void *context)
{
    *(size_t *)context = belay_result_item_count(result);
}

/* Parts under way when a node dies go to another; when the client is closed they end, and the whole with them. */
static void test_many_keys_in_trouble(void **state)
{
    size_t count = 0;

    (void)state;
    start(1);
    atomic_store(&cluster.nodes[0].mute, 1);
    assert_int_equal(belay_send(get_keys(60), many_answered, &count), BELAY_OK);
    assert_int_equal(belay_client_unanswered(client), 1);
    uint32_t before = requests_of(1);
    while (requests_of(1) == before) {
        uv_run(belay_client_loop(client), UV_RUN_NOWAIT);
    }
    fake_node_kill(&cluster.nodes[0]);
    belay_client_run(client);
    assert_int_equal(count, 60);
    atomic_store(&cluster.nodes[1].mute, 1);
    atomic_store(&cluster.nodes[2].mute, 1);
    assert_int_equal(belay_send(get_keys(60), many_answered, &count), BELAY_OK);
    belay_client_step(client);
    stop();
    assert_int_equal(count, 0);
}

/* Reads that any copy may answer go round the owners; what a copy does not have the primary is asked for. */
static void test_read_from_any_copy(void **state)
{
    struct belay_result *result;
    uint32_t from[FAKE_NODES] = {0};
    int next = 0;

    (void)state;
    start(1);
    const char *key = fake_key(1, &next);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(
            belay_run(belay_get_begin(client, belay_text(key), BELAY_GET_ANY), &result), BELAY_OK);
        from[((const char *)belay_result_value(result).data)[1] - '1']++;
        belay_result_destroy(result);
    }
    assert_true(from[0] == 10 && from[1] == 10 && from[2] == 0);
    assert_int_equal(atomic_load(&cluster.nodes[1].flags), GET_ANY | GET_NO_TOUCH);
    atomic_store(&cluster.nodes[1].status, STATUS_UNAVAILABLE);
    for (int i = 0; i < 2; i++) {
        struct belay_request *get = belay_get_begin(client, belay_text(key), BELAY_GET_ANY);
        belay_get_floor(get, belay_text("a token"));
        assert_int_equal(belay_run(get, &result), BELAY_OK);
        assert_true(bytes_equal(bytes_in(belay_result_value(result)), text("n1")));
        belay_result_destroy(result);
    }
    assert_int_equal(atomic_load(&cluster.nodes[0].flags) & GET_ANY, 0);
    struct belay_request *many = belay_get_many_begin(client, BELAY_GET_ANY);
    assert_int_equal(belay_run(many, NULL), BELAY_INVALID);
    stop();
}

static void test_who_decided(void **state)
{
    struct belay_result *result;
    int next = 0;

    (void)state;
    start(1);
    const char *key = fake_key(1, &next);
    assert_int_equal(belay_put(client, belay_text(key), belay_text("v"), &result), BELAY_OK);
    assert_true(belay_result_primary(result));
    belay_result_destroy(result);
    fake_node_kill(&cluster.nodes[0]);
    atomic_store(&cluster.nodes[1].stands_in, 1);
    assert_int_equal(belay_put(client, belay_text(key), belay_text("v"), &result), BELAY_OK);
    assert_false(belay_result_primary(result));
    belay_result_destroy(result);
    fake_node_kill(&cluster.nodes[1]);
    fake_node_kill(&cluster.nodes[2]);
    struct belay_request *ping = belay_ping_begin(client);
    belay_request_timeout_ms(ping, 20);
    assert_int_equal(belay_run(ping, &result), BELAY_TIMEOUT);
    assert_false(belay_result_primary(result)); /* Nobody has. */
    belay_result_destroy(result);
    stop();
}

/* A node alone tells its map, too; nothing changes by that. Who may have one connection asks for none. */
static void test_alone(void **state)
{
    static struct fake_cluster *const all = &cluster;

    (void)state;
    for (int round = 0; round < 2; round++) {
        struct belay_options *options = belay_options_create();
        fake_cluster_start(all, 1);
        if (round == 0) {
            all->map.member_count = 1;
            memset(all->map.owners, 0, sizeof all->map.owners);
            fake_cluster_tell(all);
        } else {
            belay_options_connections(options, 1, 1);
        }
        client = client_for(&all->nodes[0].fake, options);
        for (int i = 0; i < 50; i++) {
            char key[16];
            snprintf(key, sizeof key, "k%d", i);
            expect_from(key, 1);
        }
        assert_null(client->map);
        assert_int_equal(belay_client_nodes(client), 1);
        assert_int_equal(client->ready, 1);
        assert_int_equal(atomic_load(&all->nodes[0].fake.maps), round == 0);
        assert_int_equal(atomic_load(&all->nodes[1].fake.connections), 0);
        stop();
    }
}

struct count {
    uint32_t sent, answered;
};

static void count_answer(struct belay_result *result, void *context)
{
    struct count *count = context;

    for (size_t i = 0; i < belay_result_item_count(result); i++) {
        assert_non_null(belay_result_text(belay_result_item(result, i)));
    }
    assert_non_null(belay_result_node(result));
    count->answered++;
}

static void send_something(struct count *count, uint64_t *random)
{
    struct belay_request *request;
    char key[16];

    snprintf(key, sizeof key, "k%u", random_below(random, 500));
    switch (random_below(random, 4)) {
    case 0:
        request = get_keys((int)random_below(random, 60) + 1);
        break;
    case 1:
        request = belay_write_begin(client, belay_text(key), BELAY_UPSERT);
        belay_write_add(request, belay_text("n"), 1);
        break;
    case 2:
        request = belay_get_begin(client, belay_text(key), BELAY_GET_ANY);
        break;
    default:
        request = belay_get_begin(client, belay_text(key), 0);
    }
    belay_request_timeout_ms(request, 50 + random_below(random, 400));
    if (random_below(random, 8) == 0) {
        belay_request_no_retry(request);
    }
    assert_int_equal(belay_send(request, count_answer, count), BELAY_OK);
    count->sent++;
}

static void make_trouble(uint64_t *random)
{
    static const enum status statuses[] = {STATUS_OK, STATUS_BUSY, STATUS_STOPPING,
                                           STATUS_UNAVAILABLE};
    struct fake_node *node = &cluster.nodes[random_below(random, FAKE_NODES)];

    switch (random_below(random, 6)) {
    case 0:
        atomic_store(&node->fake.silent, random_below(random, 2));
        break;
    case 1:
        atomic_store(&node->fake.cut, 1);
        break;
    case 2:
        atomic_store(&node->mute, random_below(random, 2));
        break;
    case 3:
        atomic_store(&node->status, statuses[random_below(random, 4)]);
        break;
    case 4:
        if (cluster.told_count < 7) {
            uint32_t start = random_below(random, SLOT_COUNT / 2);
            for (uint32_t i = start; i < start + SLOT_COUNT / 2; i++) {
                cluster.map.owners[i].count = 1;
                cluster.map.owners[i].members[0] = (uint8_t)random_below(random, 2);
            }
            cluster.map.member_count = 2 + random_below(random, 2);
            for (uint32_t i = 0; i < SLOT_COUNT && cluster.map.member_count == 2; i++) {
                cluster.map.owners[i] = (struct client_map_owners){.count = 1, .members = {i % 2}};
            }
            fake_cluster_tell(&cluster);
        }
        break;
    default:
        break;
    }
}

/* Whatever happens in whatever order, each request ends once; and when all is well again, all is as it should be. */
static void test_random_trouble(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint64_t random = seed;
        struct count count = {0};
        int next = 0;
        start(1u << seed % 3); /* Three shards would go with the three nodes. */
        client->probe_ms = 3;
        client->silent_ms = 5;
        client->silence_ms = 60;
        for (int step = 0; step < 150; step++) {
            for (uint32_t i = random_below(&random, 6); i > 0; i--) {
                send_something(&count, &random);
            }
            if (random_below(&random, 3) == 0) {
                make_trouble(&random);
            }
            uv_run(belay_client_loop(client), UV_RUN_NOWAIT);
            poll(NULL, 0, (int)random_below(&random, 5));
        }
        for (int i = 0; i < FAKE_NODES; i++) {
            atomic_store(&cluster.nodes[i].fake.silent, 0);
            atomic_store(&cluster.nodes[i].mute, 0);
            atomic_store(&cluster.nodes[i].status, STATUS_OK);
        }
        if (seed % 4 != 0) { /* Else it is closed with all that is under way. */
            belay_client_run(client);
            assert_int_equal(count.answered, count.sent);
            for (int i = 0; i < 200; i++) {
                char key[16];
                snprintf(key, sizeof key, "k%d", next++);
                assert_int_equal(belay_get(client, belay_text(key), NULL), BELAY_OK);
            }
        }
        stop();
        assert_int_equal(count.answered, count.sent);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_key_goes_to_its_primary),
        cmocka_unit_test(test_inspect_asks_the_list),
        cmocka_unit_test(test_next_server_of_the_list),
        cmocka_unit_test(test_killed_primary),
        cmocka_unit_test(test_silent_primary),
        cmocka_unit_test(test_silent_for_long),
        cmocka_unit_test(test_other_tells_the_map),
        cmocka_unit_test(test_first_answer_counts),
        cmocka_unit_test(test_no_retry_stays),
        cmocka_unit_test(test_slow_is_not_silent),
        cmocka_unit_test(test_map_changes),
        cmocka_unit_test(test_bad_map),
        cmocka_unit_test(test_not_here),
        cmocka_unit_test(test_nobody_can),
        cmocka_unit_test(test_nobody_can_for_long),
        cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_many_keys_in_trouble),
        cmocka_unit_test(test_read_from_any_copy),
        cmocka_unit_test(test_who_decided),
        cmocka_unit_test(test_alone),
        cmocka_unit_test(test_random_trouble),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
