#include "disk.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

void sim_disk_init(struct sim_disk *disk, uint32_t node, bool other)
{
    *disk = (struct sim_disk){.node = node, .other = other, .kept = true};
}

void sim_disk_fini(struct sim_disk *disk)
{
    free(disk->data);
}

int sim_disk_append(struct sim_disk *disk, struct bytes part)
{
    if (disk->failed) {
        return -EIO;
    }
    if (disk->full) {
        return -ENOSPC;
    }
    if (disk->capacity < disk->size + part.size) {
        disk->capacity = 2 * (disk->size + part.size);
        disk->data = sim_more(disk->data, disk->capacity);
    }
    memcpy(disk->data + disk->size, part.data, part.size);
    disk->size += part.size;
    return 0;
}

void sim_disk_make_room(struct sim *sim, struct sim_disk *disk)
{
    disk->room_us = disk->full ? sim->now_us : disk->room_us;
    disk->full = false;
}

enum { OTHER = 256 }; /* Of an event: it is the second disk's. */

static struct sim_disk *disk_at(struct sim *sim, uint64_t place)
{
    struct sim_node *node = &sim->nodes[place % OTHER];

    return place >= OTHER ? &node->other : &node->disk;
}

static uint64_t place_of(const struct sim_disk *disk)
{
    return disk->node + (disk->other ? OTHER : 0);
}

/* The node hears of it in its own time. */
static void tell(struct sim *sim, const struct sim_event *event)
{
    struct sim_node *node = &sim->nodes[event->end];

    sim->scenario->written(sim, event->b / OTHER == 1 ? &node->other : &node->disk,
                           event->b % OTHER != 0);
}

static void write_done(struct sim *sim, const struct sim_event *event)
{
    struct sim_disk *disk = disk_at(sim, event->a);

    if (!disk->writing || disk->writing_number != event->b) {
        return;
    }
    disk->writing = false;
    bool good = !disk->fails_next;
    if (good) {
        disk->durable = disk->writing_end;
    } else {
        disk->fails_next = false;
        disk->failed = true;
        disk->failed_us = sim->now_us;
        sim_count(sim, SIM_FAILED_WRITES);
    }
    if (sim->nodes[disk->node].up) {
        sim_after(sim, 0, disk->node, "written", tell, disk->durable,
                  (good ? 1U : 0U) + (disk->other ? OTHER : 0U));
    }
}

void sim_disk_write(struct sim *sim, struct sim_disk *disk)
{
    if (disk->writing || disk->failed || disk->durable == disk->size) {
        return;
    }
    uint64_t us = sim_between(sim, SIM_RANDOM_DISK, 50,
                              disk->slow ? SIM_DISK_SLOW_US_MAX : SIM_DISK_WRITE_US_MAX);
    disk->writing = true;
    disk->writing_end = disk->size;
    disk->writing_number++;
    sim_after(sim, us, 0, "device", write_done, place_of(disk), disk->writing_number);
}

void sim_disk_kill(struct sim *sim, struct sim_disk *disk)
{
    size_t end = disk->writing ? disk->writing_end : disk->durable;

    if (!disk->kept && disk->size > end) {
        sim_count(sim, SIM_LOST_WRITES);
        disk->size = end;
    }
}

/* Each block of the write that was under way is there or not. */
static void tear(struct sim *sim, struct sim_disk *disk, size_t end)
{
    size_t at = disk->durable;
    bool torn = false, came = false;

    while (at < end) {
        size_t next = at / SIM_DISK_BLOCK * SIM_DISK_BLOCK + SIM_DISK_BLOCK;
        size_t stop = next < end ? next : end;
        bool gone = sim_chance(sim, SIM_RANDOM_DISK, 40);
        if (gone) {
            bool zeros = sim_chance(sim, SIM_RANDOM_DISK, 50);
            for (size_t i = at; i < stop; i++) {
                disk->data[i] = zeros ? 0 : (uint8_t)sim_random(sim, SIM_RANDOM_DISK);
            }
        }
        torn |= gone;
        came |= !gone;
        at = stop;
    }
    if (torn && came) {
        sim_count(sim, SIM_TORN_WRITES);
    }
}

void sim_disk_crash(struct sim *sim, struct sim_disk *disk)
{
    size_t end = disk->writing || disk->failed ? disk->writing_end : disk->durable;

    if (disk->size > disk->durable) {
        sim_count(sim, SIM_LOST_WRITES);
    }
    if (end > disk->durable && sim_chance(sim, SIM_RANDOM_DISK, 25)) {
        end = disk->durable;
    }
    end = end < disk->size ? end : disk->size;
    tear(sim, disk, end);
    disk->size = end;
    disk->writing = false;
}

void sim_disk_wipe(struct sim_disk *disk)
{
    disk->size = disk->durable = 0;
    disk->writing = disk->failed = disk->fails_next = false;
    disk->wiped = true;
}

void sim_disk_settle(struct sim_disk *disk, size_t size)
{
    assert(size <= disk->size);
    disk->size = disk->durable = size;
    disk->writing = disk->failed = disk->fails_next = false;
}
