/* Requests of other nodes, executed here; see far.h. */
#include <assert.h>
#include <errno.h>

#include "batch.h"
#include "bounds.h"
#include "calls.h"
#include "cross.h"
#include "far.h"
#include "far_frame.h"
#include "native_door.h"
#include "peer_frame.h"
#include "plane_private.h"
#include "resp_door.h"
#include "shard_thread.h"
#include "slot.h"
#include "tasks.h"

static_assert(2 + SESSION_BYTES_MAX + REPLY_BESIDE_BYTES_MAX <= PEER_BODY_BYTES_MAX &&
                  2 + REPLY_BYTES_MAX <= PEER_BODY_BYTES_MAX,
              "each reply to a Redis client fits");
static_assert(2 + FRAME_BYTES_MAX + HEAD_BYTES_MAX <= PEER_BODY_BYTES_MAX, "and each native one");

static void send_answer(struct shard_thread *thread, struct link *link, uint64_t number,
                        enum far_answer_kind kind, enum status status, struct bytes answer)
{
    const uint8_t head[] = {(uint8_t)kind, (uint8_t)status};
    const struct bytes parts[] = {bytes_of(head, kind == FAR_DONE ? 1 : 2), answer};

    (void)link_send(thread, link, PEER_FAR_ANSWER, number, parts, 2, false, true);
}

static void refuse(struct shard_thread *thread, struct link *link, uint64_t number,
                   enum status status)
{
    send_answer(thread, link, number, FAR_REFUSED, status, bytes_of(NULL, 0));
}

void far_answer(struct shard_thread *thread, const struct call *call, struct bytes answer)
{
    struct link *link = link_find(thread, call->link, call->link_generation);

    if (link != NULL) {
        send_answer(thread, link, call->origin_ticket, FAR_DONE, STATUS_OK, answer);
    }
}

bool far_pass_back(struct shard_thread *thread, struct call *call)
{
    struct link *link = call->far ? link_find(thread, call->link, call->link_generation) : NULL;

    if (!call->far) {
        return false;
    }
    if (link != NULL) {
        refuse(thread, link, call->origin_ticket, STATUS_UNAVAILABLE);
    }
    calls_give(&thread->calls, call);
    return true;
}

static const struct protocol *protocol_of(uint8_t number)
{
    return number == FAR_NATIVE ? &native_protocol
           : number == FAR_RESP ? &resp_protocol
                                : &tasks_protocol;
}

/* What a connection of the other node sends is executed in order (aside.h). Two that look alike wait for each other without
 * need. */
static uint32_t connection_of(const struct link *link, const struct far_request *far)
{
    uint32_t odd = 0x9E3779B1;
    uint32_t hash = (far->connection * odd ^ far->connection_generation) * odd;

    return (hash ^ (far->connection_shard + link->index * 64U) * odd) >> (32 - FAR_CONNECTION_BITS);
}

/* A ticket for it; 0: there are too many. */
static uint64_t take_call(struct shard_thread *thread, const struct link *link, uint64_t number,
                          const struct far_request *far)
{
    struct call *call;
    uint64_t ticket = calls_take(&thread->calls, &call);

    if (ticket == 0) {
        return 0;
    }
    call->form = far->form;
    call->frame_type = far->frame_type;
    call->flags = far->call_flags;
    call->protocol = protocol_of(far->protocol);
    call->request_id = far->request_id;
    call->remote = call->far = true;
    call->origin = (uint8_t)thread->index;
    call->origin_ticket = number;
    call->link = link->index;
    call->link_generation = link->generation;
    call->hops = far->hops;
    call->coordinate = (far->flags & FAR_COORDINATE) != 0;
    call->granted_bytes = UINT32_MAX; /* It is not turned back. */
    thread->stats.far_executed++;
    call->connection = connection_of(link, far);
    call->connection_generation = 1;
    return ticket;
}

/* To the shard that has it, which is this one but where the asker had the wrong number of shards in mind, or scans. */
static void route(struct shard_thread *thread, struct request *request,
                  const struct far_request *far)
{
    uint32_t shards = thread->plane->options.shard_count;

    shard_prepare(thread->shard, request);
    uint32_t shard =
        (far->flags & FAR_SCANS) != 0 ? far->shard : slot_of_position(request->position) % shards;
    if (shard == thread->index) {
        batch_add(thread, request, NULL, bytes_of(NULL, 0));
    } else if (shard >= shards || !cross_request(thread, shard, request)) {
        struct call *call = calls_find(&thread->calls, request->ticket);
        struct link *link = link_find(thread, call->link, call->link_generation);
        assert(link != NULL);
        refuse(thread, link, call->origin_ticket, STATUS_BUSY);
        calls_give(&thread->calls, call);
    }
}

void far_take_request(struct shard_thread *thread, struct link *link,
                      const struct peer_frame *frame)
{
    struct buffer scratch = {.memory = thread->memory};
    struct far_request far;
    int rc = far_request_read(frame->body, &scratch, &far);

    if (rc == -EBADMSG) {
        thread->stats.frames_bad++;
        link_close(thread, link);
    } else if (rc != 0) {
        refuse(thread, link, frame->number,
               rc == -ENOENT   ? STATUS_UNSUPPORTED
               : rc == -EINVAL ? STATUS_INVALID
                               : STATUS_BUSY);
    } else if ((far.flags & FAR_SCANS) != 0 && far.epoch != copies_epoch(thread)) {
        refuse(thread, link, frame->number,
               STATUS_BUSY); /* One of the two does not know what the other owns. */
    } else if (link->input_late.late && (far.flags & FAR_SCANS) == 0) {
        thread->stats.far_returned++;
        refuse(thread, link, frame->number,
               STATUS_UNAVAILABLE); /* Who still waits for it asks anew (pause.h). */
    } else if (thread->stopping || far.hops > FAR_HOPS_MAX || far.hops == 0) {
        refuse(thread, link, frame->number, STATUS_UNAVAILABLE);
    } else {
        struct request *request = &far.request;
        bool moved =
            scratch.size > 0; /* Then the body is there, and has to last as long as the turn. */
        void *body = moved ? arena_take(&thread->arena, scratch.size) : NULL;
        if (body != NULL) {
            memcpy(body, scratch.data, scratch.size);
            request->body = bytes_of(body, scratch.size);
        }
        request->received_us = thread->now_us;
        request->ticket = moved && body == NULL ? 0 : take_call(thread, link, frame->number, &far);
        if (request->ticket == 0) {
            refuse(thread, link, frame->number, STATUS_BUSY);
        } else {
            route(thread, request, &far);
        }
    }
    buffer_fini(&scratch);
}
