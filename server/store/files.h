/* The port to the file system, so that a test can make the n-th operation fail or lose what was not
 * synchronised. LMDB does its own I/O; commit() stands before each of its commits.
 *
 * All return 0 or more, or a negative errno as files_error() says it. Paths are whole.
 * Threads: any (a test's may differ).
 */
#ifndef FILES_H
#define FILES_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct files {
    /* Flags as open(2); O_DIRECT is left out where the file system knows none. Returns the fd. */
    int (*open)(struct files *files, const char *path, int flags);
    /* The same, of a file that holds a secret: only its owner may read it, also where it was there before. */
    int (*open_private)(struct files *files, const char *path, int flags);
    void (*close)(struct files *files, int fd);
    /* Read until `size` bytes are there or the file ends. Returns how many. */
    int64_t (*read)(struct files *files, int fd, void *to, size_t size, uint64_t offset);
    /* What was read need not stay in the system's cache: direct writes to where something does are much slower, as they
     * have to take it out. */
    void (*uncache)(struct files *files, int fd);
    /* Write all of it. */
    int (*write)(struct files *files, int fd, const void *from, size_t size, uint64_t offset);
    /* Reserve blocks up to `size`, which becomes the file's size where it was less. Waits for direct writes
     * of other descriptors that are under way (ext4, XFS): also of a process that is dead. */
    int (*allocate)(struct files *files, int fd, uint64_t size);
    int (*size)(struct files *files, int fd, uint64_t *size);
    int (*sync)(struct files *files, int fd);
    int (*sync_directory)(struct files *files, const char *path);
    int (*rename)(struct files *files, const char *from, const char *to);
    int (*remove)(struct files *files, const char *path);
    int (*make_directory)(struct files *files, const char *path);
    int (*commit)(struct files *files);
    /* Map the first `size` bytes, shared; munmap() ends it. */
    int (*map)(struct files *files, int fd, size_t size, bool writable, void **area);
};

/* A quota that is used up is a disk that is full, and waits for room as that does. */
static inline int files_error(int code)
{
    return code == EDQUOT ? -ENOSPC : -code;
}

/* The real one. */
struct files *files_system(void);

/* Call `visit` with each name in a directory but "." and "..", in no order, until it returns nonzero.
 * Returns that, 0, or negative errno. */
int files_list(const char *path, int (*visit)(void *context, const char *name), void *context);

/* Remove a directory with the files in it (and directories, as deep as a data directory goes). */
int files_remove_tree(struct files *files, const char *path);

/* Write a small file so that it is whole whatever happens: beside it, synchronised, then renamed. Only its owner may
 * read it. */
int files_replace(struct files *files, const char *directory, const char *name, const void *data,
                  size_t size);

enum { PATH_BYTES_MAX = 1024 };

/* Join two parts by a slash. Returns 0 or -ENAMETOOLONG. */
int path_join(char path[PATH_BYTES_MAX], const char *directory, const char *name);

#endif
