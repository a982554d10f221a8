#include "pause.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "connection.h"
#include "copies.h"
#include "door.h"
#include "far.h"
#include "link.h"
#include "plane_private.h"
#include "shard_thread.h"

const char pause_text[] = "the write came before this node was stopped for a while";

enum { NEW_US = 1000 * 1000 }; /* So long after a pause sockets may come that waited through it. */

static uint64_t least_us(const struct shard_thread *thread)
{
    return replication_pause_us((uint32_t)(copies_silence_us(thread) / 1000));
}

/* Who asked for it so long before this may have gone elsewhere. */
static void refuse_earlier(struct shard_thread *thread, uint64_t now_us)
{
    thread->pause.ended_us = now_us;
    shard_refuse_before(thread->shard, now_us - least_us(thread));
}

void pause_look(struct shard_thread *thread)
{
    struct pause *pause = &thread->pause;
    const uint64_t before_us = pause->turn_us;

    pause->turn_us = thread->now_us;
    if (before_us == 0 || thread->now_us - before_us < least_us(thread)) {
        return;
    }
    refuse_earlier(thread, thread->now_us);
    thread->stats.pauses++;
    copies_paused(thread);
    links_paused(thread, before_us);
    connections_paused(thread);
}

void pause_look_within(struct shard_thread *thread, uint64_t now_us)
{
    if (now_us - thread->now_us >= least_us(thread)) {
        refuse_earlier(thread, now_us);
    }
}

bool pause_spoils(const struct shard_thread *thread, const struct request *request)
{
    return request->op == REQUEST_WRITE && thread->pause.ended_us != 0 &&
           request->received_us < thread->pause.ended_us - least_us(thread);
}

void pause_refuse(struct shard_thread *thread, uint64_t ticket)
{
    struct call *call = calls_find(&thread->calls, ticket);

    if (call->far && far_pass_back(thread, call)) {
        thread->stats.far_returned++;
        return;
    }
    thread->stats.late_refused++;
    door_refuse(thread, ticket, STATUS_BUSY, pause_text);
}

/* ---- Sockets ---- */

static uint64_t unread_bytes(int fd)
{
    int bytes = 0;

    return ioctl(fd, SIOCINQ, &bytes) == 0 && bytes > 0 ? (uint64_t)bytes : 0;
}

void pause_mark(struct pause_input *input, int fd, bool begun, bool kept)
{
    input->left = unread_bytes(fd);
    input->begun = begun;
    input->kept = kept;
}

void pause_mark_new(const struct shard_thread *thread, struct pause_input *input, int fd)
{
    if (thread->pause.ended_us != 0 && thread->now_us - thread->pause.ended_us < NEW_US) {
        input->left = unread_bytes(fd);
    }
}

void pause_arrived(const struct shard_thread *thread, struct pause_input *input, size_t size)
{
    /* In the first turn the ring may have had some already, beside what the socket had. */
    const bool first = thread->now_us == thread->pause.ended_us;

    input->late = first || input->left > 0;
    if (!first) {
        input->left -= size < input->left ? size : input->left;
    }
}
