/* Heads of frames, as belay.proto says, written and read by hand.
 *
 * They are flat messages of varints and byte strings, so that both directions are a few lines without
 * any allocation; the generated code would cost more than all the rest of a request. A test holds this
 * against the generated code, both ways. Source: Protocol Buffers, "Encoding".
 *
 * Memory: what a reply head points at lies in the frame. Threads: any.
 */
#ifndef HEAD_H
#define HEAD_H

#include <stdint.h>

#include "bytes.h"

/* Write one field; the defaults (0, empty) are left out, as proto3 asks. Field numbers up to 15.
 * At most 1 + VARINT_BYTES_MAX bytes, and the string itself. Returns the first byte after. */
uint8_t *head_put_number(uint8_t *to, uint32_t field, uint64_t value);
uint8_t *head_put_bytes(uint8_t *to, uint32_t field, struct bytes value);

struct hello_head {
    uint32_t status;
    struct bytes text;
    uint32_t protocol;
    uint64_t client;
    struct bytes node;
    uint32_t shards, shard;
    uint64_t hlc;
    uint32_t frame_bytes_max, in_flight_max;
    uint64_t map_epoch;
    uint32_t number;
};

struct reply_head {
    uint32_t status;
    struct bytes text;
    uint32_t ack;
    struct bytes version;
    uint32_t type;
    uint64_t absolute_ms, idle_ms, deadline_ms, created_ms, last_access_ms;
    struct bytes owner;
    uint32_t fields, value_bytes, siblings_hidden, retry_after_ms;
    uint32_t repeated;
    uint64_t hlc;
    uint32_t created;
    uint32_t stand_in, node;
};

struct many_head {
    uint32_t status;
    struct bytes text;
    uint64_t cursor;
    uint32_t retry_after_ms;
};

/* Read a head. Unknown fields are skipped. A failed HELLO or many-key request may be answered by a plain
 * Reply: status and text have the same numbers everywhere.
 * Returns 0 or -EBADMSG (cut short, or a wire type that proto3 does not have). */
int head_read_hello(struct bytes source, struct hello_head *head);
int head_read_reply(struct bytes source, struct reply_head *head);
int head_read_many(struct bytes source, struct many_head *head);

#endif
