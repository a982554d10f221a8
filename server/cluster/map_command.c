#include "map_command.h"

#include <errno.h>
#include <string.h>

#include "liveness.h"
#include "map_parts.h"

enum {
    COMMAND_BYTES_MAX = 2 + 2 * VARINT_BYTES_MAX + MAP_MEMBER_BYTES_MAX + MAP_POLICY_BYTES_MAX,
    RUN_BYTES_MAX = (2 + PLACEMENT_REPLICAS_MAX) * VARINT_BYTES_MAX + 1,
};

/* ---- Runs of a SETTLE ---- */

static uint8_t owner_count(const struct slot_owners *owners)
{
    uint8_t count = 0;

    while (count < PLACEMENT_REPLICAS_MAX && owners->nodes[count] != 0) {
        count++;
    }
    return count;
}

int map_run_put(struct buffer *to, uint32_t *end, const struct map_run *run)
{
    uint8_t count = owner_count(&run->owners);
    int rc =
        to->size + RUN_BYTES_MAX > MAP_RUNS_BYTES_MAX ? -E2BIG : buffer_reserve(to, RUN_BYTES_MAX);

    if (rc != 0) {
        return rc;
    }
    map_put_varint(to, run->slot - *end);
    map_put_varint(to, run->count);
    map_put_u8(to, count);
    for (uint8_t i = 0; i < count; i++) {
        map_put_varint(to, run->owners.nodes[i]);
    }
    *end = run->slot + run->count;
    return 0;
}

int map_runs_put(struct buffer *to, bool (*has)(const void *context, uint32_t slot),
                 const void *context)
{
    uint32_t end = 0;
    int rc = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT && rc == 0; slot++) {
        struct map_run run = {.slot = slot};
        while (slot < SLOT_COUNT && has(context, slot)) {
            slot++;
            run.count++;
        }
        rc = run.count > 0 ? map_run_put(to, &end, &run) : 0;
    }
    return rc == -E2BIG ? 0 : rc;
}

bool map_run_read(struct reader *from, uint32_t *end, struct map_run *run)
{
    if (from->bad || reader_left(from) == 0) {
        return false;
    }
    *run = (struct map_run){.slot = *end + map_read_number(from, SLOT_COUNT - *end)};
    run->count = map_read_number(from, SLOT_COUNT - run->slot);
    uint8_t count = read_u8(from);
    if (count > PLACEMENT_REPLICAS_MAX || run->count == 0) {
        from->bad = true;
        return false;
    }
    for (uint8_t i = 0; i < count; i++) {
        run->owners.nodes[i] = map_read_number(from, MAP_NUMBER_MAX);
        from->bad = from->bad || run->owners.nodes[i] == 0;
    }
    *end = run->slot + run->count;
    return !from->bad;
}

bool map_runs_good(struct bytes runs, bool owned)
{
    struct reader from = reader_of(runs);
    uint32_t end = 0;
    struct map_run run;

    while (map_run_read(&from, &end, &run)) {
        if ((run.owners.nodes[0] != 0) != owned) {
            return false;
        }
    }
    return runs.size > 0 && reader_done(&from);
}

static uint32_t run_count(struct bytes runs)
{
    struct reader from = reader_of(runs);
    uint32_t end = 0, count = 0;
    struct map_run run;

    while (map_run_read(&from, &end, &run)) {
        count++;
    }
    return count;
}

/* ---- Writing ---- */

static void put_runs(struct bytes runs, struct buffer *to)
{
    if (runs.size > 0) {
        memcpy(to->data + to->size, runs.data, runs.size);
        to->size += runs.size;
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

/* The first one that has it. */
static uint8_t version_of(const struct map_command *command)
{
    if (command->type == MAP_LOSE || command->type == MAP_RESTORED) {
        return MAP_COMMAND_VERSION_LOST;
    }
    if (command->type == MAP_RAMP || command->type == MAP_RAMP_STEP) {
        return MAP_COMMAND_VERSION_RAMPS;
    }
    return command->type == MAP_SETTLE && run_count(command->runs) > 1 ? MAP_COMMAND_VERSION_RUNS
                                                                       : MAP_COMMAND_VERSION_FIRST;
}

int map_command_encode(const struct map_command *command, struct buffer *to)
{
    int rc = buffer_reserve(to, COMMAND_BYTES_MAX + command->runs.size);

    if (rc != 0) {
        return rc;
    }
    map_put_u8(to, version_of(command));
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
    case MAP_LOSE:
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
    case MAP_RAMP:
        map_put_varint(to, command->number);
        map_put_varint(to, command->goal);
        map_put_varint(to, command->ramp_ms);
        break;
    case MAP_RAMP_STEP:
        map_put_varint(to, command->number);
        map_put_varint(to, command->goal);
        map_put_varint(to, command->weight);
        map_put_varint(to, command->ramp_ms);
        break;
    case MAP_SETTLE:
        put_runs(command->runs, to);
        break;
    case MAP_RESTORED:
        map_put_varint(to, command->number);
        map_put_varint(to, command->epoch);
        put_runs(command->runs, to);
        break;
    }
    return 0;
}

/* ---- Reading ---- */

/* All that is left, once it was looked at. */
static void read_runs(struct reader *from, struct map_command *command)
{
    uint32_t end = 0;
    struct map_run run;

    command->runs = bytes_of(from->at, reader_left(from));
    while (map_run_read(from, &end, &run)) {
    }
    from->bad = from->bad || command->runs.size == 0 || command->runs.size > MAP_RUNS_BYTES_MAX;
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

static void read_ramp(struct reader *from, struct map_command *command)
{
    command->number = map_read_number(from, MAP_NUMBER_MAX);
    command->goal = map_read_number(from, PLACEMENT_WEIGHT_MAX);
    if (command->type == MAP_RAMP_STEP) {
        command->weight = map_read_number(from, PLACEMENT_WEIGHT_MAX);
    }
    command->ramp_ms = map_read_number(from, MAP_RAMP_MS_MAX);
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
    case MAP_LOSE:
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
    case MAP_RAMP:
    case MAP_RAMP_STEP:
        read_ramp(from, command);
        return;
    case MAP_SETTLE:
        read_runs(from, command);
        return;
    case MAP_RESTORED:
        command->number = map_read_number(from, MAP_NUMBER_MAX);
        command->epoch = read_varint(from);
        from->bad = from->bad || command->number == 0 || command->epoch == 0;
        read_runs(from, command);
        from->bad = from->bad || !map_runs_good(command->runs, false);
        return;
    }
    from->bad = true;
}

int map_command_decode(struct bytes from, struct map_command *command)
{
    struct reader reader = reader_of(from);

    memset(command, 0, sizeof *command);
    if (from.size > 0 &&
        (from.data[0] < MAP_COMMAND_VERSION_FIRST || from.data[0] > MAP_COMMAND_VERSION)) {
        return -EPROTONOSUPPORT;
    }
    uint8_t version = read_u8(&reader);
    command->type = (enum map_command_type)read_u8(&reader);
    read_body(&reader, command);
    reader.bad = reader.bad || version != version_of(command);
    return reader_done(&reader) ? 0 : -EBADMSG;
}
