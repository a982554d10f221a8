/* An object of the archive as text, for people and scripts: what belayctl archive cat prints. As the store's dumps
 * (dump.h): a line for each thing, beginning with what it is; keys are quoted, and bytes that are not printable
 * become \xHH.
 *
 * Memory: from the port. Threads: any.
 */
#ifndef ARCHIVE_DUMP_H
#define ARCHIVE_DUMP_H

#include <stdio.h>

#include "archive_object.h"

/* A whole object:
 *
 *   object kind=log|checkpoint|done cluster=HEX node=N start=N sequence=N part=N parts=N made-ms=N key-id=TEXT|none
 *     bytes=N raw-bytes=N records=N least-hlc=N newest-hlc=N   (in one line)
 *   range shard=N from=N to=N
 *   seen slot=N bytes=N
 *   span slot=N node=N start=N least-hlc=N newest-hlc=N records=N
 *   block index=N offset=N bytes=N raw-bytes=N first-slot=N last-slot=N records=N
 *   record slot=N kind=NAME position=HEX bytes=N key="..."   and `item ...` for what a batch has, after their block
 *   damaged part=header|block|record offset=N, which is of the object; of a record in the raw block
 *   end records=N
 *
 * `keys` may be NULL: none. Returns 0; with `message` set, and what could be read printed: -EBADMSG: a part is damaged;
 * -EPROTONOSUPPORT, -ENOKEY, -EKEYREJECTED as archive_reader_open(); -ENOMEM; -EIO: also where `out` takes nothing. */
int archive_dump(struct memory *memory, struct bytes object, const struct archive_keys *keys,
                 FILE *out, char *message, size_t message_size);

#endif
