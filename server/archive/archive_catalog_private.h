/* The inside of the catalog, for archive_catalog*.c. */
#ifndef ARCHIVE_CATALOG_PRIVATE_H
#define ARCHIVE_CATALOG_PRIVATE_H

#include "archive_catalog.h"

/* Does this error say that an object cannot be read, so that what is in it is lost? */
bool catalog_is_passed_over(int rc);

/* Does a checkpoint cover something that `cover` does not? */
bool catalog_adds_to(const struct archive_reader *reader, const struct seen *cover);

/* Set `needed` of each checkpoint, and join what those have seen into `cover`. Returns as catalog_plan(). */
int catalog_plan_checkpoints(struct archive_catalog *catalog, struct catalog_port *port,
                             uint64_t as_of_hlc, struct seen *cover);

/* Open a log object and set what the plan says of it. Where checkpoints have all of it, its slots become true in `relied`
 * (NULL: nobody asks). Returns the same. */
int catalog_plan_log(const struct archive_catalog *catalog, struct catalog_port *port,
                     struct catalog_log *log, uint64_t as_of_hlc, const struct seen *cover,
                     bool relied[]);

void catalog_note_slots(const struct archive_reader *reader, bool slots[]);

/* The first time from which a checkpoint of the actor has all that it stamped up to `hlc`; 0: none has. */
uint64_t catalog_closed_hlc(const struct archive_catalog *catalog, struct actor actor,
                            uint64_t hlc);

/* Where the logs of the actor of index `first` end. */
size_t catalog_actor_end(const struct archive_catalog *catalog, size_t first);

#endif
