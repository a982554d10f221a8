/* Private to archive_reader.c and archive_index.c: the footer of an archive's object. */
#ifndef ARCHIVE_INDEX_H
#define ARCHIVE_INDEX_H

#include "archive_object.h"

/* Read the raw footer, whose blocks end at `footer_offset`. Returns 0; -EBADMSG; -ENOMEM. After a failure
 * archive_index_fini() is due. */
int archive_index_read(struct archive_reader *reader, uint64_t footer_offset);

/* Give back blocks, slots and shards. */
void archive_index_fini(struct archive_reader *reader);

#endif
