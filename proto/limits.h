/* Limits that both ends know. Each has a name, a value and an error; README's table lists them.
 * Limits that an operator may change have their default in the configuration table instead.
 */
#ifndef LIMITS_H
#define LIMITS_H

enum {
    KEY_BYTES_MAX = 512,                        /* STATUS_KEY_TOO_LARGE. */
    SESSION_BYTES_DEFAULT = 1024 * 1024,        /* `session_max_bytes`; STATUS_SESSION_TOO_LARGE. */
    SESSION_BYTES_MAX = 64 * 1024 * 1024,       /* The ceiling of `session_max_bytes`. */
    FIELD_NAME_BYTES_MAX = 64 * 1024,           /* STATUS_INVALID. */
    SESSION_FIELDS_MAX = 65536,                 /* STATUS_TOO_MANY_FIELDS. */
    OWNER_BYTES_MAX = 255,                      /* STATUS_INVALID. */
    CHANGES_MAX = 65536,                        /* In one write. STATUS_INVALID. */
    KEYS_PER_REQUEST_MAX = 1024,                /* In one many-key request. STATUS_INVALID. */
    HEAD_BYTES_MAX = 8 * 1024,                  /* STATUS_INVALID. */
    FRAME_BYTES_MAX = 64 * 1024 * 1024 + 65536, /* STATUS_FRAME_TOO_LARGE. */
    /* Of one shard's reply to a Redis client, or where a session is larger by its policy: that, and what its fields are told
     * in. Also of fields that are asked for by name, or as large as their session. STATUS_FRAME_TOO_LARGE. */
    REPLY_BYTES_MAX = 16 * 1024 * 1024,
    REPLY_BESIDE_BYTES_MAX = 4 * 1024 * 1024,
    REQUESTS_IN_FLIGHT_MAX = 1024, /* Per connection. STATUS_TOO_MANY_IN_FLIGHT. */
    SCAN_COUNT_DEFAULT = 10,
    RECOVER_RECORDS_MAX = 256,      /* In one recovery; the rest is to be asked for again. */
    RECOVER_BYTES_MAX = 256 * 1024, /* The same: no more are begun after so many. */
    SCAN_COUNT_MAX = 10000,         /* A scan asked for more returns this many. */
    TTL_MS_MAX_DAYS = 3650,         /* Ten years. STATUS_INVALID. */
    TOKEN_BYTES_MAX = 1024,         /* A version token. */
    NODE_WEIGHT_MAX = 1000000,      /* STATUS_INVALID. */
    CLUSTER_ID_BYTES = 16,
    CLUSTER_SECRET_BYTES = 32,
};

#endif
