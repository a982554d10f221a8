/* What the shard itself costs for a read and for a write: no network, no device. The log port and the door
 * copy the bytes as the real ones do and nothing else. Of several rounds the fastest counts.
 *
 *     build/tests/bench/bench_shard [SESSIONS [VALUE_BYTES]]
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "change.h"
#include "pages.h"
#include "shard.h"

enum { KEY_BYTES = 28, BATCH = 32, ROUNDS = 20, VALUE_BYTES_MAX = 4096, SINK_BYTES = 1 << 20 };

struct bench {
    struct log_port log;
    struct door door;
    struct shard *shard;
    uint64_t lsn, now_ms, random;
    uint64_t wrong;
    uint32_t sessions, value_bytes;
    uint8_t sink[SINK_BYTES];
    size_t sunk;
    char keys[BATCH][KEY_BYTES + 1];
    uint8_t changes[VALUE_BYTES_MAX + 64];
    size_t changes_size;
};

static struct bench bench;

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void sink(struct bytes bytes)
{
    if (bench.sunk + bytes.size > SINK_BYTES) {
        bench.sunk = 0;
    }
    memcpy(bench.sink + bench.sunk, bytes.data, bytes.size);
    bench.sunk += bytes.size;
}

static int append(struct log_port *log, uint8_t kind, struct log_subject subject,
                  const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    (void)log;
    (void)kind;
    (void)subject;
    for (uint32_t i = 0; i < part_count; i++) {
        sink(parts[i]);
    }
    *lsn = ++bench.lsn;
    return 0;
}

static void hurry(struct log_port *log)
{
    (void)log;
}

static void answered(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    struct session_field field;

    (void)door;
    (void)ticket;
    (void)held;
    bench.wrong += reply->status != STATUS_OK;
    if (reply->view != NULL && session_find(reply->view, bytes_of("", 0), &field)) {
        sink(field.value);
    }
}

static void released(struct door *door, uint64_t ticket, enum status status, enum ack_level level,
                     const char *text)
{
    (void)level;
    (void)door;
    (void)ticket;
    (void)status;
    (void)text;
}

static uint32_t any_session(void)
{
    bench.random = bench.random * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (uint32_t)((bench.random >> 33) % bench.sessions);
}

/* The value's bytes and a deadline, as belay-bench writes them. */
static void make_changes(void)
{
    static uint8_t value[VALUE_BYTES_MAX];
    const struct change set = {.operation = CHANGE_SET,
                               .name = bytes_of("", 0),
                               .value = bytes_of(value, bench.value_bytes)};
    const struct change ttl = {.operation = CHANGE_TTL, .ms = 7200 * 1000};

    memset(value, 'x', sizeof value);
    bench.changes_size =
        (size_t)(change_put(change_put(bench.changes, &set), &ttl) - bench.changes);
}

/* One batch, as the data plane runs it: `first` is the first session, or UINT32_MAX for any. */
static void run_batch(enum request_op op, uint32_t first, uint32_t count)
{
    struct request requests[BATCH];

    for (uint32_t i = 0; i < count; i++) {
        uint32_t session = first == UINT32_MAX ? any_session() : first + i;
        snprintf(bench.keys[i], sizeof bench.keys[i], "bench:%022u", session);
        requests[i] = (struct request){
            .op = (uint8_t)op,
            .type = op == REQUEST_WRITE ? SESSION_BLOB : SESSION_NONE,
            .key = bytes_of(bench.keys[i], KEY_BYTES),
            .client = op == REQUEST_WRITE ? 7 : 0,
            .sequence = bench.lsn + i + 1,
        };
        if (op == REQUEST_WRITE) {
            requests[i].body = bytes_of(bench.changes, bench.changes_size);
        }
        shard_prepare(bench.shard, &requests[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        shard_prefetch(bench.shard, &requests[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        shard_execute(bench.shard, &requests[i], bench.now_ms, bench.now_ms * 1000);
    }
}

static void measure(const char *name, enum request_op op)
{
    enum { OPERATIONS = 100000 };
    double best = 1e9;

    for (int round = 0; round < ROUNDS; round++) {
        bench.now_ms += 50;
        double begin = seconds();
        for (uint32_t done = 0; done < OPERATIONS; done += BATCH) {
            run_batch(op, UINT32_MAX, BATCH);
        }
        double took = seconds() - begin;
        best = took < best ? took : best;
    }
    printf("%-6s %4.0f ns\n", name, best / OPERATIONS * 1e9);
}

int main(int count, char **arguments)
{
    static struct policies policies;
    struct memory memory;
    struct policy policy;

    bench.sessions = count > 1 ? (uint32_t)atoi(arguments[1]) : 200000;
    bench.value_bytes = count > 2 ? (uint32_t)atoi(arguments[2]) : 512;
    assert(bench.sessions > 0 && bench.value_bytes <= VALUE_BYTES_MAX);
    bench.log = (struct log_port){.append = append, .hurry = hurry};
    bench.door = (struct door){.reply = answered, .release = released};
    bench.now_ms = UINT64_C(1700000000000);
    pages_init(&memory);
    policy_defaults(&policy);
    int rc = policies_init(&policies, &policy, 1);
    const struct shard_options options = {
        .seed = 1,
        .actor = {1, 1},
        .policies = &policies,
        .memory = &memory,
        .log = &bench.log,
        .door = &bench.door,
    };
    rc = rc == 0 ? shard_create(&options, &bench.shard) : rc;
    assert(rc == 0);
    make_changes();
    for (uint32_t first = 0; first < bench.sessions; first += BATCH) {
        uint32_t left = bench.sessions - first;
        run_batch(REQUEST_WRITE, first, left < BATCH ? left : BATCH);
    }
    measure("GET", REQUEST_GET);
    measure("WRITE", REQUEST_WRITE);
    printf("%llu wrong answers\n", (unsigned long long)bench.wrong);
    shard_destroy(bench.shard);
    return bench.wrong == 0 ? 0 : 1;
}
