#include "s3_target.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char endpoint_text[] =
    "an endpoint is http:// or https://, a host, and perhaps : and a port";

static int refuse(char *message, size_t message_size, const char *what, const char *text)
{
    snprintf(message, message_size, "%s: %s", what, text);
    return -EINVAL;
}

/* As Amazon's rules say ("Bucket naming rules"): nothing in it means anything in a URL. */
static bool is_bucket(const char *name)
{
    size_t size = strlen(name);

    if (size < 3 || size > S3_BUCKET_BYTES_MAX) {
        return false;
    }
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
           size;
}

/* The host of an endpoint, with its port, and what stands before it. */
static int take_endpoint(struct s3_target *target, const struct s3_options *options, char *message,
                         size_t message_size)
{
    char amazon[S3_HOST_BYTES_MAX];
    const char *endpoint = options->endpoint, *scheme = "https://";

    if (endpoint == NULL) {
        snprintf(amazon, sizeof amazon, "https://s3.%s.amazonaws.com", target->region);
        endpoint = amazon;
    }
    if (strncmp(endpoint, "http://", 7) == 0) {
        scheme = "http://";
    } else if (strncmp(endpoint, "https://", 8) != 0) {
        return refuse(message, message_size, endpoint, endpoint_text);
    }
    const char *host = endpoint + strlen(scheme);
    size_t size = strcspn(host, "/");
    bool rest = host[size] != '\0' && strcmp(host + size, "/") != 0;
    if (size == 0 || size > S3_HOST_BYTES_MAX || rest || strcspn(host, "@?# ") < size) {
        return refuse(message, message_size, endpoint, endpoint_text);
    }
    if (options->path_style) {
        snprintf(target->host, sizeof target->host, "%.*s", (int)size, host);
    } else {
        snprintf(target->host, sizeof target->host, "%s.%.*s", target->bucket, (int)size, host);
    }
    snprintf(target->origin, sizeof target->origin, "%s%s", scheme, target->host);
    return 0;
}

/* Copies of texts, one behind the other. */
static const char *keep(char **at, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    char *kept = *at;
    size_t size = strlen(text) + 1;
    memcpy(kept, text, size);
    *at += size;
    return kept;
}

static int take_texts(struct s3_target *target, const struct s3_options *options)
{
    const char *texts[] = {options->access_key, options->secret_key, options->session_token,
                           options->ca_file};

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        target->texts_size += texts[i] == NULL ? 0 : strlen(texts[i]) + 1;
    }
    target->texts = malloc(target->texts_size);
    if (target->texts == NULL) {
        return -ENOMEM;
    }
    char *at = target->texts;
    target->credentials.access_key = keep(&at, options->access_key);
    target->credentials.secret_key = keep(&at, options->secret_key);
    target->credentials.session_token = keep(&at, options->session_token);
    target->ca_file = keep(&at, options->ca_file);
    return 0;
}

int s3_target_init(struct s3_target *target, const struct s3_options *options, char *message,
                   size_t message_size)
{
    const char *prefix = options->prefix == NULL ? "" : options->prefix;
    const char *region = options->region == NULL ? "us-east-1" : options->region;

    *target = (struct s3_target){0};
    if (!is_bucket(options->bucket)) {
        return refuse(message, message_size, options->bucket,
                      "a bucket's name has 3 to 63 letters, digits, dots and hyphens");
    }
    if (strlen(prefix) > OBJECT_NAME_BYTES_MAX) {
        return refuse(message, message_size, prefix, "the prefix is longer than 512 bytes");
    }
    if (strlen(region) >= sizeof target->region ||
        strspn(region, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(region)) {
        return refuse(message, message_size, region, "no such region can be");
    }
    if (options->access_key == NULL || options->secret_key == NULL ||
        options->access_key[0] == '\0') {
        return refuse(message, message_size, "credentials",
                      "there are none: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
    }
    strcpy(target->bucket, options->bucket);
    strcpy(target->prefix, prefix);
    strcpy(target->region, region);
    int rc = take_endpoint(target, options, message, message_size);
    if (rc == 0) {
        rc = take_texts(target, options);
        if (rc != 0) {
            snprintf(message, message_size, "%s", strerror(-rc));
        }
    }
    return rc;
}

void s3_target_fini(struct s3_target *target)
{
    OPENSSL_cleanse(target->texts, target->texts_size);
    free(target->texts);
    *target = (struct s3_target){0};
}
