#include "archive_retention.h"

#include <errno.h>

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

    round->objects = round->bytes = 0;
    int rc = access_catalog(access, cluster, &catalog);
    if (rc != 0) {
        return rc;
    }
    rc = catalog_retain(&catalog, &access->port, hlc_of_ms(round->from_ms), remove_one, &removing);
    catalog_fini(&catalog);
    return rc;
}
