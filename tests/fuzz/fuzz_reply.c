/* What libbelay makes of a server's reply: byte 0 chooses the request that is answered, bytes 1 and 2 are the
 * size of the head, then head and value follow. Everything that a program can ask of the result is asked. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "fuzz.h"

enum { KINDS = 10 };

static struct belay_request *request_of_kind(struct belay_client *client, unsigned kind)
{
    struct belay_bytes key = belay_text("key"), name = belay_text("name");
    struct belay_request *request;

    switch (kind) {
    case 0:
    case 1:
        return belay_get_begin(client, key, kind == 0 ? 0 : BELAY_GET_SIBLINGS);
    case 2:
        request = belay_get_begin(client, key, 0);
        belay_get_field(request, name);
        belay_get_field(request, key);
        return request;
    case 3:
        request = belay_write_begin(client, key, BELAY_UPSERT);
        belay_write_add(request, name, 1);
        belay_write_add_score(request, name, 1);
        belay_write_set(request, name, key);
        return request;
    case 4:
        request = belay_get_many_begin(client, 0);
        belay_get_many_key(request, key);
        belay_get_many_key(request, name);
        return request;
    case 5:
        request = belay_write_many_begin(client, BELAY_UPSERT);
        belay_write_many_key(request, key);
        belay_write_add_score(request, name, 1);
        belay_write_many_key(request, name);
        belay_write_touch(request);
        return request;
    case 6:
        return belay_scan_begin(client, 0, name, BELAY_NONE, 10);
    case 7:
        return belay_inspect_begin(client, key);
    case 8:
        return belay_recover_begin(client, key, name);
    default:
        return belay_ping_begin(client);
    }
}

/* Every byte that a result gives out is read, so that one outside the reply shows. */
static void touch(struct belay_bytes bytes)
{
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < bytes.size; i++) {
        sum = (uint8_t)(sum + ((const uint8_t *)bytes.data)[i]);
    }
}

static void walk(struct belay_result *result)
{
    struct belay_bytes key, value;
    struct belay_field field;
    size_t position = 0;

    touch(belay_text(belay_result_text(result)));
    touch(belay_text(belay_result_node(result)));
    touch(belay_result_version(result));
    touch(belay_result_owner(result));
    touch(belay_result_value(result));
    while (belay_result_field(result, &position, &field)) {
        touch(field.name);
        touch(field.value);
    }
    if (belay_result_find(result, belay_text("name"), &value)) {
        touch(value);
    }
    position = 0;
    while (belay_result_key(result, &position, &key)) {
        touch(key);
    }
    for (size_t i = belay_result_change_count(result); i > 0; i--) {
        belay_result_change(result, i - 1);
        belay_result_score(result, i - 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct belay_client *client;

    if (size < 3 || belay_client_create(NULL, &client) != BELAY_OK) {
        return 0;
    }
    struct bytes rest = bytes_of(data + 3, size - 3);
    size_t head_size = load_u16(data + 1);
    head_size = head_size < rest.size ? head_size : rest.size;
    struct belay_request *request = request_of_kind(client, data[0] % KINDS);
    assert(request != NULL && request->wrong == BELAY_OK);
    struct frame frame = {
        .type = request->frame_type,
        .flags = FRAME_REPLY,
        .head = bytes_of(rest.data, head_size),
        .value = bytes_of(rest.data + head_size, rest.size - head_size),
    };
    request->kept = data[0] >= 128;
    if (frame_take_reply(request, &frame, "node") == 0) {
        walk(&request->result);
        for (size_t i = 0; i < belay_result_item_count(&request->result); i++) {
            walk(belay_result_item(&request->result, i));
        }
    }
    belay_request_discard(request);
    belay_client_destroy(client);
    return 0;
}
