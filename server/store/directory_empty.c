#include "directory_empty.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "directory_begin.h"
#include "directory_lock.h"
#include "directory_meta.h"

struct stranger {
    const char *parent;
    char name[128];
    bool sessions; /* It may hold some: a generation with files in it. */
    bool raft;     /* What the cluster has agreed on is there: made after META. */
};

static int other_name(void *context, const char *name)
{
    (void)context;
    return strcmp(name, DIRECTORY_MADE_NAME) != 0;
}

/* Of a generation: a shard's directory with nothing of its own in it is what a first start makes. */
static int look_for_file(void *context, const char *name)
{
    char path[PATH_BYTES_MAX];
    int rc = path_join(path, context, name);

    return rc != 0 ? rc : files_list(path, other_name, NULL) != 0;
}

/* Is this a generation? Then `files` says whether there are files in it. */
static bool is_generation(const char *parent, const char *name, bool *files)
{
    char path[PATH_BYTES_MAX], again[64];
    uint64_t generation;

    if (sscanf(name, "gen-%" SCNu64, &generation) != 1 ||
        snprintf(again, sizeof again, "gen-%" PRIu64, generation) < 0 || strcmp(again, name) != 0) {
        return false;
    }
    *files = path_join(path, parent, name) != 0 || files_list(path, look_for_file, path) != 0;
    return true;
}

/* What a new directory may have in it: our own lock, META's forerunner, what mkfs makes; and what a first start
 * that was cut short has made. */
static int look_for_stranger(void *context, const char *name)
{
    struct stranger *stranger = context;
    bool files = true;

    if (strcmp(name, DIRECTORY_LOCK_NAME) == 0 || strcmp(name, DIRECTORY_RESERVE_NAME) == 0 ||
        strcmp(name, "META.tmp") == 0 || strcmp(name, "lost+found") == 0 ||
        strcmp(name, DIRECTORY_JOINED_NAME) == 0 ||
        strcmp(name, DIRECTORY_JOINED_NAME ".tmp") == 0) {
        return 0;
    }
    if (strcmp(name, DIRECTORY_RAFT_NAME) == 0) {
        stranger->raft = true; /* Sessions come first. */
        return 0;
    }
    stranger->sessions = is_generation(stranger->parent, name, &files);
    if (stranger->sessions && !files) {
        return 0;
    }
    snprintf(stranger->name, sizeof stranger->name, "%s", name);
    return 1;
}

static void tell_stranger(const struct directory *directory, const struct stranger *stranger,
                          char *message, size_t message_size)
{
    if (stranger->sessions) {
        snprintf(
            message, message_size,
            "%s/%s is missing, and %s is there: it may hold sessions, which cannot be read without "
            "it; "
            "bring %s back from a copy of this directory, or name another directory in storage.dir "
            "and keep this one",
            directory->path, DIRECTORY_META_NAME, stranger->name, DIRECTORY_META_NAME);
    } else {
        snprintf(
            message, message_size,
            "%s is no data directory of Belay and not empty (it holds %s); name another, new or "
            "empty, in storage.dir",
            directory->path, stranger->name);
    }
}

int directory_check_empty(const struct directory *directory, char *message, size_t message_size)
{
    struct stranger stranger = {.parent = directory->path};
    int rc = files_list(directory->path, look_for_stranger, &stranger);

    if (rc == 0 && stranger.raft) {
        stranger.sessions = true;
        snprintf(stranger.name, sizeof stranger.name, "%s", DIRECTORY_RAFT_NAME);
        rc = 1;
    }
    if (rc == 1) {
        tell_stranger(directory, &stranger, message, message_size);
        return -ENOTEMPTY;
    }
    if (rc != 0) {
        snprintf(message, message_size, "%s: %s", directory->path, strerror(-rc));
    }
    return rc;
}
