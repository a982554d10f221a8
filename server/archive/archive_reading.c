#include "archive_reading.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OBJECTS_FIRST = 64, LAST_SLOT = SLOT_COUNT - 1 };

/* Does this error say that something cannot be read, whatever is tried? Others end the reading. */
static bool is_damage(int rc)
{
    return rc == -EBADMSG || rc == -EPROTONOSUPPORT || rc == -ENOENT;
}

static void tell(struct archive_reading *reading, const struct archive_name *name, const char *why,
                 uint16_t first, uint16_t last)
{
    char text[ARCHIVE_NAME_BYTES], line[ARCHIVE_NAME_BYTES + 24];

    archive_name_put(text, name);
    int size = snprintf(line, sizeof line, "%s %u %u\n", text, first, last);
    const struct bytes one = bytes_of(line, (size_t)size);
    if (reading->lines.size > 0 &&
        memmem(reading->lines.data, reading->lines.size, one.data, one.size) != NULL) {
        return; /* It is read again, for other slots or for another plan. */
    }
    (void)buffer_append(&reading->lines, one); /* Else it may be told twice. */
    reading->told++;
    reading->damaged(reading->context, text, why, first, last);
}

static int no_memory(struct archive_reading *reading)
{
    snprintf(reading->access->text, sizeof reading->access->text, "out of memory");
    return -ENOMEM;
}

/* ---- Which objects ---- */

static void drop_objects(struct archive_reading *reading)
{
    for (size_t i = 0; i < reading->object_count; i++) {
        archive_reader_fini(&reading->objects[i].blocks);
    }
    reading->object_count = 0;
    reading->total_bytes = reading->spread_bytes = 0;
    memset(reading->weights, 0, sizeof reading->weights);
}

static void weigh(struct archive_reading *reading, const struct archive_block *block)
{
    uint32_t slots = (uint32_t)block->last_slot - block->first_slot + 1;

    reading->total_bytes += block->raw_size;
    reading->spread_bytes += (uint64_t)block->raw_size * slots / SLOT_COUNT;
    for (uint32_t slot = block->first_slot; slot <= block->last_slot; slot++) {
        reading->weights[slot] += block->raw_size / slots;
    }
}

/* A log has in order what its actor stamped of a slot, in each era. Returns 0 or negative errno: no memory. */
static int note_seen(struct archive_reading *reading, const struct archive_reader *reader)
{
    int rc = 0;

    for (uint32_t i = 0; i < reader->slot_count && rc == 0; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        for (uint32_t j = 0; j < slot->span_count && rc == 0; j++) {
            const struct archive_span *span = &slot->spans[j];
            if (!actor_is_of(span->actor, reader->header.name.actor)) {
                continue;
            }
            if (!seen_is_known(&reading->seen, slot->slot)) {
                seen_begin(&reading->seen, slot->slot);
            }
            rc = seen_advance(&reading->seen, slot->slot,
                              (struct stamp){span->newest_hlc, span->actor});
        }
    }
    return rc;
}

/* Add an object that can be opened. Returns 0; as the port; -ENOMEM. */
static int add_object(struct archive_reading *reading, const struct archive_name *name,
                      uint64_t size, uint32_t checkpoint)
{
    struct catalog_port *port = &reading->access->port;
    struct archive_reader *reader = NULL;

    if (reading->object_count == reading->object_capacity) {
        size_t capacity =
            reading->object_capacity == 0 ? OBJECTS_FIRST : reading->object_capacity * 2;
        struct reading_object *objects = realloc(reading->objects, capacity * sizeof *objects);
        if (objects == NULL) {
            return no_memory(reading);
        }
        reading->objects = objects;
        reading->object_capacity = capacity;
    }
    int rc = port->open(port, name, size, &reader);
    if (rc != 0) {
        return rc;
    }
    struct reading_object *object = &reading->objects[reading->object_count];
    *object = (struct reading_object){.name = *name, .checkpoint = checkpoint};
    if (archive_reader_keep_blocks(reader, &object->blocks) != 0) {
        return no_memory(reading);
    }
    reading->object_count++;
    for (uint32_t i = 0; i < object->blocks.block_count; i++) {
        weigh(reading, &object->blocks.blocks[i]);
    }
    rc = checkpoint == STATE_LOG ? note_seen(reading, reader) : 0;
    return rc == 0 ? 0 : no_memory(reading);
}

/* Parts will be opened. Returns 0 or -ENOMEM. */
static int expect_parts(struct archive_reading *reading,
                        const struct catalog_checkpoint *checkpoint, const uint64_t sizes[])
{
    int rc = 0;

    for (uint32_t part = 0; part < checkpoint->parts && rc == 0; part++) {
        const struct archive_name name = catalog_part_name(reading->catalog, checkpoint, part);
        rc = sizes[part] == 0 ? 0 : access_expect_open(reading->access, &name, sizes[part]);
    }
    return rc == 0 ? 0 : no_memory(reading);
}

/* Its parts that can be opened. Returns 0, with `broken` set where one cannot; as the port; -ENOMEM. */
static int add_parts(struct archive_reading *reading, size_t index, const uint64_t sizes[])
{
    const bool was_broken = reading->broken[index];

    for (uint32_t part = 0; part < reading->catalog->checkpoints[index].parts; part++) {
        const struct archive_name name =
            catalog_part_name(reading->catalog, &reading->catalog->checkpoints[index], part);
        int rc = sizes[part] == 0 ? -ENOENT
                                  : add_object(reading, &name, sizes[part],
                                               was_broken ? STATE_LOG : (uint32_t)index);
        if (rc != 0 && !is_damage(rc)) {
            return rc;
        }
        if (rc != 0 && !was_broken) {
            tell(reading, &name, access_error(rc), 0, LAST_SLOT);
            reading->broken[index] = true;
        }
    }
    return 0;
}

/* The parts of a checkpoint. Returns 0; -EAGAIN: it is damaged, which is new; as above. */
static int add_checkpoint(struct archive_reading *reading, size_t index)
{
    struct catalog_checkpoint *checkpoint = &reading->catalog->checkpoints[index];
    const bool was_broken = reading->broken[index];
    uint64_t *sizes = calloc((size_t)checkpoint->parts + 1, sizeof *sizes);

    if (sizes == NULL) {
        return no_memory(reading);
    }
    int rc = access_part_sizes(reading->access, reading->catalog, checkpoint, sizes);
    rc = rc != 0 ? rc : expect_parts(reading, checkpoint, sizes);
    rc = rc != 0 ? rc : add_parts(reading, index, sizes);
    free(sizes);
    access_expect_nothing(reading->access);
    if (rc == 0 && reading->broken[index] && !was_broken) {
        checkpoint->whole = false; /* The plan does without it. */
        return -EAGAIN;
    }
    return rc;
}

/* Log objects will be opened: those that are needed, or all. Returns 0 or -ENOMEM. */
static int expect_logs(struct archive_reading *reading, bool all)
{
    const struct archive_catalog *catalog = reading->catalog;

    for (size_t i = 0; i < catalog->log_count; i++) {
        const struct catalog_log *log = &catalog->logs[i];
        const struct archive_name name = catalog_log_name(catalog, log);
        if ((all || (log->needed && log->rc == 0)) &&
            access_expect_open(reading->access, &name, log->size) != 0) {
            return no_memory(reading);
        }
    }
    return 0;
}

static int collect(struct archive_reading *reading)
{
    struct archive_catalog *catalog = reading->catalog;
    int rc = 0;

    drop_objects(reading);
    for (size_t i = 0; i < catalog->checkpoint_count && rc == 0; i++) {
        if (catalog->checkpoints[i].needed || reading->broken[i]) {
            rc = add_checkpoint(reading, i);
        }
    }
    rc = rc != 0 ? rc : expect_logs(reading, false);
    for (size_t i = 0; i < catalog->log_count && rc == 0; i++) {
        const struct catalog_log *log = &catalog->logs[i];
        if (log->needed && log->rc == 0) {
            const struct archive_name name = catalog_log_name(catalog, log);
            rc = add_object(reading, &name, log->size, STATE_LOG);
        }
    }
    access_expect_nothing(reading->access);
    return rc;
}

static void drop_seen(struct archive_reading *reading)
{
    if (reading->seen_made) {
        seen_fini(&reading->seen);
        reading->seen_made = false;
    }
}

/* Plan and collect until nothing new is found to be damaged. */
static int plan(struct archive_reading *reading)
{
    struct archive_catalog *catalog = reading->catalog;
    struct catalog_gap gap;
    size_t at = 0;
    int rc;

    do {
        drop_seen(reading);
        rc = seen_init(&reading->seen, catalog->memory, SLOT_COUNT);
        if (rc != 0) {
            return no_memory(reading);
        }
        reading->seen_made = true;
        rc = expect_logs(reading, true);
        rc = rc != 0 ? rc
                     : catalog_plan(catalog, &reading->access->port, reading->as_of_hlc,
                                    &reading->seen);
        access_expect_nothing(reading->access);
        rc = rc != 0 ? rc : collect(reading);
    } while (rc == -EAGAIN);
    while (rc == 0 && !reading->gaps && catalog_next_gap(catalog, reading->as_of_hlc, &at, &gap)) {
        reading->gaps = gap.closed_hlc == 0 || gap.closed_hlc > reading->as_of_hlc;
    }
    return rc;
}

/* Log objects that cannot be opened, once. */
static void tell_logs(struct archive_reading *reading)
{
    const struct archive_catalog *catalog = reading->catalog;

    for (size_t i = 0; i < catalog->log_count; i++) {
        const struct catalog_log *log = &catalog->logs[i];
        if (log->rc != 0) {
            const struct archive_name name = catalog_log_name(catalog, log);
            tell(reading, &name, access_error(log->rc), 0, LAST_SLOT);
        }
    }
}

int reading_open(struct archive_reading *reading, struct archive_access *access,
                 struct archive_catalog *catalog, uint64_t as_of_hlc,
                 void (*damaged)(void *context, const char *name, const char *why,
                                 uint16_t first_slot, uint16_t last_slot),
                 void *context)
{
    memset(reading, 0, sizeof *reading);
    reading->access = access;
    reading->catalog = catalog;
    reading->as_of_hlc = as_of_hlc;
    reading->damaged = damaged;
    reading->context = context;
    reading->stored.memory = reading->raw.memory = reading->lines.memory = access->memory;
    reading->broken = calloc(catalog->checkpoint_count + 1, sizeof *reading->broken);
    int rc = reading->broken == NULL ? no_memory(reading) : plan(reading);
    if (rc != 0) {
        reading_close(reading);
        return rc;
    }
    tell_logs(reading);
    return 0;
}

void reading_close(struct archive_reading *reading)
{
    drop_objects(reading);
    drop_seen(reading);
    free(reading->objects);
    free(reading->broken);
    buffer_fini(&reading->stored);
    buffer_fini(&reading->raw);
    buffer_fini(&reading->lines);
    reading->objects = NULL;
    reading->broken = NULL;
}

uint64_t reading_range_bytes(const struct archive_reading *reading, uint64_t least, uint64_t most)
{
    uint64_t bytes = reading->spread_bytes;

    return bytes < least ? least : bytes > most ? most : bytes;
}

uint16_t reading_range(const struct archive_reading *reading, uint16_t first, uint64_t bytes_max)
{
    uint64_t bytes = reading->weights[first];
    uint16_t last = first;

    while (last < LAST_SLOT && bytes + reading->weights[last + 1] <= bytes_max) {
        bytes += reading->weights[++last];
    }
    return last;
}

/* ---- A range ---- */

/* The records of a block that are of the range. Returns 0; -EBADMSG; -ENOMEM. */
static int take_block(struct archive_reading *reading, const struct reading_object *object,
                      uint32_t block, uint16_t first, uint16_t last, struct archive_state *state)
{
    const struct archive_reader *reader = &object->blocks;
    struct archive_record record;
    struct archive_walk walk;
    bool damaged = false;

    int rc = archive_reader_block(reader, block, buffer_bytes(&reading->stored), &reading->raw);
    if (rc != 0) {
        return rc;
    }
    archive_walk_init(&walk, &reader->blocks[block], buffer_bytes(&reading->raw));
    while ((rc = archive_walk_next(&walk, &record)) == 1) {
        if (record.slot < first || record.slot > last) {
            continue;
        }
        rc = archive_state_add(state, &record, object->checkpoint);
        if (rc == -ENOMEM || rc == -EFBIG) {
            return rc;
        }
        damaged = damaged || rc != 0; /* The others of the block may be good. */
    }
    return rc == 0 && damaged ? -EBADMSG : rc;
}

/* Something of an object is damaged. Returns 0, or -EAGAIN: the plan is to be made anew without it. */
static int on_damage(struct archive_reading *reading, const struct reading_object *object, int rc,
                     uint16_t first, uint16_t last)
{
    tell(reading, &object->name, access_error(rc), first, last);
    if (object->checkpoint == STATE_LOG) {
        return 0;
    }
    reading->broken[object->checkpoint] = true;
    reading->catalog->checkpoints[object->checkpoint].whole = false;
    return -EAGAIN;
}

/* All blocks of the range will be read, object by object. Returns 0 or -ENOMEM. */
static int expect_blocks(struct archive_reading *reading, uint16_t first, uint16_t last)
{
    char name[ARCHIVE_NAME_BYTES];
    uint32_t from = 0;

    for (size_t i = 0; i < reading->object_count; i++) {
        const struct reading_object *object = &reading->objects[i];
        uint32_t count = archive_reader_blocks(&object->blocks, first, last, &from);
        archive_name_put(name, &object->name);
        for (uint32_t block = from; block < from + count; block++) {
            const struct archive_block *wanted = &object->blocks.blocks[block];
            if (access_expect(reading->access, name, wanted->offset, wanted->size) != 0) {
                return no_memory(reading);
            }
        }
    }
    return 0;
}

static int take_object(struct archive_reading *reading, const struct reading_object *object,
                       uint16_t first, uint16_t last, struct archive_state *state)
{
    char name[ARCHIVE_NAME_BYTES];
    uint32_t from = 0, count = archive_reader_blocks(&object->blocks, first, last, &from);

    archive_name_put(name, &object->name);
    for (uint32_t i = from; i < from + count; i++) {
        const struct archive_block *block = &object->blocks.blocks[i];
        int rc = access_get(reading->access, name, block->offset, block->size, &reading->stored);
        rc = rc != 0 ? rc : take_block(reading, object, i, first, last, state);
        if (rc == -ENOENT) {
            return on_damage(reading, object, rc, 0, LAST_SLOT);
        }
        if (rc != 0 && !is_damage(rc)) {
            return rc;
        }
        if (rc != 0) {
            rc = on_damage(reading, object, rc, block->first_slot, block->last_slot);
        }
        if (rc != 0) {
            return rc;
        }
    }
    return 0;
}

/* What the checkpoint covers of the range. */
static int take_vectors(struct archive_reading *reading, uint32_t index, uint16_t first,
                        uint16_t last, struct archive_state *state)
{
    struct archive_catalog *catalog = reading->catalog;
    struct catalog_checkpoint *checkpoint = &catalog->checkpoints[index];
    const struct archive_name name = catalog_done_name(catalog, checkpoint);
    struct catalog_port *port = &reading->access->port;
    struct archive_reader *reader = NULL;

    int rc = port->open(port, &name, checkpoint->done_size, &reader);
    if (is_damage(rc)) {
        const struct reading_object done = {.name = name, .checkpoint = index};
        return on_damage(reading, &done, rc, 0, LAST_SLOT);
    }
    for (uint32_t i = 0; rc == 0 && i < reader->slot_count; i++) {
        const struct archive_slot *slot = &reader->slots[i];
        if (slot->slot >= first && slot->slot <= last && slot->seen.size > 0) {
            rc = archive_state_cover(state, index, slot->slot, slot->seen);
        }
    }
    return rc;
}

static int take_all(struct archive_reading *reading, uint16_t first, uint16_t last,
                    struct archive_state *state)
{
    int rc = 0;

    archive_state_clear(state);
    for (uint32_t i = 0; i < reading->catalog->checkpoint_count && rc == 0; i++) {
        const struct catalog_checkpoint *checkpoint = &reading->catalog->checkpoints[i];
        if (checkpoint->needed && !reading->broken[i]) {
            rc = take_vectors(reading, i, first, last, state);
        }
    }
    rc = rc != 0 ? rc : expect_blocks(reading, first, last);
    for (size_t i = 0; i < reading->object_count && rc == 0; i++) {
        rc = take_object(reading, &reading->objects[i], first, last, state);
    }
    access_expect_nothing(reading->access);
    return rc != 0 ? rc : archive_state_finish(state);
}

int reading_take(struct archive_reading *reading, uint16_t first, uint16_t last,
                 struct archive_state *state)
{
    int rc;

    while ((rc = take_all(reading, first, last, state)) == -EAGAIN) {
        rc = plan(reading);
        if (rc != 0) {
            return rc;
        }
    }
    return rc == -ENOMEM ? no_memory(reading) : rc;
}

int reading_seen(const struct archive_reading *reading, uint16_t slot, struct buffer *to)
{
    if (reading->told > 0 || reading->gaps) {
        return 0;
    }
    int rc = seen_put(&reading->seen, slot, to);
    return rc == -ENOENT ? 0 : rc;
}
