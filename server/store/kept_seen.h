/* What a shard has seen of other nodes' writes (server/core/seen_saved.h), kept over a restart in a small file of its
 * directory.
 *
 * It may never say more than what the log and the checkpoint give back: what has been seen and is not there has ended.
 * So where anything of these does not read back, whenever that is found, the file goes, and there is none for as long
 * as this store is open; other nodes tell then what there was.
 *
 * File seen, replaced as a whole:
 *
 *   offset size
 *        0    8  "BELAYSEN"
 *        8    4  format version, 1
 *       12    4  shard
 *       16    8  bytes that follow the header
 *       24    4  CRC-32C of these
 *       28    4  CRC-32C of the bytes 0 to 27
 *       32       as seen_save() has it
 *
 * Threads: as each function says.
 */
#ifndef KEPT_SEEN_H
#define KEPT_SEEN_H

#include <stdbool.h>

#include "bytes.h"
#include "memory.h"

struct store;

#define KEPT_SEEN_NAME "seen"

/* Keep a copy of this from now on: kept_seen_write() will. Any thread. Without memory for it, or where something is
 * damaged, what was kept before stays, or goes. */
void kept_seen_put(struct store *store, struct bytes saved);

/* Write what was put, or remove the file. The store's own thread, or when that does not run. */
void kept_seen_write(struct store *store);

/* What is kept, after all was given. Returns 0 with `to` set; -ENOENT: nothing, or it is not to be trusted; or other
 * negative errno. Any thread. */
int kept_seen_get(struct store *store, struct buffer *to);

#endif
