/* What a node that has joined a cluster was given, kept until its own store of that is there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "crc32c.h"
#include "directory_begin.h"
#include "directory_meta.h"

enum { CRC_BYTES = 4 };

static int read_all(struct files *files, const char *path, struct buffer *to)
{
    uint64_t size = 0;
    int fd = files->open(files, path, O_RDONLY);

    if (fd < 0) {
        return fd;
    }
    int rc = files->size(files, fd, &size);
    if (rc == 0) {
        rc = buffer_reserve(to, size);
    }
    if (rc == 0) {
        int64_t got = files->read(files, fd, to->data + to->size, size, 0);
        rc = got < 0 ? (int)got : (uint64_t)got < size ? -EBADMSG : 0;
        to->size += rc == 0 ? size : 0;
    }
    files->close(files, fd);
    return rc;
}

int directory_put_beginning(const struct directory *directory, struct bytes beginning,
                            struct memory *memory)
{
    struct buffer content = {.memory = memory};
    uint8_t crc[CRC_BYTES];

    store_u32(crc, crc32c(0, beginning));
    int rc = buffer_append(&content, beginning);
    if (rc == 0) {
        rc = buffer_append(&content, bytes_of(crc, CRC_BYTES));
    }
    if (rc == 0) {
        rc = files_replace(directory->files, directory->path, DIRECTORY_JOINED_NAME, content.data,
                           content.size);
    }
    buffer_fini(&content);
    return rc;
}

int directory_beginning(const struct directory *directory, struct buffer *to)
{
    char path[PATH_BYTES_MAX];
    size_t before = to->size;

    if (directory->meta.begun) {
        return 0;
    }
    int rc = path_join(path, directory->path, DIRECTORY_JOINED_NAME);
    if (rc == 0) {
        rc = read_all(directory->files, path, to);
    }
    if (rc == -ENOENT && directory->meta.actor.node == DIRECTORY_FIRST_NODE) {
        return 0;
    }
    size_t size = to->size - before;
    if (rc == 0 &&
        (size < CRC_BYTES || load_u32(to->data + to->size - CRC_BYTES) !=
                                 crc32c(0, bytes_of(to->data + before, size - CRC_BYTES)))) {
        rc = -EBADMSG;
    }
    to->size = rc == 0 ? to->size - CRC_BYTES : before;
    return rc;
}

int directory_put_drained(const struct directory *directory, bool degraded)
{
    return files_replace(directory->files, directory->path, DIRECTORY_DRAINED_NAME, "D", degraded);
}

bool directory_was_drained(const struct directory *directory, bool *degraded)
{
    char path[PATH_BYTES_MAX], word;
    int rc = path_join(path, directory->path, DIRECTORY_DRAINED_NAME);
    int fd = rc != 0 ? rc : directory->files->open(directory->files, path, O_RDONLY);

    *degraded = false;
    if (fd >= 0) {
        *degraded = directory->files->read(directory->files, fd, &word, 1, 0) == 1;
        directory->files->close(directory->files, fd);
    }
    return fd >= 0;
}

int directory_forget_drained(const struct directory *directory)
{
    struct files *files = directory->files;
    char path[PATH_BYTES_MAX];
    int rc = path_join(path, directory->path, DIRECTORY_DRAINED_NAME);

    rc = rc != 0 ? rc : files->remove(files, path);
    return rc != 0 && rc != -ENOENT ? rc : files->sync_directory(files, directory->path);
}

int directory_put_removed(const struct directory *directory)
{
    return files_replace(directory->files, directory->path, DIRECTORY_REMOVED_NAME, "", 0);
}

int directory_was_removed(struct files *files, const char *path, char *message, size_t message_size)
{
    char name[PATH_BYTES_MAX];

    int rc = path_join(name, path, DIRECTORY_REMOVED_NAME);
    int fd = rc != 0 ? rc : files->open(files, name, O_RDONLY);
    if (fd < 0) {
        return 0; /* Whatever else is wrong is found when the directory is opened. */
    }
    files->close(files, fd);
    snprintf(
        message, message_size,
        "%s: this node was removed from its cluster, which has its sessions, but for those that "
        "were "
        "given up with --force or --force-new-cluster: only this directory has these. To let the "
        "machine in again as a new node, empty this directory and start with --join TOKEN "
        "(`belayctl join-token` on a member prints one)",
        path);
    return -ESHUTDOWN;
}

int directory_check_used(struct files *files, const char *path, char *message, size_t message_size)
{
    char name[PATH_BYTES_MAX];

    int rc = path_join(name, path, DIRECTORY_META_NAME);
    int fd = rc != 0 ? rc : files->open(files, name, O_RDONLY);
    if (fd == -ENOENT || fd == -ENOTDIR) {
        snprintf(message, message_size,
                 "%s holds no node, so there is no cluster to go on with: is storage.dir right?",
                 path);
        return -ENOENT;
    }
    if (fd >= 0) {
        files->close(files, fd);
    }
    return 0; /* What is wrong with it is found when the directory is opened. */
}

int directory_begun(struct directory *directory)
{
    char path[PATH_BYTES_MAX];

    directory->meta.begun = true;
    int rc = directory_meta_write(directory);
    if (rc == 0 && path_join(path, directory->path, DIRECTORY_JOINED_NAME) == 0) {
        (void)directory->files->remove(directory->files, path); /* It is not looked at any more. */
    }
    return rc;
}

int directory_set_policies(struct directory *directory, uint32_t sum)
{
    uint32_t before = directory->meta.policies;

    directory->meta.policies = sum;
    int rc = directory_meta_write(directory);
    if (rc != 0) {
        directory->meta.policies = before;
    }
    return rc;
}
