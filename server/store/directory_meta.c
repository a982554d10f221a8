#include "directory_meta.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "crc32c.h"

enum { META_BYTES_MAX = 1024, RESERVE_BYTES = 64 * 1024 };

static size_t print_hex(char *to, const char *name, const uint8_t *bytes, size_t count)
{
    size_t size = (size_t)sprintf(to, "%s ", name);

    for (size_t i = 0; i < count; i++) {
        size += (size_t)sprintf(to + size, "%02x", bytes[i]);
    }
    to[size++] = '\n';
    to[size] = '\0';
    return size;
}

/* The line of that name. Returns false where it is not of that form. */
static bool parse_hex(const char *text, const char *name, uint8_t *bytes, size_t count)
{
    char line[32];
    unsigned value;

    snprintf(line, sizeof line, "\n%s ", name);
    text = strstr(text, line);
    if (text == NULL) {
        return false;
    }
    text += strlen(line);
    for (size_t i = 0; i < count; i++, text += 2) {
        if (sscanf(text, "%2x", &value) != 1) {
            return false;
        }
        bytes[i] = (uint8_t)value;
    }
    return true;
}

/* Version 1 has no cluster. */
static size_t meta_print(const struct directory_meta *meta, int version, char text[META_BYTES_MAX])
{
    int size =
        snprintf(text, META_BYTES_MAX,
                 "belay-data %d\n"
                 "id %016" PRIx64 "\n"
                 "seed %016" PRIx64 "\n"
                 "node %" PRIu32 "\n"
                 "start %" PRIu32 "\n"
                 "run %" PRIu32 "\n"
                 "shards %" PRIu32 "\n"
                 "generation %" PRIu64 "\n"
                 "clean %d\n"
                 "clean-hlc %" PRIu64 "\n"
                 "inode %" PRIu64 "\n",
                 version, meta->id, meta->seed, meta->actor.node, meta->actor.start, meta->run,
                 meta->shards, meta->generation, meta->clean ? 1 : 0, meta->clean_hlc, meta->inode);
    if (version > 1) {
        size += sprintf(text + size, "begun %d\npolicies %08" PRIx32 "\n", meta->begun ? 1 : 0,
                        meta->policies);
        size += (int)print_hex(text + size, "cluster", meta->cluster, CLUSTER_ID_BYTES);
        size += (int)print_hex(text + size, "secret", meta->secret, CLUSTER_SECRET_BYTES);
    }
    assert(size > 0 && size < META_BYTES_MAX - 16);
    uint32_t crc = crc32c(0, bytes_of(text, (size_t)size));
    return (size_t)size +
           (size_t)snprintf(text + size, META_BYTES_MAX - (size_t)size, "crc %08" PRIx32 "\n", crc);
}

static bool parse_cluster(const char *text, struct directory_meta *meta)
{
    const char *begun = strstr(text, "\nbegun ");

    meta->begun = begun != NULL && begun[7] == '1';
    const char *policies = strstr(text, "\npolicies ");
    if (policies == NULL || sscanf(policies, " policies %" SCNx32, &meta->policies) != 1) {
        return false;
    }
    return parse_hex(text, "cluster", meta->cluster, CLUSTER_ID_BYTES) &&
           parse_hex(text, "secret", meta->secret, CLUSTER_SECRET_BYTES);
}

/* Returns 0, -EBADMSG, -EPROTONOSUPPORT. */
static int meta_parse(const char *text, struct directory_meta *meta)
{
    struct directory_meta found = {0};
    char again[META_BYTES_MAX];
    int version = 0, clean = 0;

    if (sscanf(text, "belay-data %d\n", &version) != 1) {
        return -EBADMSG;
    }
    if (version < 1 || version > DIRECTORY_VERSION) {
        return -EPROTONOSUPPORT;
    }
    if (sscanf(text,
               "belay-data %d id %" SCNx64 " seed %" SCNx64 " node %" SCNu32 " start %" SCNu32
               " run %" SCNu32 " shards %" SCNu32 " generation %" SCNu64
               " clean %d clean-hlc %" SCNu64 " inode %" SCNu64,
               &version, &found.id, &found.seed, &found.actor.node, &found.actor.start, &found.run,
               &found.shards, &found.generation, &clean, &found.clean_hlc, &found.inode) != 11) {
        return -EBADMSG;
    }
    found.clean = clean != 0;
    if (found.shards == 0 || found.shards > DIRECTORY_SHARDS_MAX || found.actor.node == 0 ||
        found.actor.start == 0) {
        return -EBADMSG;
    }
    if (version > 1 && !parse_cluster(text, &found)) {
        return -EBADMSG;
    }
    meta_print(&found, version, again);
    if (strcmp(again, text) != 0) {
        return -EBADMSG;
    }
    *meta = found;
    return 0;
}

/* Returns whether there was some room to give. */
static bool give_reserve(const struct directory *directory)
{
    char path[PATH_BYTES_MAX];

    return path_join(path, directory->path, DIRECTORY_RESERVE_NAME) == 0 &&
           directory->files->remove(directory->files, path) == 0 &&
           directory->files->sync_directory(directory->files, directory->path) == 0;
}

static int replace_meta(const struct directory *directory)
{
    char text[META_BYTES_MAX];
    size_t size = meta_print(&directory->meta, DIRECTORY_VERSION, text);

    return files_replace(directory->files, directory->path, DIRECTORY_META_NAME, text, size);
}

int directory_meta_write(const struct directory *directory)
{
    int rc = replace_meta(directory);

    return rc == -ENOSPC && give_reserve(directory) ? replace_meta(directory) : rc;
}

int directory_meta_read(struct directory *directory)
{
    struct files *files = directory->files;
    char path[PATH_BYTES_MAX], text[META_BYTES_MAX];

    int rc = path_join(path, directory->path, DIRECTORY_META_NAME);
    if (rc != 0) {
        return rc;
    }
    int fd = files->open(files, path, O_RDONLY);
    if (fd < 0) {
        return fd;
    }
    int64_t size = files->read(files, fd, text, sizeof text - 1, 0);
    files->close(files, fd);
    if (size < 0) {
        return (int)size;
    }
    text[size] = '\0';
    return meta_parse(text, &directory->meta);
}

void directory_make_reserve(const struct directory *directory)
{
    static const uint8_t zeros[RESERVE_BYTES];
    struct files *files = directory->files;
    char path[PATH_BYTES_MAX];
    uint64_t size = 0;

    if (path_join(path, directory->path, DIRECTORY_RESERVE_NAME) != 0) {
        return;
    }
    int fd = files->open(files, path, O_WRONLY | O_CREAT);
    if (fd < 0) {
        return;
    }
    int rc = files->size(files, fd, &size);
    if (rc == 0 && size < RESERVE_BYTES) {
        rc = files->write(files, fd, zeros, sizeof zeros, 0);
    }
    files->close(files, fd);
    if (rc != 0) {
        (void)files->remove(files, path);
    }
}
