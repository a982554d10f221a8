#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "checkpoint_state.h"
#include "session.h"
#include "slot.h"

enum { READ_SLICE_BYTES = 2 * 1024 * 1024 /* Pages of the map are let go after so much. */ };
#define MAP_BYTES_MIN (UINT64_C(1) << 20)

void checkpoint_report_damage(const struct checkpoint *checkpoint, const struct checkpoint_key *key,
                              struct bytes record)
{
    const struct store_report report = {
        .event = STORE_CHECKPOINT_DAMAGED,
        .shard = checkpoint->options.shard,
        .size = record.size,
        .lsn = checkpoint->info.lsn,
        .key = session_key(record),
        .in_slot = key != NULL,
        .slot = key == NULL ? 0 : slot_of_position(key->position),
    };

    checkpoint->options.reporter->report(checkpoint->options.reporter, &report);
}

int checkpoint_path(const struct checkpoint *checkpoint, uint64_t number, bool building,
                    char path[PATH_BYTES_MAX])
{
    int size = snprintf(path, PATH_BYTES_MAX, "%s/checkpoint-%010" PRIu64 "%s",
                        checkpoint->options.directory, number, building ? ".tmp" : "");

    return size < 0 || size >= PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

static int read_info(struct checkpoint *checkpoint)
{
    MDB_txn *txn;
    MDB_stat stat;

    int rc = checkpoint_error(mdb_txn_begin(checkpoint->env, NULL, MDB_RDONLY, &txn));
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_meta_get(checkpoint, txn, checkpoint->dbi, &checkpoint->info);
    if (rc == 0) {
        rc = checkpoint_error(mdb_stat(txn, checkpoint->dbi, &stat));
    }
    if (rc == 0) {
        checkpoint->info.sessions = stat.ms_entries - 1;
        checkpoint_environment_size(checkpoint->env, &checkpoint->info.file_bytes);
    }
    mdb_txn_abort(txn);
    return rc;
}

int checkpoint_open_environment(struct checkpoint *checkpoint)
{
    char path[PATH_BYTES_MAX];

    if (checkpoint->env != NULL) {
        return 0;
    }
    int rc = checkpoint_path(checkpoint, checkpoint->number, false, path);
    if (rc == 0) {
        unsigned flags = checkpoint->options.inspect ? MDB_NOLOCK : 0;
        rc = checkpoint_environment_open(path, checkpoint->map_bytes, flags, &checkpoint->env,
                                         &checkpoint->dbi);
    }
    checkpoint->info_read = false;
    if (rc == 0) {
        checkpoint->map = checkpoint_environment_map(checkpoint->env, checkpoint->dbi);
    }
    checkpoint->fetched_bytes = 0;
    return rc;
}

void checkpoint_close_environment(struct checkpoint *checkpoint)
{
    if (checkpoint->env != NULL) {
        mdb_env_close(checkpoint->env);
        checkpoint->env = NULL;
    }
}

/* Open the environment where it rests. What it says of itself counts, also after a failed commit. */
int checkpoint_awake(struct checkpoint *checkpoint)
{
    assert(checkpoint->number != 0);
    pthread_rwlock_wrlock(&checkpoint->lock);
    int rc = checkpoint_open_environment(checkpoint);
    if (rc == 0 && !checkpoint->info_read) {
        rc = read_info(checkpoint);
        checkpoint->info_read = rc == 0;
        if (rc != 0) {
            checkpoint_close_environment(checkpoint);
        }
    }
    pthread_rwlock_unlock(&checkpoint->lock);
    return rc;
}

void checkpoint_rest(struct checkpoint *checkpoint)
{
    assert(checkpoint->txn == NULL && checkpoint->new_env == NULL);
    pthread_rwlock_wrlock(&checkpoint->lock);
    checkpoint_close_environment(checkpoint);
    pthread_rwlock_unlock(&checkpoint->lock);
}

int checkpoint_grow(struct checkpoint *checkpoint)
{
    assert(checkpoint->txn == NULL && checkpoint->new_env == NULL);
    pthread_rwlock_wrlock(&checkpoint->lock);
    checkpoint->map_bytes *= 2;
    checkpoint_close_environment(checkpoint);
    pthread_rwlock_unlock(&checkpoint->lock);
    return 0;
}

void checkpoint_let_go(struct checkpoint *checkpoint)
{
    uint64_t bytes;

    if (checkpoint->map != NULL) {
        checkpoint_environment_size(checkpoint->env, &bytes);
        (void)madvise(checkpoint->map, (size_t)bytes, MADV_DONTNEED);
    }
}

void checkpoint_info(const struct checkpoint *checkpoint, struct checkpoint_info *info)
{
    *info = checkpoint->info;
}

bool checkpoint_is_broken(const struct checkpoint *checkpoint)
{
    return checkpoint->broken;
}

/* ---- Opening ---- */

struct search {
    struct checkpoint *checkpoint;
    uint64_t found;
};

/* Sets `number`; `building` where it is half done. Returns whether the name is of this kind. */
static bool name_parse(const char *name, uint64_t *number, bool *building)
{
    int end = 0;

    if (sscanf(name, "checkpoint-%10" SCNu64 "%n", number, &end) != 1 || end != 21) {
        return false;
    }
    *building = strcmp(name + end, ".tmp") == 0;
    return *building || name[end] == '\0';
}

static int search_newest(void *context, const char *name)
{
    struct search *search = context;
    uint64_t number;
    bool building;

    if (name_parse(name, &number, &building) && !building && number > search->found) {
        search->found = number;
    }
    return 0;
}

static int remove_others(void *context, const char *name)
{
    struct checkpoint *checkpoint = context;
    char path[PATH_BYTES_MAX];
    uint64_t number;
    bool building;

    if (!name_parse(name, &number, &building) || (!building && number == checkpoint->number)) {
        return 0;
    }
    int rc = checkpoint_path(checkpoint, number, building, path);
    return rc != 0 ? rc : files_remove_tree(checkpoint->options.files, path);
}

int checkpoint_make_name_sure(struct checkpoint *checkpoint)
{
    struct files *files = checkpoint->options.files;

    if (!checkpoint->name_unsure) {
        return 0;
    }
    int rc = files->sync_directory(files, checkpoint->options.directory);
    if (rc == 0) {
        checkpoint->name_unsure = false;
        (void)files_list(checkpoint->options.directory, remove_others,
                         checkpoint); /* Or the next. */
    }
    return rc;
}

static int load(struct checkpoint *checkpoint)
{
    struct search search = {.checkpoint = checkpoint};

    int rc = files_list(checkpoint->options.directory, search_newest, &search);
    if (rc != 0) {
        return rc;
    }
    checkpoint->number = search.found;
    if (checkpoint->number != 0) {
        rc = checkpoint_awake(checkpoint);
    }
    if (rc != 0 || checkpoint->options.inspect) {
        return rc;
    }
    checkpoint->name_unsure =
        checkpoint->number != 0; /* Who renamed it may have been killed at that. */
    rc = checkpoint_make_name_sure(checkpoint);
    if (rc != 0) {
        return rc;
    }
    return files_list(checkpoint->options.directory, remove_others, checkpoint);
}

/* Who wants to change the environment comes before who fetches next: fetches never end. */
static void init_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
}

int checkpoint_open(const struct checkpoint_options *options, struct checkpoint **checkpoint)
{
    struct checkpoint *made = options->memory->resize(options->memory, NULL, 0, sizeof *made);

    if (made == NULL) {
        return -ENOMEM;
    }
    *made = (struct checkpoint){
        .options = *options,
        .map_bytes = options->map_bytes < MAP_BYTES_MIN ? MAP_BYTES_MIN : options->map_bytes,
    };
    init_lock(&made->lock);
    pthread_mutex_init(&made->fetching, NULL);
    int rc = load(made);
    if (rc != 0) {
        checkpoint_close(made);
        return rc;
    }
    *checkpoint = made;
    return 0;
}

void checkpoint_close(struct checkpoint *checkpoint)
{
    if (checkpoint == NULL) {
        return;
    }
    struct memory *memory = checkpoint->options.memory;
    checkpoint_rest(checkpoint);
    pthread_rwlock_destroy(&checkpoint->lock);
    pthread_mutex_destroy(&checkpoint->fetching);
    memory->resize(memory, checkpoint, sizeof *checkpoint, 0);
}

/* ---- Reading ---- */

/* Pages of the map count as this process's memory until they are let go. Only reading transactions may
 * end here: what a changing one returns may lie in the heap. */
static void let_go(struct checkpoint *checkpoint)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    if (checkpoint->seen_low != NULL) {
        uint8_t *low = checkpoint->seen_low - (uintptr_t)checkpoint->seen_low % page;
        (void)madvise(low, (size_t)(checkpoint->seen_high - low), MADV_DONTNEED);
    }
    checkpoint->seen_low = checkpoint->seen_high = NULL;
    checkpoint->seen_bytes = 0;
}

static void saw(struct checkpoint *checkpoint, const MDB_val *value)
{
    uint8_t *low = value->mv_data, *high = low + value->mv_size;

    if (checkpoint->seen_low == NULL || low < checkpoint->seen_low) {
        checkpoint->seen_low = low;
    }
    if (high > checkpoint->seen_high) {
        checkpoint->seen_high = high;
    }
    checkpoint->seen_bytes += value->mv_size;
}

int checkpoint_read_begin(struct checkpoint *checkpoint)
{
    assert(checkpoint->txn == NULL);
    checkpoint->walked = false;
    if (checkpoint->number == 0) {
        return 0;
    }
    int rc = checkpoint_awake(checkpoint);
    if (rc == 0) {
        rc = checkpoint_error(mdb_txn_begin(checkpoint->env, NULL, MDB_RDONLY, &checkpoint->txn));
    }
    if (rc != 0) {
        return rc;
    }
    rc = checkpoint_error(mdb_cursor_open(checkpoint->txn, checkpoint->dbi, &checkpoint->cursor));
    if (rc != 0) {
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
    }
    return rc;
}

int checkpoint_read_key(struct checkpoint *checkpoint, struct checkpoint_key *key)
{
    MDB_val found = {0};

    if (checkpoint->number == 0) {
        return 0;
    }
    if (checkpoint->seen_bytes >= READ_SLICE_BYTES) {
        let_go(checkpoint);
    }
    for (;;) {
        MDB_val *value = &checkpoint->value;
        int rc = checkpoint_cursor_get(checkpoint, checkpoint->cursor, &found, value, MDB_NEXT);
        if (rc == -EBADMSG) {
            rc = checkpoint_skip(checkpoint, &found, value);
        }
        if (rc != 0) {
            return rc == -ENOENT ? 0 : rc;
        }
        if (found.mv_size == CHECKPOINT_META_KEY_BYTES) {
            continue;
        }
        saw(checkpoint, value);
        /* Keys come in order; one that does not is part of a damaged page. */
        if (found.mv_size == CHECKPOINT_KEY_BYTES &&
            (!checkpoint->walked ||
             memcmp(found.mv_data, checkpoint->key, CHECKPOINT_KEY_BYTES) > 0)) {
            checkpoint->walked = true;
            memcpy(checkpoint->key, found.mv_data, CHECKPOINT_KEY_BYTES);
            *key = (struct checkpoint_key){load_u64_big(checkpoint->key),
                                           load_u64_big(checkpoint->key + 8)};
            return 1;
        }
        checkpoint_report_damage(checkpoint, NULL, bytes_of(NULL, 0));
    }
}

bool checkpoint_read_record(struct checkpoint *checkpoint, struct bytes *record)
{
    const MDB_val key = {.mv_size = CHECKPOINT_KEY_BYTES, .mv_data = checkpoint->key};

    if (checkpoint_value_parse(&key, &checkpoint->value, record) == 0) {
        return true;
    }
    const struct checkpoint_key read = {load_u64_big(checkpoint->key),
                                        load_u64_big(checkpoint->key + 8)};
    checkpoint_report_damage(checkpoint, &read, *record);
    return false;
}

int checkpoint_read_next(struct checkpoint *checkpoint, struct checkpoint_key *key,
                         struct bytes *record)
{
    int rc;

    do {
        rc = checkpoint_read_key(checkpoint, key);
    } while (rc == 1 && !checkpoint_read_record(checkpoint, record));
    return rc;
}

void checkpoint_read_end(struct checkpoint *checkpoint)
{
    if (checkpoint->txn != NULL) {
        mdb_cursor_close(checkpoint->cursor);
        mdb_txn_abort(checkpoint->txn);
        checkpoint->txn = NULL;
        checkpoint->cursor = NULL;
    }
    let_go(checkpoint);
}
