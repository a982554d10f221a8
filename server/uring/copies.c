#include "copies.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "aside.h"
#include "calls.h"
#include "container.h"
#include "far.h"
#include "peer_frame.h"
#include "plane_private.h"
#include "shard_thread.h"

enum {
    MISS_MS = 10 * 1000, /* So long copies may take to come after their node did. */
    LOG_HEADS_BYTES_MAX = 64 * 1024,
};

static const struct slot_table *table_of(const struct shard_thread *thread)
{
    return thread->table == NULL ? NULL : thread->table->table;
}

static const struct slot_table_member *member_of(const struct shard_thread *thread, uint32_t node)
{
    return thread->table == NULL ? NULL : slot_table_member(table_of(thread), node);
}

/* ---- The table ---- */

uint32_t copies_shards_of(const struct shard_thread *thread, uint32_t node)
{
    const struct slot_table_member *member = member_of(thread, node);

    return member == NULL ? 0 : member->shards;
}

bool copies_is_member(const struct shard_thread *thread, uint32_t node)
{
    return member_of(thread, node) != NULL;
}

uint64_t copies_epoch(const struct shard_thread *thread)
{
    return thread->table == NULL ? 0 : table_of(thread)->epoch;
}

bool copies_owns(const struct shard_thread *thread, uint32_t slot)
{
    const struct slot_table *table = table_of(thread);

    return slot_owners_has(&table->owners[slot], table->self);
}

bool copies_is_level(const struct shard_thread *thread, uint32_t slot)
{
    return replication_is_level(thread->copies.replication, slot);
}

bool copies_is_apart(const struct shard_thread *thread, uint32_t slot)
{
    return slot_table_is_apart(table_of(thread), slot);
}

uint64_t copies_silence_us(const struct shard_thread *thread)
{
    uint32_t silence_ms = thread->plane->options.cluster.silence_ms;

    return (uint64_t)(silence_ms != 0 ? silence_ms : REPLICATION_SILENCE_MS) * 1000;
}

static bool is_degraded(const struct shard_thread *thread, uint32_t node)
{
    const struct slot_table_member *member = member_of(thread, node);

    return member != NULL && member->degraded;
}

/* The first owner that was heard lately; 0: none was. */
static uint32_t first_heard(struct shard_thread *thread, uint32_t slot, bool degraded)
{
    const struct slot_table *table = table_of(thread);
    const struct slot_owners *owners = &table->owners[slot];

    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX && owners->nodes[rank] != 0; rank++) {
        uint32_t node = owners->nodes[rank];
        const struct link *link = node == table->self ? NULL : link_to_node(thread, node);
        if ((degraded || !is_degraded(thread, node)) &&
            (node == table->self ||
             (link != NULL && thread->now_us - link->heard_us < copies_silence_us(thread)))) {
            return node;
        }
    }
    return 0;
}

uint32_t copies_guess(struct shard_thread *thread, uint32_t slot)
{
    uint32_t node = first_heard(thread, slot, false);

    node = node != 0 ? node : first_heard(thread, slot, true);
    return node != 0 ? node : table_of(thread)->owners[slot].nodes[0];
}

bool copies_hears(struct shard_thread *thread, uint32_t slot)
{
    return first_heard(thread, slot, true) != 0;
}

/* ---- Routes ---- */

/* All that are owned; what is only to be owned does not count. */
static bool owns_only_level(const struct shard_thread *thread)
{
    const struct slot_table *table = table_of(thread);
    const uint32_t shards = thread->plane->options.shard_count;

    for (uint32_t slot = thread->index; slot < SLOT_COUNT; slot += shards) {
        if (slot_owners_has(&table->owners[slot], table->self) &&
            !replication_is_level(thread->copies.replication, slot)) {
            return false;
        }
    }
    return true;
}

bool copies_is_whole(struct shard_thread *thread)
{
    struct copies *copies = &thread->copies;

    if (restores_lacks_any(thread)) {
        return false;
    }
    if (replication_stats(copies->replication)->slots_not_level == 0) {
        return true;
    }
    if (thread->now_us >= copies->whole_us) {
        copies->whole = owns_only_level(thread);
        copies->whole_us = thread->now_us + COPIES_WHOLE_US;
    }
    return copies->whole;
}

void copies_find(struct shard_thread *thread, uint32_t slot, uint8_t flags,
                 struct copies_route *route)
{
    const struct slot_table *table = table_of(thread);
    struct replication *replication = thread->copies.replication;

    *route = (struct copies_route){0};
    route->kind = replication_route(replication, slot, flags, &route->far);
    route->stands_in = route->kind == ROUTE_LOCAL && table->owners[slot].nodes[0] != table->self &&
                       !replication_keeps(replication, slot);
    route->held = route->kind == ROUTE_WAIT && replication_switches(replication, slot);
}

void copies_find_for(struct shard_thread *thread, const struct call *call,
                     const struct request *request, struct copies_route *route)
{
    const uint32_t slot = slot_of_position(request->position);
    const uint8_t flags = (call->coordinate ? ROUTE_COORDINATE : 0) |
                          (request->op == REQUEST_WRITE ? 0 : ROUTE_READS);
    struct replication *replication = thread->copies.replication;

    copies_find(thread, slot, flags, route);
    if (route->kind == ROUTE_FAR && call->far) {
        const struct link *link = link_find(thread, call->link, call->link_generation);
        const bool returns = link != NULL && link->node == route->far.node;
        /* He lets go of the slot, so what he asks comes behind that. */
        route->held = returns && replication_awaits(replication, slot);
        route->kind = route->held ? ROUTE_WAIT : ROUTE_FAR;
        route->returns = returns && !route->held;
    } else if (route->kind == ROUTE_LOCAL && replication_took_lately(replication, slot) &&
               far_precedes(thread, call, request)) {
        route->held = true;
        route->kind = ROUTE_WAIT;
    }
}

/* ---- Replication's port ---- */

static struct shard_thread *thread_of(struct replication_port *port)
{
    return container_of(port, struct shard_thread, copies.port);
}

static bool port_send(struct replication_port *port, void *link, uint8_t kind, uint64_t number,
                      const struct bytes parts[], uint32_t part_count)
{
    bool lends = kind == REPLICATION_RUN && part_count > 0;

    return link_send(thread_of(port), link, kind, number, parts, part_count, lends, false) ==
           LINK_SENT;
}

static void port_cut(struct replication_port *port, void *link)
{
    link_close(thread_of(port), link);
}

static bool port_unheeded(struct replication_port *port, void *link, uint64_t us)
{
    (void)port;
    return link_is_unheeded(link, us);
}

static uint64_t port_room(struct replication_port *port)
{
    const struct shard_thread *thread = thread_of(port);

    return heal_share_room(&thread->copies.heals, log_writer_spare(&thread->log), thread->now_us);
}

static void port_stuck(struct replication_port *port, uint32_t node, bool stuck)
{
    struct tracer *tracer = &thread_of(port)->tracer;

    tracer->event(tracer, stuck ? TRACE_HEAL_STUCK : TRACE_HEAL_GOES_ON, node, bytes_of(NULL, 0));
}

static void port_taken(struct replication_port *port, uint32_t slot)
{
    struct shard_thread *thread = thread_of(port);

    (void)slot;
    far_look(thread);
}

/* Those that wait for the log, too. */
static void port_waiting(struct replication_shard *core,
                         void (*visit)(void *context, uint32_t slot), void *context)
{
    struct shard_thread *thread = container_of(core, struct shard_thread, copies.core.port);

    shard_visit_waiting(thread->shard, visit, context);
    aside_visit_writes(thread, visit, context);
}

static void port_level(struct replication_port *port, uint32_t slot,
                       const struct slot_owners *targets)
{
    struct shard_thread *thread = thread_of(port);
    const struct plane_options *options = &thread->plane->options;

    if (options->cluster.level != NULL) {
        options->cluster.level(options->context, thread->index, slot, targets);
    }
}

/* ---- Its life ---- */

/* There is another node for the first time. Returns 0 or -ENOMEM. */
static int begin(struct shard_thread *thread)
{
    const struct plane_options *plane = &thread->plane->options;
    struct copies *copies = &thread->copies;

    copies->port = (struct replication_port){
        .send = port_send,
        .cut = port_cut,
        .unheeded = port_unheeded,
        .level = port_level,
        .room = port_room,
        .stuck = port_stuck,
        .taken = port_taken,
    };
    if (thread->table != NULL) { /* It was alone until now, and founds the cluster. */
        shard_begin_seen(thread->shard);
    }
    replication_core_init(&copies->core, thread->shard);
    copies->core.port.waiting = port_waiting;
    const struct replication_options options = {
        .self = plane->actor,
        .shard = thread->index,
        .shards = plane->shard_count,
        .lives = (uint64_t)plane->run << 32,
        .window_bytes =
            plane->cluster.window_bytes != 0 ? plane->cluster.window_bytes : COPIES_WINDOW_BYTES,
        .heal_bytes_per_s = plane->cluster.heal_bytes_per_s,
        .silence_ms = plane->cluster.silence_ms,
        .round_ms = plane->cluster.round_ms,
        .hold_ms = plane->cluster.hold_ms,
        .memory = thread->memory,
        .port = &copies->port,
        .core = &copies->core.port,
    };
    int rc = replication_create(&options, thread->now_ms, thread->now_us, &copies->replication);
    if (rc != 0) {
        return rc;
    }
    replication_core_attach(&copies->core, copies->replication);
    shard_set_copies(thread->shard, &copies->core.copies);
    return 0;
}

void copies_link_up(struct shard_thread *thread, struct link *link)
{
    const struct replication_peer peer = {
        .dialled = link->dialled,
        .node = link->node,
        .start = link->start,
        .shard = link->shard,
        .shards = link->shards,
    };

    thread->copies.taken_ms = thread->now_ms;
    if (thread->copies.replication != NULL && link->copies == NULL &&
        replication_link_up(thread->copies.replication, &peer, link, thread->now_ms, thread->now_us,
                            &link->copies) != 0) {
        link_close(
            thread,
            link); /* One before it is not gone yet, or there is no memory: it is dialled again. */
    }
}

void copies_link_down(struct shard_thread *thread, struct link *link)
{
    if (link->copies != NULL) {
        replication_link_down(thread->copies.replication, link->copies, thread->now_ms,
                              thread->now_us);
        link->copies = NULL;
    }
}

static bool is_settled(const struct slot_table *table)
{
    for (uint32_t i = 0; i < table->member_count; i++) {
        if (!table->members[i].serves && !table->members[i].left) {
            return false;
        }
    }
    return memcmp(table->owners, table->targets, sizeof table->owners) == 0;
}

/* Returns false where there is no memory for it now. */
static bool use_table(struct shard_thread *thread, struct plane_table *table)
{
    struct copies *copies = &thread->copies;
    struct plane_table *before = thread->table;
    /* Slots that are still to come back are waited for as those of other nodes are. */
    bool clustered = table->table->member_count > 1 || table->table->lost_count > 0;

    if (clustered && copies->replication == NULL && begin(thread) != 0) {
        return false;
    }
    if (restores_set_table(thread, table->table) != 0) {
        return false;
    }
    if (copies->replication != NULL && replication_set_table(copies->replication, table->table,
                                                             thread->now_ms, thread->now_us) != 0) {
        return false;
    }
    copies->whole_us = 0;
    if (before == NULL) {
        copies->taken_ms = thread->now_ms;
    }
    copies->settled = is_settled(table->table);
    thread->table = table;
    thread->clustered = clustered;
    pubsub_set_shared(&thread->plane->pubsub, clustered);
    if (before != NULL) {
        plane_table_drop(before);
    }
    for (uint32_t i = 0; i < thread->links.size; i++) {
        struct link *link = link_at(thread, i);
        if (link->state == LINK_OPEN) {
            copies_link_up(thread, link); /* Those that came before replication began. */
        }
    }
    links_keep_members(thread);
    return true;
}

void copies_set_table(struct shard_thread *thread, struct plane_table *table)
{
    struct copies *copies = &thread->copies;

    if (copies->next != NULL) {
        plane_table_drop(copies->next);
    }
    copies->next = use_table(thread, table) ? NULL : table;
}

void copies_fini(struct shard_thread *thread)
{
    struct copies *copies = &thread->copies;

    replication_destroy(copies->replication);
    copies->replication = NULL;
    if (copies->next != NULL) {
        plane_table_drop(copies->next);
        copies->next = NULL;
    }
    if (thread->table != NULL) {
        plane_table_drop(thread->table);
        thread->table = NULL;
    }
}

/* ---- What comes ---- */

void copies_writable(struct shard_thread *thread, struct link *link)
{
    if (link->copies != NULL) {
        replication_writable(thread->copies.replication, link->copies, thread->now_ms,
                             thread->now_us);
    }
}

void copies_receive(struct shard_thread *thread, struct link *link, const struct peer_frame *frame)
{
    const bool heals = frame->kind == REPLICATION_COMPARE_RECORD;
    const uint64_t began_us = heals ? monotonic_us() : 0;

    if (link->copies != NULL) {
        replication_receive(thread->copies.replication, link->copies, frame->kind, frame->number,
                            frame->body, thread->now_ms, thread->now_us);
    }
    if (heals) {
        heal_share_spend(&thread->copies.heals, monotonic_us() - began_us);
    } else if (frame->kind == REPLICATION_RUN) {
        heal_share_want(&thread->copies.heals, thread->now_us);
    }
}

void copies_heard(struct shard_thread *thread, struct link *link)
{
    if (link->copies != NULL) {
        replication_heard(thread->copies.replication, link->copies, thread->now_us);
    }
}

bool copies_must_wait(struct shard_thread *thread, uint8_t kind, size_t bytes)
{
    const uint64_t most_us = (uint64_t)thread->plane->options.limits.queue_delay_ms * 1000;
    /* What the log adds to small records. */
    const size_t heads = bytes < LOG_HEADS_BYTES_MAX ? bytes : LOG_HEADS_BYTES_MAX;

    return (kind == REPLICATION_RUN || kind == REPLICATION_WHOLE || kind == REPLICATION_COPY ||
            kind == REPLICATION_COMPARE_RECORD) &&
           log_writer_is_behind(&thread->log, bytes + heads, most_us);
}

/* Does this thread hear all other members' shards of the slot, and they it? Who does not may coordinate it, whatever this
 * node's table says: by an older one. Who has left was level with the map when it owned nothing any more. */
static bool hears_all(const struct shard_thread *thread, uint32_t slot)
{
    const struct slot_table *table = table_of(thread);

    for (uint32_t i = 0; i < table->member_count; i++) {
        const struct slot_table_member *member = &table->members[i];
        if (member->number != table->self && member->shards != 0 && !member->left &&
            !replication_reaches(thread->copies.replication, member->number,
                                 slot % member->shards)) {
            return false;
        }
    }
    return true;
}

/* Up to then others may have taken writes of this slot. */
static uint64_t slot_taken_ms(const struct shard_thread *thread, uint32_t slot)
{
    const struct copies *copies = &thread->copies;
    const uint64_t first_ms = replication_first_ms(copies->replication, slot);

    return first_ms > copies->taken_ms ? first_ms : copies->taken_ms;
}

uint64_t copies_taken_hlc(const struct shard_thread *thread, uint32_t slot, bool stands_in)
{
    /* What a client has seen may be of a node whose clock is ahead. */
    const uint64_t ahead_ms = thread->plane->options.cluster.skew_ms;

    return stands_in || !hears_all(thread, slot)
               ? UINT64_MAX
               : hlc_of_ms(slot_taken_ms(thread, slot) + ahead_ms);
}

bool copies_may_miss(const struct shard_thread *thread, uint32_t slot, bool stands_in)
{
    const struct copies *copies = &thread->copies;
    const struct slot_table *table = table_of(thread);

    if (stands_in || !copies->settled || thread->now_ms - slot_taken_ms(thread, slot) < MISS_MS) {
        return true;
    }
    for (uint32_t rank = 0; rank < PLACEMENT_REPLICAS_MAX; rank++) {
        uint32_t node = table->owners[slot].nodes[rank];
        uint32_t shards = node == 0 || node == table->self ? 0 : copies_shards_of(thread, node);
        if (shards != 0 && !replication_reaches(copies->replication, node, slot % shards)) {
            return true;
        }
    }
    return false;
}

void copies_heard_again(struct shard_thread *thread)
{
    thread->copies.taken_ms = thread->now_ms;
}

void copies_paused(struct shard_thread *thread)
{
    struct copies *copies = &thread->copies;

    copies->taken_ms = thread->now_ms;
    if (copies->replication != NULL) {
        replication_paused(copies->replication, thread->now_ms, thread->now_us);
    }
}

/* What is executed from here on goes by this table, unless a slot is kept. */
static void note_followed(struct shard_thread *thread)
{
    if (!replication_is_switching(thread->copies.replication)) {
        atomic_store_explicit(&thread->followed, copies_epoch(thread), memory_order_release);
    }
}

uint64_t copies_turn(struct shard_thread *thread)
{
    struct copies *copies = &thread->copies;

    if (copies->next != NULL && use_table(thread, copies->next)) {
        copies->next = NULL;
    }
    if (copies->replication == NULL) {
        return copies->next == NULL ? UINT64_MAX : COPIES_RETRY_US;
    }
    const bool compares = replication_stats(copies->replication)->compares > 0;
    const uint64_t began_us = monotonic_us();
    const uint32_t percent = thread->plane->options.cluster.heal_percent;
    heal_share_pass(&copies->heals, percent == 0 ? 100 : percent, began_us);
    uint32_t wait_ms = replication_tick(copies->replication, thread->now_ms, thread->now_us);
    note_followed(thread);
    if (compares) { /* Then it is most of a tick. */
        heal_share_spend(&copies->heals, monotonic_us() - began_us);
    }
    if (heal_share_yields(&copies->heals)) {
        (void)sched_yield();
    }
    thread->again = thread->again || wait_ms == 0;
    return (uint64_t)wait_ms * 1000;
}

/* A node has as many of them as shards. */
static void add_lag(struct plane_shard_stats *stats, const struct replication_lag *lag)
{
    uint32_t i = 0;

    while (i < stats->lag_count && stats->lags[i].node != lag->node) {
        i++;
    }
    if (i == PLANE_LAGS_MAX) {
        return;
    }
    if (i == stats->lag_count) {
        stats->lags[stats->lag_count++] = (struct plane_lag){.node = lag->node};
    }
    struct plane_lag *to = &stats->lags[i];
    to->records_behind += lag->records_behind;
    to->bytes_behind += lag->bytes_behind;
    to->behind_us = lag->oldest_us > to->behind_us ? lag->oldest_us : to->behind_us;
}

void copies_fill_stats(const struct shard_thread *thread, struct plane_shard_stats *stats)
{
    struct replication *replication = thread->copies.replication;
    struct replication_lag lag;

    if (replication == NULL) {
        return;
    }
    stats->copies = *replication_stats(replication);
    for (uint32_t i = 0; replication_lag(replication, i, &lag); i++) {
        stats->records_behind += lag.records_behind;
        stats->bytes_behind += lag.bytes_behind;
        stats->behind_us = lag.oldest_us > stats->behind_us ? lag.oldest_us : stats->behind_us;
        add_lag(stats, &lag);
    }
}
