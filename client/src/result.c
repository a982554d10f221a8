/* Reading answers. What comes from the server is read with bounds: nonsense ends a walk. */
#include <assert.h>

#include "client.h"

enum belay_status belay_result_status(const struct belay_result *result)
{
    return result->status;
}

const char *belay_result_text(const struct belay_result *result)
{
    return result->text;
}

const char *belay_result_node(const struct belay_result *result)
{
    return result->node;
}

int belay_result_primary(const struct belay_result *result)
{
    return result->node[0] != 0 && !result->stand_in;
}

struct belay_bytes belay_result_version(const struct belay_result *result)
{
    return bytes_out(result->version);
}

enum belay_ack belay_result_ack(const struct belay_result *result)
{
    return result->ack;
}

uint64_t belay_result_hlc(const struct belay_result *result)
{
    return result->hlc;
}

int belay_result_created(const struct belay_result *result)
{
    return result->created;
}

int belay_result_repeated(const struct belay_result *result)
{
    return result->repeated;
}

uint32_t belay_result_retry_after_ms(const struct belay_result *result)
{
    return result->retry_after_ms;
}

enum belay_type belay_result_type(const struct belay_result *result)
{
    return result->type;
}

uint64_t belay_result_created_ms(const struct belay_result *result)
{
    return result->created_ms;
}

uint64_t belay_result_last_access_ms(const struct belay_result *result)
{
    return result->last_access_ms;
}

uint64_t belay_result_absolute_ms(const struct belay_result *result)
{
    return result->absolute_ms;
}

uint64_t belay_result_idle_ms(const struct belay_result *result)
{
    return result->idle_ms;
}

uint64_t belay_result_deadline_ms(const struct belay_result *result)
{
    return result->deadline_ms;
}

struct belay_bytes belay_result_owner(const struct belay_result *result)
{
    return bytes_out(result->owner);
}

uint32_t belay_result_field_count(const struct belay_result *result)
{
    return result->fields;
}

uint32_t belay_result_value_bytes(const struct belay_result *result)
{
    return result->value_bytes;
}

uint32_t belay_result_siblings_hidden(const struct belay_result *result)
{
    return result->siblings_hidden;
}

uint32_t belay_result_recovered(const struct belay_result *result)
{
    struct reader reader = reader_of(result->value);

    if (result->status != BELAY_OK || result->frame_type != FRAME_RECOVER) {
        return 0;
    }
    uint64_t count = read_varint(&reader);
    return reader.bad || count > UINT32_MAX ? 0 : (uint32_t)count;
}

/* ---- Values ---- */

/* Is the value a list of fields, rather than raw bytes? */
static bool value_is_fields(const struct belay_result *result)
{
    return result->status == BELAY_OK && result->frame_type == FRAME_GET &&
           (result->flags & (GET_META | GET_FIELDS)) == 0 &&
           (result->type != BELAY_BLOB || (result->flags & GET_SIBLINGS) != 0);
}

struct belay_bytes belay_result_value(const struct belay_result *result)
{
    if (result->status != BELAY_OK) {
        return bytes_out(bytes_of(NULL, 0));
    }
    if (result->frame_type == FRAME_INSPECT || result->frame_type == FRAME_ADMIN) {
        return bytes_out(result->value);
    }
    if (result->frame_type != FRAME_GET || result->type != BELAY_BLOB ||
        (result->flags & (GET_META | GET_FIELDS)) != 0) {
        return bytes_out(bytes_of(NULL, 0));
    }
    if ((result->flags & GET_SIBLINGS) != 0) {
        struct reader reader = reader_of(result->value);
        read_string(&reader);
        return bytes_out(read_string(&reader));
    }
    return bytes_out(result->value);
}

static struct belay_field field_of(const struct belay_result *result, struct bytes name,
                                   struct bytes value)
{
    struct belay_field field = {.name = bytes_out(name), .value = bytes_out(value), .present = 1};

    if (result->type == BELAY_ZSET && value.size == sizeof field.score) {
        uint64_t raw = load_u64(value.data);
        memcpy(&field.score, &raw, sizeof raw);
    }
    return field;
}

/* The next of the fields asked for by name: the reply has them in the order of the names. */
static int asked_field(struct belay_result *result, size_t *position, struct belay_field *field)
{
    if (*position != result->walked || *position == 0) {
        result->walk_changes = reader_of(result->asked);
        result->walk_results = reader_of(result->value);
        result->walked = 0;
    }
    do {
        if (reader_left(&result->walk_changes) == 0) {
            return 0;
        }
        struct bytes name = read_string(&result->walk_changes);
        uint8_t present = read_u8(&result->walk_results);
        struct bytes value = bytes_of(NULL, 0);
        if (present == 1) {
            value = read_string(&result->walk_results);
        }
        if (result->walk_results.bad) {
            return 0;
        }
        *field = field_of(result, name, value);
        field->present = present == 1;
        result->walked++;
    } while (result->walked <= *position);
    *position = result->walked;
    return 1;
}

int belay_result_field(struct belay_result *result, size_t *position, struct belay_field *field)
{
    if (result->status == BELAY_OK && result->frame_type == FRAME_GET &&
        (result->flags & GET_FIELDS) != 0) {
        return asked_field(result, position, field);
    }
    if (!value_is_fields(result) || *position >= result->value.size) {
        return 0;
    }
    struct reader reader =
        reader_of(bytes_of(result->value.data + *position, result->value.size - *position));
    struct bytes name = read_string(&reader);
    struct bytes value = read_string(&reader);
    if (reader.bad) {
        return 0;
    }
    *field = field_of(result, name, value);
    *position = result->value.size - reader_left(&reader);
    return 1;
}

int belay_result_find(struct belay_result *result, struct belay_bytes name,
                      struct belay_bytes *value)
{
    struct belay_field field;
    size_t position = 0;

    if (name.size == 0 && result->type == BELAY_BLOB && (result->flags & GET_FIELDS) == 0) {
        *value = belay_result_value(result);
        return result->status == BELAY_OK && (result->flags & GET_META) == 0;
    }
    while (belay_result_field(result, &position, &field)) {
        if (field.present && bytes_equal(bytes_in(field.name), bytes_in(name))) {
            *value = field.value;
            return 1;
        }
    }
    return 0;
}

/* ---- Results of changes ---- */

size_t belay_result_change_count(const struct belay_result *result)
{
    return result->status == BELAY_OK && result->frame_type == FRAME_WRITE ? result->change_count
                                                                           : 0;
}

struct change_result {
    bool score;
    int64_t number;
    double sum;
};

static struct change_result change_result(struct belay_result *result, size_t index)
{
    struct change_result found = {0};
    struct change change;

    if (index >= belay_result_change_count(result)) {
        return found;
    }
    if (result->walked == 0 || index < result->walked) {
        result->walk_changes = reader_of(result->asked);
        result->walk_results = reader_of(result->value);
        result->walked = 0;
    }
    for (; result->walked <= index; result->walked++) {
        int rc = change_next(&result->walk_changes, &change);
        assert(rc == 1); /* We wrote it. */
        found.score = change_result_is_score(change.operation);
        if (found.score) {
            uint64_t raw = read_u64(&result->walk_results);
            memcpy(&found.sum, &raw, sizeof raw);
        } else {
            found.number = unzigzag(read_varint(&result->walk_results));
        }
    }
    return found;
}

int64_t belay_result_change(struct belay_result *result, size_t index)
{
    struct change_result found = change_result(result, index);

    if (!found.score) {
        return found.number;
    }
    if (found.sum != found.sum) {
        return 0; /* Not a number: nonsense of the server's. */
    }
    if (found.sum >= 9223372036854775808.0) {
        return INT64_MAX;
    }
    return found.sum < -9223372036854775808.0 ? INT64_MIN : (int64_t)found.sum;
}

double belay_result_score(struct belay_result *result, size_t index)
{
    struct change_result found = change_result(result, index);

    return found.score ? found.sum : (double)found.number;
}

/* ---- Many keys ---- */

uint64_t belay_result_cursor(const struct belay_result *result)
{
    return result->cursor;
}

int belay_result_key(struct belay_result *result, size_t *position, struct belay_bytes *key)
{
    if (result->status != BELAY_OK || result->frame_type != FRAME_SCAN ||
        *position >= result->value.size) {
        return 0;
    }
    struct reader reader =
        reader_of(bytes_of(result->value.data + *position, result->value.size - *position));
    struct bytes found = read_string(&reader);
    if (reader.bad) {
        return 0;
    }
    *key = bytes_out(found);
    *position = result->value.size - reader_left(&reader);
    return 1;
}

size_t belay_result_item_count(const struct belay_result *result)
{
    bool many = result->frame_type == FRAME_GET_MANY || result->frame_type == FRAME_WRITE_MANY;

    return many && result->status == BELAY_OK ? result->request->items_ready : 0;
}

struct belay_result *belay_result_item(struct belay_result *result, size_t index)
{
    return index < belay_result_item_count(result) ? &result->request->items[index] : NULL;
}
