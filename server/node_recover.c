#include "node_recover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "map_command.h"
#include "node_archive.h"
#include "node_recover_private.h"
#include "slot_table.h"

enum {
    RECOVER_NICE = 10,
    AGAIN_MS = 1000, /* After an archive that did not answer. */
    MISSED_MS = 100, /* After one that is asked for, or of which others came, and that must wait. */
    RANGE_BYTES = 16 << 20, /* Raw bytes of the archive that are worked on at a time. */
    RANGE_BYTES_MAX = 64 << 20,
};

uint64_t recover_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool recover_is_due(const struct node_recover *recover, uint32_t slot)
{
    return recover->lost[slot] != 0 && recover->restored[slot] != recover->lost[slot];
}

/* Wait for a change, at most so long; the lock is held. */
void recover_await(struct node_recover *recover, uint64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&recover->changed, &recover->lock, &until);
}

/* ---- Which range is next; the lock is held ---- */

static bool is_mine(const struct recover_worker *worker, uint32_t slot)
{
    const struct node_recover *recover = worker->recover;

    return recover_is_due(recover, slot) && recover->owned[slot] &&
           (worker->asked ? recover->wanted[slot] : recover->first[slot]);
}

/* The next slot that is due, behind the last range, or SLOT_COUNT. One that must wait holds up no other. */
static uint32_t find_slot(const struct recover_worker *worker)
{
    for (uint32_t i = 0; i < SLOT_COUNT; i++) {
        const uint32_t slot = (worker->next + i) % SLOT_COUNT;
        if (is_mine(worker, slot)) {
            return slot;
        }
    }
    return SLOT_COUNT;
}

/* Is there anything lost, for which the archive is to be looked at before anybody asks? */
static bool is_needed(const struct node_recover *recover)
{
    uint32_t slot = 0;

    while (slot < SLOT_COUNT && (!recover_is_due(recover, slot) || !recover->owned[slot])) {
        slot++;
    }
    return slot < SLOT_COUNT;
}

/* Of what was lost later than the archive was listed it may not have all. Returns whether there are any. */
static bool choose_range(struct recover_worker *worker, uint32_t first, uint32_t last)
{
    struct node_recover *recover = worker->recover;
    bool any = false;

    memset(worker->epochs, 0, sizeof worker->epochs);
    for (uint32_t slot = first; slot <= last; slot++) {
        if (!is_mine(worker, slot) || recover->lost[slot] > worker->epoch) {
            continue;
        }
        worker->epochs[slot] = recover->lost[slot];
        worker->first = any ? worker->first : (uint16_t)slot;
        worker->last = (uint16_t)slot;
        any = true;
        if (worker->asked) {
            recover->wanted[slot] = false; /* From here on it is wanted anew. */
        }
    }
    return any;
}

/* It came to nothing: what was asked for before still is. Where it was for another node's sake it is asked for anew. */
static void want_again(struct recover_worker *worker)
{
    struct node_recover *recover = worker->recover;

    pthread_mutex_lock(&recover->lock);
    for (uint32_t slot = worker->first; slot <= worker->last && worker->asked; slot++) {
        recover->wanted[slot] = recover->wanted[slot] || worker->epochs[slot] != 0;
    }
    pthread_mutex_unlock(&recover->lock);
}

/* ---- The threads ---- */

/* In the background as fast as the configuration says: before a range is read, so long is waited. */
static uint64_t pace_ms(const struct recover_worker *worker, uint32_t first, uint32_t last)
{
    const uint64_t rate = worker->recover->node->world.config->archive_restore_rate;
    uint64_t bytes = 0;

    if (rate == 0 || worker->asked) {
        return 0;
    }
    for (uint32_t slot = first; slot <= last; slot++) {
        bytes += worker->reading.weights[slot];
    }
    return bytes * 1000 / rate;
}

/* Some slots, once. Returns 0 or negative errno, as recover_range(). */
static int work(struct recover_worker *worker, uint64_t epoch, uint32_t slot)
{
    struct node_recover *recover = worker->recover;

    worker->reads = true;
    int rc = recover_open(worker, epoch);
    if (rc != 0 || slot == SLOT_COUNT) {
        return rc;
    }
    uint32_t last = slot;
    if (!worker->asked) {
        const uint64_t bytes = reading_range_bytes(&worker->reading, RANGE_BYTES, RANGE_BYTES_MAX);
        last = reading_range(&worker->reading, (uint16_t)slot, bytes);
    }
    const uint64_t due_ms = recover_clock_ms() + pace_ms(worker, slot, last);
    pthread_mutex_lock(&recover->lock);
    for (uint64_t now_ms = recover_clock_ms();
         now_ms < due_ms && !recover->stops && recover->newest <= worker->epoch;
         now_ms = recover_clock_ms()) {
        recover_await(recover, due_ms - now_ms);
    }
    const bool any = !recover->stops && choose_range(worker, slot, last);
    pthread_mutex_unlock(&recover->lock);
    if (!any) {
        return 0; /* Others are next, or the archive is to be listed anew. */
    }
    rc = recover_range(worker);
    if (rc != 0 && rc != -ESTALE) {
        want_again(worker);
        return rc;
    }
    worker->next = last + 1;
    pthread_mutex_lock(&recover->lock);
    recover->figures.cause[0] = '\0';
    pthread_mutex_unlock(&recover->lock);
    recover_tell_ahead(recover);
    return rc;
}

static void *recover_main(void *context)
{
    struct recover_worker *worker = context;
    struct node_recover *recover = worker->recover;

    if (!worker->asked) { /* For what the other one brings somebody waits. */
        (void)setpriority(PRIO_PROCESS, (id_t)gettid(), RECOVER_NICE);
    }
    pthread_mutex_lock(&recover->lock);
    while (!recover->stops) {
        const uint32_t slot = find_slot(worker);
        const uint64_t epoch = recover->newest;
        const bool needed = slot < SLOT_COUNT || is_needed(recover);
        if (slot == SLOT_COUNT && (!needed || (worker->open && worker->epoch >= epoch))) {
            if (!needed) {
                recover_close(worker);
            }
            pthread_cond_wait(&recover->changed, &recover->lock);
            continue;
        }
        if (recover->listable < epoch && !(worker->open && worker->epoch >= epoch)) {
            pthread_cond_wait(&recover->changed, &recover->lock);
            continue;
        }
        pthread_mutex_unlock(&recover->lock);
        int rc = work(worker, epoch, slot);
        if (rc != 0 && rc != -ESTALE && !recover->stops) {
            recover_tell_trouble(worker, rc);
            if (worker->reads) { /* Else the view is as good as it was. */
                recover_close(worker);
            }
        }
        pthread_mutex_lock(&recover->lock);
        if (rc != 0 && !recover->stops) {
            recover_await(recover, rc == -ESTALE && (worker->asked || worker->came > 0) ? MISSED_MS
                                                                                        : AGAIN_MS);
        }
    }
    pthread_mutex_unlock(&recover->lock);
    recover_close(worker);
    return NULL;
}

/* ---- Their life ---- */

static void free_worker(struct recover_worker *worker)
{
    for (uint32_t i = 0; worker->records != NULL && i < worker->recover->node->shard_count; i++) {
        buffer_fini(&worker->records[i]);
        buffer_fini(&worker->slots[i]);
    }
    free(worker->records);
    buffer_fini(&worker->record);
    buffer_fini(&worker->vector);
    buffer_fini(&worker->refused);
    archive_state_fini(&worker->state);
}

static int start_worker(struct recover_worker *worker)
{
    struct node *node = worker->recover->node;
    const uint32_t shards = node->shard_count;

    worker->record.memory = worker->vector.memory = worker->refused.memory = &node->memory;
    archive_state_init(&worker->state, &node->memory, UINT64_MAX, recover_wants, worker);
    worker->records = calloc((size_t)2 * shards, sizeof *worker->records);
    if (worker->records == NULL) {
        return -ENOMEM;
    }
    worker->slots = worker->records + shards;
    for (uint32_t i = 0; i < shards; i++) {
        worker->records[i].memory = worker->slots[i].memory = &node->memory;
    }
    int rc = pthread_create(&worker->thread, NULL, recover_main, worker);
    worker->runs = rc == 0;
    return -rc;
}

int node_recover_start(struct node *node)
{
    pthread_condattr_t attributes;
    int rc = 0;

    if (node->archive == NULL) {
        node_recover_map(node, cluster_map(cluster_host_cluster(node->cluster)));
        return 0;
    }
    struct node_recover *recover = calloc(1, sizeof *recover);
    if (recover == NULL) {
        return -ENOMEM;
    }
    recover->node = node;
    recover->damaged.memory = &node->memory;
    pthread_mutex_init(&recover->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&recover->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    node->recover = recover;
    node_recover_map(node, cluster_map(cluster_host_cluster(node->cluster)));
    for (uint32_t i = 0; i < 2 && rc == 0; i++) {
        recover->workers[i].recover = recover;
        recover->workers[i].asked = i == 0;
        rc = start_worker(&recover->workers[i]);
    }
    return rc;
}

void node_recover_stop(struct node *node)
{
    struct node_recover *recover = node->recover;

    if (recover == NULL) {
        return;
    }
    pthread_mutex_lock(&recover->lock);
    recover->stops = true;
    pthread_cond_broadcast(&recover->changed);
    pthread_mutex_unlock(&recover->lock);
    for (uint32_t i = 0; i < 2; i++) {
        if (recover->workers[i].runs) {
            pthread_join(recover->workers[i].thread, NULL);
            recover->workers[i].runs = false;
        }
    }
}

void node_recover_close(struct node *node)
{
    struct node_recover *recover = node->recover;

    if (recover == NULL) {
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        if (recover->workers[i].recover != NULL) {
            free_worker(&recover->workers[i]);
        }
    }
    buffer_fini(&recover->damaged);
    pthread_cond_destroy(&recover->changed);
    pthread_mutex_destroy(&recover->lock);
    free(recover);
    node->recover = NULL;
}

/* ---- What this node has ---- */

/* What was written here of a slot, before another node owned it, may be in this node's log alone, and not be archived yet: an archive that
 * is listed before that is there would not have it. So at each loss the log goes there first. */
static void flush(struct node_recover *recover)
{
    struct node *node = recover->node;
    const char *trouble = node_archive_trouble(node);

    if (recover->flushing == 0) {
        return;
    }
    if (node_archive_is_flushed(node)) {
        pthread_mutex_lock(&recover->lock);
        recover->listable = recover->flushing;
        pthread_cond_broadcast(&recover->changed);
        pthread_mutex_unlock(&recover->lock);
        recover->flushing = 0;
    } else if (trouble != NULL) {
        recover_tell_waits(recover, trouble, true);
    }
}

void node_recover_archived(struct node *node)
{
    if (node->recover != NULL) {
        flush(node->recover);
    }
}

/* ---- The map ---- */

void node_recover_map(struct node *node, const struct map *map)
{
    struct node_recover *recover = node->recover;
    const uint32_t self = node->directory.meta.actor.node;

    if (recover == NULL) {
        recover_tell_unarchived(node, map);
        return;
    }
    pthread_mutex_lock(&recover->lock);
    const uint64_t before = recover->newest;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        recover->ahead[slot] = recover->ahead[slot] && recover->lost[slot] == map->lost[slot];
        recover->lost[slot] = map->lost[slot];
        recover->first[slot] = map->owners[slot].nodes[0] == self;
        recover->owned[slot] = slot_owners_has(&map->owners[slot], self);
        recover->newest = map->lost[slot] > recover->newest ? map->lost[slot] : recover->newest;
    }
    if (!is_needed(recover)) {
        recover->figures.cause[0] = '\0'; /* Nothing waits. */
    }
    const uint64_t newest = recover->newest;
    pthread_cond_broadcast(&recover->changed);
    pthread_mutex_unlock(&recover->lock);
    if (newest > before) {
        node_archive_flush(node);
        recover->flushing = newest;
        flush(recover);
    }
}

void node_recover_wanted(struct node *node, uint32_t slot)
{
    struct node_recover *recover = node->recover;

    if (recover == NULL) {
        return;
    }
    pthread_mutex_lock(&recover->lock);
    recover->wanted[slot] = true;
    pthread_cond_broadcast(&recover->changed);
    pthread_mutex_unlock(&recover->lock);
}

static void on_proposed(void *context, const struct cluster_outcome *outcome)
{
    struct node *node = context;

    (void)outcome; /* What the map still has as lost is said again. */
    if (node->recover != NULL) {
        node->recover->proposing = false;
    }
}

/* Which slots are to be told: those of one loss. */
struct whole {
    const struct node_recover *recover;
    const struct map *map;
    uint32_t self;
    uint64_t epoch; /* 0: of any. */
};

static bool is_whole(const void *context, uint32_t slot)
{
    const struct whole *whole = context;
    const uint64_t lost = whole->map->lost[slot];

    return lost != 0 && whole->recover->restored[slot] == lost &&
           whole->map->owners[slot].nodes[0] == whole->self &&
           (whole->epoch == 0 || whole->epoch == lost);
}

/* Slots that are whole, of one loss. Returns 0 with runs in the command, which may be empty; -ENOMEM. */
static int gather(const struct node_recover *recover, const struct map *map,
                  struct map_command *command, struct buffer *runs)
{
    struct whole whole = {.recover = recover, .map = map, .self = command->number};
    uint32_t slot = 0;
    int rc = 0;

    while (slot < SLOT_COUNT && !is_whole(&whole, slot)) {
        slot++;
    }
    if (slot < SLOT_COUNT) {
        whole.epoch = command->epoch = map->lost[slot];
        rc = map_runs_put(runs, is_whole, &whole); /* What does not fit comes later. */
    }
    command->runs = buffer_bytes(runs);
    return rc;
}

void node_recover_tick(struct node *node)
{
    struct node_recover *recover = node->recover;
    struct cluster *cluster = cluster_host_cluster(node->cluster);
    const struct map *map = cluster_map(cluster);
    struct map_command command = {.type = MAP_RESTORED, .number = node->directory.meta.actor.node};
    struct buffer runs = {.memory = &node->memory};

    node_recover_archived(node);
    if (recover == NULL || recover->proposing || !map_has_lost(map)) {
        return;
    }
    pthread_mutex_lock(&recover->lock);
    int rc = gather(recover, map, &command, &runs);
    pthread_mutex_unlock(&recover->lock);
    if (rc == 0 && runs.size > 0) {
        rc = cluster_propose(cluster, cluster_host_now_ms(node->cluster), &command, on_proposed,
                             node);
        recover->proposing = rc == 0;
    }
    buffer_fini(&runs);
}

void node_recover_figures(struct node *node, struct metrics_restore *to)
{
    struct node_recover *recover = node->recover;

    const struct map *map =
        node->cluster == NULL ? NULL : cluster_map(cluster_host_cluster(node->cluster));
    const uint32_t lost = map == NULL ? 0 : map_count_lost(map, 0);

    *to = (struct metrics_restore){.lost = lost};
    if (recover == NULL) {
        recover_figures_unarchived(node, map, to);
        return;
    }
    pthread_mutex_lock(&recover->lock);
    *to = recover->figures;
    to->lost = lost;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        to->slots += recover_is_due(recover, slot) && recover->first[slot];
    }
    if (to->cause[0] == '\0' && recover->ahead_told) {
        snprintf(to->cause, sizeof to->cause, "%s", recover_ahead_text);
    }
    const uint64_t passed_ms = recover_clock_ms() - recover->begun_ms;
    if (to->slots > 0 && recover->bytes_done > 0 && recover->bytes_total > recover->bytes_done) {
        to->eta_ms = passed_ms * (recover->bytes_total - recover->bytes_done) / recover->bytes_done;
    }
    to->bytes = recover->bytes_total;
    to->bytes_done = recover->bytes_done;
    pthread_mutex_unlock(&recover->lock);
}
