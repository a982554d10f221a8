#include "archive_retention.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "archive_check.h"

enum { GONE_FIRST = 64, LAST_SLOT = SLOT_COUNT - 1 };

struct gone {
    struct archive_name name;
    uint64_t size;
};

struct removing {
    struct archive_access *access;
    struct retention_round *round;
    const uint8_t *cluster; /* CLUSTER_ID_BYTES. */
    struct archive_catalog catalog;
    struct archive_check check;
    bool relied[SLOT_COUNT]; /* Something of these slots is to go. */
    bool *checked;           /* Of each checkpoint: it was read, and is sound. */
    struct gone *gone;       /* What is to go, in order. */
    size_t gone_count, gone_capacity;
    struct archive_name
        checkpoint; /* `done` of the one whose parts were looked at last: it goes, or is... */
    bool made;      /* ... there, though it was not listed. */
};

static bool stops(const struct removing *removing)
{
    const struct retention_round *round = removing->round;

    return round->stops != NULL && round->stops(round->context);
}

/* ---- What is to go ---- */

static int gather(void *context, const struct archive_name *name, uint64_t size)
{
    struct removing *removing = context;

    if (removing->gone_count == removing->gone_capacity) {
        size_t capacity = removing->gone_capacity == 0 ? GONE_FIRST : removing->gone_capacity * 2;
        struct gone *gone = realloc(removing->gone, capacity * sizeof *gone);
        if (gone == NULL) {
            return -ENOMEM;
        }
        removing->gone = gone;
        removing->gone_capacity = capacity;
    }
    removing->gone[removing->gone_count++] = (struct gone){*name, size};
    return 0;
}

/* ---- What it goes for ---- */

static void on_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                       uint16_t last_slot)
{
    const struct removing *removing = context;
    const struct retention_round *round = removing->round;

    if (round->damaged != NULL) {
        round->damaged(round->context, name, why, first_slot, last_slot);
    }
}

static void on_read(void *context, uint64_t bytes)
{
    const struct removing *removing = context;
    const struct retention_round *round = removing->round;

    if (round->read != NULL) {
        round->read(round->context, bytes);
    }
}

/* A checkpoint whose `done` cannot be read was found so by the listing. */
static void tell_unreadable(struct removing *removing)
{
    const struct archive_catalog *catalog = &removing->catalog;
    char text[ARCHIVE_NAME_BYTES];

    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        if (checkpoint->rc == -EBADMSG || checkpoint->rc == -EPROTONOSUPPORT) {
            const struct archive_name name = catalog_done_name(catalog, checkpoint);
            archive_name_put(text, &name);
            on_damaged(removing, text, access_error(checkpoint->rc), 0, LAST_SLOT);
        }
    }
}

/* Returns whether something goes that this checkpoint may have in its place: 1, 0, or negative errno. */
static int is_relied_on(struct removing *removing, const struct catalog_checkpoint *checkpoint)
{
    const struct archive_name name = catalog_done_name(&removing->catalog, checkpoint);
    struct catalog_port *port = &removing->access->port;
    struct archive_reader *reader = NULL;

    int rc = port->open(port, &name, checkpoint->done_size, &reader);
    for (uint32_t i = 0; rc == 0 && i < reader->slot_count; i++) {
        if (reader->slots[i].seen.size > 0 && removing->relied[reader->slots[i].slot]) {
            return 1;
        }
    }
    return rc;
}

static int check_parts(struct removing *removing, const struct catalog_checkpoint *checkpoint,
                       const uint64_t sizes[])
{
    int rc = 0;

    for (uint32_t part = 0; part < checkpoint->parts && rc == 0; part++) {
        const struct archive_name name = catalog_part_name(&removing->catalog, checkpoint, part);
        rc = stops(removing)    ? -ECANCELED
             : sizes[part] == 0 ? -ENOENT
                                : archive_check_object(&removing->check, &name, sizes[part]);
    }
    return rc;
}

/* Read all of a checkpoint. Returns 0: it is sound; -EBADMSG: it is not, as was told; -ENOENT: some of it is not there any
 * more; another negative errno. */
static int check_checkpoint(struct removing *removing, const struct catalog_checkpoint *checkpoint)
{
    const struct archive_name done = catalog_done_name(&removing->catalog, checkpoint);
    const uint64_t told = removing->check.told;
    uint64_t *sizes = calloc((size_t)checkpoint->parts + 1, sizeof *sizes);

    if (sizes == NULL) {
        return -ENOMEM;
    }
    removing->round->checked++;
    int rc = archive_check_object(&removing->check, &done, checkpoint->done_size);
    rc = rc != 0 ? rc : access_part_sizes(removing->access, &removing->catalog, checkpoint, sizes);
    rc = rc != 0 ? rc : check_parts(removing, checkpoint, sizes);
    free(sizes);
    return rc == 0 && removing->check.told > told ? -EBADMSG : rc;
}

/* Read what the next removals rely on. Returns 0; -EAGAIN: of that something is damaged, or gone, and the plan is to be made
 * anew without it; another negative errno. */
static int check_relied(struct removing *removing)
{
    struct archive_catalog *catalog = &removing->catalog;
    int found = 0;

    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        if (!checkpoint->whole || !checkpoint->needed || removing->checked[i]) {
            continue;
        }
        int rc = is_relied_on(removing, checkpoint);
        if (rc == 1) {
            rc = check_checkpoint(removing, checkpoint);
            removing->checked[i] = rc == 0;
        }
        if (rc == -EBADMSG || rc == -ENOENT || rc == -EPROTONOSUPPORT) {
            checkpoint->whole = false;
            found = -EAGAIN;
        } else if (rc != 0) {
            return rc;
        }
    }
    return found;
}

/* ---- Removing it ---- */

static int on_made(void *context, const char *name, uint64_t size)
{
    (void)name;
    (void)size;
    *(bool *)context = true;
    return 0;
}

/* Has the checkpoint of this part become whole since it was listed? One that goes loses its `done` first. */
static int look_whether_made(struct removing *removing, const struct archive_name *part)
{
    struct archive_name done = *part;
    char text[ARCHIVE_NAME_BYTES];

    done.kind = ARCHIVE_DONE;
    done.part = 0;
    if (archive_name_compare(&done, &removing->checkpoint) == 0) {
        return 0;
    }
    archive_name_put(text, &done);
    removing->made = false;
    int rc = access_list(removing->access, text, on_made, &removing->made);
    if (rc == 0) {
        removing->checkpoint = done;
    }
    return rc;
}

static int remove_one(struct removing *removing, const struct archive_name *name, uint64_t size)
{
    struct retention_round *round = removing->round;
    char text[ARCHIVE_NAME_BYTES];
    int rc = 0;

    if (stops(removing)) {
        return -ECANCELED;
    }
    if (name->kind == ARCHIVE_DONE) {
        removing->checkpoint = *name;
        removing->made = false;
    } else if (name->kind == ARCHIVE_PART) {
        rc = look_whether_made(removing, name);
        if (rc != 0 || removing->made) {
            return rc;
        }
    }
    archive_name_put(text, name);
    if (!round->dry) {
        rc = access_remove(removing->access, text);
    }
    if (rc == 0) {
        round->objects++;
        round->bytes += size;
        if (round->removed != NULL) {
            round->removed(round->context, text);
        }
    }
    return rc;
}

/* ---- A round ---- */

static int plan(struct removing *removing)
{
    struct archive_access *access = removing->access;
    const uint64_t from_hlc = hlc_of_ms(removing->round->from_ms);
    int rc;

    tell_unreadable(removing);
    do {
        removing->gone_count = 0;
        rc = catalog_retain(&removing->catalog, &access->port, from_hlc, removing->relied, gather,
                            removing);
        rc = rc != 0 ? rc : check_relied(removing);
    } while (rc == -EAGAIN); /* One checkpoint less each time. */
    return rc;
}

static int tidy(struct removing *removing)
{
    struct retention_round *round = removing->round;
    const struct actor any = {0, 0};
    char prefix[ARCHIVE_NAME_BYTES];

    if (round->tidy_ms == 0 || round->dry) {
        return 0;
    }
    archive_name_prefix(prefix, ARCHIVE_LOG, removing->cluster, any);
    strchr(prefix, '/')[1] = '\0'; /* All of the cluster's. */
    return access_tidy(removing->access, prefix, round->tidy_ms, &round->unended);
}

static int run(struct removing *removing)
{
    int rc = plan(removing);

    for (size_t i = 0; i < removing->gone_count && rc == 0; i++) {
        rc = remove_one(removing, &removing->gone[i].name, removing->gone[i].size);
    }
    return rc != 0 ? rc : tidy(removing);
}

int retention_run(struct archive_access *access, const uint8_t cluster[CLUSTER_ID_BYTES],
                  struct retention_round *round)
{
    round->objects = round->bytes = round->unended = round->checked = 0;
    struct removing *removing = calloc(1, sizeof *removing);
    if (removing == NULL) {
        return -ENOMEM;
    }
    removing->access = access;
    removing->round = round;
    removing->cluster = cluster;
    int rc = access_catalog(access, cluster, &removing->catalog);
    if (rc != 0) {
        free(removing);
        return rc;
    }
    archive_check_init(&removing->check, access, on_damaged, removing);
    removing->check.read = on_read;
    removing->checked = calloc(removing->catalog.checkpoint_count + 1, sizeof *removing->checked);
    rc = removing->checked == NULL ? -ENOMEM : run(removing);
    archive_check_fini(&removing->check);
    catalog_fini(&removing->catalog);
    free(removing->checked);
    free(removing->gone);
    free(removing);
    return rc;
}
