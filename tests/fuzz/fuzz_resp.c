/* RESP requests: any bytes, whole and in pieces, and the line that a person may have typed. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "heap.h"
#include "resp.h"

enum { BULK_MAX = 4096 };

static void check_array(struct bytes array)
{
    struct resp_arguments arguments = resp_arguments(array);
    uint32_t count = arguments.count, found = 0;
    struct bytes argument;

    while (resp_next(&arguments, &argument)) {
        assert(argument.data >= array.data);
        assert(argument.data + argument.size + 2 <= array.data + array.size);
        found++;
    }
    assert(found == count && arguments.left.size == 0);
}

static void check_line(struct bytes line)
{
    struct memory memory = {.resize = heap_resize};
    struct buffer out = {.memory = &memory};

    if (resp_line_to_array(line, &out) == 0) {
        struct resp_cursor cursor = {0};
        char error[RESP_ERROR_BYTES];
        size_t wanted;
        int64_t size = resp_measure(&cursor, buffer_bytes(&out), line.size, &wanted, error);
        assert(size == (int64_t)out.size);
        check_array(buffer_bytes(&out));
    }
    buffer_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resp_cursor whole = {0}, pieces = {0};
    char error[RESP_ERROR_BYTES];
    size_t wanted = 0;
    int64_t found = resp_measure(&whole, bytes_of(data, size), BULK_MAX, &wanted, error);
    int64_t again = 0;

    assert(found == -EBADMSG || (found >= 0 && found <= (int64_t)size));
    assert(found != 0 || wanted > size);
    for (size_t have = 1; have <= size && again == 0; have++) {
        /* A copy of its own size, so that reading past its end is seen. */
        uint8_t *piece = malloc(have);
        memcpy(piece, data, have);
        again = resp_measure(&pieces, bytes_of(piece, have), BULK_MAX, &wanted, error);
        free(piece);
    }
    assert(again == found);
    if (found > 0 && resp_is_line(bytes_of(data, size))) {
        check_line(bytes_of(data, (size_t)found));
    } else if (found > 0) {
        check_array(bytes_of(data, (size_t)found));
    }
    return 0;
}
