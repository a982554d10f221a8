#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TREE_DEPTH_MAX = 4 };

/* A pipe in the place of a file would be waited for: it is an error, as it has no offsets. */
static int open_at_once(const char *path, int flags, mode_t mode)
{
    struct stat status;
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, mode);

    if (fd < 0) {
        return files_error(errno);
    }
    int rc = fstat(fd, &status) != 0 ? files_error(errno) : S_ISFIFO(status.st_mode) ? -ESPIPE : 0;
    if (rc == 0 && fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0) {
        rc = files_error(errno);
    }
    if (rc != 0) {
        close(fd);
    }
    return rc != 0 ? rc : fd;
}

static int system_open(struct files *files, const char *path, int flags)
{
    (void)files;
    int fd = open_at_once(path, flags, 0640);

    if (fd == -EINVAL && (flags & O_DIRECT) != 0) {
        fd = open_at_once(path, flags & ~O_DIRECT, 0640);
    }
    return fd;
}

static int system_open_private(struct files *files, const char *path, int flags)
{
    (void)files;
    int fd = open_at_once(path, flags, 0600);

    if (fd >= 0 && fchmod(fd, 0600) != 0) {
        int rc = files_error(errno);
        close(fd);
        return rc;
    }
    return fd;
}

static void system_close(struct files *files, int fd)
{
    (void)files;
    close(fd);
}

static void system_uncache(struct files *files, int fd)
{
    (void)files;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
}

static int64_t system_read(struct files *files, int fd, void *to, size_t size, uint64_t offset)
{
    size_t done = 0;

    (void)files;
    while (done < size) {
        ssize_t got = pread(fd, (uint8_t *)to + done, size - done, (off_t)(offset + done));
        if (got == 0) {
            break;
        }
        if (got < 0 && errno != EINTR) {
            return files_error(errno);
        }
        done += got < 0 ? 0 : (size_t)got;
    }
    return (int64_t)done;
}

static int system_write(struct files *files, int fd, const void *from, size_t size, uint64_t offset)
{
    size_t done = 0;

    (void)files;
    while (done < size) {
        ssize_t put = pwrite(fd, (const uint8_t *)from + done, size - done, (off_t)(offset + done));
        if (put < 0 && errno != EINTR) {
            return files_error(errno);
        }
        done += put < 0 ? 0 : (size_t)put;
    }
    return 0;
}

static int system_allocate(struct files *files, int fd, uint64_t size)
{
    (void)files;
    int rc = posix_fallocate(fd, 0, (off_t)size);

    return files_error(rc);
}

static int system_size(struct files *files, int fd, uint64_t *size)
{
    struct stat status;

    (void)files;
    if (fstat(fd, &status) != 0) {
        return files_error(errno);
    }
    *size = (uint64_t)status.st_size;
    return 0;
}

static int system_sync(struct files *files, int fd)
{
    (void)files;
    return fsync(fd) != 0 ? files_error(errno) : 0;
}

static int system_sync_directory(struct files *files, const char *path)
{
    (void)files;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return files_error(errno);
    }
    int rc = fsync(fd) != 0 ? files_error(errno) : 0;
    close(fd);
    return rc;
}

static int system_rename(struct files *files, const char *from, const char *to)
{
    (void)files;
    return rename(from, to) != 0 ? files_error(errno) : 0;
}

static int system_remove(struct files *files, const char *path)
{
    (void)files;
    return remove(path) != 0 ? files_error(errno) : 0;
}

static int system_make_directory(struct files *files, const char *path)
{
    (void)files;
    return mkdir(path, 0750) != 0 ? files_error(errno) : 0;
}

static int system_commit(struct files *files)
{
    (void)files;
    return 0;
}

static int system_map(struct files *files, int fd, size_t size, bool writable, void **area)
{
    const int protection = PROT_READ | (writable ? PROT_WRITE : 0);

    (void)files;
    void *mapped = mmap(NULL, size, protection, MAP_SHARED, fd, 0);
    if (mapped == MAP_FAILED) {
        return files_error(errno);
    }
    *area = mapped;
    return 0;
}

struct files *files_system(void)
{
    static struct files files = {
        .open = system_open,
        .open_private = system_open_private,
        .close = system_close,
        .read = system_read,
        .uncache = system_uncache,
        .write = system_write,
        .allocate = system_allocate,
        .size = system_size,
        .sync = system_sync,
        .sync_directory = system_sync_directory,
        .rename = system_rename,
        .remove = system_remove,
        .make_directory = system_make_directory,
        .commit = system_commit,
        .map = system_map,
    };
    return &files;
}

int files_list(const char *path, int (*visit)(void *context, const char *name), void *context)
{
    DIR *directory = opendir(path);
    if (directory == NULL) {
        return files_error(errno);
    }
    int rc = 0;
    errno = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL && rc == 0;
         entry = readdir(directory)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            rc = visit(context, entry->d_name);
        }
        errno = 0;
    }
    if (rc == 0) {
        rc = files_error(errno);
    }
    closedir(directory);
    return rc;
}

int path_join(char path[PATH_BYTES_MAX], const char *directory, const char *name)
{
    int size = snprintf(path, PATH_BYTES_MAX, "%s/%s", directory, name);

    return size < 0 || size >= PATH_BYTES_MAX ? -ENAMETOOLONG : 0;
}

struct removal {
    struct files *files;
    const char *path;
    unsigned depth;
};

static int remove_tree(struct files *files, const char *path, unsigned depth);

static int remove_entry(void *context, const char *name)
{
    const struct removal *removal = context;
    char path[PATH_BYTES_MAX];
    struct stat status;

    int rc = path_join(path, removal->path, name);
    if (rc != 0) {
        return rc;
    }
    if (lstat(path, &status) != 0) {
        return files_error(errno);
    }
    if (S_ISDIR(status.st_mode) && removal->depth + 1 < TREE_DEPTH_MAX) {
        return remove_tree(removal->files, path, removal->depth + 1);
    }
    return removal->files->remove(removal->files, path);
}

/* Goes as deep as a generation of the data directory is; not further. */
static int remove_tree(struct files *files, const char *path, unsigned depth)
{
    struct removal removal = {.files = files, .path = path, .depth = depth};
    int rc = files_list(path, remove_entry, &removal);

    return rc != 0 ? rc : files->remove(files, path);
}

int files_remove_tree(struct files *files, const char *path)
{
    return remove_tree(files, path, 0);
}

int files_replace(struct files *files, const char *directory, const char *name, const void *data,
                  size_t size)
{
    char path[PATH_BYTES_MAX], aside[PATH_BYTES_MAX];

    int rc = path_join(path, directory, name);
    if (rc != 0 || snprintf(aside, sizeof aside, "%s.tmp", path) >= (int)sizeof aside) {
        return -ENAMETOOLONG;
    }
    int fd = files->open_private(files, aside, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) {
        return fd;
    }
    rc = files->write(files, fd, data, size, 0);
    if (rc == 0) {
        rc = files->sync(files, fd);
    }
    files->close(files, fd);
    if (rc == 0) {
        rc = files->rename(files, aside, path);
    }
    return rc != 0 ? rc : files->sync_directory(files, directory);
}
