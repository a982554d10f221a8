/* How what a procedure is asked travels to another node: the procedure by its name, as addresses mean nothing there, and
 * its argument checked, as it comes from a network.
 *
 *   string  name: a command's ("get"), "script:" and the SHA1 that is sent for a script, or '+' and that of one that is no
 *           command of the table: "+exec", "+rename", "+renamenx", "+watch", "+rename-find" and its kin (rename.h),
 *           "+recover" (recover.h)
 *   bytes   the argument. Of EXEC (exec.h) with "string name" of each command in the place of its address
 *
 * A string is a varint and so many bytes. Names once used keep their meaning.
 *
 * Threads: any; nothing here changes.
 */
#ifndef WIRE_H
#define WIRE_H

#include "commands.h"
#include "memory.h"

/* Append it. Returns 0, -ENOMEM with `out` as it was, or -EINVAL: no procedure that another node would know. */
int wire_pack(const struct procedure *procedure, struct bytes argument, struct buffer *out);

/* Read it. `argument` lies in `wire`, or in `scratch`, whose content goes. Returns 0; -ENOENT: there is no such procedure
 * here; -EBADMSG: not an argument that it can have; -ENOMEM. */
int wire_unpack(struct bytes wire, struct buffer *scratch, const struct procedure **procedure,
                struct bytes *argument);

#endif
