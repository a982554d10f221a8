/* Parts of encodings that the map and its commands share. Writers append to a buffer that has the room; readers make
 * the reader bad where a part is not good.
 */
#ifndef MAP_PARTS_H
#define MAP_PARTS_H

#include "map.h"

enum {
    /* The most that each part takes. */
    MAP_PLACE_BYTES_MAX = 2 + MAP_TEXT_BYTES_MAX + 2 * MAP_PORTS + 2 * VARINT_BYTES_MAX,
    MAP_MEMBER_BYTES_MAX =
        2 + 5 * VARINT_BYTES_MAX + 3 * (2 + MAP_TEXT_BYTES_MAX) + MAP_PLACE_BYTES_MAX,
    MAP_POLICY_BYTES_MAX = 2 + POLICY_PREFIX_BYTES_MAX + 2 + 5 * VARINT_BYTES_MAX,
};

void map_put_u8(struct buffer *to, uint8_t value);
void map_put_varint(struct buffer *to, uint64_t value);
void map_put_string(struct buffer *to, struct bytes string);
void map_put_place(struct buffer *to, const struct map_place *place);
void map_put_policy(struct buffer *to, const struct policy *policy);

/* A varint up to `most`, else bad. */
uint32_t map_read_number(struct reader *from, uint32_t most);
void map_read_text(struct reader *from, struct map_text *text);
void map_read_place(struct reader *from, struct map_place *place);
void map_read_prefix(struct reader *from, struct policy *policy);
void map_read_policy(struct reader *from, struct policy *policy);

/* Are these runs of a command, at least one, each with owners, or none with any? */
bool map_runs_good(struct bytes runs, bool owned);

static inline struct bytes map_policy_prefix(const struct policy *policy)
{
    return bytes_of(policy->prefix, policy->prefix_size);
}

#endif
