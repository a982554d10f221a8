#include "directory_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

int directory_lock(struct directory *directory, bool make, char *message, size_t message_size)
{
    struct files *files = directory->files;
    char path[PATH_BYTES_MAX], pid[32] = "";

    int rc = path_join(path, directory->path, DIRECTORY_LOCK_NAME);
    if (rc != 0) {
        return rc;
    }
    int fd = files->open(files, path, O_RDWR | (make ? O_CREAT : 0));
    if (fd < 0) {
        snprintf(message, message_size, "%s: %s", path, strerror(-fd));
        return fd;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int64_t size = files->read(files, fd, pid, sizeof pid - 1, 0);
        pid[size > 0 ? size : 0] = '\0';
        pid[strcspn(pid, " \n")] = '\0';
        snprintf(message, message_size, "%s is in use by process %s; stop that one first",
                 directory->path, pid[0] != '\0' ? pid : "(unknown)");
        files->close(files, fd);
        return -EBUSY;
    }
    directory->lock_fd = fd;
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
