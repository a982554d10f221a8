#include "archive_place.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "object_files.h"
#include "s3.h"

enum { SECRET_BYTES_MAX = 4096 };

static const char s3_scheme[] = "s3://", file_scheme[] = "file://";

/* What a credentials file, or the environment, says. */
struct credentials {
    char access_key[SECRET_BYTES_MAX], secret_key[SECRET_BYTES_MAX],
        session_token[SECRET_BYTES_MAX];
};

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is_given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

/* What was given, else what the environment has; NULL: neither. */
static const char *or_environment(const char *given, const char *name, const char *other)
{
    if (is_given(given)) {
        return given;
    }
    const char *found = getenv(name);
    if (!is_given(found) && other != NULL) {
        found = getenv(other);
    }
    return is_given(found) ? found : NULL;
}

int archive_place_check(const char *url, char *message, size_t message_size)
{
    if (begins(url, s3_scheme)) {
        const char *bucket = url + strlen(s3_scheme);
        if (bucket[0] != '\0' && bucket[0] != '/') {
            return 0;
        }
        snprintf(message, message_size, "'%.200s' names no bucket: s3://BUCKET/PREFIX", url);
        return -EINVAL;
    }
    if (begins(url, file_scheme)) {
        if (url[strlen(file_scheme)] == '/' && url[strlen(file_scheme) + 1] != '\0') {
            return 0;
        }
        snprintf(message, message_size,
                 "'%.200s' is no absolute path of a directory: file:///DIRECTORY", url);
        return -EINVAL;
    }
    snprintf(message, message_size, "'%.200s' is neither s3://BUCKET/PREFIX nor file:///DIRECTORY",
             url);
    return -EINVAL;
}

/* ---- Credentials ---- */

static char *trim(char *text)
{
    while (*text == ' ' || *text == '\t') {
        text++;
    }
    size_t size = strlen(text);
    while (size > 0 &&
           (text[size - 1] == ' ' || text[size - 1] == '\t' || text[size - 1] == '\r')) {
        size--;
    }
    text[size] = '\0';
    return text;
}

static void take(const char *name, const char *value, struct credentials *found)
{
    char *to = strcmp(name, "aws_access_key_id") == 0       ? found->access_key
               : strcmp(name, "aws_secret_access_key") == 0 ? found->secret_key
               : strcmp(name, "aws_session_token") == 0     ? found->session_token
                                                            : NULL;

    if (to != NULL && strlen(value) < SECRET_BYTES_MAX) {
        strcpy(to, value);
    }
}

/* Takes the text apart, line by line, in its place. */
static void parse(char *text, const char *profile, struct credentials *found)
{
    bool ours = false;
    char *rest = text, *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        line = trim(line);
        char *end = line + strlen(line), *equals = strchr(line, '=');
        if (line[0] == '[' && end > line + 1 && end[-1] == ']') {
            end[-1] = '\0';
            ours = strcmp(trim(line + 1), profile) == 0;
        } else if (ours && line[0] != '#' && line[0] != ';' && equals != NULL) {
            *equals = '\0';
            take(trim(line), trim(equals + 1), found);
        }
    }
}

static int read_file(const char *path, char text[], size_t text_size)
{
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return -errno;
    }
    for (;;) {
        ssize_t got = read(fd, text + size, text_size - 1 - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        int rc = got < 0 ? -errno : 0;
        if (got <= 0 || size + (size_t)got == text_size - 1) {
            close(fd);
            text[size] = '\0';
            return got > 0 ? -EFBIG : rc;
        }
        size += (size_t)got;
    }
}

static int from_file(const char *path, struct credentials *found, char *message,
                     size_t message_size)
{
    const char *profile = or_environment(NULL, "AWS_PROFILE", NULL);
    char *text = malloc(ARCHIVE_CREDENTIALS_BYTES_MAX);

    if (text == NULL) {
        snprintf(message, message_size, "out of memory");
        return -ENOMEM;
    }
    profile = profile != NULL ? profile : "default";
    int rc = read_file(path, text, ARCHIVE_CREDENTIALS_BYTES_MAX);
    if (rc != 0) {
        snprintf(message, message_size, "the credentials file %.300s: %s", path, strerror(-rc));
    } else {
        parse(text, profile, found);
        if (found->access_key[0] == '\0' || found->secret_key[0] == '\0') {
            snprintf(message, message_size,
                     "the credentials file %.300s has no aws_access_key_id and "
                     "aws_secret_access_key in [%.100s]",
                     path, profile);
            rc = -EINVAL;
        }
    }
    explicit_bzero(text, ARCHIVE_CREDENTIALS_BYTES_MAX);
    free(text);
    return rc;
}

static int find_credentials(const struct archive_place *place, struct credentials *found,
                            char *message, size_t message_size)
{
    const char *access_key = getenv("AWS_ACCESS_KEY_ID"),
               *secret_key = getenv("AWS_SECRET_ACCESS_KEY"),
               *session_token = getenv("AWS_SESSION_TOKEN");
    const char *file = or_environment(place->credentials_file, "AWS_SHARED_CREDENTIALS_FILE", NULL);

    if (is_given(access_key) && is_given(secret_key)) {
        take("aws_access_key_id", access_key, found);
        take("aws_secret_access_key", secret_key, found);
        if (is_given(session_token)) {
            take("aws_session_token", session_token, found);
        }
        return 0;
    }
    if (file != NULL) {
        return from_file(file, found, message, message_size);
    }
    snprintf(message, message_size,
             "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
             "archive.credentials_file");
    return -EINVAL;
}

/* ---- Which one it is ---- */

/* Without the slashes at its end. */
static void hash_text(const char *text, uint8_t digest[SHA256_DIGEST_LENGTH])
{
    size_t size = text == NULL ? 0 : strlen(text);

    while (size > 0 && text[size - 1] == '/') {
        size--;
    }
    SHA256((const uint8_t *)(text == NULL ? "" : text), size, digest);
}

uint64_t archive_place_id(const struct archive_place *place)
{
    uint8_t parts[2 * SHA256_DIGEST_LENGTH], digest[SHA256_DIGEST_LENGTH];
    bool is_s3 = begins(place->url, s3_scheme);

    hash_text(place->url, parts);
    hash_text(is_s3 ? or_environment(place->endpoint, "AWS_ENDPOINT_URL", NULL) : NULL,
              parts + SHA256_DIGEST_LENGTH);
    SHA256(parts, sizeof parts, digest);
    uint64_t id = load_u64(digest);
    return id == 0 ? 1 : id;
}

/* ---- Stores ---- */

static int open_bucket(uv_loop_t *loop, const struct archive_place *place,
                       const struct credentials *credentials, struct object_store **store,
                       char *message, size_t message_size)
{
    const char *from = place->url + strlen(s3_scheme);
    char bucket[OBJECT_NAME_BYTES_MAX], prefix[OBJECT_NAME_BYTES_MAX];
    size_t size = strcspn(from, "/");
    const char *below = from[size] == '/' ? from + size + 1 : "";
    size_t below_size = strlen(below);

    while (below_size > 0 && below[below_size - 1] == '/') {
        below_size--;
    }
    int bucket_size = snprintf(bucket, sizeof bucket, "%.*s", (int)size, from);
    int prefix_size = snprintf(prefix, sizeof prefix, "%.*s%s", (int)below_size, below,
                               below_size > 0 ? "/" : "");
    if (bucket_size >= (int)sizeof bucket || prefix_size >= (int)sizeof prefix) {
        snprintf(message, message_size, "the URL is too long");
        return -EINVAL;
    }
    const struct s3_options options = {
        .loop = loop,
        .bucket = bucket,
        .prefix = prefix,
        .endpoint = or_environment(place->endpoint, "AWS_ENDPOINT_URL", NULL),
        .region = or_environment(place->region, "AWS_REGION", "AWS_DEFAULT_REGION"),
        .path_style = place->path_style,
        .ca_file = is_given(place->ca_file) ? place->ca_file : NULL,
        .access_key = credentials->access_key,
        .secret_key = credentials->secret_key,
        .session_token = is_given(credentials->session_token) ? credentials->session_token : NULL,
        .try_ms = place->try_ms,
        .call_ms = place->call_ms,
    };
    return s3_create(&options, store, message, message_size);
}

int archive_place_open(uv_loop_t *loop, const struct archive_place *place,
                       struct object_store **store, char *message, size_t message_size)
{
    int rc = archive_place_check(place->url, message, message_size);

    if (rc != 0) {
        return rc;
    }
    if (begins(place->url, file_scheme)) {
        return object_files_create(loop, place->url + strlen(file_scheme), place->writes, store,
                                   message, message_size);
    }
    struct credentials *credentials = calloc(1, sizeof *credentials);
    if (credentials == NULL) {
        snprintf(message, message_size, "out of memory");
        return -ENOMEM;
    }
    rc = find_credentials(place, credentials, message, message_size);
    if (rc == 0) {
        rc = open_bucket(loop, place, credentials, store, message, message_size);
    }
    explicit_bzero(credentials, sizeof *credentials);
    free(credentials);
    return rc;
}
