#include "map_command.h"

#include <errno.h>
#include <string.h>

#include "liveness.h"
#include "map_parts.h"

enum { COMMAND_BYTES_MAX = 2 + MAP_MEMBER_BYTES_MAX + MAP_POLICY_BYTES_MAX };

static uint8_t owner_count(const struct slot_owners *owners)
{
    uint8_t count = 0;

    while (count < PLACEMENT_REPLICAS_MAX && owners->nodes[count] != 0) {
        count++;
    }
    return count;
}

static void put_settle(const struct map_command *command, struct buffer *to)
{
    uint8_t count = owner_count(&command->owners);

    map_put_varint(to, command->slot);
    map_put_varint(to, command->slot_count);
    map_put_u8(to, count);
    for (uint8_t i = 0; i < count; i++) {
        map_put_varint(to, command->owners.nodes[i]);
    }
}

static void put_add(const struct map_command *command, struct buffer *to)
{
    map_put_varint(to, command->number);
    map_put_varint(to, command->weight);
    map_put_string(to, map_text_bytes(&command->name));
    map_put_string(to, map_text_bytes(&command->zone));
    map_put_string(to, map_text_bytes(&command->region));
    map_put_place(to, &command->place);
}

int map_command_encode(const struct map_command *command, struct buffer *to)
{
    int rc = buffer_reserve(to, COMMAND_BYTES_MAX);

    if (rc != 0) {
        return rc;
    }
    map_put_u8(to, MAP_COMMAND_VERSION);
    map_put_u8(to, (uint8_t)command->type);
    switch (command->type) {
    case MAP_ADD:
        put_add(command, to);
        break;
    case MAP_PLACE:
        map_put_varint(to, command->number);
        map_put_place(to, &command->place);
        break;
    case MAP_WEIGHT:
        map_put_varint(to, command->number);
        map_put_varint(to, command->weight);
        break;
    case MAP_STATE:
        map_put_varint(to, command->number);
        map_put_u8(to, (uint8_t)command->state);
        map_put_varint(to, command->cooldown_ms);
        break;
    case MAP_CONDITION:
        map_put_varint(to, command->number);
        map_put_u8(to, command->condition);
        break;
    case MAP_REMOVE:
        map_put_varint(to, command->number);
        break;
    case MAP_POLICY_SET:
        map_put_policy(to, &command->policy);
        break;
    case MAP_POLICY_REMOVE:
        map_put_string(to, map_policy_prefix(&command->policy));
        break;
    case MAP_REPLICAS:
        map_put_varint(to, command->replicas);
        break;
    case MAP_SETTLE:
        put_settle(command, to);
        break;
    }
    return 0;
}

static void read_settle(struct reader *from, struct map_command *command)
{
    command->slot = map_read_number(from, SLOT_COUNT - 1);
    command->slot_count = map_read_number(from, SLOT_COUNT - command->slot);
    uint8_t count = read_u8(from);
    if (count > PLACEMENT_REPLICAS_MAX || command->slot_count == 0) {
        from->bad = true;
        return;
    }
    for (uint8_t i = 0; i < count; i++) {
        command->owners.nodes[i] = map_read_number(from, MAP_NUMBER_MAX);
        from->bad = from->bad || command->owners.nodes[i] == 0;
    }
}

static void read_add(struct reader *from, struct map_command *command)
{
    command->number = map_read_number(from, MAP_NUMBER_MAX);
    command->weight = map_read_number(from, PLACEMENT_WEIGHT_MAX);
    map_read_text(from, &command->name);
    map_read_text(from, &command->zone);
    map_read_text(from, &command->region);
    map_read_place(from, &command->place);
    from->bad = from->bad || command->name.size == 0;
}

static void read_body(struct reader *from, struct map_command *command)
{
    switch (command->type) {
    case MAP_ADD:
        read_add(from, command);
        return;
    case MAP_PLACE:
        command->number = map_read_number(from, MAP_NUMBER_MAX);
        map_read_place(from, &command->place);
        return;
    case MAP_WEIGHT:
        command->number = map_read_number(from, MAP_NUMBER_MAX);
        command->weight = map_read_number(from, PLACEMENT_WEIGHT_MAX);
        return;
    case MAP_STATE:
        command->number = map_read_number(from, MAP_NUMBER_MAX);
        command->state = (enum map_state)read_u8(from);
        from->bad = from->bad || command->state < MAP_JOINING || command->state > MAP_LEFT;
        command->cooldown_ms = map_read_number(from, MAP_COOLDOWN_MS_MAX);
        return;
    case MAP_CONDITION:
        command->number = map_read_number(from, MAP_NUMBER_MAX);
        command->condition = read_u8(from);
        from->bad = from->bad || (command->condition & ~CONDITION_OWN) != 0;
        return;
    case MAP_REMOVE:
        command->number = map_read_number(from, MAP_NUMBER_MAX);
        return;
    case MAP_POLICY_SET:
        map_read_policy(from, &command->policy);
        return;
    case MAP_POLICY_REMOVE:
        map_read_prefix(from, &command->policy);
        return;
    case MAP_REPLICAS:
        command->replicas = map_read_number(from, PLACEMENT_REPLICAS_MAX);
        from->bad = from->bad || command->replicas == 0;
        return;
    case MAP_SETTLE:
        read_settle(from, command);
        return;
    }
    from->bad = true;
}

int map_command_decode(struct bytes from, struct map_command *command)
{
    struct reader reader = reader_of(from);

    memset(command, 0, sizeof *command);
    if (from.size > 0 && from.data[0] != MAP_COMMAND_VERSION) {
        return -EPROTONOSUPPORT;
    }
    (void)read_u8(&reader);
    command->type = (enum map_command_type)read_u8(&reader);
    read_body(&reader, command);
    return reader_done(&reader) ? 0 : -EBADMSG;
}
