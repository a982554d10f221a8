/* From a frame of the native protocol to what the shard understands: heads of belay.proto unpacked.
 *
 * Nothing but bytes in, structs out; the fuzzer calls exactly this.
 * Memory: results point into the frame and into the arena. Threads: the arena's.
 */
#ifndef NATIVE_REQUEST_H
#define NATIVE_REQUEST_H

#include "arena.h"
#include "frame.h"
#include "shard.h"
#include "status.h"

/* GET, WRITE, SCAN, INSPECT and RECOVER. The rest of the request (ticket, times, position) is left zero.
 * Returns OK with `request` set; INVALID; UNKNOWN_REQUEST for other types; BUSY without memory. */
enum status native_request(const struct frame *frame, struct arena *arena, struct request *request);

/* GET_MANY and WRITE_MANY: a template and the list of keys. */
struct native_many {
    struct request request; /* What all have in common. */
    struct reader list;
    uint32_t count;
};

/* Checks the whole list. Returns OK, INVALID, UNKNOWN_REQUEST or BUSY, as above. */
enum status native_many(const struct frame *frame, struct arena *arena, struct native_many *many);

/* The next of `count` requests. */
void native_many_next(struct native_many *many, struct request *request);

struct native_hello {
    uint32_t protocol;
    uint64_t client;
    uint32_t shard_plus_one;
    struct bytes user, password;
};

enum status native_hello(const struct frame *frame, struct arena *arena,
                         struct native_hello *hello);

struct native_admin {
    struct bytes command, argument;
};

enum status native_admin(const struct frame *frame, struct arena *arena,
                         struct native_admin *admin);

#endif
