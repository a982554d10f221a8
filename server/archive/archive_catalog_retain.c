/* Which objects of a catalog nothing needs any more: in the order in which they are to be removed. */
#include <errno.h>
#include <string.h>

#include "archive_catalog_private.h"

struct removing {
    struct archive_catalog *catalog;
    struct catalog_port *port;
    uint64_t from_hlc;
    bool *relied;
    int (*remove)(void *context, const struct archive_name *name, uint64_t size);
    void *context;
};

/* What goes may be of any slot: it cannot be read. */
static void note_any(const struct removing *removing)
{
    memset(removing->relied, true, SLOT_COUNT * sizeof *removing->relied);
}

/* Do checkpoints have what is missing in front of an index, for all restores that are to be possible? `end` is behind the last one
 * that was opened. */
static bool is_closed(const struct removing *removing, size_t index, size_t end)
{
    const struct catalog_log *logs = removing->catalog->logs, *before = &logs[index - 1];
    uint64_t hlc = before->rc == 0 && before->bare ? before->newest_hlc : 0;

    for (size_t i = index; i < end && hlc == 0; i++) {
        hlc = logs[i].rc == 0 ? logs[i].own_hlc : 0;
    }
    uint64_t closed_hlc = catalog_closed_hlc(removing->catalog, logs[index].actor, hlc);
    return closed_hlc != 0 && closed_hlc <= removing->from_hlc;
}

/* Where what may go ends that is covered up to `last`: what shows that something is missing stays. */
static size_t before_gap(const struct removing *removing, size_t first, size_t last, size_t opened,
                         size_t end)
{
    const struct catalog_log *logs = removing->catalog->logs;

    if (last == end) {
        return logs[end - 1].rc == 0 && logs[end - 1].bare ? end - 1 : end;
    }
    for (size_t i = first + 1; i <= last; i++) {
        if (logs[i].sequence != logs[i - 1].sequence + 1 && !is_closed(removing, i, opened)) {
            return i - 1;
        }
    }
    return last;
}

/* The logs of an actor, up to the last of those in front that are covered. What is behind the first that is not need not
 * be opened, so that a round costs what it removes. */
static int remove_logs(const struct removing *removing, size_t first, size_t end,
                       const struct seen *cover)
{
    struct archive_catalog *catalog = removing->catalog;
    size_t last = first, opened = first;
    bool goes = true;
    int rc = 0;

    for (size_t i = first; i < end && goes && rc == 0; opened = ++i) {
        struct catalog_log *log = &catalog->logs[i];
        rc = catalog_plan_log(catalog, removing->port, log, removing->from_hlc, cover,
                              removing->relied);
        last = log->covered ? i + 1 : last;
        goes = log->covered || log->rc != 0;
    }
    last = rc != 0 ? first : before_gap(removing, first, last, opened, end);
    for (size_t i = first; i < last && rc == 0; i++) {
        const struct archive_name name = catalog_log_name(catalog, &catalog->logs[i]);
        if (catalog->logs[i].rc != 0) {
            note_any(removing);
        }
        rc = removing->remove(removing->context, &name, catalog->logs[i].size);
    }
    return rc;
}

static int remove_checkpoint(const struct removing *removing,
                             const struct catalog_checkpoint *checkpoint)
{
    struct archive_name name = catalog_done_name(removing->catalog, checkpoint);
    int rc = 0;

    if (checkpoint->done_size != 0) {
        rc = removing->remove(removing->context, &name, checkpoint->done_size);
    }
    for (uint32_t part = 0; part < checkpoint->parts_end && rc == 0; part++) {
        name = catalog_part_name(removing->catalog, checkpoint, part);
        rc = removing->remove(removing->context, &name, 0);
    }
    return rc;
}

bool catalog_left_behind(const struct archive_catalog *catalog, size_t index)
{
    const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[index];
    const struct actor actor = checkpoint->actor;

    for (size_t i = index + 1; i < catalog->checkpoint_count; i++) {
        if (catalog->checkpoints[i].actor.node == actor.node) {
            return true;
        }
    }
    for (size_t i = 0; i < catalog->log_count; i++) {
        if (catalog->logs[i].actor.node == actor.node &&
            catalog->logs[i].actor.start > actor.start) {
            return true;
        }
    }
    return false;
}

/* Is there a later one of the same node that is whole, and of the time that is kept? */
static bool is_superseded(const struct archive_catalog *catalog, size_t index, uint64_t from_hlc)
{
    const uint32_t node = catalog->checkpoints[index].actor.node;

    for (size_t i = index + 1; i < catalog->checkpoint_count; i++) {
        const struct catalog_checkpoint *later = &catalog->checkpoints[i];
        if (later->actor.node == node && later->whole && later->newest_hlc <= from_hlc) {
            return true;
        }
    }
    return false;
}

/* Does one whose `done` can be read go? Not while those that are whole do not say all that it says: where it is damaged, or
 * a part was not listed, it is still the best that there is. */
static int look_whether_needless(const struct removing *removing, const struct seen *cover,
                                 const struct catalog_checkpoint *checkpoint, bool *goes)
{
    const struct archive_name name = catalog_done_name(removing->catalog, checkpoint);
    struct archive_reader *reader = NULL;

    int rc = removing->port->open(removing->port, &name, checkpoint->done_size, &reader);
    if (rc != 0) {
        return catalog_is_passed_over(rc) ? 0 : rc; /* Somebody else removes it. */
    }
    *goes = !catalog_adds_to(reader, cover);
    if (*goes) {
        catalog_note_slots(reader, removing->relied);
    }
    return 0;
}

static int look_whether_goes(const struct removing *removing, const struct seen *cover,
                             size_t index, bool *goes)
{
    const struct archive_catalog *catalog = removing->catalog;
    const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[index];

    *goes = false;
    if (checkpoint->done_size == 0 || checkpoint->rc == -ENOENT) {
        *goes = catalog_left_behind(catalog, index);
        return 0;
    }
    if (checkpoint->rc != 0) { /* Its parts may be good, and nobody can tell what they have. */
        *goes = is_superseded(catalog, index, removing->from_hlc);
        if (*goes) {
            note_any(removing);
        }
        return 0;
    }
    /* One that says that it is whole may be so, though its parts were not there yet when they were listed. */
    if (checkpoint->newest_hlc > removing->from_hlc || checkpoint->needed ||
        !(checkpoint->whole || catalog_left_behind(catalog, index))) {
        return 0;
    }
    return look_whether_needless(removing, cover, checkpoint, goes);
}

static int remove_all(const struct removing *removing, const struct seen *cover)
{
    const struct archive_catalog *catalog = removing->catalog;
    bool goes;
    int rc = 0;

    for (size_t i = 0, end; i < catalog->log_count && rc == 0; i = end) {
        end = catalog_actor_end(catalog, i);
        rc = remove_logs(removing, i, end, cover);
    }
    for (size_t i = 0; i < catalog->checkpoint_count && rc == 0; i++) {
        rc = look_whether_goes(removing, cover, i, &goes);
        rc = rc == 0 && goes ? remove_checkpoint(removing, &catalog->checkpoints[i]) : rc;
    }
    return rc;
}

int catalog_retain(struct archive_catalog *catalog, struct catalog_port *port, uint64_t from_hlc,
                   bool relied[],
                   int (*remove)(void *context, const struct archive_name *name, uint64_t size),
                   void *context)
{
    const struct removing removing = {catalog, port, from_hlc, relied, remove, context};
    struct seen cover;

    memset(relied, false, SLOT_COUNT * sizeof *relied);
    int rc = seen_init(&cover, catalog->memory, SLOT_COUNT);
    if (rc != 0) {
        return rc;
    }
    rc = catalog_plan_checkpoints(catalog, port, from_hlc, &cover);
    rc = rc != 0 ? rc : remove_all(&removing, &cover);
    seen_fini(&cover);
    return rc;
}
