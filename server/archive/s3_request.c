/* One request of a call: its URL, headers, body, and where the answer goes. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "s3_state.h"

static_assert((int)OBJECT_HASH_BYTES == (int)SIGV4_HASH_BYTES, "it is the same");

enum { QUERY_BYTES_MAX = 4 * 1024, PATH_BYTES_MAX = 3 * (OBJECT_NAME_BYTES_MAX * 2 + 64) + 2 };

static bool is_comparing(const struct s3_call *call)
{
    return call->step == S3_STEP_COMPARE || call->step == S3_STEP_LOOK;
}

/* ---- The answer ---- */

static size_t most_bytes(const struct s3_call *call)
{
    long status = 0;

    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 300) {
        return S3_ERROR_BYTES_MAX;
    }
    switch (call->step) {
    case S3_STEP_GET:
        return (size_t)call->call.bytes_max;
    case S3_STEP_LIST:
    case S3_STEP_LIST_UPLOADS:
        return OBJECT_LIST_BYTES_MAX;
    default:
        return S3_ERROR_BYTES_MAX;
    }
}

static void compare(struct s3_call *call, struct bytes more)
{
    struct bytes ours = call->call.body;

    if (more.size > ours.size - call->compared ||
        memcmp(ours.data + call->compared, more.data, more.size) != 0) {
        call->differs = true;
    } else {
        call->compared += more.size;
    }
}

static size_t on_body(char *data, size_t one, size_t size, void *context)
{
    struct s3_call *call = context;
    long status = 0;

    (void)one;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (is_comparing(call) && status < 300) {
        compare(call, bytes_of(data, size));
        return call->differs ? 0 : size;
    }
    if (call->body.size + size > most_bytes(call)) {
        call->too_large = true;
        return 0;
    }
    return buffer_append(&call->body, bytes_of(data, size)) == 0 ? size : 0;
}

/* The value of a header line, if it is of that name. */
static const char *header_value(const char *line, const char *name)
{
    size_t size = strlen(name);

    if (strncasecmp(line, name, size) != 0 || line[size] != ':') {
        return NULL;
    }
    line += size + 1;
    while (*line == ' ') {
        line++;
    }
    return line;
}

static size_t on_header(char *data, size_t one, size_t size, void *context)
{
    struct s3_call *call = context;
    char line[256];
    size_t used = size < sizeof line - 1 ? size : sizeof line - 1;

    (void)one;
    while (used > 0 && isspace((unsigned char)data[used - 1])) {
        used--;
    }
    memcpy(line, data, used);
    line[used] = '\0';
    const char *value = header_value(line, "etag");
    if (value != NULL && strlen(value) < sizeof call->tag.text) {
        strcpy(call->tag.text, value);
    }
    value = header_value(line, "content-length");
    if (value != NULL && call->size == 0) {
        call->size = strtoull(value, NULL, 10);
    }
    value = header_value(line, "content-range");
    value = value == NULL ? NULL : strchr(value, '/');
    if (value != NULL) {
        call->size = strtoull(value + 1, NULL, 10);
    }
    return size;
}

/* ---- The request ---- */

static bool has_object(const struct s3_call *call)
{
    return call->step != S3_STEP_LIST && call->step != S3_STEP_LIST_UPLOADS;
}

static const char *name_of(const struct s3_call *call)
{
    bool other = call->step == S3_STEP_ABORT_UPLOAD;

    return other ? call->uploads.table[call->looked_at].name : call->name;
}

/* The path as it is sent. */
static int make_path(const struct s3_call *call, char path[PATH_BYTES_MAX])
{
    const struct s3 *s3 = call->s3;
    bool fits = true;

    path[0] = '\0';
    if (s3->options.path_style) {
        fits = sigv4_encode(path, PATH_BYTES_MAX, "/", true) &&
               sigv4_encode(path, PATH_BYTES_MAX, s3->target.bucket, false);
    }
    fits = fits && sigv4_encode(path, PATH_BYTES_MAX, "/", true);
    if (fits && has_object(call)) {
        fits = sigv4_encode(path, PATH_BYTES_MAX, s3->target.prefix, true) &&
               sigv4_encode(path, PATH_BYTES_MAX, name_of(call), true);
    }
    return fits ? 0 : -EINVAL;
}

/* Append a parameter; the caller keeps them in order. */
static bool add_parameter(char query[QUERY_BYTES_MAX], const char *name, const char *first,
                          const char *second)
{
    size_t used = strlen(query);
    int more = snprintf(query + used, QUERY_BYTES_MAX - used, "%s%s=", used > 0 ? "&" : "", name);

    return more > 0 && (size_t)more < QUERY_BYTES_MAX - used &&
           sigv4_encode(query, QUERY_BYTES_MAX, first, false) &&
           sigv4_encode(query, QUERY_BYTES_MAX, second, false);
}

static int make_query(const struct s3_call *call, char query[QUERY_BYTES_MAX])
{
    char number[24];
    bool fits = true;

    query[0] = '\0';
    switch (call->step) {
    case S3_STEP_LIST:
        snprintf(number, sizeof number, "%u", (unsigned)OBJECT_LIST_MAX);
        fits = add_parameter(query, "list-type", "2", "") &&
               add_parameter(query, "max-keys", number, "") &&
               add_parameter(query, "prefix", call->s3->target.prefix, call->name) &&
               (call->call.after == NULL ||
                add_parameter(query, "start-after", call->s3->target.prefix, call->after));
        break;
    case S3_STEP_BEGIN_PARTS:
        fits = add_parameter(query, "uploads", "", "");
        break;
    case S3_STEP_PART:
        snprintf(number, sizeof number, "%u", call->tag_count + 1);
        fits = add_parameter(query, "partNumber", number, "") &&
               add_parameter(query, "uploadId", call->upload_id, "");
        break;
    case S3_STEP_END_PARTS:
    case S3_STEP_ABORT_PARTS:
        fits = add_parameter(query, "uploadId", call->upload_id, "");
        break;
    case S3_STEP_LIST_UPLOADS:
        snprintf(number, sizeof number, "%u", (unsigned)S3_UPLOADS_MAX);
        fits = add_parameter(query, "max-uploads", number, "") &&
               add_parameter(query, "prefix", call->s3->target.prefix, call->name) &&
               add_parameter(query, "uploads", "", "");
        break;
    case S3_STEP_ABORT_UPLOAD:
        fits = add_parameter(query, "uploadId", call->uploads.table[call->looked_at].id, "");
        break;
    default:
        break;
    }
    return fits ? 0 : -EINVAL;
}

static const char *method_of(enum s3_step step)
{
    switch (step) {
    case S3_STEP_PUT:
    case S3_STEP_PART:
        return "PUT";
    case S3_STEP_BEGIN_PARTS:
    case S3_STEP_END_PARTS:
        return "POST";
    case S3_STEP_REMOVE:
    case S3_STEP_ABORT_PARTS:
    case S3_STEP_ABORT_UPLOAD:
        return "DELETE";
    default:
        return "GET";
    }
}

/* The list of parts that ends an upload. */
static int make_parts(struct s3_call *call)
{
    call->request.size = 0;
    int rc = buffer_append(&call->request, bytes_of_string("<CompleteMultipartUpload>"));

    for (uint32_t i = 0; rc == 0 && i < call->tag_count; i++) {
        char part[S3_TAG_BYTES + 96];
        snprintf(part, sizeof part, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>",
                 i + 1, call->tags[i].text);
        rc = buffer_append(&call->request, bytes_of_string(part));
    }
    return rc != 0 ? rc
                   : buffer_append(&call->request, bytes_of_string("</CompleteMultipartUpload>"));
}

static struct bytes body_of(const struct s3_call *call)
{
    struct bytes whole = call->call.body;

    switch (call->step) {
    case S3_STEP_PUT:
        return whole;
    case S3_STEP_PART: {
        size_t from = (size_t)(call->tag_count * call->s3->options.part_bytes),
               left = whole.size - from;
        size_t size =
            left < call->s3->options.part_bytes ? left : (size_t)call->s3->options.part_bytes;
        return bytes_of(whole.data + from, size);
    }
    case S3_STEP_END_PARTS:
        return buffer_bytes(&call->request);
    default:
        return bytes_of("", 0);
    }
}

/* Append "NAME: VALUE". */
static int add_header(struct s3_call *call, const char *name, const char *value)
{
    char line[SIGV4_AUTHORIZATION_BYTES_MAX + 2048];
    int size = snprintf(line, sizeof line, "%s: %s", name, value);

    if (size < 0 || (size_t)size >= sizeof line) {
        return -EINVAL;
    }
    struct curl_slist *more = curl_slist_append(call->headers, line);
    if (more == NULL) {
        return -ENOMEM;
    }
    call->headers = more;
    return 0;
}

/* Headers that are signed go in the order of their names. */
static int add_headers(struct s3_call *call, const char *path, const char *query, struct bytes body)
{
    const struct s3 *s3 = call->s3;
    struct sigv4_header headers[SIGV4_HEADERS_MAX];
    char date[SIGV4_DATE_BYTES], hash[SIGV4_HASH_BYTES], range[64];
    char authorization[SIGV4_AUTHORIZATION_BYTES_MAX];
    uint32_t count = 0;

    sigv4_date(s3->options.now_ms() / 1000, date);
    if (call->step == S3_STEP_PUT && call->hash[0] != '\0') {
        memcpy(hash, call->hash, sizeof hash);
    } else {
        sigv4_hash(body, hash);
    }
    headers[count++] = (struct sigv4_header){"host", s3->target.host};
    if (call->step == S3_STEP_PUT && call->call.only_new && !s3->no_condition) {
        headers[count++] = (struct sigv4_header){"if-none-match", "*"};
    }
    if (call->step == S3_STEP_GET && call->call.part) {
        snprintf(range, sizeof range, "bytes=%llu-%llu", (unsigned long long)call->call.offset,
                 (unsigned long long)(call->call.offset + call->call.bytes_max - 1));
        headers[count++] = (struct sigv4_header){"range", range};
    }
    headers[count++] = (struct sigv4_header){"x-amz-content-sha256", hash};
    headers[count++] = (struct sigv4_header){"x-amz-date", date};
    if (s3->target.credentials.session_token != NULL) {
        headers[count++] =
            (struct sigv4_header){"x-amz-security-token", s3->target.credentials.session_token};
    }
    const struct sigv4_request request = {
        .method = method_of(call->step),
        .path = path,
        .query = query,
        .date = date,
        .payload_hash = hash,
        .headers = headers,
        .header_count = count,
    };
    int rc = sigv4_authorization(&request, &s3->target.credentials, s3->target.region, "s3",
                                 authorization);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = add_header(call, headers[i].name, headers[i].value);
    }
    if (rc == 0) {
        rc = add_header(call, "authorization", authorization);
    }
    /* libcurl's own of these would only cost a round. */
    static const char *const none[] = {"Expect:", "Content-Type:", "Accept:"};
    for (size_t i = 0; rc == 0 && i < sizeof none / sizeof none[0]; i++) {
        struct curl_slist *more = curl_slist_append(call->headers, none[i]);
        rc = more == NULL ? -ENOMEM : 0;
        call->headers = more == NULL ? call->headers : more;
    }
    return rc;
}

static int set_options(struct s3_call *call, const char *url, struct bytes body)
{
    const struct s3 *s3 = call->s3;
    CURL *easy = call->easy;
    const char *method = method_of(call->step);
    bool good = curl_easy_setopt(easy, CURLOPT_URL, url) == CURLE_OK &&
                curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method) == CURLE_OK;

    if (strcmp(method, "PUT") == 0 || strcmp(method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.size == 0 ? "" : (const char *)body.data);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.size);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)s3->options.try_ms);
    /* No progress for so long: a server that hangs. In whole seconds, at least one. */
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)((s3->options.try_ms + 999) / 1000));
    if (s3->target.ca_file != NULL) {
        good = good && curl_easy_setopt(easy, CURLOPT_CAINFO, s3->target.ca_file) == CURLE_OK;
    }
    return good ? 0 : -ENOMEM;
}

void s3_step_clear(struct s3_call *call)
{
    if (call->easy != NULL) {
        curl_easy_cleanup(call->easy);
        call->easy = NULL;
    }
    curl_slist_free_all(call->headers);
    call->headers = NULL;
}

int s3_step_begin(struct s3_call *call)
{
    char path[PATH_BYTES_MAX], query[QUERY_BYTES_MAX],
        url[S3_ORIGIN_BYTES_MAX + PATH_BYTES_MAX + QUERY_BYTES_MAX + 2];

    call->body.size = 0;
    call->compared = 0;
    call->differs = call->too_large = false;
    call->size = 0;
    call->tag.text[0] = call->error[0] = '\0';
    int rc = call->step == S3_STEP_END_PARTS ? make_parts(call) : 0;
    if (rc == 0) {
        rc = make_path(call, path);
    }
    if (rc == 0) {
        rc = make_query(call, query);
    }
    if (rc != 0) {
        return rc;
    }
    int size = snprintf(url, sizeof url, "%s%s%s%s", call->s3->target.origin, path,
                        query[0] != '\0' ? "?" : "", query);
    if (size < 0 || (size_t)size >= sizeof url) {
        return -EINVAL;
    }
    struct bytes body = body_of(call);
    call->easy = curl_easy_init();
    rc = call->easy == NULL ? -ENOMEM : add_headers(call, path, query, body);
    if (rc == 0) {
        rc = set_options(call, url, body);
    }
    if (rc != 0) {
        s3_step_clear(call);
    }
    return rc;
}
