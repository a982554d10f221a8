/* From an answer of the shard to bytes of the native protocol.
 *
 * In two steps, so that the bytes are written once and where they belong: native_answer() collects and
 * says how much room is needed at most, native_answer_frame() or _part() writes.
 * Memory: what `reply` points at and the scratch buffer must live until the second step.
 */
#ifndef NATIVE_ANSWER_H
#define NATIVE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "belay.pb-c.h"
#include "bytes.h"
#include "memory.h"
#include "shard.h"

struct native_answer {
    Belay__Wire__Reply head;
    struct bytes value;
    size_t room;                /* For the frame or the part. */
    struct session_field field; /* A number's text lies in it. */
};

/* The answer to GET, WRITE and INSPECT, and every error. `flags`: GET's, as asked for. */
void native_answer(struct native_answer *answer, const struct reply *reply, uint32_t flags,
                   struct buffer *scratch);

/* An answer that is only a status and a text (NULL: the status's own). */
void native_answer_status(struct native_answer *answer, enum status status, const char *text,
                          struct bytes value);

/* Write the whole frame. Returns its size. */
size_t native_answer_frame(const struct native_answer *answer, uint8_t type, uint64_t request_id,
                           uint8_t *to);

/* Write one part of a many-key reply: varint size and head, varint size and value. */
size_t native_answer_part(const struct native_answer *answer, uint8_t *to);

/* Change the ack level in a frame or a part of a write that was OK. */
void native_frame_set_level(uint8_t *frame, size_t size, enum ack_level level);
void native_part_set_level(uint8_t *part, size_t size, enum ack_level level);

/* The head of replies to many keys and of scans. Returns the size of the frame; `to` has room for
 * native_many_room(value.size). */
size_t native_many_frame(uint8_t type, uint64_t request_id, uint64_t cursor, struct bytes value,
                         uint8_t *to);
size_t native_many_room(size_t value_size);

#endif
