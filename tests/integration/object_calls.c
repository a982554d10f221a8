/* Calls of an object store (server/archive/object_store.h) as lines of JSON tell them: tests/lib/objects.py.
 *
 * object_calls NAME=VALUE...: an S3 store of these options, or with `directory` one in a directory. A line on stdin begins
 * a call, {"id": 1, "op": "put", "name": "a", "size": 5, "seed": 7}, and its end is a line on stdout. Bodies are made here,
 * by size and seed, and told by their SHA-256. Once stdin ends the store is destroyed, and all that is under way with it.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

#include "heap.h"
#include "memory.h"
#include "object_files.h"
#include "s3.h"
#include "sigv4.h"

enum { LINE_BYTES_MAX = 64 * 1024, SEED_CYCLE = 251 };

static struct object_store *store;
static int64_t clock_offset_s;

static const struct {
    const char *name;
    enum object_op op;
} OPS[] = {{"put", OBJECT_PUT},
           {"get", OBJECT_GET},
           {"list", OBJECT_LIST},
           {"remove", OBJECT_REMOVE},
           {"tidy", OBJECT_TIDY}};

struct call {
    json_int_t id;
    uint8_t *body;
    uint64_t begun_ns;
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "object_calls: %s: %s\n", what, why);
    exit(1);
}

static void *must(void *memory)
{
    if (memory == NULL) {
        die("memory", "there is none");
    }
    return memory;
}

static void say(json_t *line)
{
    if (json_dumpf(must(line), stdout, JSON_COMPACT) != 0 || putchar('\n') == EOF ||
        fflush(stdout) != 0) {
        die("stdout", strerror(errno));
    }
    json_decref(line);
}

/* ---- Calls ---- */

static void on_done(void *context, const struct object_answer *answer)
{
    struct call *call = context;
    uint64_t took_ns = uv_hrtime() - call->begun_ns;
    char hash[SIGV4_HASH_BYTES];
    json_t *names = must(json_array());

    sigv4_hash(answer->body, hash);
    for (uint32_t i = 0; i < answer->listed_count; i++) {
        const struct object_listed *listed = &answer->listed[i];
        json_array_append_new(names, json_pack("[sI]", listed->name, (json_int_t)listed->size));
    }
    say(json_pack("{sI si ss sI sI ss so sb sI}", "id", call->id, "rc", answer->rc, "text",
                  answer->text, "size", (json_int_t)answer->size, "body",
                  (json_int_t)answer->body.size, "sha256", hash, "names", names, "more",
                  answer->more, "took_us", (json_int_t)(took_ns / 1000)));
    free(call->body);
    free(call);
}

static uint8_t *make_body(size_t size, uint32_t seed)
{
    uint8_t *body = must(malloc(size + 1));

    for (size_t i = 0; i < size; i++) {
        body[i] = (uint8_t)((seed + i) % SEED_CYCLE);
    }
    return body;
}

static const char *text_of(const json_t *asked, const char *name)
{
    return json_string_value(json_object_get(asked, name));
}

static uint64_t number_of(const json_t *asked, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(asked, name));
}

static void begin_call(const json_t *asked, enum object_op op, json_int_t id)
{
    size_t size = (size_t)number_of(asked, "size");
    struct call *call = must(malloc(sizeof *call));

    *call = (struct call){.id = id};
    call->body = op == OBJECT_PUT ? make_body(size, (uint32_t)number_of(asked, "seed")) : NULL;
    const struct object_call begun = {
        .op = op,
        .name = text_of(asked, "name"),
        .body = bytes_of(call->body, size),
        .hash = text_of(asked, "hash"),
        .only_new = json_is_true(json_object_get(asked, "only_new")),
        .offset = number_of(asked, "offset"),
        .bytes_max = number_of(asked, "bytes_max"),
        .part = json_is_true(json_object_get(asked, "part")),
        .after = text_of(asked, "after"),
        .before_ms = number_of(asked, "before_ms"),
        .done = on_done,
        .context = call,
    };
    call->begun_ns = uv_hrtime();
    int rc = object_store_begin(store, &begun);
    if (rc != 0) {
        on_done(call, &(struct object_answer){.rc = rc, .text = "it was not begun"});
    }
}

static void tell_stats(json_int_t id)
{
    struct object_store_stats stats;

    store->stats(store, &stats);
    say(json_pack("{sI sI sI}", "id", id, "tries", (json_int_t)stats.tries, "tries_again",
                  (json_int_t)stats.tries_again));
}

static void take_line(const char *line, size_t size)
{
    json_t *asked = json_loadb(line, size, 0, NULL);
    const char *op = text_of(asked, "op");

    if (op == NULL) {
        die("stdin", "no such line");
    }
    if (strcmp(op, "stats") == 0) {
        tell_stats((json_int_t)number_of(asked, "id"));
    }
    for (size_t i = 0; i < sizeof OPS / sizeof OPS[0]; i++) {
        if (strcmp(op, OPS[i].name) == 0) {
            begin_call(asked, OPS[i].op, (json_int_t)number_of(asked, "id"));
        }
    }
    json_decref(asked);
}

/* ---- Lines ---- */

static char input[LINE_BYTES_MAX];
static size_t input_size;

static void on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *room)
{
    (void)handle;
    (void)wanted;
    *room = uv_buf_init(input + input_size, (unsigned)(sizeof input - input_size));
}

static void on_input(uv_stream_t *stream, ssize_t size, const uv_buf_t *room)
{
    char *end;

    (void)room;
    if (size < 0) {
        uv_close((uv_handle_t *)stream, NULL);
        object_store_destroy(store);
        return;
    }
    input_size += (size_t)size;
    while ((end = memchr(input, '\n', input_size)) != NULL) {
        size_t line = (size_t)(end - input);
        take_line(input, line);
        input_size -= line + 1;
        memmove(input, end + 1, input_size);
    }
    if (input_size == sizeof input) {
        die("stdin", "the line is too long");
    }
}

/* ---- The store ---- */

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)(now.tv_sec + clock_offset_s) * 1000;
}

/* The value of an argument, if it is of that name. */
static const char *value_of(const char *argument, const char *name)
{
    size_t size = strlen(name);

    return strncmp(argument, name, size) == 0 && argument[size] == '=' ? argument + size + 1 : NULL;
}

static void open_store(uv_loop_t *loop, char **arguments)
{
    struct s3_options options = {.loop = loop, .path_style = true, .now_ms = now_ms};
    const char *numbers[4] = {NULL}, *offset = NULL, *directory = NULL;
    const struct {
        const char *name, **value;
    } texts[] = {
        {"endpoint", &options.endpoint},
        {"bucket", &options.bucket},
        {"prefix", &options.prefix},
        {"region", &options.region},
        {"access_key", &options.access_key},
        {"secret_key", &options.secret_key},
        {"parallel", &numbers[0]},
        {"try_ms", &numbers[1]},
        {"call_ms", &numbers[2]},
        {"part_bytes", &numbers[3]},
        {"clock_offset_s", &offset},
        {"directory", &directory},
    };
    char message[256];

    for (; *arguments != NULL; arguments++) {
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
            const char *value = value_of(*arguments, texts[i].name);
            *texts[i].value = value != NULL ? value : *texts[i].value;
        }
    }
    uint64_t values[4];
    for (size_t i = 0; i < 4; i++) {
        values[i] = numbers[i] == NULL ? 0 : strtoull(numbers[i], NULL, 10);
    }
    options.parallel = (uint32_t)values[0];
    options.try_ms = (uint32_t)values[1];
    options.call_ms = (uint32_t)values[2];
    options.part_bytes = values[3];
    clock_offset_s = offset == NULL ? 0 : strtoll(offset, NULL, 10);
    int rc = directory != NULL
                 ? object_files_create(loop, directory, true, &store, message, sizeof message)
                 : s3_create(&options, &store, message, sizeof message);
    if (rc != 0) {
        die("the store", message);
    }
}

int main(int argc, char **argv)
{
    uv_loop_t loop;
    uv_pipe_t pipe;

    (void)argc;
    uv_loop_init(&loop);
    open_store(&loop, argv + 1);
    uv_pipe_init(&loop, &pipe, 0);
    if (uv_pipe_open(&pipe, 0) != 0 ||
        uv_read_start((uv_stream_t *)&pipe, on_room, on_input) != 0) {
        die("stdin", "it is no pipe");
    }
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop) == 0 ? 0 : 1; /* Nothing of the store is left on it. */
}
