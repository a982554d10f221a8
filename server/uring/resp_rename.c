/* RENAME of the RESP door: within a shard a transaction, between two a rename of renames.h. */
#include <string.h>

#include "limits.h"
#include "plane_private.h"
#include "renames.h"
#include "resp_door.h"
#include "shard_thread.h"
#include "slot.h"

/* Within a shard it is a transaction; its body is the keys and then the command. */
static void rename_within(struct shard_thread *thread, struct connection *connection,
                          uint64_t number, const struct command *command,
                          const struct bytes keys[2], struct bytes array, struct bytes whole)
{
    size_t room = 1 + 2 * VARINT_BYTES_MAX + keys[0].size + keys[1].size + array.size;
    uint8_t *body = arena_take(&thread->arena, room), *to = body;

    if (body == NULL) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return;
    }
    *to++ = 2;
    for (int i = 0; i < 2; i++) {
        to = varint_put(to, keys[i].size);
        memcpy(to, keys[i].data, keys[i].size);
        to += keys[i].size;
    }
    memcpy(to, array.data, array.size);
    struct request request = resp_request_of(connection, command, keys[0],
                                             bytes_of(body, (size_t)(to - body) + array.size));
    request.procedure = command_rename_pair(command);
    resp_route(thread, connection, number, command, &request, whole);
}

void resp_rename(struct shard_thread *thread, struct connection *connection, uint64_t number,
                 const struct command *command, struct bytes array, struct bytes whole)
{
    const uint32_t shards = thread->plane->options.shard_count;
    struct resp_arguments arguments = resp_arguments(array);
    const char *error = NULL;
    struct bytes keys[2];

    (void)resp_next(&arguments, &keys[0]);
    for (int i = 0; i < 2 && error == NULL; i++) {
        (void)resp_next(&arguments, &keys[i]);
        error = resp_keep_key(thread, connection, keys[i], &keys[i]);
        if (error == NULL && (keys[i].size == 0 || keys[i].size > KEY_BYTES_MAX)) {
            resp_reply_status(thread, connection, number, STATUS_KEY_TOO_LARGE);
            return;
        }
    }
    if (error != NULL) {
        resp_reply_error(thread, connection, number, error);
    } else if (slot_of_key(keys[0]) % shards == slot_of_key(keys[1]) % shards) {
        rename_within(thread, connection, number, command, keys, array, whole);
    } else if (resp_waits(thread, connection, number, 1, whole)) {
        return;
    } else if (renames_begin(thread, connection, number, keys[0], keys[1],
                             command_rename_only_new(command)) != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
    }
}
