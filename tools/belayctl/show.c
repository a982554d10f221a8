/* Values for people, and bytes in JSON. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

/* Bytes of the printable UTF-8 character at `at`; 0: none. (RFC 3629.) */
static size_t character_size(const unsigned char *at, size_t left)
{
    if (at[0] < 0x80) {
        return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
    }
    size_t size = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4 || left < size) {
        return 0;
    }
    for (size_t i = 1; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool wrong = (at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
                 (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f) ||
                 (at[0] == 0xc2 && at[1] < 0xa0); /* C1 controls steer terminals. */
    return wrong ? 0 : size;
}

/* The escape of one byte. */
static const char *escape_of(unsigned char byte, char *text, size_t text_size)
{
    switch (byte) {
    case '\n':
        return "\\n";
    case '\t':
        return "\\t";
    case '\\':
        return "\\\\";
    default:
        snprintf(text, text_size, "\\x%02x", byte);
        return text;
    }
}

/* Walks the bytes; `to` NULL only counts columns. */
static size_t show_walk(FILE *to, struct belay_bytes bytes)
{
    const unsigned char *at = bytes.data;
    size_t width = 0;

    for (size_t i = 0; i < bytes.size;) {
        size_t size = at[i] == '\\' ? 0 : character_size(at + i, bytes.size - i);
        char text[8];
        if (size == 0) {
            const char *escape = escape_of(at[i], text, sizeof text);
            width += strlen(escape);
            if (to != NULL) {
                fputs(escape, to);
            }
            i++;
            continue;
        }
        width++;
        if (to != NULL) {
            fwrite(at + i, 1, size, to);
        }
        i += size;
    }
    return width;
}

void show_bytes(FILE *to, struct belay_bytes bytes)
{
    show_walk(to, bytes);
}

size_t show_width(struct belay_bytes bytes)
{
    return show_walk(NULL, bytes);
}

const char *show_duration(uint64_t ms, char *text, size_t text_size)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};

    for (size_t i = 0; i < 4; i++) {
        if (ms >= units[i].ms) {
            uint64_t rest = i == 3 ? 0 : ms % units[i].ms / units[i + 1].ms;
            if (rest == 0) {
                snprintf(text, text_size, "%" PRIu64 "%s", ms / units[i].ms, units[i].unit);
            } else {
                snprintf(text, text_size, "%" PRIu64 "%s %" PRIu64 "%s", ms / units[i].ms,
                         units[i].unit, rest, units[i + 1].unit);
            }
            return text;
        }
    }
    snprintf(text, text_size, "%" PRIu64 "ms", ms);
    return text;
}

const char *show_size(uint64_t bytes, char *text, size_t text_size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;

    while (value >= 1023.95 && unit < 5) {
        value /= 1024;
        unit++;
    }
    snprintf(text, text_size, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

const char *show_count(uint64_t count, char *text, size_t text_size)
{
    char digits[24];
    int size = snprintf(digits, sizeof digits, "%" PRIu64, count);
    size_t to = 0;

    for (int i = 0; i < size && to + 2 < text_size; i++) {
        if (i > 0 && (size - i) % 3 == 0) {
            text[to++] = ',';
        }
        text[to++] = digits[i];
    }
    text[to] = '\0';
    return text;
}

const char *show_time(uint64_t time_ms, char *text, size_t text_size)
{
    time_t seconds = (time_t)(time_ms / 1000);
    uint64_t now_ms = (uint64_t)time(NULL) * 1000;
    struct tm parts;
    char date[40] = "?", distance[40];

    if (gmtime_r(&seconds, &parts) != NULL) {
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%SZ", &parts);
    }
    uint64_t distance_ms = time_ms > now_ms ? time_ms - now_ms : now_ms - time_ms;
    show_duration(distance_ms - distance_ms % 1000, distance, sizeof distance);
    if (distance_ms < 1000) {
        snprintf(text, text_size, "%s (now)", date);
    } else {
        snprintf(text, text_size, time_ms > now_ms ? "%s (in %s)" : "%s (%s ago)", date, distance);
    }
    return text;
}

char *hex_of(struct belay_bytes bytes)
{
    char *text = malloc(2 * bytes.size + 1);

    if (text == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < bytes.size; i++) {
        snprintf(text + 2 * i, 3, "%02x", ((const unsigned char *)bytes.data)[i]);
    }
    text[2 * bytes.size] = '\0';
    return text;
}

static int digit_of(char character)
{
    const char *digits = "0123456789abcdef";
    const char *found = character == '\0' ? NULL : strchr(digits, character);

    return found == NULL ? -1 : (int)(found - digits);
}

long hex_parse(const char *text, unsigned char *to, size_t to_size)
{
    size_t size = strlen(text) / 2;

    if (strlen(text) % 2 != 0 || size > to_size) {
        return -1;
    }
    for (size_t i = 0; i < size; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return -1;
        }
        to[i] = (unsigned char)(high << 4 | low);
    }
    return (long)size;
}

void json_set_bytes(json_t *object, const char *name, struct belay_bytes bytes)
{
    json_t *plain = json_stringn(bytes.size == 0 ? "" : bytes.data, bytes.size);
    char hex_name[64];

    if (plain != NULL) { /* Else it was no UTF-8. */
        json_object_set_new(object, name, plain);
        return;
    }
    char *hex = hex_of(bytes);
    if (hex != NULL) {
        snprintf(hex_name, sizeof hex_name, "%s_hex", name);
        json_object_set_new(object, hex_name, json_string(hex));
    }
    free(hex);
}
