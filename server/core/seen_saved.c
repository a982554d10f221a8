#include "seen_saved.h"

#include <errno.h>

int seen_save(const struct seen *seen, uint32_t first, uint32_t count, struct buffer *to)
{
    struct buffer vector = {.memory = seen->memory};
    int rc = 0;

    for (uint32_t slot = first; slot < seen->slot_count && slot - first < count && rc == 0;
         slot++) {
        uint8_t head[2 + VARINT_BYTES_MAX];
        if (!seen_is_known(seen, slot)) {
            continue;
        }
        vector.size = 0;
        rc = seen_put(seen, slot, &vector);
        store_u16(head, (uint16_t)slot);
        const uint8_t *end = varint_put(head + 2, vector.size);
        rc = rc != 0 ? rc : buffer_append(to, bytes_of(head, (size_t)(end - head)));
        rc = rc != 0 ? rc : buffer_append(to, buffer_bytes(&vector));
    }
    buffer_fini(&vector);
    return rc;
}

int seen_restore(struct seen *seen, struct bytes saved)
{
    struct reader from = reader_of(saved);
    uint32_t next = 0;
    int rc = 0;

    while (rc == 0 && reader_left(&from) > 0) {
        uint32_t low = read_u8(&from), slot = low | (uint32_t)read_u8(&from) << 8;
        struct bytes vector = read_string(&from);
        if (from.bad || slot < next || slot >= seen->slot_count) {
            rc = -EBADMSG;
        } else {
            rc = seen_join(seen, slot, vector);
        }
        next = slot + 1;
    }
    for (uint32_t slot = 0; slot < seen->slot_count && rc != 0; slot++) {
        seen_forget(seen, slot);
    }
    return rc;
}
