/* The inside of a restore, for restore_prepare.c (what there is) and restore.c (giving it). */
#ifndef RESTORE_STATE_H
#define RESTORE_STATE_H

#include "log_format.h"
#include "report.h"
#include "restore.h"

void restore_tell(const struct restore *restore, struct store_report report);

/* Records that were left lie in memory. They have the LSNs that settling gives them: a MARK, then one by
 * one. */
static const struct log_epoch restore_left_epoch = {.number = 1};

static inline uint64_t restore_left_offset(size_t at)
{
    return LOG_HEADER_BYTES + LOG_RECORD_HEADER_BYTES + at;
}

#endif
