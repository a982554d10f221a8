#include "change.h"

#include <errno.h>

#include "limits.h"

/* Which operands an operation has; they follow in this order. */
enum operand {
    OPERAND_NAME = 1,
    OPERAND_VALUE = 2,
    OPERAND_MS = 4,
    OPERAND_DELTA = 8,
    OPERAND_SCORE = 16,
    OPERAND_FLAGS = 32,
};

static const uint8_t operands[] = {
    [CHANGE_SET] = OPERAND_NAME | OPERAND_VALUE,
    [CHANGE_SET_UNTIL] = OPERAND_NAME | OPERAND_VALUE | OPERAND_MS,
    [CHANGE_DELETE] = OPERAND_NAME,
    [CHANGE_ADD] = OPERAND_NAME | OPERAND_DELTA,
    [CHANGE_APPEND] = OPERAND_NAME | OPERAND_VALUE,
    [CHANGE_CLEAR] = 0,
    [CHANGE_ABSOLUTE] = OPERAND_MS,
    [CHANGE_TTL] = OPERAND_MS,
    [CHANGE_IDLE] = OPERAND_MS,
    [CHANGE_OWNER] = OPERAND_VALUE,
    [CHANGE_TOUCH] = 0,
    [CHANGE_DESTROY] = 0,
    [CHANGE_ADD_MEMBER] = OPERAND_NAME,
    [CHANGE_SET_SCORE] = OPERAND_NAME | OPERAND_SCORE | OPERAND_FLAGS,
    [CHANGE_ADD_SCORE] = OPERAND_NAME | OPERAND_SCORE,
    [CHANGE_UNTIL] = OPERAND_NAME | OPERAND_MS,
};

enum { OPERATION_END = sizeof operands / sizeof operands[0] };

/* Times are 48 bits of milliseconds everywhere (stamp.h); a duration has its own limit. */
static bool ms_in_range(uint8_t operation, uint64_t ms)
{
    if (operation == CHANGE_TTL || operation == CHANGE_IDLE) {
        return ms <= (uint64_t)TTL_MS_MAX_DAYS * 24 * 3600 * 1000;
    }
    return ms < UINT64_C(1) << 48;
}

static bool change_valid(const struct change *change, uint8_t has)
{
    uint32_t size_max = change->operation == CHANGE_OWNER ? OWNER_BYTES_MAX : SESSION_BYTES_MAX;

    if (change->name.size > FIELD_NAME_BYTES_MAX || change->value.size > size_max) {
        return false;
    }
    if ((has & OPERAND_SCORE) != 0 && change->score != change->score) {
        return false; /* Not a number. */
    }
    if (change->flags > (SCORE_NX | SCORE_XX | SCORE_GT | SCORE_LT)) {
        return false;
    }
    return ms_in_range(change->operation, change->ms);
}

int change_next(struct reader *list, struct change *change)
{
    if (reader_left(list) == 0) {
        return list->bad ? -EBADMSG : 0;
    }
    *change = (struct change){.operation = read_u8(list)};
    if (change->operation == 0 || change->operation >= OPERATION_END) {
        return -EBADMSG;
    }
    uint8_t has = operands[change->operation];
    if ((has & OPERAND_NAME) != 0) {
        change->name = read_string(list);
    }
    if ((has & OPERAND_VALUE) != 0) {
        change->value = read_string(list);
    }
    if ((has & OPERAND_MS) != 0) {
        change->ms = read_varint(list);
    }
    if ((has & OPERAND_DELTA) != 0) {
        change->delta = unzigzag(read_varint(list));
    }
    if ((has & OPERAND_SCORE) != 0) {
        uint64_t raw = read_u64(list);
        memcpy(&change->score, &raw, sizeof raw);
    }
    if ((has & OPERAND_FLAGS) != 0) {
        uint64_t flags = read_varint(list);
        change->flags = flags > UINT32_MAX ? UINT32_MAX : (uint32_t)flags;
    }
    return !list->bad && change_valid(change, has) ? 1 : -EBADMSG;
}

int change_check(struct bytes list)
{
    struct reader reader = reader_of(list);
    struct change change;
    int count = 0;
    bool destroys = false;

    for (;;) {
        int rc = change_next(&reader, &change);
        if (rc <= 0) {
            return rc < 0 || (destroys && count > 1) ? -EBADMSG : count;
        }
        destroys = destroys || change.operation == CHANGE_DESTROY;
        if (++count > CHANGES_MAX) {
            return -EBADMSG;
        }
    }
}

/* A field that is gone at a time may be gone at once. */
static bool may_take_away(const struct change *change, struct bytes name)
{
    switch (change->operation) {
    case CHANGE_CLEAR:
    case CHANGE_DESTROY:
        return true;
    case CHANGE_SET:
    case CHANGE_SET_UNTIL:
    case CHANGE_DELETE:
    case CHANGE_UNTIL:
        return bytes_equal(change->name, name);
    default:
        return false;
    }
}

bool change_list_outgrows(struct bytes list, size_t bytes_max)
{
    struct reader reader = reader_of(list);
    struct bytes name = {0};
    struct change change;
    bool outgrows = false;
    int rc;

    while ((rc = change_next(&reader, &change)) > 0) {
        bool sets = change.operation == CHANGE_SET || change.operation == CHANGE_APPEND;
        if (sets && change.value.size > bytes_max) {
            outgrows = true;
            name = change.name;
        } else if (outgrows && may_take_away(&change, name)) {
            outgrows = false;
        }
    }
    return rc == 0 && outgrows;
}

size_t change_size(const struct change *change)
{
    uint8_t has = operands[change->operation];
    size_t size = 1;

    size += (has & OPERAND_NAME) != 0 ? varint_size(change->name.size) + change->name.size : 0;
    size += (has & OPERAND_VALUE) != 0 ? varint_size(change->value.size) + change->value.size : 0;
    size += (has & OPERAND_MS) != 0 ? varint_size(change->ms) : 0;
    size += (has & OPERAND_DELTA) != 0 ? varint_size(zigzag(change->delta)) : 0;
    size += (has & OPERAND_SCORE) != 0 ? sizeof change->score : 0;
    size += (has & OPERAND_FLAGS) != 0 ? varint_size(change->flags) : 0;
    return size;
}

static uint8_t *string_put(uint8_t *to, struct bytes string)
{
    to = varint_put(to, string.size);
    if (string.size > 0) {
        memcpy(to, string.data, string.size);
    }
    return to + string.size;
}

uint8_t *change_put(uint8_t *to, const struct change *change)
{
    uint8_t has = operands[change->operation];

    *to++ = change->operation;
    if ((has & OPERAND_NAME) != 0) {
        to = string_put(to, change->name);
    }
    if ((has & OPERAND_VALUE) != 0) {
        to = string_put(to, change->value);
    }
    if ((has & OPERAND_MS) != 0) {
        to = varint_put(to, change->ms);
    }
    if ((has & OPERAND_DELTA) != 0) {
        to = varint_put(to, zigzag(change->delta));
    }
    if ((has & OPERAND_SCORE) != 0) {
        uint64_t raw;
        memcpy(&raw, &change->score, sizeof raw);
        store_u64(to, raw);
        to += sizeof raw;
    }
    if ((has & OPERAND_FLAGS) != 0) {
        to = varint_put(to, change->flags);
    }
    return to;
}

bool change_result_is_score(uint8_t operation)
{
    return operation == CHANGE_ADD_SCORE;
}
