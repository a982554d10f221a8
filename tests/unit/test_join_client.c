/* A new node that asks members to let it in, and how these see it. */
#include "join_client.h"

#include "peers_kit.h"
#include <signal.h>

static uv_loop_t loop;
static struct kit_node node;
static int nobody; /* A socket that keeps a port at which nobody listens. */

struct outcome {
    bool over;
    int rc;
    uint8_t kind;
    uint64_t number;
    char body[64], text[JOIN_CLIENT_TEXT_BYTES_MAX];
};

static void on_done(void *context, int rc, const struct peer_frame *answer, const char *text)
{
    struct outcome *outcome = context;

    assert_false(outcome->over);
    *outcome = (struct outcome){.over = true, .rc = rc};
    snprintf(outcome->text, sizeof outcome->text, "%s", text);
    assert_int_equal(answer != NULL, rc == 0);
    if (answer != NULL) {
        outcome->kind = answer->kind;
        outcome->number = answer->number;
        memcpy(outcome->body, answer->body.data, answer->body.size);
    }
}

/* The member, and a token with its address behind that of nobody. */
static struct join_token open_member(void)
{
    struct join_token token = {.cluster = {1}, .secret = {2}, .address_count = 2};
    uint16_t port;

    nobody = kit_hold(&port);
    assert_int_equal(uv_loop_init(&loop), 0);
    kit_prepare(&node, &loop, 4, 2);
    kit_open(&node);
    snprintf(token.addresses[0], sizeof token.addresses[0], "127.0.0.1:%u", port);
    snprintf(token.addresses[1], sizeof token.addresses[1], "localhost:%u", node.options.port);
    return token;
}

static void close_member(void)
{
    close(nobody);
    kit_close(&node);
    kit_loop_end(&loop);
}

static struct join_client_options options_of(const struct join_token *token,
                                             struct outcome *outcome)
{
    return (struct join_client_options){
        .loop = &loop,
        .token = token,
        .shards = 3,
        .clock_skew_max_ms = 1000,
        .now_ms = kit_now_ms,
        .clock = &node.clock_ms,
        .body = bytes_of("let me in", 9),
        .done = on_done,
        .context = outcome,
    };
}

static struct join_client *start(const struct join_token *token, struct outcome *outcome)
{
    const struct join_client_options options = options_of(token, outcome);
    struct join_client *client;

    *outcome = (struct outcome){.over = false};
    assert_int_equal(join_client_start(&options, &client), 0);
    assert_false(outcome->over);
    return client;
}

static void test_joined_in_the_end(void **state)
{
    (void)state;
    struct join_token token = open_member();
    struct outcome outcome;
    const struct bytes answer[] = {bytes_of("welc", 4), bytes_of("ome", 4)};

    start(&token, &outcome);
    KIT_UNTIL(&loop, kit_count(&node, 'j') == 1);
    const struct kit_event *asked = kit_last(&node, 'j');
    assert_int_equal(asked->kind, PEER_JOIN);
    assert_int_equal(asked->size, 9);
    for (int i = 0; i < 20; i++) { /* It takes its time. */
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_false(outcome.over);
    assert_true(peers_join_answer(node.peers, asked->joiner, PEER_JOINED, 12, answer, 2));
    assert_false(peers_join_answer(node.peers, asked->joiner, PEER_JOINED, 12, answer, 2));
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, 0);
    assert_int_equal(outcome.kind, PEER_JOINED);
    assert_int_equal(outcome.number, 12);
    assert_string_equal(outcome.body, "welcome");
    assert_int_equal(kit_count(&node, 'u'), 0); /* It is no member. */
    close_member();
}

static void test_refused_and_unreachable(void **state)
{
    (void)state;
    struct join_token token = open_member();
    struct outcome outcome;

    token.secret[5] ^= 1;
    start(&token, &outcome);
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, -EACCES);
    assert_non_null(strstr(outcome.text, token.addresses[0]));
    assert_non_null(strstr(outcome.text, "Connection refused"));
    assert_non_null(strstr(outcome.text, "different secrets"));
    assert_int_equal(kit_count(&node, 'j'), 0);

    token.secret[5] ^= 1;
    token.cluster[5] ^= 1;
    start(&token, &outcome);
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, -EACCES);
    assert_non_null(strstr(outcome.text, "different clusters"));

    snprintf(token.addresses[1], sizeof token.addresses[1], "no.such.host.invalid:1");
    start(&token, &outcome);
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, -ECONNREFUSED);
    assert_non_null(strstr(outcome.text, "no.such.host.invalid:1: "));
    snprintf(token.addresses[1], sizeof token.addresses[1], "[::1");
    start(&token, &outcome);
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, -ECONNREFUSED);
    assert_non_null(strstr(outcome.text, "that is no address"));
    close_member();
}

/* The member ends before it has answered; and a member that takes nobody now. */
static void test_no_answer(void **state)
{
    (void)state;
    struct join_token token = open_member();
    struct outcome outcome;

    start(&token, &outcome);
    KIT_UNTIL(&loop, kit_count(&node, 'j') == 1);
    kit_end_and_prepare(&node, 2);
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, -EPIPE);

    node.options.join_frame = NULL;
    kit_open(&node);
    start(&token, &outcome);
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, -EACCES);
    assert_non_null(strstr(outcome.text, "takes no new members now"));
    close_member();
}

/* The joiner is gone when it is answered; and as many as may join at a time. */
static void test_gone_and_too_many(void **state)
{
    (void)state;
    struct join_token token = open_member();
    struct outcome outcomes[PEERS_JOINERS_MAX + 1];
    struct join_client *clients[PEERS_JOINERS_MAX];

    for (uint32_t i = 0; i < PEERS_JOINERS_MAX; i++) {
        clients[i] = start(&token, &outcomes[i]);
    }
    KIT_UNTIL(&loop, kit_count(&node, 'j') == PEERS_JOINERS_MAX);
    start(&token, &outcomes[PEERS_JOINERS_MAX]);
    KIT_UNTIL(&loop, outcomes[PEERS_JOINERS_MAX].over);
    assert_int_equal(outcomes[PEERS_JOINERS_MAX].rc, -EACCES);
    assert_non_null(strstr(outcomes[PEERS_JOINERS_MAX].text, "too many nodes join"));
    uint64_t gone = kit_last(&node, 'j')->joiner;
    for (uint32_t i = 0; i < PEERS_JOINERS_MAX; i++) {
        join_client_cancel(clients[i]);
    }
    KIT_UNTIL(&loop, !peers_join_answer(node.peers, gone, PEER_JOINED, 0, NULL, 0));
    struct outcome outcome; /* And now there is room again. */
    bool asked = false;
    while (!asked) {
        start(&token, &outcome);
        uint32_t before = kit_count(&node, 'j');
        KIT_UNTIL(&loop, outcome.over || kit_count(&node, 'j') > before);
        asked = !outcome.over;
    }
    assert_true(
        peers_join_answer(node.peers, kit_last(&node, 'j')->joiner, PEER_JOINED, 0, NULL, 0));
    KIT_UNTIL(&loop, outcome.over);
    assert_int_equal(outcome.rc, 0);
    close_member();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joined_in_the_end),
        cmocka_unit_test(test_refused_and_unreachable),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_gone_and_too_many),
    };

    signal(SIGPIPE, SIG_IGN); /* As the daemon does. */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
