/* belayctl archive restore: what its parts share. */
#ifndef BELAYCTL_ARCHIVE_RESTORE_H
#define BELAYCTL_ARCHIVE_RESTORE_H

#include "archive.h"

enum {
    /* Raw bytes of the archive that are worked on at a time, two times. */
    RESTORE_RANGE_BYTES = 64 * 1024 * 1024,
    RESTORE_RANGE_BYTES_MAX = 256 * 1024 * 1024,
    RESTORE_PATH_BYTES = 4096,
};

/* What is done, and what a restore that was cut short goes on from. */
struct restore_state {
    uint64_t begun_ms;  /* When it was, at first. */
    uint64_t as_of_ms;  /* 0: all that there is. */
    uint32_t next_slot; /* All before it are done. */
    uint64_t sessions, tombstones, expired, left, refused;
    uint64_t damaged; /* Told until then. */
};

struct flight;
struct restore_ranges;

/* Some slots, as they are to be. */
struct restore_range {
    uint16_t first, last;
    int rc;               /* Of reading them; then the rest is nothing, and it is the last one. */
    uint64_t bytes;       /* About so much of the archive was read for it... */
    uint64_t total_bytes; /* ... of so much for all. */
    uint64_t damaged;     /* Told until then. */
    struct archive_state *state;
};

struct restore {
    struct archive_command command;
    const char *from, *as_of_text, *state_text, *session, *prefix, *output;
    bool force, dry_run, undelete;
    struct archive_catalog catalog;
    struct archive_reading reading;
    struct archive_state state; /* Of archive_select.c. */
    struct belay_client *client;
    struct progress progress;
    struct restore_state done;
    char into[CLUSTER_HEX_BYTES]; /* The cluster that runs. */
    char state_path[RESTORE_PATH_BYTES];
    int lock_fd;
    bool resumed;
    uint64_t now_ms; /* When it began. */
    uint64_t bytes_done, begun_ms, told_ms;
    struct buffer record;
    int code; /* CTL_OK as long as it goes on. */
    /* Requests under way. */
    size_t flying, flying_bytes, unsent_bytes;
    struct flight *boarding; /* What is to be sent next, in part. */
    struct flight *again;    /* Those to be sent once more. */
    uint64_t trouble_since_ms;
    bool trouble_told; /* It lasts, and that was told. */
    uint32_t pause_ms;
};

/* The time as of which it restores. */
uint64_t restore_as_of_hlc(const struct restore *restore);

/* After reading_open(): name what it will miss, which counts as damaged. Returns CTL_OK; the exit code, with a message
 * printed, where there is nothing as of that time at all. */
int restore_tell_missing(struct restore *restore);

/* ---- archive_ranges.c: ranges of slots, read on a thread while the one before is on its way ---- */

/* Begin to read, from restore->done.next_slot on; until the end restore->command.access, reading and command.damaged are the
 * thread's. Returns NULL, with a message printed, where that cannot be. */
struct restore_ranges *restore_ranges_begin(struct restore *restore, uint64_t as_of_hlc);
/* The next range, which takes the place of the one before; NULL: there is none. */
const struct restore_range *restore_ranges_next(struct restore_ranges *ranges);
void restore_ranges_end(struct restore_ranges *ranges);

/* ---- archive_flight.c: records on their way into the cluster ---- */

/* Send a session's record; it is copied, and goes with others of its slot. What goes wrong for good sets restore->code, with a message printed, or counts
 * as refused. */
void restore_send(struct restore *restore, struct bytes key, struct bytes record);
/* Wait until all have arrived. */
void restore_land(struct restore *restore);

/* ---- archive_progress.c: where it is ---- */

/* Name the state, and keep others from it until the end. Returns CTL_OK; the exit code, with nothing to unlock. */
int restore_lock(struct restore *restore);
void restore_unlock(struct restore *restore);
/* Read what a restore of the same archive, into the same cluster, left. Returns CTL_OK with `resumed` set accordingly, or an exit code. */
int restore_load(struct restore *restore);
/* Keep it. Returns CTL_OK or an exit code. */
int restore_keep(struct restore *restore);
void restore_forget(struct restore *restore);

/* ---- archive_select.c: one session, or those of a prefix ---- */

int restore_select(struct restore *restore);

#endif
