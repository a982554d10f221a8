#include "native_answer.h"

#include <assert.h>

#include "bounds.h"
#include "finder.h"
#include "frame.h"
#include "inspect.h"
#include "limits.h"
#include "wire_head.h"

enum {
    /* Every number of a Reply's head at its largest: 17 of them, with tags of at most 2 bytes. */
    HEAD_NUMBERS_BYTES = 17 * (VARINT_BYTES_MAX + 2),
    /* Tags and sizes of text, version and owner; header; sizes of a part. */
    FRAMING_BYTES = FRAME_HEADER_BYTES + 5 * VARINT_BYTES_MAX + 6,
};

static ProtobufCBinaryData field_of(struct bytes bytes)
{
    /* Packing only reads, but the generated type has no const. */
    union {
        const uint8_t *constant;
        uint8_t *plain;
    } pointer = {.constant = bytes.data};

    return (ProtobufCBinaryData){.len = bytes.size, .data = pointer.plain};
}

static char *text_of(const char *text)
{
    union {
        const char *constant;
        char *plain;
    } pointer = {.constant = text};

    return pointer.plain;
}

static void set_room(struct native_answer *answer)
{
    size_t text_size = answer->head.text == NULL ? 0 : strlen(answer->head.text);

    answer->room = FRAMING_BYTES + HEAD_NUMBERS_BYTES + text_size + answer->head.version.len +
                   answer->head.owner.len + answer->value.size;
}

void native_answer_status(struct native_answer *answer, enum status status, const char *text,
                          struct bytes value)
{
    belay__wire__reply__init(&answer->head);
    answer->head.status = status;
    if (text == NULL && status != STATUS_OK) {
        text = status_text(status);
    }
    if (text != NULL) {
        answer->head.text = text_of(text);
    }
    answer->value = value;
    set_room(answer);
}

static int append_string(struct buffer *buffer, struct bytes string)
{
    int rc = buffer_reserve(buffer, VARINT_BYTES_MAX + string.size);

    if (rc == 0) {
        buffer->size =
            (size_t)(varint_put(buffer->data + buffer->size, string.size) - buffer->data);
        rc = buffer_append(buffer, string);
    }
    return rc;
}

static uint64_t count_strings(struct reader strings)
{
    uint64_t count = 0;

    while (!strings.bad && reader_left(&strings) > 0) {
        (void)read_string(&strings);
        count++;
    }
    return count;
}

/* The fields that were asked for, each with a byte that says whether it is there. */
static int chosen_fields(struct native_answer *answer, const struct reply *reply,
                         struct buffer *scratch)
{
    const struct record *record = &reply->view->record_;
    const size_t session = (size_t)(record->end - record->entries);
    const size_t most =
        (session > REPLY_BYTES_MAX ? session : REPLY_BYTES_MAX) + reply->fields.size;
    struct reader names = reader_of(reply->fields);
    struct finder finder;

    int rc = finder_begin(&finder, reply->view, count_strings(names), scratch->memory);
    /* A name may be asked for many times. */
    while (rc == 0 && !names.bad && reader_left(&names) > 0) {
        struct bytes name = read_string(&names);
        bool found = finder_find(&finder, name, &answer->field);
        rc = buffer_append(scratch, bytes_of(found ? "\1" : "\0", 1));
        if (rc == 0 && found) {
            answer->head.value_bytes += (uint32_t)answer->field.value.size;
            rc = append_string(scratch, answer->field.value);
        }
        if (rc == 0 && scratch->size > most) {
            rc = -EMSGSIZE;
        }
    }
    finder_end(&finder);
    answer->value = buffer_bytes(scratch);
    return rc;
}

static int all_fields(struct native_answer *answer, const struct reply *reply,
                      struct buffer *scratch)
{
    bool siblings = (reply->flags & GET_SIBLINGS) != 0;
    int rc = 0;

    session_rewind(reply->view);
    while (rc == 0 && session_next(reply->view, siblings, &answer->field)) {
        answer->head.value_bytes += (uint32_t)answer->field.value.size;
        rc = append_string(scratch, answer->field.name);
        if (rc == 0) {
            rc = append_string(scratch, answer->field.value);
        }
    }
    answer->value = buffer_bytes(scratch);
    return rc;
}

/* How many bytes of value there are, for GET_META. */
static void count_bytes(struct native_answer *answer, const struct reply *reply)
{
    session_rewind(reply->view);
    while (session_next(reply->view, false, &answer->field)) {
        answer->head.value_bytes += (uint32_t)answer->field.value.size;
    }
}

/* A blob is sent as it lies in the record; only who asked for siblings gets it as a list of fields. */
static int get_value(struct native_answer *answer, const struct reply *reply, uint32_t flags,
                     struct buffer *scratch)
{
    if ((flags & GET_META) != 0) {
        count_bytes(answer, reply);
        return 0;
    }
    if ((flags & GET_FIELDS) != 0) {
        return chosen_fields(answer, reply, scratch);
    }
    if (reply->view->type != SESSION_BLOB || (flags & GET_SIBLINGS) != 0) {
        return all_fields(answer, reply, scratch);
    }
    if (session_find(reply->view, bytes_of(NULL, 0), &answer->field)) {
        answer->value = answer->field.value;
        answer->head.value_bytes = (uint32_t)answer->value.size;
    }
    return 0;
}

static void set_view(Belay__Wire__Reply *head, const struct session_view *view)
{
    head->type = view->type;
    head->absolute_ms = view->absolute_ms;
    head->idle_ms = view->idle_ms;
    head->deadline_ms = view->deadline_ms;
    head->created_ms = view->created_ms;
    head->last_access_ms = view->last_access_ms;
    head->owner = field_of(view->owner);
    head->fields = view->field_count;
    head->siblings_hidden = view->siblings_hidden;
}

void native_answer(struct native_answer *answer, const struct reply *reply, uint32_t flags,
                   struct buffer *scratch)
{
    int rc = 0;

    native_answer_status(answer, reply->status, reply->text, bytes_of(NULL, 0));
    scratch->size = 0;
    if (reply->view != NULL) {
        set_view(&answer->head, reply->view);
        if (reply->op == REQUEST_GET) {
            rc = get_value(answer, reply, flags, scratch);
        } else if (reply->op == REQUEST_INSPECT) {
            rc = inspect_json(reply->view, reply->version, scratch);
            answer->value = buffer_bytes(scratch);
        }
    } else if (reply->op == REQUEST_WRITE) {
        answer->value = reply->results;
        answer->head.created = reply->created;
        answer->head.repeated = reply->repeated;
    }
    if (answer->value.size > FRAME_BYTES_MAX - HEAD_BYTES_MAX && reply->op == REQUEST_WRITE) {
        native_answer_status(answer, STATUS_MAYBE_APPLIED,
                             "the write was applied; its results do not fit into a frame",
                             bytes_of(NULL, 0));
        return;
    }
    if (rc == -EMSGSIZE || (rc == 0 && answer->value.size > FRAME_BYTES_MAX - HEAD_BYTES_MAX)) {
        native_answer_status(answer, STATUS_FRAME_TOO_LARGE,
                             "the answer does not fit into a frame; ask for fewer fields",
                             bytes_of(NULL, 0));
        return;
    }
    if (rc != 0) {
        /* Of reads only: the value of a write's answer is there already. */
        native_answer_status(answer, STATUS_BUSY, "no memory for the answer", bytes_of(NULL, 0));
        answer->head.retry_after_ms = BUSY_RETRY_MS;
        return;
    }
    answer->head.ack = reply->ack;
    answer->head.version = field_of(reply->version);
    answer->head.retry_after_ms = reply->retry_after_ms;
    answer->head.hlc = reply->hlc;
    set_room(answer);
}

/* The head is in its place already. */
static size_t put_frame(size_t head_size, struct bytes value, uint8_t type, uint64_t request_id,
                        uint8_t *to)
{
    uint8_t *at = to + FRAME_HEADER_BYTES;

    if (value.size > 0) {
        memcpy(at + head_size, value.data, value.size);
    }
    frame_header_put(to, type, FRAME_REPLY, request_id, bytes_of(at, head_size),
                     bytes_of(at + head_size, value.size));
    return FRAME_HEADER_BYTES + head_size + value.size;
}

size_t native_answer_frame(const struct native_answer *answer, uint8_t type, uint64_t request_id,
                           uint8_t *to)
{
    size_t head_size = wire_reply_put(&answer->head, to + FRAME_HEADER_BYTES);
    size_t size = put_frame(head_size, answer->value, type, request_id, to);

    assert(size <= answer->room);
    return size;
}

size_t native_answer_part(const struct native_answer *answer, uint8_t *to)
{
    uint8_t *at = varint_put(to, belay__wire__reply__get_packed_size(&answer->head));

    at += belay__wire__reply__pack(&answer->head, at);
    at = varint_put(at, answer->value.size);
    if (answer->value.size > 0) {
        memcpy(at, answer->value.data, answer->value.size);
    }
    size_t size = (size_t)(at - to) + answer->value.size;
    assert(size <= answer->room);
    return size;
}

void native_frame_set_level(uint8_t *frame, size_t size, enum ack_level level)
{
    struct frame parsed;
    int rc = frame_parse(bytes_of(frame, size), &parsed);

    assert(rc == 0); /* It was made here. */
    if (rc == 0 && wire_reply_set_ack(frame + FRAME_HEADER_BYTES, parsed.head.size, level)) {
        frame_header_put(frame, parsed.type, parsed.flags, parsed.request_id, parsed.head,
                         parsed.value);
    }
}

void native_part_set_level(uint8_t *part, size_t size, enum ack_level level)
{
    struct reader reader = reader_of(bytes_of(part, size));
    uint64_t head_size = read_varint(&reader);

    assert(!reader.bad && head_size <= reader_left(&reader));
    (void)wire_reply_set_ack(part + (size - reader_left(&reader)), (size_t)head_size, level);
}

size_t native_many_room(size_t value_size)
{
    return FRAMING_BYTES + HEAD_NUMBERS_BYTES + value_size;
}

size_t native_many_frame(uint8_t type, uint64_t request_id, uint64_t cursor, struct bytes value,
                         uint8_t *to)
{
    Belay__Wire__ManyReply head;

    belay__wire__many_reply__init(&head);
    head.cursor = cursor;
    size_t head_size = belay__wire__many_reply__pack(&head, to + FRAME_HEADER_BYTES);
    return put_frame(head_size, value, type, request_id, to);
}
