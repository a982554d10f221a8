#include "commands.h"

#include <stddef.h>

/* Longer than any. */
enum { NAME_BYTES_MAX = 24 };

static const struct command commands[] = {
#define ROW(name_, arity_, flags_, first_, last_, step_, join_, run_, ends_, local_, since_,       \
            group_, summary_)                                                                      \
    {                                                                                              \
        .name = (name_),                                                                           \
        .arity = (arity_),                                                                         \
        .flags = (flags_),                                                                         \
        .first_key = (first_),                                                                     \
        .last_key = (last_),                                                                       \
        .key_step = (step_),                                                                       \
        .join = (join_),                                                                           \
        .local = (local_),                                                                         \
        .procedure = {.name = (name_), .run = (run_), .ends = (ends_)},                            \
        .since = (since_),                                                                         \
        .group = (group_),                                                                         \
        .summary = (summary_),                                                                     \
    },
    COMMAND_TABLE(ROW)
#undef ROW
};

enum { COUNT = sizeof commands / sizeof commands[0] };

static size_t lower(struct bytes name, char text[NAME_BYTES_MAX])
{
    size_t size = name.size < NAME_BYTES_MAX - 1 ? name.size : NAME_BYTES_MAX - 1;

    for (size_t i = 0; i < size; i++) {
        uint8_t letter = name.data[i];
        bool upper = letter >= 'A' && letter <= 'Z';
        text[i] = (char)(upper ? letter + ('a' - 'A') : letter);
    }
    text[size] = '\0';
    return size;
}

const struct command *command_find(struct bytes name)
{
    char text[NAME_BYTES_MAX];
    size_t low = 0, high = COUNT;

    struct bytes wanted = bytes_of(text, lower(name, text));
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = bytes_compare(wanted, bytes_of_string(commands[middle].name));
        if (order == 0) {
            return name.size == wanted.size ? &commands[middle] : NULL;
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}

const struct command *command_of(const struct procedure *procedure)
{
    const struct command *command = command_find(bytes_of_string(procedure->name));

    return command != NULL && &command->procedure == procedure ? command : NULL;
}

const struct command *command_at(uint32_t number)
{
    return number < COUNT ? &commands[number] : NULL;
}

uint32_t command_count(void)
{
    return COUNT;
}

bool command_takes(const struct command *command, uint32_t count)
{
    return command->arity >= 0 ? count == (uint32_t)command->arity
                               : count >= (uint32_t)-command->arity;
}
