/* One reply made of the answers to several requests: many keys in one call, a scan over all shards.
 *
 * Parts come in any order, from any shard; the reply goes out when the last one is there.
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

/* What a reply may have: fits into a frame, and does not end its connection by its size alone. */
size_t gather_bytes_max(const struct shard_thread *thread);

/* One shard's part of a scan. */
size_t gather_scan_room(const struct reply *reply);
size_t gather_scan_put(const struct reply *reply, uint8_t *to);

/* A part will never come: the thread is being taken down. */
void gather_abandon(struct gather *gather);

#endif
