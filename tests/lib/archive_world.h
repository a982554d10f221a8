/* An archive in memory, and a small cluster that writes it: every node has all sessions, takes writes, tells the others
 * later, in order, flushes its log as objects, makes checkpoints, forgets tombstones that all have, and goes from life
 * to life. What the archive should give as of any time is the join of all that was written up to then. */
#ifndef ARCHIVE_WORLD_H
#define ARCHIVE_WORLD_H

#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "archive_catalog.h"
#include "archive_state.h"
#include "heap.h"
#include "random.h"
#include "record.h"
#include "session.h"

enum {
    WORLD_NODES = 3,
    WORLD_KEYS = 8,
    WORLD_OBJECTS_MAX = 4096,
    WORLD_WRITES_MAX = 4096,
    WORLD_PARTS = 2,
    WORLD_BEGIN_MS = 1700000000,
};

struct world_object {
    struct archive_name name;
    uint8_t *bytes;
    size_t size;
    bool removed;
};

/* A write, as a whole record and, perhaps, a delta. */
struct world_write {
    uint32_t key;
    struct stamp stamp;
    uint8_t *record, *delta;
    size_t record_size, delta_size;
};

struct world_node {
    struct actor actor;
    struct buffer records[WORLD_KEYS];
    struct seen seen;
    uint32_t heard[WORLD_NODES];    /* Of each other node: how many of its writes. */
    uint32_t own[WORLD_WRITES_MAX]; /* Its writes, by number. */
    uint32_t own_count, flushed;
    bool based[WORLD_KEYS]; /* Archived by this actor since its last checkpoint. */
    uint64_t log_sequence, checkpoint_sequence;
};

struct world {
    struct catalog_port port; /* First. */
    uint64_t random;
    uint64_t now_ms;
    uint8_t cluster[CLUSTER_ID_BYTES];
    struct memory *memory;
    struct session_written written;
    struct buffer scratch;
    struct archive_writer writer;
    struct archive_reader reader;
    char keys[WORLD_KEYS][16];
    struct world_node nodes[WORLD_NODES];
    struct world_write writes[WORLD_WRITES_MAX];
    uint32_t write_count;
    struct world_object objects[WORLD_OBJECTS_MAX];
    uint32_t object_count, removed;
};

static inline struct bytes world_key(const struct world *world, uint32_t key)
{
    return bytes_of_string(world->keys[key]);
}

static int world_open(struct catalog_port *port, const struct archive_name *name, uint64_t size,
                      struct archive_reader **reader)
{
    struct world *world = (struct world *)port;

    (void)size;
    for (uint32_t i = 0; i < world->object_count; i++) {
        struct world_object *object = &world->objects[i];
        if (!object->removed && object->name.kind == name->kind &&
            archive_name_compare(&object->name, name) == 0) {
            uint64_t wanted;
            *reader = &world->reader;
            return archive_reader_open(&world->reader, bytes_of(object->bytes, object->size),
                                       object->size, &wanted);
        }
    }
    return -ENOENT;
}

static inline void world_init(struct world *world, uint64_t seed)
{
    memset(world, 0, sizeof *world);
    world->port.open = world_open;
    world->random = seed;
    world->memory = heap_memory();
    world->now_ms = (uint64_t)WORLD_BEGIN_MS * 1000;
    session_written_init(&world->written, world->memory);
    world->scratch.memory = world->memory;
    archive_writer_init(&world->writer, world->memory);
    archive_reader_init(&world->reader, world->memory, NULL);
    for (uint32_t i = 0; i < WORLD_KEYS; i++) {
        snprintf(world->keys[i], sizeof world->keys[i], "session-%u", i);
    }
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        struct world_node *node = &world->nodes[i];
        node->actor = (struct actor){i + 1, 1};
        assert_int_equal(seen_init(&node->seen, world->memory, SLOT_COUNT), 0);
        for (uint32_t key = 0; key < WORLD_KEYS; key++) {
            node->records[key].memory = world->memory;
            seen_begin(&node->seen, slot_of_key(world_key(world, key)));
        }
    }
}

static inline void world_fini(struct world *world)
{
    for (uint32_t i = 0; i < WORLD_NODES; i++) {
        seen_fini(&world->nodes[i].seen);
        for (uint32_t key = 0; key < WORLD_KEYS; key++) {
            buffer_fini(&world->nodes[i].records[key]);
        }
    }
    for (uint32_t i = 0; i < world->write_count; i++) {
        free(world->writes[i].record);
        free(world->writes[i].delta);
    }
    for (uint32_t i = 0; i < world->object_count; i++) {
        free(world->objects[i].bytes);
    }
    session_written_fini(&world->written);
    buffer_fini(&world->scratch);
    archive_writer_fini(&world->writer);
    archive_reader_fini(&world->reader);
}

/* ---- Writes ---- */

static inline void *world_copy(struct bytes bytes)
{
    void *copy = malloc(bytes.size + 1);

    assert_non_null(copy);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return copy;
}

static inline void world_set(struct buffer *record, struct bytes bytes)
{
    record->size = 0;
    assert_int_equal(buffer_append(record, bytes), 0);
}

/* A node writes a field of a session (`value` below 0: destroys it). */
static inline void world_write(struct world *world, uint32_t at, uint32_t key, int value)
{
    const struct session_rules rules = {
        .session_bytes_max = 1 << 20, .fields_max = 1000, .tombstone_keep_ms = 3600000};
    struct world_node *node = &world->nodes[at];
    struct buffer *record = &node->records[key];
    uint8_t list[64];
    char name[8] = "", text[16];

    snprintf(name, sizeof name, "f%d", value % 3);
    snprintf(text, sizeof text, "%d", value);
    const struct change change = {
        .operation = value < 0 ? CHANGE_DESTROY : CHANGE_SET,
        .name = value < 0 ? bytes_of("", 0) : bytes_of_string(name),
        .value = value < 0 ? bytes_of("", 0) : bytes_of_string(text),
    };
    const uint8_t *end = change_put(list, &change);
    const struct session_write write = {
        .key = world_key(world, key),
        .record = buffer_bytes(record),
        .rules = &rules,
        .now_ms = world->now_ms,
        .actor = node->actor,
        .type = SESSION_MAP,
        .changes = bytes_of(list, (size_t)(end - list)),
    };
    assert_int_equal(session_write(&write, &world->written), STATUS_OK);
    if (!world->written.changed) {
        return;
    }
    assert_true(world->write_count < WORLD_WRITES_MAX);
    struct bytes whole = buffer_bytes(&world->written.record);
    struct bytes delta = buffer_bytes(&world->written.delta);
    node->own[node->own_count++] = world->write_count;
    world->writes[world->write_count++] = (struct world_write){
        .key = key,
        .stamp = world->written.stamp,
        .record = world_copy(whole),
        .record_size = whole.size,
        .delta = world_copy(delta),
        .delta_size = delta.size,
    };
    world_set(record, whole);
    assert_int_equal(
        seen_advance(&node->seen, slot_of_key(world_key(world, key)), world->written.stamp), 0);
}

/* A node hears of the next write of another one. Returns whether there was one. */
static inline bool world_hear(struct world *world, uint32_t at, uint32_t from)
{
    struct world_node *node = &world->nodes[at], *other = &world->nodes[from];

    if (at == from || node->heard[from] == other->own_count) {
        return false;
    }
    const struct world_write *write = &world->writes[other->own[node->heard[from]++]];
    struct bytes record = bytes_of(write->record, write->record_size);
    struct buffer *mine = &node->records[write->key];
    if (mine->size == 0) {
        world_set(mine, record);
    } else {
        assert_int_equal(session_merge(buffer_bytes(mine), record, &world->scratch), 0);
        world_set(mine, buffer_bytes(&world->scratch));
    }
    assert_int_equal(
        seen_advance(&node->seen, slot_of_key(world_key(world, write->key)), write->stamp), 0);
    return true;
}

static inline void world_hear_all(struct world *world)
{
    for (uint32_t at = 0; at < WORLD_NODES; at++) {
        for (uint32_t from = 0; from < WORLD_NODES; from++) {
            while (world_hear(world, at, from)) {
            }
        }
    }
}

/* All nodes let go of tombstones, which all have. */
static inline void world_forget(struct world *world)
{
    struct session_view view;

    world_hear_all(world);
    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        struct buffer *record = &world->nodes[0].records[key];
        if (record->size == 0) {
            continue;
        }
        assert_int_equal(session_open(&view, buffer_bytes(record), world->now_ms), 0);
        for (uint32_t at = 0; !view.live && at < WORLD_NODES; at++) {
            world->nodes[at].records[key].size = 0;
            world->nodes[at].based[key] = false;
        }
    }
}

/* ---- Objects ---- */

static inline void world_begin_object(struct world *world, enum archive_kind kind,
                                      struct actor actor, uint64_t sequence, uint32_t part)
{
    struct archive_writer_options options = {
        .name = {.kind = kind, .actor = actor, .sequence = sequence, .part = part},
        .made_ms = world->now_ms,
        .level = 1,
        .parts = kind == ARCHIVE_DONE ? WORLD_PARTS : 0,
    };

    memcpy(options.name.cluster, world->cluster, sizeof world->cluster);
    archive_writer_begin(&world->writer, &options);
}

static inline struct world_object *world_put(struct world *world)
{
    struct bytes bytes;

    assert_int_equal(archive_writer_make(&world->writer, &bytes), 0);
    assert_true(world->object_count < WORLD_OBJECTS_MAX);
    struct world_object *object = &world->objects[world->object_count++];
    *object = (struct world_object){
        .name = world->writer.options.name, .bytes = world_copy(bytes), .size = bytes.size};
    return object;
}

static inline void world_flush(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];

    if (node->flushed == node->own_count) {
        return;
    }
    world_begin_object(world, ARCHIVE_LOG, node->actor, ++node->log_sequence, 0);
    for (; node->flushed < node->own_count; node->flushed++) {
        const struct world_write *write = &world->writes[node->own[node->flushed]];
        bool delta = node->based[write->key] && write->delta_size > 0;
        const struct archive_record record = {
            .kind = delta ? LOG_DELTA : LOG_FULL,
            .body = delta ? bytes_of(write->delta, write->delta_size)
                          : bytes_of(write->record, write->record_size),
        };
        assert_int_equal(archive_writer_add(&world->writer, &record, write->stamp), 0);
        node->based[write->key] = true;
    }
    world_put(world);
}

/* What a node has written since the last flush it has given up: a number is left out for it. */
static inline void world_give_up(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];

    assert_true(node->flushed < node->own_count);
    world_begin_object(world, ARCHIVE_LOG, node->actor, ++node->log_sequence, 0);
    uint64_t newest = world->writes[node->own[node->own_count - 1]].stamp.hlc;
    archive_writer_reach(&world->writer, newest, newest);
    world_put(world);
    node->log_sequence++;
    node->flushed = node->own_count;
    memset(node->based, 0, sizeof node->based);
}

/* A node archives in the place of another one what it has of its sessions, as they are here. */
static inline void world_take(struct world *world, uint32_t at, uint32_t from)
{
    struct world_node *node = &world->nodes[at];
    struct record opened;

    world_begin_object(world, ARCHIVE_LOG, node->actor, node->log_sequence + 1, 0);
    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        const struct archive_record record = {.kind = LOG_FULL,
                                              .body = buffer_bytes(&node->records[key])};
        if (record.body.size == 0) {
            continue;
        }
        assert_int_equal(record_open(&opened, record.body, RECORD_FORMAT), 0);
        if (opened.version.newest.actor.node == world->nodes[from].actor.node) {
            assert_int_equal(archive_writer_add(&world->writer, &record, opened.version.newest), 0);
        }
    }
    if (world->writer.records > 0) {
        node->log_sequence++;
        world_put(world);
    }
}

enum { WORLD_ALL_KEYS = (1 << WORLD_KEYS) - 1 };

/* A node archives what it has of the sessions of these bits (it owns no others). What it wrote before is in it. */
static inline void world_checkpoint(struct world *world, uint32_t at, uint32_t keys)
{
    struct world_node *node = &world->nodes[at];
    uint64_t sequence = ++node->checkpoint_sequence, least = UINT64_MAX, newest = 0;

    world_flush(world, at); /* As what is flushed later may only build on what comes after this. */
    for (uint32_t part = 0; part < WORLD_PARTS; part++) {
        world_begin_object(world, ARCHIVE_PART, node->actor, sequence, part);
        for (uint32_t key = part; key < WORLD_KEYS; key += WORLD_PARTS) {
            const struct archive_record record = {.kind = LOG_FULL,
                                                  .body = buffer_bytes(&node->records[key])};
            struct record opened;
            if (record.body.size == 0 || (keys >> key & 1) == 0) {
                continue;
            }
            assert_int_equal(record_open(&opened, record.body, RECORD_FORMAT), 0);
            assert_int_equal(archive_writer_add(&world->writer, &record, opened.version.newest), 0);
            uint64_t hlc = opened.version.newest.hlc;
            least = hlc < least ? hlc : least;
            newest = hlc > newest ? hlc : newest;
        }
        world_put(world);
    }
    world_begin_object(world, ARCHIVE_DONE, node->actor, sequence, 0);
    for (uint32_t key = 0; key < WORLD_KEYS; key++) {
        uint16_t slot = slot_of_key(world_key(world, key));
        node->based[key] = false;
        if ((keys >> key & 1) == 0) {
            continue;
        }
        world->scratch.size = 0;
        assert_int_equal(seen_put(&node->seen, slot, &world->scratch), 0);
        assert_int_equal(archive_writer_seen(&world->writer, slot, buffer_bytes(&world->scratch)),
                         0);
    }
    if (newest != 0) {
        archive_writer_reach(&world->writer, least, newest);
    }
    world_put(world);
}

/* The node's next life: all that is not flushed is, as others would do it. */
static inline void world_restart(struct world *world, uint32_t at)
{
    struct world_node *node = &world->nodes[at];

    world_flush(world, at);
    node->actor.start++;
    node->log_sequence = node->checkpoint_sequence = 0;
    memset(node->based, 0, sizeof node->based);
}

/* ---- Restores ---- */

static int world_compare(const void *left, const void *right)
{
    const struct world_object *const *a = left, *const *b = right;

    return archive_name_compare(&(*a)->name, &(*b)->name);
}

/* What the archive has now, as a listing gives it: logs, then checkpoints. */
static inline void world_list(struct world *world, struct archive_catalog *catalog)
{
    static const struct world_object *sorted[WORLD_OBJECTS_MAX];
    uint32_t count = 0;

    for (uint32_t i = 0; i < world->object_count; i++) {
        if (!world->objects[i].removed) {
            sorted[count++] = &world->objects[i];
        }
    }
    qsort(sorted, count, sizeof sorted[0], world_compare);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(catalog_add(catalog, &sorted[i]->name, sorted[i]->size), 0);
    }
}

/* Write all objects into a directory, as a store of files has them, but those that are removed. */
static inline void world_store(const struct world *world, const char *directory)
{
    for (uint32_t i = 0; i < world->object_count; i++) {
        const struct world_object *object = &world->objects[i];
        char name[ARCHIVE_NAME_BYTES], path[4096];
        if (object->removed) {
            continue;
        }
        archive_name_put(name, &object->name);
        snprintf(path, sizeof path, "%s/%s", directory, name);
        for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
            *at = '\0';
            assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
            *at = '/';
        }
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(object->bytes, 1, object->size, file), object->size);
        assert_int_equal(fclose(file), 0);
    }
}

/* Remove them, with what is deeper in that directory than scratch_remove() goes. */
static inline void world_unstore(const struct world *world, const char *directory)
{
    for (uint32_t i = 0; i < world->object_count; i++) {
        char name[ARCHIVE_NAME_BYTES], path[4096];
        archive_name_put(name, &world->objects[i].name);
        snprintf(path, sizeof path, "%s/%s", directory, name);
        /* Those directories, too, that are empty by then. */
        while (strlen(path) > strlen(directory) && (remove(path) == 0 || errno == ENOENT)) {
            *strrchr(path, '/') = '\0';
        }
    }
}

/* Add all records of an object. */
static inline void world_take_object(struct world *world, const struct archive_name *name,
                                     uint32_t checkpoint, struct archive_state *state)
{
    struct archive_reader *reader;
    struct archive_record record;
    struct archive_walk walk;

    assert_int_equal(world_open(&world->port, name, 0, &reader), 0);
    const struct world_object *object = NULL;
    for (uint32_t i = 0; i < world->object_count; i++) {
        if (archive_name_compare(&world->objects[i].name, name) == 0) {
            object = &world->objects[i];
        }
    }
    assert_non_null(object);
    for (uint32_t block = 0; block < reader->block_count; block++) {
        struct bytes stored =
            bytes_of(object->bytes + reader->blocks[block].offset, reader->blocks[block].size);
        assert_int_equal(archive_reader_block(reader, block, stored, &world->scratch), 0);
        archive_walk_init(&walk, &reader->blocks[block], buffer_bytes(&world->scratch));
        int rc;
        while ((rc = archive_walk_next(&walk, &record)) == 1) {
            assert_int_equal(archive_state_add(state, &record, checkpoint), 0);
        }
        assert_int_equal(rc, 0);
    }
}

/* What the needed checkpoints have seen. */
static inline void world_take_vectors(struct world *world, const struct archive_catalog *catalog,
                                      struct archive_state *state)
{
    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        const struct archive_name done = catalog_done_name(catalog, checkpoint);
        struct archive_reader *reader = NULL;
        if (!checkpoint->needed) {
            continue;
        }
        assert_int_equal(world_open(&world->port, &done, 0, &reader), 0);
        for (uint32_t j = 0; j < reader->slot_count; j++) {
            assert_int_equal(archive_state_cover(state, (uint32_t)i, reader->slots[j].slot,
                                                 reader->slots[j].seen),
                             0);
        }
    }
}

/* Restore as of a time, by the catalog's plan. `backwards`: objects are read in the other order, and vectors last, which
 * changes nothing. */
static inline void world_restore(struct world *world, uint64_t as_of_hlc, bool backwards,
                                 struct archive_state *state)
{
    struct archive_catalog catalog;
    struct seen cover;

    catalog_init(&catalog, world->memory);
    assert_int_equal(seen_init(&cover, world->memory, SLOT_COUNT), 0);
    world_list(world, &catalog);
    assert_int_equal(catalog_load(&catalog, &world->port), 0);
    assert_int_equal(catalog_plan(&catalog, &world->port, as_of_hlc, &cover), 0);
    archive_state_init(state, world->memory, as_of_hlc, NULL, NULL);
    if (!backwards) {
        world_take_vectors(world, &catalog, state);
    }
    for (size_t i = 0; i < catalog.log_count; i++) {
        const struct catalog_log *log = &catalog.logs[backwards ? catalog.log_count - 1 - i : i];
        if (log->needed) {
            const struct archive_name name = catalog_log_name(&catalog, log);
            world_take_object(world, &name, STATE_LOG, state);
        }
    }
    for (size_t i = 0; i < catalog.checkpoint_count; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog.checkpoints[i];
        for (uint32_t part = 0; checkpoint->needed && part < checkpoint->parts; part++) {
            const struct archive_name name = catalog_part_name(&catalog, checkpoint, part);
            world_take_object(world, &name, (uint32_t)i, state);
        }
    }
    if (backwards) {
        world_take_vectors(world, &catalog, state);
    }
    assert_int_equal(archive_state_finish(state), 0);
    seen_fini(&cover);
    catalog_fini(&catalog);
}

/* What a session shows: its fields, as text; "" where there is none. */
static inline void world_show(struct bytes record, uint64_t now_ms, char *text, size_t size)
{
    struct session_view view;
    struct session_field field;
    size_t at = 0;

    text[0] = '\0';
    if (record.size == 0) {
        return;
    }
    assert_int_equal(session_open(&view, record, now_ms), 0);
    while (view.live && session_next(&view, true, &field)) {
        at += (size_t)snprintf(text + at, size - at, "%.*s=%.*s%s ", (int)field.name.size,
                               (const char *)field.name.data, (int)field.value.size,
                               (const char *)field.value.data, field.sibling ? "+" : "");
        assert_true(at < size);
    }
}

/* What it should show: all writes up to that time, joined. */
static inline void world_truth(struct world *world, uint32_t key, uint64_t as_of_hlc, char *text,
                               size_t size)
{
    struct buffer joined = {.memory = world->memory}, scratch = {.memory = world->memory};

    for (uint32_t i = 0; i < world->write_count; i++) {
        const struct world_write *write = &world->writes[i];
        struct bytes record = bytes_of(write->record, write->record_size);
        if (write->key != key || write->stamp.hlc > as_of_hlc) {
            continue;
        }
        if (joined.size == 0) {
            world_set(&joined, record);
        } else {
            assert_int_equal(session_merge(buffer_bytes(&joined), record, &scratch), 0);
            world_set(&joined, buffer_bytes(&scratch));
        }
    }
    world_show(buffer_bytes(&joined), world->now_ms, text, size);
    buffer_fini(&joined);
    buffer_fini(&scratch);
}

#endif
