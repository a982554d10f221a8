/* What must hold of maps and leaders whatever fails, and of what clients read. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cluster_private.h"
#include "cluster_scenario.h"
#include "heap.h"

enum { ON_THE_WAY_US = 100 * 1000 };

static struct memory heap = {.resize = heap_resize, .map = heap_map, .unmap = heap_unmap};

/* ---- The control plane ---- */

static uint64_t hash_of(const struct map *map)
{
    struct buffer encoded = {.memory = &heap};
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    SIM_CHECK("map", map_encode(map, &encoded) == 0, "no memory for a map");
    for (size_t i = 0; i < encoded.size; i++) {
        hash = (hash ^ encoded.data[i]) * UINT64_C(0x100000001b3);
    }
    buffer_fini(&encoded);
    return hash;
}

/* Is there a leader of a later term than this node knows? Then what its own says may be over. */
static bool is_passed_over(const struct cluster_node *node)
{
    const struct cluster_scenario *scenario = cluster_scenario_of(node->sim);
    uint64_t term = node->cluster->raft.term + 1;

    while (term < CLUSTER_SIM_TERMS_MAX && scenario->leaders[term] == 0) {
        term++;
    }
    return term < CLUSTER_SIM_TERMS_MAX;
}

/* It has all that was committed: then its map is no older than any that was known when it started, or a moment before, as
 * what a leader says may be on the way to a node that is only about to start. */
static void check_heard(struct cluster_node *node)
{
    const struct cluster_scenario *scenario = cluster_scenario_of(node->sim);
    uint64_t epoch = node->cluster->map->epoch;

    node->heard = true;
    for (uint64_t newer = epoch + 1; newer <= scenario->epoch; newer++) {
        bool known = scenario->maps[newer] != 0 &&
                     scenario->known_us[newer] + ON_THE_WAY_US <= node->begun_us;
        SIM_CHECK("heard", !known || is_passed_over(node),
                  "node %u takes epoch %" PRIu64 " for the present one, and there was %" PRIu64,
                  node->place, epoch, newer);
    }
}

/* Is this no map that the node has only kept over its start? */
static bool may_be_present(const struct cluster_node *node, const struct map *map)
{
    return node->cluster == NULL ? map->member_count == 1
                                 : node->cluster->raft.current || cluster_is_alone(node->cluster);
}

/* An epoch stands for one map: so each slot has the same owners wherever that epoch is known. And a node's only grow. */
void cluster_check_map(struct cluster_node *node, const struct map *map, bool kept)
{
    struct cluster_scenario *scenario = cluster_scenario_of(node->sim);
    uint64_t hash = hash_of(map);

    SIM_CHECK(
        "epoch", map->epoch > node->epoch || (map->epoch == node->epoch && node->kept && !kept),
        "node %u goes from epoch %" PRIu64 " to %" PRIu64, node->place, node->epoch, map->epoch);
    SIM_CHECK("heard", kept || may_be_present(node, map),
              "node %u has not heard that epoch %" PRIu64 " is the present one", node->place,
              map->epoch);
    node->kept = kept;
    node->epoch = map->epoch;
    const bool newest = map->epoch > scenario->epoch;
    scenario->epoch = newest ? map->epoch : scenario->epoch;
    SIM_CHECK("bounds", map->epoch < CLUSTER_SIM_EPOCHS_MAX, "more maps than there is room for");
    uint64_t *known = &scenario->maps[map->epoch];
    SIM_CHECK("map", *known == 0 || *known == hash, "node %u has another map of epoch %" PRIu64,
              node->place, map->epoch);
    scenario->known_us[map->epoch] =
        *known == 0 ? node->sim->now_us : scenario->known_us[map->epoch];
    if (*known == 0) {
        cluster_check_owners(node->sim, map);
    }
    *known = hash;
    sim_count(node->sim, SIM_MAPS);
    if (newest) {
        cluster_handoffs_map(node->sim, map);
    }
}

/* One leader in a term; what is committed stays so. */
void cluster_check_node(struct cluster_node *node)
{
    struct cluster_scenario *scenario = cluster_scenario_of(node->sim);
    const struct raft *raft;

    if (node->cluster == NULL) {
        return;
    }
    raft = &node->cluster->raft;
    SIM_CHECK("order", raft->commit >= node->commit && raft->applied <= raft->commit,
              "node %u: commit %" PRIu64 ", applied %" PRIu64, node->place, raft->commit,
              raft->applied);
    node->commit = raft->commit;
    if (raft->current && !node->heard) {
        check_heard(node);
    }
    if (raft->role != RAFT_LEADER) {
        node->logged = raft_log_last(&raft->log);
        return;
    }
    cluster_handoffs_log(node);
    SIM_CHECK("bounds", raft->term < CLUSTER_SIM_TERMS_MAX, "more terms than there is room for");
    uint32_t *leader = &scenario->leaders[raft->term];
    SIM_CHECK("election", *leader == 0 || *leader == node->copies->number,
              "nodes %u and %u both lead in term %" PRIu64, *leader, node->copies->number,
              raft->term);
    if (*leader == 0) {
        sim_count(node->sim, SIM_ELECTIONS);
    }
    *leader = node->copies->number;
}

/* Can a node have been compared with others since its start, or have been without anybody for long enough? The only owner
 * that serves need not, once it has heard that it is that still. */
static bool may_be_level(const struct copies_node *copies, uint32_t slot)
{
    const struct slot_owners *owners = &copies->table->owners[slot];
    bool others = false;

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        const struct slot_table_member *member =
            slot_table_member(copies->table, owners->nodes[rank]);
        others =
            others || (owners->nodes[rank] != copies->number && member != NULL && member->serves);
    }
    return replication_stats(copies->replication)->compared > 0 ||
           copies_node_now_us(copies) - copies->begun_us >= REPLICATION_ALONE_MS * UINT64_C(1000) ||
           (!others && !copies->table->kept);
}

/* Only an owner serves, by the map that it knows, or who keeps the slot until its first owner takes it; but for reads of any
 * copy only once it has what the others have. */
void cluster_check_serves(const struct cluster_node *node, uint32_t slot, bool any)
{
    const struct copies_node *copies = node->copies;

    SIM_CHECK("left", !node->left, "node %u serves slot %u, and has left", node->place, slot);
    SIM_CHECK("owner",
              (slot_owners_has(&copies->table->owners[slot], copies->number) ||
               replication_keeps(copies->replication, slot)) &&
                  (any ||
                   (replication_is_level(copies->replication, slot) && may_be_level(copies, slot))),
              "node %u serves slot %u of epoch %" PRIu64 ", which is not its own, or not level",
              node->place, slot, copies->table->epoch);
}

/* ---- What is read ---- */

/* Is the answer to a read that its client does not wait for any more? */
static bool is_late(const struct cluster_node *node, const struct cluster_request *request)
{
    const struct cluster_client *client = &cluster_scenario_of(node->sim)->clients[request->client];

    return !client->waits || client->attempt != request->attempt;
}

static bool shows(const struct session_view *view, const struct copies_write *write,
                  uint32_t number)
{
    struct session_field field;
    char name[16];

    if (write->adds) {
        return copies_was_added(view, write, number);
    }
    snprintf(name, sizeof name, "f%u", number);
    return session_find(view, bytes_of_string(name), &field);
}

/* Monotonic reads, and read-your-writes: the copy that answers has seen all that the client's version says. */
static void check_floor(struct cluster_node *node, const struct cluster_request *request)
{
    struct reader reader = reader_of(operation_version_bytes(&request->floor));
    struct bytes record = copies_node_record(node->copies, request->key);
    struct version floor;
    struct record opened;

    if (request->floor.size == 0 || record.size == 0) {
        return;
    }
    SIM_CHECK("floor",
              version_read(&reader, true, &floor) &&
                  record_open_head(&opened, record, RECORD_FORMAT) == 0 &&
                  version_covers_all(&opened.version, &floor),
              "node %u answers client %u with an older key %u than he has seen", node->place,
              request->client, request->key);
}

/* ---- Deadlines ---- */

void cluster_check_access(struct cluster_node *node, uint32_t key)
{
    uint64_t *latest = &cluster_scenario_of(node->sim)->accesses[key];
    uint64_t now_ms = copies_node_now_ms(node->copies);

    *latest = now_ms > *latest ? now_ms : *latest;
}

/* May the deadline of what this write made have passed: its own, or one that was set later? */
static bool is_over(struct cluster_node *node, const struct copies_write *write, uint32_t number)
{
    const struct cluster_scenario *scenario = cluster_scenario_of(node->sim);
    const struct copies_oracle *oracle = &scenario->copies.oracle;
    uint64_t now_ms = copies_node_now_ms(node->copies) + scenario->skew_ms;
    bool over = now_ms >= write->now_ms + copies_ttl_ms(number);

    for (uint32_t i = 0; i < oracle->write_count && !over; i++) {
        const struct copies_write *later = &oracle->writes[i];
        over = later->key == write->key && !later->destroys && later->executions > 0 &&
               later->hlc >= write->hlc && now_ms >= later->now_ms + copies_ttl_ms(i);
    }
    return write->key < COPIES_TIMED_KEYS && over;
}

/* Did a write begin the session anew where an older deadline of it was known, and had passed? Two sides of a cut may
 * differ about that: what was begun later ends what went on elsewhere, as a destruction does. */
static bool is_begun_anew(const struct cluster_scenario *scenario, const struct copies_write *write)
{
    const struct copies_oracle *oracle = &scenario->copies.oracle;
    uint64_t passed_ms = UINT64_MAX;

    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *other = &oracle->writes[i];
        if (other->key == write->key && other->executions > 0 && !other->destroys &&
            other->birth_hlc == write->birth_hlc && other->now_ms + copies_ttl_ms(i) < passed_ms) {
            passed_ms = other->now_ms + copies_ttl_ms(i);
        }
    }
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *other = &oracle->writes[i];
        if (other->key == write->key && other->executions > 0 && !other->destroys &&
            other->last_birth_hlc > write->birth_hlc &&
            other->now_ms + scenario->skew_ms >= passed_ms) {
            return write->key < COPIES_TIMED_KEYS;
        }
    }
    return false;
}

/* No session is shown past the deadline that the newest of what is shown has set. An idle one may be an eighth later
 * after a restart, and another one where its node is not the primary that has seen each use. Its clock goes by the
 * newest time that its node has heard of. */
static void check_deadline(struct cluster_node *node, uint32_t key, const struct session_view *view)
{
    const struct cluster_scenario *scenario = cluster_scenario_of(node->sim);
    const struct copies_oracle *oracle = &scenario->copies.oracle;
    const struct copies_write *newest = NULL;
    uint64_t now_ms = copies_node_now_ms(node->copies), ttl_ms = 0;

    for (uint32_t i = 0; key < COPIES_TIMED_KEYS && i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        if (write->key == key && write->executions > 0 && !write->destroys &&
            (newest == NULL || write->hlc > newest->hlc) && shows(view, write, i)) {
            newest = write;
            ttl_ms = copies_ttl_ms(i);
        }
    }
    if (newest == NULL || newest->executions > 1) {
        return; /* Which time counts is not known. */
    }
    uint64_t until_ms = newest->idles
                            ? scenario->accesses[key] + ttl_ms + ttl_ms / 4 + scenario->skew_ms
                            : newest->now_ms + ttl_ms;
    SIM_CHECK("deadline", now_ms < until_ms,
              "node %u shows key %u %" PRIu64 " ms after its deadline", node->place, key,
              now_ms - until_ms);
}

/* ---- What a client knows ---- */

/* Is what this client was told is written in what is as new as that? */
static void check_own_writes(struct cluster_node *node, const struct cluster_request *request,
                             const struct session_view *view)
{
    const struct cluster_scenario *scenario = cluster_scenario_of(node->sim);
    const struct copies_oracle *oracle = &scenario->copies.oracle;
    uint32_t since = scenario->clients[request->client].since[request->key];

    for (uint32_t i = since; request->floor.size > 0 && i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        if (write->client == request->client && write->key == request->key && write->level != 0 &&
            !write->destroys && (view == NULL || !shows(view, write, i))) {
            SIM_CHECK("own_writes",
                      copies_may_be_destroyed(oracle, write) || is_over(node, write, i) ||
                          is_begun_anew(scenario, write),
                      "node %u answers client %u without its write %u of key %u", node->place,
                      request->client, i, request->key);
        }
    }
}

/* A node that was stopped does not do late what was sent to it meanwhile: who asked has gone on. On the way a request is
 * for a moment, it may lie there for as long as what is no pause yet, and wait while its slot is taken over. */
void cluster_check_write(const struct cluster_node *node, const struct cluster_request *request)
{
    const uint64_t most_us =
        replication_pause_us(0) + (uint64_t)REPLICATION_SILENCE_MS * 1000 + ON_THE_WAY_US;
    const uint64_t since_us = node->sim->now_us - request->sent_us;

    SIM_CHECK("late", since_us <= most_us, "node %u does write %u, which was sent %.3f s ago",
              node->place, request->write, (double)since_us / 1e6);
}

void cluster_check_get(struct cluster_node *node, const struct cluster_request *request,
                       const struct reply *reply)
{
    if (is_late(node, request)) {
        return;
    }
    if (reply->status == STATUS_OK || reply->status == STATUS_NOT_FOUND) {
        check_floor(node, request);
    }
    if (reply->status == STATUS_OK) {
        check_deadline(node, request->key, reply->view);
        check_own_writes(node, request, reply->view);
    } else if (reply->status == STATUS_NOT_FOUND) {
        check_own_writes(node, request, NULL);
    }
}
