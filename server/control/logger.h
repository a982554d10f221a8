/* Log lines on a descriptor (stderr): `time level event key=value ...`, or the same as a JSON object.
 *
 *   2026-01-02T03:04:05.678Z info listening address=127.0.0.1:7400 shards=4
 *
 * An event is a fixed word, never built at run time: who searches the log finds it in the source. An
 * event that repeats more than LOGGER_BURST times in LOGGER_WINDOW_MS is dropped until the window ends,
 * and then counted in one line (`suppressed`). So are lines that nobody read, for which nothing waits (log_sink.h), once there is
 * room again (`lines-dropped`). Values of sessions are never logged, and neither are
 * keys (whoever knows one is logged in), but for those of damaged sessions, which must have a name.
 *
 * Threads: any; lines do not mix. Not for shard threads, though, which must not wait for a file on a slow disk
 * (control.h takes their events).
 */
#ifndef LOGGER_H
#define LOGGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "log_sink.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_form { LOG_FORM_TEXT, LOG_FORM_JSON };

enum {
    LOGGER_EVENTS_MAX =
        64, /* Kinds of event that are counted apart; the rest share the last row. */
    LOGGER_BURST = 20,
    LOGGER_WINDOW_MS = 10000,
    LOGGER_LINE_BYTES_MAX = LOG_SINK_LINE_BYTES_MAX, /* Longer lines are cut. */
};

struct log_field {
    const char *key;
    bool is_number;
    int64_t number;
    struct bytes text;
};

/* Use: logger_write(&logger, LOG_LEVEL_INFO, "listening", LOG_TEXT("address", a), LOG_NUMBER("n", 4)); */
#define LOG_TEXT(key_, text_)   ((struct log_field){.key = (key_), .text = bytes_of_string(text_)})
#define LOG_BYTES(key_, bytes_) ((struct log_field){.key = (key_), .text = (bytes_)})
#define LOG_NUMBER(key_, number_)                                                                  \
    ((struct log_field){.key = (key_), .is_number = true, .number = (int64_t)(number_)})

struct logger_event { /* private to logger.c, and so is all of struct logger */
    const char *name;
    uint64_t window_ms;
    uint32_t written, suppressed;
};

struct logger {
    struct log_sink sink;
    enum log_form form;
    enum log_level level;
    uint64_t (*now_ms)(void *clock);
    void *clock;
    pthread_mutex_t mutex;
    uint32_t event_count;
    struct logger_event events[LOGGER_EVENTS_MAX];
};

/* `fd` stays the caller's, and open until logger_fini(). */
void logger_init(struct logger *logger, int fd, enum log_form form, enum log_level level,
                 uint64_t (*now_ms)(void *clock), void *clock);
void logger_fini(struct logger *logger);

void logger_write_fields(struct logger *logger, enum log_level level, const char *event,
                         const struct log_field fields[], uint32_t count);

#define logger_write(logger, level, ...)                                                           \
    LOGGER_WRITE_((logger), (level), __VA_ARGS__, (struct log_field){.key = NULL})
#define LOGGER_WRITE_(logger, level, event, ...)                                                   \
    logger_write_fields(                                                                           \
        (logger), (level), (event), (const struct log_field[]){__VA_ARGS__},                       \
        (uint32_t)(sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field)) -   \
            1)

/* Report events whose window has ended with lines left out. Call about once a second. */
void logger_tick(struct logger *logger);

#endif
