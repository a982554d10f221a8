#include "run.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "stamp.h"

const char run_syntax[] = "ERR syntax error";
const char run_not_integer[] = "ERR value is not an integer or out of range";
const char run_bad_time[] = "ERR invalid expire time";
const char run_bad_cursor[] = "ERR invalid cursor";
const char run_not_float[] = "ERR value is not a valid float";

static size_t reply_bytes_max(const struct turn *turn)
{
    size_t session = turn->policy->rules.session_bytes_max + (size_t)REPLY_BESIDE_BYTES_MAX;

    return session > REPLY_BYTES_MAX ? session : REPLY_BYTES_MAX;
}

struct resp_out run_out(const struct turn *turn)
{
    return (struct resp_out){
        .buffer = turn->answer,
        .resp3 = (turn->request->flags & RUN_RESP3) != 0,
        .bytes_max = reply_bytes_max(turn),
    };
}

void run_begin(struct run *run, struct turn *turn)
{
    *run = (struct run){
        .turn = turn,
        .out = run_out(turn),
        .rest = resp_arguments(turn->request->body),
    };
    run->name = run_next(run);
    (void)run_next(run);
}

struct bytes run_next(struct run *run)
{
    struct bytes argument = bytes_of(NULL, 0);

    (void)resp_next(&run->rest, &argument);
    return argument;
}

bool run_integer(struct run *run, int64_t *value)
{
    return resp_integer(run_next(run), value);
}

bool run_is(struct bytes argument, const char *word)
{
    size_t size = strlen(word);

    if (argument.size != size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        uint8_t letter = argument.data[i];
        if (letter >= 'A' && letter <= 'Z') {
            letter = (uint8_t)(letter + ('a' - 'A'));
        }
        if (letter != (uint8_t)word[i]) {
            return false;
        }
    }
    return true;
}

enum status run_error(struct run *run, const char *text)
{
    return run_end(resp_error(&run->out, text));
}

enum status run_number(struct run *run, int64_t value)
{
    return run_end(resp_number(&run->out, value));
}

enum status run_ok(struct run *run)
{
    return run_end(resp_simple(&run->out, "OK"));
}

enum status run_view(struct run *run, enum session_type type, struct session_view **view)
{
    *view = turn_use(run->turn);
    return *view != NULL && (*view)->type != type ? STATUS_WRONG_TYPE : STATUS_OK;
}

/* ---- Changes ---- */

void run_change_begin(struct run *run)
{
    run->turn->changes->size = 0;
}

int run_change(struct run *run, const struct change *change)
{
    struct buffer *list = run->turn->changes;
    int rc = buffer_reserve(list, change_size(change));

    if (rc == 0) {
        list->size = (size_t)(change_put(list->data + list->size, change) - list->data);
    }
    return rc;
}

int run_change_set(struct run *run, struct bytes name, struct bytes value)
{
    const struct change change = {.operation = CHANGE_SET, .name = name, .value = value};

    return run_change(run, &change);
}

int run_change_of(struct run *run, uint8_t operation, struct bytes name)
{
    const struct change change = {.operation = operation, .name = name};

    return run_change(run, &change);
}

int run_change_absolute(struct run *run, uint64_t ms)
{
    const struct change change = {.operation = CHANGE_ABSOLUTE, .ms = ms};

    return run_change(run, &change);
}

enum status run_write(struct run *run, int rc, enum write_mode mode, enum session_type type,
                      struct bytes *results)
{
    if (rc != 0) {
        return run_end(rc);
    }
    return turn_write(run->turn, mode, type, buffer_bytes(run->turn->changes), results);
}

enum status run_destroy(struct run *run)
{
    run_change_begin(run);
    int rc = run_change_of(run, CHANGE_DESTROY, bytes_of(NULL, 0));
    return run_write(run, rc, WRITE_UPSERT, SESSION_NONE, NULL);
}

enum { REMOVE_LOOKED_AT = 256 };

/* Are all fields of the session among the arguments? Not of very many: they are removed, and then it is ended. */
static bool names_all(const struct run *run, struct session_view *view)
{
    struct session_field field;

    if (run->rest.count < view->field_count || run->rest.count > REMOVE_LOOKED_AT) {
        return false;
    }
    session_rewind(view);
    while (session_next(view, false, &field)) {
        struct resp_arguments names = run->rest;
        struct bytes name;
        bool found = false;
        while (!found && resp_next(&names, &name)) {
            found = bytes_equal(name, field.name);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

int run_find(struct run *run, const struct session_view *view, uint32_t step, struct finder *finder)
{
    return finder_begin(finder, view, run->rest.count / step, run->turn->answer->memory);
}

int run_put_field(struct run *run, const struct finder *finder, struct bytes name)
{
    struct session_field field;

    return finder_find(finder, name, &field) ? resp_bulk(&run->out, field.value)
                                             : resp_null(&run->out);
}

enum status run_remove(struct run *run, struct session_view *view)
{
    struct bytes results;
    uint32_t count = run->rest.count;
    int64_t removed = 0;
    int rc = 0;

    if (view == NULL) {
        return run_number(run, 0);
    }
    const uint32_t before = view->field_count;
    if (names_all(run, view)) {
        enum status status = run_destroy(run);
        return status != STATUS_OK ? status : run_number(run, before);
    }
    run_change_begin(run);
    while (rc == 0 && run->rest.count > 0) {
        rc = run_change_of(run, CHANGE_DELETE, run_next(run));
    }
    if (count > REMOVE_LOOKED_AT && turn_stage(run->turn) != 0) {
        return STATUS_NO_MEMORY; /* Removing and perhaps ending are one write. */
    }
    enum status status = run_write(run, rc, WRITE_UPDATE, view->type, &results);
    if (status != STATUS_OK) {
        return status;
    }
    struct reader reader = reader_of(results);
    for (uint32_t i = 0; i < count; i++) {
        removed += run_result(&reader);
    }
    if ((uint64_t)removed == before) {
        status = run_destroy(run);
    }
    return status != STATUS_OK ? status : run_number(run, removed);
}

int64_t run_result(struct reader *results)
{
    return unzigzag(read_varint(results));
}

/* ---- Options of SCAN and the like ---- */

static bool read_cursor(struct bytes text, uint64_t *cursor)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.size; i++) {
        uint64_t digit = (uint64_t)text.data[i] - '0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *cursor = value; /* Nothing is 0, as Redis has it. */
    return true;
}

static void read_type(struct bytes word, struct scan_options *options)
{
    static const char *const names[] = {"", "string", "hash", "set", "zset"};

    options->no_type = true;
    for (uint32_t i = SESSION_BLOB; i <= SESSION_ZSET; i++) {
        if (run_is(word, names[i])) {
            options->type = i;
            options->no_type = false;
        }
    }
}

const char *scan_options_read(struct run *run, bool fields, struct scan_options *options)
{
    bool keys = run_is(run->name, "scan");
    int64_t count;

    *options = (struct scan_options){.count = SCAN_COUNT_DEFAULT};
    if (!read_cursor(run_next(run), &options->cursor)) {
        return run_bad_cursor;
    }
    while (run->rest.count > 0) {
        struct bytes word = run_next(run);
        if (fields && run_is(word, "novalues")) {
            options->no_values = true;
        } else if (run->rest.count == 0) {
            return run_syntax;
        } else if (run_is(word, "match")) {
            options->pattern = run_next(run);
        } else if (run_is(word, "count")) {
            if (!run_integer(run, &count)) {
                return run_not_integer;
            }
            if (count < 1) {
                return run_syntax;
            }
            options->count = count < SCAN_COUNT_MAX ? (uint32_t)count : SCAN_COUNT_MAX;
        } else if (keys && run_is(word, "type")) {
            read_type(run_next(run), options);
        } else {
            return run_syntax;
        }
    }
    return NULL;
}

/* ---- Deadlines ---- */

int run_deadline(struct run *run, int64_t number, bool seconds, bool absolute, uint64_t *ms)
{
    int64_t now_ms = (int64_t)run->turn->now_ms, when_ms;

    if (seconds && __builtin_mul_overflow(number, 1000, &number)) {
        return -ERANGE;
    }
    if (absolute) {
        when_ms = number;
    } else if (__builtin_add_overflow(number, now_ms, &when_ms)) {
        return -ERANGE;
    }
    if (when_ms < 0) {
        when_ms = 0;
    }
    const int64_t last_ms = now_ms + (int64_t)TTL_MS_MAX_DAYS * 24 * 3600 * 1000;
    *ms = (uint64_t)(when_ms > last_ms ? last_ms : when_ms);
    return 0;
}

enum status run_bad_expire(struct run *run)
{
    char text[80];
    char name[16] = {0};

    for (size_t i = 0; i < run->name.size && i + 1 < sizeof name; i++) {
        uint8_t letter = run->name.data[i];
        bool upper = letter >= 'A' && letter <= 'Z';
        name[i] = (char)(upper ? letter + ('a' - 'A') : letter);
    }
    snprintf(text, sizeof text, "ERR invalid expire time in '%s' command", name);
    return run_error(run, text);
}

/* ---- Doubles ---- */

bool run_parse_bound(struct bytes text, double *value)
{
    char copy[128];
    char *end;

    if (text.size >= sizeof copy) {
        return false;
    }
    if (text.size > 0) {
        memcpy(copy, text.data, text.size);
    }
    copy[text.size] = '\0';
    errno = 0;
    *value = strtod(copy, &end);
    return end == copy + text.size && !isnan(*value);
}

bool run_parse_double(struct bytes text, double *value)
{
    if (text.size == 0 || text.data[0] == ' ' || !run_parse_bound(text, value)) {
        return false;
    }
    return errno != ERANGE || (!isinf(*value) && *value != 0);
}

size_t run_format_double(double value, char text[RUN_DOUBLE_BYTES])
{
    const double whole = 9007199254740992.0; /* 2^53 */

    if (isinf(value)) {
        return (size_t)snprintf(text, RUN_DOUBLE_BYTES, value > 0 ? "inf" : "-inf");
    }
    if (value == floor(value) && value > -whole && value < whole) {
        bool negative_zero = value == 0 && signbit(value);
        return (size_t)snprintf(text, RUN_DOUBLE_BYTES, negative_zero ? "-0" : "%.0f", value);
    }
    int size = 0;
    for (int digits = 15; digits <= DBL_DECIMAL_DIG; digits++) {
        size = snprintf(text, RUN_DOUBLE_BYTES, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return (size_t)size;
}

int run_put_double(struct run *run, double value)
{
    char text[RUN_DOUBLE_BYTES];
    size_t size = run_format_double(value, text);

    return resp_double(&run->out, bytes_of(text, size));
}

double run_score_of(struct bytes value)
{
    uint64_t bits = value.size == 8 ? load_u64(value.data) : 0;
    double score;

    memcpy(&score, &bits, sizeof score);
    return score;
}
