/* Objects in S3, or in what speaks its protocol (Ceph, MinIO, Swift): Amazon S3 API Reference, version 2006-03-01.
 *
 * Requests go over libcurl's multi interface on the loop, several at a time over connections that are kept, signed by
 * sigv4.h; each PUT carries the SHA-256 of its body, which the server checks. What may pass (5xx, 429, a reset, a
 * time-out) is tried again after a pause that doubles, of which a random half is taken off, until the call's time is over.
 *
 * A PUT that is only for a new object has If-None-Match: *. Its answer may be lost, or be a 5xx from a server that was
 * overtaken by itself, so that nobody knows whether it was done: then, and with 412, the object is read, and what is
 * there decides. Where the server does not know the condition (501), it is read before it is written, from then on.
 * Other PUTs larger than `part_bytes` go in parts, and what was begun is aborted where that fails. Where that fails too,
 * or this process ends, or the answer to the begin is lost, it stays for OBJECT_TIDY, which asks for 1,000 at a time.
 *
 * Memory: malloc(); a call copies its strings, not its body. Threads: the loop's.
 */
#ifndef S3_H
#define S3_H

#include <uv.h>

#include "object_store.h"

enum {
    S3_PART_BYTES_MIN = 5 * 1024 * 1024, /* As S3 asks of all parts but the last. */
    S3_PARTS_MAX = 10000,
    S3_PARALLEL_MAX = 64,
};

struct s3_options {
    uv_loop_t *loop;
    const char *bucket;
    const char *prefix;   /* Put before each name as it is; "": nothing. */
    const char *endpoint; /* scheme, host and perhaps port; NULL: Amazon's of the region. */
    const char *region;   /* NULL: us-east-1. */
    bool path_style;      /* The bucket in the path; else in the host's name. */
    const char *ca_file;  /* NULL: the system's. */
    const char *access_key, *secret_key, *session_token; /* The last may be NULL. */
    uint32_t parallel;                                   /* Requests at a time. 0: 8. */
    uint32_t try_ms;          /* For one request without progress. 0: 10 s. */
    uint32_t call_ms;         /* For a call. 0: 60 s. */
    uint64_t part_bytes;      /* 0: 16 MiB. */
    uint64_t (*now_ms)(void); /* Since 1970. NULL: the system's. */
};

/* Copies everything. Returns 0; -EINVAL with `message` set: something that cannot be; -ENOMEM. */
int s3_create(const struct s3_options *options, struct object_store **store, char *message,
              size_t message_size);

#endif
