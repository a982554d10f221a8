#include "map_parts.h"

#include <string.h>

enum policy_flag {
    POLICY_TOUCH = 1,
    POLICY_NO_RESURRECT = 2,
    POLICY_SIBLINGS = 4,
    POLICY_REFUSE = 8,
    POLICY_FLAGS = 15
};

void map_put_u8(struct buffer *to, uint8_t value)
{
    to->data[to->size++] = value;
}

void map_put_varint(struct buffer *to, uint64_t value)
{
    to->size = (size_t)(varint_put(to->data + to->size, value) - to->data);
}

void map_put_string(struct buffer *to, struct bytes string)
{
    map_put_varint(to, string.size);
    if (string.size > 0) {
        memcpy(to->data + to->size, string.data, string.size);
        to->size += string.size;
    }
}

void map_put_place(struct buffer *to, const struct map_place *place)
{
    map_put_string(to, map_text_bytes(&place->host));
    for (int i = 0; i < MAP_PORTS; i++) {
        store_u16(to->data + to->size, place->ports[i]);
        to->size += 2;
    }
    map_put_varint(to, place->start);
    map_put_varint(to, place->shards);
}

void map_put_policy(struct buffer *to, const struct policy *policy)
{
    const struct session_rules *rules = &policy->rules;

    map_put_string(to, map_policy_prefix(policy));
    map_put_u8(to, (uint8_t)policy->ack);
    map_put_u8(to, (uint8_t)((policy->touch_on_read ? POLICY_TOUCH : 0) |
                             (rules->no_resurrect ? POLICY_NO_RESURRECT : 0) |
                             (policy->conflict_view == CONFLICT_SIBLINGS ? POLICY_SIBLINGS : 0) |
                             (policy->on_no_replica == NO_REPLICA_REFUSE ? POLICY_REFUSE : 0)));
    map_put_varint(to, rules->session_bytes_max);
    map_put_varint(to, rules->fields_max);
    map_put_varint(to, rules->idle_ttl_ms);
    map_put_varint(to, rules->absolute_ttl_ms);
    map_put_varint(to, rules->tombstone_keep_ms);
}

static void refuse(struct reader *from)
{
    from->bad = true;
    from->at = from->end;
}

uint32_t map_read_number(struct reader *from, uint32_t most)
{
    uint64_t value = read_varint(from);

    if (value > most) {
        refuse(from);
        return 0;
    }
    return (uint32_t)value;
}

void map_read_text(struct reader *from, struct map_text *text)
{
    struct bytes string = read_string(from);

    memset(text, 0, sizeof *text);
    if (string.size > MAP_TEXT_BYTES_MAX) {
        refuse(from);
    } else if (string.size > 0) {
        text->size = (uint8_t)string.size;
        memcpy(text->bytes, string.data, string.size);
    }
    if (!map_text_good(text)) {
        refuse(from);
    }
}

void map_read_place(struct reader *from, struct map_place *place)
{
    map_read_text(from, &place->host);
    for (int i = 0; i < MAP_PORTS; i++) {
        struct bytes port = read_bytes(from, 2);
        place->ports[i] = port.size == 2 ? load_u16(port.data) : 0;
    }
    place->start = map_read_number(from, UINT32_MAX);
    place->shards = map_read_number(from, MAP_SHARDS_MAX);
    if (!map_place_good(place)) {
        refuse(from);
    }
}

void map_read_prefix(struct reader *from, struct policy *policy)
{
    struct bytes prefix = read_string(from);

    memset(policy, 0, sizeof *policy);
    if (prefix.size > POLICY_PREFIX_BYTES_MAX) {
        refuse(from);
    } else if (prefix.size > 0) {
        policy->prefix_size = (uint32_t)prefix.size;
        memcpy(policy->prefix, prefix.data, prefix.size);
    }
}

void map_read_policy(struct reader *from, struct policy *policy)
{
    map_read_prefix(from, policy);
    uint8_t ack = read_u8(from), flags = read_u8(from);
    struct session_rules *rules = &policy->rules;

    policy->ack = (enum ack_level)ack;
    policy->touch_on_read = (flags & POLICY_TOUCH) != 0;
    policy->conflict_view = (flags & POLICY_SIBLINGS) != 0 ? CONFLICT_SIBLINGS : CONFLICT_NEWEST;
    policy->on_no_replica = (flags & POLICY_REFUSE) != 0 ? NO_REPLICA_REFUSE : NO_REPLICA_DEGRADE;
    rules->no_resurrect = (flags & POLICY_NO_RESURRECT) != 0;
    rules->session_bytes_max = map_read_number(from, UINT32_MAX);
    rules->fields_max = map_read_number(from, UINT32_MAX);
    rules->idle_ttl_ms = read_varint(from);
    rules->absolute_ttl_ms = read_varint(from);
    rules->tombstone_keep_ms = read_varint(from);
    if ((flags & ~POLICY_FLAGS) != 0 || !map_policy_good(policy)) {
        refuse(from);
    }
}
