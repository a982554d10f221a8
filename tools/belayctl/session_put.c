/* belayctl session put */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "limits.h"

enum { INPUT_BYTES_MAX = 64 * 1024 * 1024, VERSION_BYTES_MAX = 1024, TEXT_BYTES = 64 };

struct put {
    const char *type_name, *owner, *version, *ack;
    uint64_t ttl_ms, idle_ms;
    bool create, update, replace, persist;
    struct text_list operands, removed, added;
    enum belay_type type;
    char *input; /* Of "-". */
    size_t input_size;
};

/* All of the standard input. Returns false with a message printed. */
static bool read_input(struct put *put)
{
    size_t capacity = 64 * 1024;

    put->input = malloc(capacity);
    while (put->input != NULL) {
        put->input_size +=
            fread(put->input + put->input_size, 1, capacity - put->input_size, stdin);
        if (put->input_size < capacity) {
            break;
        }
        if (capacity > INPUT_BYTES_MAX) {
            break; /* It is too large: put_value() says so. */
        }
        capacity *= 2;
        char *larger = realloc(put->input, capacity);
        if (larger == NULL) {
            free(put->input);
        }
        put->input = larger;
    }
    if (put->input == NULL || ferror(stdin)) {
        fprintf(stderr, "belayctl: session put: cannot read the input: %s\n", strerror(errno));
        return false;
    }
    return true;
}

/* Without --type: NAME=VALUE makes a map, one other operand a blob, none nothing. */
static int choose_type(struct ctl *ctl, struct put *put)
{
    if (put->type_name != NULL) {
        if (belay_type_parse(put->type_name, &put->type) != BELAY_OK || put->type == BELAY_NONE) {
            return ctl_usage(ctl, "--type %s: it is blob, map, set or zset", put->type_name);
        }
        return CTL_OK;
    }
    put->type = put->added.count > 0 ? BELAY_MAP : BELAY_NONE;
    for (int i = 1; i < put->operands.count; i++) {
        enum belay_type type = strchr(put->operands.items[i], '=') == NULL ? BELAY_BLOB : BELAY_MAP;
        if (put->type != BELAY_NONE && put->type != type) {
            return ctl_usage(ctl, "mixed NAME=VALUE and plain values; say which with --type");
        }
        put->type = type;
    }
    return CTL_OK;
}

static int put_value(struct ctl *ctl, struct put *put, struct belay_request *write)
{
    const char *value = put->operands.items[1];

    if (put->operands.count != 2) {
        return ctl_usage(ctl, "a blob is one value, not %d; a map is NAME=VALUE...",
                         put->operands.count - 1);
    }
    if (strcmp(value, "-") != 0) {
        belay_write_value(write, belay_text(value));
        return CTL_OK;
    }
    if (!read_input(put)) {
        return CTL_REFUSED;
    }
    if (put->input_size > INPUT_BYTES_MAX) {
        return ctl_failed_for(ctl, put->operands.items[0], BELAY_SESSION_TOO_LARGE,
                              "the value is larger than 64 MiB, the most that session_max_bytes "
                              "of a policy can let in",
                              "");
    }
    belay_write_value(write, belay_bytes_of(put->input, put->input_size));
    return CTL_OK;
}

static int put_score(struct ctl *ctl, struct belay_request *write, const char *text,
                     struct belay_bytes member)
{
    char *end;
    double score = strtod(text, &end);

    if (end == text || *end != '\0' || isnan(score)) {
        return ctl_usage(ctl, "%s is no score; give MEMBER=NUMBER", text);
    }
    belay_write_set_score(write, member, score, 0);
    return CTL_OK;
}

static int check_name(const struct ctl *ctl, size_t size)
{
    return ctl_length_check(ctl, "a field's name", size, FIELD_NAME_BYTES_MAX);
}

/* One operand of a map, set or zset. */
static int put_entry(struct ctl *ctl, struct put *put, struct belay_request *write,
                     const char *text)
{
    const char *equals = put->type == BELAY_ZSET ? strrchr(text, '=') : strchr(text, '=');

    if (put->type == BELAY_SET) {
        belay_write_add_member(write, belay_text(text));
        return check_name(ctl, strlen(text));
    }
    if (equals == NULL) {
        return ctl_usage(ctl, "%s has no =; a %s is %s", text, belay_type_name(put->type),
                         put->type == BELAY_MAP ? "NAME=VALUE..." : "MEMBER=SCORE...");
    }
    struct belay_bytes name = belay_bytes_of(text, (size_t)(equals - text));
    if (put->type == BELAY_ZSET) {
        int rc = check_name(ctl, name.size);
        return rc == CTL_OK ? put_score(ctl, write, equals + 1, name) : rc;
    }
    belay_write_set(write, name, belay_text(equals + 1));
    return check_name(ctl, name.size);
}

static int put_added(struct ctl *ctl, struct put *put, struct belay_request *write)
{
    for (int i = 0; i < put->added.count; i++) {
        const char *text = put->added.items[i];
        const char *equals = strrchr(text, '=');
        char *end;
        errno = 0;
        int64_t delta = equals == NULL ? 0 : strtoll(equals + 1, &end, 10);
        if (equals == NULL || end == equals + 1 || *end != '\0' || errno != 0) {
            return ctl_usage(ctl, "--add %s: it is NAME=NUMBER", text);
        }
        if (check_name(ctl, (size_t)(equals - text)) != CTL_OK) {
            return CTL_USAGE;
        }
        belay_write_add(write, belay_bytes_of(text, (size_t)(equals - text)), delta);
    }
    return CTL_OK;
}

static int put_settings(struct ctl *ctl, struct put *put, struct belay_request *write)
{
    unsigned char version[VERSION_BYTES_MAX];
    enum belay_ack level;

    if (put->type != BELAY_NONE) {
        belay_write_type(write, put->type);
    }
    if (put->owner != NULL) {
        belay_write_owner(write, belay_text(put->owner));
    }
    if (put->persist) {
        belay_write_absolute(write, 0);
        belay_write_idle(write, 0);
    }
    if (put->ttl_ms != 0) {
        belay_write_ttl(write, put->ttl_ms);
    }
    if (put->idle_ms != 0) {
        belay_write_idle(write, put->idle_ms);
    }
    if (put->version != NULL) {
        long size = hex_parse(put->version, version, sizeof version);
        if (size <= 0) {
            return ctl_usage(ctl, "--if-version %s: not a version as session get shows it",
                             put->version);
        }
        belay_write_if_version(write, belay_bytes_of(version, (size_t)size));
    }
    if (put->ack != NULL) {
        if (belay_ack_parse(put->ack, &level) != BELAY_OK) {
            return ctl_usage(ctl, "--ack %s: it is memory, replica, disk or archive", put->ack);
        }
        belay_write_ack(write, level);
    }
    return CTL_OK;
}

/* Everything that the command line says, as changes. */
static int put_changes(struct ctl *ctl, struct put *put, struct belay_request *write)
{
    int rc = CTL_OK;

    if (put->replace) {
        belay_write_clear(write);
    }
    for (int i = 0; rc == CTL_OK && i < put->removed.count; i++) {
        rc = check_name(ctl, strlen(put->removed.items[i]));
        belay_write_delete(write, belay_text(put->removed.items[i]));
    }
    if (rc != CTL_OK) {
        return rc;
    }
    if (put->type == BELAY_BLOB && put->operands.count > 1) {
        rc = put_value(ctl, put, write);
    } else {
        for (int i = 1; rc == CTL_OK && i < put->operands.count; i++) {
            rc = put_entry(ctl, put, write, put->operands.items[i]);
        }
    }
    if (rc == CTL_OK) {
        rc = put_added(ctl, put, write);
    }
    return rc == CTL_OK ? put_settings(ctl, put, write) : rc;
}

static int print_written(struct ctl *ctl, const char *key, struct belay_result *result)
{
    const char *ack = belay_ack_name(belay_result_ack(result));
    char *version = hex_of(belay_result_version(result));

    if (ctl->json) {
        json_t *object = json_pack("{s:b, s:s, s:s, s:I}", "created", belay_result_created(result),
                                   "ack", ack, "version", version == NULL ? "" : version, "hlc",
                                   (json_int_t)belay_result_hlc(result));
        json_set_bytes(object, "key", belay_text(key));
        free(version);
        return ctl_print_json(object);
    }
    fputs(belay_result_created(result) ? "created " : "changed ", stdout);
    show_bytes(stdout, belay_text(key));
    printf(", safe in: %s, version %s\n", ack, version == NULL ? "?" : version);
    free(version);
    return CTL_OK;
}

static int put_check(struct ctl *ctl, const struct put *put)
{
    if (put->create && (put->update || put->version != NULL)) {
        return ctl_usage(ctl, "--create begins a session; --update and --if-version change one");
    }
    if (put->persist && (put->ttl_ms != 0 || put->idle_ms != 0)) {
        return ctl_usage(ctl, "--persist removes what --ttl and --idle set");
    }
    if (put->operands.count == 1 && put->removed.count == 0 && put->added.count == 0 &&
        put->owner == NULL && put->ttl_ms == 0 && put->idle_ms == 0 && !put->replace &&
        !put->persist && !put->create) {
        return ctl_usage(ctl, "nothing to write: give VALUE, NAME=VALUE... or an option");
    }
    return put->owner == NULL
               ? CTL_OK
               : ctl_length_check(ctl, "an owner", strlen(put->owner), OWNER_BYTES_MAX);
}

/* What the status by itself does not say. */
static int put_failed(struct ctl *ctl, const struct put *put, enum belay_mode mode,
                      enum belay_status status, struct belay_result *result)
{
    const char *key = put->operands.items[0];
    char size[TEXT_BYTES], text[2 * TEXT_BYTES];

    if (status == BELAY_NOT_FOUND && mode == BELAY_UPSERT) {
        belay_result_destroy(result);
        return ctl_failed_for(ctl, key, status,
                              "no such session, and deadlines or an owner alone begin none: give a "
                              "value, --create or --type",
                              "");
    }
    if (status == BELAY_FRAME_TOO_LARGE && put->input_size > 0) {
        belay_result_destroy(result);
        snprintf(text, sizeof text,
                 "the value is of %s, more than limits.frame of the node lets in",
                 show_size(put->input_size, size, sizeof size));
        return ctl_failed_for(ctl, key, status, text, "");
    }
    return ctl_failed(ctl, key, status, result);
}

static int put_send(struct ctl *ctl, struct put *put)
{
    struct belay_client *client = ctl_client(ctl);
    struct belay_result *result;
    const char *key = put->operands.items[0];

    if (client == NULL) {
        return CTL_USAGE;
    }
    enum belay_mode mode = put->create                           ? BELAY_CREATE
                           : put->update || put->version != NULL ? BELAY_UPDATE
                                                                 : BELAY_UPSERT;
    struct belay_request *write = belay_write_begin(client, belay_text(key), mode);
    int rc = put_changes(ctl, put, write);
    if (rc != CTL_OK) {
        belay_request_discard(write);
        return rc;
    }
    enum belay_status status = belay_run(write, &result);
    if (status != BELAY_OK) {
        return put_failed(ctl, put, mode, status, result);
    }
    rc = print_written(ctl, key, result);
    belay_result_destroy(result);
    return rc;
}

int session_put_run(struct ctl *ctl, int argc, char **argv)
{
    struct put put = {.type_name = NULL};
    const struct option options[] = {
        {"type", OPTION_TEXT, &put.type_name},
        {"ttl", OPTION_LIFETIME, &put.ttl_ms},
        {"idle", OPTION_LIFETIME, &put.idle_ms},
        {"owner", OPTION_TEXT, &put.owner},
        {"create", OPTION_FLAG, &put.create},
        {"update", OPTION_FLAG, &put.update},
        {"if-version", OPTION_TEXT, &put.version},
        {"ack", OPTION_TEXT, &put.ack},
        {"replace", OPTION_FLAG, &put.replace},
        {"persist", OPTION_FLAG, &put.persist},
        {"delete", OPTION_LIST, &put.removed},
        {"add", OPTION_LIST, &put.added},
        {NULL, OPTION_FLAG, NULL},
    };
    int rc = arguments_parse(ctl, argc, argv, options, &put.operands, 1, TEXT_LIST_MAX);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = put_check(ctl, &put);
    if (rc == CTL_OK) {
        rc = choose_type(ctl, &put);
    }
    if (rc == CTL_OK) {
        rc = put_send(ctl, &put);
    }
    free(put.input);
    return rc;
}
