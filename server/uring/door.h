/* The shard's door: answers on their way out.
 *
 * An answer becomes bytes at once, in its call's language, at the shard that executed the request; then
 * it goes to the connection, to a gathered reply, over to the shard where the connection lives, or is
 * held until its write is durable and goes then.
 */
#ifndef DOOR_H
#define DOOR_H

#include "calls.h"
#include "ports.h"
#include "status.h"

struct shard_thread;

void door_init(struct shard_thread *thread);

/* Answer a call that has no answer from the shard: it never came there, or the answer was lost on its
 * way. */
void door_refuse(struct shard_thread *thread, uint64_t ticket, enum status status,
                 const char *text);

/* The bytes of an answer came from another shard. */
void door_deliver(struct shard_thread *thread, uint64_t ticket, struct bytes answer);

#endif
