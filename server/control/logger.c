#include "logger.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* One line under construction, with room kept for its end. */
struct line {
    char data[LOGGER_LINE_BYTES_MAX];
    size_t size;
    bool full; /* Something did not fit. */
};

enum { LINE_RESERVE = 8, TEXT_BYTES_MAX = 1024 };

static const char *const level_names[] = {"debug", "info", "warn", "error"};

static void put(struct line *line, const char *text, size_t size)
{
    if (line->size + size <= sizeof line->data - LINE_RESERVE) {
        memcpy(line->data + line->size, text, size);
        line->size += size;
    } else {
        line->full = true;
    }
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

static void put_number(struct line *line, int64_t number)
{
    char digits[24];

    put(line, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, number));
}

static void put_time(struct line *line, uint64_t ms)
{
    char text[40];
    struct tm parts;
    time_t seconds = (time_t)(ms / 1000);

    gmtime_r(&seconds, &parts);
    size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    size += (size_t)snprintf(text + size, sizeof text - size, ".%03uZ", (unsigned)(ms % 1000));
    put(line, text, size);
}

/* In quotes, with the escapes that JSON has; a byte outside of ASCII is shown as the code point of
 * that number, so that any bytes make a valid line. */
static void put_quoted(struct line *line, struct bytes text)
{
    char escaped[8];

    put(line, "\"", 1);
    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        if (byte == '"' || byte == '\\') {
            escaped[0] = '\\';
            escaped[1] = (char)byte;
            put(line, escaped, 2);
        } else if (byte == '\n') {
            put(line, "\\n", 2);
        } else if (byte < 0x20 || byte >= 0x7f) {
            put(line, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", byte));
        } else {
            put(line, (const char *)&text.data[i], 1);
        }
    }
    put(line, "\"", 1);
}

/* A word stands by itself; anything that would be mistaken for more is quoted. */
static void put_value(struct line *line, struct bytes text)
{
    bool plain = text.size > 0;

    for (size_t i = 0; i < text.size; i++) {
        uint8_t byte = text.data[i];
        plain = plain && byte > 0x20 && byte < 0x7f && byte != '"' && byte != '=' && byte != '\\';
    }
    if (plain) {
        put(line, (const char *)text.data, text.size);
    } else {
        put_quoted(line, text);
    }
}

/* A whole field or none, so that a line that is too long stays well-formed. */
static void put_field(struct line *line, enum log_form form, const struct log_field *field)
{
    size_t before = line->size;
    struct bytes text = field->text;

    text.size = text.size < TEXT_BYTES_MAX ? text.size : TEXT_BYTES_MAX;
    put_text(line, form == LOG_FORM_JSON ? ",\"" : " ");
    put_text(line, field->key);
    put_text(line, form == LOG_FORM_JSON ? "\":" : "=");
    if (field->is_number) {
        put_number(line, field->number);
    } else if (form == LOG_FORM_JSON) {
        put_quoted(line, text);
    } else {
        put_value(line, text);
    }
    if (line->full) {
        line->size = before;
        line->full = false;
    }
}

static void format(const struct logger *logger, struct line *line, enum log_level level,
                   uint64_t now_ms, const char *event, const struct log_field fields[],
                   uint32_t count)
{
    line->size = 0;
    line->full = false;
    if (logger->form == LOG_FORM_JSON) {
        put_text(line, "{\"time\":\"");
        put_time(line, now_ms);
        put_text(line, "\",\"level\":\"");
        put_text(line, level_names[level]);
        put_text(line, "\",\"event\":\"");
        put_text(line, event);
        put_text(line, "\"");
    } else {
        put_time(line, now_ms);
        put_text(line, " ");
        put_text(line, level_names[level]);
        put_text(line, " ");
        put_text(line, event);
    }
    for (uint32_t i = 0; i < count; i++) {
        put_field(line, logger->form, &fields[i]);
    }
    if (logger->form == LOG_FORM_JSON) {
        line->data[line->size++] = '}';
    }
    line->data[line->size++] = '\n';
}

/* A log that cannot be written is no reason to stop serving: what is missing is counted, and told with the next line that goes. */
static void emit(struct logger *logger, const struct line *line, uint64_t now_ms)
{
    struct log_sink *sink = &logger->sink;
    const uint64_t dropped = sink->dropped;

    if (dropped > 0) {
        const struct log_field field = LOG_NUMBER("lines", dropped);
        struct line note;
        format(logger, &note, LOG_LEVEL_WARN, now_ms, "lines-dropped", &field, 1);
        if (!log_sink_write(sink, note.data, note.size)) {
            sink->dropped = dropped + 1; /* Not the note: the line. */
            return;
        }
        sink->dropped = 0;
    }
    (void)log_sink_write(sink, line->data, line->size);
}

static struct logger_event *event_row(struct logger *logger, const char *name)
{
    for (uint32_t i = 0; i < logger->event_count; i++) {
        if (strcmp(logger->events[i].name, name) == 0) {
            return &logger->events[i];
        }
    }
    if (logger->event_count == LOGGER_EVENTS_MAX) {
        return &logger->events[LOGGER_EVENTS_MAX - 1];
    }
    struct logger_event *row = &logger->events[logger->event_count++];
    *row = (struct logger_event){.name = name};
    return row;
}

static void end_window(struct logger *logger, struct logger_event *row, uint64_t now_ms)
{
    struct line line;

    if (row->suppressed > 0) {
        const struct log_field fields[] = {LOG_TEXT("repeated", row->name),
                                           LOG_NUMBER("lines", row->suppressed)};
        format(logger, &line, LOG_LEVEL_WARN, now_ms, "suppressed", fields, 2);
        emit(logger, &line, now_ms);
    }
    row->written = 0;
    row->suppressed = 0;
    row->window_ms = now_ms;
}

void logger_init(struct logger *logger, int fd, enum log_form form, enum log_level level,
                 uint64_t (*now_ms)(void *clock), void *clock)
{
    *logger = (struct logger){
        .form = form,
        .level = level,
        .now_ms = now_ms,
        .clock = clock,
    };
    log_sink_init(&logger->sink, fd);
    pthread_mutex_init(&logger->mutex, NULL);
}

void logger_fini(struct logger *logger)
{
    uint64_t now_ms = logger->now_ms(logger->clock);

    for (uint32_t i = 0; i < logger->event_count; i++) {
        end_window(logger, &logger->events[i], now_ms);
    }
    log_sink_fini(&logger->sink);
    pthread_mutex_destroy(&logger->mutex);
}

void logger_write_fields(struct logger *logger, enum log_level level, const char *event,
                         const struct log_field fields[], uint32_t count)
{
    struct line line;

    if (level < logger->level) {
        return;
    }
    uint64_t now_ms = logger->now_ms(logger->clock);
    pthread_mutex_lock(&logger->mutex);
    struct logger_event *row = event_row(logger, event);
    if (now_ms - row->window_ms >= LOGGER_WINDOW_MS) {
        end_window(logger, row, now_ms);
    }
    if (row->written >= LOGGER_BURST) {
        row->suppressed++;
    } else {
        row->written++;
        format(logger, &line, level, now_ms, event, fields, count);
        emit(logger, &line, now_ms);
    }
    pthread_mutex_unlock(&logger->mutex);
}

void logger_tick(struct logger *logger)
{
    uint64_t now_ms = logger->now_ms(logger->clock);

    pthread_mutex_lock(&logger->mutex);
    for (uint32_t i = 0; i < logger->event_count; i++) {
        struct logger_event *row = &logger->events[i];
        if (row->suppressed > 0 && now_ms - row->window_ms >= LOGGER_WINDOW_MS) {
            end_window(logger, row, now_ms);
        }
    }
    pthread_mutex_unlock(&logger->mutex);
}
