/* Reading ahead: who reads an archive says what comes next, and of that some is under way while it looks at what has come.
 * What cannot be read ahead is asked for again when its turn comes, and fails then, if at all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "archive_access.h"

enum { LOOK_MAX = 256 }; /* So far what is asked for is looked for among what is expected. */

struct access_part {
    struct access_part *next;
    struct archive_access *access;
    uint64_t offset, size;
    bool begun, done;
    bool dropped; /* Nobody waits for it: it goes when it is done. */
    int rc;
    struct buffer body;
    char name[];
};

static void free_part(struct access_part *part)
{
    if (part->begun) {
        part->access->ahead_bytes -= part->size;
    }
    buffer_fini(&part->body);
    free(part);
}

/* Of megabytes a copy would cost what else is done with them. Returns 0 or -ENOMEM. */
static int take(struct buffer *body, const struct object_answer *answer)
{
    if (answer->whole == NULL) {
        return buffer_append(body, answer->body);
    }
    buffer_fini(body);
    *body = *answer->whole;
    *answer->whole = (struct buffer){.memory = body->memory};
    return 0;
}

static void on_done(void *context, const struct object_answer *answer)
{
    struct access_part *part = context;

    part->done = true;
    part->access->ahead_calls--;
    part->rc = answer->rc;
    if (part->dropped) {
        free_part(part);
        return;
    }
    if (answer->rc == 0) {
        part->rc = take(&part->body, answer);
        part->access->bytes_read += answer->body.size;
    }
}

static void begin(struct access_part *part)
{
    struct archive_access *access = part->access;
    const struct object_call call = {
        .op = OBJECT_GET,
        .name = part->name,
        .offset = part->offset,
        .bytes_max = part->size,
        .part = true,
        .done = on_done,
        .context = part,
    };

    part->begun = true;
    part->rc = object_store_begin(access->store, &call);
    part->done = part->rc != 0;
    access->ahead_calls += !part->done;
    access->ahead_bytes += part->size;
}

/* Begin what there is room for. */
static void go_on(struct archive_access *access)
{
    for (struct access_part *part = access->ahead; part != NULL; part = part->next) {
        if (part->begun) {
            continue;
        }
        if (access->ahead_calls >= ACCESS_AHEAD_CALLS ||
            (access->ahead_bytes > 0 && access->ahead_bytes + part->size > ACCESS_AHEAD_BYTES)) {
            return;
        }
        begin(part);
    }
}

static void drop_first(struct archive_access *access)
{
    struct access_part *part = access->ahead;

    access->ahead = part->next;
    if (access->ahead == NULL) {
        access->ahead_end = &access->ahead;
    }
    if (part->begun && !part->done) {
        part->dropped = true;
    } else {
        free_part(part);
    }
}

int access_expect(struct archive_access *access, const char *name, uint64_t offset, uint64_t size)
{
    const size_t name_bytes = strlen(name) + 1;
    struct access_part *part = calloc(1, sizeof *part + name_bytes);

    if (part == NULL) {
        return -ENOMEM;
    }
    part->access = access;
    part->offset = offset;
    part->size = size;
    part->body.memory = access->memory;
    memcpy(part->name, name, name_bytes);
    if (access->ahead == NULL) {
        access->ahead_end = &access->ahead;
    }
    *access->ahead_end = part;
    access->ahead_end = &part->next;
    return 0;
}

void access_expect_nothing(struct archive_access *access)
{
    while (access->ahead != NULL) {
        drop_first(access);
    }
}

/* Is this expected? Then it is the first one now. */
static bool find(struct archive_access *access, const char *name, uint64_t offset, uint64_t size)
{
    struct access_part *part = access->ahead;
    uint32_t before = 0;

    while (part != NULL && before < LOOK_MAX &&
           (part->offset != offset || part->size != size || strcmp(part->name, name) != 0)) {
        part = part->next;
        before++;
    }
    if (part == NULL || before == LOOK_MAX) {
        return false;
    }
    for (; before > 0; before--) {
        drop_first(access);
    }
    return true;
}

int access_take_ahead(struct archive_access *access, const char *name, uint64_t offset,
                      uint64_t size, struct buffer *to)
{
    if (!find(access, name, offset, size)) {
        return 0;
    }
    struct access_part *part = access->ahead;
    access->text[0] = '\0';
    go_on(access);
    uv_run(&access->loop, UV_RUN_NOWAIT);
    if (part->begun) {
        access_run(access, &part->done, access->stops, name);
    }
    if (access->stops != NULL && *access->stops) {
        return -ECANCELED;
    }
    bool good = part->begun && part->rc == 0 && part->body.size == size;
    if (good) {
        const struct buffer body = part->body;
        buffer_fini(to);
        *to = body;
        part->body = (struct buffer){.memory = access->memory};
    }
    drop_first(access);
    go_on(access);
    return good;
}
