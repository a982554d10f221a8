/* The bodies of JOIN and JOINED: any bytes. What is read comes out as it went in. */
#include <assert.h>
#include <string.h>

#include "fuzz.h"
#include "heap.h"
#include "join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct map_command add;
    static struct joined joined;
    struct buffer again = {.memory = heap_memory()};

    if (join_decode(bytes_of(data, size), &add) == 0) {
        assert(add.type == MAP_ADD && add.number == 0);
        int rc = join_encode(&add, &again);
        assert(rc == 0 && bytes_equal(buffer_bytes(&again), bytes_of(data, size)));
    }
    again.size = 0;
    if (joined_decode(bytes_of(data, size), &joined) == 0) {
        int rc = joined_encode(&joined, &again);
        assert(rc == 0 && bytes_equal(buffer_bytes(&again), bytes_of(data, size)));
    }
    buffer_fini(&again);
    return 0;
}
