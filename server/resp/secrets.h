/* The arguments of a request as others may see them (SLOWLOG, MONITOR): passwords are "(redacted)".
 *
 * Those are: all arguments of AUTH, the two after AUTH in HELLO, and the values that CONFIG SET would give to settings of
 * Redis that are secrets. (Redis shows an AUTH with too many arguments whole; this does not.)
 *
 * Threads: any. Memory: the caller's; arguments lie in the request.
 */
#ifndef SECRETS_H
#define SECRETS_H

#include <stdbool.h>
#include <stdint.h>

#include "commands.h"
#include "resp.h"

struct secrets {
    const struct command *command;
    struct resp_arguments rest;
    uint32_t at;   /* Arguments that were taken. */
    uint32_t hide; /* So many that follow are secrets. */
};

/* Of a whole request, its name too. */
struct secrets secrets_of(const struct command *command, struct bytes array);

/* The next argument as it may be shown. Returns false at the end. */
bool secrets_next(struct secrets *secrets, struct bytes *argument);

#endif
