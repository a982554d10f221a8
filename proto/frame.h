/* The native protocol's frame: a fixed header, a protobuf head, raw value bytes.
 *
 *   offset size
 *        0    1  magic 0xBE (no RESP request begins with it: the port tells the two apart by it)
 *        1    1  type, enum frame_type
 *        2    2  flags, FRAME_REPLY in every reply
 *        4    4  body size: bytes after this header (head and value), at most FRAME_BYTES_MAX
 *        8    8  request id, chosen by the client, returned in the reply
 *       16    4  head size, at most HEAD_BYTES_MAX; the head is a message of belay.proto
 *       20    4  CRC-32C of the 20 bytes before it and of the body
 *
 * Integers are little-endian. Any number of requests may be in flight; replies come in any order, but the
 * requests of one connection for one key, alone or among many, are executed in the order they were sent.
 * The value follows the head and belongs to no message: its form depends on the type (belay.proto).
 * A client that has asked for the map of the cluster (FRAME_MAP) gets it again when it has changed, as a reply with
 * request id 0, which therefore no request should have.
 * A body size over the server's limit cannot be skipped safely and ends the connection after an
 * error reply; every other bad frame is answered and the connection goes on.
 */
#ifndef FRAME_H
#define FRAME_H

#include <stdint.h>

#include "bytes.h"

enum { FRAME_HEADER_BYTES = 24, FRAME_MAGIC = 0xBE, FRAME_REPLY = 1, PROTOCOL_VERSION = 1 };

/* X(name, number): a wire format, as the statuses. */
#define FRAME_TYPE_TABLE(X)                                                                        \
    X(HELLO, 1)                                                                                    \
    X(PING, 2)                                                                                     \
    X(GET, 3)                                                                                      \
    X(WRITE, 4)                                                                                    \
    X(GET_MANY, 5)                                                                                 \
    X(WRITE_MANY, 6)                                                                               \
    X(SCAN, 7)                                                                                     \
    X(INSPECT, 8)                                                                                  \
    X(ADMIN, 9)                                                                                    \
    X(MAP, 10)                                                                                     \
    X(RECOVER, 11)

enum frame_type {
#define FRAME_ENUM(name, number) FRAME_##name = (number),
    FRAME_TYPE_TABLE(FRAME_ENUM)
#undef FRAME_ENUM
};

struct frame {
    uint8_t type;
    uint16_t flags;
    uint64_t request_id;
    struct bytes head;
    struct bytes value;
};

/* Write the header of a frame whose head and value are given, into FRAME_HEADER_BYTES. */
void frame_header_put(uint8_t *to, uint8_t type, uint16_t flags, uint64_t request_id,
                      struct bytes head, struct bytes value);

/* Size of the whole frame whose first bytes are `input`.
 *
 * Returns the size, 0 while fewer than FRAME_HEADER_BYTES are there, -EBADMSG when it does not start
 * with the magic, -EMSGSIZE when the body is larger than `body_bytes_max`. */
int64_t frame_size(struct bytes input, uint32_t body_bytes_max);

/* Take apart exactly one whole frame. The parts point into `input`.
 *
 * Returns 0; -EILSEQ when the checksum does not match; -EBADMSG when sizes contradict each other. With
 * both, type and request id are set once the header is whole, so that the error can be answered. */
int frame_parse(struct bytes input, struct frame *frame);

#endif
