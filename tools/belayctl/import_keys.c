/* From keys to writes: type and deadline, then values, in rounds of many at a time. */
#include <stdlib.h>
#include <string.h>

#include "import.h"

enum {
    ROUND_BYTES = 8 * 1024 * 1024, /* What the values of one round probably are together... */
    ROUND_MAX = 1000,              /* ... and the most of them. */
    ROUND_FIRST = 32,
    PAGE = 1000, /* Of HSCAN and the like. */
};

struct item {
    struct wanted wanted;
    enum belay_type type; /* BELAY_NONE: nothing more to be done. */
    uint64_t deadline_ms;
    redisReply *value;
    redisReply *untils; /* Of a hash's fields, where the source has such. */
};

/* ---- Type and deadline ---- */

static bool key_is_good(struct import *import, struct bytes key)
{
    const char *why = NULL;

    if (import->prefix_size == 0 && key.size > 0 && key.data[0] == 1) {
        why = "begins with the byte 1";
    } else if (import->prefix_size + key.size > KEY_BYTES_MAX) {
        why = "too long";
    } else if (import->prefix_size + key.size == 0) {
        why = "empty";
    }
    if (why != NULL) {
        import_note(import, TROUBLE_KEY, key, why);
    }
    return why == NULL;
}

static enum belay_type type_of(const char *name)
{
    static const struct {
        const char *name;
        enum belay_type type;
    } types[] = {
        {"string", BELAY_BLOB}, {"hash", BELAY_MAP}, {"set", BELAY_SET}, {"zset", BELAY_ZSET}};

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(name, types[i].name) == 0) {
            return types[i].type;
        }
    }
    return BELAY_NONE;
}

/* What PEXPIRETIME or PTTL said: a time at most ten years away, 0 where there is none. */
static uint64_t deadline_of(const struct import *import, long long answer)
{
    const uint64_t now_ms = import_time_ms();
    const uint64_t last_ms = now_ms + UINT64_C(1000) * 3600 * 24 * TTL_MS_MAX_DAYS;

    if (answer < 0) {
        return 0;
    }
    uint64_t ms = (uint64_t)answer + (import->source.has_time ? 0 : now_ms);
    ms = ms == 0 ? 1 : ms;
    return ms < last_ms ? ms : last_ms;
}

void import_ask_type(struct import *import, struct bytes key)
{
    source_ask(import, "TYPE %b", key.data, key.size);
    source_ask(import, import->source.has_time ? "PEXPIRETIME %b" : "PTTL %b", key.data, key.size);
}

bool import_take_type(struct import *import, struct state *state, char name[TYPE_BYTES])
{
    redisReply *type = source_answer(import), *deadline = source_answer(import);
    bool known = true;

    *state = (struct state){.type = BELAY_NONE};
    if (type != NULL && deadline != NULL && strcmp(type->str, "none") != 0 &&
        deadline->integer != -2) {
        state->type = type_of(type->str);
        state->deadline_ms = deadline_of(import, deadline->integer);
        known = state->type != BELAY_NONE;
        snprintf(name, TYPE_BYTES, "%s", type->str);
    }
    freeReplyObject(type);
    freeReplyObject(deadline);
    return known;
}

/* Of all. The deadline comes before the value, so that a key which dies between is not copied without one. */
static void ask_types(struct import *import, struct item items[], size_t count)
{
    char name[TYPE_BYTES];
    struct state state;

    for (size_t i = 0; i < count; i++) {
        import_ask_type(import, items[i].wanted.key);
    }
    for (size_t i = 0; i < count && import->rc == CTL_OK; i++) {
        if (!import_take_type(import, &state, name)) {
            import_note(import, TROUBLE_TYPE, items[i].wanted.key, name);
        } else if (state.type == BELAY_NONE && import->rc == CTL_OK) {
            import->gone++;
        }
        items[i].type = state.type;
        items[i].deadline_ms = state.deadline_ms;
    }
}

/* ---- Values ---- */

static const char *const scans[] =
    {[BELAY_MAP] = "HSCAN", [BELAY_SET] = "SSCAN", [BELAY_ZSET] = "ZSCAN"};
static const char *const counts[] =
    {[BELAY_MAP] = "HLEN", [BELAY_SET] = "SCARD", [BELAY_ZSET] = "ZCARD"};

static void ask_value(struct import *import, const struct item *item, const char *cursor)
{
    struct bytes key = item->wanted.key;

    if (item->type == BELAY_BLOB) {
        source_ask(import, "GET %b", key.data, key.size);
    } else {
        source_ask(import, "%s %b %s COUNT %d", scans[item->type], key.data, key.size, cursor,
                   PAGE);
    }
}

static size_t value_bytes(const redisReply *reply)
{
    size_t bytes = 64;

    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY) {
        return reply == NULL ? bytes : bytes + reply_bytes(reply).size;
    }
    for (size_t i = 0; i < reply->element[1]->elements; i++) {
        bytes += 32 + reply_bytes(reply->element[1]->element[i]).size;
    }
    return bytes;
}

/* The deadlines of a page's fields: HPEXPIRETIME KEY FIELDS COUNT NAME... */
static bool ask_untils(struct import *import, struct bytes key, const redisReply *page)
{
    const redisReply *fields = page->element[1];
    size_t count = fields->elements / 2, words = count + 4;
    const char **texts = calloc(words, sizeof *texts);
    size_t *sizes = calloc(words, sizeof *sizes);
    char number[24];

    if (texts == NULL || sizes == NULL) {
        import_failed(import, CTL_REFUSED, "out of memory");
    } else {
        snprintf(number, sizeof number, "%zu", count);
        texts[0] = "HPEXPIRETIME";
        texts[1] = (const char *)key.data;
        texts[2] = "FIELDS";
        texts[3] = number;
        for (size_t i = 0; i < 4; i++) {
            sizes[i] = i == 1 ? key.size : strlen(texts[i]);
        }
        for (size_t i = 0; i < count; i++) {
            texts[4 + i] = fields->element[2 * i]->str;
            sizes[4 + i] = reply_bytes(fields->element[2 * i]).size;
        }
        redisAppendCommandArgv(import->source.redis, (int)words, texts, sizes);
    }
    free(texts);
    free(sizes);
    return import->rc == CTL_OK;
}

static bool wants_untils(const struct import *import, const struct item *item)
{
    return import->source.has_field_times && item->type == BELAY_MAP && item->value != NULL &&
           !reply_is_error(item->value) && item->value->element[1]->elements > 0;
}

/* One page of a collection into the write. */
static void put_page(const struct item *item, struct writing *writing)
{
    const redisReply *fields = item->value->element[1];
    size_t step = item->type == BELAY_SET ? 1 : 2;

    for (size_t i = 0; i + step <= fields->elements; i += step) {
        struct bytes value = step == 1 ? bytes_of(NULL, 0) : reply_bytes(fields->element[i + 1]);
        long long until_ms = -1;
        if (item->untils != NULL && item->untils->type == REDIS_REPLY_ARRAY &&
            i / 2 < item->untils->elements) {
            until_ms = item->untils->element[i / 2]->integer;
        }
        if (until_ms != -2) { /* The field died meanwhile. */
            writing_put(writing, reply_bytes(fields->element[i]), value,
                        until_ms < 0 ? 0 : (uint64_t)until_ms);
        }
    }
}

static void item_clear(struct item *item)
{
    freeReplyObject(item->value);
    freeReplyObject(item->untils);
    item->value = item->untils = NULL;
}

/* What is larger than Belay's fields is not begun. Returns whether it is small enough. */
static bool count_is_good(struct import *import, const struct item *item)
{
    struct bytes key = item->wanted.key;

    source_ask(import, "%s %b", counts[item->type], key.data, key.size);
    redisReply *reply = source_answer(import);
    bool good = reply != NULL && reply->integer <= SESSION_FIELDS_MAX;
    if (reply != NULL && !good) {
        import_note(import, TROUBLE_LIMIT, key, "TOO_MANY_FIELDS");
    }
    freeReplyObject(reply);
    return good;
}

/* The page after the one that is there. Returns false where it was the last, or none came. */
static bool next_page(struct import *import, struct item *item)
{
    char cursor[24];

    snprintf(cursor, sizeof cursor, "%s", item->value->element[0]->str);
    if (strcmp(cursor, "0") == 0) {
        return false;
    }
    item_clear(item);
    ask_value(import, item, cursor);
    item->value = source_answer(import);
    if (wants_untils(import, item) && ask_untils(import, item->wanted.key, item->value)) {
        item->untils = source_answer(import);
    }
    return item->value != NULL && !reply_is_error(item->value);
}

static void put_collection(struct import *import, struct item *item, struct writing *writing)
{
    do {
        put_page(item, writing);
    } while (!writing->over && next_page(import, item));
    if (item->value != NULL && reply_is_error(item->value)) { /* It is of another type now. */
        import_again(import, item->wanted.key, item->wanted.attempts + 1,
                     item->wanted.replace || writing->steps > 0);
        writing_drop(writing);
    } else if (import->rc != CTL_OK || (writing->state.fields == 0 && !writing->over)) {
        import->gone += import->rc == CTL_OK;
        writing_drop(writing);
    } else {
        writing_end(writing);
    }
}

static void write_item(struct import *import, struct item *item)
{
    const redisReply *value = item->value;
    struct writing writing;

    if (reply_is_error(value)) {
        import_again(import, item->wanted.key, item->wanted.attempts + 1, item->wanted.replace);
    } else if (value->type == REDIS_REPLY_NIL) {
        import->gone++;
    } else if (item->type == BELAY_BLOB) {
        writing_begin(&writing, import, &item->wanted, item->type, item->deadline_ms);
        writing_put(&writing, bytes_of(NULL, 0), reply_bytes(value), 0);
        writing_end(&writing);
    } else if (strcmp(value->element[0]->str, "0") == 0 || count_is_good(import, item)) {
        writing_begin(&writing, import, &item->wanted, item->type, item->deadline_ms);
        put_collection(import, item, &writing);
    }
}

/* Ask for the values of some, and write them. */
static void run_round(struct import *import, struct item items[], size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        ask_value(import, &items[i], "0");
    }
    for (size_t i = 0; i < count; i++) {
        items[i].value = source_answer(import);
        bytes += value_bytes(items[i].value);
    }
    for (size_t i = 0; i < count; i++) {
        if (wants_untils(import, &items[i])) {
            ask_untils(import, items[i].wanted.key, items[i].value);
        }
    }
    for (size_t i = 0; i < count; i++) {
        items[i].untils = wants_untils(import, &items[i]) ? source_answer(import) : NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (import->rc == CTL_OK) {
            write_item(import, &items[i]);
        }
        item_clear(&items[i]);
    }
    import_let_fly(import);
    import->values += count;
    import->value_bytes += bytes;
}

static void run_rounds(struct import *import, struct item items[], size_t count)
{
    size_t many;

    for (size_t done = 0; done < count && import->rc == CTL_OK; done += many) {
        many = ROUND_FIRST;
        if (import->values > 0) {
            many = (size_t)(ROUND_BYTES / (import->value_bytes / import->values + 1)) + 1;
        }
        many = many > ROUND_MAX ? ROUND_MAX : many;
        many = many > count - done ? count - done : many;
        run_round(import, items + done, many);
    }
}

/* ---- Keys ---- */

void import_keys(struct import *import, const struct wanted wanted[], size_t count)
{
    struct item *items = calloc(count + 1, sizeof *items);
    size_t good = 0, typed = 0;

    if (items == NULL) {
        import_failed(import, CTL_REFUSED, "out of memory");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (key_is_good(import, wanted[i].key)) {
            items[good++].wanted = wanted[i];
        }
    }
    ask_types(import, items, good);
    for (size_t i = 0; i < good; i++) {
        if (items[i].type != BELAY_NONE) {
            items[typed++] = items[i];
        }
    }
    run_rounds(import, items, typed);
    free(items);
}

void import_keys_again(struct import *import)
{
    struct wanted_list list = import->again;

    import->again = (struct wanted_list){.count = 0};
    if (list.count > 0 && import->rc == CTL_OK) {
        import_keys(import, list.items, list.count);
    }
    for (size_t i = 0; i < list.count; i++) {
        import_free(list.items[i].key);
    }
    free(list.items);
}
