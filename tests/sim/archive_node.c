#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "archive_scenario.h"

#define OF(type, member, pointer)                                                                  \
    ((struct type *)(void *)((char *)(pointer)-offsetof(struct type, member)))

enum {
    ZSTD_LEVEL = 1,
    BUSY_PERCENT = 8,
    KEEP_FAILS_PERCENT = 3,
    GIVE_UP_ONE_OF = 50, /* Turns, while the store is away. */
    GIVE_UP_PART_PERCENT = 4,
};

static struct sim_disk *disk_of(const struct archive_node *node)
{
    return &node->sim->nodes[node->place].disk;
}

static struct archive_node *node_at(struct sim *sim, uint32_t place)
{
    return &archive_scenario_of(sim)->nodes[place];
}

static uint64_t now_us(const struct archive_node *node)
{
    return copies_node_now_us(node->copies);
}

uint64_t archive_node_now_ms(const struct archive_node *node)
{
    return now_us(node) / 1000;
}

void archive_node_name(const struct archive_node *node, enum archive_kind kind, uint64_t sequence,
                       uint32_t part, struct archive_name *name)
{
    *name = (struct archive_name){
        .kind = kind,
        .actor = {node->copies->number, node->copies->start},
        .sequence = sequence,
        .part = part,
    };
    memcpy(name->cluster, archive_cluster, sizeof name->cluster);
}

uint64_t archive_node_put(struct archive_node *node, const struct archive_name *name,
                          struct bytes object,
                          void (*done)(struct sim *sim, const struct sim_event *event))
{
    char text[ARCHIVE_NAME_BYTES];

    archive_name_put(text, name);
    sim_store_put(&archive_scenario_of(node->sim)->store, node->place, text, object, ++node->calls,
                  done);
    return node->calls;
}

void archive_node_job(struct archive_node *node, const char *name,
                      void (*run)(struct sim *sim, const struct sim_event *event))
{
    sim_after(node->sim, sim_between(node->sim, SIM_RANDOM_STORE, 0, ARCHIVE_SIM_JOB_US_MAX),
              node->place, name, run, 0, 0);
}

/* ---- Making an object ---- */

/* As the shard has them now; nothing is cold here. */
static int ask(struct archive_feed_source *source, struct archive_feed_ask asks[], uint32_t count)
{
    struct archive_node *node = OF(archive_node, source, source);

    node->needs = disk_of(node)->size;
    for (uint32_t i = 0; i < count; i++) {
        bool known =
            shard_peek(node->copies->shard, asks[i].position, asks[i].key, &asks[i].record);
        asks[i].found = !known                     ? ARCHIVE_FEED_UNKNOWN
                        : asks[i].record.size == 0 ? ARCHIVE_FEED_NONE
                                                   : ARCHIVE_FEED_WHOLE;
    }
    return 0;
}

static int feed(void *context, size_t at, const struct log_record *record)
{
    struct archive_node *node = context;

    if (at > node->from && at - node->from >= ARCHIVE_SIM_OBJECT_BYTES) {
        return 1; /* The rest goes into the next object. */
    }
    int rc =
        archive_feed_record(&node->feed, at, (uint8_t)record->kind, record->position, record->body);
    SIM_CHECK("feed", rc == 0, "node %u cannot archive a record of kind %u: %d", node->place,
              record->kind, rc);
    return 0;
}

/* Up to where the objects say that they have the log, with the one that is made. */
static uint64_t said(const struct archive_node *node)
{
    return node->to > node->said ? node->to : node->said;
}

static int make(struct archive_node *node)
{
    archive_feed_shard(&node->feed, 0, node->own_lsn);
    if (node->from < node->given_up) {
        uint64_t counted = node->gaps > node->from ? node->gaps : node->from;
        archive_oracle_given_up(node, node->from, node->given_up);
        node->built.gap_bytes = node->given_up > counted ? node->given_up - counted : 0;
        node->from = node->gaps_to = node->given_up;
        archive_feed_lost(&node->feed);
    }
    uint64_t lsn =
        sim_log_walk(&node->sim->nodes[node->place].log, node->from, node->to, feed, node);

    uint64_t walked = lsn;
    int rc = archive_feed_settle(&node->feed, &node->source, &lsn);
    archive_others_walked(node, walked, rc == 0 && lsn == walked);
    if (rc == 0 && sim_chance(node->sim, SIM_RANDOM_STORE, BUSY_PERCENT)) {
        rc = -EAGAIN; /* The shard was, and did not answer the last question. */
    }
    bool moved = lsn > node->from || node->built.gap_bytes > 0;
    node->to = lsn;
    node->lost = node->built.gap_bytes > 0 ? lsn : 0;
    if (rc != 0 || !moved) {
        return rc != 0 ? rc : -EAGAIN;
    }
    rc = archive_writer_shard(&node->writer, 0, node->said, said(node));
    node->built.records = node->writer.records;
    node->built.raw_bytes = node->writer.record_bytes;
    node->built.baseless = node->feed.baseless;
    archive_scenario_of(node->sim)->baseless |= node->feed.baseless > 0;
    if (rc != 0 || node->built.records == 0) {
        return rc;
    }
    rc = archive_writer_make(&node->writer, &node->object);
    node->built.object_bytes = node->object.size;
    return rc;
}

/* One without records. */
static int make_bare(struct archive_node *node)
{
    uint64_t hlc = shard_hlc(node->copies->shard);

    archive_writer_reach(&node->writer, hlc, hlc);
    int rc = archive_writer_shard(&node->writer, 0, node->said, said(node));
    return rc != 0 ? rc : archive_writer_make(&node->writer, &node->object);
}

static void build(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);
    struct archive_writer_options options = {.level = ZSTD_LEVEL};

    copies_node_wakes(node->copies);
    archive_node_name(node, ARCHIVE_LOG, node->sequence, 0, &options.name);
    options.made_ms = copies_node_now_ms(node->copies);
    archive_writer_begin(&node->writer, &options);
    node->needs = 0;
    node->built = (struct archiver_built){.to = &node->to, .needs = &node->needs};
    if (node->bare) {
        node->built.rc = make_bare(node);
    } else {
        archive_feed_begin(&node->feed, node->anew, node->taken, node->taken_count);
        node->built.rc = make(node);
    }
    if (node->built.rc == 0 && !node->bare) {
        archive_others_built(node);
    }
    archiver_built(&node->archiver, &node->built, archive_node_now_ms(node));
    archive_node_turn(node);
}

/* ---- The archiver's port ---- */

static void port_build(struct archiver_port *port, uint64_t sequence, bool anew, bool bare)
{
    struct archive_node *node = OF(archive_node, port, port);

    node->sequence = sequence;
    node->anew = anew;
    node->bare = bare;
    node->from = node->archiver.shards[0].archived;
    node->to = bare ? node->from : node->archiver.shards[0].durable;
    if (!bare) {
        archive_others_build(node);
    }
    archive_node_job(node, "build", build);
}

static void stored(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);
    int rc = (int)(int64_t)event->a;

    if (event->b != node->call) {
        return; /* It has come too late. */
    }
    node->call = 0;
    copies_node_wakes(node->copies);
    if (rc == 0 && !node->bare) {
        node->said = said(node);
        archive_others_stored(node);
    }
    archiver_stored(&node->archiver, rc, strerror(-rc), archive_node_now_ms(node),
                    now_us(node) - node->storing_us);
    archive_node_turn(node);
}

static void port_store(struct archiver_port *port)
{
    struct archive_node *node = OF(archive_node, port, port);
    struct archive_name name;

    archive_node_name(node, ARCHIVE_LOG, node->archiver.sequence, 0, &name);
    node->storing_us = now_us(node);
    node->call = archive_node_put(node, &name, node->object, stored);
}

static void port_passed(struct archiver_port *port)
{
    archive_others_stored(OF(archive_node, port, port));
}

static void port_lost(struct archiver_port *port)
{
    struct archive_node *node = OF(archive_node, port, port);

    node->based = false;
    checkpointer_want(&node->checkpointer);
}

static void port_archived(struct archiver_port *port, uint32_t shard, uint64_t lsn)
{
    struct archive_node *node = OF(archive_node, port, port);

    assert(shard == 0);
    if (node->lost != 0) {
        shard_archive_lost(node->copies->shard, node->lost);
    }
    node->archived = lsn;
    archive_oracle_archived(node, lsn);
}

static void kept(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);
    bool fails = sim_chance(sim, SIM_RANDOM_STORE, KEEP_FAILS_PERCENT);

    copies_node_wakes(node->copies);
    if (!fails) {
        node->mark = node->next_mark;
    }
    archiver_kept(&node->archiver, fails ? -EIO : 0, archive_node_now_ms(node));
    archive_node_turn(node);
}

static void port_keep(struct archiver_port *port)
{
    struct archive_node *node = OF(archive_node, port, port);

    node->next_mark = (struct archive_mark){
        .lsn = archive_tails_begin(&node->tails, 0, node->archiver.shards[0].archived),
        .actor = {node->copies->number, node->copies->start},
        .log_sequence = node->archiver.sequence - 1,
        .checkpoint_sequence = node->checkpointer.sequence - 1,
        .based = node->based,
    };
    archive_oracle_kept(node, &node->next_mark);
    archive_node_job(node, "keep", kept);
}

static void port_away(struct archiver_port *port, const char *text)
{
    struct archive_node *node = OF(archive_node, port, port);

    sim_note(node->sim, text != NULL ? "away" : "back", node->place, 0, 0);
}

static void probed(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);
    const bool away = archive_scenario_of(sim)->store.away;

    copies_node_wakes(node->copies);
    archiver_probed(&node->archiver, away ? -ETIMEDOUT : 0, "it is away",
                    archive_node_now_ms(node));
    archive_node_turn(node);
}

static void port_probe(struct archiver_port *port)
{
    struct archive_node *node = OF(archive_node, port, port);

    archive_node_job(node, "probe", probed);
}

/* It has given up some of its log. Or a name is taken: it may be only where this actor has given it before, and does not know: it ended well while that PUT was on
 * its way, and could not ask the store at its start. */
static void port_alarm(struct archiver_port *port, const char *text)
{
    const struct archive_node *node = OF(archive_node, port, port);

    bool gave_up = node->built.gap_bytes > 0;
    SIM_CHECK("alarm", gave_up || node->same, "node %u: %s", node->place, text);
    sim_count(node->sim, gave_up ? SIM_GAPS : SIM_CONFLICTS);
}

/* ---- Its turns ---- */

/* As server/uring/archive_gate.c. */
static void gate(struct archive_node *node)
{
    struct shard *shard = node->copies->shard;
    uint64_t durable = disk_of(node)->durable;

    if (node->archived > node->released) {
        node->released = node->archived;
        shard_archived(shard, node->archived, now_us(node));
    }
    uint64_t first = shard_archive_wanted(shard);
    if (first != 0 && first <= durable && node->wanted < durable) {
        node->asked = shard_archive_asked(shard, durable);
        node->wanted = durable;
    }
    (void)shard_archive_late(shard, false, now_us(node));
}

/* What may hold it up without being at fault. */
static void look_for_harm(struct archive_node *node)
{
    const struct sim_store *store = &archive_scenario_of(node->sim)->store;
    const struct sim_disk *disk = disk_of(node);
    uint64_t world_us = node->sim->now_us;

    if (archive_tails_taken(&node->tails) > 0 || node->archiver.tails || store->away ||
        store->slow || store->fails || disk->slow || disk->full || disk->failed ||
        world_us - node->turn_us > 2 * ARCHIVE_SIM_TURN_US) {
        node->harmed_us = world_us;
    }
    node->turn_us = world_us;
}

static int stop_somewhere(void *context, size_t at, const struct log_record *record)
{
    (void)at;
    (void)record;
    return sim_chance(context, SIM_RANDOM_STORE, GIVE_UP_PART_PERCENT);
}

/* While the store is away there is room for so much log. What is in an object is not needed any more. */
static void give_up_log(struct archive_node *node)
{
    const struct archiver *archiver = &node->archiver;
    const struct archiver_shard *shard = &archiver->shards[0];

    if (archiver->away_ms == 0 || archiver->state == ARCHIVER_BUILDING ||
        sim_between(node->sim, SIM_RANDOM_STORE, 1, GIVE_UP_ONE_OF) != 1) {
        return;
    }
    uint64_t from = shard->to > shard->archived ? shard->to : shard->archived;
    from = node->given_up > from ? node->given_up : from; /* It does not come back. */
    if (from < shard->durable) {
        node->given_up = sim_log_walk(&node->sim->nodes[node->place].log, from, shard->durable,
                                      stop_somewhere, node->sim);
        sim_note(node->sim, "given-up", node->place, from, node->given_up);
    }
}

void archive_node_turn(struct archive_node *node)
{
    look_for_harm(node);
    gate(node);
    archiver_reach(&node->archiver, 0, node->wanted, disk_of(node)->durable, disk_of(node)->size);
    archiver_asked(&node->archiver, node->asked);
    archiver_tails(&node->archiver, archive_others_step(node));
    (void)archiver_step(&node->archiver, archive_node_now_ms(node));
    archive_checkpoint_step(node);
    gate(node);
    sim_memory_check(&node->memory);
}

static void turn(struct sim *sim, const struct sim_event *event)
{
    struct archive_node *node = node_at(sim, event->end);

    copies_node_wakes(node->copies);
    archive_node_turn(node);
    archive_oracle_behind(node);
    give_up_log(node);
    sim_after(sim, ARCHIVE_SIM_TURN_US, node->place, "archive", turn, 0, 0);
}

bool archive_node_is_done(const struct archive_node *node)
{
    return node->runs && archive_others_is_done(node) &&
           archiver_behind_bytes(&node->archiver) == 0 && node->archiver.state == ARCHIVER_IDLE &&
           node->checkpointer.state == CHECKPOINTER_RESTING && !node->checkpointer.wanted;
}

/* ---- Start and stop ---- */

void archive_node_init(struct archive_node *node, struct sim *sim, uint32_t place)
{
    node->sim = sim;
    node->place = place;
    node->copies = &archive_scenario_of(sim)->copies.nodes[place];
    node->port = (struct archiver_port){.build = port_build,
                                        .store = port_store,
                                        .passed = port_passed,
                                        .lost = port_lost,
                                        .archived = port_archived,
                                        .keep = port_keep,
                                        .away = port_away,
                                        .probe = port_probe,
                                        .alarm = port_alarm};
    node->source = (struct archive_feed_source){ask};
    sim_memory_init(&node->memory, "archive", place, ARCHIVE_SIM_BYTES_MAX);
}

/* Names that are taken: what the store says, where it answers, and what this node knows that it has given. */
static uint64_t first_sequence(struct archive_node *node)
{
    const struct sim_store *store = &archive_scenario_of(node->sim)->store;
    struct archive_name own, name;
    uint64_t sequence = 1;

    archive_node_name(node, ARCHIVE_LOG, 0, 0, &own);
    if (actor_compare(node->mark.actor, own.actor) == 0) {
        sequence = node->mark.log_sequence + 1;
    }
    for (uint32_t i = 0; i < store->object_count && !store->away; i++) {
        if (archive_name_parse(store->objects[i].name, &name) == 0 && name.kind == ARCHIVE_LOG &&
            actor_compare(name.actor, own.actor) == 0 && name.sequence >= sequence) {
            sequence = name.sequence + 1;
        }
    }
    return sequence;
}

void archive_node_start(struct archive_node *node)
{
    const struct archiver_settings settings = {
        .shard_count = 1,
        .flush_ms = ARCHIVE_SIM_FLUSH_MS,
        .object_bytes = ARCHIVE_SIM_OBJECT_BYTES,
        .keep_ms = ARCHIVE_SIM_KEEP_MS,
        .slow_ms = ARCHIVE_SIM_SLOW_MS,
        .pause_ms = ARCHIVE_SIM_PAUSE_MS,
        .pause_max_ms = ARCHIVE_SIM_PAUSE_MS_MAX,
    };
    const struct actor self = {node->copies->number, node->copies->start};
    size_t end = disk_of(node)->size;

    archive_oracle_cut(node, end);
    node->same = actor_compare(node->last, self) == 0;
    node->last = self;
    SIM_CHECK("mark", node->mark.lsn <= end, "node %u lost what is archived", node->place);
    archive_writer_init(&node->writer, &node->memory.memory);
    archive_feed_init(&node->feed, &node->memory.memory, &node->writer, self);
    archiver_init(&node->archiver, &settings, &node->port, first_sequence(node),
                  archive_node_now_ms(node));
    archiver_begin(&node->archiver, 0, node->mark.lsn, end);
    archive_others_start(node);
    node->said = node->archived = node->first_bytes = node->mark.lsn;
    node->based = node->mark.based;
    node->released = node->wanted = node->asked = node->call = node->lost = 0;
    archive_checkpoint_init(
        node, actor_compare(node->mark.actor, self) == 0 ? node->mark.checkpoint_sequence + 1 : 1);
    shard_set_archive(node->copies->shard, end, ARCHIVE_SIM_WAIT_US);
    if (!node->based) {
        shard_archive_lost(node->copies->shard, end);
    }
    if (archive_scenario_of(node->sim)->store.away) {
        archiver_trouble(&node->archiver, "it is away", archive_node_now_ms(node));
    }
    node->runs = true;
    node->began_us = node->turn_us = node->harmed_us = node->sim->now_us;
    sim_after(node->sim, 0, node->place, "archive", turn, 0, 0);
}

void archive_node_stop(struct archive_node *node)
{
    node->runs = false;
    archive_checkpoint_fini(node);
    archive_others_stop(node);
    archive_feed_fini(&node->feed);
    archive_writer_fini(&node->writer);
    sim_memory_check_end(&node->memory);
}
