#include "cluster.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster_private.h"

/* ---- What a node begins with ---- */

/* Above all that others may have decided after this node last heard of them: a newer map, a longer log, a later term,
 * numbers given to nodes that joined. The first three times the node's number, so that where two nodes that are left are
 * started so, against all advice, the one with the greater number is ahead in everything, and the other follows it. */
enum {
    EPOCHS_AHEAD = 1 << 20,
    INDEXES_AHEAD = 1 << 20,
    TERMS_AHEAD = 1 << 10,
    NUMBERS_AHEAD = 256
};

void cluster_map_ahead(struct map *map, uint32_t self)
{
    map->epoch += (uint64_t)self * EPOCHS_AHEAD;
    map->number_last = map->number_last < MAP_NUMBER_MAX - NUMBERS_AHEAD
                           ? map->number_last + NUMBERS_AHEAD
                           : MAP_NUMBER_MAX;
}

void cluster_log_ahead(struct raft_saved *saved, uint32_t self)
{
    saved->snapshot_index += (uint64_t)self * INDEXES_AHEAD;
    saved->snapshot_term += (uint64_t)self * TERMS_AHEAD;
    saved->term = saved->snapshot_term;
}

/* A cluster of one: itself, active, with all slots. */
static int found_map(const struct cluster_options *options, struct map *map,
                     struct placement_work *work)
{
    const struct map_command add = {
        .type = MAP_ADD,
        .number = options->self.node,
        .weight = options->weight,
        .name = options->name,
        .zone = options->zone,
        .region = options->region,
        .place = options->place,
    };
    const struct map_command activate = {
        .type = MAP_STATE,
        .number = options->self.node,
        .state = MAP_ACTIVE,
    };

    if (options->replicas == 0 || options->replicas > PLACEMENT_REPLICAS_MAX) {
        return -EINVAL;
    }
    map_init(map, options->id, options->replicas);
    int rc = map_apply(map, work, &add);
    if (rc == 0 && options->anew) {
        cluster_map_ahead(map, options->self.node);
    }
    return rc != 0 ? rc : map_apply(map, work, &activate);
}

static int found_snapshot(const struct cluster_options *options, struct map *map,
                          struct placement_work *work, struct buffer *to)
{
    const struct cluster_outcomes none = {0};
    struct buffer state = {.memory = options->memory};

    int rc = found_map(options, map, work);
    if (rc == 0) {
        rc = cluster_state_put(&state, map, &none);
    }
    if (rc == 0) {
        rc = raft_first_snapshot(&options->self.node, 1, buffer_bytes(&state), to);
    }
    buffer_fini(&state);
    return rc;
}

static int first_of_all(const struct cluster_options *options, struct buffer *to)
{
    struct memory *memory = options->memory;
    struct map *map = memory->resize(memory, NULL, 0, sizeof *map);
    struct placement_work *work = memory->resize(memory, NULL, 0, sizeof *work);

    int rc = map == NULL || work == NULL ? -ENOMEM : found_snapshot(options, map, work, to);
    if (map != NULL) {
        memory->resize(memory, map, sizeof *map, 0);
    }
    if (work != NULL) {
        memory->resize(memory, work, sizeof *work, 0);
    }
    return rc;
}

static int first_of_seed(struct bytes seed, struct buffer *to, struct raft_saved *saved)
{
    struct reader reader = reader_of(seed);
    uint8_t version = read_u8(&reader);

    saved->snapshot_index = read_u64(&reader);
    saved->snapshot_term = read_u64(&reader);
    if (reader.bad || version != CLUSTER_SEED_VERSION || saved->snapshot_index == 0 ||
        saved->snapshot_term == 0 || reader_left(&reader) == 0) {
        return -EBADMSG;
    }
    return buffer_append(to, bytes_of(reader.at, reader_left(&reader)));
}

int cluster_first(const struct cluster_options *options, struct buffer *to,
                  struct raft_saved *saved)
{
    struct raft_saved first = {.snapshot_index = 1, .snapshot_term = 1};
    int rc = -ENODATA;

    to->size = 0;
    if (options->seed.size > 0) {
        rc = first_of_seed(options->seed, to, &first);
    } else if (options->found) {
        rc = first_of_all(options, to);
    }
    if (rc == 0 && options->found && options->anew) {
        cluster_log_ahead(&first, options->self.node);
    }
    if (rc == 0) {
        first.term = first.snapshot_term;
        first.snapshot = buffer_bytes(to);
        *saved = first;
    }
    return rc;
}

int cluster_seed(struct cluster *cluster, uint32_t number, struct buffer *to)
{
    struct raft_place place;
    size_t begin = to->size;

    if (map_member(cluster->map, number) == NULL) {
        return -EAGAIN; /* What another node gave may be newer than what is applied here. */
    }
    int rc = buffer_reserve(to, CLUSTER_SEED_HEAD_BYTES);
    if (rc != 0) {
        return rc;
    }
    to->size += CLUSTER_SEED_HEAD_BYTES;
    rc = raft_make_snapshot(&cluster->raft, to, &place);
    if (rc != 0) {
        to->size = begin;
        return rc;
    }
    to->data[begin] = CLUSTER_SEED_VERSION;
    store_u64(to->data + begin + 1, place.index);
    store_u64(to->data + begin + 9, place.term);
    return 0;
}

/* ---- Beginning and end ---- */

static void *take(struct cluster *cluster, size_t size)
{
    void *block = cluster->options.memory->resize(cluster->options.memory, NULL, 0, size);

    if (block != NULL) {
        memset(block, 0, size);
    }
    return block;
}

static void give_back(struct cluster *cluster, void *block, size_t size)
{
    if (block != NULL) {
        cluster->options.memory->resize(cluster->options.memory, block, size, 0);
    }
}

static void free_parts(struct cluster *cluster)
{
    give_back(cluster, cluster->map, sizeof *cluster->map);
    give_back(cluster, cluster->spare, sizeof *cluster->spare);
    give_back(cluster, cluster->pulled, sizeof *cluster->pulled);
    give_back(cluster, cluster->work, sizeof *cluster->work);
    give_back(cluster, cluster->levels, SLOT_COUNT * sizeof *cluster->levels);
    buffer_fini(&cluster->scratch);
    buffer_fini(&cluster->runs);
    give_back(cluster, cluster, sizeof *cluster);
}

static bool make_parts(struct cluster *cluster)
{
    cluster->map = take(cluster, sizeof *cluster->map);
    cluster->spare = take(cluster, sizeof *cluster->spare);
    cluster->pulled = take(cluster, sizeof *cluster->pulled);
    cluster->work = take(cluster, sizeof *cluster->work);
    cluster->levels = take(cluster, SLOT_COUNT * sizeof *cluster->levels);
    return cluster->map != NULL && cluster->spare != NULL && cluster->pulled != NULL &&
           cluster->work != NULL && cluster->levels != NULL;
}

static struct cluster *make(const struct cluster_options *options, uint64_t now_ms)
{
    struct memory *memory = options->memory;
    struct cluster *made = memory->resize(memory, NULL, 0, sizeof *made);

    if (made == NULL) {
        return NULL;
    }
    memset(made, 0, sizeof *made);
    made->options = *options;
    made->now_ms = now_ms;
    made->scratch.memory = made->runs.memory = memory;
    made->proposal_number = options->random >> 1; /* Others than in a life before. */
    if (!make_parts(made)) {
        free_parts(made);
        return NULL;
    }
    return made;
}

static int begin(struct cluster *cluster, const struct raft_saved *saved, const char **what)
{
    *what = "there is no map to begin with";
    if (saved == NULL || saved->snapshot_index == 0) {
        return -ENODATA;
    }
    *what = "it cannot be read";
    int rc = cluster_raft_init(cluster, saved);
    if (rc != 0) {
        return rc;
    }
    *what = "this node is no member of it";
    if (map_member(cluster->map, cluster->options.self.node) == NULL) {
        raft_fini(&cluster->raft);
        return -ENOENT;
    }
    return 0;
}

int cluster_create(const struct cluster_options *options, uint64_t now_ms, struct cluster **cluster,
                   char *message, size_t message_size)
{
    const char *what = "";
    struct cluster *made = make(options, now_ms);

    int rc = made == NULL ? -ENOMEM : begin(made, options->saved, &what);
    if (rc != 0) {
        snprintf(message, message_size, "the cluster's map: %s",
                 rc == -ENOMEM ? strerror(ENOMEM) : what);
        if (made != NULL) {
            free_parts(made);
        }
        return rc;
    }
    made->options.saved = NULL;
    made->options.seed = bytes_of(NULL, 0);
    cluster_liveness_init(made);
    raft_tick(&made->raft, now_ms); /* The only voter of a cluster asks at once. */
    cluster_follow_up(made);
    cluster_map_publish(made);
    *cluster = made;
    return 0;
}

void cluster_destroy(struct cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    cluster->ends = true;
    cluster_proposals_cancel(cluster);
    raft_fini(&cluster->raft);
    free_parts(cluster);
}

/* ---- Events ---- */

static void set_now(struct cluster *cluster, uint64_t now_ms)
{
    if (now_ms > cluster->now_ms) {
        cluster->now_ms = now_ms;
    }
}

bool cluster_send(struct cluster *cluster, uint32_t node, enum peer_kind kind, uint64_t number,
                  struct bytes body)
{
    const struct cluster_port *port = &cluster->options.port;

    return port->send(port->context, node, (uint8_t)kind, number, &body, body.size > 0);
}

static void follow_map(struct cluster *cluster)
{
    if (cluster->followed_epoch == cluster->map->epoch) {
        return;
    }
    cluster->followed_epoch = cluster->map->epoch;
    cluster_members_follow_up(cluster);
    cluster_liveness_members(cluster);
    cluster->options.port.wake_in(cluster->options.port.context, cluster_tick_ms(cluster));
}

void cluster_follow_up(struct cluster *cluster)
{
    if (cluster->telling) {
        return; /* Whoever is told has called something: it is followed up after that. */
    }
    follow_map(cluster);
    cluster_raft_follow_up(cluster);
    cluster_proposals_follow_up(cluster);
    follow_map(cluster);
    cluster_map_publish(cluster);
}

uint32_t cluster_tick_ms(const struct cluster *cluster)
{
    uint32_t raft_ms = cluster->raft.options.heartbeat_ms / CLUSTER_TICKS;
    uint32_t liveness_ms = liveness_tick_ms(&cluster->options.liveness);

    if (cluster_is_alone(cluster) && cluster->proposal_count == 0 && cluster_leads(cluster)) {
        return CLUSTER_ALONE_TICK_MS;
    }
    return raft_ms < liveness_ms ? raft_ms : liveness_ms;
}

void cluster_tick(struct cluster *cluster, uint64_t now_ms)
{
    set_now(cluster, now_ms);
    raft_tick(&cluster->raft, cluster->now_ms);
    cluster_follow_up(cluster);
    cluster_liveness_tick(cluster);
    cluster_members_tick(cluster);
    cluster_ramp_tick(cluster);
    cluster_settle_tick(cluster);
    cluster_proposals_tick(cluster);
    cluster_follow_up(cluster);
}

void cluster_stored(struct cluster *cluster, uint64_t now_ms, uint64_t sequence)
{
    set_now(cluster, now_ms);
    raft_stored(&cluster->raft, sequence);
    cluster_follow_up(cluster);
}

static void raft_came(struct cluster *cluster, uint32_t from, struct bytes body)
{
    int rc = raft_receive(&cluster->raft, from, body);

    cluster->frames_bad += rc == -EBADMSG || rc == -EPROTONOSUPPORT;
}

static bool dispatch(struct cluster *cluster, uint32_t from, uint8_t kind, uint64_t number,
                     struct bytes body)
{
    switch (kind) {
    case PEER_RAFT:
        raft_came(cluster, from, body);
        return true;
    case PEER_LIVENESS:
        cluster_epoch(cluster, cluster->now_ms, from, number);
        cluster_liveness_came(cluster, from, body);
        return true;
    case PEER_REPORT:
        cluster_report_came(cluster, from, body);
        return true;
    case PEER_MAP_PULL:
        cluster_map_pull_came(cluster, from, number);
        return true;
    case PEER_MAP:
        cluster_map_came(cluster, body);
        return true;
    case PEER_PROPOSE:
        cluster_propose_came(cluster, from, number, body);
        return true;
    case PEER_PROPOSED:
        cluster_proposed_came(cluster, number, body);
        return true;
    }
    return false;
}

bool cluster_receive(struct cluster *cluster, uint64_t now_ms, uint32_t from, uint8_t kind,
                     uint64_t number, struct bytes body)
{
    set_now(cluster, now_ms);
    bool known = dispatch(cluster, from, kind, number, body);
    cluster_follow_up(cluster);
    return known;
}

void cluster_link_up(struct cluster *cluster, uint64_t now_ms, uint32_t node)
{
    (void)
        node; /* What it has to say comes by itself; what waits for it need not wait for a tick. */
    set_now(cluster, now_ms);
    cluster_proposals_tick(cluster);
    cluster_follow_up(cluster);
}

void cluster_link_down(struct cluster *cluster, uint64_t now_ms, uint32_t node)
{
    set_now(cluster, now_ms);
    liveness_reset(&cluster->liveness, cluster->now_ms, node);
    cluster_follow_up(cluster);
}

void cluster_condition(struct cluster *cluster, uint64_t now_ms, uint8_t condition)
{
    set_now(cluster, now_ms);
    liveness_condition(&cluster->liveness, cluster->now_ms, condition);
    cluster_follow_up(cluster);
}

void cluster_followed(struct cluster *cluster, uint64_t epoch)
{
    liveness_follow(&cluster->liveness, epoch);
}

/* ---- Questions ---- */

bool cluster_is_alone(const struct cluster *cluster)
{
    return cluster_map(cluster)->member_count == 1 && cluster->raft.peer_count == 0;
}

bool cluster_is_voter(const struct cluster *cluster, uint32_t number)
{
    return raft_members_vote(&cluster->raft.members, number);
}

uint32_t cluster_leader(const struct cluster *cluster)
{
    return cluster_leads(cluster) ? cluster->options.self.node : cluster->raft.leader;
}
