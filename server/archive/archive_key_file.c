#include "archive_key_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive_cipher.h"

/* All of a file, or one byte more than one may have. Returns how many bytes, or negative errno. */
static ssize_t read_file(const char *path, uint8_t *to, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0, done = 0;

    if (fd < 0) {
        return -errno;
    }
    while ((size_t)done < size && (got = read(fd, to + done, size - (size_t)done)) != 0) {
        if (got < 0 && errno != EINTR) {
            done = -errno;
            break;
        }
        done += got > 0 ? got : 0;
    }
    close(fd);
    return done;
}

static int parse(struct archive_keys *keys, struct bytes text, const char *from, char *message,
                 size_t message_size)
{
    char wrong[200] = "";
    int rc = archive_keys_parse(keys, text, wrong, sizeof wrong);

    if (rc != 0) {
        snprintf(message, message_size, "%s: %s", from, wrong);
    }
    return rc;
}

int archive_key_file_read(struct archive_keys *keys, const char *path, char *message,
                          size_t message_size)
{
    enum { SIZE = ARCHIVE_KEY_FILE_BYTES_MAX + 1 };

    if (path == NULL || path[0] == '\0') {
        const char *lines = getenv(ARCHIVE_KEYS_VARIABLE);
        return lines == NULL || lines[0] == '\0'
                   ? -ENOENT
                   : parse(keys, bytes_of_string(lines), ARCHIVE_KEYS_VARIABLE, message,
                           message_size);
    }
    uint8_t *text = malloc(SIZE);
    if (text == NULL) {
        snprintf(message, message_size, "%s: out of memory", path);
        return -ENOMEM;
    }
    ssize_t size = read_file(path, text, SIZE);
    int rc = size < 0 ? (int)size
                      : parse(keys, bytes_of(text, (size_t)size), path, message, message_size);
    if (size < 0) {
        snprintf(message, message_size, "%s: %s", path, strerror((int)-size));
    }
    archive_bytes_wipe(text, SIZE);
    free(text);
    return rc;
}
