/* Building of requests that read. */
#include "client.h"

enum {
    ARGUMENT_BYTES_MAX = 4096,
    GET_FLAGS_KNOWN = GET_META | GET_NO_TOUCH | GET_SIBLINGS | GET_ANY
};

static const struct belay_bytes no_key;

static void get_flags(struct belay_request *get, uint32_t flags)
{
    if (get != NULL) {
        /* An access is the primary's to record. */
        get->flags = (flags & GET_ANY) != 0 ? flags | GET_NO_TOUCH : flags;
        if ((flags & ~(uint32_t)GET_FLAGS_KNOWN) != 0 ||
            ((flags & GET_ANY) != 0 && get->frame_type != FRAME_GET)) {
            request_wrong(get, BELAY_INVALID);
        }
    }
}

struct belay_request *belay_get_begin(struct belay_client *client, struct belay_bytes key,
                                      uint32_t flags)
{
    struct belay_request *get = request_begin(client, FRAME_GET, key);

    get_flags(get, flags);
    return get;
}

void belay_get_field(struct belay_request *get, struct belay_bytes name)
{
    if (get == NULL) {
        return;
    }
    if (get->frame_type != FRAME_GET || (get->flags & (GET_META | GET_SIBLINGS)) != 0 ||
        name.size > FIELD_NAME_BYTES_MAX || get->list_count == SESSION_FIELDS_MAX) {
        request_wrong(get, BELAY_INVALID);
        return;
    }
    if (!request_reserve(get, VARINT_BYTES_MAX + name.size)) {
        return;
    }
    get->flags |= GET_FIELDS;
    get->list_count++;
    uint8_t *end = varint_put(get->body.data + get->body.size, name.size);
    get->body.size = (size_t)(end - get->body.data);
    (void)buffer_append(&get->body, bytes_in(name)); /* Room is reserved. */
}

/* A version token; the only argument that comes as bytes besides the key. */
static void put_version(struct belay_request *request, struct belay_bytes version)
{
    if (version.size == 0 || version.size > TOKEN_BYTES_MAX) {
        request_wrong(request, BELAY_INVALID);
        return;
    }
    request->version.size = 0;
    if (buffer_append(&request->version, bytes_in(version)) != 0) {
        request_wrong(request, BELAY_NO_MEMORY);
    }
}

void belay_get_floor(struct belay_request *get, struct belay_bytes version)
{
    if (get == NULL) {
        return;
    }
    if (get->frame_type != FRAME_GET) {
        request_wrong(get, BELAY_INVALID);
        return;
    }
    put_version(get, version);
}

void belay_write_if_version(struct belay_request *write, struct belay_bytes version)
{
    if (write == NULL) {
        return;
    }
    if (write->frame_type != FRAME_WRITE) {
        request_wrong(write, BELAY_INVALID);
        return;
    }
    put_version(write, version);
}

/* ---- Many keys, for reading and writing ---- */

static void many_key(struct belay_request *many, struct belay_bytes key)
{
    struct item_header header = {.key_size = (uint32_t)key.size};

    if (key.size == 0 || key.size > KEY_BYTES_MAX) {
        request_wrong(many, BELAY_KEY_TOO_LARGE);
    } else if (many->item_count == KEYS_PER_REQUEST_MAX) {
        request_wrong(many, BELAY_INVALID);
    }
    if (!request_reserve(many, sizeof header + key.size)) {
        return;
    }
    many->items_start = (uint32_t)many->body.size;
    (void)buffer_append(&many->body, bytes_of(&header, sizeof header));
    (void)buffer_append(&many->body, bytes_in(key));
    many->item_count++;
    many->list_open = many->frame_type == FRAME_WRITE_MANY;
    many->list_count = 0;
    many->destroys = false;
}

struct belay_request *belay_get_many_begin(struct belay_client *client, uint32_t flags)
{
    struct belay_request *get = request_begin(client, FRAME_GET_MANY, no_key);

    get_flags(get, flags);
    return get;
}

void belay_get_many_key(struct belay_request *get_many, struct belay_bytes key)
{
    if (get_many == NULL) {
        return;
    }
    if (get_many->frame_type != FRAME_GET_MANY) {
        request_wrong(get_many, BELAY_INVALID);
        return;
    }
    many_key(get_many, key);
}

void belay_write_many_key(struct belay_request *write_many, struct belay_bytes key)
{
    if (write_many == NULL) {
        return;
    }
    if (write_many->frame_type != FRAME_WRITE_MANY) {
        request_wrong(write_many, BELAY_INVALID);
        return;
    }
    many_key(write_many, key);
}

/* ---- The others ---- */

struct belay_request *belay_scan_begin(struct belay_client *client, uint64_t cursor,
                                       struct belay_bytes prefix, enum belay_type type,
                                       uint32_t count)
{
    struct belay_request *scan = request_begin(client, FRAME_SCAN, prefix);

    if (scan != NULL) {
        scan->cursor = cursor;
        scan->type = (uint8_t)type;
        scan->count = count < SCAN_COUNT_MAX ? count : SCAN_COUNT_MAX;
        if ((uint32_t)type > SESSION_ZSET) {
            request_wrong(scan, BELAY_INVALID);
        }
    }
    return scan;
}

struct belay_request *belay_inspect_begin(struct belay_client *client, struct belay_bytes key)
{
    return request_begin(client, FRAME_INSPECT, key);
}

struct belay_request *belay_recover_begin(struct belay_client *client, struct belay_bytes key,
                                          struct belay_bytes records)
{
    struct belay_request *recover = request_begin(client, FRAME_RECOVER, key);

    if (recover != NULL && request_reserve(recover, records.size)) {
        (void)buffer_append(&recover->body, bytes_in(records)); /* There is room. */
    }
    return recover;
}

struct belay_request *belay_admin_begin(struct belay_client *client, const char *command,
                                        const char *argument)
{
    struct belay_request *admin = request_begin(client, FRAME_ADMIN, belay_text(command));

    if (admin == NULL || argument == NULL) {
        return admin;
    }
    if (strlen(argument) > ARGUMENT_BYTES_MAX) {
        request_wrong(admin, BELAY_INVALID);
    } else if (buffer_append(&admin->version, bytes_of_string(argument)) != 0) {
        request_wrong(admin, BELAY_NO_MEMORY);
    }
    return admin;
}

struct belay_request *belay_ping_begin(struct belay_client *client)
{
    return request_begin(client, FRAME_PING, no_key);
}
