#include "directory.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "bytes.h"
#include "directory_begin.h"
#include "directory_empty.h"
#include "directory_lock.h"
#include "directory_meta.h"

enum {
    COPY_STARTS = 1 << 20,
    KEEPING_BYTES = 64 * 1024, /* About what a node begins with. */
};

static const char meta_name[] = DIRECTORY_META_NAME;

__attribute__((format(printf, 3, 4))) static void tell(char *message, size_t size,
                                                       const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, size, format, arguments);
    va_end(arguments);
}

/* ---- Opening ---- */

/* An empty file, so that a directory that is empty is one whose files were removed. */
static int put_made(const struct directory *directory, uint32_t shard)
{
    struct files *files = directory->files;
    char path[PATH_BYTES_MAX], made[PATH_BYTES_MAX];

    int rc = directory_shard_path(directory, directory->meta.generation, shard, path);
    if (rc == 0) {
        rc = path_join(made, path, DIRECTORY_MADE_NAME);
    }
    if (rc != 0) {
        return rc;
    }
    int fd = files->open(files, made, O_WRONLY | O_CREAT);
    if (fd < 0) {
        return fd;
    }
    files->close(files, fd);
    return files->sync_directory(files, path);
}

/* The name of the data directory itself. Where its parent may not be read (0711) that has to do. */
static int sync_parent(const struct directory *directory)
{
    char path[PATH_BYTES_MAX];
    size_t size = strlen(directory->path);

    memcpy(path, directory->path, size + 1);
    while (size > 0 && path[size - 1] == '/') {
        path[--size] = '\0';
    }
    while (size > 0 && path[size - 1] != '/') {
        path[--size] = '\0';
    }
    int rc = directory->files->sync_directory(directory->files, size > 0 ? path : ".");
    return rc == -EACCES ? 0 : rc;
}

/* Of the first node of a new cluster. */
static int make_identity(struct directory_identity *identity)
{
    uint8_t random[CLUSTER_ID_BYTES + CLUSTER_SECRET_BYTES + 8];

    if (getrandom(random, sizeof random, 0) != sizeof random) {
        return -EIO;
    }
    memcpy(identity->cluster, random, CLUSTER_ID_BYTES);
    memcpy(identity->secret, random + CLUSTER_ID_BYTES, CLUSTER_SECRET_BYTES);
    identity->seed = load_u64(random + CLUSTER_ID_BYTES + CLUSTER_SECRET_BYTES);
    identity->node = DIRECTORY_FIRST_NODE;
    return 0;
}

static int look_new(const struct directory *directory, char *message, size_t message_size)
{
    int rc = directory_check_empty(directory, message, message_size);

    if (rc != 0) {
        return rc;
    }
    rc = sync_parent(directory);
    if (rc != 0) {
        tell(message, message_size, "the directory of %s: %s", directory->path, strerror(-rc));
    }
    return rc;
}

/* Who enters a cluster is a member of it from then on: that nothing can be kept here is to be found before. */
static int try_keeping(const struct directory *directory, char *message, size_t message_size)
{
    static const uint8_t nothing[KEEPING_BYTES];
    char path[PATH_BYTES_MAX];

    int rc = path_join(path, directory->path, DIRECTORY_JOINED_NAME);
    if (rc == 0) {
        rc = files_replace(directory->files, directory->path, DIRECTORY_JOINED_NAME, nothing,
                           sizeof nothing);
    }
    if (rc == 0) {
        rc = directory->files->remove(directory->files, path);
    }
    if (rc != 0) {
        tell(message, message_size, "%s: cannot keep anything there: %s", directory->path,
             strerror(-rc));
    }
    return rc;
}

static int identify(const struct directory *directory, const struct directory_entrance *entrance,
                    struct directory_identity *identity, char *message, size_t message_size)
{
    if (entrance != NULL) {
        int rc = try_keeping(directory, message, message_size);
        if (rc != 0) {
            return rc;
        }
        return entrance->enter(entrance->context, identity, message, message_size);
    }
    int rc = make_identity(identity);
    if (rc != 0) {
        tell(message, message_size, "cannot get random numbers: %s", strerror(-rc));
    }
    return rc;
}

/* A first start that was cut short may have left another one. */
static int put_beginning(const struct directory *directory, struct directory_identity *identity)
{
    char path[PATH_BYTES_MAX];

    if (identity->beginning.size > 0) {
        int rc = directory_put_beginning(directory, buffer_bytes(&identity->beginning),
                                         identity->beginning.memory);
        buffer_fini(&identity->beginning);
        return rc;
    }
    int rc = path_join(path, directory->path, DIRECTORY_JOINED_NAME);
    rc = rc == 0 ? directory->files->remove(directory->files, path) : rc;
    return rc == -ENOENT ? 0 : rc;
}

static int create(struct directory *directory, uint32_t shards,
                  const struct directory_entrance *entrance, char *message, size_t message_size)
{
    struct directory_identity identity = {.node = 0};
    uint64_t id;

    int rc = look_new(directory, message, message_size);
    if (rc == 0) {
        rc = identify(directory, entrance, &identity, message, message_size);
    }
    if (rc != 0) {
        return rc;
    }
    rc = getrandom(&id, sizeof id, 0) == sizeof id ? 0 : -EIO;
    if (rc == 0) {
        rc = put_beginning(directory, &identity);
    }
    if (rc != 0) {
        tell(message, message_size, "%s: %s", directory->path, strerror(-rc));
        return rc;
    }
    directory->created = true;
    directory->meta = (struct directory_meta){
        .id = id,
        .seed = identity.seed,
        .actor = {.node = identity.node, .start = 0},
        .shards = shards,
        .generation = 1,
    };
    memcpy(directory->meta.cluster, identity.cluster, CLUSTER_ID_BYTES);
    memcpy(directory->meta.secret, identity.secret, CLUSTER_SECRET_BYTES);
    /* Before META: where that is there, directories that are not were lost. */
    for (uint32_t i = 0; i < shards && rc == 0; i++) {
        rc = directory_make_shard(directory, directory->meta.generation, i);
        rc = rc != 0 ? rc : put_made(directory, i);
    }
    if (rc != 0) {
        tell(message, message_size, "%s: cannot make the directories of the shards: %s",
             directory->path, strerror(-rc));
    }
    return rc;
}

/* A directory that META speaks of. */
static int check_there(struct files *files, const char *path, char *message, size_t message_size)
{
    int fd = files->open(files, path, O_RDONLY | O_DIRECTORY);

    if (fd >= 0) {
        files->close(files, fd);
        return 0;
    }
    if (fd == -ENOENT) {
        tell(message, message_size,
             "%s is missing, and the sessions in it with it; bring it back (is something not "
             "mounted?) or, to go on without them, make it anew, empty",
             path);
    } else {
        tell(message, message_size, "%s: %s", path, strerror(-fd));
    }
    return fd;
}

static int check_shards(const struct directory *directory, char *message, size_t message_size)
{
    const struct directory_meta *meta = &directory->meta;
    char path[PATH_BYTES_MAX];

    int rc = directory_generation_path(directory, meta->generation, path);
    if (rc == 0) {
        rc = check_there(directory->files, path, message, message_size);
    }
    for (uint32_t i = 0; i < meta->shards && rc == 0; i++) {
        rc = directory_shard_path(directory, meta->generation, i, path);
        if (rc == 0) {
            rc = check_there(directory->files, path, message, message_size);
        }
    }
    return rc;
}

/* One of version 1 had none. It keeps its seed: by that its sessions lie where they do. */
static int give_cluster(struct directory_meta *meta)
{
    static const uint8_t none[CLUSTER_ID_BYTES];
    struct directory_identity identity;

    if (memcmp(meta->cluster, none, sizeof none) != 0) {
        return 0;
    }
    int rc = make_identity(&identity);
    if (rc == 0) {
        memcpy(meta->cluster, identity.cluster, CLUSTER_ID_BYTES);
        memcpy(meta->secret, identity.secret, CLUSTER_SECRET_BYTES);
    }
    return rc;
}

static int check_cluster(const struct directory *directory,
                         const struct directory_entrance *entrance, char *message,
                         size_t message_size)
{
    if (entrance == NULL ||
        memcmp(directory->meta.cluster, entrance->cluster, CLUSTER_ID_BYTES) == 0) {
        return 0;
    }
    tell(message, message_size,
         "%s is of another cluster than the one to join; to join with it, name another, empty "
         "directory in storage.dir "
         "(and `belayctl import` copies what this one holds)",
         directory->path);
    return -EEXIST;
}

static int load(struct directory *directory, char *message, size_t message_size)
{
    int rc = directory_meta_read(directory);

    if (rc == -EPROTONOSUPPORT) {
        tell(message, message_size,
             "%s was written by a later version of Belay, whose format this one does not know: "
             "start "
             "that one, or name another directory in storage.dir",
             directory->path);
    } else if (rc == -EBADMSG) {
        tell(message, message_size,
             "%s/%s is damaged; bring it back from a copy of this directory (without it the "
             "sessions "
             "beside it cannot be read)",
             directory->path, meta_name);
    } else if (rc != 0 && rc != -ENOENT) {
        tell(message, message_size, "%s/%s: %s", directory->path, meta_name, strerror(-rc));
    }
    return rc;
}

/* ---- Life ---- */

/* A new life, unless the last one ended cleanly; "clean" is taken back either way. */
static int begin_life(struct directory *directory)
{
    struct directory_meta *meta = &directory->meta;
    uint64_t inode = directory_lock_inode(directory);
    uint64_t random = 0;

    directory->copied = !directory->created && inode != meta->inode;
    if (directory->copied) {
        if (getrandom(&random, sizeof random, 0) != sizeof random) {
            return -EIO;
        }
        meta->id = random;
    }
    directory->resumed = !directory->copied && meta->clean;
    if (!directory->resumed) {
        meta->actor.start += 1 + (uint32_t)(random % COPY_STARTS);
        if (meta->actor.start >> ACTOR_START_BITS != 0) {
            return -EOVERFLOW;
        }
    }
    meta->run += 1 + (uint32_t)(random % COPY_STARTS);
    meta->clean = false;
    meta->inode = inode;
    int rc = give_cluster(meta);
    return rc != 0 ? rc : directory_meta_write(directory);
}

static int open_path(struct directory *directory, struct files *files, const char *path, bool make,
                     char *message, size_t message_size)
{
    *directory = (struct directory){.files = files, .lock_fd = -1, .whole_fd = -1};
    if (snprintf(directory->path, sizeof directory->path, "%s", path) >=
        (int)sizeof directory->path - 128) {
        tell(message, message_size, "the path of the data directory is too long");
        return -ENAMETOOLONG;
    }
    return directory_lock(directory, make, message, message_size);
}

int directory_open(struct directory *directory, struct files *files, const char *path,
                   uint32_t shards, const struct directory_entrance *entrance, char *message,
                   size_t message_size)
{
    assert(shards != 0 && shards <= DIRECTORY_SHARDS_MAX);
    int rc = files->make_directory(files, path);
    if (rc != 0 && rc != -EEXIST) {
        tell(message, message_size, "cannot make %s: %s", path, strerror(-rc));
        return rc;
    }
    rc = open_path(directory, files, path, true, message, message_size);
    if (rc != 0) {
        return rc;
    }
    rc = load(directory, message, message_size);
    if (rc == 0) {
        rc = check_cluster(directory, entrance, message, message_size);
        rc = rc != 0 ? rc : check_shards(directory, message, message_size);
    } else if (rc == -ENOENT) {
        rc = create(directory, shards, entrance, message, message_size);
    }
    if (rc != 0) {
        goto unlock;
    }
    rc = begin_life(directory);
    if (rc == 0) {
        rc = directory_lock_sign(directory);
    }
    if (rc == 0) {
        rc = directory_sweep(directory);
    }
    if (rc == -EOVERFLOW) {
        tell(message, message_size,
             "%s: was started and copied so often that no number is left for one start more; "
             "a node with an empty data directory can take its place in the cluster",
             path);
        goto unlock;
    }
    if (rc != 0) {
        tell(message, message_size, "%s: cannot write %s and %s: %s%s", path, meta_name,
             DIRECTORY_LOCK_NAME, strerror(-rc),
             rc == -ENOSPC ? "; make some room (a few KiB are enough to begin)" : "");
        goto unlock;
    }
    directory_make_reserve(directory);
    return 0;

unlock:
    directory_close(directory);
    return rc;
}

int directory_inspect(struct directory *directory, struct files *files, const char *path,
                      char *message, size_t message_size)
{
    int rc = open_path(directory, files, path, false, message, message_size);
    if (rc != 0) {
        return rc;
    }
    rc = load(directory, message, message_size);
    if (rc == -ENOENT) {
        tell(message, message_size, "%s is no data directory of Belay: it has no %s", path,
             meta_name);
    }
    if (rc != 0) {
        directory_close(directory);
    }
    return rc;
}

void directory_close(struct directory *directory)
{
    if (directory->lock_fd >= 0) {
        directory->files->close(directory->files, directory->lock_fd);
        directory->lock_fd = -1;
    }
    if (directory->whole_fd >= 0) {
        directory->files->close(directory->files, directory->whole_fd);
        directory->whole_fd = -1;
    }
}

int directory_stop(struct directory *directory, uint64_t hlc)
{
    directory->meta.clean = true;
    directory->meta.clean_hlc = hlc;
    return directory_meta_write(directory);
}

/* ---- Generations ---- */

int directory_generation_path(const struct directory *directory, uint64_t generation,
                              char path[PATH_BYTES_MAX])
{
    int size = snprintf(path, PATH_BYTES_MAX, "%s/gen-%" PRIu64, directory->path, generation);

    return size < 0 || size >= PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

int directory_shard_path(const struct directory *directory, uint64_t generation, uint32_t shard,
                         char path[PATH_BYTES_MAX])
{
    int size = snprintf(path, PATH_BYTES_MAX, "%s/gen-%" PRIu64 "/shard-%" PRIu32, directory->path,
                        generation, shard);

    return size < 0 || size >= PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

/* Who made it before may have been killed at that. */
static int make_inside(struct files *files, const char *parent, const char *path)
{
    int rc = files->make_directory(files, path);

    return rc != 0 && rc != -EEXIST ? rc : files->sync_directory(files, parent);
}

int directory_make_shard(struct directory *directory, uint64_t generation, uint32_t shard)
{
    char outer[PATH_BYTES_MAX], inner[PATH_BYTES_MAX];

    int rc = directory_generation_path(directory, generation, outer);
    if (rc == 0) {
        rc = make_inside(directory->files, directory->path, outer);
    }
    if (rc == 0) {
        rc = directory_shard_path(directory, generation, shard, inner);
    }
    return rc != 0 ? rc : make_inside(directory->files, outer, inner);
}

int directory_commit(struct directory *directory, uint64_t generation, uint32_t shards)
{
    struct directory_meta before = directory->meta;

    directory->meta.generation = generation;
    directory->meta.shards = shards;
    int rc = directory_meta_write(directory);
    if (rc != 0) {
        directory->meta = before;
        return rc;
    }
    (void)directory_sweep(directory); /* Or at the next start. */
    return 0;
}

static int sweep_name(void *context, const char *name)
{
    struct directory *directory = context;
    uint64_t generation = 0;
    char path[PATH_BYTES_MAX], again[64];

    if (sscanf(name, "gen-%" SCNu64, &generation) != 1 ||
        generation == directory->meta.generation) {
        return 0;
    }
    snprintf(again, sizeof again, "gen-%" PRIu64, generation);
    int rc = strcmp(again, name) == 0 ? path_join(path, directory->path, name) : 1;
    return rc != 0 ? (rc < 0 ? rc : 0) : files_remove_tree(directory->files, path);
}

int directory_sweep(struct directory *directory)
{
    return files_list(directory->path, sweep_name, directory);
}
