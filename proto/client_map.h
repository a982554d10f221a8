/* The map of a cluster as clients see it: who serves, where, and whose each slot is. It is the value of a FRAME_MAP
 * reply.
 *
 * Encoding (every number a varint, every string a varint size and bytes):
 *
 *   version  CLIENT_MAP_VERSION
 *   epoch    from 1 up: of two maps the one with the higher epoch is the newer
 *   members  how many, then for each, in ascending order of number: number, name, host, native port, shards,
 *            flags (bit 0: it serves)
 *   runs     until SLOT_COUNT slots are told: how many slots in a row, how many owners these have, then for each
 *            owner, the primary first, its index among the members
 *
 * There is one encoding of a map: neighbouring runs differ, and nothing follows. With 3 nodes it has some hundred
 * bytes, with 256 at most CLIENT_MAP_BYTES_MAX.
 *
 * Memory: plain data, about 230 KiB, copied from what is decoded. Threads: the caller's.
 */
#ifndef CLIENT_MAP_H
#define CLIENT_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "bytes.h"
#include "memory.h"
#include "slot.h"

enum {
    CLIENT_MAP_VERSION = 1,
    CLIENT_MAP_MEMBERS_MAX = 256,
    CLIENT_MAP_OWNERS_MAX = 5,
    CLIENT_MAP_NAME_BYTES_MAX = 255,
    CLIENT_MAP_SHARDS_MAX = 1024,
    CLIENT_MAP_BYTES_MAX = 512 * 1024,
};

struct client_map_member {
    uint32_t number; /* Of the node, from 1 up. */
    uint32_t shards; /* From 1 up. */
    uint16_t port;   /* Native; not 0. */
    bool serves;     /* It answers for slots. */
    char name[CLIENT_MAP_NAME_BYTES_MAX + 1], host[HOST_BYTES_MAX + 1]; /* Terminated. */
};

/* Who owns a slot, the primary first. */
struct client_map_owners {
    uint8_t count;
    uint8_t members[CLIENT_MAP_OWNERS_MAX]; /* Indices into the map's; 0 above `count`. */
};

struct client_map {
    uint64_t epoch;
    uint32_t member_count;
    struct client_map_member members[CLIENT_MAP_MEMBERS_MAX]; /* In order of number. */
    struct client_map_owners owners[SLOT_COUNT];
};

/* Append the encoding. The map must be one that client_map_decode() could give. Returns 0, or -ENOMEM with `to` as it
 * was. */
int client_map_encode(const struct client_map *map, struct buffer *to);

/* Read and check all of an encoding. Returns 0; -EPROTONOSUPPORT: of another version; -EBADMSG: damaged, or what
 * client_map_encode() does not write. `map` is of no use then. */
int client_map_decode(struct bytes from, struct client_map *map);

#endif
