#include "resp.h"

#include <errno.h>
#include <string.h>

enum {
    BULK_BYTES_MIN = 6,                       /* "$0\r\n\r\n" */
    REDIS_BULK_BYTES_MAX = 512 * 1024 * 1024, /* Redis refuses more, by default. */
};

/* ---- Requests ---- */

static int64_t fail(char error[RESP_ERROR_BYTES], const char *text)
{
    strncpy(error, text, RESP_ERROR_BYTES - 1);
    error[RESP_ERROR_BYTES - 1] = 0;
    return -EBADMSG;
}

static int64_t fail_type(char error[RESP_ERROR_BYTES], uint8_t got)
{
    static const char text[] = "Protocol error: expected '$', got '?'";

    fail(error, text);
    error[sizeof text - 3] = (char)(got == 0 ? ' ' : got);
    return -EBADMSG;
}

bool resp_integer(struct bytes text, int64_t *value)
{
    bool negative = text.size > 0 && text.data[0] == '-';
    size_t at = negative ? 1 : 0;
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t number = 0;

    if (at == text.size || (text.data[at] == '0' && (text.size > at + 1 || negative))) {
        return false;
    }
    for (; at < text.size; at++) {
        uint64_t digit = (uint64_t)text.data[at] - '0';
        if (digit > 9 || number > (limit - digit) / 10) {
            return false;
        }
        number = number * 10 + digit;
    }
    *value = negative ? (int64_t)(0 - number) : (int64_t)number;
    return true;
}

/* The line at `at`, without the type's letter; before `endless` it has no end. Returns the size of all of it, 0 where its end
 * has not come. */
static size_t number_line(struct bytes input, size_t at, size_t endless, struct bytes *number)
{
    const size_t from = endless > at ? endless : at;
    const uint8_t *start = input.data + at;
    const uint8_t *end = memchr(input.data + from, '\r', input.size - from);

    if (end == NULL || end + 1 == input.data + input.size) {
        return 0;
    }
    *number = bytes_of(start + 1, (size_t)(end - start) - 1);
    return (size_t)(end - start) + 2;
}

static int64_t need(size_t more, struct bytes input, size_t *wanted)
{
    *wanted = input.size + more;
    return 0;
}

/* `*N` at the begin. Returns 1, 0 where more is needed, or -EBADMSG. */
static int64_t begin_array(struct resp_cursor *cursor, struct bytes input, size_t *wanted,
                           char error[RESP_ERROR_BYTES])
{
    struct bytes text;
    int64_t count;
    size_t size = number_line(input, 0, cursor->endless, &text);

    if (size == 0) {
        cursor->endless = input.size - 1; /* The last byte may be the end's first. */
        return input.size > RESP_LINE_BYTES_MAX
                   ? fail(error, "Protocol error: too big mbulk count string")
                   : need(1, input, wanted);
    }
    if (!resp_integer(text, &count) || count > RESP_ARGUMENTS_MAX) {
        return fail(error, "Protocol error: invalid multibulk length");
    }
    cursor->begun = true;
    cursor->at = size;
    cursor->count = cursor->left = count < 0 ? 0 : (uint32_t)count;
    return 1;
}

/* One argument. Returns as begin_array(). */
static int64_t pass_argument(struct resp_cursor *cursor, struct bytes input,
                             uint64_t bulk_bytes_max, size_t *wanted, char error[RESP_ERROR_BYTES])
{
    size_t have = input.size - cursor->at;
    struct bytes text;
    int64_t bytes;

    if (have == 0) {
        return need(BULK_BYTES_MIN, input, wanted);
    }
    if (input.data[cursor->at] != '$') {
        return fail_type(error, input.data[cursor->at]);
    }
    size_t size = number_line(input, cursor->at, cursor->endless, &text);
    if (size == 0) {
        cursor->endless = input.size - 1;
        return have > RESP_LINE_BYTES_MAX ? fail(error, "Protocol error: too big bulk count string")
                                          : need(1, input, wanted);
    }
    if (!resp_integer(text, &bytes) || bytes < 0 || bytes > REDIS_BULK_BYTES_MAX) {
        return fail(error, "Protocol error: invalid bulk length");
    }
    if ((uint64_t)bytes > bulk_bytes_max) {
        return fail(
            error,
            "Protocol error: invalid bulk length: larger than limits.frame, or than may come "
            "before the login");
    }
    size += (size_t)bytes + 2;
    if (size > have) {
        return need(size - have, input, wanted);
    }
    cursor->at += size;
    cursor->left--;
    return 1;
}

static int64_t measure_line(struct resp_cursor *cursor, struct bytes input, size_t *wanted,
                            char error[RESP_ERROR_BYTES])
{
    const uint8_t *end = memchr(input.data + cursor->at, '\n', input.size - cursor->at);

    if (end != NULL) {
        return end - input.data + 1;
    }
    cursor->at = input.size;
    return input.size > RESP_LINE_BYTES_MAX ? fail(error, "Protocol error: too big inline request")
                                            : need(1, input, wanted);
}

int64_t resp_measure(struct resp_cursor *cursor, struct bytes input, uint64_t bulk_bytes_max,
                     size_t *wanted, char error[RESP_ERROR_BYTES])
{
    int64_t rc = 1;

    if (input.size == 0) {
        return need(1, input, wanted);
    }
    if (resp_is_line(input)) {
        return measure_line(cursor, input, wanted, error);
    }
    if (!cursor->begun) {
        rc = begin_array(cursor, input, wanted, error);
    }
    while (rc == 1 && cursor->left > 0) {
        rc = pass_argument(cursor, input, bulk_bytes_max, wanted, error);
    }
    return rc == 1 ? (int64_t)cursor->at : rc;
}

struct resp_arguments resp_arguments(struct bytes array)
{
    struct resp_cursor cursor = {0};
    char error[RESP_ERROR_BYTES];
    size_t wanted;

    if (begin_array(&cursor, array, &wanted, error) != 1) {
        return (struct resp_arguments){.count = 0};
    }
    return (struct resp_arguments){
        .left = bytes_of(array.data + cursor.at, array.size - cursor.at),
        .count = cursor.count,
    };
}

bool resp_next(struct resp_arguments *arguments, struct bytes *argument)
{
    struct bytes text;
    int64_t bytes;

    if (arguments->count == 0) {
        return false;
    }
    size_t head = number_line(arguments->left, 0, 0, &text);
    if (head == 0 || !resp_integer(text, &bytes) || bytes < 0 ||
        (uint64_t)bytes + 2 > arguments->left.size - head) {
        return false; /* Not from resp_measure(). */
    }
    size_t size = head + (size_t)bytes + 2;
    *argument = bytes_of(arguments->left.data + head, (size_t)bytes);
    arguments->left = bytes_of(arguments->left.data + size, arguments->left.size - size);
    arguments->count--;
    return true;
}

/* ---- Lines of words ---- */

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r') || byte == 0;
}

static int hex_digit(uint8_t byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* What stands after a backslash within double quotes. */
static uint8_t read_escape(struct reader *from)
{
    uint8_t byte = read_u8(from);

    if (byte == 'x' && reader_left(from) >= 2 && hex_digit(from->at[0]) >= 0 &&
        hex_digit(from->at[1]) >= 0) {
        byte = (uint8_t)(hex_digit(from->at[0]) << 4 | hex_digit(from->at[1]));
        from->at += 2;
        return byte;
    }
    switch (byte) {
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'b':
        return '\b';
    case 'a':
        return '\a';
    default:
        return byte;
    }
}

/* Up to the closing quote, after which a blank or the end must stand. */
static bool read_quoted(struct reader *from, uint8_t quote, uint8_t *word, size_t *size)
{
    while (reader_left(from) > 0) {
        uint8_t byte = read_u8(from);
        if (byte == quote) {
            return reader_left(from) == 0 || is_blank(*from->at);
        }
        if (byte == '\\' && quote == '"' && reader_left(from) > 0) {
            byte = read_escape(from);
        } else if (byte == '\\' && quote == '\'' && reader_left(from) > 0 && *from->at == '\'') {
            byte = read_u8(from);
        }
        word[(*size)++] = byte;
    }
    return false;
}

/* The next word into `word`, which has room for all that is left. Returns 1, 0 at the end, -EINVAL. */
static int read_word(struct reader *from, uint8_t *word, size_t *size)
{
    *size = 0;
    while (reader_left(from) > 0 && is_blank(*from->at)) {
        from->at++;
    }
    if (reader_left(from) == 0) {
        return 0;
    }
    while (reader_left(from) > 0 && !is_blank(*from->at)) {
        uint8_t byte = read_u8(from);
        if (byte != '"' && byte != '\'') {
            word[(*size)++] = byte;
        } else if (!read_quoted(from, byte, word, size)) {
            return -EINVAL;
        } else {
            break;
        }
    }
    return 1;
}

int resp_line_to_array(struct bytes line, struct buffer *out)
{
    size_t before = out->size, size;
    uint32_t count = 0;
    const struct resp_out to = {.buffer = out};

    /* Once to count the words, once to write them; each is read to where it goes, behind room for its head. */
    int rc = buffer_reserve(out, line.size);
    if (rc != 0) {
        return rc;
    }
    struct reader from = reader_of(line);
    while ((rc = read_word(&from, out->data + before, &size)) == 1) {
        count++;
    }
    if (rc == 0) {
        rc = resp_array(&to, count);
    }
    from = reader_of(line);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        rc = buffer_reserve(out, 2 * RESP_HEAD_BYTES_MAX + line.size);
        if (rc == 0) {
            uint8_t *word = out->data + out->size + RESP_HEAD_BYTES_MAX;
            (void)read_word(&from, word, &size);
            rc = resp_bulk(&to, bytes_of(word, size));
        }
    }
    if (rc != 0) {
        out->size = before;
    }
    return rc;
}

/* ---- Replies ---- */

static uint8_t *put_number(uint8_t *to, int64_t value)
{
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint8_t digits[20];
    int count = 0;

    do {
        digits[count++] = (uint8_t)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        *to++ = '-';
    }
    while (count > 0) {
        *to++ = digits[--count];
    }
    return to;
}

static uint8_t *put_end(uint8_t *to)
{
    *to++ = '\r';
    *to++ = '\n';
    return to;
}

static int reserve(const struct resp_out *out, size_t more)
{
    if (out->bytes_max != 0 && out->buffer->size + more > out->bytes_max) {
        return -EMSGSIZE;
    }
    return buffer_reserve(out->buffer, more);
}

static int put_head(const struct resp_out *out, char type, int64_t number)
{
    struct buffer *buffer = out->buffer;
    int rc = reserve(out, RESP_HEAD_BYTES_MAX);

    if (rc == 0) {
        uint8_t *to = buffer->data + buffer->size;
        *to++ = (uint8_t)type;
        to = put_end(put_number(to, number));
        buffer->size = (size_t)(to - buffer->data);
    }
    return rc;
}

/* A line of text; what would end it early becomes a blank. */
static int put_line(const struct resp_out *out, char type, struct bytes text)
{
    struct buffer *buffer = out->buffer;
    int rc = reserve(out, text.size + 3);

    if (rc == 0) {
        uint8_t *to = buffer->data + buffer->size;
        *to++ = (uint8_t)type;
        for (size_t i = 0; i < text.size; i++) {
            uint8_t byte = text.data[i];
            *to++ = byte == '\r' || byte == '\n' ? ' ' : byte;
        }
        to = put_end(to);
        buffer->size = (size_t)(to - buffer->data);
    }
    return rc;
}

int resp_simple(const struct resp_out *out, const char *text)
{
    return put_line(out, '+', bytes_of_string(text));
}

int resp_error(const struct resp_out *out, const char *text)
{
    return put_line(out, '-', bytes_of_string(text));
}

int resp_number(const struct resp_out *out, int64_t value)
{
    return put_head(out, ':', value);
}

/* A string of two parts. */
static int put_string(const struct resp_out *out, char type, const char *begin, struct bytes value)
{
    struct buffer *buffer = out->buffer;
    size_t size = strlen(begin);
    int rc = reserve(out, RESP_HEAD_BYTES_MAX + size + value.size + 2);

    if (rc == 0) {
        (void)put_head(out, type, (int64_t)(size + value.size));
        uint8_t *to = buffer->data + buffer->size;
        memcpy(to, begin, size);
        to += size;
        if (value.size > 0) {
            memmove(to, value.data, value.size); /* resp_line_to_array() has it just behind. */
        }
        to = put_end(to + value.size);
        buffer->size = (size_t)(to - buffer->data);
    }
    return rc;
}

int resp_bulk(const struct resp_out *out, struct bytes value)
{
    return put_string(out, '$', "", value);
}

int resp_verbatim(const struct resp_out *out, struct bytes text)
{
    return out->resp3 ? put_string(out, '=', "txt:", text) : resp_bulk(out, text);
}

int resp_double(const struct resp_out *out, struct bytes text)
{
    return out->resp3 ? put_line(out, ',', text) : resp_bulk(out, text);
}

int resp_text(const struct resp_out *out, const char *text)
{
    return resp_bulk(out, bytes_of_string(text));
}

static int put_raw(const struct resp_out *out, const char *text)
{
    int rc = reserve(out, strlen(text));

    return rc != 0 ? rc : buffer_append(out->buffer, bytes_of_string(text));
}

int resp_null(const struct resp_out *out)
{
    return put_raw(out, out->resp3 ? "_\r\n" : "$-1\r\n");
}

int resp_null_array(const struct resp_out *out)
{
    return put_raw(out, out->resp3 ? "_\r\n" : "*-1\r\n");
}

int resp_array(const struct resp_out *out, uint64_t count)
{
    return put_head(out, '*', (int64_t)count);
}

int resp_map(const struct resp_out *out, uint64_t count)
{
    return out->resp3 ? put_head(out, '%', (int64_t)count) : resp_array(out, 2 * count);
}

int resp_set(const struct resp_out *out, uint64_t count)
{
    return put_head(out, out->resp3 ? '~' : '*', (int64_t)count);
}

int resp_push(const struct resp_out *out, uint64_t count)
{
    return put_head(out, out->resp3 ? '>' : '*', (int64_t)count);
}
