/* Adds that must count once each, whatever happens to connections and nodes: test_client.py, test_client_cluster.py.
 *
 * client_adds SERVERS KEY ADDS ACK: adds one to a field of the session, one after the other, with all the retries that the
 * library makes. That is ten stretches, each of a tenth of ADDS at least, and until a byte comes on standard input, or that
 * has ended; prints "adding" at the beginning of each, at last what the answers were, how long the
 * longest took, and the value. Fails where the value is not what the answers said: every OK once, every MAYBE_APPLIED at
 * most once.
 */
#include <belay/belay.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct tally {
    uint64_t ok, maybe, other, longest_us, stand_in;
};

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static bool told_to_go_on(void)
{
    struct pollfd ready = {.fd = STDIN_FILENO, .events = POLLIN};
    char byte;

    return poll(&ready, 1, 0) > 0 && read(STDIN_FILENO, &byte, 1) >= 0;
}

static struct belay_request *add(struct belay_client *client, const char *key, int64_t delta,
                                 enum belay_ack level)
{
    struct belay_request *write = belay_write_begin(client, belay_text(key), BELAY_UPSERT);

    belay_write_add(write, belay_text("n"), delta);
    belay_write_ack(write, level);
    return write;
}

static void add_one(struct belay_client *client, const char *key, enum belay_ack level,
                    struct tally *tally)
{
    struct belay_result *result = NULL;
    uint64_t began_us = now_us();
    enum belay_status status = belay_run(add(client, key, 1, level), &result);
    uint64_t took_us = now_us() - began_us;

    tally->longest_us = took_us > tally->longest_us ? took_us : tally->longest_us;
    tally->ok += status == BELAY_OK;
    tally->maybe += status == BELAY_MAYBE_APPLIED;
    if (status != BELAY_OK && status != BELAY_MAYBE_APPLIED) {
        fprintf(stderr, "%s: %s\n", belay_status_name(status),
                result == NULL ? "" : belay_result_text(result));
        tally->other++;
    }
    tally->stand_in += status == BELAY_OK && !belay_result_primary(result);
    belay_result_destroy(result);
}

static int64_t value_of(struct belay_client *client, const char *key)
{
    struct belay_result *result;
    enum belay_status status = belay_run(add(client, key, 0, BELAY_ACK_MEMORY), &result);

    if (status != BELAY_OK) {
        fprintf(stderr, "cannot read the value: %s\n", belay_status_name(status));
        exit(1);
    }
    int64_t value = belay_result_change(result, 0);
    belay_result_destroy(result);
    return value;
}

int main(int argc, char **argv)
{
    struct belay_options *options = belay_options_create();
    uint64_t adds = argc == 5 ? strtoull(argv[3], NULL, 10) : 0;
    struct belay_client *client;
    struct tally tally = {0};
    enum belay_ack level;

    if (options == NULL || adds < 10 || belay_options_servers(options, argv[1]) != BELAY_OK ||
        belay_ack_parse(argv[4], &level) != BELAY_OK) {
        fprintf(stderr, "usage: client_adds SERVERS KEY ADDS ACK\n");
        return 2;
    }
    belay_options_timeout_ms(options, 120000);
    if (belay_client_create(options, &client) != BELAY_OK) {
        return 1;
    }
    belay_options_destroy(options);
    for (int stretch = 0; stretch < 10; stretch++) {
        puts("adding");
        fflush(stdout);
        for (uint64_t done = 0; done < adds / 10 || !told_to_go_on(); done++) {
            add_one(client, argv[2], level, &tally);
        }
    }
    int64_t value = value_of(client, argv[2]);
    printf("ok=%" PRIu64 " maybe=%" PRIu64 " other=%" PRIu64 " value=%" PRId64 " stand_in=%" PRIu64
           " longest_ms=%" PRIu64 " retries=%" PRIu64 " disconnects=%" PRIu64 " moves=%" PRIu64
           "\n",
           tally.ok, tally.maybe, tally.other, value, tally.stand_in, tally.longest_us / 1000,
           belay_client_counter(client, BELAY_COUNT_RETRIES),
           belay_client_counter(client, BELAY_COUNT_DISCONNECTS),
           belay_client_counter(client, BELAY_COUNT_MOVES));
    int right = tally.other == 0 && value >= (int64_t)tally.ok &&
                value <= (int64_t)(tally.ok + tally.maybe);
    puts(right ? "added" : "WRONG");
    belay_client_destroy(client);
    return right ? 0 : 1;
}
