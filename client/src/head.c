#include "head.h"

#include <assert.h>
#include <errno.h>

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

uint8_t *head_put_number(uint8_t *to, uint32_t field, uint64_t value)
{
    assert(field >= 1 && field <= 15);

    if (value == 0) {
        return to;
    }
    *to++ = (uint8_t)(field << 3 | WIRE_VARINT);
    return varint_put(to, value);
}

uint8_t *head_put_bytes(uint8_t *to, uint32_t field, struct bytes value)
{
    assert(field >= 1 && field <= 15);

    if (value.size == 0) {
        return to;
    }
    *to++ = (uint8_t)(field << 3 | WIRE_BYTES);
    to = varint_put(to, value.size);
    memcpy(to, value.data, value.size);
    return to + value.size;
}

/* One field of any message. */
struct field {
    uint32_t tag; /* Number and wire type, as they stand in the message. */
    uint64_t number;
    struct bytes bytes;
};

#define NUMBER(field) ((field) << 3 | WIRE_VARINT)
#define BYTES(field)  ((field) << 3 | WIRE_BYTES)

/* Returns 1 with `field` set, 0 at the end, -EBADMSG. */
static inline int field_next(struct reader *reader, struct field *field)
{
    if (reader->at == reader->end) {
        return reader->bad ? -EBADMSG : 0;
    }
    uint64_t tag = read_varint(reader);
    if (tag > UINT32_MAX || tag >> 3 == 0) {
        return -EBADMSG;
    }
    *field = (struct field){.tag = (uint32_t)tag};
    switch (tag & 7) {
    case WIRE_VARINT:
        field->number = read_varint(reader);
        break;
    case WIRE_BYTES:
        field->bytes = read_string(reader);
        break;
    case WIRE_FIXED64:
        read_bytes(reader, 8);
        break;
    case WIRE_FIXED32:
        read_bytes(reader, 4);
        break;
    default:
        return -EBADMSG;
    }
    return reader->bad ? -EBADMSG : 1;
}

int head_read_hello(struct bytes source, struct hello_head *head)
{
    struct reader reader = reader_of(source);
    struct field field;
    int rc;

    *head = (struct hello_head){0};
    while ((rc = field_next(&reader, &field)) > 0) {
        switch (field.tag) {
        case NUMBER(1):
            head->status = (uint32_t)field.number;
            break;
        case BYTES(2):
            head->text = field.bytes;
            break;
        case NUMBER(3):
            head->protocol = (uint32_t)field.number;
            break;
        case NUMBER(4):
            head->client = field.number;
            break;
        case BYTES(5):
            head->node = field.bytes;
            break;
        case NUMBER(6):
            head->shards = (uint32_t)field.number;
            break;
        case NUMBER(7):
            head->shard = (uint32_t)field.number;
            break;
        case NUMBER(8):
            head->hlc = field.number;
            break;
        case NUMBER(9):
            head->frame_bytes_max = (uint32_t)field.number;
            break;
        case NUMBER(10):
            head->in_flight_max = (uint32_t)field.number;
            break;
        case NUMBER(11):
            head->map_epoch = field.number;
            break;
        case NUMBER(12):
            head->number = (uint32_t)field.number;
            break;
        default:
            break;
        }
    }
    return rc;
}

static void reply_take_number(struct reply_head *head, uint32_t tag, uint64_t number)
{
    switch (tag >> 3) {
    case 1:
        head->status = (uint32_t)number;
        break;
    case 3:
        head->ack = (uint32_t)number;
        break;
    case 5:
        head->type = (uint32_t)number;
        break;
    case 6:
        head->absolute_ms = number;
        break;
    case 7:
        head->idle_ms = number;
        break;
    case 8:
        head->deadline_ms = number;
        break;
    case 9:
        head->created_ms = number;
        break;
    case 10:
        head->last_access_ms = number;
        break;
    case 12:
        head->fields = (uint32_t)number;
        break;
    case 13:
        head->value_bytes = (uint32_t)number;
        break;
    case 14:
        head->siblings_hidden = (uint32_t)number;
        break;
    case 15:
        head->retry_after_ms = (uint32_t)number;
        break;
    case 16:
        head->repeated = number != 0;
        break;
    case 17:
        head->hlc = number;
        break;
    case 18:
        head->created = number != 0;
        break;
    case 19:
        head->stand_in = number != 0;
        break;
    case 20:
        head->node = (uint32_t)number;
        break;
    default:
        break;
    }
}

int head_read_reply(struct bytes source, struct reply_head *head)
{
    struct reader reader = reader_of(source);
    struct field field;
    int rc;

    *head = (struct reply_head){0};
    while ((rc = field_next(&reader, &field)) > 0) {
        if ((field.tag & 7) == WIRE_VARINT) {
            reply_take_number(head, field.tag, field.number);
        } else if (field.tag == BYTES(2)) {
            head->text = field.bytes;
        } else if (field.tag == BYTES(4)) {
            head->version = field.bytes;
        } else if (field.tag == BYTES(11)) {
            head->owner = field.bytes;
        }
    }
    return rc;
}

int head_read_many(struct bytes source, struct many_head *head)
{
    struct reader reader = reader_of(source);
    struct field field;
    int rc;

    *head = (struct many_head){0};
    while ((rc = field_next(&reader, &field)) > 0) {
        switch (field.tag) {
        case NUMBER(1):
            head->status = (uint32_t)field.number;
            break;
        case BYTES(2):
            head->text = field.bytes;
            break;
        case NUMBER(3):
            head->cursor = field.number;
            break;
        case NUMBER(4):
        case NUMBER(15): /* Of a plain Reply. */
            head->retry_after_ms = (uint32_t)field.number;
            break;
        default:
            break;
        }
    }
    return rc;
}
