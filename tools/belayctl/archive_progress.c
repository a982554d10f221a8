/* belayctl archive restore: where it is, in a file, so that one that was cut short goes on. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adopt.h"
#include "archive_restore.h"

enum { SHORT_DIGITS = 8 };

static const char form[] = "belay restore 2\n"
                           "cluster %s\n"
                           "into %s\n"
                           "begun_ms %" PRIu64 "\n"
                           "as_of_ms %" PRIu64 "\n"
                           "next_slot %" PRIu32 "\n"
                           "sessions %" PRIu64 "\n"
                           "tombstones %" PRIu64 "\n"
                           "expired %" PRIu64 "\n"
                           "left %" PRIu64 "\n"
                           "refused %" PRIu64 "\n"
                           "damaged %" PRIu64 "\n"
                           "end\n";

static int print_state(const struct restore *restore, FILE *to)
{
    const struct restore_state *done = &restore->done;

    return fprintf(to, form, restore->command.cluster_hex, restore->into, done->begun_ms,
                   done->as_of_ms, done->next_slot, done->sessions, done->tombstones, done->expired,
                   done->left, done->refused, done->damaged);
}

/* What the file says. Returns whether it is one, whole. */
static bool read_state(FILE *from, char cluster[CLUSTER_HEX_BYTES], char into[CLUSTER_HEX_BYTES],
                       struct restore_state *state)
{
    char end[8] = "";
    int fields = fscanf(
        from,
        "belay restore 2 cluster %32s into %32s begun_ms %" SCNu64 " as_of_ms %" SCNu64
        " next_slot %" SCNu32 " sessions %" SCNu64 " tombstones %" SCNu64 " expired %" SCNu64
        " left %" SCNu64 " refused %" SCNu64 " damaged %" SCNu64 " %7s",
        cluster, into, &state->begun_ms, &state->as_of_ms, &state->next_slot, &state->sessions,
        &state->tombstones, &state->expired, &state->left, &state->refused, &state->damaged, end);

    return fields == 12 && strcmp(end, "end") == 0 && state->next_slot <= SLOT_COUNT;
}

static int refused(struct restore *restore, const char *why)
{
    return archive_refused(&restore->command, "%s: %s", restore->state_path, why);
}

/* One restore at a time works with the file; its lock stands beside it, as the file itself is replaced by new ones. */
int restore_lock(struct restore *restore)
{
    char path[RESTORE_PATH_BYTES + 8];
    struct stat stat;

    if (restore->state_text != NULL) {
        snprintf(restore->state_path, sizeof restore->state_path, "%s", restore->state_text);
    } else {
        snprintf(restore->state_path, sizeof restore->state_path, "belay-restore-%.*s",
                 SHORT_DIGITS, restore->command.cluster_hex);
    }
    snprintf(path, sizeof path, "%s.lock", restore->state_path);
    do { /* Until it is the one that has the name: who had it before removes it. */
        restore->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
        if (restore->lock_fd < 0) {
            return refused(restore, strerror(errno));
        }
        if (flock(restore->lock_fd, LOCK_EX | LOCK_NB) != 0) {
            close(restore->lock_fd);
            return refused(restore, "another restore is under way with it: wait for that, or name "
                                    "another file with --state");
        }
        if (fstat(restore->lock_fd, &stat) == 0 && stat.st_nlink > 0) {
            return CTL_OK;
        }
        close(restore->lock_fd);
    } while (true);
}

void restore_unlock(struct restore *restore)
{
    char path[RESTORE_PATH_BYTES + 8];

    snprintf(path, sizeof path, "%s.lock", restore->state_path);
    unlink(path);
    close(restore->lock_fd);
}

int restore_load(struct restore *restore)
{
    struct archive_command *command = &restore->command;
    struct restore_state state = {.as_of_ms = 0};
    char cluster[CLUSTER_HEX_BYTES], into[CLUSTER_HEX_BYTES];

    FILE *file = fopen(restore->state_path, "r");
    if (file == NULL) {
        return errno == ENOENT ? CTL_OK : refused(restore, strerror(errno));
    }
    bool good = read_state(file, cluster, into, &state);
    fclose(file);
    if (!good) {
        return refused(restore, "not what a restore has left; name another file with --state");
    }
    if (strcmp(cluster, command->cluster_hex) != 0) {
        return refused(restore,
                       "a restore of another cluster has left it; name another with --state");
    }
    if (strcmp(into, restore->into) != 0) {
        return refused(restore, "a restore into another cluster than this one has left it, which "
                                "lacks what that one was given: "
                                "name another with --state, or remove the file to begin anew");
    }
    if (restore->as_of_text != NULL && state.as_of_ms != restore->done.as_of_ms) {
        return refused(restore, "a restore as of another time has left it: leave out --as-of to go "
                                "on with that, or remove the file");
    }
    if (restore->now_ms > state.begun_ms + ADOPT_REPEAT_MS) {
        return refused(
            restore,
            "it was begun more than 7 days ago. Some of what was put back then may be put back "
            "once "
            "more, and what has ended of that is forgotten: remove the file, and restore into an "
            "empty cluster");
    }
    restore->done = state;
    restore->resumed = true;
    return CTL_OK;
}

/* Written beside it, made durable, then named. */
int restore_keep(struct restore *restore)
{
    char path[RESTORE_PATH_BYTES + 8];
    bool good = false;

    snprintf(path, sizeof path, "%s.new", restore->state_path);
    FILE *file = fopen(path, "w");
    if (file != NULL) {
        good = print_state(restore, file) > 0 && fflush(file) == 0 && fsync(fileno(file)) == 0;
        good = fclose(file) == 0 && good;
    }
    if (!good || rename(path, restore->state_path) != 0) {
        return refused(restore, strerror(errno));
    }
    return CTL_OK;
}

void restore_forget(struct restore *restore)
{
    unlink(restore->state_path);
}
