/* Change lists: what the reader takes, the writer gives back, byte for byte (varints have one form). */
#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "fuzz.h"
#include "limits.h"

static void check_change(const struct change *change, const uint8_t *from, size_t size)
{
    assert(change->name.size <= FIELD_NAME_BYTES_MAX);
    assert(!isnan(change->score));
    assert(change_size(change) == size);

    uint8_t *again = malloc(size);
    if (again == NULL) {
        return;
    }
    assert(change_put(again, change) == again + size);
    assert(memcmp(again, from, size) == 0);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes list = bytes_of(data, size);
    struct reader reader = reader_of(list);
    struct change change;
    int count = 0, rc;

    for (const uint8_t *from = reader.at; (rc = change_next(&reader, &change)) == 1;
         from = reader.at) {
        check_change(&change, from, (size_t)(reader.at - from));
        count++;
    }
    int checked = change_check(list);
    assert(checked == -EBADMSG || checked == count);
    assert(rc == 0 || checked == -EBADMSG);
    return 0;
}
