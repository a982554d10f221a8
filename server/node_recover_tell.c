/* What the log says of a restore: what cannot be read, what is refused, and why it waits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node_recover_private.h"

enum {
    REFUSED_TOLD_MAX = 16,       /* Of a range; the others are counted. */
    DAMAGED_BYTES_MAX = 1 << 20, /* Of lines that are kept, so that each is told once. */
    OBJECTS_BYTES = 512,         /* Names of those that a session is of. */
};

/* ---- Damage ---- */

/* Was it told before, by either thread? It is from here on. The lock is held. */
static bool was_told(struct node_recover *recover, const char *name, uint16_t first, uint16_t last)
{
    char line[ARCHIVE_NAME_BYTES + 24];
    struct buffer *told = &recover->damaged;
    const int size = snprintf(line, sizeof line, "%s %u %u\n", name, first, last);
    const struct bytes one = bytes_of(line, (size_t)size);

    if (told->size > 0 && memmem(told->data, told->size, one.data, one.size) != NULL) {
        return true;
    }
    if (told->size + one.size <= DAMAGED_BYTES_MAX) {
        (void)buffer_append(told, one); /* Without memory it may be told twice. */
    }
    return false;
}

void recover_tell_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                          uint16_t last_slot)
{
    const struct recover_worker *worker = context;
    struct node_recover *recover = worker->recover;

    pthread_mutex_lock(&recover->lock);
    const bool news = !was_told(recover, name, first_slot, last_slot);
    recover->figures.damaged += news;
    pthread_mutex_unlock(&recover->lock);
    if (news) {
        logger_write(recover->node->world.logger, LOG_LEVEL_ERROR, "archive-restore-damaged",
                     LOG_TEXT("object", name), LOG_TEXT("cause", why),
                     LOG_NUMBER("first_slot", first_slot), LOG_NUMBER("last_slot", last_slot),
                     LOG_TEXT("effect", "what it has is not restored, all else is"));
    }
}

/* ---- Refused ---- */

void recover_note_refused(void *context, struct bytes key, enum status status)
{
    struct recover_worker *worker = context;
    struct node_recover *recover = worker->recover;
    uint8_t head[1 + VARINT_BYTES_MAX] = {(uint8_t)status};
    const uint8_t *end = varint_put(head + 1, key.size);
    const struct bytes first = bytes_of(head, (size_t)(end - head));

    pthread_mutex_lock(&recover->lock);
    worker->partly[slot_of_key(key)] = true;
    if (worker->refused_count < REFUSED_TOLD_MAX &&
        buffer_reserve(&worker->refused, first.size + key.size) == 0) {
        (void)buffer_append(&worker->refused, first);
        (void)buffer_append(&worker->refused, key);
        worker->refused_count++;
    }
    pthread_mutex_unlock(&recover->lock);
}

const char recover_ahead_text[] =
    "a session is of a time that has not come yet: its slot waits until then. Is the clock of this "
    "node behind?";

void recover_note_ahead(void *context, struct bytes key)
{
    struct recover_worker *worker = context;

    pthread_mutex_lock(&worker->recover->lock);
    worker->recover->ahead[slot_of_key(key)] = true;
    pthread_mutex_unlock(&worker->recover->lock);
}

void recover_tell_ahead(struct node_recover *recover)
{
    uint32_t slots = 0;

    pthread_mutex_lock(&recover->lock);
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        slots += recover->ahead[slot] && recover_is_due(recover, slot);
    }
    const bool news = slots > 0 && !recover->ahead_told;
    recover->ahead_told = slots > 0;
    pthread_mutex_unlock(&recover->lock);
    if (news) {
        logger_write(recover->node->world.logger, LOG_LEVEL_WARN, "archive-restore-ahead",
                     LOG_NUMBER("slots", slots), LOG_TEXT("cause", recover_ahead_text),
                     LOG_TEXT("effect", "these slots are not served until then, all others are"));
    }
}

static void add_object(void *context, const char *name)
{
    char *objects = context;
    const size_t size = strlen(objects);

    snprintf(objects + size, OBJECTS_BYTES - size, "%s%s", size > 0 ? ", " : "", name);
}

/* Its records are looked for anew: it is rare, and may tell who comes to help which objects to look at (archive cat). */
static void tell_one(struct recover_worker *worker, struct bytes key, enum status status)
{
    char objects[OBJECTS_BYTES] = "";

    (void)reading_find(&worker->reading, key, add_object, objects); /* It is told either way. */
    logger_write(worker->recover->node->world.logger, LOG_LEVEL_ERROR, "archive-restore-refused",
                 LOG_BYTES("key", key), LOG_TEXT("object", objects),
                 LOG_TEXT("cause", status_text(status)),
                 LOG_TEXT("effect", "this session is not restored, all others are"));
}

void recover_tell_refused(struct recover_worker *worker)
{
    struct reader from = reader_of(buffer_bytes(&worker->refused)); /* None is under way. */

    while (reader_left(&from) > 0) {
        const enum status status = (enum status)read_u8(&from);
        tell_one(worker, read_string(&from), status);
    }
    worker->refused.size = 0;
    worker->refused_count = 0;
    worker->access.text[0] = '\0';
}

/* ---- Trouble ---- */

void recover_tell_trouble(struct recover_worker *worker, int rc)
{
    recover_tell_waits(worker->recover,
                       worker->access.text[0] != '\0' ? worker->access.text : strerror(-rc),
                       worker->reads && rc != -ENOMEM);
}

void recover_tell_waits(struct node_recover *recover, const char *cause, bool archive)
{
    pthread_mutex_lock(&recover->lock);
    const bool news = recover->figures.cause[0] == '\0';
    snprintf(recover->figures.cause, sizeof recover->figures.cause, "%.200s", cause);
    pthread_mutex_unlock(&recover->lock);
    if (news) {
        logger_write(recover->node->world.logger, LOG_LEVEL_ERROR, "archive-restore-waits",
                     LOG_TEXT("cause", cause),
                     LOG_TEXT("effect", archive ? "lost slots are not served; it is tried again. "
                                                  "Where the archive is gone for good: belayctl "
                                                  "archive give-up"
                                                : "lost slots are not served; it is tried again"));
    }
}

/* ---- Without an archive ---- */

static const char unarchived_text[] = "this node has no archive: set archive.url to the one that "
                                      "has them and restart it, or give them up "
                                      "(belayctl archive give-up)";

void recover_tell_unarchived(struct node *node, const struct map *map)
{
    const uint32_t slots = map_count_lost(map, node->directory.meta.actor.node);

    if (slots > 0 && !node->lost_told) {
        logger_write(
            node->world.logger, LOG_LEVEL_WARN, "archive-restore-impossible",
            LOG_NUMBER("slots", slots), LOG_TEXT("cause", unarchived_text),
            LOG_TEXT("effect", "the sessions of these slots are not served, nor begun anew"));
    }
    node->lost_told = slots > 0;
}

void recover_figures_unarchived(const struct node *node, const struct map *map,
                                struct metrics_restore *to)
{
    to->slots = map == NULL ? 0 : map_count_lost(map, node->directory.meta.actor.node);
    if (to->slots > 0) {
        snprintf(to->cause, sizeof to->cause, "%s", unarchived_text);
    }
}
