/* belayctl session get, session list */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "limits.h"

/* ---- get ---- */

static void set_number(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* JSON has no number for infinity. */
static json_t *score_json(double score)
{
    return isinf(score) ? json_string(score > 0 ? "inf" : "-inf") : json_real(score);
}

static json_t *field_json(const struct belay_result *result, const struct belay_field *field)
{
    json_t *object = json_object();

    json_set_bytes(object, "name", field->name);
    if (!field->present) {
        json_object_set_new(object, "present", json_false());
    } else if (belay_result_type(result) == BELAY_ZSET) {
        json_object_set_new(object, "score", score_json(field->score));
    } else if (belay_result_type(result) != BELAY_SET) {
        json_set_bytes(object, "value", field->value);
    }
    return object;
}

static json_t *fields_json(struct belay_result *result)
{
    json_t *list = json_array();
    struct belay_field field;
    size_t position = 0;

    while (belay_result_field(result, &position, &field)) {
        json_array_append_new(list, field_json(result, &field));
    }
    return list;
}

static int print_session_json(const char *key, struct belay_result *result, bool meta, bool listed)
{
    json_t *object = json_object();
    char *version = hex_of(belay_result_version(result));

    json_set_bytes(object, "key", belay_text(key));
    json_object_set_new(object, "type", json_string(belay_type_name(belay_result_type(result))));
    json_object_set_new(object, "version", json_string(version == NULL ? "" : version));
    json_set_bytes(object, "owner", belay_result_owner(result));
    set_number(object, "created_ms", belay_result_created_ms(result));
    set_number(object, "last_access_ms", belay_result_last_access_ms(result));
    set_number(object, "absolute_ms", belay_result_absolute_ms(result));
    set_number(object, "idle_ms", belay_result_idle_ms(result));
    set_number(object, "deadline_ms", belay_result_deadline_ms(result));
    set_number(object, "field_count", belay_result_field_count(result));
    set_number(object, "value_bytes", belay_result_value_bytes(result));
    set_number(object, "siblings_hidden", belay_result_siblings_hidden(result));
    if (!meta && (listed || belay_result_type(result) != BELAY_BLOB)) {
        json_object_set_new(object, "fields", fields_json(result));
    } else if (!meta) {
        json_set_bytes(object, "value", belay_result_value(result));
    }
    free(version);
    return ctl_print_json(object);
}

static void print_line(const char *name, const char *value)
{
    printf("%-12s %s\n", name, value);
}

static void print_time(const char *name, uint64_t time_ms)
{
    char text[100];

    if (time_ms != 0) {
        print_line(name, show_time(time_ms, text, sizeof text));
    }
}

static void print_facts(const char *key, struct belay_result *result, bool whole)
{
    struct belay_bytes owner = belay_result_owner(result);
    char text[100], size[32];
    char *version = hex_of(belay_result_version(result));

    printf("%-12s ", "key");
    show_bytes(stdout, belay_text(key));
    putchar('\n');
    show_size(belay_result_value_bytes(result), size, sizeof size);
    if (belay_result_type(result) == BELAY_BLOB) {
        printf("%-12s blob of %s\n", "type", size);
    } else {
        printf("%-12s %s of %" PRIu32 "%s%s\n", "type", belay_type_name(belay_result_type(result)),
               belay_result_field_count(result), whole ? ", " : "", whole ? size : "");
    }
    if (owner.size > 0) {
        printf("%-12s ", "owner");
        show_bytes(stdout, owner);
        putchar('\n');
    }
    print_time("created", belay_result_created_ms(result));
    print_time("last access", belay_result_last_access_ms(result));
    if (belay_result_idle_ms(result) != 0) {
        print_line("idle", show_duration(belay_result_idle_ms(result), text, sizeof text));
    }
    print_time("absolute", belay_result_absolute_ms(result));
    print_time("ends", belay_result_deadline_ms(result));
    if (belay_result_siblings_hidden(result) > 0) {
        snprintf(text, sizeof text, "%" PRIu32 " (see them with --siblings)",
                 belay_result_siblings_hidden(result));
        print_line("hidden", text);
    }
    print_line("version", version == NULL ? "?" : version);
    free(version);
}

static void print_fields(struct belay_result *result)
{
    struct belay_field field;
    size_t position = 0, width = 0;

    while (belay_result_field(result, &position, &field)) {
        size_t own = show_width(field.name);
        width = own > width && own <= 40 ? own : width;
    }
    position = 0;
    while (belay_result_field(result, &position, &field)) {
        size_t own = show_width(field.name);
        fputs("  ", stdout);
        show_bytes(stdout, field.name);
        if (!field.present) {
            printf("%*s  (no such field)", own < width ? (int)(width - own) : 0, "");
        } else if (belay_result_type(result) != BELAY_SET) {
            printf("%*s  ", own < width ? (int)(width - own) : 0, "");
            if (belay_result_type(result) == BELAY_ZSET) {
                printf("%.17g", field.score);
            } else {
                show_bytes(stdout, field.value);
            }
        }
        putchar('\n');
    }
}

static void print_session(const char *key, struct belay_result *result, bool meta, bool listed,
                          bool chosen)
{
    print_facts(key, result, !chosen);
    if (meta) {
        return;
    }
    putchar('\n');
    if (listed || belay_result_type(result) != BELAY_BLOB) {
        print_fields(result);
    } else {
        fputs("  ", stdout);
        show_bytes(stdout, belay_result_value(result));
        putchar('\n');
    }
}

/* The bytes and nothing else: a blob, or the one field that was chosen. */
static int print_raw(struct ctl *ctl, const char *key, struct belay_result *result, bool chosen)
{
    struct belay_bytes value = belay_result_value(result);
    struct belay_field field;
    size_t position = 0;

    if (!chosen && belay_result_type(result) != BELAY_BLOB) {
        return ctl_usage(ctl, "--raw prints a blob or one field; %s is a %s", key,
                         belay_type_name(belay_result_type(result)));
    }
    if (chosen && (!belay_result_field(result, &position, &field) || !field.present)) {
        fprintf(stderr, "belayctl: %s: %s has no such field\n", ctl->command->words, key);
        return CTL_REFUSED;
    }
    if (chosen && belay_result_type(result) == BELAY_ZSET) {
        printf("%.17g", field.score);
    } else {
        value = chosen ? field.value : value;
        fwrite(value.data, 1, value.size, stdout);
    }
    return CTL_OK;
}

int session_get_run(struct ctl *ctl, int argc, char **argv)
{
    bool meta = false, siblings = false, raw = false;
    const struct option options[] = {
        {"meta", OPTION_FLAG, &meta},
        {"siblings", OPTION_FLAG, &siblings},
        {"raw", OPTION_FLAG, &raw},
        {NULL, OPTION_FLAG, NULL},
    };
    struct text_list operands;
    struct belay_result *result;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, TEXT_LIST_MAX);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (operands.count > 1 && (meta || siblings)) {
        return ctl_usage(ctl, "--meta and --siblings show the whole session; leave out the fields");
    }
    if (raw && (meta || siblings || ctl->json || operands.count > 2)) {
        return ctl_usage(ctl, "--raw goes with no other option and at most one field");
    }
    for (int i = 1; rc == CTL_OK && i < operands.count; i++) {
        rc = ctl_length_check(ctl, "a field's name", strlen(operands.items[i]),
                              FIELD_NAME_BYTES_MAX);
    }
    struct belay_client *client = rc == CTL_OK ? ctl_client(ctl) : NULL;
    if (client == NULL) {
        return CTL_USAGE;
    }
    const char *key = operands.items[0];
    struct belay_request *get = belay_get_begin(client, belay_text(key),
                                                BELAY_GET_NO_TOUCH | (meta ? BELAY_GET_META : 0u) |
                                                    (siblings ? BELAY_GET_SIBLINGS : 0u));
    for (int i = 1; i < operands.count; i++) {
        belay_get_field(get, belay_text(operands.items[i]));
    }
    enum belay_status status = belay_run(get, &result);
    if (status != BELAY_OK) {
        return ctl_failed(ctl, key, status, result);
    }
    bool listed = siblings || operands.count > 1;
    if (raw) {
        rc = print_raw(ctl, key, result, operands.count == 2);
    } else if (ctl->json) {
        rc = print_session_json(key, result, meta, listed);
    } else {
        print_session(key, result, meta, listed, operands.count > 1);
    }
    belay_result_destroy(result);
    return rc;
}

/* ---- list ---- */

struct listing {
    struct ctl *ctl;
    uint64_t limit, count; /* limit 0: none. */
    json_t *keys;          /* With --json. */
    bool silent;           /* No bar. */
    struct progress progress;
};

static void list_keys(struct listing *listing, struct belay_result *result)
{
    struct belay_bytes key;
    size_t position = 0;

    while ((listing->limit == 0 || listing->count < listing->limit) &&
           belay_result_key(result, &position, &key)) {
        listing->count++;
        if (listing->ctl->json) {
            json_t *object = json_object();
            json_set_bytes(object, "key", key);
            json_array_append_new(listing->keys, object);
        } else {
            show_bytes(stdout, key);
            putchar('\n');
        }
    }
}

/* A user may read some keys, mostly, and not all. */
static int list_failed(const struct listing *listing, const char *prefix, enum belay_status status,
                       struct belay_result *result)
{
    if (status == BELAY_DENIED && prefix[0] == '\0' && getenv("BELAY_USER") != NULL) {
        belay_result_destroy(result);
        return ctl_failed_for(
            listing->ctl, NULL, status,
            "not allowed for this user without a --prefix of keys that it may read", "");
    }
    return ctl_failed(listing->ctl, NULL, status, result);
}

static int list_all(struct listing *listing, const char *prefix, enum belay_type type)
{
    struct belay_client *client = ctl_client(listing->ctl);
    struct belay_result *result;
    uint64_t cursor = 0;

    if (client == NULL) {
        return CTL_USAGE;
    }
    do {
        uint64_t left = listing->limit == 0 ? 1000 : listing->limit - listing->count;
        enum belay_status status =
            belay_run(belay_scan_begin(client, cursor, belay_text(prefix), type,
                                       left < 1000 ? (uint32_t)left : 1000),
                      &result);
        if (status != BELAY_OK) {
            progress_end(&listing->progress);
            return list_failed(listing, prefix, status, result);
        }
        list_keys(listing, result);
        cursor = belay_result_cursor(result);
        belay_result_destroy(result);
        if (!listing->silent) {
            progress_update(&listing->progress, listing->count);
        }
    } while (cursor != 0 && (listing->limit == 0 || listing->count < listing->limit));
    progress_end(&listing->progress);
    return CTL_OK;
}

/* A bar where keys do not go to the terminal themselves; the server knows how many sessions there are. */
static int list_progress(struct listing *listing, bool all)
{
    uint64_t total = 0;
    json_t *page;

    progress_begin(&listing->progress, "sessions", 0);
    if (!progress_wanted() || isatty(STDOUT_FILENO)) {
        listing->silent = true;
        return CTL_OK;
    }
    int rc = all ? ctl_admin(listing->ctl, "status", NULL, &page) : CTL_OK;
    if (all && rc == CTL_OK) {
        total = (uint64_t)json_integer_value(json_object_get(page, "sessions"));
        json_decref(page);
    }
    listing->progress.total =
        listing->limit == 0 || listing->limit > total ? total : listing->limit;
    return rc;
}

int session_list_run(struct ctl *ctl, int argc, char **argv)
{
    const char *prefix = "", *type_name = "none";
    enum belay_type type;
    struct listing listing = {.ctl = ctl};
    const struct option options[] = {
        {"prefix", OPTION_TEXT, &prefix},
        {"type", OPTION_TEXT, &type_name},
        {"limit", OPTION_NUMBER, &listing.limit},
        {NULL, OPTION_FLAG, NULL},
    };
    struct text_list operands;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (belay_type_parse(type_name, &type) != BELAY_OK) {
        return ctl_usage(ctl, "--type %s: it is blob, map, set or zset", type_name);
    }
    rc = ctl_length_check(ctl, "--prefix", strlen(prefix), KEY_BYTES_MAX);
    if (rc != CTL_OK) {
        return rc;
    }
    rc = list_progress(&listing, prefix[0] == '\0' && type == BELAY_NONE);
    if (rc != CTL_OK) {
        return rc;
    }
    listing.keys = json_array();
    rc = list_all(&listing, prefix, type);
    if (rc == CTL_OK && ctl->json) {
        rc = ctl_print_json(json_pack("{s:O}", "sessions", listing.keys));
    }
    json_decref(listing.keys);
    return rc;
}
