/* The table of commands of the RESP door: what COMMAND tells, what is checked before a command is run, and what runs it.
 *
 * Threads: any; nothing here changes.
 */
#ifndef COMMANDS_H
#define COMMANDS_H

#include "command_table.h"
#include "procedure.h"

/* What the door does by itself, without a shard. */
enum command_local {
    LOCAL_NONE = 0,
#define COMMAND_LOCAL(name) LOCAL_##name,
    COMMAND_LOCALS(COMMAND_LOCAL)
#undef COMMAND_LOCAL
};

struct command {
    const char *name; /* In lower case. */
    int arity;        /* With the name; below 0: at least so many. */
    uint32_t flags;
    int first_key, last_key, key_step; /* Of the arguments; last below 0: from the end. */
    uint8_t join;                      /* enum command_join. */
    uint8_t local;                     /* enum command_local. */
    struct procedure procedure;        /* `run` NULL: it is local. */
    const char *since, *group, *summary;
};

/* Returns NULL where there is none; letters of any case. */
const struct command *command_find(struct bytes name);

/* The command whose own procedure this is; NULL: it is none's. */
const struct command *command_of(const struct procedure *procedure);

/* All of them, in order of name. */
const struct command *command_at(uint32_t number); /* NULL after the last. */
uint32_t command_count(void);

/* Is this a number of arguments, the name among them, that it can have? */
bool command_takes(const struct command *command, uint32_t count);

/* RENAME and RENAMENX of two keys of one shard: a transaction whose body is its keys (procedure.h) and then the
 * request. (The table's own is for EXEC, which has the keys.) */
const struct procedure *command_rename_pair(const struct command *command);
bool command_rename_only_new(const struct command *command);

/* Each is a procedure. */
#define COMMAND_RUN(name) enum status command_##name(struct turn *turn);
COMMAND_RUNS(COMMAND_RUN)
#undef COMMAND_RUN

#endif
