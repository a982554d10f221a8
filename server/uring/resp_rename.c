/* RENAME of the RESP door: within a shard a transaction, between two a rename of renames.h; in a cluster within a slot, and
 * between two a move of moves.h. */
#include <string.h>

#include "limits.h"
#include "moves.h"
#include "plane_private.h"
#include "renames.h"
#include "resp_door.h"
#include "shard_thread.h"
#include "slot.h"

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
    } else if (thread->clustered ? slot_of_key(keys[0]) == slot_of_key(keys[1])
                                 : slot_of_key(keys[0]) % shards == slot_of_key(keys[1]) % shards) {
        resp_several(thread, connection, number, command, command_rename_pair(command), array,
                     whole);
    } else if (resp_waits(thread, connection, number, 1, whole) ||
               resp_waits_for_all(thread, connection, number, whole)) {
        return; /* It has no place among its connection's requests at a shard. */
    } else if ((thread->clustered ? moves_begin
                                  : renames_begin)(thread, connection, number, keys[0], keys[1],
                                                   command_rename_only_new(command)) != 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
    }
}
