/* The answer to ListMultipartUploads: what PUTs in parts began and have not ended. Memory: malloc(). Threads: any. */
#ifndef S3_UPLOADS_H
#define S3_UPLOADS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"

enum { S3_UPLOAD_ID_BYTES = 1024, S3_UPLOADS_MAX = 1000 /* In an answer. */ };

struct s3_upload {
    char *name; /* Below the prefix. */
    char *id;   /* Behind it, in the same memory. */
};

struct s3_uploads {
    struct s3_upload *table; /* Those that were begun early enough. */
    uint32_t count, capacity;
    bool more; /* The server has others, begun whenever, behind those that it told. */
};

/* Read it into an empty one: uploads that were begun before `before_ms` (since 1970, by the server's clock, which tells
 * seconds here), names without the prefix. Returns 0; -EBADMSG: it is no such answer, or has other names than were asked
 * for; -ENOMEM. Either way s3_uploads_fini() is to follow. */
int s3_uploads_read(struct s3_uploads *uploads, struct bytes xml, const char *prefix,
                    uint64_t before_ms);

/* Empty it. */
void s3_uploads_fini(struct s3_uploads *uploads);

#endif
