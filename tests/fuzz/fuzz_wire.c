/* Fuzz target: what a procedure is asked, as it comes from another node, down to the shard's core.
 *
 * Input: one byte of switches (commands_world.h), then for each request a key and the procedure with its argument, each a
 * varint and so many bytes. What is taken comes back from its own encoding, and is run as the node that coordinates it
 * would: the answer is one whole value, records and log are sound. (The steps of a RENAME between shards are only read: they
 * take and leave locks, in an order that the fuzzer does not know.)
 */
#include <errno.h>

#include "commands_world.h"
#include "fuzz.h"
#include "limits.h"
#include "run.h"
#include "scripts.h"
#include "wire.h"

static const struct command *command_behind(const struct procedure *procedure)
{
    const struct command *command = command_of(procedure);

    return command != NULL ? command : script_of(procedure);
}

/* Packed again it may be other bytes, as names have several spellings; those stay. */
static void check_packed(const struct procedure *procedure, struct bytes argument)
{
    struct buffer packed = {.memory = heap_memory()}, again = {.memory = heap_memory()};
    struct buffer scratch = {.memory = heap_memory()};
    const struct procedure *unpacked;
    struct bytes back;

    assert(wire_pack(procedure, argument, &packed) == 0);
    assert(wire_unpack(buffer_bytes(&packed), &scratch, &unpacked, &back) == 0);
    assert(unpacked->run == procedure->run && bytes_equal(back, argument));
    assert(wire_pack(unpacked, back, &again) == 0);
    assert(bytes_equal(buffer_bytes(&again), buffer_bytes(&packed)));
    buffer_fini(&packed);
    buffer_fini(&again);
    buffer_fini(&scratch);
}

/* The first of a transaction's keys is its own. */
static struct bytes first_key(struct bytes argument)
{
    struct reader reader = reader_of(argument);

    (void)read_varint(&reader);
    return read_string(&reader);
}

static void run(const struct procedure *procedure, struct bytes key, struct bytes argument)
{
    const struct command *command = command_behind(procedure);
    bool writes = command == NULL || (command->flags & COMMAND_WRITE) != 0;
    bool makes = command == NULL || (command->flags & COMMAND_MAKES) != 0;

    if (command == NULL && !procedure->many) {
        return;
    }
    execute(world.shard, (struct request){
                             .op = writes ? REQUEST_WRITE : REQUEST_GET,
                             .mode = makes ? WRITE_UPSERT : WRITE_UPDATE,
                             .flags = world.resp3 ? RUN_RESP3 : 0,
                             .key = procedure->many ? first_key(argument) : key,
                             .body = argument,
                             .procedure = procedure,
                         });
    check_answer();
    check_key(key);
}

static void take(struct bytes key, struct bytes wire)
{
    struct buffer scratch = {.memory = heap_memory()};
    const struct procedure *procedure = NULL;
    struct bytes argument;

    int rc = wire_unpack(wire, &scratch, &procedure, &argument);
    assert(rc == 0 || rc == -ENOENT || rc == -EBADMSG);
    if (rc == 0) {
        check_packed(procedure, argument);
        argument = keep_bytes(argument);
        if (key.size > 0 && key.size <= KEY_BYTES_MAX) {
            run(procedure, key, argument);
        }
        world.now_ms += STEP_MS / 10;
        (void)shard_tick(world.shard, world.now_ms, 1000);
    }
    buffer_fini(&scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    begin(data[0]);
    struct reader input = reader_of(bytes_of(data + 1, size - 1));
    while (reader_left(&input) > 0) {
        struct bytes key = read_string(&input), wire = read_string(&input);
        if (input.bad) {
            break;
        }
        take(keep_bytes(key), keep_bytes(wire));
    }
    end();
    return 0;
}
