/* belayctl archive verify: every byte of every object, and that nothing is missing between them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "archive.h"
#include "archive_check.h"

struct verify {
    struct archive_command command;
    struct archive_catalog catalog;
    struct archive_check check;
    struct progress progress;
    uint64_t objects, bytes, gaps;
    uint64_t unfinished; /* Checkpoints without an end: being written, or given up. */
};

/* As archive_check.h's `damaged`. */
static void tell(void *context, const char *name, const char *why, uint16_t first, uint16_t last)
{
    struct verify *verify = context;

    progress_end(&verify->progress);
    archive_tell_damaged(&verify->command, name, why, first, last);
}

/* Can this object not be read, though the store answers? */
static bool is_closed(int rc)
{
    return rc == -ENOENT || rc == -ENOKEY || rc == -EKEYREJECTED;
}

/* Returns 0, having told what is damaged; or an error that ends it. */
static int check_object(struct verify *verify, const struct archive_name *name, uint64_t size)
{
    char text[ARCHIVE_NAME_BYTES];

    verify->objects++;
    verify->bytes += size;
    progress_update(&verify->progress, verify->objects);
    int rc = archive_check_object(&verify->check, name, size);
    if (is_closed(rc)) {
        archive_name_put(text, name);
        tell(verify, text, access_error(rc), 0, SLOT_COUNT - 1);
        rc = 0;
    }
    return rc;
}

struct found {
    struct verify *verify;
    size_t count, capacity;
    struct found_object {
        struct archive_name name;
        uint64_t size;
    } * objects;
};

static int take_name(void *context, const char *text, uint64_t size)
{
    struct found *found = context;
    struct archive_name name;

    if (archive_name_parse(text, &name) != 0) {
        return 0;
    }
    if (found->count == found->capacity) {
        size_t capacity = found->capacity * 2 + 64;
        struct found_object *objects = realloc(found->objects, capacity * sizeof *objects);
        if (objects == NULL) {
            return -ENOMEM;
        }
        found->objects = objects;
        found->capacity = capacity;
    }
    found->objects[found->count++] = (struct found_object){name, size};
    return 0;
}

static int check_objects(struct verify *verify)
{
    struct archive_command *command = &verify->command;
    struct found found = {.verify = verify};
    char prefix[CLUSTER_HEX_BYTES + 1];

    snprintf(prefix, sizeof prefix, "%s/", command->cluster_hex);
    int rc = access_list(&command->access, prefix, take_name, &found);
    progress_begin(&verify->progress, "objects", found.count);
    for (size_t i = 0; i < found.count && rc == 0; i++) {
        rc = check_object(verify, &found.objects[i].name, found.objects[i].size);
    }
    progress_end(&verify->progress);
    free(found.objects);
    return rc;
}

/* What is missing. */
static int check_gaps(struct verify *verify, json_t *gaps)
{
    struct archive_command *command = &verify->command;
    struct seen cover;

    int rc = seen_init(&cover, command->access.memory, SLOT_COUNT);
    if (rc != 0) {
        return rc;
    }
    rc = catalog_plan(&verify->catalog, &command->access.port, UINT64_MAX, &cover);
    seen_fini(&cover);
    if (rc == 0) {
        verify->gaps = archive_tell_gaps(command, &verify->catalog, UINT64_MAX, true, gaps);
        archive_tell_parts(command, &verify->catalog, UINT64_MAX);
    }
    for (size_t i = 0; i < verify->catalog.checkpoint_count && rc == 0; i++) {
        verify->unfinished += verify->catalog.checkpoints[i].done_size == 0;
    }
    return rc;
}

static int report(struct verify *verify, json_t *gaps)
{
    const struct archive_command *command = &verify->command;
    bool good = command->damaged == 0 && verify->gaps == 0;
    char size[32], objects[32], records[32];

    if (command->ctl->json) {
        int rc = ctl_print_json(json_pack(
            "{s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "cluster", command->cluster_hex, "objects",
            (json_int_t)verify->objects, "bytes", (json_int_t)verify->bytes, "records",
            (json_int_t)verify->check.records, "damaged", (json_int_t)command->damaged,
            "unfinished", (json_int_t)verify->unfinished, "gaps", gaps));
        return good ? rc : CTL_REFUSED;
    }
    json_decref(gaps);
    printf("%s: %s objects, %s, %s records; damaged %" PRIu64 ", gaps %" PRIu64
           ", checkpoints not finished %" PRIu64 "\n",
           command->cluster_hex, show_count(verify->objects, objects, sizeof objects),
           show_size(verify->bytes, size, sizeof size),
           show_count(verify->check.records, records, sizeof records), command->damaged,
           verify->gaps, verify->unfinished);
    return good ? CTL_OK : CTL_REFUSED;
}

static int run(struct verify *verify)
{
    struct archive_command *command = &verify->command;
    json_t *gaps = json_array();

    int rc = check_objects(verify);
    if (rc == 0 &&
        (rc = access_catalog(&command->access, command->cluster, &verify->catalog)) == 0) {
        rc = check_gaps(verify, gaps);
        catalog_fini(&verify->catalog);
    }
    if (rc != 0) {
        json_decref(gaps);
        return archive_failed(command, rc);
    }
    return report(verify, gaps);
}

int archive_verify_run(struct ctl *ctl, int argc, char **argv)
{
    static struct verify verify;
    const struct option options[] = {
        ARCHIVE_OPTIONS(&verify.command),
        {NULL, OPTION_FLAG, NULL},
    };
    struct text_list operands;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = archive_begin(&verify.command, ctl, operands.items[0]);
    if (rc != CTL_OK) {
        return rc;
    }
    archive_check_init(&verify.check, &verify.command.access, tell, &verify);
    rc = run(&verify);
    archive_check_fini(&verify.check);
    archive_end(&verify.command);
    return rc;
}
