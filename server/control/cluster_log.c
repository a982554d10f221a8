#include "cluster_log.h"

#include <errno.h>
#include <string.h>

enum { OUTCOME_BYTES_MAX = 4 * VARINT_BYTES_MAX, ERRNO_MAX = 4095 };

/* ---- Entries ---- */

int cluster_entry_put(struct buffer *to, const struct cluster_proposer *by,
                      const struct map_command *command)
{
    int rc = buffer_reserve(to, CLUSTER_PROPOSAL_BYTES);

    if (rc != 0) {
        return rc;
    }
    uint8_t *at = to->data + to->size;
    *at++ = CLUSTER_LOG_VERSION;
    at = varint_put(at, by->node);
    at = varint_put(at, by->start);
    at = varint_put(at, by->number);
    to->size = (size_t)(at - to->data);
    return map_command_encode(command, to);
}

static void read_proposer(struct reader *from, struct cluster_proposer *by)
{
    uint64_t node = read_varint(from), start = read_varint(from);

    by->number = read_varint(from);
    from->bad = from->bad || node == 0 || node > MAP_NUMBER_MAX || start > UINT32_MAX;
    by->node = (uint32_t)node;
    by->start = (uint32_t)start;
}

/* Whose it is, and the command's bytes. */
static int open_entry(struct bytes from, struct cluster_proposer *by, struct bytes *command)
{
    struct reader reader = reader_of(from);

    if (from.size > 0 && read_u8(&reader) != CLUSTER_LOG_VERSION) {
        return -EPROTONOSUPPORT;
    }
    read_proposer(&reader, by);
    *command = bytes_of(reader.at, reader_left(&reader));
    return reader.bad ? -EBADMSG : 0;
}

int cluster_entry_read(struct bytes from, struct cluster_proposer *by, struct map_command *command)
{
    struct bytes rest;
    int rc = open_entry(from, by, &rest);

    return rc != 0 ? rc : map_command_decode(rest, command);
}

/* ---- Outcomes ---- */

static bool same_proposer(const struct cluster_proposer *a, const struct cluster_proposer *b)
{
    return a->node == b->node && a->start == b->start && a->number == b->number;
}

static const struct cluster_applied *outcome_at(const struct cluster_outcomes *outcomes, uint32_t i)
{
    return &outcomes->list[(outcomes->first + i) % CLUSTER_OUTCOMES_MAX];
}

const struct cluster_applied *cluster_outcome_of(const struct cluster_outcomes *outcomes,
                                                 const struct cluster_proposer *by)
{
    for (uint32_t i = outcomes->count; i > 0; i--) {
        if (same_proposer(&outcome_at(outcomes, i - 1)->by, by)) {
            return outcome_at(outcomes, i - 1);
        }
    }
    return NULL;
}

static const struct cluster_applied *keep(struct cluster_outcomes *outcomes,
                                          const struct cluster_applied *applied)
{
    if (outcomes->count == CLUSTER_OUTCOMES_MAX) {
        outcomes->first = (outcomes->first + 1) % CLUSTER_OUTCOMES_MAX;
        outcomes->count--;
    }
    uint32_t place = (outcomes->first + outcomes->count++) % CLUSTER_OUTCOMES_MAX;
    outcomes->list[place] = *applied;
    return &outcomes->list[place];
}

const struct cluster_applied *cluster_entry_apply(struct bytes entry, struct map *map,
                                                  struct placement_work *work,
                                                  struct cluster_outcomes *outcomes)
{
    struct cluster_applied applied = {.rc = 0};
    struct map_command command;
    struct bytes rest;

    if (open_entry(entry, &applied.by, &rest) != 0 ||
        cluster_outcome_of(outcomes, &applied.by) != NULL) {
        return NULL;
    }
    applied.rc = map_command_decode(rest, &command);
    if (applied.rc == 0) {
        applied.rc = map_apply(map, work, &command);
    }
    return keep(outcomes, &applied);
}

/* ---- The state ---- */

int cluster_state_put(struct buffer *to, const struct map *map,
                      const struct cluster_outcomes *outcomes)
{
    int rc = buffer_reserve(to, 1 + VARINT_BYTES_MAX + outcomes->count * OUTCOME_BYTES_MAX);

    if (rc != 0) {
        return rc;
    }
    uint8_t *at = to->data + to->size;
    *at++ = CLUSTER_LOG_VERSION;
    at = varint_put(at, outcomes->count);
    for (uint32_t i = 0; i < outcomes->count; i++) {
        const struct cluster_applied *applied = outcome_at(outcomes, i);
        at = varint_put(at, applied->by.node);
        at = varint_put(at, applied->by.start);
        at = varint_put(at, applied->by.number);
        at = varint_put(at, (uint64_t)-applied->rc);
    }
    to->size = (size_t)(at - to->data);
    return map_encode(map, to);
}

int cluster_state_read(struct bytes from, struct map *map, struct cluster_outcomes *outcomes)
{
    struct reader reader = reader_of(from);

    if (from.size > 0 && read_u8(&reader) != CLUSTER_LOG_VERSION) {
        return -EPROTONOSUPPORT;
    }
    uint64_t count = read_varint(&reader);
    if (count > CLUSTER_OUTCOMES_MAX) {
        return -EBADMSG;
    }
    outcomes->first = 0;
    outcomes->count = (uint32_t)count;
    for (uint32_t i = 0; i < count && !reader.bad; i++) {
        struct cluster_applied *applied = &outcomes->list[i];
        read_proposer(&reader, &applied->by);
        uint64_t error = read_varint(&reader);
        reader.bad = reader.bad || error > ERRNO_MAX;
        applied->rc = reader.bad ? 0 : -(int)error;
    }
    return reader.bad ? -EBADMSG : map_decode(bytes_of(reader.at, reader_left(&reader)), map);
}
