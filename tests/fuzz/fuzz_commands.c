/* Fuzz target: what a Redis client sends, through the parser and the commands down to the shard's core.
 *
 * Input: one byte of switches (below), then the stream of one connection. This is the RESP door without its threads and
 * sockets: requests are cut, found in the table, checked, split where they name many keys, queued by MULTI, and run.
 * Each answer must be one whole value of the protocol's version; what a write leaves must pass session_check(); and another
 * shard that is given the log must show the same sessions.
 */
#include "commands_world.h"
#include "exec.h"
#include "fuzz.h"
#include "glob.h"
#include "limits.h"
#include "run.h"
#include "scripts.h"
#include "slot.h"

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

/* The body of a transaction on several keys: they, and then the request. Returns false where one is refused. */
static bool make_several(const struct command *command, struct bytes array, struct bytes *first,
                         struct bytes *whole)
{
    struct buffer body = {.memory = heap_memory()};
    bool good = true;
    struct bytes key;

    put_number(&body, (uint32_t)command->last_key - (uint32_t)command->first_key + 1);
    for (int i = command->first_key; good && i <= command->last_key; i++) {
        good = keep_key(argument_at(array, i), &key) && key.size > 0 && key.size <= KEY_BYTES_MAX;
        if (good) {
            put_string(&body, key);
        }
        *first = i == command->first_key ? key : *first;
    }
    assert(buffer_append(&body, array) == 0);
    *whole = finish(&body);
    return good;
}

static void serve_several(const struct command *command, const struct procedure *procedure,
                          struct bytes array)
{
    struct bytes first = bytes_of(NULL, 0), body, key;

    if (!make_several(command, array, &first, &body)) {
        return;
    }
    run(command, procedure, first, body);
    for (int i = command->first_key; i <= command->last_key; i++) {
        (void)keep_key(argument_at(array, i), &key);
        check_key(key);
    }
}

static void serve_keys(const struct command *command, struct bytes array)
{
    struct bytes key;

    if (command->join == JOIN_MOVE) {
        serve_several(command, command_rename_pair(command), array);
    } else if (command->procedure.many) {
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
static bool number_of_kept(struct transaction *transaction, struct bytes key, uint64_t *number)
{
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

static bool number_of(struct transaction *transaction, struct bytes key, uint64_t *number)
{
    return keep_key(key, &key) && number_of_kept(transaction, key, number);
}

static bool put_command(struct transaction *transaction, const struct queued *queued)
{
    const struct command *command = queued->command;
    struct resp_arguments arguments = resp_arguments(queued->array);
    struct buffer *to = &transaction->commands;
    struct bytes key, kept, part = queued->array;
    uint64_t number = 0;

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
        key = argument_at(queued->array, command->first_key);
        if (is_many(command)) {
            part = make_part(command, &arguments, step, &key);
        } else if (command->procedure.many) {
            good = make_several(command, queued->array, &kept, &part);
        }
        good = good && number_of(transaction, key, &number);
        put_number(to, number);
        put_string(to, part);
    }
    for (int i = command->first_key + 1; good && !is_many(command) && i <= command->last_key; i++) {
        good = number_of(transaction, argument_at(queued->array, i), &number);
    }
    return good;
}

static void exec(void)
{
    static const struct command write = {.name = "exec", .flags = COMMAND_WRITE};
    struct transaction transaction = {.commands = {.memory = heap_memory()}};
    struct buffer body = {.memory = heap_memory()}, watches = {.memory = heap_memory()};
    bool good = true;

    for (size_t i = 0; good && i < world.watched_count; i++) {
        uint64_t number = 0;
        good = number_of_kept(&transaction, world.watched[i].key, &number);
        put_number(&watches, number);
        put_string(&watches, world.watched[i].token);
    }
    for (size_t i = 0; good && i < world.queue_count; i++) {
        good = put_command(&transaction, &world.queue[i]);
    }
    put_number(&body, transaction.key_count);
    for (uint32_t i = 0; i < transaction.key_count; i++) {
        put_string(&body, transaction.keys[i]);
    }
    put_number(&body, world.watched_count);
    assert(buffer_append(&body, buffer_bytes(&watches)) == 0);
    buffer_fini(&watches);
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
    world.queue_count = world.watched_count = 0;
}

/* Their tokens are kept for EXEC. */
static void watch(struct bytes array)
{
    static const struct procedure procedure = {.name = "watch", .run = watch_run};
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes key;

    (void)resp_next(&arguments, &key);
    while (resp_next(&arguments, &key) && world.watched_count < KEPT_MAX) {
        if (!keep_key(key, &key)) {
            continue;
        }
        execute(world.shard,
                (struct request){.op = REQUEST_GET, .key = key, .procedure = &procedure});
        if (world.status != STATUS_OK) {
            continue;
        }
        struct reader reader = reader_of(buffer_bytes(&world.answer));
        assert(read_u8(&reader) == WATCH_TOKEN);
        struct bytes token = read_string(&reader);
        assert(!reader.bad && reader_left(&reader) == 0);
        world.watched[world.watched_count++] = (struct watched){key, keep_bytes(token)};
    }
}

/* ---- Commands of the door ---- */

static void keys_command(const struct command *command, struct bytes array)
{
    if (!world.multi) {
        serve_keys(command, array);
    } else if (world.queue_count < KEPT_MAX) {
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
    keys_command(found, make_part(found, &arguments, arguments.count, &word));
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
    } else if (command->local == LOCAL_WATCH && !world.multi) {
        watch(array);
    } else if (exec_is_keyless(command) && world.multi) {
        keys_command(command, array);
    } else if (exec_is_keyless(command) && command->local != LOCAL_SELECT) {
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
        keys_command(command, array);
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
    end();
    return 0;
}
