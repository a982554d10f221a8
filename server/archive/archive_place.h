/* Where an archive is, as a person says it: a URL and what S3 needs beside it.
 *
 *   s3://BUCKET/PREFIX   objects in a bucket (s3.h); the prefix may be missing
 *   file:///DIR          objects in a directory (object_files.h)
 *
 * Who the store is asked as, the first of these that there is:
 *   AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, perhaps AWS_SESSION_TOKEN, of the environment
 *   the credentials file that was given, else AWS_SHARED_CREDENTIALS_FILE of the environment
 * The file is that of Amazon's tools: sections of `name = value`, of which AWS_PROFILE's (or "default") has
 * aws_access_key_id, aws_secret_access_key, perhaps aws_session_token. Where no region is given it is AWS_REGION or
 * AWS_DEFAULT_REGION, where no endpoint is, AWS_ENDPOINT_URL.
 *
 * Memory: malloc(); secrets are wiped. Threads: the loop's.
 */
#ifndef ARCHIVE_PLACE_H
#define ARCHIVE_PLACE_H

#include <uv.h>

#include "object_store.h"

enum { ARCHIVE_CREDENTIALS_BYTES_MAX = 64 * 1024 };

/* Texts may be NULL or empty: not given. */
struct archive_place {
    const char *url;
    const char *endpoint, *region, *ca_file, *credentials_file; /* Of S3. */
    bool path_style;          /* The bucket in the path; else in the host's name. */
    bool writes;              /* As in object_files.h; of S3 the same. */
    uint32_t try_ms, call_ms; /* As in s3.h. */
};

/* Is it such a URL? Returns 0, or -EINVAL with `message` set. */
int archive_place_check(const char *url, char *message, size_t message_size);

/* A number that tells one place from another, as they are said: of the URL, of S3 the endpoint as well; slashes at the end do
 * not count. Places that are the same and are said otherwise have different ones. Never 0. */
uint64_t archive_place_id(const struct archive_place *place);

/* Make the store; nothing is asked of it yet. Returns 0; with `message` set: -EINVAL: no such URL, no credentials, or what
 * s3_create() refuses; another negative errno: the file cannot be read, or as object_files_create(); -ENOMEM. */
int archive_place_open(uv_loop_t *loop, const struct archive_place *place,
                       struct object_store **store, char *message, size_t message_size);

#endif
