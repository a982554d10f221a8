/* Counts in sessions while its server is killed and started again: test_client.py.
 *
 * client_count HOST:PORT ADDS: adds one, ADDS times, over 20 sessions, at ack `disk`, sixteen at a time,
 * with all the retries that the library makes; prints "counting" at every tenth of the way, and, at the
 * end, "counted" when the sum is what the answers said: every OK once, every MAYBE_APPLIED at most once.
 */
#include <belay/belay.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { SESSIONS = 20, IN_FLIGHT = 16 };

struct tally {
    struct belay_client *client;
    uint64_t adds, left, sent, ok, maybe, other;
};

static struct belay_request *add_one(struct belay_client *client, uint64_t number, int64_t delta)
{
    char key[40];

    snprintf(key, sizeof key, "count:%" PRIu64, number % SESSIONS);
    struct belay_request *write = belay_write_begin(client, belay_text(key), BELAY_UPSERT);
    belay_write_add(write, belay_text("n"), delta);
    belay_write_ack(write, BELAY_ACK_DISK);
    return write;
}

static void send_next(struct tally *tally);

static void added(struct belay_result *result, void *context)
{
    struct tally *tally = context;

    switch (belay_result_status(result)) {
    case BELAY_OK:
        tally->ok++;
        break;
    case BELAY_MAYBE_APPLIED:
        tally->maybe++;
        break;
    default:
        fprintf(stderr, "%s: %s\n", belay_status_name(belay_result_status(result)),
                belay_result_text(result));
        tally->other++;
    }
    if ((tally->ok + tally->maybe + tally->other) % (tally->adds / 10) == 0) {
        puts("counting");
        fflush(stdout);
    }
    send_next(tally);
}

static void send_next(struct tally *tally)
{
    if (tally->left == 0) {
        return;
    }
    tally->left--;
    if (belay_send(add_one(tally->client, tally->sent++, 1), added, tally) != BELAY_OK) {
        fprintf(stderr, "cannot send\n");
        exit(1);
    }
}

static uint64_t sum_of(struct belay_client *client)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < SESSIONS; i++) {
        struct belay_result *result;
        if (belay_run(add_one(client, i, 0), &result) != BELAY_OK) {
            fprintf(stderr, "cannot read the sum: %s\n", belay_result_text(result));
            exit(1);
        }
        sum += (uint64_t)belay_result_change(result, 0);
        belay_result_destroy(result);
    }
    return sum;
}

int main(int argc, char **argv)
{
    struct belay_options *options = belay_options_create();
    uint64_t adds = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    struct tally tally = {.adds = adds, .left = adds};

    if (options == NULL || adds < 10 || belay_options_servers(options, argv[1]) != BELAY_OK) {
        fprintf(stderr, "usage: client_count HOST:PORT ADDS\n");
        return 2;
    }
    belay_options_timeout_ms(options, 120000);
    if (belay_client_create(options, &tally.client) != BELAY_OK) {
        return 1;
    }
    belay_options_destroy(options);
    for (int i = 0; i < IN_FLIGHT; i++) {
        send_next(&tally);
    }
    belay_client_run(tally.client);
    uint64_t sum = sum_of(tally.client);
    printf("ok=%" PRIu64 " maybe=%" PRIu64 " other=%" PRIu64 " sum=%" PRIu64 " retries=%" PRIu64
           " disconnects=%" PRIu64 "\n",
           tally.ok, tally.maybe, tally.other, sum,
           belay_client_counter(tally.client, BELAY_COUNT_RETRIES),
           belay_client_counter(tally.client, BELAY_COUNT_DISCONNECTS));
    int right = tally.other == 0 && sum >= tally.ok && sum <= tally.ok + tally.maybe;
    puts(right ? "counted" : "WRONG");
    belay_client_destroy(tally.client);
    return right ? 0 : 1;
}
