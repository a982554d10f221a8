/* What crosses from one shard's thread to another: requests for its sessions, their answers, sockets.
 *
 * Messages lie in the hop queues (hop.h); what is larger than HOP_MESSAGE_MAX travels as a pointer. A
 * full queue refuses requests (BUSY) before answers. An answer that finds it full, or a request that is turned back, stays with
 * its call, in the order of making, and goes when there is room; where there is no memory to keep it, that it is lost
 * is what goes, and that needs none. So every request is answered.
 *
 * Sockets are taken before what is ahead of them in the queue: who has just come waits for no large answers to others.
 */
#ifndef CROSS_H
#define CROSS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

struct shard_thread;
struct connection;
struct request;
struct call;

/* May `count` requests with so many bytes in all be sent, wherever they belong? Of more than a queue holds: one that is
 * empty will do. */
bool cross_has_room(struct shard_thread *thread, uint32_t count, size_t bytes);

/* Send a request, whose ticket is a call here. Returns false when the queue is full. */
bool cross_request(struct shard_thread *thread, uint32_t shard, const struct request *request);

/* Send such a request back unexecuted (turned.h), in order with the answers. Returns 1: it has gone, and with it the call;
 * 0: both go later, by themselves; or -ENOMEM. */
int cross_turn_back(struct shard_thread *thread, struct call *call, const struct request *request,
                    uint32_t answer_bytes);

/* Send the answer to such a request back. Returns whether it has gone, and with it the call; else both go
 * later, by themselves. */
bool cross_answer(struct shard_thread *thread, struct call *call, struct bytes answer);

/* Give a fresh socket away; it is counted there already. `redirects`: as of its connection. Returns false when the queue is full. */
bool cross_socket(struct shard_thread *thread, uint32_t shard, int fd, bool redirects);

/* Hand over a connection whose state is MOVING and that nothing holds; it is forgotten here. Where the
 * queue is full it stays MOVING and dirty. */
void cross_move(struct shard_thread *thread, struct connection *connection);

/* Take what has come: requests into the batch, which must be run before cross_release(). */
void cross_receive(struct shard_thread *thread);
void cross_release(struct shard_thread *thread);

/* Something waits to be taken, or to be sent. */
bool cross_waiting(const struct shard_thread *thread);

/* End of a turn: let the others see what was sent, and wake those who sleep. */
void cross_flush(struct shard_thread *thread);

/* Free what is still in the queues to this thread, and close sockets in them. */
void cross_fini(struct shard_thread *thread);

#endif
