/* EXEC: commands on keys of one slot as one transaction.
 *
 * The procedure's argument, after its keys (procedure.h): varint number of what was watched, of each the varint number of
 * its key and its token (varint size, bytes; empty: there was no session); varint number of commands, of each
 * the address of its struct command (8 bytes), varint number of its parts, and of each part the varint number of its key
 * and its request (varint size, bytes); of a command on no key, and of MSET without its last value, no parts, and its
 * request. The reply is an array, or none where a watched key was changed.
 */
#ifndef EXEC_H
#define EXEC_H

#include "commands.h"
#include "resp.h"

extern const struct procedure exec_procedure;

/* Of commands on no key a transaction may have those that are answered where they stand, and those that are done *later*: by
 * the thread of their connection, once all the others are done, and not at all where those are not. */
bool exec_is_keyless(const struct command *command);
bool exec_is_later(const struct command *command);

/* The reply to PING, ECHO, TIME or UNWATCH, and to MSET without its last value; `rest`: what follows the name. To what is done
 * later it is 0, in whose place its own reply comes. Returns 0 or -ENOMEM. */
int exec_keyless(const struct command *command, struct resp_arguments rest, uint64_t now_ms,
                 const struct resp_out *out);

/* What WATCH asks of each key: WATCH_TOKEN and its token, as varint size and bytes. (An error begins otherwise.) */
enum { WATCH_TOKEN = 'T' };
enum status watch_run(struct turn *turn);

#endif
