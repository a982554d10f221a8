/* What goes into frames, and what comes out of them, for one request each. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "client.h"
#include "head.h"

/* More than any head needs besides its strings: 10 numbers at most, with tags. */
enum { HEAD_NUMBERS_BYTES = 10 * (1 + VARINT_BYTES_MAX) };

static struct bytes request_key(const struct belay_request *request)
{
    return bytes_of(request->body.data, request->key_size);
}

static struct bytes request_value(const struct belay_request *request)
{
    return bytes_of(request->body.data + request->key_size, request->body.size - request->key_size);
}

/* What is left of the deadline, for the server to stop caring when we do. */
static uint64_t time_left_ms(const struct belay_request *request, uint64_t now_ms)
{
    if (request->deadline_ms == UINT64_MAX) {
        return 0;
    }
    uint64_t left_ms = request->deadline_ms > now_ms ? request->deadline_ms - now_ms : 1;
    return left_ms < UINT32_MAX ? left_ms : UINT32_MAX;
}

static uint64_t retry_hlc(const struct belay_request *request)
{
    return request->maybe_applied ? request->hlc_before : 0;
}

static uint8_t *put_get(uint8_t *to, const struct belay_request *request, uint64_t now_ms)
{
    to = head_put_bytes(to, 1, request_key(request));
    to = head_put_number(to, 2, request->flags);
    to = head_put_bytes(to, 3, buffer_bytes(&request->version));
    to = head_put_number(to, 4, time_left_ms(request, now_ms));
    return head_put_number(to, 5, request->waited_ms);
}

static uint8_t *put_write(uint8_t *to, const struct belay_request *request, uint64_t now_ms)
{
    to = head_put_bytes(to, 1, request_key(request));
    to = head_put_number(to, 2, request->mode);
    to = head_put_number(to, 3, request->type);
    to = head_put_bytes(to, 4, buffer_bytes(&request->version));
    to = head_put_number(to, 5, request->ack);
    if (request->sequence != 0) {
        to = head_put_number(to, 6, request->client->id);
        to = head_put_number(to, 7, request->sequence);
        to = head_put_number(to, 8, retry_hlc(request));
    }
    to = head_put_number(to, 9, time_left_ms(request, now_ms));
    return head_put_number(to, 10, request->waited_ms);
}

static uint8_t *put_many(uint8_t *to, const struct belay_request *request, uint64_t now_ms)
{
    to = head_put_number(to, 1, request->flags);
    to = head_put_number(to, 2, request->mode);
    to = head_put_number(to, 3, request->type);
    to = head_put_number(to, 4, request->ack);
    if (request->sequence != 0) {
        to = head_put_number(to, 5, request->client->id);
        to = head_put_number(to, 6, retry_hlc(request));
    }
    to = head_put_number(to, 7, time_left_ms(request, now_ms));
    return head_put_number(to, 8, request->waited_ms);
}

static uint8_t *put_scan(uint8_t *to, const struct belay_request *request)
{
    to = head_put_number(to, 1, request->cursor);
    to = head_put_number(to, 2, request->count);
    to = head_put_bytes(to, 3, request_key(request));
    return head_put_number(to, 4, request->type);
}

static uint8_t *put_head(uint8_t *to, const struct belay_request *request, uint64_t now_ms)
{
    switch (request->frame_type) {
    case FRAME_GET:
        return put_get(to, request, now_ms);
    case FRAME_WRITE:
    case FRAME_RECOVER:
        return put_write(to, request, now_ms);
    case FRAME_GET_MANY:
    case FRAME_WRITE_MANY:
        return put_many(to, request, now_ms);
    case FRAME_SCAN:
        return put_scan(to, request);
    case FRAME_INSPECT:
        return head_put_bytes(to, 1, request_key(request));
    case FRAME_ADMIN:
        to = head_put_bytes(to, 1, request_key(request));
        return head_put_bytes(to, 2, buffer_bytes(&request->version));
    default:
        assert(request->frame_type == FRAME_PING);
        return to;
    }
}

static uint8_t *put_bytes(uint8_t *to, struct bytes bytes)
{
    if (bytes.size > 0) {
        memcpy(to, bytes.data, bytes.size);
    }
    return to + bytes.size;
}

/* The next item of a many-key request's body. */
static struct item_header item_next(struct reader *items, struct bytes *key, struct bytes *list)
{
    struct item_header header;
    struct bytes raw = read_bytes(items, sizeof header);

    assert(raw.size == sizeof header);
    memcpy(&header, raw.data, sizeof header);
    *key = read_bytes(items, header.key_size);
    *list = read_bytes(items, header.list_size);
    assert(!items->bad);
    return header;
}

static uint8_t *put_value(uint8_t *to, const struct belay_request *request)
{
    if (request->frame_type != FRAME_GET_MANY && request->frame_type != FRAME_WRITE_MANY) {
        return put_bytes(to, request_value(request));
    }
    struct reader items = reader_of(buffer_bytes(&request->body));
    for (uint32_t i = 0; i < request->item_count; i++) {
        struct bytes key, list;
        item_next(&items, &key, &list);
        to = put_bytes(varint_put(to, key.size), key);
        if (request->frame_type == FRAME_WRITE_MANY) {
            to = varint_put(to, request->sequence == 0 ? 0 : request->sequence + i);
            to = put_bytes(varint_put(to, list.size), list);
        }
    }
    return to;
}

/* Write the header before head and value that lie in `out` from `start` on. */
static void put_header(struct buffer *out, size_t start, uint8_t type, uint64_t id,
                       size_t head_size, size_t value_size)
{
    uint8_t *frame = out->data + start;
    struct bytes head = bytes_of(frame + FRAME_HEADER_BYTES, head_size);

    frame_header_put(frame, type, 0, id, head, bytes_of(head.data + head_size, value_size));
    out->size = start + FRAME_HEADER_BYTES + head_size + value_size;
}

int frame_put_request(struct belay_request *request, uint64_t id, uint64_t now_ms,
                      struct buffer *out)
{
    /* An item's header takes less room in a frame than the numbers that replace it, by this at most. */
    size_t item_bytes = (size_t)request->item_count * 3 * VARINT_BYTES_MAX;
    int rc = buffer_reserve(out, FRAME_HEADER_BYTES + HEAD_NUMBERS_BYTES + request->version.size +
                                     request->key_size + request->body.size + item_bytes);
    if (rc != 0) {
        return rc;
    }
    uint8_t *head = out->data + out->size + FRAME_HEADER_BYTES;
    uint8_t *value = put_head(head, request, now_ms);
    uint8_t *end = put_value(value, request);
    if ((size_t)(end - head) > request->client->frame_bytes_max) {
        return -EMSGSIZE;
    }
    put_header(out, out->size, request->frame_type, id, (size_t)(value - head),
               (size_t)(end - value));
    return 0;
}

int frame_put_hello(const struct belay_client *client, uint32_t shard_plus_one, struct buffer *out)
{
    struct bytes program = bytes_of_string(client->options.program);
    struct bytes user = bytes_of_string(client->options.user);
    struct bytes password = bytes_of_string(client->options.password);
    int rc = buffer_reserve(out, FRAME_HEADER_BYTES + HEAD_NUMBERS_BYTES + program.size +
                                     user.size + password.size);

    if (rc != 0) {
        return rc;
    }
    uint8_t *head = out->data + out->size + FRAME_HEADER_BYTES;
    uint8_t *to = head_put_number(head, 1, PROTOCOL_VERSION);
    to = head_put_number(to, 2, client->id);
    to = head_put_number(to, 3, shard_plus_one);
    to = head_put_bytes(to, 4, program);
    to = head_put_bytes(to, 5, user);
    to = head_put_bytes(to, 6, password);
    put_header(out, out->size, FRAME_HELLO, 0, (size_t)(to - head), 0);
    return 0;
}

int frame_put_ping(uint64_t id, struct buffer *out)
{
    int rc = buffer_reserve(out, FRAME_HEADER_BYTES);

    if (rc == 0) {
        put_header(out, out->size, FRAME_PING, id, 0, 0);
    }
    return rc;
}

int frame_put_map(uint64_t id, uint64_t epoch, struct buffer *out)
{
    int rc = buffer_reserve(out, FRAME_HEADER_BYTES + HEAD_NUMBERS_BYTES);

    if (rc == 0) {
        uint8_t *head = out->data + out->size + FRAME_HEADER_BYTES;
        uint8_t *end = head_put_number(head, 1, epoch);
        put_header(out, out->size, FRAME_MAP, id, (size_t)(end - head), 0);
    }
    return rc;
}

/* ---- Replies ---- */

/* A terminated copy of the server's words. Room for them has been reserved. */
static const char *keep_text(struct belay_request *request, uint32_t status, struct bytes text)
{
    struct buffer *kept = &request->text;
    size_t start = kept->size;

    if (text.size == 0 || kept->capacity - kept->size <= text.size) {
        return belay_status_text((enum belay_status)status);
    }
    memcpy(kept->data + start, text.data, text.size);
    kept->data[start + text.size] = 0;
    kept->size += text.size + 1;
    return (const char *)kept->data + start;
}

static void take_reply_head(struct belay_result *result, const struct reply_head *head)
{
    result->status = (enum belay_status)head->status;
    result->version = head->version;
    result->owner = head->owner;
    result->ack = (enum belay_ack)head->ack;
    result->type = (enum belay_type)head->type;
    result->created = head->created != 0;
    result->repeated = head->repeated != 0;
    result->stand_in = head->stand_in != 0;
    result->fields = head->fields;
    result->value_bytes = head->value_bytes;
    result->siblings_hidden = head->siblings_hidden;
    result->retry_after_ms = head->retry_after_ms;
    result->absolute_ms = head->absolute_ms;
    result->idle_ms = head->idle_ms;
    result->deadline_ms = head->deadline_ms;
    result->created_ms = head->created_ms;
    result->last_access_ms = head->last_access_ms;
    result->hlc = head->hlc;
}

/* Who decided it: the node that was asked, unless the answer names another. */
static const char *decided_by(struct belay_client *client, uint32_t number, const char *asked)
{
    const struct member *member = number == 0 ? NULL : member_numbered(client, number);

    return member == NULL ? asked : member_name(member, asked);
}

static struct belay_result result_of(const struct belay_request *request, const char *node)
{
    return (struct belay_result){
        .request = request,
        .node = node,
        .frame_type = request->frame_type,
        .flags = request->flags,
    };
}

static int take_single(struct belay_request *request, const struct frame *frame, const char *node)
{
    struct reply_head head;
    int rc = head_read_reply(frame->head, &head);

    if (rc != 0) {
        return rc;
    }
    if (head.text.size > 0) {
        (void)buffer_reserve(&request->text, head.text.size + 1); /* Else the status's own text. */
    }
    request->result = result_of(request, decided_by(request->client, head.node, node));
    take_reply_head(&request->result, &head);
    request->result.text = keep_text(request, head.status, head.text);
    request->result.value = frame->value;
    request->result.asked = request_value(request);
    request->result.change_count = request->list_count;
    return 0;
}

static int take_scan(struct belay_request *request, const struct frame *frame, const char *node)
{
    struct many_head head;
    int rc = head_read_many(frame->head, &head);

    if (rc != 0) {
        return rc;
    }
    if (head.text.size > 0) {
        (void)buffer_reserve(&request->text, head.text.size + 1);
    }
    request->result = result_of(request, node);
    request->result.status = (enum belay_status)head.status;
    request->result.text = keep_text(request, head.status, head.text);
    request->result.retry_after_ms = head.retry_after_ms;
    if (head.status == BELAY_OK) {
        request->result.cursor = head.cursor;
        request->result.value = frame->value;
    }
    return 0;
}

static int take_item(struct belay_request *request, struct reader *answers, struct reader *items,
                     struct belay_result *result, const char *node)
{
    struct reply_head head;
    struct bytes reply = read_string(answers), value = read_string(answers);
    struct bytes key, list;

    if (answers->bad || head_read_reply(reply, &head) != 0) {
        return -EBADMSG;
    }
    struct item_header header = item_next(items, &key, &list);
    *result = result_of(request, decided_by(request->client, head.node, node));
    take_reply_head(result, &head);
    result->frame_type = request->frame_type == FRAME_GET_MANY ? FRAME_GET : FRAME_WRITE;
    result->text = keep_text(request, head.status, head.text);
    result->value = value;
    result->asked = list;
    result->change_count = header.list_count;
    return 0;
}

static int take_many(struct belay_request *request, const struct frame *frame, const char *node)
{
    int rc = take_scan(request, frame, node);

    if (rc != 0 || request->result.status != BELAY_OK) {
        return rc;
    }
    request->result.cursor = 0;
    request->result.value = bytes_of(NULL, 0);
    if (request_reserve_items(request) != 0 ||
        buffer_reserve(&request->text, frame->value.size + request->item_count) != 0) {
        request->result.status = BELAY_NO_MEMORY;
        request->result.text = belay_status_text(BELAY_NO_MEMORY);
        return 0;
    }
    struct reader answers = reader_of(frame->value);
    struct reader items = reader_of(buffer_bytes(&request->body));
    for (uint32_t i = 0; i < request->item_count; i++) {
        rc = take_item(request, &answers, &items, &request->items[i], node);
        if (rc != 0) {
            return rc;
        }
    }
    request->items_ready = request->item_count;
    return reader_done(&answers) ? 0 : -EBADMSG;
}

/* Move the frame's parts into the request's own memory. */
static int keep_frame(struct belay_request *request, struct frame *frame)
{
    request->reply.size = 0;
    int rc = buffer_reserve(&request->reply, frame->head.size + frame->value.size + 1);
    if (rc != 0) {
        return rc;
    }
    (void)buffer_append(&request->reply, frame->head);
    (void)buffer_append(&request->reply, frame->value);
    frame->head = bytes_of(request->reply.data, frame->head.size);
    frame->value = bytes_of(request->reply.data + frame->head.size, frame->value.size);
    return 0;
}

int frame_take_reply(struct belay_request *request, const struct frame *frame, const char *node)
{
    struct frame own = *frame;

    if (frame->type != request->frame_type) {
        return -EBADMSG;
    }
    request->text.size = 0;
    request->items_ready = 0;
    if (request->kept && keep_frame(request, &own) != 0) {
        request->result = result_of(request, node);
        request->result.status = BELAY_NO_MEMORY;
        request->result.text = belay_status_text(BELAY_NO_MEMORY);
        return 0;
    }
    switch (request->frame_type) {
    case FRAME_GET_MANY:
    case FRAME_WRITE_MANY:
        return take_many(request, &own, node);
    case FRAME_SCAN:
        return take_scan(request, &own, node);
    default:
        return take_single(request, &own, node);
    }
}
