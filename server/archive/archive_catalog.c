#include "archive_catalog_private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 64 };

void catalog_init(struct archive_catalog *catalog, struct memory *memory)
{
    *catalog = (struct archive_catalog){.memory = memory};
}

void catalog_fini(struct archive_catalog *catalog)
{
    struct memory *memory = catalog->memory;

    if (catalog->logs != NULL) {
        memory->resize(memory, catalog->logs, catalog->log_capacity * sizeof *catalog->logs, 0);
    }
    if (catalog->checkpoints != NULL) {
        memory->resize(memory, catalog->checkpoints,
                       catalog->checkpoint_capacity * sizeof *catalog->checkpoints, 0);
    }
    catalog_init(catalog, memory);
}

/* ---- Names ---- */

static struct archive_name name_of(const struct archive_catalog *catalog, enum archive_kind kind,
                                   struct actor actor, uint64_t sequence, uint32_t part)
{
    struct archive_name name = {.kind = kind, .actor = actor, .sequence = sequence, .part = part};

    memcpy(name.cluster, catalog->cluster, sizeof name.cluster);
    return name;
}

struct archive_name catalog_log_name(const struct archive_catalog *catalog,
                                     const struct catalog_log *log)
{
    return name_of(catalog, ARCHIVE_LOG, log->actor, log->sequence, 0);
}

struct archive_name catalog_done_name(const struct archive_catalog *catalog,
                                      const struct catalog_checkpoint *checkpoint)
{
    return name_of(catalog, ARCHIVE_DONE, checkpoint->actor, checkpoint->sequence, 0);
}

struct archive_name catalog_part_name(const struct archive_catalog *catalog,
                                      const struct catalog_checkpoint *checkpoint, uint32_t part)
{
    return name_of(catalog, ARCHIVE_PART, checkpoint->actor, checkpoint->sequence, part);
}

/* ---- The listing ---- */

/* Room for one more item in an array. Returns 0 or -ENOMEM. */
static int grow(struct memory *memory, void **items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) {
        return 0;
    }
    size_t more = *capacity == 0 ? ROOM_FIRST : *capacity * 2;
    void *larger = memory->resize(memory, *items, *capacity * size, more * size);
    if (larger == NULL) {
        return -ENOMEM;
    }
    *items = larger;
    *capacity = more;
    return 0;
}

/* Is this place behind that one? */
static bool is_behind(struct actor actor, uint64_t sequence, struct actor before_actor,
                      uint64_t before_sequence)
{
    int order = actor_compare(actor, before_actor);

    return order > 0 || (order == 0 && sequence > before_sequence);
}

static int add_log(struct archive_catalog *catalog, const struct archive_name *name, uint64_t size)
{
    void *items = catalog->logs;

    if (catalog->log_count > 0) {
        const struct catalog_log *last = &catalog->logs[catalog->log_count - 1];
        if (!is_behind(name->actor, name->sequence, last->actor, last->sequence)) {
            return -EINVAL;
        }
    }
    int rc = grow(catalog->memory, &items, catalog->log_count, &catalog->log_capacity,
                  sizeof *catalog->logs);
    catalog->logs = items;
    if (rc == 0) {
        catalog->logs[catalog->log_count++] =
            (struct catalog_log){.actor = name->actor, .sequence = name->sequence, .size = size};
    }
    return rc;
}

/* The checkpoint that an object is of: the last one, or a new one behind it. Returns 0, -EINVAL or -ENOMEM. */
static int take_checkpoint(struct archive_catalog *catalog, const struct archive_name *name,
                           struct catalog_checkpoint **found)
{
    void *items = catalog->checkpoints;

    if (catalog->checkpoint_count > 0) {
        struct catalog_checkpoint *last = &catalog->checkpoints[catalog->checkpoint_count - 1];
        if (actor_compare(last->actor, name->actor) == 0 && last->sequence == name->sequence) {
            *found = last;
            return 0;
        }
        if (!is_behind(name->actor, name->sequence, last->actor, last->sequence)) {
            return -EINVAL;
        }
    }
    int rc = grow(catalog->memory, &items, catalog->checkpoint_count, &catalog->checkpoint_capacity,
                  sizeof *catalog->checkpoints);
    catalog->checkpoints = items;
    if (rc == 0) {
        *found = &catalog->checkpoints[catalog->checkpoint_count++];
        **found = (struct catalog_checkpoint){.actor = name->actor, .sequence = name->sequence};
    }
    return rc;
}

static int add_to_checkpoint(struct archive_catalog *catalog, const struct archive_name *name,
                             uint64_t size)
{
    struct catalog_checkpoint *checkpoint = NULL;
    int rc = take_checkpoint(catalog, name, &checkpoint);

    if (rc != 0) {
        return rc;
    }
    if (checkpoint->done_size != 0) {
        return -EINVAL; /* It is the last one. */
    }
    if (name->kind == ARCHIVE_DONE) {
        checkpoint->done_size = size;
    } else if (name->part < checkpoint->parts_end || name->part == UINT32_MAX) {
        return -EINVAL;
    } else {
        checkpoint->part_count++;
        checkpoint->parts_end = name->part + 1;
    }
    checkpoint->size += size;
    return 0;
}

int catalog_add(struct archive_catalog *catalog, const struct archive_name *name, uint64_t size)
{
    if (catalog->log_count + catalog->checkpoint_count == 0) {
        memcpy(catalog->cluster, name->cluster, sizeof catalog->cluster);
    } else if (memcmp(catalog->cluster, name->cluster, sizeof catalog->cluster) != 0) {
        return -EINVAL;
    }
    return name->kind == ARCHIVE_LOG ? add_log(catalog, name, size)
                                     : add_to_checkpoint(catalog, name, size);
}

/* ---- Checkpoints ---- */

bool catalog_is_passed_over(int rc)
{
    return rc == -EBADMSG || rc == -EPROTONOSUPPORT || rc == -ENOENT;
}

/* Raise `newest` to what a vector has (seen.h). Returns whether it is one. */
static bool take_vector(struct bytes vector, uint64_t *newest)
{
    struct reader reader = reader_of(vector);
    uint64_t count = read_varint(&reader);

    for (uint64_t i = 0; i < count && !reader.bad; i++) {
        (void)read_varint(&reader);
        (void)read_varint(&reader);
        uint64_t hlc = read_u64(&reader);
        *newest = hlc > *newest ? hlc : *newest;
    }
    return reader_done(&reader);
}

static int load_checkpoint(const struct archive_catalog *catalog, struct catalog_port *port,
                           struct catalog_checkpoint *checkpoint)
{
    const struct archive_name name = catalog_done_name(catalog, checkpoint);
    struct archive_reader *reader = NULL;

    checkpoint->whole = false;
    if (checkpoint->done_size == 0) {
        return 0;
    }
    checkpoint->rc = port->open(port, &name, checkpoint->done_size, &reader);
    if (checkpoint->rc != 0) {
        return catalog_is_passed_over(checkpoint->rc) ? 0 : checkpoint->rc;
    }
    checkpoint->parts = reader->parts;
    checkpoint->made_ms = reader->header.made_ms;
    checkpoint->newest_hlc = reader->newest_hlc;
    for (uint32_t i = 0; i < reader->slot_count; i++) {
        struct bytes vector = reader->slots[i].seen;
        if (vector.size > 0 && !take_vector(vector, &checkpoint->newest_hlc)) {
            checkpoint->rc = -EBADMSG;
            return 0;
        }
    }
    checkpoint->whole =
        checkpoint->part_count == checkpoint->parts && checkpoint->parts_end == checkpoint->parts;
    return 0;
}

int catalog_load(struct archive_catalog *catalog, struct catalog_port *port)
{
    int rc = 0;

    for (size_t i = 0; i < catalog->checkpoint_count && rc == 0; i++) {
        rc = load_checkpoint(catalog, port, &catalog->checkpoints[i]);
    }
    return rc;
}

/* ---- The plan ---- */

struct dated {
    uint64_t newest_hlc;
    size_t index;
};

/* The newest first; of equal ones the last in the catalog. */
static int compare_dated(const void *left, const void *right)
{
    const struct dated *a = left, *b = right;

    if (a->newest_hlc != b->newest_hlc) {
        return a->newest_hlc > b->newest_hlc ? -1 : 1;
    }
    return (a->index < b->index) - (a->index > b->index);
}

bool catalog_adds_to(const struct archive_reader *reader, const struct seen *cover)
{
    for (uint32_t i = 0; i < reader->slot_count; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        if (slot->seen.size > 0 && !seen_covers_all(cover, slot->slot, slot->seen)) {
            return true;
        }
    }
    return false;
}

static int join(struct seen *cover, const struct archive_reader *reader)
{
    int rc = 0;

    for (uint32_t i = 0; i < reader->slot_count && rc == 0; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        rc = slot->seen.size > 0 ? seen_join(cover, slot->slot, slot->seen) : 0;
    }
    return rc;
}

static int plan_checkpoint(const struct archive_catalog *catalog, struct catalog_port *port,
                           struct catalog_checkpoint *checkpoint, struct seen *cover)
{
    const struct archive_name name = catalog_done_name(catalog, checkpoint);
    struct archive_reader *reader = NULL;

    int rc = port->open(port, &name, checkpoint->done_size, &reader);
    if (catalog_is_passed_over(rc)) { /* It could be opened before: somebody removes it. */
        checkpoint->rc = rc;
        checkpoint->whole = false;
        return 0;
    }
    if (rc != 0) {
        return rc;
    }
    checkpoint->needed = catalog_adds_to(reader, cover);
    return checkpoint->needed ? join(cover, reader) : 0;
}

int catalog_plan_checkpoints(struct archive_catalog *catalog, struct catalog_port *port,
                             uint64_t as_of_hlc, struct seen *cover)
{
    struct memory *memory = catalog->memory;
    const size_t room = (catalog->checkpoint_count + 1) * sizeof(struct dated);
    size_t count = 0;
    int rc = 0;

    struct dated *order = memory->resize(memory, NULL, 0, room);
    if (order == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        checkpoint->needed = false;
        if (checkpoint->whole && checkpoint->newest_hlc <= as_of_hlc) {
            order[count++] = (struct dated){checkpoint->newest_hlc, i};
        }
    }
    qsort(order, count, sizeof *order, compare_dated);
    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = plan_checkpoint(catalog, port, &catalog->checkpoints[order[i].index], cover);
    }
    memory->resize(memory, order, room, 0);
    return rc;
}

/* Is everything of a log object covered? `begins` becomes the least hlc of what is not. */
static bool is_covered(const struct archive_reader *reader, const struct seen *cover,
                       uint64_t *begins)
{
    *begins = UINT64_MAX;
    for (uint32_t i = 0; i < reader->slot_count; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        for (uint32_t j = 0; j < slot->span_count; j++) {
            const struct archive_span *span = &slot->spans[j];
            if (span->newest_hlc > seen_of(cover, slot->slot, span->actor) &&
                span->least_hlc < *begins) {
                *begins = span->least_hlc;
            }
        }
    }
    return *begins == UINT64_MAX;
}

/* The newest stamp of an actor in a log object; 0: there is none. */
static uint64_t newest_of(const struct archive_reader *reader, struct actor actor)
{
    uint64_t newest = 0;

    for (uint32_t i = 0; i < reader->slot_count; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        for (uint32_t j = 0; j < slot->span_count; j++) {
            const struct archive_span *span = &slot->spans[j];
            if (actor_is_of(span->actor, actor) && span->newest_hlc > newest) {
                newest = span->newest_hlc;
            }
        }
    }
    return newest;
}

void catalog_note_slots(const struct archive_reader *reader, bool slots[])
{
    for (uint32_t i = 0; i < reader->slot_count; i++) {
        slots[reader->slots[i].slot] = true;
    }
}

int catalog_plan_log(const struct archive_catalog *catalog, struct catalog_port *port,
                     struct catalog_log *log, uint64_t as_of_hlc, const struct seen *cover,
                     bool relied[])
{
    const struct archive_name name = catalog_log_name(catalog, log);
    struct archive_reader *reader = NULL;
    uint64_t begins;

    log->covered = false;
    log->needed = true;
    log->rc = port->open(port, &name, log->size, &reader);
    if (log->rc != 0) {
        return catalog_is_passed_over(log->rc) ? 0 : log->rc;
    }
    log->least_hlc = reader->least_hlc;
    log->newest_hlc = reader->newest_hlc;
    log->own_hlc = newest_of(reader, log->actor);
    log->bare = reader->records == 0;
    log->covered = is_covered(reader, cover, &begins);
    log->needed = !log->covered && begins <= as_of_hlc;
    if (log->covered && relied != NULL) {
        catalog_note_slots(reader, relied);
    }
    return 0;
}

int catalog_plan(struct archive_catalog *catalog, struct catalog_port *port, uint64_t as_of_hlc,
                 struct seen *cover)
{
    int rc = catalog_plan_checkpoints(catalog, port, as_of_hlc, cover);

    for (size_t i = 0; i < catalog->log_count && rc == 0; i++) {
        rc = catalog_plan_log(catalog, port, &catalog->logs[i], as_of_hlc, cover, NULL);
    }
    return rc;
}

/* ---- Gaps ---- */

size_t catalog_actor_end(const struct archive_catalog *catalog, size_t first)
{
    size_t end = first + 1;

    while (end < catalog->log_count &&
           actor_compare(catalog->logs[end].actor, catalog->logs[first].actor) == 0) {
        end++;
    }
    return end;
}

/* The newest stamp of an actor in its log objects from an index on. */
static uint64_t newest_behind(const struct archive_catalog *catalog, size_t first)
{
    uint64_t newest = 0;

    for (size_t i = first, end = catalog_actor_end(catalog, first); i < end; i++) {
        const struct catalog_log *log = &catalog->logs[i];
        newest = log->rc == 0 && log->own_hlc > newest ? log->own_hlc : newest;
    }
    return newest;
}

/* The newest that it stamped in those in front of an index; 0: there is none, or it cannot be read. */
static uint64_t newest_before(const struct archive_catalog *catalog, size_t index)
{
    const struct catalog_log *logs = catalog->logs;
    uint64_t newest = 0;

    for (size_t i = index;
         i > 0 && newest == 0 && actor_compare(logs[i - 1].actor, logs[index].actor) == 0; i--) {
        newest = logs[i - 1].rc == 0 ? logs[i - 1].own_hlc : 0;
    }
    return newest;
}

uint64_t catalog_closed_hlc(const struct archive_catalog *catalog, struct actor actor, uint64_t hlc)
{
    bool begun = false;

    for (size_t i = 0; hlc != 0 && i < catalog->checkpoint_count; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        if (!checkpoint->whole || actor_compare(checkpoint->actor, actor) != 0) {
            continue;
        }
        if (begun) {
            return checkpoint->newest_hlc;
        }
        begun = checkpoint->newest_hlc >= hlc;
    }
    return 0;
}

/* Was what an actor has no more in front of its logs let go, for checkpoints that a restore as of then has? */
static bool was_let_go(const struct archive_catalog *catalog, struct actor actor,
                       uint64_t as_of_hlc)
{
    bool any = false, own = false, own_then = false;

    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        if (checkpoint->whole) {
            bool then = checkpoint->newest_hlc <= as_of_hlc;
            bool of_node = checkpoint->actor.node == actor.node;
            any = any || then;
            own = own || of_node;
            own_then = own_then || (then && of_node);
        }
    }
    return any && (own_then || !own);
}

bool catalog_next_gap(const struct archive_catalog *catalog, uint64_t as_of_hlc, size_t *at,
                      struct catalog_gap *gap)
{
    for (size_t i = *at; i < catalog->log_count; i++) {
        const struct catalog_log *behind = &catalog->logs[i];
        bool first = i == 0 || actor_compare(catalog->logs[i - 1].actor, behind->actor) != 0;
        const struct catalog_log *before = first ? NULL : &catalog->logs[i - 1];
        uint64_t number = first ? 0 : before->sequence;
        if (behind->sequence == number + 1 || (first ? was_let_go(catalog, behind->actor, as_of_hlc)
                                                     : newest_before(catalog, i) > as_of_hlc)) {
            continue;
        }
        bool told = !first && before->rc == 0 && before->bare && before->newest_hlc != 0;
        uint64_t newest = told ? before->newest_hlc : newest_behind(catalog, i);
        *gap = (struct catalog_gap){
            .actor = behind->actor,
            .first = number + 1,
            .last = behind->sequence - 1,
            .closed_hlc = catalog_closed_hlc(catalog, behind->actor, newest),
        };
        *at = i + 1;
        return true;
    }
    *at = catalog->log_count;
    return false;
}
