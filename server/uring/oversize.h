/* Writes with a value that is larger than any session of its policy may be: they are refused before anything is done for them.
 *
 * Whoever coordinates them would refuse them, too, but with them on its way: another node would have to take in megabytes that
 * come to nothing, again with each try, while what others ask for waits behind them.
 *
 * What is looked at is one value by itself. Whether the values of a session are too much together only its shard can say, and
 * so it does. A write that may have been done before (retry_hlc) goes its way: its answer is what was answered then.
 *
 * Threads: the shard's.
 */
#ifndef OVERSIZE_H
#define OVERSIZE_H

#include <stdbool.h>
#include <stdint.h>

struct request;
struct shard_thread;

/* Is the request one? Then it is SESSION_TOO_LARGE, and its call is over. */
bool oversize_refuses(struct shard_thread *thread, const struct request *request, uint64_t now_us);

#endif
