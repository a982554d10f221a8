/* private to s3*.c */
#ifndef S3_STATE_H
#define S3_STATE_H

#include <curl/curl.h>

#include "memory.h"
#include "object_list.h"
#include "s3.h"
#include "s3_target.h"
#include "s3_uploads.h"

enum {
    S3_TAG_BYTES = 80,              /* An ETag, with its quotation marks. */
    S3_ERROR_BYTES_MAX = 64 * 1024, /* Of an answer that is no object and no list. */
    S3_BACKOFF_MIN_MS = 50,
    S3_BACKOFF_MAX_MS = 5000,
};

/* What the next request of a call is. */
enum s3_step {
    S3_STEP_PUT,
    S3_STEP_COMPARE, /* Is it there, and are its bytes ours? Of a PUT of which nobody knows whether it was done. */
    S3_STEP_LOOK, /* The same, before a PUT to a server without conditions. */
    S3_STEP_GET,
    S3_STEP_LIST,
    S3_STEP_REMOVE,
    S3_STEP_BEGIN_PARTS,
    S3_STEP_PART,
    S3_STEP_END_PARTS,
    S3_STEP_ABORT_PARTS, /* The call has failed; this is cleaning up. */
    S3_STEP_LIST_UPLOADS,
    S3_STEP_ABORT_UPLOAD, /* The first of those listed that are not looked at yet. */
};

struct s3_tag {
    char text[S3_TAG_BYTES];
};

struct s3_call {
    struct s3 *s3;
    struct s3_call *next; /* In the store's list of calls. */
    struct object_call call;
    enum s3_step step;
    bool under_way;            /* Its request is with libcurl. */
    uint64_t until_ms, due_ms; /* By the loop's clock: the end of the call, the next request. */
    uint32_t tries;            /* Of this step that failed. */
    /* The request, and its answer. */
    CURL *easy;
    struct curl_slist *headers;
    struct buffer request; /* A body that is no object. */
    struct buffer body;    /* Of the answer. */
    uint64_t compared;     /* S3_STEP_COMPARE and _LOOK: so many bytes were the same, ... */
    bool differs;          /* ... and then not. */
    bool too_large;
    uint64_t size; /* Of the whole object, as the answer says. */
    struct s3_tag tag;
    /* Parts. */
    char upload_id[S3_UPLOAD_ID_BYTES];
    struct s3_tag *tags;
    uint32_t tag_count, tag_capacity;
    /* OBJECT_TIDY. */
    struct s3_uploads uploads; /* Of the last list... */
    uint32_t looked_at;        /* ... and so many of them need nothing more. */
    struct object_list aborted;
    /* Why it failed last; for S3_STEP_ABORT_PARTS the call's end. */
    int rc;
    char text[OBJECT_TEXT_BYTES];
    char error[CURL_ERROR_SIZE];
    char name[OBJECT_NAME_BYTES_MAX + 1], after[OBJECT_NAME_BYTES_MAX + 1];
    char hash[OBJECT_HASH_BYTES]; /* Of the whole body, or "". */
};

struct s3 {
    struct object_store port;
    struct s3_options options; /* Of its strings only the target has copies. */
    struct s3_target target;
    bool no_condition; /* The server does not know If-None-Match. */
    CURLM *multi;
    uv_timer_t multi_timer, timer;
    uint32_t handles; /* Open ones: the timers and libcurl's sockets. */
    struct s3_call *calls, **last;
    uint32_t under_way;
    struct object_store_stats stats;
    uint64_t random;
    bool gone;
};

/* What becomes of a call after an answer. */
enum s3_verdict {
    S3_DONE,  /* With rc and text. */
    S3_NEXT,  /* Its next step, at once. */
    S3_AGAIN, /* The same step after a pause; rc and text say why. */
};

/* Make call->easy ready for its step. Returns 0, -EINVAL (the URL is too long) or -ENOMEM. */
int s3_step_begin(struct s3_call *call);

/* Its request has ended. */
enum s3_verdict s3_step_end(struct s3_call *call, CURLcode code);

/* Free what a request took. */
void s3_step_clear(struct s3_call *call);

#endif
