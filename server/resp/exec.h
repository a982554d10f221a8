/* EXEC: commands on keys of one slot as one transaction.
 *
 * The procedure's argument, after its keys (procedure.h): varint number of what was watched, of each the varint number of
 * its key and its token (varint size, bytes; empty: there was no session); varint number of commands, of each
 * the address of its struct command (8 bytes), varint number of its parts, and of each part the varint number of its key
 * and its request (varint size, bytes). The reply is an array, or none where a watched key was changed.
 */
#ifndef EXEC_H
#define EXEC_H

#include "commands.h"

extern const struct procedure exec_procedure;

/* What WATCH asks of each key: WATCH_TOKEN and its token, as varint size and bytes. (An error begins otherwise.) */
enum { WATCH_TOKEN = 'T' };
enum status watch_run(struct turn *turn);

#endif
