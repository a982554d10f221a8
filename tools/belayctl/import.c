/* belayctl import: the command, and its walk over the keys of the source. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "import.h"

enum { SCAN_COUNT = 1000, ATTEMPTS_MAX = 5 };

uint64_t import_time_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- What goes wrong ---- */

void import_failed(struct import *import, int rc, const char *format, ...)
{
    char text[600];
    va_list arguments;

    if (import->rc != CTL_OK) {
        return;
    }
    import->rc = rc;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    progress_end(&import->progress);
    if (import->ctl->json) {
        json_t *error = json_object();
        json_object_set_new(error, "status", json_string("FAILED"));
        json_set_bytes(error, "text", belay_text(text));
        json_object_set_new(error, "node", json_string(""));
        ctl_print_json(json_pack("{s:o}", "error", error));
    } else {
        fprintf(stderr, "belayctl: import: %s\n", text);
    }
}

void import_note(struct import *import, enum trouble trouble, struct bytes key, const char *why)
{
    struct noted *noted = &import->noted[trouble];

    if (noted->count < EXAMPLES_MAX) {
        noted->examples[noted->count].key = import_copy(import, key);
        snprintf(noted->examples[noted->count].why, sizeof noted->examples[0].why, "%s", why);
    }
    noted->count++;
}

struct bytes import_copy(struct import *import, struct bytes bytes)
{
    uint8_t *copy = malloc(bytes.size + 1);

    if (copy == NULL) {
        import_failed(import, CTL_REFUSED, "out of memory");
        return bytes_of(NULL, 0);
    }
    memcpy(copy, bytes.data, bytes.size);
    return bytes_of(copy, bytes.size);
}

void import_free(struct bytes copy)
{
    union {
        const uint8_t *given;
        void *own;
    } data = {.given = copy.data};

    free(data.own);
}

void import_again(struct import *import, struct bytes key, uint32_t attempts, bool replace)
{
    struct wanted_list *list = &import->again;

    if (attempts >= ATTEMPTS_MAX) {
        import_note(import, TROUBLE_CHANGING, key, "changing");
        return;
    }
    if (list->count == list->capacity) {
        size_t capacity = list->capacity * 2 + 16;
        struct wanted *items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL) {
            import_failed(import, CTL_REFUSED, "out of memory");
            return;
        }
        list->items = items;
        list->capacity = capacity;
    }
    struct bytes copy = import_copy(import, key);
    if (copy.data != NULL) {
        list->items[list->count++] =
            (struct wanted){.key = copy, .attempts = attempts, .replace = replace};
    }
}

/* ---- The walk ---- */

/* The keys of one answer to SCAN. */
static void copy_batch(struct import *import, const redisReply *keys)
{
    struct wanted *wanted = calloc(keys->elements + 1, sizeof *wanted);

    if (wanted == NULL) {
        import_failed(import, CTL_REFUSED, "out of memory");
        return;
    }
    for (size_t i = 0; i < keys->elements; i++) {
        wanted[i].key = reply_bytes(keys->element[i]);
    }
    import_keys(import, wanted, keys->elements);
    free(wanted);
    import->seen += keys->elements;
    progress_update(&import->progress, import->seen);
}

static void copy_again(struct import *import)
{
    if (import->again.count > 0) {
        import_land(import);
        import_keys_again(import);
    }
}

static void copy_all(struct import *import)
{
    char cursor[24] = "0";

    do {
        if (import->match != NULL) {
            source_ask(import, "SCAN %s MATCH %s COUNT %d", cursor, import->match, SCAN_COUNT);
        } else {
            source_ask(import, "SCAN %s COUNT %d", cursor, SCAN_COUNT);
        }
        redisReply *reply = source_answer(import);
        if (reply == NULL) {
            break;
        }
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        copy_batch(import, reply->element[1]);
        freeReplyObject(reply);
        copy_again(import);
    } while (import->rc == CTL_OK && strcmp(cursor, "0") != 0);
    import_land(import);
    while (import->again.count > 0 && import->rc == CTL_OK) {
        copy_again(import);
        import_land(import);
    }
}

/* How many keys there are, for the bar. */
static uint64_t count_keys(struct import *import)
{
    source_ask(import, "DBSIZE");
    redisReply *reply = source_answer(import);
    uint64_t count =
        reply == NULL || import->match != NULL || reply->integer < 0 ? 0 : (uint64_t)reply->integer;

    freeReplyObject(reply);
    return count;
}

static void run(struct import *import)
{
    import->client = ctl_client(import->ctl);
    if (import->client == NULL) {
        import->rc = CTL_USAGE;
        return;
    }
    import_read_policies(import);
    if (import->rc == CTL_OK) {
        source_open(import);
    }
    uint64_t total = count_keys(import);
    progress_begin(&import->progress, "keys", total);
    copy_all(import);
    sample_check(import);
    progress_end(&import->progress);
    if (import->rc != CTL_OK && import->seen > 0 && !import->ctl->json) {
        fprintf(stderr, "Some was copied. Run it again to copy all.\n");
    }
}

static void clear(struct import *import)
{
    belay_client_destroy(import->client); /* Answers that are still to come need the rest. */
    import->ctl->client = NULL;
    for (size_t i = 0; i < TROUBLES; i++) {
        for (size_t j = 0; j < EXAMPLES_MAX; j++) {
            import_free(import->noted[i].examples[j].key);
        }
    }
    for (size_t i = 0; i < import->again.count; i++) {
        import_free(import->again.items[i].key);
    }
    for (size_t i = 0; i < SAMPLE_KEYS; i++) {
        import_free(import->sample.keys[i].key);
    }
    for (size_t i = 0; i < import->lifetime_count; i++) {
        free(import->lifetimes[i].prefix);
    }
    free(import->lifetimes);
    free(import->again.items);
    source_close(&import->source);
    free(import);
}

int import_run(struct ctl *ctl, int argc, char **argv)
{
    const char *match = NULL;
    const struct option options[] = {
        {"match", OPTION_TEXT, &match},
        {NULL, OPTION_FLAG, NULL},
    };
    struct text_list operands;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    struct import *import = calloc(1, sizeof *import);
    if (import == NULL) {
        fprintf(stderr, "belayctl: out of memory\n");
        return CTL_REFUSED;
    }
    import->ctl = ctl;
    import->match = match;
    import->sample.random = import_time_ms();
    import->rc = source_parse(&import->source, ctl, operands.items[0]);
    if (import->rc == CTL_OK) {
        ctl->wide = true;
        if (import->source.database != 0) {
            import->prefix_size = (size_t)snprintf(import->prefix, sizeof import->prefix,
                                                   "\x01%u:", import->source.database);
        }
        run(import);
    }
    rc = import->rc == CTL_OK ? import_report(import) : import->rc;
    clear(import);
    return rc;
}
