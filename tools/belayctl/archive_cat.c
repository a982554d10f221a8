/* belayctl archive cat: an object of the archive as text, one line for each thing. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "archive.h"
#include "archive_dump.h"
#include "archive_key_file.h"
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

/* ---- A file ---- */

static int dump_file(void *context, const char *path, FILE *out, char *message, size_t message_size)
{
    const struct archive_command *command = context;
    struct archive_keys keys = {.count = 0};
    char text[800] = "";
    uint8_t *object = NULL;
    size_t size = 0;

    int rc = archive_key_file_read(&keys, command->key_file, message, message_size);
    if (rc != 0 && (rc != -ENOENT || command->key_file != NULL)) {
        return rc;
    }
    rc = read_object(path, &object, &size);
    if (rc == 0) {
        rc = archive_dump(heap_memory(), bytes_of(object, size), &keys, out, text, sizeof text);
        if (rc != 0) {
            snprintf(message, message_size, "%s: %s", path, text);
        }
        free(object);
    }
    archive_keys_wipe(&keys);
    return rc;
}

/* ---- One of a store ---- */

struct found {
    struct archive_command *command;
    const char *name;
    uint64_t size;
    struct buffer object;
};

/* Names come in order, so the first that begins so is it, if it is there. */
static int take_size(void *context, const char *name, uint64_t size)
{
    struct found *found = context;

    found->size = size;
    return strcmp(name, found->name) == 0 ? 1 : -ENOENT;
}

static int dump_found(void *context, const char *path, FILE *out, char *message,
                      size_t message_size)
{
    const struct found *found = context;
    const struct archive_access *access = &found->command->access;
    char text[800] = "";

    int rc = archive_dump(heap_memory(), buffer_bytes(&found->object), &access->keys, out, text,
                          sizeof text);
    if (rc != 0) {
        snprintf(message, message_size, "%s: %s", path, text);
    }
    return rc;
}

/* Fetch the object and show it. */
static int cat_found(struct archive_command *command, struct found *found)
{
    int rc = access_list(&command->access, found->name, take_size, found);

    if (rc == 0 || rc == -ENOENT) {
        return archive_refused(command, "there is no object %s at %s", found->name,
                               command->place.url);
    }
    if (rc == 1 && found->size > OBJECT_BYTES_MAX) {
        return archive_refused(command, "%s: larger than any object of an archive", found->name);
    }
    if (rc == 1) {
        rc = access_get(&command->access, found->name, 0, found->size, &found->object);
    }
    if (rc != 0) {
        return archive_failed(command, rc);
    }
    const struct dump_source source = {
        .path = found->name, .what = "records", .dump = dump_found, .context = found};
    return dump_run(command->ctl, &source);
}

static bool take_number(const char **text, uint64_t most, uint64_t *value)
{
    char *end;

    if (!isdigit((unsigned char)**text)) {
        return false;
    }
    errno = 0;
    *value = strtoull(*text, &end, 10);
    *text = end;
    return errno == 0 && *value <= most;
}

static bool take_word(const char **text, const char *word)
{
    const size_t size = strlen(word);
    const bool is_it = strncmp(*text, word, size) == 0;

    *text += is_it ? size : 0;
    return is_it;
}

/* A name in the numbers of `archive ls`: log/NODE.START/SEQUENCE, checkpoint/NODE.START/SEQUENCE/PART or .../done. The cluster
 * is left as it is. */
static bool parse_short(const char *text, struct archive_name *name)
{
    const bool log = take_word(&text, "log/");
    uint64_t node, start, sequence, part = 0;

    if ((!log && !take_word(&text, "checkpoint/")) || !take_number(&text, UINT32_MAX, &node) ||
        !take_word(&text, ".") || !take_number(&text, UINT32_MAX, &start) ||
        !take_word(&text, "/") || !take_number(&text, UINT64_MAX, &sequence) || node == 0) {
        return false;
    }
    name->kind = log ? ARCHIVE_LOG : take_word(&text, "/done") ? ARCHIVE_DONE : ARCHIVE_PART;
    if (name->kind == ARCHIVE_PART &&
        (!take_word(&text, "/") || !take_number(&text, ARCHIVE_PARTS_MAX - 1, &part))) {
        return false;
    }
    name->actor = (struct actor){(uint32_t)node, (uint32_t)start};
    name->sequence = sequence;
    name->part = (uint32_t)part;
    return *text == '\0';
}

/* Does it begin with a cluster's id? */
static bool has_cluster(const char *name)
{
    return strspn(name, "0123456789abcdef") == CLUSTER_HEX_BYTES - 1 &&
           name[CLUSTER_HEX_BYTES - 1] == '/';
}

/* `name` is whole, or without the cluster's id; its numbers are as in names, or as archive ls has them. */
static int cat_name(struct archive_command *command, struct ctl *ctl, const char *url,
                    const char *name)
{
    struct found found = {.command = command, .object = {.memory = heap_memory()}};
    char cluster[CLUSTER_HEX_BYTES], whole[OBJECT_NAME_BYTES_MAX + 1];
    const char *rest = name;
    struct archive_name parts;

    if (has_cluster(name)) {
        snprintf(cluster, sizeof cluster, "%s", name);
        command->cluster_text = cluster;
        rest += CLUSTER_HEX_BYTES;
    }
    int rc = archive_begin(command, ctl, url);
    if (rc != CTL_OK) {
        return rc;
    }
    if (parse_short(rest, &parts)) {
        memcpy(parts.cluster, command->cluster, sizeof parts.cluster);
        archive_name_put(whole, &parts);
    } else {
        snprintf(whole, sizeof whole, "%s/%s", command->cluster_hex, rest);
    }
    found.name = whole;
    rc = archive_name_parse(whole, &parts) == 0
             ? cat_found(command, &found)
             : archive_refused(
                   command,
                   "%s is no name of an object: one is as log/3.1/10, checkpoint/3.1/2/0 "
                   "or checkpoint/3.1/2/done (archive ls shows which there are)",
                   name);
    buffer_fini(&found.object);
    archive_end(command);
    return rc;
}

int archive_cat_run(struct ctl *ctl, int argc, char **argv)
{
    struct archive_command command = {.ctl = ctl};
    const struct option options[] = {ARCHIVE_OPTIONS(&command), {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;

    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 2);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (operands.count == 2) {
        return cat_name(&command, ctl, operands.items[0], operands.items[1]);
    }
    if (strstr(operands.items[0], "://") != NULL) {
        return ctl_usage(ctl, "which object of %s?", operands.items[0]);
    }
    const struct dump_source source = {
        .path = operands.items[0], .what = "bytes", .dump = dump_file, .context = &command};
    return dump_run(ctl, &source);
}
