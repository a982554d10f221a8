#include "hop.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

#include "bounds.h"

/* Before each message its size; SKIP: the rest up to the end of the ring is empty. */
enum { PREFIX_BYTES = 8, SKIP = 0 };

static uint64_t message_bytes(uint32_t size)
{
    return PREFIX_BYTES + (((uint64_t)size + 7) & ~UINT64_C(7));
}

int hop_init(struct hop *hop)
{
    void *bytes = mmap(NULL, HOP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) {
        return -errno;
    }
    *hop = (struct hop){.bytes = bytes};
    return 0;
}

void hop_fini(struct hop *hop)
{
    if (hop->bytes != NULL) {
        munmap(hop->bytes, HOP_BYTES);
        hop->bytes = NULL;
    }
}

/* Is there room for `bytes` more? Looks at the receiver's progress only when it must. */
bool hop_has_room(struct hop *hop, uint64_t bytes)
{
    if (hop->written + bytes - hop->released_seen <= HOP_BYTES) {
        return true;
    }
    hop->released_seen = atomic_load_explicit(&hop->released, memory_order_acquire);
    return hop->written + bytes - hop->released_seen <= HOP_BYTES;
}

void *hop_send(struct hop *hop, uint32_t size, uint32_t spare)
{
    uint64_t bytes = message_bytes(size);
    uint64_t to_end = HOP_BYTES - hop->written % HOP_BYTES;
    uint64_t skip = to_end < bytes ? to_end : 0;

    assert(size > 0 && bytes <= HOP_BYTES / 2);
    if (!hop_has_room(hop, skip + bytes + spare)) {
        return NULL;
    }
    if (skip > 0) {
        store_u32(hop->bytes + hop->written % HOP_BYTES, SKIP);
        hop->written += skip;
    }
    uint8_t *at = hop->bytes + hop->written % HOP_BYTES;
    store_u32(at, size);
    hop->written += bytes;
    return at + PREFIX_BYTES;
}

bool hop_publish(struct hop *hop)
{
    if (atomic_load_explicit(&hop->published, memory_order_relaxed) == hop->written) {
        return false;
    }
    atomic_store_explicit(&hop->published, hop->written, memory_order_release);
    return true;
}

/* The message at `place`, which moves behind it; NULL where there is none. */
static uint8_t *next(struct hop *hop, uint64_t *place, uint32_t *size)
{
    while (*place != atomic_load_explicit(&hop->published, memory_order_acquire)) {
        uint8_t *at = hop->bytes + *place % HOP_BYTES;
        *size = load_u32(at);
        if (*size != SKIP) {
            *place += message_bytes(*size);
            return at + PREFIX_BYTES;
        }
        *place += HOP_BYTES - *place % HOP_BYTES;
    }
    return NULL;
}

struct bytes hop_receive(struct hop *hop)
{
    uint32_t size = 0;
    const uint8_t *message = next(hop, &hop->read, &size);

    return bytes_of(message, size);
}

void *hop_look(struct hop *hop)
{
    uint32_t size;

    if (hop->looked < hop->read) {
        hop->looked = hop->read;
    }
    return next(hop, &hop->looked, &size);
}

void hop_release(struct hop *hop)
{
    atomic_store_explicit(&hop->released, hop->read, memory_order_release);
}

bool hop_waiting(struct hop *hop)
{
    return hop->read != atomic_load_explicit(&hop->published, memory_order_acquire);
}
