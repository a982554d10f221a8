/* A request on its way to the node that coordinates it, and its answer, as bytes: the bodies of PEER_FAR_REQUEST and
 * PEER_FAR_ANSWER (server/cluster/peer_frame.h). The frame's number is the asker's, and comes back with the answer.
 *
 * A request (integers little-endian, a string is a varint and so many bytes):
 *
 *   u8      operation, mode, type, ack level
 *   u8      protocol (enum far_protocol), form (enum call_form), type of its client's frame, flags of the call
 *   u8      hops: nodes that have passed it on; flags (enum far_flag)
 *   u16     shard that is asked, of a scan
 *   u8      shard of the connection there
 *   u32     flags of the request; milliseconds that are left of its timeout, 0: none; count
 *   u32     index and generation of the connection there: what it sent is executed in order
 *   u64     client's request id; client, sequence, retry_hlc; cursor; epoch of the asker's map
 *   string  key, version
 *   u8      1: a procedure follows (server/resp/wire.h), 0: the body
 *   bytes   that
 *
 * An answer:
 *
 *   u8      enum far_answer_kind
 *   u8      status, of those that are not FAR_DONE
 *   bytes   the answer in its client's language
 *
 * Memory: nothing is kept. Threads: any.
 */
#ifndef FAR_FRAME_H
#define FAR_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"
#include "shard.h"

enum far_protocol { FAR_NATIVE = 1, FAR_RESP, FAR_TASK };

enum far_flag {
    FAR_COORDINATE = 1, /* An owner before this one cannot serve, and asks it to. */
    FAR_SCANS = 2,      /* A scan of one shard's keys. */
    FAR_FOR_FIRST = 4,  /* The first owner hands it on, and is to have a copy before the answer. */
};

enum far_answer_kind {
    FAR_DONE = 0,    /* The answer. */
    FAR_REFUSED = 1, /* It was not executed. */
    FAR_LOST = 2,    /* It was, perhaps, and there was no memory for the answer. */
};

enum { FAR_HOPS_MAX = 3, FAR_FIXED_BYTES = 4 + 4 + 2 + 2 + 1 + 5 * 4 + 6 * 8 };

struct far_request {
    struct request request; /* Without ticket, times and position. */
    uint8_t protocol, form, frame_type, call_flags;
    uint8_t hops, flags, connection_shard;
    uint16_t shard;
    uint32_t connection, connection_generation;
    uint64_t request_id, epoch;
};

/* Append it to `out`. Returns 0, -ENOMEM, or -EINVAL: its procedure cannot travel. */
int far_request_put(const struct far_request *request, struct buffer *out);

/* Read all of it. It points into `from`, or into `scratch`, whose content goes. Returns 0; -ENOENT: a procedure that is
 * not known here; -EINVAL: not an argument that it can have; -EBADMSG: no request; -ENOMEM. */
int far_request_read(struct bytes from, struct buffer *scratch, struct far_request *request);

#endif
