/* What comes over a link (link.h): bytes into frames, and each frame to whom it is for.
 *
 * A frame that lies whole in what came is used in place; of one that does not `link->input` has what is there, as large as
 * the frame. What comes while a frame waits for the log, or the answers for their way out, is kept in `link->backlog`. What is
 * no frame, or not to be said on such a link, closes it.
 *
 * Threads: the shard's.
 */
#ifndef LINK_INPUT_H
#define LINK_INPUT_H

#include <stdbool.h>

#include "bytes.h"

struct link;
struct shard_thread;

/* Bytes that came. They are used, or copied. */
void link_input_take(struct shard_thread *thread, struct link *link, struct bytes bytes);

/* So much of the frame in `input` is better received straight into it, and link_input_grew() says how much came. */
bool link_input_is_large(const struct link *link);
void link_input_grew(struct shard_thread *thread, struct link *link, size_t size);

/* There is room for what it waited with: go on with that. */
void link_input_resume(struct shard_thread *thread, struct link *link);

/* Forget the frame that is not whole. */
void link_input_drop(struct shard_thread *thread, struct link *link);

#endif
