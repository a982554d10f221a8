#include "liveness_message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- Writing. ---- */

size_t liveness_message_put(uint8_t *to, const struct liveness_message *message)
{
    uint8_t *at = to;

    *at++ = LIVENESS_VERSION;
    *at++ = (uint8_t)message->kind;
    at = varint_put(at, message->from.start);
    at = varint_put(at, message->unheard_ms);
    *at++ = message->condition;
    at = varint_put(at, message->followed);
    at = varint_put(at, message->subject);
    at = varint_put(at, message->number);
    at = varint_put(at, message->wait_ms);
    return (size_t)(at - to);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *first = a, *second = b;

    return (*first > *second) - (*first < *second);
}

size_t liveness_report_put(uint8_t *to, const struct liveness_report *report)
{
    uint64_t rows[LIVENESS_MEMBERS_MAX]; /* Number, then belief. */
    uint32_t before = 0;
    uint8_t *at = to;

    for (uint32_t i = 0; i < report->count; i++) {
        rows[i] = (uint64_t)report->members[i].node << 8 | report->members[i].belief;
    }
    if (report->count > 1) {
        qsort(rows, report->count, sizeof rows[0], by_number);
    }
    *at++ = LIVENESS_VERSION;
    at = varint_put(at, report->from.start);
    at = varint_put(at, report->number);
    *at++ = report->condition;
    at = varint_put(at, report->count);
    for (uint32_t i = 0; i < report->count; i++) {
        uint32_t node = (uint32_t)(rows[i] >> 8);
        at = varint_put(at, node - before);
        *at++ = (uint8_t)rows[i];
        before = node;
    }
    return (size_t)(at - to);
}

/* ---- Reading. ---- */

static uint32_t read_number(struct reader *from, uint64_t most)
{
    uint64_t value = read_varint(from);

    from->bad = from->bad || value > most;
    return from->bad ? 0 : (uint32_t)value;
}

static uint8_t read_condition(struct reader *from)
{
    uint8_t condition = read_u8(from);

    from->bad = from->bad || (condition & ~CONDITION_OWN) != 0;
    return condition;
}

static int read_version(struct bytes bytes, struct reader *reader)
{
    *reader = reader_of(bytes);
    return bytes.size > 0 && read_u8(reader) != LIVENESS_VERSION ? -EPROTONOSUPPORT : 0;
}

int liveness_message_read(struct bytes bytes, uint32_t from, struct liveness_message *message)
{
    struct reader reader;
    int rc = read_version(bytes, &reader);

    if (rc != 0) {
        return rc;
    }
    uint8_t kind = read_u8(&reader);
    *message = (struct liveness_message){.kind = (enum liveness_kind)kind, .from.node = from};
    message->from.start = read_number(&reader, UINT32_MAX);
    message->unheard_ms = read_number(&reader, UINT32_MAX);
    message->condition = read_condition(&reader);
    message->followed = read_varint(&reader);
    message->subject = read_number(&reader, INT32_MAX);
    message->number = read_number(&reader, UINT32_MAX);
    message->wait_ms = read_number(&reader, UINT32_MAX);
    return reader_done(&reader) && kind <= LIVENESS_UNSURE ? 0 : -EBADMSG;
}

int liveness_report_read(struct bytes bytes, uint32_t from, struct liveness_report *report)
{
    struct reader reader;
    uint32_t before = 0;
    int rc = read_version(bytes, &reader);

    if (rc != 0) {
        return rc;
    }
    memset(report, 0, sizeof *report);
    report->from = (struct actor){.node = from, .start = read_number(&reader, UINT32_MAX)};
    report->number = read_varint(&reader);
    report->condition = read_condition(&reader);
    report->count = read_number(&reader, LIVENESS_MEMBERS_MAX);
    for (uint32_t i = 0; i < report->count && !reader.bad; i++) {
        uint32_t step = read_number(&reader, INT32_MAX - before);
        uint8_t belief = read_u8(&reader);
        reader.bad = reader.bad || step == 0 || belief > BELIEF_SILENT;
        before += step;
        report->members[i].node = before;
        report->members[i].belief = (enum liveness_belief)belief;
    }
    return reader_done(&reader) ? 0 : -EBADMSG;
}
