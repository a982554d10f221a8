/* What clients ask of a shard in the simulator, and what they are answered: the messages between them.
 *
 * A message is its struct, byte for byte, set from zeros: the simulator is one program.
 */
#ifndef SHARD_OPERATION_H
#define SHARD_OPERATION_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "change.h"
#include "status.h"

enum {
    OPERATION_KEYS = 12,  /* shard_oracle.c has their names: each group has a policy. */
    OPERATION_TEXTS = 2,  /* Fields that hold texts... */
    OPERATION_FIELDS = 4, /* ... and after them those that hold numbers. */
    OPERATION_VALUE_BYTES = 16,
    OPERATION_VERSION_BYTES = 160,
};

enum operation_kind {
    OPERATION_GET,
    OPERATION_SCAN,
    OPERATION_SET,
    OPERATION_DELETE,
    OPERATION_ADD,
    OPERATION_TTL,
    OPERATION_IDLE,
    OPERATION_DESTROY,
};

struct operation_version {
    uint32_t size; /* 0: none. */
    uint8_t bytes[OPERATION_VERSION_BYTES];
};

struct operation {
    uint32_t client; /* Its number, and its id; 0: the simulator itself looks. */
    uint64_t sequence, retry_hlc;
    uint8_t kind, mode, ack;
    bool no_touch;
    uint32_t key, field;
    int64_t number; /* ADD: what; TTL, IDLE: ms. */
    char value[OPERATION_VALUE_BYTES];
    struct operation_version version; /* GET: floor; else the condition. */
};

struct operation_answer {
    uint64_t sequence, hlc;
    uint8_t status;
    struct operation_version version;
};

static inline bool operation_writes(const struct operation *operation)
{
    return operation->kind > OPERATION_SCAN;
}

static inline struct bytes operation_version_bytes(const struct operation_version *version)
{
    return bytes_of(version->bytes, version->size);
}

static inline void operation_version_set(struct operation_version *version, struct bytes token)
{
    version->size = token.size <= sizeof version->bytes ? (uint32_t)token.size : 0;
    if (version->size > 0) {
        memcpy(version->bytes, token.data, version->size);
    }
}

static inline bool operation_versions_equal(const struct operation_version *a,
                                            const struct operation_version *b)
{
    return bytes_equal(operation_version_bytes(a), operation_version_bytes(b));
}

#endif
