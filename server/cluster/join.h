/* What a new node and a member say to each other when it joins: the bodies of the frames JOIN and JOINED.
 *
 *   JOIN     u8 JOIN_VERSION, then the ADD that is to make it a member (map_command.h); its number is 0
 *   JOINED   u8 JOIN_VERSION, u8 answer, string what to tell the operator; and with JOIN_TAKEN
 *            varint number, u64 seed of positions, then all the rest: what the new node's copy of the map and its log
 *            begin with
 *
 * Integers are little-endian, varints and strings as in map.h. A member answers once; the new node may ask again with the
 * same frame when no answer came: it gets the same number, as long as nobody has been that member yet.
 *
 * Memory: results point into what was read. Threads: any.
 */
#ifndef JOIN_H
#define JOIN_H

#include "map_command.h"

enum { JOIN_VERSION = 1, JOIN_FRAME = 23, JOINED_FRAME = 24 };

enum join_answer {
    JOIN_TAKEN,
    JOIN_REFUSED, /* And asking again would not help. */
    JOIN_LATER,   /* Just now it could not be decided. */
};

struct joined {
    enum join_answer answer;
    struct map_text text;
    uint32_t number;
    uint64_t seed;
    struct bytes beginning;
};

/* Append a body. Return 0, or -ENOMEM with `to` as it was. */
int join_encode(const struct map_command *add, struct buffer *to);
int joined_encode(const struct joined *joined, struct buffer *to);

/* Read one. Return 0; -EPROTONOSUPPORT: of another version; -EBADMSG: damaged, or no ADD of a new member. The result is of
 * no use then. */
int join_decode(struct bytes from, struct map_command *add);
int joined_decode(struct bytes from, struct joined *joined);

/* The member that a node which asks (again) with this ADD is already: one of its name and place that has never been up.
 * NULL: there is none. */
const struct map_member *join_member(const struct map *map, const struct map_command *add);

#endif
