/* What the store has to say: damage it met, work it did, what failed. Never contents of sessions but for
 * keys.
 *
 * Threads: called from whichever thread did the work (the one that restores, or the store's own); what
 * `report` points at is valid during the call.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

/* X(name, text): the text is what a log line calls it. */
#define STORE_EVENT_TABLE(X)                                                                       \
    X(LOG_DAMAGED, "log-damaged") /* Acknowledged bytes of the log do not read back: file,   \
                                           offset, size; key where it is readable. */     \
    X(LOG_MISSING, "log-missing") /* No file holds this part of the log: lsn, end_lsn; the file \
                                           that ends before it, offset, where there is one. */  \
    X(LOG_TORN, "log-torn")       /* The last write before a crash was cut short: file,       \
                                           offset. Nothing acknowledged is lost. */    \
    X(LOG_BASELESS, "log-baseless") /* A change whose session is not here (it was damaged):     \
                                           key, lsn. */  \
    X(CHECKPOINT_DAMAGED,                                                                          \
      "checkpoint-damaged")               /* A stored session does not read back: key where   \
                                                   it is readable. */    \
    X(CHECKPOINT_DONE, "checkpoint-done") /* lsn: covered; size: sessions in it; offset:      \
                                                   bytes of log gone through. */    \
    X(FAILED, "store-failed")             /* Work in the background failed and will be tried  \
                                                   again: error, text. */    \
    X(STAGING_REFUSED, "staging-refused") /* No file for the log's staging: error. */              \
    X(STAGING_TAKEN,                                                                               \
      "staging-taken")        /* The log goes on with what a killed process left in the    \
                                                   staging: lsn, size. */       \
    X(DISK_FULL, "disk-full") /* No room for more log. */                                          \
    X(DISK_ROOM, "disk-room") /* Room again. */

enum store_event {
#define STORE_EVENT_ENUM(name, text) STORE_##name,
    STORE_EVENT_TABLE(STORE_EVENT_ENUM)
#undef STORE_EVENT_ENUM
};

struct store_report {
    enum store_event event;
    uint32_t shard;
    const char *file; /* Name in the shard's directory, or NULL. */
    uint64_t offset, size;
    uint64_t lsn, end_lsn;
    struct bytes key; /* Or empty. */
    bool in_slot;     /* CHECKPOINT_DAMAGED: it is a session of... */
    uint32_t slot;    /* ... this slot, whatever of it can be read. */
    int error;        /* Negative errno, or 0. */
    const char *text; /* Or NULL. */
};

struct reporter {
    void (*report)(struct reporter *reporter, const struct store_report *report);
};

/* "log-damaged" and so on. */
const char *store_event_name(enum store_event event);

#endif
