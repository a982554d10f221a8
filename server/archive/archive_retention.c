#include "archive_retention.h"

#include <errno.h>
#include <string.h>

struct removing {
    struct archive_access *access;
    struct retention_round *round;
    struct archive_name
        checkpoint; /* `done` of the one whose parts were looked at last: it goes, or is... */
    bool made;      /* ... there, though it was not listed. */
};

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

static int remove_one(void *context, const struct archive_name *name, uint64_t size)
{
    struct removing *removing = context;
    struct retention_round *round = removing->round;
    char text[ARCHIVE_NAME_BYTES];
    int rc = 0;

    if (round->stops != NULL && round->stops(round->context)) {
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

int retention_run(struct archive_access *access, const uint8_t cluster[CLUSTER_ID_BYTES],
                  struct retention_round *round)
{
    struct removing removing = {.access = access, .round = round};
    struct archive_catalog catalog;

    round->objects = round->bytes = round->unended = 0;
    int rc = access_catalog(access, cluster, &catalog);
    if (rc != 0) {
        return rc;
    }
    rc = catalog_retain(&catalog, &access->port, hlc_of_ms(round->from_ms), remove_one, &removing);
    catalog_fini(&catalog);
    if (rc == 0 && round->tidy_ms != 0 && !round->dry) {
        char prefix[ARCHIVE_NAME_BYTES];
        const struct actor any = {0, 0};
        archive_name_prefix(prefix, ARCHIVE_LOG, cluster, any);
        strchr(prefix, '/')[1] = '\0'; /* All of the cluster's. */
        rc = access_tidy(access, prefix, round->tidy_ms, &round->unended);
    }
    return rc;
}
