/* Raft's messages: any bytes, as a row of messages to one member of three, with time and its store going on in between.
 * What is accepted comes back as it was, and whatever is said, nothing breaks inside. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "heap.h"
#include "raft_bootstrap.h"

static void send_it(struct raft_net *net, uint32_t to, struct bytes message)
{
    (void)net;
    assert(to != 1 && message.size > 2);
}

static int take_vote(struct raft_store *store, uint64_t sequence, uint64_t term, uint32_t node)
{
    (void)store;
    (void)node;
    assert(sequence > 0 && term > 0);
    return 0;
}

static int take_entries(struct raft_store *store, uint64_t sequence,
                        const struct raft_entry entries[], uint32_t count)
{
    (void)store;
    assert(sequence > 0 && count > 0 && entries[count - 1].index == entries[0].index + count - 1);
    return 0;
}

static int take_snapshot(struct raft_store *store, uint64_t sequence, uint64_t index, uint64_t term,
                         struct bytes snapshot, bool alone)
{
    (void)store;
    (void)alone;
    assert(sequence > 0 && index > 0 && term > 0 && snapshot.size > 0);
    return 0;
}

static void apply(struct raft_machine *machine, const struct raft_entry *entry)
{
    (void)machine;
    assert(entry->index > 0 && entry->term > 0);
}

static int save(struct raft_machine *machine, struct buffer *to)
{
    (void)machine;
    return buffer_append(to, bytes_of_string("state"));
}

static int restore(struct raft_machine *machine, uint64_t index, struct bytes state)
{
    (void)machine;
    (void)state;
    return index % 4 == 3 ? -EBADMSG : 0;
}

static void see(struct raft_tracer *tracer, enum raft_event event, uint64_t a, uint64_t b)
{
    (void)tracer;
    (void)event;
    (void)a;
    (void)b;
}

static void check_message(struct bytes bytes)
{
    struct buffer again = {.memory = heap_memory()};
    struct raft_message message;

    if (raft_message_parse(bytes, &message) == 0 && raft_message_put(&again, &message) == 0) {
        assert(bytes_equal(buffer_bytes(&again), bytes));
    }
    buffer_fini(&again);
}

static void check_raft(const struct raft *raft)
{
    assert(raft->applied <= raft->commit && raft->commit <= raft_log_last(&raft->log));
    assert(raft->log.base_index <= raft->snapshot.index && raft->log.staged == 0);
    assert(raft->durable <= raft_log_last(&raft->log));
}

/* The first byte of each message: from whom (2 bits), what goes on before it (2 bits). */
static void play(struct raft *raft, struct reader *reader)
{
    uint64_t now_ms = 0;

    while (reader_left(reader) > 0) {
        uint8_t how = read_u8(reader);
        struct bytes bytes = read_string(reader);
        if ((how & 4) != 0) {
            now_ms += 200;
            raft_tick(raft, now_ms);
        }
        if ((how & 8) != 0) {
            raft_stored(raft, raft->issued);
        }
        if (bytes.size == 0) {
            struct raft_place place;
            (void)raft_propose(raft, bytes_of_string("command"), &place);
            continue;
        }
        check_message(bytes);
        (void)raft_receive(raft, how & 3, bytes);
        check_raft(raft);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t nodes[] = {1, 2, 3};
    struct raft_net net = {send_it};
    struct raft_store store = {take_vote, take_entries, take_snapshot};
    struct raft_machine machine = {apply, save, restore};
    struct raft_tracer tracer = {see};
    struct raft_ports ports = {heap_memory(), &net, &store, &machine, &tracer};
    struct raft_options options = {
        .node = 1, .election_ms = 100, .heartbeat_ms = 20, .log_bytes = 400};
    static struct raft raft;
    struct reader reader = reader_of(bytes_of(data, size));

    check_message(bytes_of(data, size));
    int rc = raft_init(&raft, &options, &ports, NULL, 0);
    assert(rc == 0);
    rc = raft_bootstrap(&raft, nodes, 3);
    assert(rc == 0);
    raft_stored(&raft, raft.issued);
    play(&raft, &reader);
    raft_fini(&raft);
    return 0;
}
