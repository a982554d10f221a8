#include "native_map.h"

#include <stdlib.h>

#include "belay.pb-c.h"
#include "native_door.h"
#include "shard_thread.h"

enum { HEAD_ROOM_BYTES = 64 };

void native_map_set(struct shard_thread *thread, uint64_t epoch, uint8_t *bytes, size_t size)
{
    struct native_map *map = &thread->client_map;

    free(map->bytes);
    map->bytes = bytes;
    map->size = size;
    map->epoch = epoch;
    map->due = true;
}

void native_map_fini(struct shard_thread *thread)
{
    free(thread->client_map.bytes);
    thread->client_map = (struct native_map){0};
}

/* `request_id` 0: nobody asked. Returns false where there is no room for it now. */
static bool tell(struct shard_thread *thread, struct connection *connection, uint64_t request_id,
                 bool whole)
{
    const struct native_map *map = &thread->client_map;
    size_t size = whole ? map->size : 0;
    uint8_t *to =
        connection_reserve(thread, connection, FRAME_HEADER_BYTES + HEAD_ROOM_BYTES + size);
    Belay__Wire__MapReply head;

    if (to == NULL) {
        return false;
    }
    belay__wire__map_reply__init(&head);
    head.epoch = map->epoch;
    uint8_t *at = to + FRAME_HEADER_BYTES;
    size_t head_size = belay__wire__map_reply__pack(&head, at);
    if (size > 0) {
        memcpy(at + head_size, map->bytes, size);
    }
    frame_header_put(to, FRAME_MAP, FRAME_REPLY, request_id, bytes_of(at, head_size),
                     bytes_of(at + head_size, size));
    connection_commit(thread, connection, FRAME_HEADER_BYTES + head_size + size);
    connection->map_epoch = map->epoch;
    return true;
}

void native_map_asked(struct shard_thread *thread, struct connection *connection,
                      const struct frame *frame)
{
    Belay__Wire__MapRequest *asked = belay__wire__map_request__unpack(
        &thread->arena.protobuf, frame->head.size, frame->head.data);

    if (asked == NULL || frame->value.size > 0) {
        native_status(thread, connection, frame->type, frame->request_id, STATUS_INVALID, NULL);
        return;
    }
    connection->map_wanted = true;
    (void)tell(thread, connection, frame->request_id, asked->epoch < thread->client_map.epoch);
}

/* Returns false where he must be told later. */
static bool push(struct shard_thread *thread, struct connection *connection)
{
    if (connection->state != CONNECTION_OPEN || !connection->map_wanted ||
        connection->map_epoch >= thread->client_map.epoch) {
        return true;
    }
    return !connection_is_full(thread, connection, 0) && tell(thread, connection, 0, true);
}

uint64_t native_map_turn(struct shard_thread *thread)
{
    struct native_map *map = &thread->client_map;

    if (!map->due) {
        return UINT64_MAX;
    }
    if (thread->now_us >= map->next_us) {
        map->due = false;
        for (uint32_t i = 0; i < thread->connections.size; i++) {
            map->due |= !push(thread, connection_at(thread, i));
        }
        map->next_us = thread->now_us + MAP_PUSH_MS * 1000;
    }
    return map->due ? map->next_us - thread->now_us : UINT64_MAX;
}
