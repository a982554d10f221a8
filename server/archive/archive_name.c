#include "archive_name.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- Writing ---- */

static void put_cluster(char to[2 * CLUSTER_ID_BYTES + 1], const uint8_t cluster[CLUSTER_ID_BYTES])
{
    for (size_t i = 0; i < CLUSTER_ID_BYTES; i++) {
        snprintf(to + 2 * i, 3, "%02x", cluster[i]);
    }
}

void archive_name_prefix(char to[ARCHIVE_NAME_BYTES], enum archive_kind kind,
                         const uint8_t cluster[CLUSTER_ID_BYTES], struct actor actor)
{
    char id[2 * CLUSTER_ID_BYTES + 1];
    const char *folder = kind == ARCHIVE_LOG ? "log" : "checkpoint";

    put_cluster(id, cluster);
    if (actor.node == 0) {
        snprintf(to, ARCHIVE_NAME_BYTES, "%s/%s/", id, folder);
    } else {
        snprintf(to, ARCHIVE_NAME_BYTES, "%s/%s/%08" PRIx32 "%08" PRIx32 "/", id, folder,
                 actor.node, actor.start);
    }
}

void archive_name_put(char to[ARCHIVE_NAME_BYTES], const struct archive_name *name)
{
    assert(name->actor.node != 0 && name->part < ARCHIVE_PARTS_MAX);
    archive_name_prefix(to, name->kind, name->cluster, name->actor);
    size_t size = strlen(to);
    size += (size_t)snprintf(to + size, ARCHIVE_NAME_BYTES - size, "%016" PRIx64, name->sequence);
    if (name->kind == ARCHIVE_PART) {
        snprintf(to + size, ARCHIVE_NAME_BYTES - size, "/%08" PRIx32, name->part);
    } else if (name->kind == ARCHIVE_DONE) {
        snprintf(to + size, ARCHIVE_NAME_BYTES - size, "/done");
    }
}

/* ---- Reading ---- */

static bool take(const char **text, const char *word)
{
    size_t size = strlen(word);

    if (strncmp(*text, word, size) != 0) {
        return false;
    }
    *text += size;
    return true;
}

static bool take_hex(const char **text, unsigned digits, uint64_t *value)
{
    *value = 0;
    for (; digits > 0; digits--) {
        char digit = **text;
        if (digit >= '0' && digit <= '9') {
            *value = *value << 4 | (uint64_t)(digit - '0');
        } else if (digit >= 'a' && digit <= 'f') {
            *value = *value << 4 | (uint64_t)(digit - 'a' + 10);
        } else {
            return false;
        }
        *text += 1;
    }
    return true;
}

static bool take_cluster(const char **text, uint8_t cluster[CLUSTER_ID_BYTES])
{
    for (size_t i = 0; i < CLUSTER_ID_BYTES; i++) {
        uint64_t byte;
        if (!take_hex(text, 2, &byte)) {
            return false;
        }
        cluster[i] = (uint8_t)byte;
    }
    return true;
}

static bool take_actor(const char **text, struct actor *actor)
{
    uint64_t node, start;

    if (!take_hex(text, 8, &node) || !take_hex(text, 8, &start) || node == 0 || start == 0) {
        return false;
    }
    *actor = (struct actor){(uint32_t)node, (uint32_t)start};
    return true;
}

/* What comes after a checkpoint's sequence. */
static bool take_part(const char **text, struct archive_name *name)
{
    uint64_t part;

    if (take(text, "/done")) {
        name->kind = ARCHIVE_DONE;
        return true;
    }
    if (!take(text, "/") || !take_hex(text, 8, &part) || part >= ARCHIVE_PARTS_MAX) {
        return false;
    }
    name->kind = ARCHIVE_PART;
    name->part = (uint32_t)part;
    return true;
}

int archive_name_parse(const char *text, struct archive_name *name)
{
    struct archive_name found = {.kind = ARCHIVE_LOG};

    if (!take_cluster(&text, found.cluster)) {
        return -EINVAL;
    }
    bool log = take(&text, "/log/");
    if ((!log && !take(&text, "/checkpoint/")) || !take_actor(&text, &found.actor) ||
        !take(&text, "/") || !take_hex(&text, 16, &found.sequence) ||
        (!log && !take_part(&text, &found)) || *text != '\0') {
        return -EINVAL;
    }
    *name = found;
    return 0;
}

int archive_name_compare(const struct archive_name *a, const struct archive_name *b)
{
    int order = memcmp(a->cluster, b->cluster, CLUSTER_ID_BYTES);

    if (order != 0) {
        return order;
    }
    if ((a->kind == ARCHIVE_LOG) != (b->kind == ARCHIVE_LOG)) {
        return a->kind == ARCHIVE_LOG ? 1 : -1; /* "checkpoint" is before "log". */
    }
    order = actor_compare(a->actor, b->actor);
    if (order != 0) {
        return order;
    }
    if (a->sequence != b->sequence) {
        return a->sequence < b->sequence ? -1 : 1;
    }
    if (a->kind != b->kind) {
        return a->kind == ARCHIVE_PART ? -1 : 1;
    }
    return (a->part > b->part) - (a->part < b->part);
}
