/* The answer to ListObjectsV2. Threads: any. */
#ifndef S3_LIST_H
#define S3_LIST_H

#include "object_list.h"

/* Read it into an empty list, names without the prefix. Returns 0; -EBADMSG: it is no such answer, or has other names
 * than were asked for; -ENOMEM. Either way object_list_fini() is to follow. */
int s3_list_read(struct object_list *list, struct bytes xml, const char *prefix);

#endif
