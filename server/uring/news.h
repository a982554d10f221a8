/* Messages of PUBLISH, and keyspace events, to the subscribers of other nodes.
 *
 * Each goes from the thread where it is published to one thread of every other member that it has a link to, and from there
 * into the queues of that node's threads (pubsub.h). So what one connection publishes arrives everywhere in its order; what
 * several publish, in an order of each node's own. Nothing is kept for a node that cannot be reached: whoever listens there
 * misses it, as a subscriber does who is not connected.
 *
 * On the wire (PEER_PUBLISH): the channel as a varint and so many bytes, then the message.
 *
 * Threads: the shard's.
 */
#ifndef NEWS_H
#define NEWS_H

#include <stdbool.h>

#include "bytes.h"

struct peer_frame;
struct shard_thread;

/* Do all links take another message? */
bool news_has_room(struct shard_thread *thread);

/* To all other nodes. Where a link has no room it is dropped, and counted with the events dropped. */
void news_send(struct shard_thread *thread, struct bytes channel, struct bytes payload);

/* One came. */
void news_take(struct shard_thread *thread, const struct peer_frame *frame);

#endif
