/* Sessions that begin in the slots of a node that an operator calls degraded, over links between real planes: the next owner
 * begins them, and the link on which it tells the first one of it is lost. */
#include "check.h"

#include <pthread.h>

#include "peer_frame.h"
#include "planes_kit.h"
#include "replication.h"
#include "resp_lines.h"

static struct planes_kit kit;

/* ---- A link with the test in its midst ---- */

enum { RELAY_ROOM = 65536 };

static struct relay {
    pthread_t thread;
    int dialler, acceptor; /* Our ends. */
    _Atomic bool holds;    /* What the dialler says is to be kept back... */
    _Atomic bool held;     /* ... is... */
    _Atomic bool has_run;  /* ... and there is a record in it. */
    _Atomic bool over;
} relay;

static bool pass_on(int from, int to)
{
    static uint8_t room[RELAY_ROOM];
    ssize_t size = recv(from, room, sizeof room, 0);

    for (ssize_t at = 0; at < size;) {
        ssize_t sent = send(to, room + at, (size_t)(size - at), MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
    }
    return size > 0;
}

static bool has_run(const uint8_t *bytes, ssize_t size)
{
    for (ssize_t at = 0; at + PEER_HEAD_BYTES <= size;
         at += PEER_HEAD_BYTES + (ssize_t)load_u32(bytes + at)) {
        if (bytes[at + 4] == REPLICATION_RUN) {
            return true;
        }
    }
    return false;
}

static void *run_relay(void *context)
{
    bool good = true;

    (void)context;
    while (good && !atomic_load(&relay.over)) {
        struct pollfd fds[] = {{.fd = relay.acceptor, .events = POLLIN},
                               {.fd = relay.dialler, .events = POLLIN}};
        const bool holds = atomic_load(&relay.holds);
        atomic_store(&relay.held, holds);
        int count = poll(fds, holds ? 1 : 2, 5);
        if (holds) {
            static uint8_t room[RELAY_ROOM];
            ssize_t there = recv(relay.dialler, room, sizeof room, MSG_PEEK | MSG_DONTWAIT);
            atomic_store(&relay.has_run, has_run(room, there));
        }
        if (count > 0 && fds[0].revents != 0) {
            good = pass_on(relay.acceptor, relay.dialler);
        }
        if (good && !holds && count > 0 && fds[1].revents != 0) {
            good = pass_on(relay.dialler, relay.acceptor);
        }
    }
    close(relay.dialler);
    close(relay.acceptor);
    return NULL;
}

static void link_with_relay(uint32_t from, uint32_t to)
{
    int dialled[2], accepted[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, dialled), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, accepted), 0);
    relay = (struct relay){.dialler = dialled[1], .acceptor = accepted[0]};
    planes_kit_link_over(&kit, from, 0, to, 0, (const int[]){dialled[0], accepted[1]});
    assert_int_equal(pthread_create(&relay.thread, NULL, run_relay, NULL), 0);
}

/* The link is lost, and its dialler knows. */
static void cut(void)
{
    const uint32_t lost = atomic_load(&kit.lost);

    atomic_store(&relay.over, true);
    assert_int_equal(pthread_join(relay.thread, NULL), 0);
    plane_kit_until(atomic_load(&kit.lost) > lost);
}

/* ---- Two nodes, of which the first one hands creates on ---- */

static void begin(void)
{
    static const uint32_t shards[] = {1, 1};

    planes_kit_init(&kit, 2, shards);
    kit.hands_on = 1;
    for (uint32_t i = 0; i < 2; i++) {
        plane_kit_start(&kit.nodes[i]);
    }
    planes_kit_tables(&kit, 2, 0);
    planes_kit_dial(&kit, 0, 1);
    link_with_relay(1, 0);
    planes_kit_wait_links(&kit);
    planes_kit_wait_level(&kit);
}

static const char *key_of_first(void)
{
    static char name[16];

    for (uint32_t i = 0; name[0] == '\0' || planes_kit_owner(&kit, name) != 0; i++) {
        snprintf(name, sizeof name, "new%u", i);
    }
    return name;
}

static uint64_t handed_on(void)
{
    return plane_kit_shard_stats(&kit.nodes[0], 0).far_asked;
}

/* The copy is lost with the link, and there is another one soon: the create is answered once the first owner has it, and who
 * asks for the same meanwhile finds it taken. */
static void test_link_is_lost_for_a_moment(void **state)
{
    struct plane_client first, second;
    char line[64], reply[RESP_LINE_BYTES];

    (void)state;
    begin();
    plane_client_connect(&first, &kit.nodes[0]);
    plane_client_connect(&second, &kit.nodes[0]);
    const uint64_t before = handed_on();
    atomic_store(&relay.holds, true);
    plane_kit_until(atomic_load(&relay.held));
    snprintf(line, sizeof line, "SET %s 1 NX", key_of_first());
    plane_client_ask(&first, line);
    plane_kit_until(atomic_load(&relay.has_run) && handed_on() > before);
    cut();
    struct pollfd answer = {.fd = first.fd, .events = POLLIN};
    assert_int_equal(poll(&answer, 1, 100), 0);
    snprintf(line, sizeof line, "SET %s 2 NX", key_of_first());
    plane_client_ask(&second, line);
    planes_kit_dial(&kit, 1, 0);
    plane_client_expect(&first, "+OK\r\n");
    plane_client_line(&second, reply);
    /* It does not wait for ever, and the machine may be slow. */
    while (strncmp(reply, "-UNAVAILABLE", 12) == 0) {
        plane_client_ask(&second, line);
        plane_client_line(&second, reply);
    }
    assert_string_equal(reply, "$-1");
    snprintf(line, sizeof line, "GET %s", key_of_first());
    plane_client_ask(&second, line);
    plane_client_expect(&second, "$1\r\n1\r\n");
    plane_client_close(&first);
    plane_client_close(&second);
    planes_kit_stop(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link_is_lost_for_a_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
