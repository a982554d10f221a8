/* The few fixed Lua scripts that session frameworks and lock helpers send, run natively: there is no Lua here.
 *
 * A script is recognised by its text, in which blanks and the kind of quotes do not matter, or by the SHA1 of the text as
 * its library sends it. Each is a procedure on its one key, whose request is an array of a name, the key and the
 * script's arguments; or a transaction on several keys (command.last_key of them), whose body has its keys (procedure.h)
 * before that array.
 *
 * Sources of the texts: phpredis (redis_session.c), Laravel (Illuminate/Cache/LuaScripts.php), redis-py (redis/lock.py),
 * ASP.NET Core (Caching/StackExchangeRedis), the ASP.NET session state provider (aspnet.h). Threads: any; nothing here changes.
 */
#ifndef SCRIPTS_H
#define SCRIPTS_H

#include "commands.h"

enum { SCRIPT_SHA1_BYTES = 40 };

/* In lower case hexadecimal digits, and a zero. */
void script_sha1(struct bytes text, char sha1[SCRIPT_SHA1_BYTES + 1]);

/* Return NULL where it is none of them. A SHA1 may have letters of any case. */
const struct command *script_of_text(struct bytes text);
const struct command *script_of_sha1(struct bytes sha1);
/* By its procedure. */
const struct command *script_of(const struct procedure *procedure);

/* The SHA1 that is sent for it; NULL: this is no script. */
const char *script_sent(const struct command *command);

#endif
