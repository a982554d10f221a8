#include "directory_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open a file or a directory and lock it. Returns the descriptor; -EBUSY: another process has it; another negative errno. */
static int lock(struct files *files, const char *path, int flags)
{
    int fd = files->open(files, path, flags);

    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int rc = errno == EWOULDBLOCK ? -EBUSY : -errno;
        files->close(files, fd);
        return rc;
    }
    return fd;
}

static int refuse(struct directory *directory, const char *path, char *message, size_t message_size)
{
    struct files *files = directory->files;
    char pid[32] = "";
    int fd = files->open(files, path, O_RDONLY);

    if (fd >= 0) {
        int64_t size = files->read(files, fd, pid, sizeof pid - 1, 0);
        pid[size > 0 ? size : 0] = '\0';
        pid[strcspn(pid, " \n")] = '\0';
        files->close(files, fd);
    }
    snprintf(message, message_size, "%s is in use by process %s; stop that one first",
             directory->path, pid[0] != '\0' ? pid : "(unknown)");
    return -EBUSY;
}

int directory_lock(struct directory *directory, bool make, char *message, size_t message_size)
{
    struct files *files = directory->files;
    char path[PATH_BYTES_MAX];

    int rc = path_join(path, directory->path, DIRECTORY_LOCK_NAME);
    if (rc != 0) {
        return rc;
    }
    int whole_fd = lock(files, directory->path, O_RDONLY | O_DIRECTORY);
    int fd = whole_fd == -EBUSY ? -EBUSY : lock(files, path, O_RDWR | (make ? O_CREAT : 0));
    if (fd == -EBUSY) {
        rc = refuse(directory, path, message, message_size);
    } else if (fd < 0) {
        rc = fd;
        snprintf(message, message_size, "%s: %s", path, strerror(-fd));
    }
    if (rc != 0) {
        if (whole_fd >= 0) {
            files->close(files, whole_fd);
        }
        return rc;
    }
    directory->lock_fd = fd;
    directory->whole_fd = whole_fd;
    return 0;
}

int directory_lock_sign(struct directory *directory)
{
    char pid[32];
    int size = snprintf(pid, sizeof pid, "%-12ld\n", (long)getpid());

    return directory->files->write(directory->files, directory->lock_fd, pid, (size_t)size, 0);
}

uint64_t directory_lock_inode(const struct directory *directory)
{
    struct stat status;

    return fstat(directory->lock_fd, &status) == 0 ? (uint64_t)status.st_ino : 0;
}
