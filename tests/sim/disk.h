/* The disk of one node: one file that grows, whose bytes become durable later.
 *
 * sim_disk_append() puts bytes behind the others; they are in the file at once, as in a staging that is mapped, or
 * (`kept` false) in the memory of the process. One device write is under way at a time, of all that was there when it
 * began; when it is done the scenario hears of it (written()) and begins the next one. What a stop leaves:
 *
 *   the process is gone  everything; without `kept` what is durable or under way
 *   the machine is gone  what is durable; of a write under way any of its blocks, the others are zeros or
 *                        bytes of something else
 *   wiped                nothing
 *
 * It may be slow, be full for a while (nothing is appended then), or fail one device write: then it takes no more
 * until the next start, and of the failed write nothing or something has come down.
 */
#ifndef DISK_H
#define DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

struct sim;

enum {
    SIM_DISK_BLOCK = 64,
    SIM_DISK_WRITE_US_MAX = 8000,
    SIM_DISK_SLOW_US_MAX = 200000,
};

struct sim_disk {
    uint32_t node;
    bool other; /* It is the node's second one. */
    bool kept;
    uint8_t *data;
    size_t size, capacity, durable;
    bool writing;
    size_t writing_end;
    uint64_t writing_number; /* A completion of another one is void. */
    bool full, slow, fails_next, failed;
    uint64_t failed_us; /* Since when. */
    uint64_t room_us;   /* When there was room again the last time; 0: there always was. */
    bool wiped;         /* Since the last start. */
};

void sim_disk_init(struct sim_disk *disk, uint32_t node, bool other);
void sim_disk_fini(struct sim_disk *disk);

/* Returns 0; -ENOSPC; -EIO where it has failed. */
int sim_disk_append(struct sim_disk *disk, struct bytes part);

/* There is room on it again, if it was full. */
void sim_disk_make_room(struct sim *sim, struct sim_disk *disk);

/* Begin a device write of all that is not durable, unless there is nothing or one is under way. */
void sim_disk_write(struct sim *sim, struct sim_disk *disk);

/* What is left of the file when the process, or the machine, is gone. */
void sim_disk_kill(struct sim *sim, struct sim_disk *disk);
void sim_disk_crash(struct sim *sim, struct sim_disk *disk);
void sim_disk_wipe(struct sim_disk *disk);

/* A start found the file good up to `size`: the rest goes, all of that is durable. */
void sim_disk_settle(struct sim_disk *disk, size_t size);

#endif
