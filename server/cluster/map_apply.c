#include <assert.h>
#include <errno.h>
#include <string.h>

#include "liveness.h"
#include "map_command.h"
#include "map_parts.h"
#include "map_policies.h"

/* ---- Slots. ---- */

static uint32_t zone_index(const struct map *map, uint32_t member)
{
    uint32_t zone = 0;

    while (!bytes_equal(map_text_bytes(&map->members[zone].zone),
                        map_text_bytes(&map->members[member].zone))) {
        zone++;
    }
    return zone;
}

static void take_out(struct slot_owners *owners, uint32_t number)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < PLACEMENT_REPLICAS_MAX; i++) {
        if (owners->nodes[i] != number) {
            owners->nodes[kept++] = owners->nodes[i];
        }
    }
    while (kept < PLACEMENT_REPLICAS_MAX) {
        owners->nodes[kept++] = 0;
    }
}

/* Take a member out of the owners: of all slots, or only where there are others. */
static void disown(struct map *map, uint32_t number, bool all)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        struct slot_owners *owners = &map->owners[slot];
        if (all || owners->nodes[0] != number || owners->nodes[1] != 0) {
            take_out(owners, number);
        }
    }
}

/* Nobody but this member has these: they are lost with it, in the epoch that begins. */
static void lose(struct map *map, uint32_t number)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct slot_owners *owners = &map->owners[slot];
        if (owners->nodes[0] == number && owners->nodes[1] == 0) {
            map->lost[slot] = map->epoch + 1;
        }
    }
}

/* Slots that nobody owns have their targets at once. */
static void own_the_rest(struct map *map)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (map->owners[slot].nodes[0] == 0) {
            map->owners[slot] = map_targets(map, slot);
        }
    }
}

/* New homes for all. */
static void place(struct map *map, struct placement_work *work)
{
    struct placement_member members[PLACEMENT_MEMBERS_MAX];

    for (uint32_t i = 0; i < map->member_count; i++) {
        members[i] = (struct placement_member){
            .number = map->members[i].number,
            .weight = map_has_homes(&map->members[i]) ? map->members[i].weight : 0,
            .zone = zone_index(map, i),
        };
    }
    int rc =
        placement_make(work, members, map->member_count, map->replicas, map->homes, map->homes);
    assert(rc == 0); /* All of it was checked. */
    own_the_rest(map);
}

/* ---- Commands. ---- */

static int add(struct map *map, const struct map_command *command)
{
    uint32_t number = command->number != 0 ? command->number : map->number_last + 1;

    if (command->weight > PLACEMENT_WEIGHT_MAX || number > MAP_NUMBER_MAX ||
        command->name.size == 0 || !map_text_good(&command->name) ||
        !map_text_good(&command->zone) || !map_text_good(&command->region) ||
        !map_place_good(&command->place)) {
        return -EINVAL;
    }
    if (number <= map->number_last ||
        map_member_named(map, map_text_bytes(&command->name)) != NULL) {
        return -EEXIST;
    }
    if (map->member_count == MAP_MEMBERS_MAX) {
        return -E2BIG;
    }
    map->members[map->member_count++] = (struct map_member){
        .number = number,
        .weight = command->weight,
        .state = MAP_JOINING,
        .name = command->name,
        .zone = command->zone,
        .region = command->region,
        .place = command->place,
    };
    map->number_last = number;
    return 0;
}

static bool text_equal(const struct map_text *a, const struct map_text *b)
{
    return bytes_equal(map_text_bytes(a), map_text_bytes(b));
}

static int set_place(struct map_member *member, const struct map_place *new_place)
{
    struct map_place *old = &member->place;

    if (!map_place_good(new_place)) {
        return -EINVAL;
    }
    if (text_equal(&old->host, &new_place->host) && old->start == new_place->start &&
        old->shards == new_place->shards &&
        memcmp(old->ports, new_place->ports, sizeof old->ports) == 0) {
        return -EALREADY;
    }
    *old = *new_place;
    return 0;
}

static void change_weight(struct map *map, struct placement_work *work, struct map_member *member,
                          uint32_t weight)
{
    bool changes = weight != member->weight;

    member->weight = weight;
    if (changes && map_has_homes(member)) {
        place(map, work);
    }
}

static int set_weight(struct map *map, struct placement_work *work, struct map_member *member,
                      uint32_t weight)
{
    if (weight > PLACEMENT_WEIGHT_MAX) {
        return -EINVAL;
    }
    if (weight == member->weight && member->ramp_ms == 0) {
        return -EALREADY;
    }
    member->goal = member->ramp_ms = 0;
    change_weight(map, work, member, weight);
    return 0;
}

static int begin_ramp(struct map_member *member, const struct map_command *command)
{
    bool there = command->goal == member->weight;

    if (command->goal > PLACEMENT_WEIGHT_MAX || command->ramp_ms == 0 ||
        command->ramp_ms > MAP_RAMP_MS_MAX) {
        return -EINVAL;
    }
    if (there && member->ramp_ms == 0) {
        return -EALREADY;
    }
    member->goal = there ? 0 : command->goal;
    member->ramp_ms = there ? 0 : command->ramp_ms;
    return 0;
}

static int step_ramp(struct map *map, struct placement_work *work, struct map_member *member,
                     const struct map_command *command)
{
    if (command->weight > PLACEMENT_WEIGHT_MAX ||
        (command->ramp_ms == 0 && command->weight != command->goal)) {
        return -EINVAL;
    }
    if (command->goal != member->goal || command->ramp_ms >= member->ramp_ms) {
        return -ESTALE;
    }
    member->ramp_ms = command->ramp_ms;
    member->goal = command->ramp_ms == 0 ? 0 : member->goal;
    change_weight(map, work, member, command->weight);
    return 0;
}

/* From each state (but DOWN) to which others, as bits; to DOWN from all but LEFT. */
static const uint32_t moves[] = {
    [MAP_JOINING] = 1U << MAP_ACTIVE | 1U << MAP_LEFT | 1U << MAP_DOWN,
    [MAP_ACTIVE] = 1U << MAP_DEGRADED | 1U << MAP_DRAINING | 1U << MAP_DOWN,
    [MAP_DEGRADED] = 1U << MAP_ACTIVE | 1U << MAP_DRAINING | 1U << MAP_DOWN,
    [MAP_DRAINING] = 1U << MAP_ACTIVE | 1U << MAP_LEFT | 1U << MAP_DOWN,
    [MAP_DOWN] = 0, /* To what it was before; and to LEFT from there. */
    [MAP_LEFT] = 1U << MAP_JOINING,
};

static bool may_become(const struct map_member *member, enum map_state state)
{
    if (member->state != MAP_DOWN) {
        return (moves[member->state] & 1U << state) != 0;
    }
    return state == member->before_down ||
           (state == MAP_LEFT && member->before_down == MAP_DRAINING);
}

/* What an operator's word makes of the condition: coming back from DOWN is none. */
static uint8_t condition_after(const struct map_member *member, enum map_state state)
{
    if (member->state == MAP_DOWN || state == MAP_DOWN) {
        return state == MAP_LEFT ? 0 : member->condition;
    }
    return state == MAP_DEGRADED ? CONDITION_OPERATOR : 0;
}

/* Of one that found it itself an operator may say that it is degraded, too: then it stays so when it is well. */
static int add_word(struct map_member *member)
{
    if (member->state != MAP_DEGRADED || (member->condition & CONDITION_OPERATOR) != 0) {
        return -EALREADY;
    }
    member->condition |= CONDITION_OPERATOR;
    return 0;
}

static int set_state(struct map *map, struct placement_work *work, struct map_member *member,
                     const struct map_command *command)
{
    enum map_state state = command->state;
    bool had_homes = map_has_homes(member);

    if (state < MAP_JOINING || state > MAP_LEFT || command->cooldown_ms > MAP_COOLDOWN_MS_MAX ||
        (command->cooldown_ms != 0 && state != MAP_DOWN)) {
        return -EINVAL;
    }
    if (state == member->state) {
        return add_word(member);
    }
    if (!may_become(member, state)) {
        return -EPERM;
    }
    if (state == MAP_LEFT && map_owns(map, member->number)) {
        return -EBUSY;
    }
    member->condition = condition_after(member, state);
    member->cooldown_ms = command->cooldown_ms != 0 ? command->cooldown_ms : member->cooldown_ms;
    member->before_down = state == MAP_DOWN ? member->state : (enum map_state)0;
    member->state = state;
    if (state == MAP_DOWN) {
        disown(map, member->number, false);
    }
    if (map_has_homes(member) != had_homes) {
        place(map, work);
    } else {
        own_the_rest(map);
    }
    return 0;
}

/* No slot moves by it. */
static int set_condition(struct map_member *member, uint8_t condition)
{
    enum map_state *lasting = member->state == MAP_DOWN ? &member->before_down : &member->state;
    uint8_t whole = (uint8_t)((member->condition & CONDITION_OPERATOR) | condition);

    if ((condition & ~CONDITION_OWN) != 0) {
        return -EINVAL;
    }
    if (!map_has_homes(member)) {
        return -EPERM;
    }
    if (whole == member->condition) {
        return -EALREADY;
    }
    member->condition = whole;
    *lasting = whole != 0 ? MAP_DEGRADED : MAP_ACTIVE;
    return 0;
}

static int remove_member(struct map *map, struct placement_work *work, struct map_member *member,
                         bool loses)
{
    uint32_t number = member->number;
    size_t after = (size_t)(&map->members[map->member_count] - (member + 1));

    if (member->state != MAP_DOWN && member->state != MAP_LEFT && member->state != MAP_JOINING) {
        return -EBUSY;
    }
    if (loses) {
        lose(map, number);
    }
    disown(map, number, true);
    memmove(member, member + 1, after * sizeof *member);
    map->member_count--;
    memset(&map->members[map->member_count], 0, sizeof *member);
    place(map, work);
    return 0;
}

static int set_replicas(struct map *map, struct placement_work *work, uint32_t replicas)
{
    if (replicas == 0 || replicas > PLACEMENT_REPLICAS_MAX) {
        return -EINVAL;
    }
    if (replicas == map->replicas) {
        return -EALREADY;
    }
    map->replicas = replicas;
    place(map, work);
    return 0;
}

/* Returns 0; -EALREADY; -ESTALE. */
static int settle_run(struct map *map, const struct map_run *run)
{
    uint32_t end = run->slot + run->count;
    bool changes = false;

    for (uint32_t slot = run->slot; slot < end; slot++) {
        struct slot_owners targets = map_targets(map, slot);
        if (memcmp(&targets, &run->owners, sizeof targets) != 0) {
            return -ESTALE;
        }
        changes = changes || memcmp(&map->owners[slot], &targets, sizeof targets) != 0;
    }
    for (uint32_t slot = run->slot; slot < end; slot++) {
        map->owners[slot] = run->owners;
    }
    return changes ? 0 : -EALREADY;
}

static int settle(struct map *map, struct bytes runs)
{
    struct reader from = reader_of(runs);
    bool changes = false, stale = false;
    uint32_t end = 0;
    struct map_run run;

    if (!map_runs_good(runs, true)) {
        return -EINVAL;
    }
    while (map_run_read(&from, &end, &run)) {
        int rc = settle_run(map, &run);
        changes = changes || rc == 0;
        stale = stale || rc == -ESTALE;
    }
    return changes ? 0 : stale ? -ESTALE : -EALREADY;
}

static int restored(struct map *map, const struct map_command *command)
{
    struct reader from = reader_of(command->runs);
    uint32_t end = 0;
    struct map_run run;
    bool changes = false;

    if (command->epoch == 0 || command->number == 0 || !map_runs_good(command->runs, false)) {
        return -EINVAL;
    }
    while (map_run_read(&from, &end, &run)) {
        for (uint32_t slot = run.slot; slot < end; slot++) {
            const bool ends =
                map->lost[slot] == command->epoch && map->owners[slot].nodes[0] == command->number;
            map->lost[slot] = ends ? 0 : map->lost[slot];
            changes = changes || ends;
        }
    }
    return changes ? 0 : -EALREADY;
}

static int apply(struct map *map, struct placement_work *work, const struct map_command *command)
{
    const struct map_member *named = map_member(map, command->number);
    struct map_member *member = named == NULL ? NULL : &map->members[named - map->members];
    bool of_member = command->type == MAP_PLACE || command->type == MAP_WEIGHT ||
                     command->type == MAP_STATE || command->type == MAP_REMOVE ||
                     command->type == MAP_CONDITION || command->type == MAP_RAMP ||
                     command->type == MAP_RAMP_STEP || command->type == MAP_LOSE;

    if (of_member && member == NULL) {
        return -ENOENT;
    }
    switch (command->type) {
    case MAP_ADD:
        return add(map, command);
    case MAP_PLACE:
        return set_place(member, &command->place);
    case MAP_WEIGHT:
        return set_weight(map, work, member, command->weight);
    case MAP_STATE:
        return set_state(map, work, member, command);
    case MAP_REMOVE:
    case MAP_LOSE:
        return remove_member(map, work, member, command->type == MAP_LOSE);
    case MAP_POLICY_SET:
        return map_policies_set(map, &command->policy);
    case MAP_POLICY_REMOVE:
        return map_policies_remove(map, &command->policy);
    case MAP_REPLICAS:
        return set_replicas(map, work, command->replicas);
    case MAP_RAMP:
        return begin_ramp(member, command);
    case MAP_RAMP_STEP:
        return step_ramp(map, work, member, command);
    case MAP_SETTLE:
        return settle(map, command->runs);
    case MAP_CONDITION:
        return set_condition(member, command->condition);
    case MAP_RESTORED:
        return restored(map, command);
    }
    return -EINVAL;
}

int map_apply(struct map *map, struct placement_work *work, const struct map_command *command)
{
    int rc = apply(map, work, command);

    map->epoch += rc == 0;
    return rc;
}
