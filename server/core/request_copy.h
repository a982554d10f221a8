/* A copy of a request with what it points at, for where what it was received in does not last.
 *
 * Memory: the caller's, request_bytes() of it. Threads: any.
 */
#ifndef REQUEST_COPY_H
#define REQUEST_COPY_H

#include <string.h>

#include "shard.h"

/* What its key, version and body take. */
static inline size_t request_bytes(const struct request *request)
{
    return request->key.size + request->version.size + request->body.size;
}

static inline struct bytes request_copy_part(uint8_t **to, struct bytes from)
{
    struct bytes copy = bytes_of(*to, from.size);

    if (from.size > 0) {
        memcpy(*to, from.data, from.size);
    }
    *to += from.size;
    return copy;
}

/* The request, pointing into `to`, where its bytes are now. */
static inline struct request request_copy(const struct request *request, uint8_t *to)
{
    struct request copy = *request;

    copy.key = request_copy_part(&to, request->key);
    copy.version = request_copy_part(&to, request->version);
    copy.body = request_copy_part(&to, request->body);
    return copy;
}

#endif
