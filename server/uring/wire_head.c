#include "wire_head.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* Encoding of Protocol Buffers: a field is a tag (number, wire type), then its value. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
enum { TAG_BYTES_MAX = 5 };

struct wire_field {
    uint32_t number;
    uint32_t type;
    uint64_t value;
    struct bytes bytes;
};

/* Unlike read_varint(), any encoding that fits `bytes_max` bytes, as Protocol Buffers allow. */
static uint64_t wire_varint(struct reader *reader, unsigned bytes_max)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes_max && reader->at < reader->end; i++) {
        uint8_t byte = *reader->at++;
        value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            return value;
        }
    }
    reader->bad = true;
    return 0;
}

/* Returns false at the end and at what is no field; the reader is bad then. */
static bool next_field(struct reader *reader, struct wire_field *field)
{
    if (reader->bad || reader->at == reader->end) {
        return false;
    }
    reader->bad = (*reader->at & 0xf8) == 0; /* There is no field 0. */
    uint64_t tag = wire_varint(reader, TAG_BYTES_MAX);
    field->number = (uint32_t)(tag >> 3);
    field->type = (uint32_t)tag & 7;
    switch (field->type) {
    case WIRE_VARINT:
        field->value = wire_varint(reader, VARINT_BYTES_MAX);
        break;
    case WIRE_BYTES:
        field->bytes = read_bytes(reader, wire_varint(reader, TAG_BYTES_MAX));
        break;
    case WIRE_64:
        (void)read_bytes(reader, 8);
        break;
    case WIRE_32:
        (void)read_bytes(reader, 4);
        break;
    default:
        reader->bad = true;
        break;
    }
    return !reader->bad;
}

/* A known field of another type than it must have makes the message bad. */
static void take_number(struct reader *reader, const struct wire_field *field, uint64_t *to)
{
    reader->bad |= field->type != WIRE_VARINT;
    *to = field->value;
}

static void take_number_32(struct reader *reader, const struct wire_field *field, uint32_t *to)
{
    reader->bad |= field->type != WIRE_VARINT;
    *to = (uint32_t)field->value;
}

static void take_bytes(struct reader *reader, const struct wire_field *field, struct bytes *to)
{
    reader->bad |= field->type != WIRE_BYTES;
    *to = field->bytes;
}

int wire_get(struct bytes head, struct request *request)
{
    struct reader reader = reader_of(head);
    struct wire_field field = {0};

    while (next_field(&reader, &field)) {
        switch (field.number) {
        case 1:
            take_bytes(&reader, &field, &request->key);
            break;
        case 2:
            take_number_32(&reader, &field, &request->flags);
            break;
        case 3:
            take_bytes(&reader, &field, &request->version);
            break;
        case 4:
            take_number_32(&reader, &field, &request->timeout_ms);
            break;
        case 5:
            take_number_32(&reader, &field, &request->waited_ms);
            break;
        default:
            break;
        }
    }
    return reader.bad ? -EBADMSG : 0;
}

static void write_field(struct reader *reader, const struct wire_field *field,
                        struct wire_write *write)
{
    switch (field->number) {
    case 1:
        take_bytes(reader, field, &write->key);
        break;
    case 2:
        take_number_32(reader, field, &write->mode);
        break;
    case 3:
        take_number_32(reader, field, &write->type);
        break;
    case 4:
        take_bytes(reader, field, &write->if_version);
        break;
    case 5:
        take_number_32(reader, field, &write->ack);
        break;
    case 6:
        take_number(reader, field, &write->client);
        break;
    case 7:
        take_number(reader, field, &write->sequence);
        break;
    case 8:
        take_number(reader, field, &write->retry_hlc);
        break;
    case 9:
        take_number_32(reader, field, &write->timeout_ms);
        break;
    case 10:
        take_number_32(reader, field, &write->waited_ms);
        break;
    default:
        break;
    }
}

int wire_write(struct bytes head, struct wire_write *write)
{
    struct reader reader = reader_of(head);
    struct wire_field field = {0};

    *write = (struct wire_write){0};
    while (next_field(&reader, &field)) {
        write_field(&reader, &field, write);
    }
    return reader.bad ? -EBADMSG : 0;
}

static uint8_t *put_number(uint8_t *to, uint32_t number, uint64_t value)
{
    return value == 0 ? to : varint_put(varint_put(to, number << 3 | WIRE_VARINT), value);
}

static uint8_t *put_bytes(uint8_t *to, uint32_t number, const void *data, size_t size)
{
    if (size == 0) {
        return to;
    }
    to = varint_put(varint_put(to, number << 3 | WIRE_BYTES), size);
    memcpy(to, data, size);
    return to + size;
}

size_t wire_reply_put(const Belay__Wire__Reply *reply, uint8_t *to)
{
    uint8_t *at = put_number(to, 1, reply->status);

    if (reply->text != NULL) {
        at = put_bytes(at, 2, reply->text, strlen(reply->text));
    }
    at = put_number(at, 3, reply->ack);
    at = put_bytes(at, 4, reply->version.data, reply->version.len);
    at = put_number(at, 5, reply->type);
    at = put_number(at, 6, reply->absolute_ms);
    at = put_number(at, 7, reply->idle_ms);
    at = put_number(at, 8, reply->deadline_ms);
    at = put_number(at, 9, reply->created_ms);
    at = put_number(at, 10, reply->last_access_ms);
    at = put_bytes(at, 11, reply->owner.data, reply->owner.len);
    at = put_number(at, 12, reply->fields);
    at = put_number(at, 13, reply->value_bytes);
    at = put_number(at, 14, reply->siblings_hidden);
    at = put_number(at, 15, reply->retry_after_ms);
    at = put_number(at, 16, reply->repeated != 0);
    at = put_number(at, 17, reply->hlc);
    at = put_number(at, 18, reply->created != 0);
    at = put_number(at, 19, reply->stand_in != 0);
    at = put_number(at, 20, reply->node);
    return (size_t)(at - to);
}

bool wire_reply_set_ack(uint8_t *head, size_t size, uint8_t ack)
{
    struct reader reader = reader_of(bytes_of(head, size));
    struct wire_field field = {0};

    while (next_field(&reader, &field)) {
        if (field.number == 3) {
            size_t end = size - reader_left(&reader);
            bool changes = head[end - 1] != ack; /* Levels take one byte. */
            head[end - 1] = ack;
            return changes;
        }
    }
    return false;
}
