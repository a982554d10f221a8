#include "native_busy.h"

#include <assert.h>
#include <string.h>

#include "belay.pb-c.h"
#include "connection.h"
#include "shard_thread.h"
#include "wire_head.h"

static void make_head(struct native_busy *busy)
{
    Belay__Wire__Reply head;

    belay__wire__reply__init(&head);
    head.status = STATUS_BUSY;
    head.retry_after_ms = busy->retry_after_ms;
    head.hlc = busy->hlc;
    busy->size = (uint32_t)wire_reply_put(&head, busy->head);
    assert(busy->size <= sizeof busy->head);
}

bool native_busy_asks(const struct frame *frame)
{
    return frame->type == FRAME_GET || frame->type == FRAME_WRITE || frame->type == FRAME_RECOVER;
}

bool native_busy_refuses(struct shard_thread *thread, struct connection *connection,
                         const struct frame *frame)
{
    enum request_op op = frame->type == FRAME_GET ? REQUEST_GET : REQUEST_WRITE;
    struct native_busy *busy = &thread->busy;
    uint32_t retry_after_ms;

    if (!native_busy_asks(frame) ||
        !shard_refuse_late(thread->shard, op, connection->arrived_us, thread->now_ms,
                           thread->late_us, &retry_after_ms)) {
        return false;
    }
    uint64_t hlc = shard_hlc(thread->shard);
    if (busy->size == 0 || busy->hlc != hlc || busy->retry_after_ms != retry_after_ms) {
        busy->hlc = hlc;
        busy->retry_after_ms = retry_after_ms;
        make_head(busy);
    }
    const size_t size = FRAME_HEADER_BYTES + busy->size;
    uint8_t *to = connection_reserve(thread, connection, size);
    if (to != NULL) {
        memcpy(to + FRAME_HEADER_BYTES, busy->head, busy->size);
        frame_header_put(to, frame->type, FRAME_REPLY, frame->request_id,
                         bytes_of(to + FRAME_HEADER_BYTES, busy->size), bytes_of(NULL, 0));
        connection_commit(thread, connection, size);
    }
    return true;
}
