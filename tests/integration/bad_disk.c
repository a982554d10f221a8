/* A disk with bad sectors: preloaded, while the file BAD_DISK is there what BAD_FILE names does not read behind its first page, and
 * is not made durable. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_bad(int fd)
{
    const char *marker = getenv("BAD_DISK"), *file = getenv("BAD_FILE");
    char link[64], path[4096];

    if (marker == NULL || file == NULL || access(marker, F_OK) != 0) {
        return false;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    path[size < 0 ? 0 : size] = '\0';
    return strstr(path, file) != NULL;
}

ssize_t pread64(int fd, void *to, size_t size, off64_t offset)
{
    if (offset >= 4096 && is_bad(fd)) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, to, size, offset);
}

int fdatasync(int fd)
{
    if (is_bad(fd)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}
