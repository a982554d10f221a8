/* RENAME between slots of a cluster, which two nodes may coordinate, each of which may die at any moment.
 *
 * There is no journal and no lock that two nodes have together. What there is are records, which are copied to the
 * other owners of their slot and merged (session.h); so all that a rename knows lies in records:
 *
 *   The letter: a session of a reserved key in the old key's slot, which nobody sees. Its value is the intent
 *   (rename.h): the new key, and the whole session. It is there while the session is on its way.
 *   The alias (alias.h): what stays under the old key, for as long as a tombstone does.
 *
 * The steps, each one turn of a shard and one record of its log, each to be repeated until it is answered:
 *
 *   probe    at the new key: can it be reached, has it room, and for RENAMENX, is there nothing?
 *   commit   at the old key: alias and letter, together. This is the rename: from here on the session is not under the
 *            old key, and will be under the new one. Answered once another owner has it too, or the disk.
 *   deliver  at the new key: the session begins in place of what was there, or is refused, for a RENAMENX that finds
 *            one. A receipt says which (receipt.h), so that it is done once, and whoever else delivers the letter, however
 *            much later, is answered the same. Answered as commit is, and then the client of a RENAME is.
 *   kept     at the new key: asks until another owner has the receipt, where there is one, and the disk of who coordinates.
 *            Until then the letter stays, which may be the only whole copy: were its end on a disk before its session is,
 *            a loss of power between would leave neither. The client of a RENAME does not wait for it.
 *   arrive   at the old key: the letter goes, and the alias learns which birth the session has now.
 *   back     at the old key, where it was refused: the session begins again under the old key. Until it has arrived, or
 *            come back, the old key is taken, for other RENAMENX, and for who would begin a session there and get one beside
 *            it (BUSY): so that none takes its way back. (RENAME to the old key takes its place, as Redis has it.) So the
 *            client is answered once it has, if that can be had.
 *   gone     at the old key, where the new one has more receipts than need be: is the letter gone at all owners, and its
 *            end on the disk of who coordinates? What one of them still has it will deliver, should the others die.
 *   forget   at the new key: then the receipt goes, if nobody else can have been at it. The others leave in time (dedup.h).
 *
 * Why the letter lies at the old key, and nothing at the new one before the commit: so there is never a copy of which
 * it has to be asked whether it counts. What is at the new key counts; what is not committed is nowhere; what is
 * committed has a letter, or has arrived. No node has to be asked, or kept from committing late, and a rename that was
 * cut short can only be finished. Whoever coordinates the old slot and finds a letter that is MOVE_SETTLE_MS old does
 * that: after a restart (the restored record), a take-over (the merged copy), or, what of these was lost, by the patrol
 * (shard_visit_moved()). While the new key's owners cannot be reached the session is under neither key, rather than
 * under both.
 *
 * The letter's key has the id that whoever asked gave the rename, so that two nodes that commit the same one, as the
 * first did not answer, write one letter, deliver one session, and leave two aliases of one id, of which one goes.
 *
 * What others did meanwhile, without knowing of the rename, comes to the old key's record by merge, and is settled by
 * its coordinator (look, then end or late at the target, then settle):
 *
 *   Another rename: two aliases. The newer one counts; the other's target is ended.
 *   A delete, or a begin anew: the incarnation that was renamed is dead. The target is ended. (Delete wins, as always.)
 *   A write of fields, owner or deadlines: it goes on to the target, unless it was written there since. What was added
 *   to a number, and what was removed, does not.
 *
 * A target is ended, or written to, only if it is still the session that was delivered, by its birth; where that was
 * renamed onward, its own alias says where it is. A target that has not been delivered yet is waited for.
 *
 * A delete that comes after a rename finds nothing, as Redis has it, and does not end the target: within a node and a
 * slot it does not either.
 *
 * FLUSHALL drops the letters that it finds; what is being delivered just then may come after it.
 *
 * What is weaker. Where another session began under the old key on another side of a partition, what is to be brought
 * back waits in its letter for that to end. A rename that both sides of a partition find undelivered is delivered by
 * both, as two creates: the newer one shows. A session that begins under the old key, on another side, and is written to
 * after the merge and before the target is ended (a second), lets the target live.
 *
 * Threads: the shard's.
 */
#ifndef MOVE_H
#define MOVE_H

#include "rename.h"

enum { MOVE_KEY_BYTES = 6 + 8, MOVE_SETTLE_MS = 1000 };

/* What each is asked, and with which body. WRITE but for look; answered once another node has it, where there is one, but
 * for forget and settle. BUSY while the letter is still to be loaded. Answers begin with enum rename_answer; a stamp is
 * 16 bytes (alias.h). */

/* At the new key, UPSERT: 1 for RENAMENX. DONE; EXISTS. */
extern const struct procedure move_probe;
/* At the old key, UPDATE: id (8 bytes), tag of its slot (2), 1 for RENAMENX, new key. DONE: the intent follows, or
 * nothing where it has arrived; NONE: there is no session; EXISTS: it was brought back. */
extern const struct procedure move_commit;
/* At the letter's key, UPDATE: the same of one that was committed before. DONE, NONE. */
extern const struct procedure move_take;
/* At the new key, UPSERT: the intent. DONE: its birth follows (a stamp); EXISTS; of both a byte then, 1: there are more
 * receipts than need be. WAIT: there are too many. */
extern const struct procedure move_deliver;
/* At the new key, UPDATE: id. DONE: the receipt is here, and as safe as this is answered; NONE: it is not. */
extern const struct procedure move_kept;
/* At the old key, UPDATE: id, tag, birth. DONE; a byte follows, 1: the letter was here. */
extern const struct procedure move_arrive;
/* At the old key, UPSERT: tag (2 bytes), the intent. DONE; NONE: the letter has gone, by who else is at it; WAIT: there is
 * another session. */
extern const struct procedure move_back;

/* At the new key, UPDATE: id. Its receipt goes. DONE. */
extern const struct procedure move_forget;
/* At the letter's key, UPDATE. DONE: it has gone, and is gone at all nodes that own the slot, or are to, where this is
 * answered with the level `replica` and no other; a byte follows, 1: there are no other nodes, and `disk` is as good. NONE: it
 * is here, or nothing is known of it. */
extern const struct procedure move_gone;
/* At the letter's key, UPDATE: a byte (0: none), a prefix. What is on its way from a key of that prefix, which does not begin
 * with that byte, is deleted. DONE, NONE. */
extern const struct procedure move_drop;

/* At the old key, GET: its tag. What is to be settled. DONE: the version token (varint size, bytes) and jobs follow, each
 * a byte MOVE_END or MOVE_LATE, a stamp, varint size and bytes of the target's key, and of a body; NONE: nothing is, or it
 * is waited for. */
extern const struct procedure move_look;
enum { MOVE_END = 'E', MOVE_LATE = 'L' };
/* At the target, UPDATE: a stamp. DONE; MOVED: it was renamed; its birth there and its key follow. */
extern const struct procedure move_end;
/* The same, and the job's body: changes (change.h), each after its stamp. */
extern const struct procedure move_late;
/* At the old key, UPDATE: the token. DONE, NONE: it is another one by now. */
extern const struct procedure move_settle;

/* The key of a letter. `tag` is of the old key's slot, from rename_tags(). */
struct bytes move_letter_key(uint16_t tag, uint64_t id, uint8_t key[MOVE_KEY_BYTES]);
bool move_is_letter(struct bytes key);

/* The tag in it. */
uint16_t move_tag(struct bytes letter_key);

/* A letter, and the new key that it goes to (empty where that cannot be read); or a key with something to settle. It must
 * change nothing. Returns whether it was taken: else it comes first in the next visit. */
typedef bool (*moved_visit)(void *context, struct bytes key, struct bytes target);

/* Go on with the round of letters that were committed MOVE_SETTLE_MS ago, and of records with something to settle: those
 * that the shard has noticed since the last round, or that were noticed before and are still there. At most so many
 * positions are looked at, and none after one that was not taken. Returns whether the round is over; the next call begins
 * another one. */
bool shard_visit_moved(struct shard *shard, uint32_t positions_max, moved_visit visit,
                       void *context);

/* Something left to do of a rename of this key was refused for good: that is told. */
void shard_tell_refused(struct shard *shard, struct bytes key, enum status status);

/* Are there any? */
bool shard_has_moved(const struct shard *shard);

#endif
