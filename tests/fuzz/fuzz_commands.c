/* Fuzz target: what a Redis client sends, through the parser and the commands down to the shard's core.
 *
 * Input: one byte of switches (below), then the stream of one connection. This is the RESP door without its threads and
 * sockets: requests are cut, found in the table, checked, split where they name many keys, queued by MULTI, and run.
 * Each answer must be one whole value of the protocol's version; what a write leaves must pass session_check(); and another
 * shard that is given the log must show the same sessions.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "exec.h"
#include "fuzz.h"
#include "glob.h"
#include "heap.h"
#include "limits.h"
#include "log_kind.h"
#include "run.h"
#include "scripts.h"
#include "shard.h"
#include "slot.h"
#include "status_words.h"

enum {
    SWITCH_RESP3 = 1,
    SWITCH_NO_RESURRECT = 2,
    SWITCH_IDLE = 4,    /* A timeout that reads slide. */
    SWITCH_SMALL = 8,   /* Sessions of at most 256 bytes and 4 fields. */
    SWITCH_BEHIND = 16, /* Now and then the log takes nothing. */
};
enum {
    BULK_MAX = 16 * 1024,
    STEP_MS = 7000, /* PING lets so much time pass. */
    KEPT_MAX = 256,
    DATABASES = 16,
};

struct logged {
    uint8_t kind;
    struct bytes body;
};

struct queued {
    const struct command *command;
    struct bytes array;
};

static struct world {
    struct log_port log;
    struct door door;
    struct tracer tracer;
    struct policies policies;
    struct shard *shard;
    uint64_t now_ms, ticket, answers, lsn;
    uint8_t switches;
    bool resp3, multi;
    uint32_t database;

    enum status status; /* Of the last answer. */
    struct buffer answer, record;

    void **blocks; /* All that lives until the end of the input. */
    size_t block_count;
    struct logged *logged;
    size_t logged_count;
    struct queued queue[KEPT_MAX];
    size_t queue_count;
    struct bytes keys[KEPT_MAX]; /* Some of those that were written. */
    size_t key_count;
} world;

/* ---- Memory: as much of an area as is touched, which the heap's is not ---- */

static void *map(struct memory *memory, size_t size)
{
    size_t alignment = size & (~size + 1);
    uint8_t *all = mmap(NULL, 2 * size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    (void)memory;
    if (all == MAP_FAILED) {
        return NULL;
    }
    size_t before = (alignment - (uintptr_t)all % alignment) % alignment;
    if (before > 0) {
        (void)munmap(all, before);
    }
    if (size > before) {
        (void)munmap(all + before + size, size - before);
    }
    return all + before;
}

static void unmap(struct memory *memory, void *area, size_t size)
{
    (void)memory;
    (void)munmap(area, size);
}

static struct memory areas = {.resize = heap_resize, .map = map, .unmap = unmap};

/* ---- Around the shard ---- */

static void *keep(size_t size)
{
    if ((world.block_count & (world.block_count + 1)) == 0) {
        world.blocks = realloc(world.blocks, 2 * (world.block_count + 1) * sizeof *world.blocks);
    }
    world.blocks[world.block_count] = malloc(size > 0 ? size : 1);
    return world.blocks[world.block_count++];
}

/* A copy of its own size, so that reading past its end is seen. */
static struct bytes keep_bytes(struct bytes bytes)
{
    void *copy = keep(bytes.size);

    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    return bytes_of(copy, bytes.size);
}

static void note(uint8_t kind, struct bytes body)
{
    if ((world.logged_count & (world.logged_count + 1)) == 0) {
        world.logged = realloc(world.logged, 2 * (world.logged_count + 1) * sizeof *world.logged);
    }
    world.logged[world.logged_count++] = (struct logged){kind, body};
}

static int append(struct log_port *log, uint8_t kind, struct log_subject subject,
                  const struct bytes parts[], uint32_t part_count, uint64_t *lsn)
{
    struct buffer body = {.memory = heap_memory()};

    (void)log;
    (void)subject;
    if ((world.switches & SWITCH_BEHIND) != 0 && world.ticket % 5 == 4) {
        return -EAGAIN;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        assert(buffer_append(&body, parts[i]) == 0);
    }
    struct bytes kept = keep_bytes(buffer_bytes(&body));
    buffer_fini(&body);
    *lsn = ++world.lsn;
    if (kind != LOG_BATCH) {
        note(kind, kept);
        return 0;
    }
    struct reader reader = reader_of(kept);
    while (reader_left(&reader) > 0) {
        uint8_t inner = read_u8(&reader);
        (void)read_bytes(&reader, 8); /* Position. */
        note(inner, read_string(&reader));
    }
    assert(!reader.bad);
    return 0;
}

static void no_hurry(struct log_port *log)
{
    (void)log;
}

static void reply(struct door *door, uint64_t ticket, const struct reply *reply, bool held)
{
    (void)door;
    assert(ticket == world.ticket && !held);
    world.answers++;
    world.status = reply->status;
    world.answer.size = world.record.size = 0;
    if (reply->status == STATUS_OK) {
        struct bytes results = reply->op == REQUEST_SCAN ? reply->keys : reply->results;
        assert(buffer_append(&world.answer, results) == 0);
        assert(buffer_append(&world.record, reply->record) == 0);
        return;
    }
    const struct resp_out out = {.buffer = &world.answer, .resp3 = world.resp3};
    char words[STATUS_WORDS_BYTES];
    status_words(reply->status, reply->text, words);
    assert(resp_error(&out, words) == 0);
}

static void release(struct door *door, uint64_t ticket, enum status status, const char *text)
{
    (void)door;
    (void)ticket;
    (void)status;
    (void)text;
    assert(false); /* Nothing is held. */
}

static void event(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes text)
{
    (void)tracer;
    (void)event;
    (void)a;
    (void)text;
}

static struct shard *create(uint64_t hlc, uint32_t start)
{
    const struct shard_options options = {
        .seed = 42,
        .actor = {.node = 1, .start = start},
        .hlc = hlc,
        .policies = &world.policies,
        .memory = &areas,
        .log = &world.log,
        .door = &world.door,
        .tracer = &world.tracer,
    };
    struct shard *shard;

    assert(shard_create(&options, &shard) == 0);
    (void)shard_tick(shard, world.now_ms, 1000);
    return shard;
}

static void begin(uint8_t switches)
{
    struct policy policy;

    world = (struct world){
        .log = {.append = append, .hurry = no_hurry, .seal = no_hurry},
        .door = {.reply = reply, .release = release},
        .tracer = {.event = event},
        .now_ms = UINT64_C(1700000000000),
        .switches = switches,
        .resp3 = (switches & SWITCH_RESP3) != 0,
        .answer = {.memory = heap_memory()},
        .record = {.memory = heap_memory()},
    };
    policy_defaults(&policy);
    policy.rules.no_resurrect = (switches & SWITCH_NO_RESURRECT) != 0;
    if ((switches & SWITCH_IDLE) != 0) {
        policy.rules.idle_ttl_ms = 2 * STEP_MS;
        policy.touch_on_read = true;
    }
    if ((switches & SWITCH_SMALL) != 0) {
        policy.rules.session_bytes_max = 256;
        policy.rules.fields_max = 4;
    }
    assert(policies_init(&world.policies, &policy, 1) == 0);
    world.shard = create(0, 1);
}

static void execute(struct shard *shard, struct request request)
{
    uint64_t before = world.answers;

    request.ticket = ++world.ticket;
    request.received_us = world.now_ms * 1000;
    shard_prepare(shard, &request);
    shard_execute(shard, &request, world.now_ms, world.now_ms * 1000);
    assert(world.answers == before + 1);
}

/* The record of a key, or empty. */
static struct bytes inspect(struct shard *shard, struct bytes key)
{
    execute(shard, (struct request){.op = REQUEST_INSPECT, .key = key});
    return world.status == STATUS_OK ? keep_bytes(buffer_bytes(&world.record)) : bytes_of(NULL, 0);
}

/* ---- What must hold ---- */

/* One value of the protocol, and nothing behind it. */
static void check_answer(void)
{
    struct bytes all = buffer_bytes(&world.answer);
    uint64_t left = 1;
    size_t at = 0;

    while (left-- > 0) {
        assert(at < all.size);
        const uint8_t *line = all.data + at, *end = memchr(line, '\n', all.size - at);
        assert(end != NULL && end > line + 1 && end[-1] == '\r');
        const struct bytes text = bytes_of(line + 1, (size_t)(end - line) - 2);
        int64_t number = 0;
        bool counts = memchr(":$*%~", *line, 5) != NULL;
        assert(strchr(world.resp3 ? "+-:$*%~,_" : "+-:$*", *line) != NULL);
        assert(!counts || resp_integer(text, &number));
        assert(text.size == 0 || memchr(text.data, '\r', text.size) == NULL);
        at += (size_t)(end - line) + 1;
        if (*line == '$') {
            assert(number >= (world.resp3 ? 0 : -1));
            at += number >= 0 ? (size_t)number + 2 : 0;
            assert(at <= all.size && all.data[at - 1] == '\n');
        } else if (*line == '*' || *line == '~' || *line == '%') {
            assert(number >= (world.resp3 ? 0 : -1));
            left += number > 0 ? (uint64_t)number * (*line == '%' ? 2 : 1) : 0;
        }
    }
    assert(at == all.size);
}

static void check_key(struct bytes key)
{
    struct bytes record = inspect(world.shard, key);

    assert(record.size == 0 || session_check(record) == 0);
    if (world.key_count < KEPT_MAX) {
        world.keys[world.key_count++] = key;
    }
}

static void check_same(struct bytes ours, struct bytes restored)
{
    struct session_view a = {.live = false}, b = {.live = false};
    struct session_field field, other;

    assert(ours.size == 0 || session_open(&a, ours, world.now_ms) == 0);
    assert(restored.size == 0 || session_open(&b, restored, world.now_ms) == 0);
    assert(a.live == b.live);
    if (!a.live) {
        return;
    }
    assert(a.type == b.type && a.field_count == b.field_count && a.absolute_ms == b.absolute_ms);
    while (session_next(&a, false, &field)) {
        assert(session_find(&b, field.name, &other) && bytes_equal(field.value, other.value));
        assert(field.deadline_ms == other.deadline_ms);
    }
}

/* Another shard is given the log. */
static void check_log(void)
{
    struct shard *restored = create(shard_hlc(world.shard), 2);

    for (size_t i = 0; i < world.logged_count; i++) {
        const struct logged *logged = &world.logged[i];
        int rc = logged->kind == LOG_FULL    ? shard_restore_record(restored, logged->body)
                 : logged->kind == LOG_DELTA ? shard_restore_delta(restored, logged->body)
                 : logged->kind == LOG_TOUCH ? shard_restore_touch(restored, logged->body)
                                             : shard_restore_bury(restored, logged->body);
        assert(rc == 0);
    }
    shard_restore_done(restored, world.now_ms);
    for (size_t i = 0; i < world.key_count && (world.switches & SWITCH_IDLE) == 0; i++) {
        struct bytes ours = inspect(world.shard, world.keys[i]);
        check_same(ours, inspect(restored, world.keys[i]));
    }
    shard_destroy(restored);
}

/* ---- The door ---- */

/* The key with its database. Returns false where it is refused. */
static bool keep_key(struct bytes key, struct bytes *kept)
{
    char prefix[8];
    size_t size =
        world.database == 0 ? 0 : (size_t)snprintf(prefix, sizeof prefix, "\1%u:", world.database);

    if (size == 0 && key.size > 0 && key.data[0] == 1) {
        return false;
    }
    uint8_t *to = keep(size + key.size);
    memcpy(to, prefix, size);
    if (key.size > 0) {
        memcpy(to + size, key.data, key.size);
    }
    *kept = bytes_of(to, size + key.size);
    return true;
}

static void run(const struct command *command, const struct procedure *procedure, struct bytes key,
                struct bytes body)
{
    execute(world.shard,
            (struct request){
                .op = (command->flags & COMMAND_WRITE) != 0 ? REQUEST_WRITE : REQUEST_GET,
                .mode = (command->flags & COMMAND_MAKES) != 0 ? WRITE_UPSERT : WRITE_UPDATE,
                .flags = world.resp3 ? RUN_RESP3 : 0,
                .key = key,
                .body = body,
                .procedure = procedure,
            });
    check_answer();
}

static void put_number(struct buffer *buffer, uint64_t number)
{
    uint8_t bytes[VARINT_BYTES_MAX];
    const uint8_t *end = varint_put(bytes, number);

    assert(buffer_append(buffer, bytes_of(bytes, (size_t)(end - bytes))) == 0);
}

static void put_string(struct buffer *buffer, struct bytes string)
{
    put_number(buffer, string.size);
    assert(buffer_append(buffer, string) == 0);
}

static struct bytes finish(struct buffer *buffer)
{
    struct bytes kept = keep_bytes(buffer_bytes(buffer));

    buffer_fini(buffer);
    return kept;
}

/* The request of one part: the command's name and the next arguments, of which the first is the key. */
static struct bytes make_part(const struct command *command, struct resp_arguments *arguments,
                              uint32_t count, struct bytes *key)
{
    struct buffer array = {.memory = heap_memory()};
    const struct resp_out out = {.buffer = &array};
    struct bytes argument;

    *key = bytes_of(NULL, 0);
    assert(resp_array(&out, count + 1) == 0 && resp_text(&out, command->name) == 0);
    for (uint32_t i = 0; i < count && resp_next(arguments, &argument); i++) {
        *key = i == 0 ? argument : *key;
        assert(resp_bulk(&out, argument) == 0);
    }
    return finish(&array);
}

static struct bytes argument_at(struct bytes array, int number)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes argument = bytes_of(NULL, 0);

    for (int i = 0; i <= number; i++) {
        (void)resp_next(&arguments, &argument);
    }
    return argument;
}

static bool is_many(const struct command *command)
{
    return command->join != JOIN_NONE && command->join != JOIN_MOVE;
}

static void serve_many(const struct command *command, struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    uint32_t step = (uint32_t)command->key_step;
    struct bytes key;

    (void)resp_next(&arguments, &key);
    while (arguments.count >= step) {
        struct bytes part = make_part(command, &arguments, step, &key);
        if (keep_key(key, &key)) {
            run(command, &command->procedure, key, part);
            check_key(key);
        }
    }
}

/* Several keys of one shard, as a transaction. */
static void serve_several(const struct command *command, const struct procedure *procedure,
                          struct bytes array)
{
    struct buffer body = {.memory = heap_memory()};
    struct bytes first = bytes_of(NULL, 0), key;

    put_number(&body, (uint32_t)command->last_key - (uint32_t)command->first_key + 1);
    for (int i = command->first_key; i <= command->last_key; i++) {
        if (!keep_key(argument_at(array, i), &key) || key.size == 0 || key.size > KEY_BYTES_MAX) {
            buffer_fini(&body);
            return;
        }
        first = i == command->first_key ? key : first;
        put_string(&body, key);
    }
    assert(buffer_append(&body, array) == 0);
    run(command, procedure, first, finish(&body));
    for (int i = command->first_key; i <= command->last_key; i++) {
        (void)keep_key(argument_at(array, i), &key);
        check_key(key);
    }
}

static void serve_keys(const struct command *command, struct bytes array, bool eval)
{
    struct bytes key;

    if (command->join == JOIN_MOVE) {
        serve_several(command, command_rename_pair(command), array);
    } else if (eval && command->last_key > 1) {
        serve_several(command, &command->procedure, array);
    } else if (is_many(command)) {
        serve_many(command, array);
    } else if (resp_arguments(array).count > (uint32_t)command->first_key &&
               keep_key(argument_at(array, command->first_key), &key)) {
        run(command, &command->procedure, key, array);
        check_key(key);
    }
}

/* ---- Transactions ---- */

struct transaction {
    struct bytes keys[TURN_KEYS_MAX];
    uint32_t key_count;
    struct buffer commands;
};

/* Notes a key. Returns false where the door would refuse it. */
static bool number_of(struct transaction *transaction, struct bytes key, uint64_t *number)
{
    if (!keep_key(key, &key)) {
        return false;
    }
    for (*number = 0; *number < transaction->key_count; (*number)++) {
        if (bytes_equal(transaction->keys[*number], key)) {
            return true;
        }
    }
    if (transaction->key_count == TURN_KEYS_MAX ||
        (*number > 0 && slot_of_key(key) != slot_of_key(transaction->keys[0]))) {
        return false;
    }
    transaction->keys[transaction->key_count++] = key;
    return true;
}

static bool put_command(struct transaction *transaction, const struct queued *queued)
{
    const struct command *command = queued->command;
    struct resp_arguments arguments = resp_arguments(queued->array);
    struct buffer *to = &transaction->commands;
    struct bytes key, part = queued->array;
    uint64_t number;

    assert(buffer_append(to, bytes_of(&command, sizeof command)) == 0);
    if (command->procedure.run == NULL) {
        put_number(to, 0);
        put_string(to, part);
        return true;
    }
    (void)resp_next(&arguments, &key);
    uint32_t step = is_many(command) ? (uint32_t)command->key_step : 1;
    uint32_t parts = is_many(command) ? arguments.count / step : 1;
    bool good = !is_many(command) || arguments.count % step == 0;
    put_number(to, parts);
    for (uint32_t i = 0; good && i < parts; i++) {
        key = argument_at(part, command->first_key);
        if (is_many(command)) {
            part = make_part(command, &arguments, step, &key);
        }
        good = number_of(transaction, key, &number);
        put_number(to, number);
        put_string(to, part);
    }
    for (int i = command->first_key + 1; good && !is_many(command) && i <= command->last_key; i++) {
        good = number_of(transaction, argument_at(part, i), &number);
    }
    return good;
}

static void exec(void)
{
    static const struct command write = {.name = "exec", .flags = COMMAND_WRITE};
    struct transaction transaction = {.commands = {.memory = heap_memory()}};
    struct buffer body = {.memory = heap_memory()};
    bool good = true;

    for (size_t i = 0; good && i < world.queue_count; i++) {
        good = put_command(&transaction, &world.queue[i]);
    }
    put_number(&body, transaction.key_count);
    for (uint32_t i = 0; i < transaction.key_count; i++) {
        put_string(&body, transaction.keys[i]);
    }
    put_number(&body, 0); /* Watched. */
    put_number(&body, world.queue_count);
    assert(buffer_append(&body, buffer_bytes(&transaction.commands)) == 0);
    struct bytes whole = finish(&body);
    if (good && transaction.key_count > 0) {
        run(&write, &exec_procedure, transaction.keys[0], whole);
        for (uint32_t i = 0; i < transaction.key_count; i++) {
            check_key(transaction.keys[i]);
        }
    }
    buffer_fini(&transaction.commands);
    world.multi = false;
    world.queue_count = 0;
}

/* ---- Commands of the door ---- */

static void keys_command(const struct command *command, struct bytes array, bool eval)
{
    if (!world.multi) {
        serve_keys(command, array, eval);
    } else if (world.queue_count < KEPT_MAX && !(eval && command->last_key > 1)) {
        world.queue[world.queue_count++] = (struct queued){command, array};
    }
}

static void eval(const struct command *command, struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes script, word;
    int64_t keys;

    (void)resp_next(&arguments, &script);
    (void)resp_next(&arguments, &script);
    (void)resp_next(&arguments, &word);
    const struct command *found =
        command->local == LOCAL_EVAL ? script_of_text(script) : script_of_sha1(script);
    if (found == NULL || !resp_integer(word, &keys) || keys != found->last_key ||
        !command_takes(found, arguments.count + 1)) {
        return;
    }
    keys_command(found, make_part(found, &arguments, arguments.count, &word), true);
}

static void scan(struct bytes array)
{
    struct run run = {.rest = resp_arguments(array)};
    struct scan_options options;

    run.name = run_next(&run);
    if (scan_options_read(&run, false, &options) != NULL) {
        return;
    }
    struct bytes fixed = glob_prefix(options.pattern);
    execute(world.shard, (struct request){
                             .op = REQUEST_SCAN,
                             .type = (uint8_t)options.type,
                             .key = fixed,
                             .cursor = options.cursor,
                             .count = options.count,
                         });
    for (struct reader keys = reader_of(buffer_bytes(&world.answer));
         world.status == STATUS_OK && reader_left(&keys) > 0;) {
        struct bytes key = read_string(&keys);
        assert(!keys.bad && key.size >= fixed.size);
        assert(bytes_equal(bytes_of(key.data, fixed.size), fixed));
        (void)glob_matches(options.pattern, key);
    }
}

static void local(const struct command *command, struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes name, word = argument_at(array, arguments.count > 1 ? 1 : 0);
    int64_t number;

    (void)resp_next(&arguments, &name);
    if (command->local == LOCAL_EVAL || command->local == LOCAL_EVALSHA) {
        eval(command, array);
    } else if (command->local == LOCAL_EXEC && world.multi) {
        exec();
    } else if (command->local == LOCAL_MULTI || command->local == LOCAL_DISCARD) {
        world.multi = command->local == LOCAL_MULTI;
        world.queue_count = 0;
    } else if (exec_is_keyless(command) && world.multi) {
        keys_command(command, array, false);
    } else if (exec_is_keyless(command)) {
        const struct resp_out out = {.buffer = &world.answer, .resp3 = world.resp3};
        world.answer.size = 0;
        assert(exec_keyless(command, arguments, world.now_ms, &out) == 0);
        check_answer();
        if (command->local == LOCAL_PING) {
            world.now_ms += STEP_MS;
            (void)shard_tick(world.shard, world.now_ms, 1000);
        }
    } else if (command->local == LOCAL_SCAN) {
        scan(array);
    } else if (command->local == LOCAL_HELLO && !world.multi) {
        world.resp3 = run_is(word, "3") || (world.resp3 && !run_is(word, "2"));
    } else if (command->local == LOCAL_SELECT && !world.multi && resp_integer(word, &number)) {
        world.database = number >= 0 && number < DATABASES ? (uint32_t)number : world.database;
    }
}

static void serve(struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    uint32_t count = arguments.count;
    struct bytes name;

    if (!resp_next(&arguments, &name)) {
        return;
    }
    const struct command *command = command_find(name);
    if (command == NULL || !command_takes(command, count)) {
        return;
    }
    if (command->procedure.run != NULL) {
        keys_command(command, array, false);
    } else {
        local(command, array);
    }
}

/* Returns the size of the request that the input begins with, or 0. */
static size_t take(struct bytes input)
{
    struct resp_cursor cursor = {.begun = false};
    char error[RESP_ERROR_BYTES];
    size_t wanted;

    int64_t size = resp_measure(&cursor, input, BULK_MAX, &wanted, error);
    if (size <= 0) {
        return 0;
    }
    struct bytes whole = keep_bytes(bytes_of(input.data, (size_t)size));
    if (!resp_is_line(whole)) {
        serve(whole);
        return (size_t)size;
    }
    struct buffer array = {.memory = heap_memory()};
    bool good = resp_line_to_array(whole, &array) == 0;
    whole = finish(&array);
    if (good) {
        serve(whole);
    }
    return (size_t)size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    begin(data[0]);
    for (size_t at = 1, took = 1; took > 0 && at < size; at += took) {
        took = take(bytes_of(data + at, size - at));
    }
    check_log();
    shard_destroy(world.shard);
    buffer_fini(&world.answer);
    buffer_fini(&world.record);
    for (size_t i = 0; i < world.block_count; i++) {
        free(world.blocks[i]);
    }
    free(world.blocks);
    free(world.logged);
    return 0;
}
