/* Reads objects of an archive, every byte, to find what is damaged: the header, the footer, the trailer, each block, and
 * each record.
 *
 * Memory: malloc(), of a block and what is read ahead (archive_access.h); the check itself is some 66 KiB. Threads: the
 * access'.
 */
#ifndef ARCHIVE_CHECK_H
#define ARCHIVE_CHECK_H

#include "archive_access.h"
#include "archive_state.h"

/* Set by archive_check_init(), but for `read`, which may be set then. */
struct archive_check {
    struct archive_access *access;
    /* As reading_open()'s (archive_reading.h). */
    void (*damaged)(void *context, const char *name, const char *why, uint16_t first_slot,
                    uint16_t last_slot);
    void (*read)(void *context,
                 uint64_t bytes); /* So much was; it may wait. NULL: nobody is told. */
    void *context;
    uint64_t records, told; /* Read: so far. */
    /* Private. */
    struct archive_state state; /* Of one block at a time: its records pass all checks. */
    struct buffer stored, raw;
};

/* The access must stay. */
void archive_check_init(struct archive_check *check, struct archive_access *access,
                        void (*damaged)(void *context, const char *name, const char *why,
                                        uint16_t first_slot, uint16_t last_slot),
                        void *context);
void archive_check_fini(struct archive_check *check);

/* Read an object. Returns 0, having told what is damaged; an error of access_get(), or of opening it, that says nothing
 * of its bytes (-ENOENT, -ENOKEY, -EKEYREJECTED among them), with `access->text` set; -ENOMEM. */
int archive_check_object(struct archive_check *check, const struct archive_name *name,
                         uint64_t size);

#endif
