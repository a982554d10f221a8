/* Requests from other nodes (far_frame.h): any bytes. What is taken is within its limits and comes back from its own
 * encoding. */
#include "far_frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "calls.h"
#include "fuzz.h"
#include "heap.h"
#include "limits.h"

static void check_limits(const struct far_request *far)
{
    const struct request *request = &far->request;
    bool scans = request->op == REQUEST_SCAN;

    assert(request->op <= REQUEST_SCAN);
    assert(far->protocol >= FAR_NATIVE && far->protocol <= FAR_TASK);
    assert(far->form >= CALL_FRAME && far->form <= CALL_STEP);
    assert(request->key.size <= KEY_BYTES_MAX && (scans || request->key.size > 0));
    assert(request->procedure == NULL || request->op <= REQUEST_WRITE);
    assert(request->ticket == 0 && request->received_us == 0 && request->position == 0);
}

static void check_same(const struct far_request *a, const struct far_request *b)
{
    const struct request *x = &a->request, *y = &b->request;

    assert(x->op == y->op && x->mode == y->mode && x->type == y->type && x->ack == y->ack);
    assert(x->flags == y->flags && x->timeout_ms == y->timeout_ms && x->count == y->count);
    assert(x->client == y->client && x->sequence == y->sequence && x->retry_hlc == y->retry_hlc);
    assert(x->cursor == y->cursor && bytes_equal(x->key, y->key));
    assert(bytes_equal(x->version, y->version) && bytes_equal(x->body, y->body));
    assert((x->procedure == NULL) == (y->procedure == NULL));
    assert(x->procedure == NULL || x->procedure->run == y->procedure->run);
    assert(a->protocol == b->protocol && a->form == b->form && a->frame_type == b->frame_type);
    assert(a->call_flags == b->call_flags && a->hops == b->hops && a->flags == b->flags);
    assert(a->shard == b->shard && a->connection_shard == b->connection_shard);
    assert(a->connection == b->connection && a->connection_generation == b->connection_generation);
    assert(a->request_id == b->request_id && a->epoch == b->epoch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer scratch = {.memory = heap_memory()}, other = {.memory = heap_memory()};
    struct buffer bytes = {.memory = heap_memory()};
    struct far_request far, again;

    int rc = far_request_read(bytes_of(data, size), &scratch, &far);
    assert(rc == 0 || rc == -ENOENT || rc == -EINVAL || rc == -EBADMSG);
    if (rc == 0) {
        check_limits(&far);
        assert(far_request_put(&far, &bytes) == 0);
        assert(far_request_read(buffer_bytes(&bytes), &other, &again) == 0);
        check_same(&far, &again);
    }
    buffer_fini(&scratch);
    buffer_fini(&other);
    buffer_fini(&bytes);
    return 0;
}
