/* What the steps of move.h are made of: private to shard_move.c and shard_settle.c. */
#ifndef MOVE_PARTS_H
#define MOVE_PARTS_H

#include "alias.h"
#include "move.h"
#include "receipt.h"
#include "rename_parts.h"

uint16_t moved_read_tag(struct reader *from);

/* The record of the key turned to, as it is kept. */
struct bytes moved_record(const struct turn *turn);

/* The stamp of a write to it. */
struct stamp moved_stamp(const struct turn *turn, struct bytes record);

/* Stage what was made in shard->written.record. `renamed`: a session goes on from there. Returns OK or an error. */
enum status moved_stage(struct turn *turn, struct stamp stamp, bool renamed);

enum status moved_status(int rc);

/* Answer with a stamp. Returns OK or NO_MEMORY. */
enum status moved_say(struct turn *turn, enum rename_answer what, struct stamp stamp);

/* May what is under a key of the same shard be here, and is not given by the store yet? Then it is asked for, and the turn's
 * text says so: BUSY. */
bool moved_is_to_come(struct turn *turn, struct bytes key);

/* The letter of that key goes, staged. The turn is where it was then. Returns OK or an error. */
enum status moved_drop_letter(struct turn *turn, struct bytes key);

/* Is the letter of a rename here still? */
bool moved_has_letter(struct turn *turn, uint16_t tag, uint64_t id);

/* The newest alias of this id; or, with id 0, of what was born so. Returns whether there is one. */
bool moved_find_alias(struct bytes record, uint64_t id, struct stamp origin, struct alias *alias);

#endif
