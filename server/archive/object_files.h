/* Objects in a directory: `file:///DIR`, for a single machine, or where DIR lies on storage that others look after.
 *
 * A name's '/' are directories. An object is written beside its place, made durable, and then gets its name, which must
 * be free where it is to be new (link(2)); so a crash leaves it there wholly or not at all, and what was left beside it
 * (".part-...") is removed by the next store that is made, and by OBJECT_TIDY, whatever its name was to be. Calls run on
 * libuv's pool of threads, and are not tried again.
 *
 * Memory: malloc(). Threads: the loop's; those of the pool inside.
 */
#ifndef OBJECT_FILES_H
#define OBJECT_FILES_H

#include <uv.h>

#include "object_store.h"

/* For who `writes` a directory that is missing is made, its parent is not, and what was left beside objects is removed. Returns
 * 0, or negative errno with `message` set: -ENOENT: there is none; -EACCES, -EROFS: who writes may not. */
int object_files_create(uv_loop_t *loop, const char *directory, bool writes,
                        struct object_store **store, char *message, size_t message_size);

#endif
