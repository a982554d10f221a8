/* belayctl session inspect: what each owner of a session stores of it, and where that differs. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "slot.h"

enum { TEXT_BYTES = 64 };

/* ---- Asking ---- */

/* Returns the answer's document, NULL with `status` and perhaps a text. Nothing is printed. */
static json_t *ask(struct belay_request *request, enum belay_status *status, char text[TEXT_BYTES])
{
    struct belay_result *result;
    json_t *document = NULL;

    text[0] = '\0';
    *status = belay_run(request, &result);
    if (*status == BELAY_OK) {
        struct belay_bytes bytes = belay_result_value(result);
        document = json_loadb(bytes.data, bytes.size, JSON_ALLOW_NUL, NULL);
        *status = document == NULL ? BELAY_INVALID : BELAY_OK;
    } else {
        snprintf(text, TEXT_BYTES, "%s",
                 result == NULL ? belay_status_text(*status) : belay_result_text(result));
    }
    belay_result_destroy(result);
    return document;
}

/* The owners of the key as the server knows them, each with its address; NULL: it does not tell this user, or is alone
 * in knowing nothing of others. */
static json_t *ask_owners(struct belay_client *client, const char *key)
{
    char argument[12], text[TEXT_BYTES];
    enum belay_status status;
    json_t *owner, *node;
    size_t i, j;

    snprintf(argument, sizeof argument, "%" PRIu32, slot_of_key(bytes_of_string(key)));
    json_t *slot = ask(belay_admin_begin(client, "slot", argument), &status, text);
    json_t *nodes = ask(belay_admin_begin(client, "nodes", NULL), &status, text);
    json_t *owners = json_incref(json_object_get(slot, "owners"));
    json_array_foreach(owners, i, owner)
    {
        json_array_foreach(json_object_get(nodes, "nodes"), j, node)
        {
            if (json_equal(json_object_get(node, "number"), json_object_get(owner, "number"))) {
                json_object_set(owner, "native", json_object_get(node, "native"));
            }
        }
    }
    json_decref(slot);
    json_decref(nodes);
    return owners;
}

/* One owner's copy: `state` is "there", "absent", or why it could not be had. */
static json_t *ask_copy(const struct ctl *ctl, const json_t *owner, const char *key,
                        json_t **document)
{
    const char *native = json_string_value(json_object_get(owner, "native"));
    struct belay_client *client = native == NULL ? NULL : ctl_connect(ctl, native);
    enum belay_status status = BELAY_CANNOT_CONNECT;
    char text[TEXT_BYTES] = "";

    *document =
        client == NULL ? NULL : ask(belay_inspect_begin(client, belay_text(key)), &status, text);
    belay_client_destroy(client);
    json_t *copy =
        json_pack("{s:O, s:O, s:O, s:s}", "node", json_object_get(owner, "name"), "number",
                  json_object_get(owner, "number"), "rank", json_object_get(owner, "rank"), "state",
                  status == BELAY_OK          ? "there"
                  : status == BELAY_NOT_FOUND ? "absent"
                                              : belay_status_name(status));
    return copy;
}

/* ---- Comparing ---- */

/* Also where neither has it. */
static bool same(const json_t *a, const json_t *b, const char *name)
{
    const json_t *of_a = json_object_get(a, name), *of_b = json_object_get(b, name);

    return of_a == of_b || json_equal(of_a, of_b);
}

static const json_t *field_named(const json_t *fields, const json_t *field)
{
    const json_t *other;
    size_t i;

    json_array_foreach(fields, i, other)
    {
        if (same(other, field, "name") && same(other, field, "name_hex")) {
            return other;
        }
    }
    return NULL;
}

static void note_fields(const json_t *from, const json_t *other, bool all, json_t *differences)
{
    const json_t *field;
    size_t i;

    json_array_foreach(from, i, field)
    {
        const json_t *found = field_named(other, field);
        if (found == NULL || (all && !json_equal(found, field))) {
            const char *name = json_string_value(json_object_get(field, "name"));
            const char *hex = json_string_value(json_object_get(field, "name_hex"));
            json_array_append_new(differences, json_sprintf("field %s", name != NULL  ? name
                                                                        : hex != NULL ? hex
                                                                                      : ""));
        }
    }
}

/* What a copy says otherwise than the first one. When it was last used is known to each in its own steps. */
static json_t *differences_of(const json_t *first, const json_t *other)
{
    static const char *const names[] = {"version", "type",       "live",  "tombstone",
                                        "expired", "created_ms", "owner", "owner_hex",
                                        "idle_ms", "absolute_ms"};
    json_t *differences = json_array();

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!same(first, other, names[i])) {
            json_array_append_new(differences, json_string(names[i]));
        }
    }
    const json_t *ours = json_object_get(first, "fields"),
                 *theirs = json_object_get(other, "fields");
    note_fields(ours, theirs, true, differences);
    note_fields(theirs, ours, false, differences);
    return differences;
}

static bool is_absent(const json_t *copy)
{
    return strcmp(json_string_value(json_object_get(copy, "state")), "absent") == 0;
}

/* Its figures, and what differs, into the copy's row. Returns whether anything does. */
static bool compare(json_t *copy, const json_t *first, const json_t *document)
{
    static const char *const names[] = {"version",     "live",           "tombstone",
                                        "deadline_ms", "last_access_ms", "record_bytes"};

    for (size_t i = 0; document != NULL && i < sizeof names / sizeof names[0]; i++) {
        json_object_set(copy, names[i], json_object_get(document, names[i]));
    }
    json_t *differences = document == NULL ? json_array() : differences_of(first, document);
    json_object_set_new(copy, "differences", differences);
    return json_array_size(differences) > 0 || is_absent(copy);
}

/* ---- Showing ---- */

/* For people in the order that the server has, each value on a line. */
static int print(struct ctl *ctl, json_t *document)
{
    if (ctl->json) {
        return ctl_print_json(document);
    }
    int rc = json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
    json_decref(document);
    return rc == 0 ? CTL_OK : CTL_REFUSED;
}

/* ---- The command ---- */

/* All copies. Returns the document of the first that is there, with what is told of all; NULL: there is none, or none among
 * those that were reached: `unknown`. */
static json_t *inspect_all(const struct ctl *ctl, const json_t *owners, const char *key,
                           bool *unknown)
{
    json_t *documents = json_array(), *copies = json_array(), *first = NULL, *document;
    const json_t *owner;
    bool differs = false;
    size_t i;

    json_array_foreach(owners, i, owner)
    {
        json_t *copy = ask_copy(ctl, owner, key, &document);
        *unknown |= document == NULL && !is_absent(copy);
        json_array_append_new(copies, copy);
        first = first == NULL ? document : first;
        json_array_append_new(documents, document != NULL ? document : json_null());
    }
    for (i = 0; first != NULL && i < json_array_size(copies); i++) {
        document = json_array_get(documents, i);
        differs |=
            compare(json_array_get(copies, i), first, json_is_null(document) ? NULL : document);
    }
    json_incref(first);
    json_decref(documents);
    if (first == NULL) {
        json_decref(copies);
        return NULL;
    }
    json_object_set_new(first, "differs", json_boolean(differs));
    json_object_set_new(first, "copies", copies);
    return first;
}

int session_inspect_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    struct belay_result *result;
    json_error_t error;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    struct belay_client *client = ctl_client(ctl);
    if (client == NULL) {
        return CTL_USAGE;
    }
    const char *key = operands.items[0];
    json_t *owners = ask_owners(client, key), *document = NULL;
    bool unknown = false;
    if (json_array_size(owners) > 1) {
        document = inspect_all(ctl, owners, key, &unknown);
    }
    if (document != NULL) {
        json_decref(owners);
        return print(ctl, document);
    }
    /* There is but one, or none, or none that may be known of: what this server has to say. */
    enum belay_status status = belay_run(belay_inspect_begin(client, belay_text(key)), &result);
    if (status == BELAY_NOT_FOUND && json_array_size(owners) == 1) {
        document = inspect_all(ctl, owners, key, &unknown); /* It may be another node's. */
    }
    json_decref(owners);
    if (document != NULL) {
        belay_result_destroy(result);
        return print(ctl, document);
    }
    if (status == BELAY_NOT_FOUND && unknown) { /* An owner that is away may have it. */
        belay_result_destroy(result);
        return ctl_failed_for(
            ctl, key, BELAY_UNAVAILABLE,
            "not all nodes that may have it answer, and no other has such a session; "
            "session where names them",
            "");
    }
    if (status != BELAY_OK) {
        return ctl_failed(ctl, key, status, result);
    }
    struct belay_bytes text = belay_result_value(result);
    document = json_loadb(text.data, text.size, JSON_ALLOW_NUL, &error);
    belay_result_destroy(result);
    if (document == NULL) {
        fprintf(stderr, "belayctl: session inspect: the server's answer is no JSON: %s\n",
                error.text);
        return CTL_REFUSED;
    }
    return print(ctl, document);
}
