/* belayctl archive cat: an object of the archive as text, one line for each thing. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "archive_dump.h"
#include "archive_key_file.h"
#include "ctl.h"
#include "heap.h"

/* An object is of a quarter of a GiB, raw, at most; its index beside it. */
enum { OBJECT_BYTES_MAX = ARCHIVE_OBJECT_BYTES_MAX + 2 * ARCHIVE_FOOTER_BYTES_MAX };

/* Returns 0 with `object` to be freed, or negative errno. */
static int read_object(const char *path, uint8_t **object, size_t *size)
{
    FILE *file = fopen(path, "rbe");
    struct stat status;
    int rc = 0;

    if (file == NULL) {
        return -errno;
    }
    uint8_t *bytes = NULL;
    if (fstat(fileno(file), &status) != 0) {
        rc = -errno;
    } else if (!S_ISREG(status.st_mode)) {
        rc = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    } else if (status.st_size > OBJECT_BYTES_MAX) {
        rc = -EFBIG;
    } else {
        *size = (size_t)status.st_size;
        bytes = malloc(*size + 1);
        if (bytes == NULL) {
            rc = -ENOMEM;
        } else if (fread(bytes, 1, *size, file) != *size) {
            rc = -EIO;
        }
    }
    fclose(file);
    if (rc != 0) {
        free(bytes);
        return rc;
    }
    *object = bytes;
    return 0;
}

struct cat {
    const char *key_file; /* NULL: not given. */
    struct archive_keys keys;
};

static int cat(void *context, const char *path, FILE *out, char *message, size_t message_size)
{
    struct cat *cat = context;
    char text[800] = "";
    uint8_t *object = NULL;
    size_t size = 0;

    int rc = archive_key_file_read(&cat->keys, cat->key_file, message, message_size);
    if (rc != 0 && (rc != -ENOENT || cat->key_file != NULL)) {
        return rc;
    }
    rc = read_object(path, &object, &size);
    if (rc != 0) {
        return rc;
    }
    rc = archive_dump(heap_memory(), bytes_of(object, size), &cat->keys, out, text, sizeof text);
    if (rc != 0) {
        snprintf(message, message_size, "%s: %s", path, text);
    }
    free(object);
    return rc;
}

int archive_cat_run(struct ctl *ctl, int argc, char **argv)
{
    struct cat context = {.key_file = NULL};
    const struct option options[] = {{"key-file", OPTION_TEXT, &context.key_file},
                                     {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;

    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    const struct dump_source source = {
        .path = operands.items[0], .what = "bytes", .dump = cat, .context = &context};
    rc = dump_run(ctl, &source);
    archive_keys_wipe(&context.keys);
    return rc;
}
