#include "archive_access.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "archive_key_file.h"
#include "heap.h"

/* ---- Calls, and waiting for them ---- */

struct waiting {
    struct archive_access *access;
    bool done;
    int rc;
    struct buffer *body; /* Of a GET. */
    uint64_t size;
    /* Of a LIST. */
    int (*visit)(void *context, const char *name, uint64_t size);
    void *context;
    int visited;
    char last[OBJECT_NAME_BYTES_MAX + 1];
    bool more;
};

static void take_names(struct waiting *waiting, const struct object_answer *answer)
{
    for (uint32_t i = 0; i < answer->listed_count && waiting->visited == 0; i++) {
        const struct object_listed *listed = &answer->listed[i];
        snprintf(waiting->last, sizeof waiting->last, "%s", listed->name);
        waiting->visited = waiting->visit(waiting->context, listed->name, listed->size);
    }
    waiting->more = answer->more && answer->listed_count > 0;
}

static void on_done(void *context, const struct object_answer *answer)
{
    struct waiting *waiting = context;

    waiting->done = true;
    waiting->rc = answer->rc;
    waiting->size = answer->size;
    if (answer->rc != 0) {
        snprintf(waiting->access->text, sizeof waiting->access->text, "%s", answer->text);
        return;
    }
    if (waiting->body != NULL) {
        waiting->body->size = 0;
        waiting->rc = buffer_append(waiting->body, answer->body);
        waiting->access->bytes_read += answer->body.size;
    }
    if (waiting->visit != NULL) {
        take_names(waiting, answer);
    }
}

struct slow {
    struct archive_access *access;
    const char *name;
};

static void on_slow(uv_timer_t *timer)
{
    const struct slow *slow = timer->data;

    slow->access->slow_told = true;
    slow->access->slow(slow->access->slow_context, slow->name);
}

void access_run(struct archive_access *access, const bool *done, const atomic_bool *stops,
                const char *name)
{
    const bool tells = access->slow != NULL && !access->slow_told;
    struct slow slow = {access, name};

    if (tells && !access->timer_made) {
        access->timer_made = uv_timer_init(&access->loop, &access->timer) == 0;
    }
    if (tells && access->timer_made) {
        access->timer.data = &slow;
        uv_timer_start(&access->timer, on_slow, ACCESS_SLOW_MS, 0);
    }
    while (!*done && (stops == NULL || !*stops)) {
        uv_run(&access->loop, UV_RUN_ONCE);
    }
    if (access->timer_made) {
        uv_timer_stop(&access->timer);
    }
}

/* Returns the call's rc, with `text` set where that is not 0. */
static int wait_for(struct archive_access *access, struct object_call *call,
                    struct waiting *waiting)
{
    waiting->access = access;
    waiting->done = false;
    call->done = on_done;
    call->context = waiting;
    access->text[0] = '\0';
    if (access->stops != NULL && *access->stops) {
        return -ECANCELED;
    }
    int rc = object_store_begin(access->store, call);
    if (rc == 0) {
        access_run(access, &waiting->done, NULL, call->name);
    }
    rc = rc != 0 ? rc : waiting->rc;
    if (rc != 0 && access->text[0] == '\0') {
        snprintf(access->text, sizeof access->text, "%s: %s", call->name, access_error(rc));
    }
    return rc;
}

int access_list(struct archive_access *access, const char *prefix,
                int (*visit)(void *context, const char *name, uint64_t size), void *context)
{
    struct waiting waiting = {.visit = visit, .context = context};
    int rc;

    do {
        char after[OBJECT_NAME_BYTES_MAX + 1];
        memcpy(after, waiting.last, sizeof after);
        struct object_call call = {
            .op = OBJECT_LIST, .name = prefix, .after = after[0] == '\0' ? NULL : after};
        rc = wait_for(access, &call, &waiting);
    } while (rc == 0 && waiting.visited == 0 && waiting.more);
    return rc != 0 ? rc : waiting.visited;
}

struct first {
    char *name;
    size_t name_size;
    uint64_t *size;
};

static int take_first(void *context, const char *name, uint64_t size)
{
    const struct first *first = context;

    snprintf(first->name, first->name_size, "%s", name);
    *first->size = size;
    return 1;
}

int access_first(struct archive_access *access, const char *after, char *name, size_t name_size,
                 uint64_t *size)
{
    struct first first = {name, name_size, size};
    struct waiting waiting = {.visit = take_first, .context = &first};
    struct object_call call = {.op = OBJECT_LIST, .name = "", .after = after};

    int rc = wait_for(access, &call, &waiting);
    return rc != 0 ? rc : waiting.visited == 1 ? 0 : -ENOENT;
}

int access_get(struct archive_access *access, const char *name, uint64_t offset, uint64_t size,
               struct buffer *to)
{
    struct waiting waiting = {.body = to};
    struct object_call call = {
        .op = OBJECT_GET, .name = name, .offset = offset, .bytes_max = size, .part = true};

    int rc = access_take_ahead(access, name, offset, size, to);
    if (rc != 0) {
        return rc == 1 ? 0 : rc;
    }
    rc = wait_for(access, &call, &waiting);
    if (rc == 0 && to->size != size) {
        snprintf(access->text, sizeof access->text, "%s ends too early", name);
        return -EBADMSG;
    }
    return rc;
}

int access_blocks(struct archive_access *access, uint32_t first, uint32_t count, struct buffer *to,
                  struct bytes *stored)
{
    const struct archive_reader *reader = &access->reader;
    uint64_t offset = reader->blocks[first].offset;
    uint64_t size = archive_reader_bytes(reader, first, count);
    char name[ARCHIVE_NAME_BYTES];

    if (offset >= access->bytes_at) {
        *stored = bytes_of(access->bytes.data + (offset - access->bytes_at), (size_t)size);
        return 0;
    }
    archive_name_put(name, &reader->header.name);
    int rc = access_get(access, name, offset, size, to);
    *stored = rc == 0 ? buffer_bytes(to) : bytes_of(NULL, 0);
    return rc;
}

int access_remove(struct archive_access *access, const char *name)
{
    struct waiting waiting = {.body = NULL};
    struct object_call call = {.op = OBJECT_REMOVE, .name = name};

    return wait_for(access, &call, &waiting);
}

static int count_removed(void *context, const char *name, uint64_t size)
{
    uint64_t *removed = context;

    (void)name;
    (void)size;
    ++*removed;
    return 0;
}

int access_tidy(struct archive_access *access, const char *prefix, uint64_t before_ms,
                uint64_t *removed)
{
    struct waiting waiting = {.visit = count_removed, .context = removed};
    struct object_call call = {.op = OBJECT_TIDY, .name = prefix, .before_ms = before_ms};
    int rc;

    do {
        rc = wait_for(access, &call, &waiting);
    } while (rc == 0 && waiting.more);
    return rc;
}

const char *access_error(int rc)
{
    switch (rc) {
    case -ENOENT:
        return "it is not there";
    case -EBADMSG:
        return "it is damaged";
    case -EPROTONOSUPPORT:
        return "it is of another version of the format";
    case -ENOKEY:
        return "it is enciphered, and its key is not in the key file";
    case -EKEYREJECTED:
        return "it is enciphered with another key of that id than the key file has";
    default:
        return strerror(-rc);
    }
}

/* ---- Opening objects ---- */

static uint64_t tail_of(uint64_t size)
{
    return size < ARCHIVE_TAIL_BYTES ? size : ARCHIVE_TAIL_BYTES;
}

int access_expect_open(struct archive_access *access, const struct archive_name *name,
                       uint64_t size)
{
    const uint64_t tail = tail_of(size);
    char text[ARCHIVE_NAME_BYTES];

    archive_name_put(text, name);
    return access_expect(access, text, size - tail, tail);
}

static int open_object(struct catalog_port *port, const struct archive_name *name, uint64_t size,
                       struct archive_reader **reader)
{
    struct archive_access *access = (struct archive_access *)port;
    uint64_t tail = tail_of(size);
    char text[ARCHIVE_NAME_BYTES];
    int rc;

    archive_name_put(text, name);
    do {
        rc = access_get(access, text, size - tail, tail, &access->bytes);
        if (rc == 0) {
            access->bytes_at = size - tail;
            rc = archive_reader_open(&access->reader, buffer_bytes(&access->bytes), size, &tail);
        }
    } while (rc == -EAGAIN && tail <= size);
    rc = rc == -EAGAIN ? -EBADMSG : rc;
    if (rc == 0 &&
        (archive_name_compare(&access->reader.header.name, name) != 0 ||
         access->reader.header.name.kind != name->kind ||
         memcmp(access->reader.header.name.cluster, name->cluster, sizeof name->cluster) != 0)) {
        rc = -EBADMSG; /* It is another one, which somebody has put in its place. */
    }
    if (rc != 0) {
        if (access->text[0] == '\0') {
            snprintf(access->text, sizeof access->text, "%s: %s", text, access_error(rc));
        }
        return rc;
    }
    *reader = &access->reader;
    return 0;
}

static void init(struct archive_access *access)
{
    memset(access, 0, sizeof *access);
    access->port.open = open_object;
    access->memory = access->bytes.memory = heap_memory();
    archive_reader_init(&access->reader, access->memory, &access->keys);
}

int access_open(struct archive_access *access, const struct archive_place *place,
                const char *key_file)
{
    char message[ACCESS_TEXT_BYTES] = "";

    init(access);
    int rc = archive_key_file_read(&access->keys, key_file == NULL ? "" : key_file, message,
                                   sizeof message);
    if (rc != 0 && message[0] != '\0') { /* Else there is no key. */
        snprintf(access->text, sizeof access->text, "%s", message);
        return rc;
    }
    rc = uv_loop_init(&access->loop);
    if (rc != 0) {
        snprintf(access->text, sizeof access->text, "no loop: %s", uv_strerror(rc));
        return rc;
    }
    rc = archive_place_open(&access->loop, place, &access->store, message, sizeof message);
    if (rc != 0) {
        snprintf(access->text, sizeof access->text, "%s", message);
        uv_loop_close(&access->loop);
        archive_keys_wipe(&access->keys);
        return rc;
    }
    return 0;
}

int access_open_store(struct archive_access *access,
                      int (*make)(void *context, uv_loop_t *loop, struct object_store **store),
                      void *context)
{
    init(access);
    int rc = uv_loop_init(&access->loop);
    if (rc != 0) {
        return rc;
    }
    rc = make(context, &access->loop, &access->store);
    if (rc != 0) {
        uv_loop_close(&access->loop);
    }
    return rc;
}

void access_close(struct archive_access *access)
{
    access_expect_nothing(access);
    object_store_destroy(access->store);
    if (access->timer_made) {
        uv_close((uv_handle_t *)&access->timer, NULL);
    }
    uv_run(&access->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&access->loop);
    assert(rc == 0); /* Nothing of the store is left on it. */
    archive_reader_fini(&access->reader);
    archive_keys_wipe(&access->keys);
    buffer_fini(&access->bytes);
}

/* ---- A cluster's objects ---- */

static void put_hex(char *to, const uint8_t cluster[CLUSTER_ID_BYTES])
{
    for (int i = 0; i < CLUSTER_ID_BYTES; i++) {
        snprintf(to + (size_t)2 * (size_t)i, 3, "%02x", cluster[i]);
    }
}

int access_next_cluster(struct archive_access *access, const uint8_t after[CLUSTER_ID_BYTES],
                        uint8_t cluster[CLUSTER_ID_BYTES])
{
    char last[OBJECT_NAME_BYTES_MAX + 2] = "", name[OBJECT_NAME_BYTES_MAX + 1];
    struct archive_name parsed;
    uint64_t size;

    if (after != NULL) {
        put_hex(last, after);
        strcat(last, "/~"); /* Behind all of that cluster's. */
    }
    for (;;) {
        int rc = access_first(access, last[0] == '\0' ? NULL : last, name, sizeof name, &size);
        if (rc != 0) {
            return rc;
        }
        if (archive_name_parse(name, &parsed) == 0) {
            memcpy(cluster, parsed.cluster, CLUSTER_ID_BYTES);
            return 0;
        }
        snprintf(last, sizeof last, "%s", name);
    }
}

struct listing {
    struct archive_access *access;
    struct archive_catalog *catalog;
};

static int take_name(void *context, const char *name, uint64_t size)
{
    const struct listing *listing = context;
    struct archive_name parsed;

    if (archive_name_parse(name, &parsed) != 0) {
        return 0; /* Somebody else's. */
    }
    int rc = catalog_add(listing->catalog, &parsed, size);
    if (rc != 0) {
        snprintf(listing->access->text, sizeof listing->access->text,
                 rc == -ENOMEM ? "out of memory" : "the store lists %s out of order", name);
    }
    return rc;
}

int access_catalog(struct archive_access *access, const uint8_t cluster[CLUSTER_ID_BYTES],
                   struct archive_catalog *catalog)
{
    struct listing listing = {access, catalog};
    const struct actor any = {0, 0};
    char prefix[ARCHIVE_NAME_BYTES];

    catalog_init(catalog, access->memory);
    archive_name_prefix(prefix, ARCHIVE_LOG, cluster, any);
    int rc = access_list(access, prefix, take_name, &listing);
    if (rc == 0) {
        archive_name_prefix(prefix, ARCHIVE_PART, cluster, any);
        rc = access_list(access, prefix, take_name, &listing);
    }
    for (size_t i = 0; i < catalog->checkpoint_count && rc == 0; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        const struct archive_name name = catalog_done_name(catalog, checkpoint);
        rc = checkpoint->done_size == 0 ? 0
                                        : access_expect_open(access, &name, checkpoint->done_size);
    }
    rc = rc != 0 ? rc : catalog_load(catalog, &access->port);
    access_expect_nothing(access);
    if (rc != 0) {
        catalog_fini(catalog);
    }
    return rc;
}

struct part_sizes {
    uint64_t *sizes;
    uint32_t count;
};

static int take_size(void *context, const char *name, uint64_t size)
{
    const struct part_sizes *parts = context;
    struct archive_name parsed;

    if (archive_name_parse(name, &parsed) == 0 && parsed.kind == ARCHIVE_PART &&
        parsed.part < parts->count) {
        parts->sizes[parsed.part] = size;
    }
    return 0;
}

int access_part_sizes(struct archive_access *access, const struct archive_catalog *catalog,
                      const struct catalog_checkpoint *checkpoint, uint64_t sizes[])
{
    const struct archive_name name = catalog_part_name(catalog, checkpoint, 0);
    struct part_sizes parts = {sizes, checkpoint->parts};
    char text[ARCHIVE_NAME_BYTES];

    memset(sizes, 0, parts.count * sizeof *sizes);
    archive_name_put(text, &name);
    strrchr(text, '/')[1] = '\0';
    return access_list(access, text, take_size, &parts);
}
