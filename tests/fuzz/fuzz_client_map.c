/* Maps for clients: what the reader takes, the writer gives back, byte for byte. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "client_map.h"
#include "fuzz.h"
#include "heap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct client_map map;
    struct memory memory = {.resize = heap_resize};
    struct buffer again = {.memory = &memory};
    int rc = client_map_decode(bytes_of(data, size), &map);

    assert(rc == 0 || rc == -EBADMSG || rc == -EPROTONOSUPPORT);
    if (rc == 0 && client_map_encode(&map, &again) == 0) {
        assert(bytes_equal(buffer_bytes(&again), bytes_of(data, size)));
    }
    buffer_fini(&again);
    return 0;
}
