#include "node_retention.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "archive_retention.h"
#include "node_archive.h"
#include "node_private.h"

enum {
    RETENTION_NICE = 10,
    ROUNDS = 24, /* In the time that is kept. */
    ROUND_MS_MIN = 100,
    ROUND_MS_MAX = 3600 * 1000,
    TIDY_MS = 24 * 3600 *
              1000, /* So old is what nobody is still writing; and so often it is looked for. */
    RETENTION_CALL_MS = 5000, /* Of a call; there is another round. */
    /* Of what a round reads before it removes: 1 TiB takes nine hours, and a node's network has room beside it. */
    READ_BYTES_PER_MS = 32 * 1024,
};

struct node_retention {
    struct node *node;
    uint64_t round_ms;
    atomic_bool stops;
    pthread_mutex_t lock; /* Of stopping. */
    pthread_cond_t changed;
    pthread_t thread;
    bool failed;         /* The last round did, and it was told. */
    uint64_t tidy_ms;    /* When it is looked for what nobody ended. */
    uint64_t read_bytes; /* That were not waited for yet. */
};

static uint64_t real_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool stops(void *context)
{
    const struct node_retention *retention = context;

    return retention->stops;
}

/* For so long, or until it stops. */
static void wait_ms(struct node_retention *retention, uint64_t ms)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&retention->lock);
    while (!retention->stops && rc == 0) {
        rc = pthread_cond_timedwait(&retention->changed, &retention->lock, &until);
    }
    pthread_mutex_unlock(&retention->lock);
}

static void on_read(void *context, uint64_t bytes)
{
    struct node_retention *retention = context;

    retention->read_bytes += bytes;
    if (retention->read_bytes >= READ_BYTES_PER_MS) {
        wait_ms(retention, retention->read_bytes / READ_BYTES_PER_MS);
        retention->read_bytes %= READ_BYTES_PER_MS;
    }
}

static void on_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                       uint16_t last_slot)
{
    const struct node_retention *retention = context;

    logger_write(retention->node->world.logger, LOG_LEVEL_ERROR, "archive-retention-damaged",
                 LOG_TEXT("object", name), LOG_TEXT("cause", why),
                 LOG_NUMBER("first_slot", first_slot), LOG_NUMBER("last_slot", last_slot),
                 LOG_TEXT("effect", "what its checkpoint has is kept in the log as well"));
}

static void tell(struct node_retention *retention, int rc, const char *text,
                 const struct retention_round *round)
{
    struct logger *logger = retention->node->world.logger;

    if (rc == 0 && round->objects + round->unended > 0) {
        logger_write(logger, LOG_LEVEL_INFO, "archive-retention",
                     LOG_NUMBER("objects", round->objects), LOG_NUMBER("bytes", round->bytes),
                     LOG_NUMBER("unended", round->unended));
    } else if (rc != 0 && rc != -ECANCELED && !retention->failed) {
        logger_write(logger, LOG_LEVEL_WARN, "archive-retention-failed",
                     LOG_TEXT("cause", text[0] != '\0' ? text : strerror(-rc)),
                     LOG_TEXT("effect", "nothing is removed; it is tried again"));
    }
    retention->failed = rc != 0 && rc != -ECANCELED;
}

static void run_round(struct node_retention *retention)
{
    const struct node *node = retention->node;
    const struct config *config = node->world.config;
    struct archive_place place = node_archive_place(node, RETENTION_CALL_MS);
    uint64_t now_ms = real_ms();
    struct retention_round round = {
        .from_ms = config->archive_keep < now_ms ? now_ms - config->archive_keep : 0,
        .tidy_ms = now_ms >= retention->tidy_ms ? now_ms - TIDY_MS : 0,
        .damaged = on_damaged,
        .read = on_read,
        .stops = stops,
        .context = retention,
    };
    static struct archive_access access; /* Of this thread alone; it is large. */

    int rc = access_open(&access, &place, config->archive_key_file);
    if (rc == 0) {
        access.stops = &retention->stops;
        rc = retention_run(&access, node->directory.meta.cluster, &round);
        access_close(&access);
    }
    if (rc == 0 && round.tidy_ms != 0) {
        retention->tidy_ms = now_ms + TIDY_MS;
    }
    tell(retention, rc, access.text, &round);
}

static void *retention_main(void *context)
{
    struct node_retention *retention = context;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), RETENTION_NICE);
    for (;;) {
        wait_ms(retention, retention->round_ms);
        if (retention->stops) {
            return NULL;
        }
        run_round(retention);
    }
}

int node_retention_start(struct node *node)
{
    uint64_t keep_ms = node->world.config->archive_keep, round_ms = keep_ms / ROUNDS;
    pthread_condattr_t attributes;

    if (node->archive == NULL || keep_ms == 0) {
        return 0;
    }
    struct node_retention *retention = calloc(1, sizeof *retention);
    if (retention == NULL) {
        return -ENOMEM;
    }
    retention->node = node;
    retention->round_ms = round_ms < ROUND_MS_MIN   ? ROUND_MS_MIN
                          : round_ms > ROUND_MS_MAX ? ROUND_MS_MAX
                                                    : round_ms;
    pthread_mutex_init(&retention->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&retention->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    int rc = pthread_create(&retention->thread, NULL, retention_main, retention);
    if (rc != 0) {
        pthread_cond_destroy(&retention->changed);
        pthread_mutex_destroy(&retention->lock);
        free(retention);
        return -rc;
    }
    node->retention = retention;
    return 0;
}

void node_retention_stop(struct node *node)
{
    struct node_retention *retention = node->retention;

    if (retention == NULL) {
        return;
    }
    pthread_mutex_lock(&retention->lock);
    retention->stops = true;
    pthread_cond_signal(&retention->changed);
    pthread_mutex_unlock(&retention->lock);
    pthread_join(retention->thread, NULL);
    pthread_cond_destroy(&retention->changed);
    pthread_mutex_destroy(&retention->lock);
    free(retention);
    node->retention = NULL;
}
