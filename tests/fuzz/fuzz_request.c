/* Requests of the native protocol: type (1 byte), size of the head (2 bytes), head, value. What the
 * hand-written parser of the hot heads makes of them is what protobuf-c makes of them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "belay.pb-c.h"
#include "fuzz.h"
#include "native_request.h"
#include "wire_head.h"

static void check_bytes(struct bytes ours, ProtobufCBinaryData theirs)
{
    assert(ours.size == theirs.len);
    assert(ours.size == 0 || memcmp(ours.data, theirs.data, ours.size) == 0);
}

static void check_get(struct bytes head)
{
    struct request ours = {0};
    Belay__Wire__Get *theirs = belay__wire__get__unpack(NULL, head.size, head.data);

    assert((wire_get(head, &ours) == 0) == (theirs != NULL));
    if (theirs != NULL) {
        check_bytes(ours.key, theirs->key);
        check_bytes(ours.version, theirs->floor);
        assert(ours.flags == theirs->flags && ours.timeout_ms == theirs->timeout_ms);
        belay__wire__get__free_unpacked(theirs, NULL);
    }
}

static void check_write(struct bytes head)
{
    struct wire_write ours;
    Belay__Wire__Write *theirs = belay__wire__write__unpack(NULL, head.size, head.data);

    assert((wire_write(head, &ours) == 0) == (theirs != NULL));
    if (theirs != NULL) {
        check_bytes(ours.key, theirs->key);
        check_bytes(ours.if_version, theirs->if_version);
        assert(ours.mode == theirs->mode && ours.type == theirs->type);
        assert(ours.ack == theirs->ack && ours.timeout_ms == theirs->timeout_ms);
        assert(ours.client == theirs->client && ours.sequence == theirs->sequence);
        assert(ours.retry_hlc == theirs->retry_hlc);
        belay__wire__write__free_unpacked(theirs, NULL);
    }
}

static void check_many(const struct frame *frame, struct arena *arena)
{
    struct native_many many;
    struct request request;

    if (native_many(frame, arena, &many) != STATUS_OK) {
        return;
    }
    assert(many.count <= KEYS_PER_REQUEST_MAX);
    for (uint32_t i = 0; i < many.count; i++) {
        native_many_next(&many, &request);
        assert(!many.list.bad);
    }
    assert(reader_done(&many.list));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_of(bytes_of(data, size));
    struct frame frame = {.type = read_u8(&reader)};
    uint64_t head_size = read_u8(&reader) | (uint64_t)read_u8(&reader) << 8;
    struct request request;
    struct native_hello hello;
    struct native_admin admin;
    struct arena arena;

    if (head_size > HEAD_BYTES_MAX || head_size > reader_left(&reader)) {
        return 0;
    }
    frame.head = read_bytes(&reader, head_size);
    frame.value = read_bytes(&reader, reader_left(&reader));
    arena_init(&arena);
    if (native_request(&frame, &arena, &request) == STATUS_OK) {
        assert(request.op <= REQUEST_INSPECT && request.ack <= ACK_ARCHIVE);
        assert(request.count <= SCAN_COUNT_MAX);
    }
    check_many(&frame, &arena);
    (void)native_hello(&frame, &arena, &hello);
    if (native_admin(&frame, &arena, &admin) == STATUS_OK) {
        assert(admin.command.size <= HEAD_BYTES_MAX);
    }
    arena_fini(&arena);
    check_get(frame.head);
    check_write(frame.head);
    return 0;
}
