/* The Redis that is copied: its address, its connection, its answers. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "import.h"

enum { DATABASE_MAX = 15, DEFAULT_PORT = 6379 };

/* ---- The address ---- */

/* %XX stands for a byte. Returns memory for free(), or NULL. */
static char *decode(const char *text, size_t size)
{
    char *to = malloc(size + 1);
    size_t done = 0;

    for (size_t i = 0; to != NULL && i < size; i++) {
        unsigned char byte;
        char digits[3] = {0};
        if (text[i] == '%' && i + 2 < size) {
            memcpy(digits, text + i + 1, 2);
        }
        if (digits[0] != '\0' && hex_parse(digits, &byte, 1) == 1) {
            to[done++] = (char)byte;
            i += 2;
        } else {
            to[done++] = text[i];
        }
    }
    if (to != NULL) {
        to[done] = '\0';
    }
    return to;
}

/* "user:password", either of which may be empty. */
static bool parse_user(struct source *source, char *text, size_t size)
{
    char *colon = memchr(text, ':', size);

    if (colon == NULL) {
        return false;
    }
    if (colon > text) {
        source->user = decode(text, (size_t)(colon - text));
    }
    source->password = decode(colon + 1, size - (size_t)(colon + 1 - text));
    memset(colon + 1, 'x', size - (size_t)(colon + 1 - text));
    return source->password != NULL && (colon == text || source->user != NULL);
}

int source_parse(struct source *source, struct ctl *ctl, char *url)
{
    static const char scheme[] = "redis://";
    const char *password = getenv("REDISCLI_AUTH");

    *source = (struct source){.timeout_ms = ctl->timeout_ms};
    if (strncmp(url, scheme, sizeof scheme - 1) != 0) {
        return ctl_usage(ctl,
                         "the source is redis://[user:password@]HOST:PORT[/DB]; TLS is not spoken");
    }
    char *rest = url + sizeof scheme - 1, *at = strrchr(rest, '@');
    if (at != NULL && !parse_user(source, rest, (size_t)(at - rest))) {
        return ctl_usage(ctl, "before the @ comes user:password or :password");
    }
    rest = at == NULL ? rest : at + 1;
    char *slash = strchr(rest, '/'), *end = rest + strlen(rest);
    if (!address_parse(rest, slash == NULL ? end : slash, DEFAULT_PORT, &source->address)) {
        return ctl_usage(ctl, "%s is no HOST:PORT", rest);
    }
    if (slash != NULL && slash[1] != '\0' &&
        !address_number(slash + 1, end, DATABASE_MAX, &source->database)) {
        return ctl_usage(ctl, "database %s: Belay has 0 to %d", slash + 1, DATABASE_MAX);
    }
    if (source->password == NULL && password != NULL && password[0] != '\0') {
        source->password = strdup(password);
    }
    const struct address *address = &source->address;
    snprintf(source->name, sizeof source->name, strchr(address->host, ':') ? "[%s]:%u" : "%s:%u",
             address->host, address->port);
    return CTL_OK;
}

/* ---- Asking ---- */

static void gone(struct import *import)
{
    const struct source *source = &import->source;
    const redisContext *redis = source->redis;
    char text[32];

    if (redis->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        import_failed(import, CTL_UNREACHABLE,
                      "%s gives no answer within %s; allow more time with --timeout", source->name,
                      show_duration(source->timeout_ms, text, sizeof text));
    } else {
        import_failed(import, CTL_UNREACHABLE, "the connection to %s is gone: %s", source->name,
                      redis->errstr);
    }
}

void source_ask(struct import *import, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (import->rc == CTL_OK &&
        redisvAppendCommand(import->source.redis, format, arguments) != REDIS_OK) {
        gone(import);
    }
    va_end(arguments);
}

/* Any answer, errors too. */
static redisReply *take_answer(struct import *import)
{
    void *reply = NULL;

    if (import->rc == CTL_OK && redisGetReply(import->source.redis, &reply) != REDIS_OK) {
        gone(import);
    }
    return reply;
}

static void refused(struct import *import, const redisReply *reply)
{
    import_failed(import, CTL_REFUSED, "%s refuses: %s%s", import->source.name, reply->str,
                  strncmp(reply->str, "NOAUTH", 6) == 0
                      ? " Give redis://[user:password@]HOST:PORT, or REDISCLI_AUTH"
                      : "");
}

redisReply *source_answer(struct import *import)
{
    redisReply *reply = take_answer(import);

    if (reply != NULL && reply_is_error(reply) && strncmp(reply->str, "WRONGTYPE", 9) != 0) {
        refused(import, reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    return reply;
}

/* Does it know this command? It says nothing of those that it does not. */
static bool knows(struct import *import, const char *command)
{
    source_ask(import, "COMMAND INFO %s", command);
    redisReply *reply = take_answer(import);
    bool known = reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1 &&
                 reply->element[0]->type == REDIS_REPLY_ARRAY && reply->element[0]->elements > 0;

    freeReplyObject(reply);
    return known;
}

void source_open(struct import *import)
{
    struct source *source = &import->source;
    const struct timeval timeout = {.tv_sec = (time_t)(source->timeout_ms / 1000),
                                    .tv_usec = (suseconds_t)(source->timeout_ms % 1000 * 1000)};

    source->redis = redisConnectWithTimeout(source->address.host, source->address.port, timeout);
    if (source->redis == NULL || source->redis->err != 0) {
        import_failed(import, CTL_UNREACHABLE, "cannot connect to %s: %s", source->name,
                      source->redis == NULL ? "out of memory" : source->redis->errstr);
        return;
    }
    (void)redisSetTimeout(source->redis, timeout);
    if (source->password != NULL && source->user != NULL) {
        source_ask(import, "AUTH %s %s", source->user, source->password);
        freeReplyObject(source_answer(import));
    } else if (source->password != NULL) {
        source_ask(import, "AUTH %s", source->password);
        freeReplyObject(source_answer(import));
    }
    if (source->database != 0) {
        source_ask(import, "SELECT %u", source->database);
        freeReplyObject(source_answer(import));
    }
    source->has_time = knows(import, "PEXPIRETIME");
    source->has_field_times = knows(import, "HPEXPIRETIME");
}

void source_close(struct source *source)
{
    if (source->redis != NULL) {
        redisFree(source->redis);
    }
    free(source->user);
    free(source->password);
    *source = (struct source){.redis = NULL};
}
