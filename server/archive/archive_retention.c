#include "archive_retention.h"

#include <errno.h>
#include <string.h>

struct removing {
    struct archive_access *access;
    struct retention_round *round;
};

static int remove_one(void *context, const struct archive_name *name, uint64_t size)
{
    const struct removing *removing = context;
    struct retention_round *round = removing->round;
    char text[ARCHIVE_NAME_BYTES];
    int rc = 0;

    if (round->stops != NULL && round->stops(round->context)) {
        return -ECANCELED;
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
    struct removing removing = {access, round};
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
