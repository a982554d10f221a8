#include "wire.h"

#include <assert.h>
#include <errno.h>

#include "exec.h"
#include "limits.h"
#include "move.h"
#include "recover.h"
#include "rename.h"
#include "resp.h"
#include "scripts.h"

enum { NAME_BYTES_MAX = 64 }; /* Longer than any. */

static const char script_prefix[] = "script:";

/* ---- Those that are no command of the table ---- */

static const struct procedure watch_procedure = {.name = "watch", .run = watch_run};

static const struct procedure *rename_pair(const char *command)
{
    return command_rename_pair(command_find(bytes_of_string(command)));
}

/* The number'th, NULL after the last. */
static const struct procedure *special_at(uint32_t number)
{
    switch (number) {
    case 0:
        return &exec_procedure;
    case 1:
        return rename_pair("rename");
    case 2:
        return rename_pair("renamenx");
    case 3:
        return &watch_procedure;
    case 4:
        return &rename_find;
    case 5:
        return &rename_lock;
    case 6:
        return &rename_commit;
    case 7:
        return &rename_apply;
    case 8:
        return &rename_forget;
    case 9:
        return &rename_unlock;
    case 10:
        return &rename_look;
    case 11:
        return &move_probe;
    case 12:
        return &move_commit;
    case 13:
        return &move_take;
    case 14:
        return &move_deliver;
    case 15:
        return &move_arrive;
    case 16:
        return &move_back;
    case 17:
        return &move_look;
    case 18:
        return &move_end;
    case 19:
        return &move_late;
    case 20:
        return &move_settle;
    case 21:
        return &move_forget;
    case 22:
        return &move_drop;
    case 23:
        return &recover_merge;
    case 24:
        return &move_gone;
    case 25:
        return &move_kept;
    default:
        return NULL;
    }
}

static bool is_special(const struct procedure *procedure)
{
    const struct procedure *special;

    for (uint32_t i = 0; (special = special_at(i)) != NULL; i++) {
        if (special->run == procedure->run) {
            return true;
        }
    }
    return false;
}

static const struct procedure *special_named(struct bytes name)
{
    const struct procedure *special;

    for (uint32_t i = 0; (special = special_at(i)) != NULL; i++) {
        if (bytes_equal(name, bytes_of_string(special->name))) {
            return special;
        }
    }
    return NULL;
}

/* ---- Names ---- */

static int put_number(struct buffer *out, uint64_t number)
{
    uint8_t bytes[VARINT_BYTES_MAX];

    return buffer_append(out, bytes_of(bytes, (size_t)(varint_put(bytes, number) - bytes)));
}

static int put_string(struct buffer *out, struct bytes bytes)
{
    int rc = put_number(out, bytes.size);

    return rc != 0 ? rc : buffer_append(out, bytes);
}

static int put_name(struct buffer *out, const char *prefix, const char *name)
{
    uint8_t whole[NAME_BYTES_MAX];
    size_t prefix_size = strlen(prefix), size = strlen(name);

    assert(prefix_size + size <= sizeof whole);
    memcpy(whole, prefix, prefix_size);
    memcpy(whole + prefix_size, name, size);
    return put_string(out, bytes_of(whole, prefix_size + size));
}

static int put_command(struct buffer *out, const struct command *command)
{
    const char *sha1 = script_sent(command);

    return sha1 != NULL ? put_name(out, script_prefix, sha1) : put_name(out, "", command->name);
}

static const struct command *command_named(struct bytes name)
{
    const size_t prefix = sizeof script_prefix - 1;

    if (name.size > prefix && memcmp(name.data, script_prefix, prefix) == 0) {
        return script_of_sha1(bytes_of(name.data + prefix, name.size - prefix));
    }
    return command_find(name);
}

/* ---- The argument of EXEC ---- */

/* From one form to the other: `packs` to names. What cannot be read makes `from` bad. */
struct translation {
    struct reader from;
    struct buffer *to;
    bool packs;
    int rc;
};

static uint64_t pass_number(struct translation *translation)
{
    uint64_t number = read_varint(&translation->from);

    if (translation->rc == 0) {
        translation->rc = put_number(translation->to, number);
    }
    return number;
}

static struct bytes pass_string(struct translation *translation)
{
    struct bytes bytes = read_string(&translation->from);

    if (translation->rc == 0) {
        translation->rc = put_string(translation->to, bytes);
    }
    return bytes;
}

static void pass_key(struct translation *translation)
{
    size_t size = pass_string(translation).size;

    if (size == 0 || size > KEY_BYTES_MAX) {
        translation->from.bad = true;
    }
}

static void pass_key_number(struct translation *translation, uint64_t keys)
{
    if (pass_number(translation) >= keys) {
        translation->from.bad = true;
    }
}

static const struct command *pass_command(struct translation *translation)
{
    const struct command *command = NULL;

    if (translation->packs) {
        struct bytes address = read_bytes(&translation->from, sizeof command);
        assert(address.size == sizeof command);
        memcpy(&command, address.data, sizeof command);
        translation->rc =
            translation->rc != 0 ? translation->rc : put_command(translation->to, command);
        return command;
    }
    command = command_named(read_string(&translation->from));
    if (translation->rc == 0) {
        translation->rc = buffer_append(translation->to, bytes_of(&command, sizeof command));
    }
    return command;
}

/* Is this an array of bulk strings, and nothing else? */
static bool is_whole(struct bytes bytes)
{
    struct resp_cursor cursor = {0};
    size_t wanted;
    char error[RESP_ERROR_BYTES];

    return bytes.size > 0 && bytes.data[0] == '*' &&
           resp_measure(&cursor, bytes, UINT32_MAX, &wanted, error) == (int64_t)bytes.size &&
           resp_arguments(bytes).count > 0;
}

/* Is it a request that the command can have? */
static bool is_array(struct bytes bytes, const struct command *command)
{
    if (!is_whole(bytes)) {
        return false;
    }
    uint32_t count = resp_arguments(bytes).count;
    return count > (uint32_t)command->first_key && command_takes(command, count);
}

/* The keys that the command takes, and behind them a request. */
static bool is_many(struct bytes argument, const struct command *command)
{
    struct reader reader = reader_of(argument);
    uint64_t keys = read_varint(&reader);
    bool good =
        command != NULL && keys == (uint32_t)command->last_key - (uint32_t)command->first_key + 1;

    for (uint64_t i = 0; good && i < keys; i++) {
        struct bytes key = read_string(&reader);
        good = !reader.bad && key.size > 0 && key.size <= KEY_BYTES_MAX;
    }
    return good && is_array(read_bytes(&reader, reader_left(&reader)), command);
}

static bool is_argument(struct bytes bytes, const struct command *command)
{
    return command->procedure.many ? is_many(bytes, command) : is_array(bytes, command);
}

/* The command's only request (`whole`, perhaps nothing), or that of one of its keys. */
static void pass_request(struct translation *translation, const struct command *command, bool whole)
{
    struct bytes request = pass_string(translation);

    if (translation->packs || command == NULL || (whole && request.size == 0)) {
        return;
    }
    if (whole ? !is_whole(request) : !is_argument(request, command)) {
        translation->from.bad = true;
    }
}

static void pass_one_command(struct translation *translation, uint64_t keys)
{
    const struct command *command = pass_command(translation);
    uint64_t parts = pass_number(translation);

    if (command == NULL || (parts > 0 && command->procedure.run == NULL)) {
        translation->from.bad = true;
    }
    if (parts == 0) {
        pass_request(translation, command, true);
    }
    for (uint64_t i = 0; i < parts && !translation->from.bad; i++) {
        pass_key_number(translation, keys);
        pass_request(translation, command, false);
    }
}

static int translate_exec(struct bytes argument, bool packs, struct buffer *out)
{
    struct translation translation = {.from = reader_of(argument), .to = out, .packs = packs};
    struct reader *from = &translation.from;

    uint64_t keys = pass_number(&translation);
    from->bad = from->bad || keys == 0 || keys > TURN_KEYS_MAX;
    for (uint64_t i = 0; i < keys && !from->bad; i++) {
        pass_key(&translation);
    }
    uint64_t watches = from->bad ? 0 : pass_number(&translation);
    for (uint64_t i = 0; i < watches && !from->bad; i++) {
        pass_key_number(&translation, keys);
        (void)pass_string(&translation);
    }
    uint64_t commands = from->bad ? 0 : pass_number(&translation);
    for (uint64_t i = 0; i < commands && !from->bad; i++) {
        pass_one_command(&translation, keys);
    }
    return from->bad || reader_left(from) > 0 ? -EBADMSG : translation.rc;
}

/* ---- Any ---- */

static int pack(const struct procedure *procedure, struct bytes argument, struct buffer *out)
{
    if (is_special(procedure)) {
        int rc = put_name(out, "+", procedure->name);
        if (rc != 0 || procedure->run != exec_procedure.run) {
            return rc != 0 ? rc : buffer_append(out, argument);
        }
        return translate_exec(argument, true, out);
    }
    const struct command *command = command_of(procedure);
    command = command != NULL ? command : script_of(procedure);
    if (command == NULL) {
        return -EINVAL;
    }
    int rc = put_command(out, command);
    return rc != 0 ? rc : buffer_append(out, argument);
}

int wire_pack(const struct procedure *procedure, struct bytes argument, struct buffer *out)
{
    const size_t before = out->size;
    int rc = pack(procedure, argument, out);

    if (rc != 0) {
        out->size = before;
    }
    return rc;
}

static int unpack_special(struct bytes name, struct buffer *scratch,
                          const struct procedure **procedure, struct bytes *argument)
{
    const struct procedure *special = special_named(name);

    if (special == NULL) {
        return -ENOENT;
    }
    if (special->run == exec_procedure.run) {
        scratch->size = 0;
        int rc = translate_exec(*argument, false, scratch);
        if (rc != 0) {
            return rc;
        }
        *argument = buffer_bytes(scratch);
    } else if (special->many && !is_many(*argument, command_find(name))) {
        return -EBADMSG;
    }
    *procedure = special;
    return 0;
}

int wire_unpack(struct bytes wire, struct buffer *scratch, const struct procedure **procedure,
                struct bytes *argument)
{
    struct reader reader = reader_of(wire);
    struct bytes name = read_string(&reader);
    struct bytes rest = read_bytes(&reader, reader_left(&reader));
    int rc = 0;

    if (reader.bad || name.size == 0) {
        return -EBADMSG;
    }
    if (name.data[0] == '+') {
        rc = unpack_special(bytes_of(name.data + 1, name.size - 1), scratch, procedure, &rest);
    } else {
        const struct command *command = command_named(name);
        if (command == NULL || command->procedure.run == NULL) {
            return -ENOENT;
        }
        rc = is_argument(rest, command) ? 0 : -EBADMSG;
        *procedure = rc == 0 ? &command->procedure : *procedure;
    }
    if (rc == 0) {
        *argument = rest;
    }
    return rc;
}
