/* Jobs: slots that are compared over a link, one end's part of each; begun, found and ended. What the ends
 * say to each other while there is one is in replication_compare.c. */
#include "replication_private.h"

#include <errno.h>
#include <string.h>

struct job *replication_job(const struct replication_link *link, uint32_t slot)
{
    for (uint32_t i = 0; link->job_count > 0 && i < JOBS_MAX; i++) {
        if (link->job_slots[i] == slot) {
            return &link->jobs[i];
        }
    }
    return NULL;
}

struct job *replication_job_of(const struct replication_link *link, uint64_t number)
{
    struct job *job = replication_job(link, replication_number_slot(number));

    return job != NULL && job->number == number ? job : NULL;
}

struct counting {
    struct replication *r;
    bool (*visit)(void *context, struct compare_entry entry);
    void *context;
};

static bool visit_one(void *context, uint64_t position, uint64_t hash)
{
    const struct counting *counting = context;

    counting->r->work--;
    return counting->visit(counting->context, (struct compare_entry){position, hash});
}

static void walk(struct compare_source *source, uint64_t first, uint64_t last,
                 bool (*visit)(void *context, struct compare_entry entry), void *context)
{
    struct replication *r = ((struct job *)source)->link->replication;
    struct counting counting = {r, visit, context};

    r->work -= WORK_OF_WALK;
    r->core->walk(r->core, first, last, true, visit_one, &counting);
}

int replication_job_send(struct job *job, uint64_t position)
{
    int rc = replication_send_whole(job->link, REPLICATION_COMPARE_RECORD, job->number, position);

    job->sends += rc == 0;
    return rc;
}

static int send_position(struct compare_source *source, uint64_t position)
{
    struct job *job = (struct job *)source;

    return slot_of_position(position) != job->slot ? -EBADMSG : replication_job_send(job, position);
}

struct job *replication_job_make(struct replication *r, struct replication_link *link,
                                 uint32_t slot, uint64_t number)
{
    uint32_t index = 0;

    if (link->jobs == NULL) {
        link->jobs = r->memory->resize(r->memory, NULL, 0, JOBS_MAX * sizeof *link->jobs);
        if (link->jobs == NULL) {
            return NULL;
        }
        memset(link->jobs, 0, JOBS_MAX * sizeof *link->jobs);
        memset(link->job_slots, 0xff, sizeof link->job_slots);
    }
    while (index < JOBS_MAX && link->jobs[index].state != JOB_FREE) {
        index++;
    }
    if (index == JOBS_MAX) {
        return NULL;
    }
    struct job *job = &link->jobs[index];
    *job = (struct job){
        .source = {.walk = walk, .send = send_position},
        .link = link,
        .slot = (uint16_t)slot,
        .serial = replication_next_serial(r),
        .asks = r->asks,
        .in_turn = link->peer->in_turn,
        .out_turn = link->peer->out_turn,
        .seen = {.memory = r->memory},
        .compare = {.memory = r->memory},
    };
    job->number = number != 0 ? number : (uint64_t)job->serial << 16 | slot;
    link->job_slots[index] = (uint16_t)slot;
    link->job_count++;
    r->stats.compares++;
    return job;
}

void replication_job_free(struct replication *r, struct job *job)
{
    struct replication_link *link = job->link;

    for (uint32_t i = 0; job->sends > 0 && i < link->heals.count; i++) {
        struct send *send = queue_at(&link->heals, i);
        if (send->number == job->number) {
            send->kind = 0;
        }
    }
    for (uint32_t i = 0; job->sends > 0 && i < WHOLES_MAX; i++) {
        struct whole *whole = &r->wholes[i];
        if (whole->link == link && whole->kind == REPLICATION_COMPARE_RECORD &&
            whole->number == job->number) {
            whole->link = NULL;
        }
    }
    compare_end(&job->compare);
    buffer_fini(&job->seen);
    job->state = JOB_FREE;
    link->job_slots[job - link->jobs] = NOBODY;
    link->job_count--;
    r->stats.compares--;
}

void replication_jobs_drop(struct replication *r, struct replication_link *link)
{
    for (uint32_t i = 0; link->job_count > 0 && i < JOBS_MAX; i++) {
        if (link->jobs[i].state != JOB_FREE) {
            replication_job_free(r, &link->jobs[i]);
        }
    }
}

void replication_job_fail(struct replication *r, struct job *job, bool tell)
{
    struct peer *peer = job->link->peer;
    const uint32_t slot = job->slot;
    const uint64_t asks = job->asks;

    if (tell) {
        replication_link_send_bytes(job->link, REPLICATION_COMPARE_FAILED, job->number,
                                    bytes_of(NULL, 0));
    }
    r->stats.compares_failed++;
    replication_job_free(r, job);
    replication_taken_compared(r, peer, slot, asks);
}

void replication_job_done(struct replication *r, struct job *job, uint8_t flags, struct bytes seen)
{
    struct peer *peer = job->link->peer;
    const uint32_t slot = job->slot;
    const uint64_t asks = job->asks;

    replication_slot_compared(r, peer, job, flags, seen);
    r->stats.compared++;
    replication_job_free(r, job);
    replication_taken_compared(r, peer, slot, asks);
}

void replication_jobs_fail(struct replication *r, uint32_t slot)
{
    for (uint32_t i = 0; i < r->peer_capacity; i++) {
        struct replication_link *links[] = {r->peers[i] == NULL ? NULL : r->peers[i]->out,
                                            r->peers[i] == NULL ? NULL : r->peers[i]->in};
        for (int j = 0; j < 2; j++) {
            struct job *job = links[j] == NULL ? NULL : replication_job(links[j], slot);
            if (job != NULL) {
                replication_job_fail(r, job, true);
            }
        }
    }
}

void replication_job_sent(struct replication_link *link, uint64_t number, bool good)
{
    struct job *job = replication_job_of(link, number);

    if (job != NULL && job->sends > 0) {
        job->sends--;
        job->failed |= !good;
    }
}

void replication_job_merged(struct replication *r, struct job *job, bool good)
{
    (void)r;
    job->merges--;
    job->failed |= !good;
}
