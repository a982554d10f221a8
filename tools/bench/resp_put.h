/* Requests in RESP: SET, GET, DEL, and WAIT after what writes.
 *
 * Threads: any.
 */
#ifndef BENCH_RESP_PUT_H
#define BENCH_RESP_PUT_H

#include <stdint.h>

#include "exchange.h"
#include "resp.h"

/* Append the request. With `wait` a write is followed by WAIT for so many replicas, up to `timeout_ms`.
 * Returns 0, or -ENOMEM, with a part of it appended perhaps. */
int resp_put_ask(const struct resp_out *out, const struct ask *ask, uint32_t wait,
                 uint64_t timeout_ms);

#endif
