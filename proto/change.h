/* A change list: what one atomic write does to one session, in order. And its results.
 *
 * Each change is: operation (1 byte), then its operands in the order given in the table. `name` and
 * `value` are varint size and bytes; `ms` and `flags` are varints; `delta` is a zigzag varint; `score`
 * is 8 bytes (IEEE 754 binary64, little-endian, not NaN). A blob is the field with the empty name; a
 * map's fields, and a set's or zset's members, may have an empty name too.
 *
 * Each change gives one result, in the same order: a zigzag varint, or for ADD_SCORE and the like as
 * the table says. The list of results is what a WRITE's reply carries as its value.
 *
 * Memory: readers point into the list. Threads: any.
 */
#ifndef CHANGE_H
#define CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

/* The type of a session's value; in records and on the wire. */
enum session_type {
    SESSION_NONE = 0,
    SESSION_BLOB = 1,
    SESSION_MAP = 2,
    SESSION_SET = 3,
    SESSION_ZSET = 4,
};

enum write_mode {
    WRITE_UPSERT = 0, /* Begin the session if there is none: a blind birth. */
    WRITE_CREATE = 1, /* Only if there is none: an explicit birth, else STATUS_EXISTS. */
    WRITE_UPDATE = 2, /* Only if there is one, else STATUS_NOT_FOUND. */
};

enum get_flag {
    GET_META = 1,     /* No value, only what the reply's head says. */
    GET_FIELDS = 2,   /* Only the fields named in the request's value. */
    GET_NO_TOUCH = 4, /* Do not slide the idle deadline, whatever the policy says. */
    GET_SIBLINGS = 8, /* All live siblings of each field, newest first, not only the shown one. */
    GET_ANY = 16, /* Whoever holds a copy may answer, not only who coordinates; see Get.floor. */
};

enum {
    CHANGE_SET = 1,       /* name, value: 1 if the field is new, else 0. */
    CHANGE_SET_UNTIL = 2, /* name, value, ms: as SET; the field is gone at that time since 1970. */
    CHANGE_DELETE = 3, /* name: 1 if it was there, else 0. A session keeps living without fields. */
    CHANGE_ADD = 4,    /* name, delta: the sum. An absent field counts as 0. */
    CHANGE_APPEND = 5, /* name, value: the new size in bytes. */
    CHANGE_CLEAR = 6,  /* Remove all fields, siblings and field deadlines: how many there were. */
    CHANGE_ABSOLUTE = 7,    /* ms since 1970, 0 removes the deadline: 0. */
    CHANGE_TTL = 8,         /* ms from the coordinator's now to the absolute deadline: 0. */
    CHANGE_IDLE = 9,        /* ms without access after which the session dies, 0 removes: 0. */
    CHANGE_OWNER = 10,      /* value: whose session it is; empty removes: 0. */
    CHANGE_TOUCH = 11,      /* Count as an access now: 0. */
    CHANGE_DESTROY = 12,    /* End the session. Alone in its list: 1 if it lived, else 0. */
    CHANGE_ADD_MEMBER = 13, /* name: 1 if it is new in the set, else 0. */
    CHANGE_SET_SCORE = 14,  /* name, score, flags SCORE_*: 1 new, 2 changed, 0 neither. */
    CHANGE_ADD_SCORE = 15,  /* name, score: the sum, as 8 bytes in place of a varint. */
    CHANGE_UNTIL = 16,      /* name, ms (0 removes): 1 if the field was there, else 0. */
};

enum { SCORE_NX = 1, SCORE_XX = 2, SCORE_GT = 4, SCORE_LT = 8 };

struct change {
    uint8_t operation;
    struct bytes name;
    struct bytes value;
    uint64_t ms;
    int64_t delta;
    double score;
    uint32_t flags;
};

/* The next change of the list.
 *
 * Returns 1 with `change` set; 0 at the end; -EBADMSG when the bytes are no change (unknown operation,
 * cut short, a name, owner or time over its limit, a NaN). */
int change_next(struct reader *list, struct change *change);

/* Check a whole list: every change, at most CHANGES_MAX of them, DESTROY alone.
 *
 * Returns the number of changes, or -EBADMSG. */
int change_check(struct bytes list);

/* Does the list set a value larger than `bytes_max`, which no later change of it takes away, or may? Then such a value is in the
 * session at its end, whatever was there before. Of a list that is malformed: false. */
bool change_list_outgrows(struct bytes list, size_t bytes_max);

/* Bytes that change_put() writes for this change. */
size_t change_size(const struct change *change);

/* Write one change. Returns the first byte after it. */
uint8_t *change_put(uint8_t *to, const struct change *change);

/* Does this operation give its result as 8 bytes of score in place of a varint? */
bool change_result_is_score(uint8_t operation);

#endif
