/* Building of requests that write: a change list (change.h), or one for each of many keys. */
#include "client.h"

struct belay_request *belay_write_begin(struct belay_client *client, struct belay_bytes key,
                                        enum belay_mode mode)
{
    struct belay_request *write = request_begin(client, FRAME_WRITE, key);

    if (write != NULL) {
        write->mode = (uint8_t)mode;
    }
    return write;
}

struct belay_request *belay_write_many_begin(struct belay_client *client, enum belay_mode mode)
{
    struct belay_request *write = request_begin(client, FRAME_WRITE_MANY, belay_bytes_of(NULL, 0));

    if (write != NULL) {
        write->mode = (uint8_t)mode;
    }
    return write;
}

void belay_write_type(struct belay_request *write, enum belay_type type)
{
    if (write == NULL) {
        return;
    }
    if (!request_is_write(write) || (uint32_t)type > SESSION_ZSET) {
        request_wrong(write, BELAY_INVALID);
        return;
    }
    write->type = (uint8_t)type;
    write->type_given = true;
}

void belay_write_ack(struct belay_request *write, enum belay_ack level)
{
    if (write == NULL) {
        return;
    }
    if ((!request_is_write(write) && write->frame_type != FRAME_RECOVER) ||
        (uint32_t)level > BELAY_ACK_ARCHIVE) {
        request_wrong(write, BELAY_INVALID);
        return;
    }
    write->ack = (uint8_t)level;
}

/* The type of a session that begins with this change. */
static enum session_type type_of_change(const struct change *change)
{
    switch (change->operation) {
    case CHANGE_SET:
    case CHANGE_SET_UNTIL:
    case CHANGE_ADD:
    case CHANGE_APPEND:
        return change->name.size == 0 ? SESSION_BLOB : SESSION_MAP;
    case CHANGE_ADD_MEMBER:
        return SESSION_SET;
    case CHANGE_SET_SCORE:
    case CHANGE_ADD_SCORE:
        return SESSION_ZSET;
    default:
        return SESSION_NONE;
    }
}

static enum belay_status change_wrong(const struct belay_request *write,
                                      const struct change *change)
{
    size_t value_max = change->operation == CHANGE_OWNER ? OWNER_BYTES_MAX : SESSION_BYTES_MAX;
    bool duration = change->operation == CHANGE_TTL || change->operation == CHANGE_IDLE;
    uint64_t ms_end =
        duration ? UINT64_C(1000) * 3600 * 24 * TTL_MS_MAX_DAYS + 1 : UINT64_C(1) << 48;

    if (!request_is_write(write) || (write->frame_type == FRAME_WRITE_MANY && !write->list_open)) {
        return BELAY_INVALID;
    }
    if (write->list_count == CHANGES_MAX || write->destroys ||
        (change->operation == CHANGE_DESTROY && write->list_count > 0)) {
        return BELAY_INVALID;
    }
    if (change->name.size > FIELD_NAME_BYTES_MAX || change->value.size > value_max ||
        change->score != change->score ||
        change->flags > (SCORE_NX | SCORE_XX | SCORE_GT | SCORE_LT)) {
        return BELAY_INVALID;
    }
    return change->ms < ms_end ? BELAY_OK : BELAY_OUT_OF_RANGE;
}

/* Keep the sizes before the present key in step with its list. */
static void update_item(struct belay_request *write)
{
    struct item_header header;
    uint8_t *at = write->body.data + write->items_start;

    memcpy(&header, at, sizeof header);
    header.list_count = write->list_count;
    header.list_size =
        (uint32_t)(write->body.size - write->items_start - sizeof header - header.key_size);
    memcpy(at, &header, sizeof header);
}

static void put_change(struct belay_request *write, const struct change *change)
{
    if (write == NULL) {
        return;
    }
    enum belay_status wrong = change_wrong(write, change);
    if (wrong != BELAY_OK) {
        request_wrong(write, wrong);
        return;
    }
    if (!request_reserve(write, change_size(change))) {
        return;
    }
    uint8_t *end = change_put(write->body.data + write->body.size, change);
    write->body.size = (size_t)(end - write->body.data);
    write->list_count++;
    write->destroys = change->operation == CHANGE_DESTROY;
    if (write->frame_type == FRAME_WRITE_MANY) {
        update_item(write);
    }
    if (!write->type_given && write->type == SESSION_NONE) {
        write->type = (uint8_t)type_of_change(change);
    }
}

void belay_write_set(struct belay_request *write, struct belay_bytes name, struct belay_bytes value)
{
    put_change(write, &(struct change){.operation = CHANGE_SET,
                                       .name = bytes_in(name),
                                       .value = bytes_in(value)});
}

void belay_write_set_until(struct belay_request *write, struct belay_bytes name,
                           struct belay_bytes value, uint64_t time_ms)
{
    put_change(write, &(struct change){.operation = CHANGE_SET_UNTIL,
                                       .name = bytes_in(name),
                                       .value = bytes_in(value),
                                       .ms = time_ms});
}

void belay_write_value(struct belay_request *write, struct belay_bytes value)
{
    belay_write_set(write, belay_bytes_of(NULL, 0), value);
}

void belay_write_delete(struct belay_request *write, struct belay_bytes name)
{
    put_change(write, &(struct change){.operation = CHANGE_DELETE, .name = bytes_in(name)});
}

void belay_write_add(struct belay_request *write, struct belay_bytes name, int64_t delta)
{
    put_change(write,
               &(struct change){.operation = CHANGE_ADD, .name = bytes_in(name), .delta = delta});
}

void belay_write_append(struct belay_request *write, struct belay_bytes name,
                        struct belay_bytes value)
{
    put_change(write, &(struct change){.operation = CHANGE_APPEND,
                                       .name = bytes_in(name),
                                       .value = bytes_in(value)});
}

void belay_write_clear(struct belay_request *write)
{
    put_change(write, &(struct change){.operation = CHANGE_CLEAR});
}

void belay_write_until(struct belay_request *write, struct belay_bytes name, uint64_t time_ms)
{
    put_change(write,
               &(struct change){.operation = CHANGE_UNTIL, .name = bytes_in(name), .ms = time_ms});
}

void belay_write_absolute(struct belay_request *write, uint64_t time_ms)
{
    put_change(write, &(struct change){.operation = CHANGE_ABSOLUTE, .ms = time_ms});
}

void belay_write_ttl(struct belay_request *write, uint64_t ttl_ms)
{
    put_change(write, &(struct change){.operation = CHANGE_TTL, .ms = ttl_ms});
}

void belay_write_idle(struct belay_request *write, uint64_t idle_ms)
{
    put_change(write, &(struct change){.operation = CHANGE_IDLE, .ms = idle_ms});
}

void belay_write_owner(struct belay_request *write, struct belay_bytes owner)
{
    put_change(write, &(struct change){.operation = CHANGE_OWNER, .value = bytes_in(owner)});
}

void belay_write_touch(struct belay_request *write)
{
    put_change(write, &(struct change){.operation = CHANGE_TOUCH});
}

void belay_write_destroy(struct belay_request *write)
{
    put_change(write, &(struct change){.operation = CHANGE_DESTROY});
}

void belay_write_add_member(struct belay_request *write, struct belay_bytes member)
{
    put_change(write, &(struct change){.operation = CHANGE_ADD_MEMBER, .name = bytes_in(member)});
}

void belay_write_set_score(struct belay_request *write, struct belay_bytes member, double score,
                           uint32_t flags)
{
    put_change(write, &(struct change){.operation = CHANGE_SET_SCORE,
                                       .name = bytes_in(member),
                                       .score = score,
                                       .flags = flags});
}

void belay_write_add_score(struct belay_request *write, struct belay_bytes member, double delta)
{
    put_change(write, &(struct change){
                          .operation = CHANGE_ADD_SCORE, .name = bytes_in(member), .score = delta});
}
