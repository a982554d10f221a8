/* The node's part in the archive: its log goes there, by server/archive/archiver.h on the control thread; a thread of its own,
 * of low priority, reads the log and makes the objects.
 *
 *   node_archive_open()   finds whether the archive can be used, before anything is served
 *   node_archive_start()  begins, before the plane starts
 *   node_archive_stop()   sends what is left, for a while, once the plane has stopped
 *
 * Threads: the control thread's, but where it says otherwise.
 */
#ifndef NODE_ARCHIVE_H
#define NODE_ARCHIVE_H

#include <stddef.h>
#include <stdint.h>

#include "archive_place.h"
#include "bytes.h"
#include "metrics.h"

struct node;

/* After the data directory is open. Runs the loop until the archive has answered. Wrong credentials, no such bucket or directory,
 * a clock that is off: refused. One that does not answer is away, and the node starts all the same. Without archive.url it
 * does nothing. Returns 0, or negative errno with `message` set. */
int node_archive_open(struct node *node, char *message, size_t message_size);

/* Where it is, by the configuration, for calls of so long at most. */
struct archive_place node_archive_place(const struct node *node, uint32_t call_ms);

/* Which one that is (archive_place_id()); 0 where there is none. */
uint64_t node_archive_place_id(const struct node *node);

/* How much log is kept for it by a shard, 0 where there is no archive. */
uint64_t node_archive_backlog(const struct node *node);

/* Returns 0 or negative errno. */
int node_archive_start(struct node *node);

/* Send at once what the log has by now; and is all of that archived? Where it never will be, as it was given up or is damaged,
 * it counts as if it were. */
void node_archive_flush(struct node *node);
bool node_archive_is_flushed(const struct node *node);

/* Why the archive is away; NULL: it is not. Valid until the loop runs. */
const char *node_archive_trouble(const struct node *node);

/* plane_options.archive_wanted: on a shard's thread. */
void node_archive_wanted(struct node *node);

/* Another member says what the archive has (PEER_ARCHIVED). */
void node_archive_heard(struct node *node, uint32_t from, struct bytes message);

/* A member can be reached, which may not have heard what this node said. */
void node_archive_link_up(struct node *node);

/* Ends what node_archive_start() began, having sent what is durable if the archive is there and `send`. */
void node_archive_stop(struct node *node, bool send);

/* After node_archive_stop(). */
void node_archive_close(struct node *node);

void node_archive_figures(struct node *node, struct metrics_archive *figures);

/* One JSON document for free(), or NULL where there is no memory: what `belayctl archive status` shows. */
char *node_archive_json(struct node *node);

#endif
