/* The native protocol's front door: frames in, frames out (proto/frame.h, proto/belay.proto). */
#ifndef NATIVE_DOOR_H
#define NATIVE_DOOR_H

#include "connection.h"
#include "status.h"

struct shard_thread;

extern const struct protocol native_protocol;

/* Answer with a status and a text (NULL: the status's own). */
void native_status(struct shard_thread *thread, struct connection *connection, uint8_t frame_type,
                   uint64_t request_id, enum status status, const char *text);

/* Answer ADMIN: a status, or a document. */
void native_document(struct shard_thread *thread, struct connection *connection,
                     uint64_t request_id, enum status status, const char *text,
                     struct bytes document);

/* Answer a HELLO: this is where the connection lives now. */
void native_hello_answer(struct shard_thread *thread, struct connection *connection,
                         uint64_t request_id);

/* A HELLO's answer for who may not stay. Returns its size; `to` has room for 512 bytes. */
size_t native_refusal(uint8_t *to, enum status status);

#endif
