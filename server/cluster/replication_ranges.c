/* Ranges of a slot that is compared: where they end, and all of one to an end that has nothing of it. */
#include "replication_private.h"

/* ---- Where one ends ---- */

struct cutting {
    uint64_t count, position, last;
};

static bool cut_after(void *context, uint64_t position, uint64_t hash)
{
    struct cutting *cutting = context;

    (void)hash;
    if (cutting->count >= RANGE_SESSIONS && position != cutting->position) {
        cutting->last = position - 1;
        return false;
    }
    cutting->count++;
    cutting->position = position;
    return true;
}

uint64_t replication_cut_range(struct replication *r, uint64_t first, uint64_t last, bool *nothing)
{
    struct cutting cutting = {.last = last};

    r->core->walk(r->core, first, last, false, cut_after, &cutting);
    r->work -= (int32_t)cutting.count + WORK_OF_WALK;
    *nothing = cutting.count == 0;
    return cutting.last;
}

/* ---- All of one ---- */

struct giving {
    struct job *job;
    uint64_t position; /* The last one. */
    bool any;
    int rc;
};

static bool give(void *context, uint64_t position, uint64_t hash)
{
    struct giving *giving = context;

    (void)hash;
    giving->job->link->replication->work--;
    if (!giving->any || position != giving->position) {
        giving->rc = giving->job->source.send(&giving->job->source, position);
    }
    giving->any = true;
    giving->position = position;
    return giving->rc == 0;
}

int replication_give_range(struct replication *r, struct job *job, uint64_t first, uint64_t last)
{
    struct giving giving = {.job = job};

    r->work -= WORK_OF_WALK;
    r->core->walk(r->core, first, last, false, give, &giving);
    return giving.rc;
}
