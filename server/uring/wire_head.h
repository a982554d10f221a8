/* The three heads of the hot path (Get, Write, Reply of belay.proto), without the generated code.
 *
 * The bytes are the same; what protobuf-c spends on walking descriptors and copying strings is a tenth
 * of a pipelined request. The fuzzer and a unit test hold both against each other.
 *
 * Memory: strings point into the head. Threads: any.
 */
#ifndef WIRE_HEAD_H
#define WIRE_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "belay.pb-c.h"
#include "bytes.h"
#include "shard.h"

/* Set what the head says, and nothing else. Return 0, or -EBADMSG when it is no message. */
int wire_get(struct bytes head, struct request *request);

struct wire_write {
    struct bytes key, if_version;
    uint32_t mode, type, ack, timeout_ms, waited_ms;
    uint64_t client, sequence, retry_hlc;
};

int wire_write(struct bytes head, struct wire_write *write);

/* Write a Reply. Returns its size. */
size_t wire_reply_put(const Belay__Wire__Reply *reply, uint8_t *to);

/* Change the ack level in a Reply that has one. Returns whether it was another. */
bool wire_reply_set_ack(uint8_t *head, size_t size, uint8_t ack);

#endif
