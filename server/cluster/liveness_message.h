/* What liveness.h has its members say to each other, as bytes.
 *
 *   message  u8 version (2), u8 kind, varint start of the sender, varint unheard_ms, u8 condition, varint followed,
 *            varint subject, varint number, varint wait_ms
 *   report   u8 version (2), varint start of the sender, varint number, u8 condition, varint count, then for each in
 *            rising order of numbers: varint number less the one before (of the first: less 0), u8 belief
 *
 * The sender's number is not in it: the connection says who it is. Varints have their shortest form. What a reader takes
 * keeps these bounds: known kinds, conditions and beliefs, numbers in order, at most LIVENESS_MEMBERS_MAX of them.
 *
 * Memory: the caller's. Threads: any.
 */
#ifndef LIVENESS_MESSAGE_H
#define LIVENESS_MESSAGE_H

#include "bytes.h"
#include "liveness.h"

enum {
    LIVENESS_VERSION = 2,
    LIVENESS_MESSAGE_BYTES_MAX = 3 + 6 * VARINT_BYTES_MAX,
    LIVENESS_REPORT_BYTES_MAX = 2 + 3 * VARINT_BYTES_MAX + LIVENESS_MEMBERS_MAX * 6,
};

/* Write at most LIVENESS_MESSAGE_BYTES_MAX, LIVENESS_REPORT_BYTES_MAX bytes. Return how many. Members of a report may
 * be in any order. */
size_t liveness_message_put(uint8_t *to, const struct liveness_message *message);
size_t liveness_report_put(uint8_t *to, const struct liveness_report *report);

/* Read what `from` sent. Return 0; -EPROTONOSUPPORT for another version; -EBADMSG. The result is of no use then. */
int liveness_message_read(struct bytes bytes, uint32_t from, struct liveness_message *message);
int liveness_report_read(struct bytes bytes, uint32_t from, struct liveness_report *report);

#endif
