/* belayctl ring, slot, session where: whose the slots are. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "ctl.h"
#include "ring_svg.h"
#include "slot.h"

enum { TEXT_BYTES = 64, LOOK_MS = 1000 };

static void print_names(const json_t *names)
{
    const json_t *name;
    size_t index;

    json_array_foreach(names, index, name)
    {
        fputs(index == 0 ? "" : " ", stdout);
        show_bytes(stdout, belay_text(json_string_value(name)));
    }
    fputs(json_array_size(names) == 0 ? "(nobody)" : "", stdout);
}

/* ---- ring ---- */

static void print_ring(const json_t *document)
{
    const json_t *run;
    size_t index;

    printf("epoch %" PRIu64 ", replicas: %" PRIu64
           "\n\n   slots        owners, the primary first\n",
           ctl_number(document, "epoch"), ctl_number(document, "replicas"));
    json_array_foreach(json_object_get(document, "runs"), index, run)
    {
        const json_t *owners = json_object_get(run, "owners");
        const json_t *targets = json_object_get(run, "targets");
        printf("%5" PRIu64 "-%-5" PRIu64 "  ", ctl_number(run, "first"), ctl_number(run, "last"));
        print_names(owners);
        if (!json_equal(owners, targets)) {
            fputs("  -> ", stdout);
            print_names(targets);
        }
        putchar('\n');
    }
}

static int write_svg(const json_t *document, const char *path)
{
    FILE *to = fopen(path, "w");
    int rc = to == NULL ? -errno : ring_svg(document, to);

    if (to != NULL && fclose(to) != 0 && rc == 0) {
        rc = -errno;
    }
    if (rc != 0) {
        fprintf(stderr, "belayctl: ring: %s: %s\n", path, strerror(-rc));
        return CTL_REFUSED;
    }
    return CTL_OK;
}

int ring_run(struct ctl *ctl, int argc, char **argv)
{
    const char *svg = NULL;
    const struct option options[] = {{"svg", OPTION_TEXT, &svg}, {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *document;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = ctl_admin(ctl, "ring", NULL, &document);
    if (rc == CTL_OK && svg != NULL) {
        rc = write_svg(document, svg);
        if (rc != CTL_OK) {
            json_decref(document);
        }
    }
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(document);
    }
    if (svg == NULL) {
        print_ring(document);
    }
    json_decref(document);
    return CTL_OK;
}

/* ---- slot, session where ---- */

static void print_list(const json_t *list, const char *first, const char *others)
{
    const json_t *node;
    char since[32];
    size_t index;

    json_array_foreach(list, index, node)
    {
        printf("  %-8s ", index == 0 ? first : others);
        show_bytes(stdout, belay_text(ctl_text(node, "name")));
        printf(" (#%" PRIu64 ", %s, link %s", ctl_number(node, "number"), ctl_text(node, "state"),
               ctl_text(node, "link"));
        if (ctl_number(node, "records_behind") > 0) {
            printf(", %" PRIu64 " records, %s behind", ctl_number(node, "records_behind"),
                   show_duration(ctl_number(node, "behind_ms"), since, sizeof since));
        }
        puts(")");
    }
}

static int ask_slot(struct ctl *ctl, uint32_t slot, json_t **document)
{
    char argument[12];

    snprintf(argument, sizeof argument, "%" PRIu32, slot);
    return ctl_admin(ctl, "slot", argument, document);
}

static void print_slot(const json_t *document)
{
    const json_t *owners = json_object_get(document, "owners");
    const json_t *targets = json_object_get(document, "targets");

    print_list(owners, "primary", "copy");
    if (json_array_size(owners) == 0) {
        puts("  nobody has it");
    }
    if (!json_equal(owners, targets)) {
        print_list(targets, "to own", "to own");
    }
}

int slot_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *document;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    char *end;
    unsigned long slot = strtoul(operands.items[0], &end, 10);
    if (operands.items[0][0] < '0' || operands.items[0][0] > '9' || *end != '\0' ||
        slot >= SLOT_COUNT) {
        return ctl_usage(ctl, "%s is no slot: they are 0 to %d", operands.items[0], SLOT_COUNT - 1);
    }
    rc = ask_slot(ctl, (uint32_t)slot, &document);
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(document);
    }
    printf("slot %lu, by the map of epoch %" PRIu64 "\n", slot, ctl_number(document, "epoch"));
    print_slot(document);
    json_decref(document);
    return CTL_OK;
}

/* That it cannot be told, in a moment, is no answer: the nodes are shown all the same. */
static bool is_absent(struct ctl *ctl, const char *key)
{
    struct belay_client *client = ctl_client(ctl);
    struct belay_request *get =
        belay_get_begin(client, belay_text(key), BELAY_GET_META | BELAY_GET_NO_TOUCH);

    belay_request_timeout_ms(get, LOOK_MS);
    return belay_run(get, NULL) == BELAY_NOT_FOUND;
}

int session_where_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *document;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    const char *key = operands.items[0];
    uint32_t slot = slot_of_key(bytes_of_string(key));
    rc = ask_slot(ctl, slot, &document);
    if (rc != CTL_OK) {
        return rc;
    }
    const bool absent = is_absent(ctl, key);
    if (ctl->json) {
        json_set_bytes(document, "key", belay_text(key));
        json_object_set_new(document, "absent", json_boolean(absent));
        return ctl_print_json(document);
    }
    show_bytes(stdout, belay_text(key));
    printf(": slot %" PRIu32 ", by the map of epoch %" PRIu64 "\n", slot,
           ctl_number(document, "epoch"));
    if (absent) {
        puts("  there is no such session; one that begins would be here:");
    }
    print_slot(document);
    json_decref(document);
    return CTL_OK;
}
