#include "inspect.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>

static const char *type_name(enum session_type type)
{
    static const char *const names[] = {"none", "blob", "map", "set", "zset"};

    return (size_t)type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}

/* Bytes of the UTF-8 sequence at `at` that are right, 0 if it is none (RFC 3629). */
static size_t utf8_size(const uint8_t *at, size_t left)
{
    if (at[0] < 0x80) {
        return 1;
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
                 (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f);
    return wrong ? 0 : size;
}

static bool is_utf8(struct bytes bytes)
{
    for (size_t i = 0; i < bytes.size;) {
        size_t size = utf8_size(bytes.data + i, bytes.size - i);
        if (size == 0) {
            return false;
        }
        i += size;
    }
    return true;
}

/* Room for six characters a byte ("\u001f") is always enough. */
static void put_escaped(struct buffer *out, struct bytes bytes)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t byte = bytes.data[i];
        if (byte < 0x20 || byte == 0x7f) {
            memcpy(out->data + out->size, "\\u00", 4);
            out->data[out->size + 4] = (uint8_t)hex[byte >> 4];
            out->data[out->size + 5] = (uint8_t)hex[byte & 15];
            out->size += 6;
            continue;
        }
        if (byte == '"' || byte == '\\') {
            out->data[out->size++] = '\\';
        }
        out->data[out->size++] = byte;
    }
}

static void put_hex(struct buffer *out, struct bytes bytes)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.size; i++) {
        out->data[out->size++] = (uint8_t)hex[bytes.data[i] >> 4];
        out->data[out->size++] = (uint8_t)hex[bytes.data[i] & 15];
    }
}

/* "name":"value", or "name_hex":"..." */
static int put_string(struct buffer *out, const char *name, struct bytes value, bool always_hex)
{
    bool plain = !always_hex && is_utf8(value);
    char start[64];
    int start_size =
        snprintf(start, sizeof start, "\"%s%s\":\"", name, plain || always_hex ? "" : "_hex");
    int rc = buffer_reserve(out, (size_t)start_size + 6 * value.size + 1);

    if (rc != 0) {
        return rc;
    }
    memcpy(out->data + out->size, start, (size_t)start_size);
    out->size += (size_t)start_size;
    if (plain) {
        put_escaped(out, value);
    } else {
        put_hex(out, value);
    }
    out->data[out->size++] = '"';
    return 0;
}

static int put_text(struct buffer *out, const char *text)
{
    return buffer_append(out, bytes_of_string(text));
}

static int put_facts(struct session_view *view, struct buffer *out)
{
    char facts[512];

    snprintf(facts, sizeof facts,
             ",\"type\":\"%s\",\"live\":%s,\"tombstone\":%s,\"expired\":%s,"
             "\"renamed\":%s,\"created_ms\":%" PRIu64 ",\"absolute_ms\":%" PRIu64
             ",\"idle_ms\":%" PRIu64 ",\"deadline_ms\":%" PRIu64 ",\"last_access_ms\":%" PRIu64
             ",\"record_bytes\":%zu,\"field_count\":%" PRIu32 ",\"siblings_hidden\":%" PRIu32 ",",
             type_name(view->type), view->live ? "true" : "false",
             view->tombstone ? "true" : "false", view->expired ? "true" : "false",
             view->renamed ? "true" : "false", view->created_ms, view->absolute_ms, view->idle_ms,
             view->deadline_ms, view->last_access_ms, view->record.size, view->field_count,
             view->siblings_hidden);
    return put_text(out, facts);
}

/* A zset's value: "score":1.5; what JSON has no number for is "score":"inf" or "-inf". */
static int put_score(struct buffer *out, struct bytes value)
{
    char text[64];
    uint64_t bits = load_u64(value.data);
    double score;

    memcpy(&score, &bits, sizeof score);
    snprintf(text, sizeof text, isinf(score) ? "\"score\":\"%.17g\"" : "\"score\":%.17g", score);
    return put_text(out, text);
}

static int put_field(const struct session_field *field, bool scored, bool first, struct buffer *out)
{
    char facts[64];
    int rc = put_text(out, first ? "{" : ",{");

    if (rc == 0) {
        rc = put_string(out, "name", field->name, false);
    }
    if (rc == 0) {
        rc = put_text(out, ",");
    }
    if (rc == 0) {
        rc = scored && field->value.size == sizeof(double)
                 ? put_score(out, field->value)
                 : put_string(out, "value", field->value, false);
    }
    snprintf(facts, sizeof facts, ",\"deadline_ms\":%" PRIu64 ",\"sibling\":%s}",
             field->deadline_ms, field->sibling ? "true" : "false");
    return rc == 0 ? put_text(out, facts) : rc;
}

int inspect_json(struct session_view *view, struct bytes token, struct buffer *out)
{
    struct session_field field;
    bool first = true;
    int rc = put_text(out, "{");

    if (rc == 0) {
        rc = put_string(out, "key", session_key(view->record), false);
    }
    if (rc == 0) {
        rc = put_facts(view, out);
    }
    if (rc == 0) {
        rc = put_string(out, "owner", view->owner, false);
    }
    if (rc == 0) {
        rc = put_text(out, ",");
    }
    if (rc == 0) {
        rc = put_string(out, "version", token, true);
    }
    if (rc == 0) {
        rc = put_text(out, ",\"fields\":[");
    }
    session_rewind(view);
    while (rc == 0 && view->live && session_next(view, true, &field)) {
        rc = put_field(&field, view->type == SESSION_ZSET, first, out);
        first = false;
    }
    return rc == 0 ? put_text(out, "]}") : rc;
}
