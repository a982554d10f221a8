#include "resp_cluster.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "copies.h"
#include "plane_private.h"
#include "run.h"
#include "shard_thread.h"
#include "slot.h"

enum { NODE_ID_BYTES = 40, PLACE_BYTES = HOST_BYTES_MAX + 8 };

/* ---- Members ---- */

/* What is told of a member. Of a node without a table only itself is known, and not by which name it is reached: a client
 * takes the one that it used. */
struct place {
    uint32_t number;
    const char *host;
    uint16_t port, peer_port;
    bool serves;
};

static const struct slot_table *table_of(const struct shard_thread *thread)
{
    return thread->table == NULL ? NULL : thread->table->table;
}

static struct place place_of(const struct slot_table_member *member)
{
    return (struct place){
        .number = member->number,
        .host = member->host,
        .port = member->ports[MAP_PORT_CLUSTER],
        .peer_port = member->ports[MAP_PORT_PEER],
        .serves = member->serves,
    };
}

static uint32_t member_count(const struct shard_thread *thread)
{
    return thread->table == NULL ? 1 : table_of(thread)->member_count;
}

static struct place own_place(const struct shard_thread *thread)
{
    const struct plane *plane = thread->plane;
    const struct slot_table_member *self =
        thread->table == NULL ? NULL
                              : slot_table_member(table_of(thread), plane->options.actor.node);

    if (self != NULL) {
        return place_of(self);
    }
    return (struct place){
        .number = plane->options.actor.node,
        .host = "",
        .port = plane_cluster_port(plane),
        .serves = true,
    };
}

static struct place place_at(const struct shard_thread *thread, uint32_t index)
{
    return thread->table == NULL ? own_place(thread) : place_of(&table_of(thread)->members[index]);
}

static struct place place_of_node(const struct shard_thread *thread, uint32_t node)
{
    const struct slot_table_member *member =
        thread->table == NULL ? NULL : slot_table_member(table_of(thread), node);

    return member == NULL ? own_place(thread) : place_of(member);
}

/* Who coordinates each slot now, 0: nobody; in the turn's arena. NULL: no memory. */
static const uint32_t *find_primaries(struct shard_thread *thread)
{
    uint32_t *primaries = arena_take(&thread->arena, SLOT_COUNT * sizeof *primaries);

    for (uint32_t slot = 0; primaries != NULL && slot < SLOT_COUNT; slot++) {
        primaries[slot] =
            thread->table == NULL ? thread->plane->options.actor.node : copies_guess(thread, slot);
    }
    return primaries;
}

/* Forty hexadecimal digits and a zero. */
static void put_id(uint32_t number, char id[NODE_ID_BYTES + 1])
{
    snprintf(id, NODE_ID_BYTES + 1, "be1a%028x%08x", 0, number);
}

bool resp_cluster_owns(const struct shard_thread *thread, uint32_t slot)
{
    return thread->table == NULL || copies_owns(thread, slot);
}

/* ---- MOVED ---- */

/* The slot of all keys of a command. Returns 1; 0: it has none; -1: they are of several. */
static int slot_of_all(const struct command *command, struct resp_arguments arguments,
                       uint32_t *slot)
{
    const bool evals = command->local == LOCAL_EVAL || command->local == LOCAL_EVALSHA;
    const int count = (int)arguments.count;
    int first = command->first_key, last = command->last_key, step = command->key_step, found = 0;
    struct bytes argument;

    if (evals) {
        first = 3;
        last = 2;
        step = 1;
    } else if (first == 0) {
        return 0;
    }
    last = last < 0 ? count + 1 + last : last;
    for (int i = 1; i <= last && resp_next(&arguments, &argument); i++) {
        int64_t keys;
        if (evals && i == 2 && resp_integer(argument, &keys) && keys > 0 && keys <= count) {
            last = 2 + (int)keys;
        }
        if (i < first || (i - first) % step != 0) {
            continue;
        }
        uint32_t of_key = slot_of_key(argument);
        if (found != 0 && of_key != *slot) {
            return -1;
        }
        *slot = of_key;
        found = 1;
    }
    return found;
}

/* Is it to coordinate the slot, by its table? Others may have a newer one, by which it does, and send clients here: sent back they
 * would go to and fro until this node has that one, too. */
static bool is_to_have(const struct shard_thread *thread, uint32_t slot)
{
    return table_of(thread)->targets[slot].nodes[0] == thread->plane->options.actor.node;
}

const char *resp_moved(struct shard_thread *thread, const struct connection *connection,
                       const struct command *command, struct resp_arguments arguments,
                       char text[RESP_MOVED_BYTES])
{
    const uint32_t self = thread->plane->options.actor.node;
    const bool reads = connection->resp->reads_copies && (command->flags & COMMAND_WRITE) == 0;
    uint32_t slot = 0;
    int found = slot_of_all(command, arguments, &slot);

    if (command->local == LOCAL_SELECT) {
        struct bytes number;
        bool zero = resp_next(&arguments, &number) && run_is(number, "0");
        return zero ? NULL : "ERR SELECT is not allowed in cluster mode";
    }
    if (found < 0) {
        return resp_cross_slot;
    }
    if (found == 0 || !thread->clustered || (reads && copies_owns(thread, slot))) {
        return NULL;
    }
    uint32_t node = copies_guess(thread, slot);
    if (node == self || is_to_have(thread, slot)) {
        return NULL;
    }
    if (node == 0) {
        return "CLUSTERDOWN Hash slot not served";
    }
    const struct place place = place_of_node(thread, node);
    snprintf(text, RESP_MOVED_BYTES, "MOVED %u %s:%u", slot, place.host, place.port);
    return text;
}

static int put_place(const struct resp_out *out, const struct place *place)
{
    char id[NODE_ID_BYTES + 1];

    put_id(place->number, id);
    int rc = resp_array(out, 4);
    rc = rc != 0 ? rc : resp_text(out, place->host);
    rc = rc != 0 ? rc : resp_number(out, place->port);
    rc = rc != 0 ? rc : resp_text(out, id);
    return rc != 0 ? rc : resp_array(out, 0);
}

/* The first slot behind `slot` with another primary. */
static uint32_t end_of_run(const uint32_t primaries[], uint32_t slot)
{
    uint32_t end = slot + 1;

    while (end < SLOT_COUNT && primaries[end] == primaries[slot]) {
        end++;
    }
    return end;
}

/* ---- CLUSTER SLOTS ----
 *
 * After READONLY also who has copies of a run of slots. As each of these nodes is the primary of other slots, and clients
 * take a node for what they heard of it first, or last, the first slot of each primary comes before all runs and its last one
 * behind them, both without copies. */

enum { PART_FIRST, PART_RUNS, PART_LAST, PARTS };

struct slots {
    const struct local *local;
    const uint32_t *primaries;
    bool copies;
    uint8_t *parts; /* Of each slot, in which it comes. */
};

static void mark_ends(const struct slots *slots)
{
    const struct shard_thread *thread = slots->local->thread;

    for (uint32_t i = 0; i < member_count(thread); i++) {
        const uint32_t node = place_at(thread, i).number;
        uint32_t first = 0, end = SLOT_COUNT;
        while (first < SLOT_COUNT && slots->primaries[first] != node) {
            first++;
        }
        while (end > first && slots->primaries[end - 1] != node) {
            end--;
        }
        if (end > first) {
            slots->parts[end - 1] = PART_LAST;
            slots->parts[first] = PART_FIRST;
        }
    }
}

/* The first slot behind `slot` that is not told with it. */
static uint32_t end_of_told(const struct slots *slots, uint32_t slot)
{
    const uint32_t same = end_of_run(slots->primaries, slot);
    uint32_t end = slot + 1;

    if (!slots->copies) {
        return same;
    }
    const struct slot_owners *owners = table_of(slots->local->thread)->owners;
    while (end < same && slots->parts[slot] == PART_RUNS && slots->parts[end] == PART_RUNS &&
           memcmp(&owners[end], &owners[slot], sizeof owners[slot]) == 0) {
        end++;
    }
    return end;
}

static uint32_t find_copies(const struct slots *slots, uint32_t slot,
                            uint32_t nodes[PLACEMENT_REPLICAS_MAX])
{
    const struct slot_table *table = table_of(slots->local->thread);
    uint32_t count = 0;

    for (uint32_t rank = 0; slots->copies && slots->parts[slot] == PART_RUNS &&
                            rank < PLACEMENT_REPLICAS_MAX && table->owners[slot].nodes[rank] != 0;
         rank++) {
        const uint32_t node = table->owners[slot].nodes[rank];
        const struct slot_table_member *member = slot_table_member(table, node);
        if (node != slots->primaries[slot] && member != NULL && member->serves) {
            nodes[count++] = node;
        }
    }
    return count;
}

static int put_run(const struct slots *slots, uint32_t slot, uint32_t end)
{
    const struct local *local = slots->local;
    struct place place = place_of_node(local->thread, slots->primaries[slot]);
    uint32_t nodes[PLACEMENT_REPLICAS_MAX];
    const uint32_t copies = find_copies(slots, slot, nodes);

    int rc = resp_array(local->out, 3 + copies);
    rc = rc != 0 ? rc : resp_number(local->out, slot);
    rc = rc != 0 ? rc : resp_number(local->out, end - 1);
    rc = rc != 0 ? rc : put_place(local->out, &place);
    for (uint32_t i = 0; i < copies && rc == 0; i++) {
        place = place_of_node(local->thread, nodes[i]);
        rc = put_place(local->out, &place);
    }
    return rc;
}

static int put_slots(const struct local *local, const uint32_t primaries[])
{
    struct slots slots = {
        .local = local,
        .primaries = primaries,
        .copies = local->session->reads_copies && local->thread->clustered,
        .parts = arena_take(&local->thread->arena, SLOT_COUNT),
    };
    uint64_t count = 0;

    if (slots.parts == NULL) {
        return -ENOMEM;
    }
    memset(slots.parts, PART_RUNS, SLOT_COUNT);
    if (slots.copies) {
        mark_ends(&slots);
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot = end_of_told(&slots, slot)) {
        count += primaries[slot] != 0;
    }
    int rc = resp_array(local->out, count);
    for (uint32_t part = 0; part < PARTS; part++) {
        for (uint32_t slot = 0, end; slot < SLOT_COUNT && rc == 0; slot = end) {
            end = end_of_told(&slots, slot);
            if (primaries[slot] != 0 && slots.parts[slot] == part) {
                rc = put_run(&slots, slot, end);
            }
        }
    }
    return rc;
}

/* ---- CLUSTER SHARDS, NODES, INFO ---- */

/* The runs of slots whose primary a node is: appended as first and last, or counted where `out` is NULL. */
static int put_primary_runs(const uint32_t primaries[], uint32_t node, const struct resp_out *out,
                            uint64_t *count)
{
    int rc = 0;

    *count = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT && rc == 0;) {
        uint32_t end = end_of_run(primaries, slot);
        if (primaries[slot] == node) {
            (*count)++;
            rc = out == NULL ? 0 : resp_number(out, slot);
            rc = rc != 0 || out == NULL ? rc : resp_number(out, end - 1);
        }
        slot = end;
    }
    return rc;
}

static int put_pair(const struct resp_out *out, const char *name, const char *value)
{
    int rc = resp_text(out, name);

    return rc != 0 ? rc : resp_text(out, value);
}

static int put_shard_node(const struct resp_out *out, const struct place *place)
{
    char id[NODE_ID_BYTES + 1];

    put_id(place->number, id);
    int rc = resp_map(out, 7);
    rc = rc != 0 ? rc : put_pair(out, "id", id);
    rc = rc != 0 ? rc : resp_text(out, "port");
    rc = rc != 0 ? rc : resp_number(out, place->port);
    rc = rc != 0 ? rc : put_pair(out, "ip", place->host);
    rc = rc != 0 ? rc : put_pair(out, "endpoint", place->host);
    rc = rc != 0 ? rc : put_pair(out, "role", "master");
    rc = rc != 0 ? rc : resp_text(out, "replication-offset");
    rc = rc != 0 ? rc : resp_number(out, 0);
    return rc != 0 ? rc : put_pair(out, "health", place->serves ? "online" : "fail");
}

/* One for each node, with the slots whose primary it is. */
static int put_shards(const struct local *local, const uint32_t primaries[])
{
    const struct shard_thread *thread = local->thread;
    const struct resp_out *out = local->out;
    int rc = resp_array(out, member_count(thread));

    for (uint32_t i = 0; i < member_count(thread) && rc == 0; i++) {
        const struct place place = place_at(thread, i);
        uint64_t runs;
        (void)put_primary_runs(primaries, place.number, NULL, &runs);
        rc = resp_map(out, 2);
        rc = rc != 0 ? rc : resp_text(out, "slots");
        rc = rc != 0 ? rc : resp_array(out, 2 * runs);
        rc = rc != 0 ? rc : put_primary_runs(primaries, place.number, out, &runs);
        rc = rc != 0 ? rc : resp_text(out, "nodes");
        rc = rc != 0 ? rc : resp_array(out, 1);
        rc = rc != 0 ? rc : put_shard_node(out, &place);
    }
    return rc;
}

static int append_text(struct buffer *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int append_text(struct buffer *text, const char *format, ...)
{
    char line[PLACE_BYTES + 256];
    va_list arguments;

    va_start(arguments, format);
    int size = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    return buffer_append(text, bytes_of(line, (size_t)size));
}

static int append_node(const struct local *local, const uint32_t primaries[], struct buffer *text,
                       const struct place *place)
{
    const struct shard_thread *thread = local->thread;
    bool self = place->number == thread->plane->options.actor.node;
    char id[NODE_ID_BYTES + 1];

    put_id(place->number, id);
    int rc = append_text(text, "%s %s:%u@%u %s%s - 0 0 %llu %s", id, place->host, place->port,
                         place->peer_port, self ? "myself," : "",
                         place->serves ? "master" : "master,fail",
                         (unsigned long long)copies_epoch(thread),
                         self || place->serves ? "connected" : "disconnected");
    for (uint32_t slot = 0; slot < SLOT_COUNT && rc == 0;) {
        uint32_t end = end_of_run(primaries, slot);
        if (primaries[slot] == place->number) {
            rc = end == slot + 1 ? append_text(text, " %u", slot)
                                 : append_text(text, " %u-%u", slot, end - 1);
        }
        slot = end;
    }
    return rc != 0 ? rc : append_text(text, "\n");
}

static int put_nodes(const struct local *local, const uint32_t primaries[])
{
    struct buffer text = {.memory = local->thread->memory};
    int rc = 0;

    for (uint32_t i = 0; i < member_count(local->thread) && rc == 0; i++) {
        const struct place place = place_at(local->thread, i);
        rc = append_node(local, primaries, &text, &place);
    }
    rc = rc != 0 ? rc : resp_verbatim(local->out, buffer_bytes(&text));
    buffer_fini(&text);
    return rc;
}

static int put_info(const struct local *local, const uint32_t primaries[])
{
    const struct shard_thread *thread = local->thread;
    uint32_t owned = 0, serving = 0;
    char text[512];

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        owned += primaries[slot] != 0;
    }
    for (uint32_t i = 0; i < member_count(thread); i++) {
        uint64_t runs;
        (void)put_primary_runs(primaries, place_at(thread, i).number, NULL, &runs);
        serving += runs > 0;
    }
    int size = snprintf(
        text, sizeof text,
        "cluster_state:%s\r\ncluster_slots_assigned:%u\r\ncluster_slots_ok:%u\r\n"
        "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:%u\r\n"
        "cluster_size:%u\r\ncluster_current_epoch:%llu\r\ncluster_my_epoch:%llu\r\n",
        owned == SLOT_COUNT ? "ok" : "fail", owned, owned, member_count(thread), serving,
        (unsigned long long)copies_epoch(thread), (unsigned long long)copies_epoch(thread));
    return resp_verbatim(local->out, bytes_of(text, (size_t)size));
}

/* ---- CLUSTER ---- */

int local_cluster(struct local *local)
{
    char id[NODE_ID_BYTES + 1];

    if (!local->connection->redirects) {
        return resp_error(local->out, "ERR This instance has cluster support disabled");
    }
    struct bytes sub = local_next(local);
    if (run_is(sub, "keyslot") && local->rest.count == 1) {
        return resp_number(local->out, slot_of_key(local_next(local)));
    }
    if (local->rest.count > 0) {
        return local_unknown_sub(local, sub);
    }
    const uint32_t *primaries = find_primaries(local->thread);
    if (primaries == NULL) {
        return resp_error(local->out, "OOM no memory for the reply");
    }
    if (run_is(sub, "slots")) {
        return put_slots(local, primaries);
    }
    if (run_is(sub, "shards")) {
        return put_shards(local, primaries);
    }
    if (run_is(sub, "nodes")) {
        return put_nodes(local, primaries);
    }
    if (run_is(sub, "info")) {
        return put_info(local, primaries);
    }
    if (run_is(sub, "myid")) {
        put_id(local->thread->plane->options.actor.node, id);
        return resp_text(local->out, id);
    }
    return local_unknown_sub(local, sub);
}
