/* Lost slots (map.h) are given up where nothing will bring them back: from then on they are served as they are here. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "node_admin_private.h"

/* Of the slots that are lost those of one loss and one first owner: one command takes no others. */
struct given {
    const struct map *map;
    uint32_t number;
    uint64_t epoch;
};

static bool is_given(const void *context, uint32_t slot)
{
    const struct given *given = context;

    return given->map->lost[slot] == given->epoch &&
           given->map->owners[slot].nodes[0] == given->number;
}

/* The first of them that has an owner; there is one. */
static struct given choose(const struct map *map)
{
    uint32_t slot = 0;

    while (slot < SLOT_COUNT - 1 && (map->lost[slot] == 0 || map->owners[slot].nodes[0] == 0)) {
        slot++;
    }
    return (struct given){
        .map = map, .number = map->owners[slot].nodes[0], .epoch = map->lost[slot]};
}

struct giving {
    struct node *node;
    uint64_t token;
    uint32_t slots; /* As many as were proposed. */
};

static void answer(struct node *node, uint64_t token, const struct map *map, uint32_t slots)
{
    char json[96];

    snprintf(json, sizeof json,
             "{\"slots\":%" PRIu32 ",\"left\":%" PRIu32 ",\"epoch\":%" PRIu64 "}", slots,
             map_count_lost(map, 0), map->epoch);
    node_answer(node, token, STATUS_OK, json);
}

static void on_decided(void *context, const struct cluster_outcome *outcome)
{
    struct giving *giving = context;
    struct node *node = giving->node;

    if (outcome->rc == 0) {
        logger_write(node->world.logger, LOG_LEVEL_WARN, "lost-slots-given-up",
                     LOG_NUMBER("slots", giving->slots), LOG_NUMBER("epoch", outcome->epoch),
                     LOG_TEXT("effect", "what did not come back from the archive before is gone"));
        answer(node, giving->token, outcome->map, giving->slots);
    } else if (outcome->rc == -EALREADY) {
        answer(node, giving->token, outcome->map, 0); /* They came back, or others own them now. */
    } else {
        node_admin_refuse(node, giving->token, node_admin_status(outcome->rc), outcome->text);
    }
    free(giving);
}

static uint32_t count(const struct given *given)
{
    uint32_t slots = 0;

    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        slots += is_given(given, slot);
    }
    return slots;
}

static int propose(struct node *node, const struct given *given, struct giving *giving)
{
    struct map_command command = {
        .type = MAP_RESTORED, .number = given->number, .epoch = given->epoch};
    struct buffer runs = {.memory = &node->memory};

    int rc = giving == NULL ? -ENOMEM : map_runs_put(&runs, is_given, given);
    if (rc == 0) {
        command.runs = buffer_bytes(&runs);
        rc = cluster_propose(cluster_host_cluster(node->cluster),
                             cluster_host_now_ms(node->cluster), &command, on_decided, giving);
    }
    buffer_fini(&runs);
    return rc;
}

void node_admin_give_up_force(struct node *node, uint64_t token, const char *argument)
{
    const struct map *map = node_admin_map(node);

    (void)argument;
    if (map_count_lost(map, 0) == 0) {
        answer(node, token, map, 0);
        return;
    }
    const struct given given = choose(map);
    struct giving *giving = malloc(sizeof *giving);
    if (giving != NULL) {
        *giving = (struct giving){.node = node, .token = token, .slots = count(&given)};
    }
    int rc = propose(node, &given, giving);
    if (rc != 0) {
        free(giving);
        node_admin_refuse(node, token, node_admin_status(rc), "too many changes are under way");
    }
}

void node_admin_give_up(struct node *node, uint64_t token, const char *argument)
{
    const uint32_t lost = map_count_lost(node_admin_map(node), 0);
    char text[TEXT_BYTES];

    (void)argument;
    if (lost == 0) {
        node_admin_refuse(node, token, STATUS_NOT_FOUND, "no slot is lost");
        return;
    }
    snprintf(text, sizeof text,
             "%" PRIu32 " slots are lost, and wait for what the archive has of them (archive "
             "status of each node): with --force they are served without, and what has not come "
             "back is gone for good",
             lost);
    node_admin_refuse(node, token, STATUS_UNSUPPORTED, text);
}
