#include "sigv4.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { DAY_BYTES = sizeof "20150830" - 1 };

/* ---- Pieces ---- */

static void put_hex(char *to, const uint8_t *from, size_t size)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < size; i++) {
        *to++ = digits[from[i] >> 4];
        *to++ = digits[from[i] & 15];
    }
    *to = '\0';
}

void sigv4_date(uint64_t seconds, char date[SIGV4_DATE_BYTES])
{
    time_t time = (time_t)seconds;
    struct tm parts;

    gmtime_r(&time, &parts);
    size_t size = strftime(date, SIGV4_DATE_BYTES, "%Y%m%dT%H%M%SZ", &parts);
    assert(size == SIGV4_DATE_BYTES - 1);
    (void)size;
}

void sigv4_hash(struct bytes body, char hash[SIGV4_HASH_BYTES])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];

    SHA256(body.size == 0 ? (const uint8_t *)"" : body.data, body.size, digest);
    put_hex(hash, digest, sizeof digest);
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

bool sigv4_encode(char *to, size_t size, const char *text, bool keep_slash)
{
    size_t begin = strlen(to), at = begin;

    for (; *text != '\0'; text++) {
        bool plain = is_unreserved(*text) || (*text == '/' && keep_slash);
        if (at + (plain ? 1 : 3) >= size) {
            to[begin] = '\0';
            return false;
        }
        if (plain) {
            to[at++] = *text;
        } else {
            at += (size_t)snprintf(to + at, size - at, "%%%02X", (unsigned char)*text);
        }
    }
    to[at] = '\0';
    return true;
}

/* ---- The signature ---- */

static void hash_text(EVP_MD_CTX *hash, const char *text)
{
    EVP_DigestUpdate(hash, text, strlen(text));
}

static void hash_names(EVP_MD_CTX *hash, const struct sigv4_request *request)
{
    for (uint32_t i = 0; i < request->header_count; i++) {
        hash_text(hash, i == 0 ? "" : ";");
        hash_text(hash, request->headers[i].name);
    }
}

/* The hash of the canonical request. */
static bool hash_request(const struct sigv4_request *request, char hex[SIGV4_HASH_BYTES])
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1;

    if (good) {
        const char *lines[] = {request->method, request->path, request->query};
        for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
            hash_text(hash, lines[i]);
            hash_text(hash, "\n");
        }
        for (uint32_t i = 0; i < request->header_count; i++) {
            hash_text(hash, request->headers[i].name);
            hash_text(hash, ":");
            hash_text(hash, request->headers[i].value);
            hash_text(hash, "\n");
        }
        hash_text(hash, "\n");
        hash_names(hash, request);
        hash_text(hash, "\n");
        hash_text(hash, request->payload_hash);
        good = EVP_DigestFinal_ex(hash, digest, NULL) == 1;
        put_hex(hex, digest, sizeof digest);
    }
    EVP_MD_CTX_free(hash);
    return good;
}

static void sign(const uint8_t *key, size_t key_size, const char *text,
                 uint8_t mac[SHA256_DIGEST_LENGTH])
{
    HMAC(EVP_sha256(), key, (int)key_size, (const uint8_t *)text, strlen(text), mac, NULL);
}

/* The key of a day, region and service. Returns false where the secret is too long. */
static bool make_key(const char *secret, const char *day, const char *region, const char *service,
                     uint8_t key[SHA256_DIGEST_LENGTH])
{
    char first[256];
    int size = snprintf(first, sizeof first, "AWS4%s", secret);

    if (size < 0 || (size_t)size >= sizeof first) {
        return false;
    }
    sign((const uint8_t *)first, (size_t)size, day, key);
    OPENSSL_cleanse(first, sizeof first);
    const char *rest[] = {region, service, "aws4_request"};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        uint8_t next[SHA256_DIGEST_LENGTH];
        sign(key, SHA256_DIGEST_LENGTH, rest[i], next);
        memcpy(key, next, sizeof next);
    }
    return true;
}

/* Append to the string in `to`. Returns whether it fitted. */
static bool append(char *to, size_t size, const char *text)
{
    size_t used = strlen(to), more = strlen(text);

    if (used + more >= size) {
        return false;
    }
    memcpy(to + used, text, more + 1);
    return true;
}

int sigv4_authorization(const struct sigv4_request *request,
                        const struct sigv4_credentials *credentials, const char *region,
                        const char *service, char authorization[SIGV4_AUTHORIZATION_BYTES_MAX])
{
    char day[DAY_BYTES + 1], hash[SIGV4_HASH_BYTES], signature[SIGV4_HASH_BYTES];
    char scope[SIGV4_SCOPE_BYTES_MAX], text[SIGV4_SCOPE_BYTES_MAX + 256];
    uint8_t key[SHA256_DIGEST_LENGTH], mac[SHA256_DIGEST_LENGTH];

    assert(request->header_count <= SIGV4_HEADERS_MAX);
    memcpy(day, request->date, DAY_BYTES);
    day[DAY_BYTES] = '\0';
    int size = snprintf(scope, sizeof scope, "%s/%s/%s/aws4_request", day, region, service);
    if (size < 0 || (size_t)size >= sizeof scope ||
        !make_key(credentials->secret_key, day, region, service, key)) {
        return -ENOSPC;
    }
    if (!hash_request(request, hash)) {
        return -ENOMEM;
    }
    snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", request->date, scope, hash);
    sign(key, sizeof key, text, mac);
    put_hex(signature, mac, sizeof mac);

    size = snprintf(authorization, SIGV4_AUTHORIZATION_BYTES_MAX,
                    "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", credentials->access_key,
                    scope);
    bool fits = size >= 0 && size < SIGV4_AUTHORIZATION_BYTES_MAX;
    for (uint32_t i = 0; fits && i < request->header_count; i++) {
        fits = append(authorization, SIGV4_AUTHORIZATION_BYTES_MAX, i == 0 ? "" : ";") &&
               append(authorization, SIGV4_AUTHORIZATION_BYTES_MAX, request->headers[i].name);
    }
    fits = fits && append(authorization, SIGV4_AUTHORIZATION_BYTES_MAX, ",Signature=") &&
           append(authorization, SIGV4_AUTHORIZATION_BYTES_MAX, signature);
    return fits ? 0 : -ENOSPC;
}
