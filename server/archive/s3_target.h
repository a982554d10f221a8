/* Where an S3 store's requests go, and as whom: the options of s3.h that are texts, checked and copied.
 *
 * Memory: one block of malloc(), in which the secret is wiped before it goes. Threads: any.
 */
#ifndef S3_TARGET_H
#define S3_TARGET_H

#include "s3.h"
#include "sigv4.h"

enum {
    S3_BUCKET_BYTES_MAX = 63,
    S3_HOST_BYTES_MAX = 255,
    S3_ORIGIN_BYTES_MAX = 8 + S3_HOST_BYTES_MAX + 64
};

struct s3_target {
    char bucket[S3_BUCKET_BYTES_MAX + 1];
    char prefix[OBJECT_NAME_BYTES_MAX + 1];
    char host[S3_HOST_BYTES_MAX + 64 + 1]; /* As in the header. */
    char origin[S3_ORIGIN_BYTES_MAX + 1];  /* "https://HOST". */
    char region[64];
    struct sigv4_credentials credentials;
    const char *ca_file; /* NULL: the system's. */
    char *texts;         /* What the pointers point into. */
    size_t texts_size;
};

/* Returns 0; -EINVAL with `message` set; -ENOMEM, the same. */
int s3_target_init(struct s3_target *target, const struct s3_options *options, char *message,
                   size_t message_size);
void s3_target_fini(struct s3_target *target);

#endif
