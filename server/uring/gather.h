/* One reply made of the answers to several requests: many keys in one call, a scan over all shards.
 *
 * Parts come in any order, from any shard; the reply goes out when the last one is there. How large it will be is not known before:
 * where it would be too much beside what the client has not read yet, or its turn has not come, it is kept until then.
 *
 * A scan: each shard gives its keys in order of position from the cursor on, and where it stopped. Up to
 * the first such stop, and no further, every key of every shard is known; so the reply has the keys
 * before it, and it is the new cursor. A cursor thus stays a position on the ring, whatever the number
 * of shards is by the next call.
 */
#ifndef GATHER_H
#define GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"

struct shard_thread;
struct connection;
struct reply;
struct gather;

/* Is what was begun in this turn to be executed (batch_run()) before another reply is begun, so that it is known how much it was? */
bool gather_must_look(const struct shard_thread *thread, const struct connection *connection);

/* Is another reply not to be begun now? The request is to be put off then. */
bool gather_must_wait(struct shard_thread *thread, const struct connection *connection);

/* For `part_count` parts (at least 1). It counts as one request of the connection, whose protocol gets what came of it;
 * `asked` is copied for that. Returns NULL where there is no memory. */
struct gather *gather_open(struct shard_thread *thread, struct connection *connection,
                           uint8_t frame_type, uint64_t request_id, uint32_t part_count,
                           struct bytes asked);

/* A part's answer. After the last one the reply is sent and the gather gone. */
void gather_part(struct shard_thread *thread, struct gather *gather, uint32_t part,
                 struct bytes answer);

/* Something of the connection's was read or answered: what was kept goes, if it may now. */
void gather_resume(struct shard_thread *thread, struct connection *connection);

/* The connection is gone, and what was kept with it. */
void gather_drop(struct shard_thread *thread, struct connection *connection);

/* What a reply may have: fits into a frame, and does not end its connection by its size alone. */
size_t gather_bytes_max(const struct shard_thread *thread);

/* One shard's part of a scan. */
size_t gather_scan_room(const struct reply *reply);
size_t gather_scan_put(const struct reply *reply, uint8_t *to);

/* A part will never come: the thread is being taken down. */
void gather_abandon(struct gather *gather);

#endif
