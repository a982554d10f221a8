/* Signing a request as AWS Signature Version 4 asks ("Signature Version 4 signing process", AWS General Reference;
 * "Authenticating Requests", Amazon S3 API Reference).
 *
 * Pure functions over the caller's memory; no clock is read: the request says when it is made. Threads: any.
 */
#ifndef SIGV4_H
#define SIGV4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
    SIGV4_DATE_BYTES = sizeof "20150830T123600Z",
    SIGV4_HASH_BYTES = 65, /* SHA-256 in hexadecimal, and the end. */
    SIGV4_HEADERS_MAX = 16,
    SIGV4_SCOPE_BYTES_MAX = 128, /* Of region and service in a scope. */
    SIGV4_AUTHORIZATION_BYTES_MAX = 1024,
};

struct sigv4_credentials {
    const char *access_key, *secret_key;
    const char *
        session_token; /* NULL: none. Whoever has one sends it as the header x-amz-security-token. */
};

struct sigv4_header {
    const char *name; /* In small letters. */
    const char *value;
};

struct sigv4_request {
    const char *method;
    const char *path; /* As it is sent: encoded once (sigv4_encode()), beginning with '/'. */
    const char *
        query; /* As it is sent: encoded, parameters in the order of their names, each with '='; "" for none. */
    const char *
        date; /* sigv4_date(); also sent as the header x-amz-date, which is to be among those below. */
    const char *payload_hash; /* sigv4_hash() of the body, or "UNSIGNED-PAYLOAD". */
    const struct sigv4_header
        *headers; /* Those that are signed, host among them, in the order of their names. */
    uint32_t header_count; /* At most SIGV4_HEADERS_MAX. */
};

/* `seconds` since 1970 as 20150830T123600Z. */
void sigv4_date(uint64_t seconds, char date[SIGV4_DATE_BYTES]);

/* SHA-256 of a body, in small hexadecimal digits. */
void sigv4_hash(struct bytes body, char hash[SIGV4_HASH_BYTES]);

/* Append `text` to the string in `to` with all but the unreserved characters of RFC 3986 as %XX, '/' too unless it is
 * to be kept. Returns false, with `to` as it was, where it does not fit into `size`. */
bool sigv4_encode(char *to, size_t size, const char *text, bool keep_slash);

/* Write the value of the header Authorization. Returns 0 or -ENOSPC: too long. */
int sigv4_authorization(const struct sigv4_request *request,
                        const struct sigv4_credentials *credentials, const char *region,
                        const char *service, char authorization[SIGV4_AUTHORIZATION_BYTES_MAX]);

#endif
