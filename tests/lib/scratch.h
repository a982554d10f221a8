/* A directory for one test. It goes with scratch_remove(), and where the test fails or its program is killed as well:
 * a process beside it waits for its end, in a group of its own, and sees to that.
 *
 * scratch_make() when no other thread runs: it forks. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "files.h"

struct scratch {
    char path[256];
    pid_t keeper;
    int life; /* Nobody else has it open: it closes with the program. */
};

static inline void scratch_keep(const char *path, int life)
{
    char none;

    setpgid(0, 0);
    while (read(life, &none, 1) < 0 && errno == EINTR) {
    }
    (void)files_remove_tree(files_system(), path);
    _exit(0);
}

static inline void scratch_make(struct scratch *scratch, const char *base, const char *name)
{
    int life[2];

    snprintf(scratch->path, sizeof scratch->path, "%s/%s-XXXXXX", base, name);
    assert_non_null(mkdtemp(scratch->path));
    assert_int_equal(pipe2(life, O_CLOEXEC), 0);
    scratch->life = life[1];
    scratch->keeper = fork();
    assert_true(scratch->keeper >= 0);
    if (scratch->keeper == 0) {
        close(life[1]);
        scratch_keep(scratch->path, life[0]);
    }
    close(life[0]);
}

static inline void scratch_remove(struct scratch *scratch)
{
    assert_int_equal(files_remove_tree(files_system(), scratch->path), 0);
    close(scratch->life);
    assert_int_equal(waitpid(scratch->keeper, NULL, 0), scratch->keeper);
}

#endif
