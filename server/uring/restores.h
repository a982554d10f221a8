/* Slots that were lost with their last owner (map.h), until this node has from the archive what there is of them.
 *
 * Nobody else has their sessions, so nothing is said of one that is not here: what is asked of such a slot, where this node
 * coordinates it, waits as what nobody can coordinate does (far.h), as long at most, and then is UNAVAILABLE; and who
 * brings sessions back (plane_restore()) is told which slot is waited for, once. A scan is refused, as it would leave some out.
 *
 * What is brought back is merged by `recover_merge` (recover.h), so that it is logged and copied as any write is. It keeps its
 * stamps, which are this cluster's, so until the slot is whole no owner takes what it has seen of it for all that there was
 * (seen_hold()). What the archive has seen of it, it has seen then.
 *
 * Another owner that stands in for the primary knows nothing of how far that one was, and asks for the slot itself. Only who
 * coordinates a slot may say that it is whole: what it merged lies here. With any other node it does not, and one that claimed to
 * have seen it would take for dead what comes later.
 *
 * Memory: 16 bytes for each slot of the shard, from the first lost one on; records on their way. Threads: the shard's.
 */
#ifndef RESTORES_H
#define RESTORES_H

#include <stdbool.h>
#include <stdint.h>

struct mail;
struct request;
struct shard_thread;
struct slot_table;

struct restores_slot {
    uint64_t restored,
        asked; /* The epoch in which was lost what is here by now, and what was asked for. */
};

struct restores {
    struct restores_slot *slots; /* Of this shard; NULL: none was ever lost. */
};

extern const char restores_text[]; /* Of an answer UNAVAILABLE. */

/* A new table, before it is used. Returns 0 or -ENOMEM. */
int restores_set_table(struct shard_thread *thread, const struct slot_table *table);
void restores_fini(struct shard_thread *thread);

/* Is some of the slot's sessions still to come? */
bool restores_lacks(const struct shard_thread *thread, uint32_t slot);

/* And they were asked for, so that there is nothing to do before they come. */
bool restores_awaits(const struct shard_thread *thread, uint32_t slot);

/* Is some still to come of any slot of this thread that this node owns. */
bool restores_lacks_any(const struct shard_thread *thread);

/* Must the request wait for that? Its slot is asked for then, where this node coordinates it. */
bool restores_holds(struct shard_thread *thread, const struct request *request);

/* A MAIL_RESTORE, whose content it takes. */
void restores_take(struct shard_thread *thread, struct mail *mail);

#endif
