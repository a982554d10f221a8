#include "convert.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "checkpoint.h"
#include "kept_lacks.h"
#include "slot.h"
#include "store.h"

/* One old shard, read in order. */
struct source {
    struct store *store;
    struct checkpoint_key key;
    struct bytes record;
    int have; /* 1: key and record are its next. */
};

struct conversion {
    struct directory *directory;
    const struct convert_options *options;
    struct source sources[DIRECTORY_SHARDS_MAX];
    uint32_t source_count;
    uint64_t generation;
    uint32_t shards;
    uint64_t bytes, hlc; /* Of all old checkpoints. */
    uint64_t lacks[LACKS_WORDS];
    char *message;
    size_t message_size;
};

uint32_t convert_shard_of(uint64_t position, uint32_t shards)
{
    return slot_of_position(position) % shards;
}

/* ---- The old shards ---- */

static void note_lacks(struct conversion *conversion, uint32_t index)
{
    const uint32_t shards = conversion->directory->meta.shards;

    for (uint32_t slot = index; slot < SLOT_COUNT; slot += shards) {
        conversion->lacks[slot / 64] |=
            (uint64_t)store_lacks(conversion->sources[index].store, slot) << slot % 64;
    }
}

static int open_source(struct conversion *conversion, uint32_t index)
{
    struct directory *directory = conversion->directory;
    struct source *source = &conversion->sources[index];
    struct checkpoint_info info;
    char path[PATH_BYTES_MAX];
    uint64_t lsn;

    int rc = directory_shard_path(directory, directory->meta.generation, index, path);
    if (rc != 0) {
        return rc;
    }
    const struct store_options options = {
        .directory = path,
        .shard = index,
        .actor = directory->meta.actor,
        .seed = directory->meta.seed,
        .record_bytes_max = conversion->options->record_bytes_max,
        .map_bytes = conversion->options->map_bytes,
        .files = directory->files,
        .memory = conversion->options->memory,
        .reporter = conversion->options->reporter,
    };
    rc = store_open(&options, &source->store, conversion->message, conversion->message_size);
    if (rc != 0) {
        source->store = NULL;
        return rc;
    }
    conversion->source_count = index + 1;
    rc = store_restore(source->store, NULL, &lsn);
    if (rc == 0) {
        rc = store_compact(source->store);
    }
    note_lacks(conversion, index);
    checkpoint_info(store_checkpoint(source->store), &info);
    conversion->bytes += info.file_bytes;
    conversion->hlc = info.hlc > conversion->hlc ? info.hlc : conversion->hlc;
    return rc;
}

static int read_sources(struct conversion *conversion)
{
    for (uint32_t i = 0; i < conversion->source_count; i++) {
        struct source *source = &conversion->sources[i];
        struct checkpoint *checkpoint = store_checkpoint(source->store);
        source->have = checkpoint_read_begin(checkpoint);
        if (source->have == 0) {
            source->have = checkpoint_read_next(checkpoint, &source->key, &source->record);
        }
        if (source->have < 0) {
            return source->have;
        }
    }
    return 0;
}

static void rest_sources(struct conversion *conversion)
{
    for (uint32_t i = 0; i < conversion->source_count; i++) {
        checkpoint_read_end(store_checkpoint(conversion->sources[i].store));
    }
}

/* The source with the lowest key, or NULL at the end of all. */
static struct source *lowest(struct conversion *conversion)
{
    struct source *found = NULL;

    for (uint32_t i = 0; i < conversion->source_count; i++) {
        struct source *source = &conversion->sources[i];
        if (source->have == 1 &&
            (found == NULL || checkpoint_key_compare(source->key, found->key) < 0)) {
            found = source;
        }
    }
    return found;
}

/* ---- A new shard ---- */

static int fill(struct conversion *conversion, struct checkpoint *to, uint32_t shard)
{
    struct source *source;

    int rc = read_sources(conversion);
    while (rc == 0 && (source = lowest(conversion)) != NULL) {
        if (convert_shard_of(source->key.position, conversion->shards) == shard) {
            rc = checkpoint_build_put(to, source->key, source->record);
        }
        if (rc == 0) {
            source->have = checkpoint_read_next(store_checkpoint(source->store), &source->key,
                                                &source->record);
            rc = source->have < 0 ? source->have : 0;
        }
    }
    rest_sources(conversion);
    return rc;
}

static int build(struct conversion *conversion, struct checkpoint *to, uint32_t shard)
{
    int rc = checkpoint_build_begin(to, 0, conversion->hlc, conversion->bytes);
    if (rc != 0) {
        return rc;
    }
    rc = fill(conversion, to, shard);
    if (rc != 0) {
        checkpoint_build_abort(to);
        return rc;
    }
    return checkpoint_build_commit(to);
}

static int put_lacks(struct conversion *conversion, const char *path, uint32_t shard)
{
    uint64_t lacks[LACKS_WORDS] = {0};

    for (uint32_t slot = shard; slot < SLOT_COUNT; slot += conversion->shards) {
        lacks[slot / 64] |= conversion->lacks[slot / 64] & UINT64_C(1) << slot % 64;
    }
    return kept_lacks_put(conversion->directory->files, path, shard, lacks);
}

static int make_shard(struct conversion *conversion, uint32_t shard)
{
    struct checkpoint *checkpoint;
    char path[PATH_BYTES_MAX];

    int rc = directory_make_shard(conversion->directory, conversion->generation, shard);
    if (rc == 0) {
        rc = directory_shard_path(conversion->directory, conversion->generation, shard, path);
    }
    if (rc != 0) {
        return rc;
    }
    const struct checkpoint_options options = {
        .directory = path,
        .shard = shard,
        .map_bytes = conversion->options->map_bytes,
        .files = conversion->directory->files,
        .memory = conversion->options->memory,
        .reporter = conversion->options->reporter,
    };
    rc = checkpoint_open(&options, &checkpoint);
    if (rc != 0) {
        return rc;
    }
    while ((rc = build(conversion, checkpoint, shard)) == -EXFULL) {
        rc = checkpoint_grow(checkpoint);
        if (rc != 0) {
            break;
        }
    }
    checkpoint_close(checkpoint);
    return rc != 0 ? rc : put_lacks(conversion, path, shard);
}

static int convert(struct conversion *conversion)
{
    struct directory *directory = conversion->directory;

    int rc = directory_sweep(directory);
    for (uint32_t i = 0; i < directory->meta.shards && rc == 0; i++) {
        rc = open_source(conversion, i);
    }
    for (uint32_t i = 0; i < conversion->shards && rc == 0; i++) {
        rc = make_shard(conversion, i);
    }
    for (uint32_t i = 0; i < conversion->source_count; i++) {
        store_close(conversion->sources[i].store);
    }
    return rc != 0 ? rc : directory_commit(directory, conversion->generation, conversion->shards);
}

int convert_shards(struct directory *directory, const struct convert_options *options,
                   uint32_t shards, char *message, size_t message_size)
{
    struct memory *memory = options->memory;
    uint32_t before = directory->meta.shards;

    assert(shards > 0 && shards <= DIRECTORY_SHARDS_MAX && message_size > 0);
    if (shards == before) {
        return 0;
    }
    message[0] = '\0';
    struct conversion *conversion = memory->resize(memory, NULL, 0, sizeof *conversion);
    if (conversion == NULL) {
        snprintf(message, message_size, "out of memory");
        return -ENOMEM;
    }
    *conversion = (struct conversion){
        .directory = directory,
        .options = options,
        .generation = directory->meta.generation + 1,
        .shards = shards,
        .message = message,
        .message_size = message_size,
    };
    int rc = convert(conversion);
    memory->resize(memory, conversion, sizeof *conversion, 0);
    if (rc != 0 && message[0] == '\0') {
        snprintf(message, message_size, "cannot go from %u to %u shards: %s", before, shards,
                 strerror(-rc));
    }
    return rc;
}
