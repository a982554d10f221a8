/* What control threads send to each other besides Raft, and what Raft's log and snapshots say to the map: the first byte
 * chooses the decoder. What is taken is what would be written. */
#include <assert.h>
#include <string.h>

#include "cluster_log.h"
#include "fuzz.h"
#include "heap.h"
#include "liveness_message.h"

static void check_same(struct buffer *again, struct bytes bytes)
{
    assert(bytes_equal(buffer_bytes(again), bytes));
}

static void try_message(struct bytes bytes)
{
    uint8_t again[LIVENESS_MESSAGE_BYTES_MAX];
    struct liveness_message message;

    if (liveness_message_read(bytes, 1, &message) == 0) {
        size_t size = liveness_message_put(again, &message);
        assert(bytes_equal(bytes_of(again, size), bytes));
    }
}

static void try_report(struct bytes bytes)
{
    uint8_t again[LIVENESS_REPORT_BYTES_MAX];
    static struct liveness_report report;

    if (liveness_report_read(bytes, 1, &report) == 0) {
        size_t size = liveness_report_put(again, &report);
        assert(bytes_equal(bytes_of(again, size), bytes));
    }
}

static void try_entry(struct bytes bytes, struct buffer *again)
{
    static struct map map;
    static struct placement_work work;
    static struct cluster_outcomes outcomes;
    struct cluster_proposer by;
    struct map_command command;

    if (cluster_entry_read(bytes, &by, &command) != 0) {
        return;
    }
    int rc = cluster_entry_put(again, &by, &command);
    assert(rc == 0);
    check_same(again, bytes);
    map_init(&map, 1, 2);
    memset(&outcomes, 0, sizeof outcomes);
    (void)cluster_entry_apply(bytes, &map, &work, &outcomes);
    assert(outcomes.count == 1);
}

static void try_state(struct bytes bytes, struct buffer *again)
{
    static struct map map;
    static struct cluster_outcomes outcomes;

    if (cluster_state_read(bytes, &map, &outcomes) == 0) {
        int rc = cluster_state_put(again, &map, &outcomes);
        assert(rc == 0);
        check_same(again, bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer again = {.memory = heap_memory()};

    if (size > 0) {
        struct bytes bytes = bytes_of(data + 1, size - 1);
        switch (data[0] % 4) {
        case 0:
            try_message(bytes);
            break;
        case 1:
            try_report(bytes);
            break;
        case 2:
            try_entry(bytes, &again);
            break;
        default:
            try_state(bytes, &again);
            break;
        }
    }
    buffer_fini(&again);
    return 0;
}
