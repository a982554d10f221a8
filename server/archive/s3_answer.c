/* What an answer means for its call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3_state.h"
#include "s3_xml.h"

/* ---- Errors ---- */

struct error_code {
    char code[64], message[256];
};

static void on_error_text(void *context, const char *parent, const char *element, const char *text)
{
    struct error_code *error = context;

    if (strcmp(parent, "Error") != 0) {
        return;
    }
    if (strcmp(element, "Code") == 0) {
        snprintf(error->code, sizeof error->code, "%s", text);
    } else if (strcmp(element, "Message") == 0) {
        snprintf(error->message, sizeof error->message, "%s", text);
    }
}

static void read_error(const struct s3_call *call, struct error_code *error)
{
    const struct s3_xml_visitor visitor = {.text = on_error_text, .context = error};

    *error = (struct error_code){0};
    (void)s3_xml_visit(buffer_bytes(&call->body), &visitor);
}

/* The call, or this try of it, has failed. */
static void set_failure(struct s3_call *call, int rc, const char *why)
{
    call->rc = rc;
    snprintf(call->text, sizeof call->text, "%s", why);
}

/* Errors by their codes; by the status where the code says nothing. */
static const struct {
    const char *code;
    int rc;
    const char *what; /* To do; NULL: what the server says is enough. */
} CODES[] = {
    {"NoSuchKey", -ENOENT, NULL},
    {"NoSuchBucket", -ENXIO, "there is no such bucket: make it, or see to archive.url"},
    {"RequestTimeTooSkewed", -ETIME,
     "the clock here differs from the server's: see to the time service"},
    {"InvalidAccessKeyId", -EACCES, "the access key is unknown: see to the credentials"},
    {"SignatureDoesNotMatch", -EACCES, "the secret key is wrong: see to the credentials"},
    {"ExpiredToken", -EACCES, "the session token has expired"},
    {"QuotaExceeded", -ENOSPC, NULL},
};

static int error_of(long status, const struct error_code *error, const char **what)
{
    *what = NULL;
    for (size_t i = 0; i < sizeof CODES / sizeof CODES[0]; i++) {
        if (strcmp(CODES[i].code, error->code) == 0) {
            *what = CODES[i].what;
            return CODES[i].rc;
        }
    }
    return status == 404 ? -ENOENT : status == 401 || status == 403 ? -EACCES : -EIO;
}

/* 5xx, 429, 408 and what was damaged on its way may go well another time. */
static bool may_pass(long status, const struct error_code *error)
{
    return status >= 500 || status == 429 || status == 408 || status == 409 ||
           strcmp(error->code, "BadDigest") == 0 ||
           strcmp(error->code, "XAmzContentSHA256Mismatch") == 0 ||
           strcmp(error->code, "RequestTimeout") == 0;
}

static enum s3_verdict fail(struct s3_call *call, long status)
{
    struct error_code error;
    const char *what;
    char why[OBJECT_TEXT_BYTES];

    read_error(call, &error);
    int rc = error_of(status, &error, &what);
    snprintf(why, sizeof why, "the server says %ld %s%s%s%s%s", status, error.code,
             error.message[0] != '\0' ? ": " : "", error.message, what != NULL ? "; " : "",
             what != NULL ? what : "");
    set_failure(call, rc, why);
    return may_pass(status, &error) ? S3_AGAIN : S3_DONE;
}

static enum s3_verdict done(struct s3_call *call)
{
    set_failure(call, 0, "");
    return S3_DONE;
}

static enum s3_verdict next(struct s3_call *call, enum s3_step step)
{
    call->step = step;
    call->tries = 0;
    return S3_NEXT;
}

/* The same step again, which is now another one. */
static enum s3_verdict again(struct s3_call *call, enum s3_step step)
{
    call->step = step;
    return S3_AGAIN;
}

/* ---- PUT ---- */

static bool is_conditional(const struct s3_call *call)
{
    return call->call.only_new && !call->s3->no_condition;
}

/* `status` 0: the request failed on its way, the server may have done it all the same. */
static enum s3_verdict end_put(struct s3_call *call, long status)
{
    if (status >= 200 && status < 300) {
        return done(call);
    }
    if (status == 501 && is_conditional(call)) {
        call->s3->no_condition = true;
        return next(call, S3_STEP_LOOK);
    }
    if (status == 412 && call->call.only_new) {
        return next(call, S3_STEP_COMPARE);
    }
    enum s3_verdict verdict = status == 0 ? S3_AGAIN : fail(call, status);
    return verdict == S3_AGAIN && call->call.only_new ? again(call, S3_STEP_COMPARE) : verdict;
}

/* Is what is there ours? */
static enum s3_verdict end_compare(struct s3_call *call, long status)
{
    struct error_code error;

    if (status >= 200 && status < 300) {
        if (!call->differs && call->compared == call->call.body.size) {
            return done(call);
        }
        set_failure(call, -EEXIST, "an object of that name with other bytes is there");
        return S3_DONE;
    }
    read_error(call, &error);
    if (status == 404 && strcmp(error.code, "NoSuchBucket") != 0) {
        return call->tries > 0 ? again(call, S3_STEP_PUT) : next(call, S3_STEP_PUT);
    }
    return fail(call, status);
}

/* ---- Parts ---- */

static void on_upload_text(void *context, const char *parent, const char *element, const char *text)
{
    struct s3_call *call = context;

    (void)parent;
    if (strcmp(element, "UploadId") == 0) {
        snprintf(call->upload_id, sizeof call->upload_id, "%s", text);
    }
}

static enum s3_verdict end_begin_parts(struct s3_call *call)
{
    const struct s3_xml_visitor visitor = {.text = on_upload_text, .context = call};

    call->upload_id[0] = '\0';
    int rc = s3_xml_visit(buffer_bytes(&call->body), &visitor);
    if (rc != 0 || call->upload_id[0] == '\0') {
        set_failure(call, rc != 0 ? rc : -EIO, "the server's answer has no id of an upload");
        return S3_DONE;
    }
    return next(call, S3_STEP_PART);
}

static enum s3_verdict end_part(struct s3_call *call)
{
    const struct s3_options *options = &call->s3->options;

    if (call->tag_count == call->tag_capacity) {
        uint32_t capacity = call->tag_capacity == 0 ? 16 : 2 * call->tag_capacity;
        struct s3_tag *tags = realloc(call->tags, capacity * sizeof *tags);
        if (tags == NULL) {
            set_failure(call, -ENOMEM, strerror(ENOMEM));
            return S3_DONE;
        }
        call->tags = tags;
        call->tag_capacity = capacity;
    }
    call->tags[call->tag_count++] = call->tag;
    bool whole = call->tag_count * options->part_bytes >= call->call.body.size;
    return next(call, whole ? S3_STEP_END_PARTS : S3_STEP_PART);
}

/* 200 may come before the end is known: what it became is in the body. */
static enum s3_verdict end_end_parts(struct s3_call *call)
{
    struct error_code error;

    read_error(call, &error);
    if (error.code[0] != '\0') {
        return fail(call, 500);
    }
    return done(call);
}

/* ---- What others began ---- */

static enum s3_verdict next_upload(struct s3_call *call)
{
    const struct s3_uploads *uploads = &call->uploads;
    bool left = call->looked_at < uploads->count;

    if (left && call->aborted.count < OBJECT_LIST_MAX) {
        return next(call, S3_STEP_ABORT_UPLOAD);
    }
    if (!left && uploads->more && uploads->count > 0) {
        return next(call, S3_STEP_LIST_UPLOADS); /* Those that made it long are gone. */
    }
    call->aborted.more = left || uploads->more;
    return done(call);
}

static enum s3_verdict end_list_uploads(struct s3_call *call)
{
    s3_uploads_fini(&call->uploads);
    call->looked_at = 0;
    int rc = s3_uploads_read(&call->uploads, buffer_bytes(&call->body), call->s3->target.prefix,
                             call->call.before_ms);
    if (rc != 0) {
        set_failure(call, rc, "the server's list of uploads cannot be read");
        return S3_DONE;
    }
    return next_upload(call);
}

/* By this call, or by somebody else. */
static enum s3_verdict end_abort_upload(struct s3_call *call)
{
    int rc = object_list_add(&call->aborted, call->uploads.table[call->looked_at++].name, 0);

    if (rc != 0) {
        set_failure(call, rc, strerror(-rc));
        return S3_DONE;
    }
    return next_upload(call);
}

/* ---- The verdict ---- */

static enum s3_verdict end_good(struct s3_call *call)
{
    switch (call->step) {
    case S3_STEP_BEGIN_PARTS:
        return end_begin_parts(call);
    case S3_STEP_PART:
        return end_part(call);
    case S3_STEP_END_PARTS:
        return end_end_parts(call);
    case S3_STEP_ABORT_PARTS:
        return S3_DONE; /* With the failure that it cleans up after. */
    case S3_STEP_LIST_UPLOADS:
        return end_list_uploads(call);
    case S3_STEP_ABORT_UPLOAD:
        return end_abort_upload(call);
    default:
        return done(call);
    }
}

/* The upload is gone: it was ended by a try whose answer was lost, or by somebody else. */
static bool upload_is_gone(const struct s3_call *call, long status)
{
    return status == 404 && (call->step == S3_STEP_END_PARTS || call->step == S3_STEP_ABORT_PARTS);
}

static enum s3_verdict end_bad(struct s3_call *call, long status)
{
    if (call->step == S3_STEP_REMOVE && status == 404) {
        struct error_code error;
        read_error(call, &error);
        if (strcmp(error.code, "NoSuchBucket") != 0) {
            return done(call);
        }
    }
    if (call->step == S3_STEP_GET && status == 416) {
        call->body.size = 0; /* Behind its end there is nothing. */
        call->size = 0;
        return done(call);
    }
    if (call->step == S3_STEP_ABORT_PARTS) {
        return S3_DONE;
    }
    if (call->step == S3_STEP_ABORT_UPLOAD && status == 404) {
        return end_abort_upload(call);
    }
    if (upload_is_gone(call, status)) {
        return next(call, S3_STEP_COMPARE);
    }
    return fail(call, status);
}

/* No answer, or not all of it. */
static enum s3_verdict end_without_answer(struct s3_call *call, CURLcode code)
{
    char why[OBJECT_TEXT_BYTES];

    if (call->too_large) {
        set_failure(call, call->step == S3_STEP_GET ? -EFBIG : -EIO,
                    "the answer is larger than it may be");
        return S3_DONE;
    }
    if (call->step == S3_STEP_ABORT_PARTS) {
        return S3_DONE;
    }
    snprintf(why, sizeof why, "%s",
             call->error[0] != '\0' ? call->error : curl_easy_strerror(code));
    set_failure(call, code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EIO, why);
    return call->step == S3_STEP_PUT ? end_put(call, 0) : S3_AGAIN;
}

enum s3_verdict s3_step_end(struct s3_call *call, CURLcode code)
{
    long status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    bool comparing = call->step == S3_STEP_COMPARE || call->step == S3_STEP_LOOK;
    if (code != CURLE_OK && !(comparing && call->differs)) {
        return end_without_answer(call, code);
    }
    if (comparing) {
        return end_compare(call, status);
    }
    if (call->step == S3_STEP_PUT) {
        return end_put(call, status);
    }
    return status >= 200 && status < 300 ? end_good(call) : end_bad(call, status);
}
