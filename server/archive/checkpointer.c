#include "checkpointer.h"

#include <assert.h>
#include <errno.h>

enum { STEP_MS = 1000, COVER_MS = 100 };

void checkpointer_init(struct checkpointer *checkpointer, struct checkpointer_port *port,
                       uint64_t sequence)
{
    *checkpointer = (struct checkpointer){.port = port, .sequence = sequence};
}

void checkpointer_want(struct checkpointer *checkpointer)
{
    checkpointer->wanted = true;
}

static void fill(struct checkpointer *checkpointer)
{
    checkpointer->state = CHECKPOINTER_FILLING;
    checkpointer->port->fill(checkpointer->port, checkpointer->sequence, checkpointer->part,
                             checkpointer->last);
}

static void store(struct checkpointer *checkpointer)
{
    checkpointer->state = CHECKPOINTER_STORING;
    checkpointer->port->store(checkpointer->port, checkpointer->sequence, checkpointer->part,
                              checkpointer->last);
}

/* What was made of it is nothing. */
static void give_up(struct checkpointer *checkpointer, uint64_t now_ms)
{
    checkpointer->failures++;
    checkpointer->state = CHECKPOINTER_RESTING;
    checkpointer->wanted = true;
    checkpointer->until_ms = now_ms + CHECKPOINTER_PAUSE_MS;
}

uint64_t checkpointer_step(struct checkpointer *checkpointer, uint64_t archived_bytes,
                           uint64_t due_bytes, uint64_t now_ms)
{
    bool waits = now_ms < checkpointer->until_ms;

    switch (checkpointer->state) {
    case CHECKPOINTER_RESTING:
        if (!waits &&
            (checkpointer->wanted || archived_bytes - checkpointer->done_bytes >= due_bytes)) {
            checkpointer->state = CHECKPOINTER_BASING;
            checkpointer->wanted = checkpointer->last = false;
            checkpointer->part = 0;
            checkpointer->begun_bytes = archived_bytes;
            checkpointer->port->base(checkpointer->port);
        }
        return STEP_MS;
    case CHECKPOINTER_COVERING:
        if (checkpointer->port->covers(checkpointer->port)) {
            fill(checkpointer);
        }
        return COVER_MS;
    case CHECKPOINTER_PAUSING:
        if (!waits) {
            store(checkpointer);
        }
        return STEP_MS;
    default:
        return STEP_MS;
    }
}

void checkpointer_based(struct checkpointer *checkpointer, int rc, uint64_t now_ms)
{
    assert(checkpointer->state == CHECKPOINTER_BASING);
    if (rc != 0) {
        give_up(checkpointer, now_ms);
    } else {
        checkpointer->state = CHECKPOINTER_SEALING;
        checkpointer->port->seal(checkpointer->port);
    }
}

void checkpointer_sealed(struct checkpointer *checkpointer, int rc, uint64_t now_ms)
{
    assert(checkpointer->state == CHECKPOINTER_SEALING);
    checkpointer->state = CHECKPOINTER_COVERING;
    if (rc != 0) {
        give_up(checkpointer, now_ms);
    }
}

void checkpointer_filled(struct checkpointer *checkpointer, int rc, bool more, uint64_t now_ms)
{
    assert(checkpointer->state == CHECKPOINTER_FILLING);
    checkpointer->more = more;
    if (rc != 0) {
        checkpointer->sequence++; /* Some of its parts may be there. */
        give_up(checkpointer, now_ms);
    } else {
        store(checkpointer);
    }
}

void checkpointer_stored(struct checkpointer *checkpointer, int rc, uint64_t now_ms)
{
    assert(checkpointer->state == CHECKPOINTER_STORING);
    if (rc == -EEXIST) { /* Of one that was cut short. */
        checkpointer->sequence++;
        give_up(checkpointer, now_ms);
        checkpointer->until_ms = now_ms;
    } else if (rc != 0) {
        checkpointer->failures++;
        checkpointer->state = CHECKPOINTER_PAUSING;
        checkpointer->until_ms = now_ms + CHECKPOINTER_PAUSE_MS;
    } else if (!checkpointer->last) {
        checkpointer->part++;
        checkpointer->last = !checkpointer->more;
        fill(checkpointer);
    } else {
        checkpointer->state = CHECKPOINTER_RESTING;
        checkpointer->done_bytes = checkpointer->begun_bytes;
        checkpointer->made++;
        checkpointer->port->made(checkpointer->port, checkpointer->sequence++);
    }
}
