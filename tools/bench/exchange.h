/* What is asked of the server and what it answers, whichever protocol carries it.
 *
 * Memory: bytes that are pointed to belong to whoever filled the struct in, and live until the call that it is given to
 * returns. Threads: any.
 */
#ifndef BENCH_EXCHANGE_H
#define BENCH_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include <belay/belay.h>

#include "bytes.h"
#include "content.h"

enum ask_kind { ASK_GET, ASK_SET, ASK_DELETE };

/* One request. Zero-initialise; ask_key() sets the key. */
struct ask {
    enum ask_kind kind;
    bool create;   /* ASK_SET: only where there is no session. */
    bool no_touch; /* ASK_GET: it is no use of the session (native). */
    bool no_retry; /* Not to be tried again by itself (native; the other one never does). */
    size_t key_size;
    uint8_t key[CONTENT_KEY_BYTES_MAX];
    struct bytes value; /* ASK_SET. */
    uint64_t ttl_ms;    /* ASK_SET: 0: none. */
    enum belay_ack ack; /* ASK_SET, ASK_DELETE (native). */
};

struct answer {
    enum belay_status status;
    struct bytes value;       /* ASK_GET, where it is OK. */
    enum belay_ack ack_level; /* ASK_SET, ASK_DELETE, where it is OK: the level reached. */
};

static inline void ask_key(struct ask *ask, const char *prefix, uint64_t number)
{
    ask->key_size = content_key(prefix, number, ask->key);
}

#endif
