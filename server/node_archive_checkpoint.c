/* Checkpoints for the archive: the sessions that the store's checkpoints have of the slots of which this node is the primary,
 * part by part.
 *
 * Where the archive lacks something that this node had before, the next one is a *base*, of all slots that the node owns at
 * any rank: their primaries may have no archive yet, and what this node stamped in them, and says is archived once the base
 * is there, is in no other object. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "container.h"
#include "node_archive_private.h"
#include "rename.h"

enum {
    SCAN_BYTES = 1024 * 1024, /* The store's checkpoint is held for so much at a time. */
    LOG_PART = 2,             /* One is due once so many times the data was archived as log, */
    WAITS_MAX = 30,           /* For what slots have seen, a second each... */
    AGAIN_MS = 600 * 1000,    /* ... and one that had to do without is made again after it. */
};
#define LOG_BYTES_MIN (UINT64_C(64) << 20) /* and this. */

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static struct node_archive *archive_of(struct checkpointer_port *port)
{
    return container_of(port, struct node_archive, side.port);
}

bool archive_is_based(const struct node_archive *archive)
{
    bool based = true;

    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        based = based && archive->based[i];
    }
    return based;
}

/* ---- On the thread ---- */

static int base_shard(struct node_archive *archive, uint32_t shard)
{
    struct archive_side *side = &archive->side;
    struct plane_basis basis = {
        .vectors = side->vectors, .slot_count = PLANE_BASIS_SLOTS, .copies = side->bases};
    int rc = 0;

    while (basis.first_slot < SLOT_COUNT && rc == 0) {
        rc = plane_basis(archive->node->plane, shard, false, &basis);
        if (basis.first_slot == 0) {
            side->epochs[shard] = basis.epoch;
        }
        if (rc == 0 && (!basis.known || basis.epoch != side->epochs[shard])) {
            rc = -EAGAIN;
        }
        side->missing += basis.missing;
        basis.first_slot += PLANE_BASIS_SLOTS;
    }
    side->vectors = basis.vectors;
    return rc;
}

static int seal_shard(struct node_archive *archive, uint32_t shard)
{
    struct archive_side *side = &archive->side;
    struct plane_basis basis = {.vectors = {.memory = &archive->node->memory}};

    int rc = plane_basis(archive->node->plane, shard, true, &basis);
    if (rc == 0 && (!basis.known || basis.epoch != side->epochs[shard])) {
        rc = -EAGAIN;
    }
    side->lsn[shard] = basis.lsn;
    buffer_fini(&basis.vectors);
    return rc;
}

/* The next vector; false at the end. */
static bool next_vector(struct reader *from, uint32_t *slot, struct bytes *vector)
{
    if (reader_left(from) == 0) {
        return false;
    }
    *slot = read_u32(from);
    *vector = read_bytes(from, read_u32(from));
    return !from->bad;
}

static int base(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;
    struct bytes vector;
    uint32_t slot;
    int rc = 0;

    side->vectors.size = 0;
    side->missing = 0;
    for (uint32_t i = 0; i < archive->node->shard_count && rc == 0; i++) {
        rc = base_shard(archive, i);
    }
    if (rc == 0 && side->missing > 0 && side->waited < WAITS_MAX) {
        side->waited++; /* After a start it is known once these slots were compared. */
        rc = -EAGAIN;
    }
    memset(side->slots, 0, sizeof side->slots);
    memset(side->damaged, 0, sizeof side->damaged);
    side->lacking = 0;
    struct reader from = reader_of(buffer_bytes(&side->vectors));
    while (rc == 0 && next_vector(&from, &slot, &vector)) {
        side->slots[slot] = true;
    }
    side->shard = 0;
    side->next = (struct checkpoint_key){0};
    side->least_hlc = side->newest_hlc = 0;
    return rc;
}

static int seal(struct node_archive *archive)
{
    int rc = 0;

    for (uint32_t i = 0; i < archive->node->shard_count && rc == 0; i++) {
        rc = seal_shard(archive, i);
    }
    return rc;
}

static int on_session(void *context, struct checkpoint_key key, struct bytes record)
{
    struct archive_side *side = context;
    const struct archive_record added = {
        .kind = LOG_FULL, .position = key.position, .body = record};
    uint32_t slot = slot_of_position(key.position);
    struct stamp newest;

    if (record.size == 0) {
        side->damaged[slot] = true; /* Of which compaction tells. */
        return 0;
    }
    if (!side->slots[slot] || rename_is_journal(session_key(record)) ||
        !session_newest(record, &newest)) {
        return 0;
    }
    return archive_writer_add(&side->writer, &added, newest);
}

/* Sessions of all shards in turn, as many as an object has. */
static int fill_part(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;
    const struct node *node = archive->node;
    int rc = 0;

    while (side->shard < node->shard_count && rc >= 0 &&
           side->writer.record_bytes < archive->archiver.settings.object_bytes) {
        rc = store_scan(node->shards[side->shard].store, &side->next, SCAN_BYTES, on_session, side);
        if (rc == 0) {
            side->shard++;
            side->next = (struct checkpoint_key){0};
        }
    }
    side->more = side->shard < node->shard_count;
    if (rc >= 0 && side->writer.records > 0) {
        uint64_t least = side->writer.least_hlc, newest = side->writer.newest_hlc;
        side->least_hlc = side->least_hlc == 0 || least < side->least_hlc ? least : side->least_hlc;
        side->newest_hlc = newest > side->newest_hlc ? newest : side->newest_hlc;
    }
    return rc < 0 ? rc : 0;
}

/* With another table slots may have been handed off since the vectors were taken, and their sessions dropped. */
static int check_tables(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;
    int rc = 0;

    for (uint32_t i = 0; i < archive->node->shard_count && rc == 0; i++) {
        struct plane_basis basis = {.vectors = {.memory = &archive->node->memory}};
        rc = plane_basis(archive->node->plane, i, false, &basis);
        if (rc == 0 && basis.epoch != side->epochs[i]) {
            rc = -EAGAIN;
        }
        buffer_fini(&basis.vectors);
    }
    return rc;
}

/* Has the store's checkpoint all of a slot? What did not read back when the log was compacted is in none. */
static bool is_whole(const struct node_archive *archive, uint32_t slot)
{
    const struct node *node = archive->node;

    return !archive->side.damaged[slot] &&
           !store_lacks(node->shards[slot % node->shard_count].store, slot);
}

static int fill_last(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;
    struct reader from = reader_of(buffer_bytes(&side->vectors));
    struct bytes vector;
    uint32_t slot;
    int rc = check_tables(archive);

    side->lacking = 0;
    while (rc == 0 && next_vector(&from, &slot, &vector)) {
        if (is_whole(archive, slot)) { /* Else what is not in the parts would be taken for ended. */
            rc = archive_writer_seen(&side->writer, (uint16_t)slot, vector);
        } else {
            side->lacking++;
        }
    }
    if (side->newest_hlc != 0) {
        archive_writer_reach(&side->writer, side->least_hlc, side->newest_hlc);
    }
    side->more = false;
    return rc;
}

static int fill(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;
    struct archive_writer_options options = {
        .name = archive_name_of(archive, side->last ? ARCHIVE_DONE : ARCHIVE_PART, side->sequence,
                                side->last ? 0 : side->part),
        .made_ms = side->made_ms,
        .level = 1,
        .key = archive->keys.count > 0 ? &archive->keys.keys[0] : NULL,
        .parts = side->last ? side->part : 0,
    };

    if (options.key != NULL &&
        getrandom(options.salt, sizeof options.salt, 0) != sizeof options.salt) {
        return -EIO;
    }
    archive_writer_begin(&side->writer, &options);
    int rc = side->last ? fill_last(archive) : fill_part(archive);
    rc = rc != 0 ? rc : archive_writer_make(&side->writer, &side->object);
    if (rc == 0) {
        object_store_hash(archive->store, side->object, side->object_hash);
    }
    return rc;
}

void archive_side_work(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;

    side->rc = side->job == ARCHIVE_SIDE_BASE   ? base(archive)
               : side->job == ARCHIVE_SIDE_SEAL ? seal(archive)
                                                : fill(archive);
}

/* ---- On the control thread: the checkpointer's port ---- */

static void post(struct node_archive *archive, enum archive_side_job job)
{
    pthread_mutex_lock(&archive->lock);
    archive->side.job = job;
    archive->side.done = false;
    pthread_cond_signal(&archive->changed);
    pthread_mutex_unlock(&archive->lock);
}

static void on_base(struct checkpointer_port *port)
{
    struct node_archive *archive = archive_of(port);

    archive->side.bases = !archive_is_based(archive);
    post(archive, ARCHIVE_SIDE_BASE);
}

static void on_seal(struct checkpointer_port *port)
{
    post(archive_of(port), ARCHIVE_SIDE_SEAL);
}

static bool on_covers(struct checkpointer_port *port)
{
    const struct node_archive *archive = archive_of(port);

    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        struct store_stats stats;
        store_stats(archive->node->shards[i].store, &stats);
        if (stats.checkpoint_lsn < archive->side.lsn[i]) {
            return false;
        }
    }
    return true;
}

static void on_fill(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last)
{
    struct node_archive *archive = archive_of(port);

    archive->side.sequence = sequence;
    archive->side.part = part;
    archive->side.last = last;
    archive->side.made_ms = wall_clock_now_ms(archive->node->world.clock);
    post(archive, ARCHIVE_SIDE_FILL);
}

static void on_stored(void *context, const struct object_answer *answer)
{
    struct node_archive *archive = context;

    archive->side.storing = false;
    if (answer->rc != -ECANCELED) {
        checkpointer_stored(&archive->side.checkpointer, answer->rc, now_ms());
        uv_async_send(&archive->wake);
    }
}

static void on_store(struct checkpointer_port *port, uint64_t sequence, uint32_t part, bool last)
{
    struct node_archive *archive = archive_of(port);
    struct archive_side *side = &archive->side;
    const struct archive_name parts =
        archive_name_of(archive, last ? ARCHIVE_DONE : ARCHIVE_PART, sequence, last ? 0 : part);
    char name[ARCHIVE_NAME_BYTES];
    const struct object_call call = {
        .op = OBJECT_PUT,
        .name = name,
        .body = side->object,
        .hash = side->object_hash,
        .only_new = true,
        .done = on_stored,
        .context = archive,
    };

    archive_name_put(name, &parts);
    side->begin_rc = object_store_begin(archive->store, &call);
    side->storing = side->begin_rc == 0;
    if (!side->storing) {
        uv_async_send(&archive->wake); /* Not from within. */
    }
}

/* One that is without something damaged is the base that there is: what is damaged may stay so for ever, and is not here
 * either. But where something that this life stamped went into no log object, it is in none then, and that all of it is
 * archived must not be said: others, who may have it, archive it as long as that is not said. */
static void on_made(struct checkpointer_port *port, uint64_t sequence)
{
    struct node_archive *archive = archive_of(port);
    struct archive_side *side = &archive->side;
    bool whole = side->bases && side->missing == 0 && !side->checkpointer.wanted &&
                 (side->lacking == 0 || !archive->own_lost);

    archive->own_lost = archive->own_lost && !whole;
    for (uint32_t i = 0; i < archive->node->shard_count && whole; i++) {
        archive->based[i] = true;
        plane_archive_based(archive->node->plane, i);
    }
    side->waited = 0;
    side->again_ms = side->missing == 0 ? 0 : now_ms() + AGAIN_MS;
    archive->archiver.moved = true; /* So that it is kept. */
    logger_write(archive->node->world.logger, LOG_LEVEL_INFO, "archive-checkpoint",
                 LOG_NUMBER("sequence", sequence), LOG_NUMBER("parts", side->part),
                 LOG_NUMBER("slots_missing", side->missing),
                 LOG_NUMBER("slots_damaged", side->lacking));
}

/* ---- Its steps ---- */

void archive_side_init(struct node_archive *archive, uint64_t sequence)
{
    struct archive_side *side = &archive->side;

    side->port =
        (struct checkpointer_port){on_base, on_seal, on_covers, on_fill, on_store, on_made};
    checkpointer_init(&side->checkpointer, &side->port, sequence);
    archive_writer_init(&side->writer, &archive->node->memory);
    side->vectors.memory = &archive->node->memory;
}

void archive_side_fini(struct node_archive *archive)
{
    archive_writer_fini(&archive->side.writer);
    buffer_fini(&archive->side.vectors);
}

uint64_t archive_side_step(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;
    uint64_t archived = 0, data = 0;

    if (side->again_ms != 0 && now_ms() >= side->again_ms) {
        side->again_ms = 0;
        checkpointer_want(&side->checkpointer);
    }
    if (side->checkpointer.state == CHECKPOINTER_RESTING && archive->archiver.away_ms != 0) {
        return 1000;
    }
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        struct store_stats stats;
        store_stats(archive->node->shards[i].store, &stats);
        archived += archive->archiver.shards[i].archived;
        data += stats.checkpoint_bytes;
    }
    archived = archived > side->first_bytes ? archived - side->first_bytes : 0;
    return checkpointer_step(&side->checkpointer, archived, LOG_PART * data + LOG_BYTES_MIN,
                             now_ms());
}

void archive_side_take(struct node_archive *archive)
{
    struct archive_side *side = &archive->side;

    pthread_mutex_lock(&archive->lock);
    enum archive_side_job job = side->done ? side->job : ARCHIVE_SIDE_NONE;
    if (side->done) {
        side->job = ARCHIVE_SIDE_NONE;
        side->done = false;
    }
    pthread_mutex_unlock(&archive->lock);
    if (job == ARCHIVE_SIDE_BASE) {
        checkpointer_based(&side->checkpointer, side->rc, now_ms());
    } else if (job == ARCHIVE_SIDE_SEAL) {
        checkpointer_sealed(&side->checkpointer, side->rc, now_ms());
    } else if (job == ARCHIVE_SIDE_FILL) {
        checkpointer_filled(&side->checkpointer, side->rc, side->more, now_ms());
    } else if (side->begin_rc != 0) {
        int rc = side->begin_rc;
        side->begin_rc = 0;
        checkpointer_stored(&side->checkpointer, rc, now_ms());
    }
}
