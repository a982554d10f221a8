#include "receive.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>

#include "bounds.h"
#include "native_door.h"
#include "plane_private.h"
#include "resp_door.h"
#include "shard_thread.h"

bool receive_has_request(const struct connection *connection)
{
    return connection->input != NULL && !connection->input_partial &&
           connection->input->size == connection->input_wanted;
}

static struct bytes advance(struct bytes bytes, size_t size)
{
    return bytes_of(bytes.data + size, bytes.size - size);
}

/* The batch may point into it: it goes back once that was executed. */
static void spend(struct shard_thread *thread, struct chunk *chunk)
{
    chunk->next = thread->spent;
    thread->spent = chunk;
}

static void keep(struct shard_thread *thread, struct connection *connection,
                 struct chunk_list *list, struct bytes bytes)
{
    if (bytes.size > 0 && chunk_list_append(list, &thread->chunks, bytes) != 0) {
        connection_close(thread, connection);
    }
}

void connection_put_off(struct shard_thread *thread, struct connection *connection,
                        struct bytes request)
{
    connection->stalled = true;
    connection_mark(thread, connection);
    pause_keeps(&connection->input_late);
    keep(thread, connection, &connection->put_off, request);
}

static bool is_large(const struct connection *connection)
{
    return connection->input_wanted > CHUNK_BYTES;
}

static void set_waits(struct shard_thread *thread, struct connection *connection, bool waits)
{
    if (connection->waits != waits) {
        connection->waits = waits;
        thread->connections.waiting += waits ? 1 : -1U;
    }
}

static void drop_input(struct shard_thread *thread, struct connection *connection)
{
    if (connection->input != NULL) {
        if (is_large(connection)) {
            thread->connections.input_bytes -= connection->input->size;
        }
        chunk_give(&thread->chunks, connection->input);
        connection->input = NULL;
        connection->input_wanted = 0;
        set_waits(thread, connection, false);
    }
}

/* What is missing of the request in `input` is not taken. */
static void skip_input(struct shard_thread *thread, struct connection *connection)
{
    struct chunk *input = connection->input;

    if (connection->input_partial) { /* Nobody knows where it ends. */
        connection->protocol->complain(thread, connection, STATUS_BUSY);
        connection_drain(thread, connection);
        return;
    }
    connection->skip_bytes = connection->input_wanted - input->size;
    connection->protocol->skipped(thread, connection, bytes_of(input->data, input->size));
    drop_input(thread, connection);
}

/* A large request waits where this turn had enough of them, or the log is behind: it would be refused. And
 * behind all that wait already: their order is that of the dirty list. */
static bool must_wait(struct shard_thread *thread, const struct connection *connection, size_t size)
{
    if (size <= BULK_BYTES_MIN) {
        return false;
    }
    if (thread->bulk_over || (!connection->waits && thread->connections.waiting > 0)) {
        return true;
    }
    if (!log_writer_has_room(&thread->log, size)) {
        thread->bulk_over = true;
        return true;
    }
    if (thread->bulk_bytes > 0 && thread->bulk_bytes + size > BULK_TURN_BYTES) {
        thread->bulk_over = thread->again = true;
        return true;
    }
    thread->bulk_bytes += size;
    return false;
}

/* Serve the request in `input`, or leave it there for another turn. */
static void serve_input(struct shard_thread *thread, struct connection *connection)
{
    struct chunk *input = connection->input;
    size_t size = connection->input_wanted;

    if (must_wait(thread, connection, size)) {
        set_waits(thread, connection, true);
        connection_mark(thread, connection);
        return;
    }
    set_waits(thread, connection, false);
    if (is_large(connection)) {
        thread->connections.input_bytes -= input->size;
    }
    connection->input = NULL;
    connection->input_wanted = 0;
    pause_completes(&connection->input_late);
    connection->protocol->serve(thread, connection, bytes_of(input->data, size));
    spend(thread, input);
}

/* So much of the request in `input` is wanted: give it memory for that. Returns 0 or -ENOMEM. */
static int set_wanted(struct shard_thread *thread, struct connection *connection, size_t size,
                      bool partial)
{
    struct chunk *input = connection->input;
    bool was_large = is_large(connection);

    connection->input_wanted = size;
    connection->input_partial = partial;
    if (!was_large && is_large(connection)) {
        thread->connections.input_bytes += input->size;
    }
    if (size > input->capacity) {
        /* Twice as much, so that one that grows piece by piece is not copied at each. */
        size_t capacity = partial && size < 2 * input->capacity ? 2 * input->capacity : size;
        struct chunk *larger = chunk_take(&thread->chunks, capacity);
        if (larger == NULL) {
            return -ENOMEM;
        }
        memcpy(larger->data, input->data, input->size);
        larger->size = input->size;
        chunk_give(&thread->chunks, input);
        connection->input = larger;
    }
    return 0;
}

/* Look at the request in `input` again, and cut off what is behind it. Returns whether there is one still, to go on with. */
static bool measure_input(struct shard_thread *thread, struct connection *connection,
                          size_t *surplus)
{
    struct chunk *input = connection->input;
    struct measuring *measuring = &connection->measuring;
    int64_t whole = connection->protocol->measure(thread, connection, measuring,
                                                  bytes_of(input->data, input->size));
    if (whole < 0) {
        connection_drain(thread, connection);
        return false;
    }
    size_t wanted = whole > 0 ? (size_t)whole : measuring->wanted;
    *surplus = wanted < input->size ? input->size - wanted : 0;
    input->size -= *surplus;
    if (is_large(connection)) {
        thread->connections.input_bytes -= *surplus;
    }
    if (set_wanted(thread, connection, wanted, whole == 0) != 0) {
        skip_input(thread, connection);
        return false;
    }
    return true;
}

/* Returns how many bytes belong to the next request, and are to be taken again. */
static size_t input_grew(struct shard_thread *thread, struct connection *connection, size_t size)
{
    size_t surplus = 0;

    connection->input->size += size;
    if (is_large(connection)) {
        thread->connections.input_bytes += size;
    }
    if (connection->input->size >= connection->input_wanted && connection->input_partial &&
        !measure_input(thread, connection, &surplus)) {
        return 0;
    }
    if (receive_has_request(connection)) {
        serve_input(thread, connection);
    } else if (is_large(connection) && thread->connections.input_bytes > INPUT_BYTES_MAX) {
        skip_input(thread, connection);
    }
    return surplus;
}

/* Copy what belongs to the request in `input`: of one that may end anywhere what there is room for, as it would else be looked
 * at byte by byte. Returns how many bytes that were. */
static size_t fill_input(struct shard_thread *thread, struct connection *connection,
                         struct bytes bytes)
{
    struct chunk *input = connection->input;
    size_t room =
        (connection->input_partial ? input->capacity : connection->input_wanted) - input->size;
    size_t size = room < bytes.size ? room : bytes.size;

    memcpy(input->data + input->size, bytes.data, size);
    return size - input_grew(thread, connection, size);
}

/* Serve a request that lies whole in `bytes`, or begin to collect it. Returns how many bytes of it
 * were used. */
static size_t take_request(struct shard_thread *thread, struct connection *connection,
                           struct bytes bytes)
{
    struct measuring *measuring = &connection->measuring;

    *measuring = (struct measuring){0};
    int64_t size = connection->protocol->measure(thread, connection, measuring, bytes);
    if (size < 0) {
        connection_drain(thread, connection);
        return bytes.size;
    }
    if (size > 0 && (size_t)size <= bytes.size) {
        connection->protocol->serve(thread, connection, bytes_of(bytes.data, (size_t)size));
        return (size_t)size;
    }
    connection->input_partial = size == 0;
    connection->input_wanted = size == 0 ? measuring->wanted : (size_t)size;
    assert(connection->input_wanted > bytes.size);
    connection->input = chunk_take(&thread->chunks, connection->input_wanted);
    if (connection->input == NULL) {
        connection_close(thread, connection);
        return bytes.size;
    }
    pause_begins(&connection->input_late);
    memcpy(connection->input->data, bytes.data, bytes.size);
    input_grew(thread, connection, bytes.size);
    return bytes.size;
}

/* The port's languages, told apart by the first byte. */
static bool choose_protocol(struct shard_thread *thread, struct connection *connection,
                            uint8_t first)
{
    if (first == FRAME_MAGIC) {
        connection->protocol = &native_protocol;
        return true;
    }
    if (resp_door_open(thread, connection) != 0) {
        connection_close(thread, connection);
        return false;
    }
    return true;
}

void connection_feed(struct shard_thread *thread, struct connection *connection, struct bytes bytes)
{
    if (bytes.size > 0 && connection->protocol == NULL && connection->state == CONNECTION_OPEN &&
        !choose_protocol(thread, connection, bytes.data[0])) {
        return;
    }
    while (bytes.size > 0 &&
           (connection->state == CONNECTION_OPEN || connection->state == CONNECTION_MOVING)) {
        size_t used;
        if (connection->stalled || connection->state == CONNECTION_MOVING ||
            receive_has_request(connection)) {
            pause_keeps(&connection->input_late);
            keep(thread, connection, &connection->backlog, bytes);
            return;
        }
        if (connection->skip_bytes > 0) {
            uint64_t skip = connection->skip_bytes;
            used = skip < bytes.size ? (size_t)skip : bytes.size;
            connection->skip_bytes -= used;
        } else if (connection->input != NULL) {
            used = fill_input(thread, connection, bytes);
        } else {
            used = take_request(thread, connection, bytes);
        }
        bytes = advance(bytes, used);
    }
}

/* Whole requests, one after the other; `input` is not theirs. */
static void take_put_off(struct shard_thread *thread, struct connection *connection)
{
    struct chunk *chunk = connection->put_off.first;

    connection->put_off = (struct chunk_list){0};
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        struct bytes bytes = bytes_of(chunk->data, chunk->size);
        while (bytes.size > 0 && connection->state == CONNECTION_OPEN && !connection->stalled) {
            struct measuring measuring = {0};
            int64_t size = connection->protocol->measure(thread, connection, &measuring, bytes);
            assert(size > 0 && (size_t)size <= bytes.size);
            connection->protocol->serve(thread, connection, bytes_of(bytes.data, (size_t)size));
            bytes = advance(bytes, (size_t)size);
        }
        if (connection->state == CONNECTION_OPEN) {
            keep(thread, connection, &connection->put_off, bytes);
        }
        spend(thread, chunk);
        chunk = next;
    }
}

void receive_resume(struct shard_thread *thread, struct connection *connection)
{
    /* It was the client that kept these waiting. */
    connection->arrived_us = thread->now_us;
    pause_resumes(&connection->input_late,
                  connection->put_off.first != NULL || connection->backlog.first != NULL);
    if (!connection->stalled && connection->put_off.first != NULL) {
        take_put_off(thread, connection);
    }
    if (!connection->stalled && receive_has_request(connection)) {
        serve_input(thread, connection);
    }
    if (connection->stalled || receive_has_request(connection) ||
        connection->state != CONNECTION_OPEN) {
        return;
    }
    struct chunk *chunk = connection->backlog.first;
    connection->backlog = (struct chunk_list){0};
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        connection_feed(thread, connection, bytes_of(chunk->data, chunk->size));
        spend(thread, chunk);
        chunk = next;
    }
}

/* ---- The ring's side ---- */

static void arm(struct shard_thread *thread, struct connection *connection)
{
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);

    io_uring_prep_recv_multishot(sqe, connection->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe,
                            ring_tag_pack(RING_RECEIVE, connection->index, connection->generation));
    connection->receive = RECEIVE_MULTI;
}

static void arm_bulk(struct shard_thread *thread, struct connection *connection)
{
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);
    struct chunk *input = connection->input;
    size_t size = connection->input_wanted - input->size;

    io_uring_prep_recv(sqe, connection->fd, input->data + input->size,
                       size < BULK_SLICE_BYTES ? size : BULK_SLICE_BYTES, 0);
    io_uring_sqe_set_data64(
        sqe, ring_tag_pack(RING_RECEIVE_BULK, connection->index, connection->generation));
    connection->receive = RECEIVE_BULK;
}

static void cancel(struct shard_thread *thread, struct connection *connection)
{
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);

    io_uring_prep_cancel64(
        sqe, ring_tag_pack(RING_RECEIVE, connection->index, connection->generation), 0);
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_IGNORED, 0, 0));
    connection->receive = RECEIVE_CANCELLED;
}

static bool wants_bulk(const struct connection *connection)
{
    return connection->input != NULL &&
           connection->input_wanted - connection->input->size > BULK_BYTES_MIN;
}

void receive_settle(struct shard_thread *thread, struct connection *connection)
{
    bool open = connection->state == CONNECTION_OPEN;
    bool waits = connection->state == CONNECTION_MOVING || (open && connection->stalled);
    bool bulk = open && wants_bulk(connection);

    if (open && (receive_has_request(connection) || connection->stalled)) {
        connection_mark(thread, connection); /* Until its turn has come. */
    }
    if (connection->receive == RECEIVE_MULTI && (waits || bulk)) {
        cancel(thread, connection);
    } else if (connection->receive == RECEIVE_NONE && !waits && !connection->ended &&
               !receive_has_request(connection)) {
        if (bulk) {
            arm_bulk(thread, connection);
        } else {
            arm(thread, connection);
        }
    }
}

/* What stays in the socket waits as well, and longer than a turn when there is much of it: remember how
 * much it is and since when. */
static void note_behind(struct shard_thread *thread, struct connection *connection)
{
    int left = 0;

    if (connection->behind_us == 0 && ioctl(connection->fd, SIOCINQ, &left) == 0 && left > 0) {
        connection->behind_bytes = connection->received + (uint64_t)left;
        connection->behind_us = thread->now_us;
    }
}

static void note_arrival(struct shard_thread *thread, struct connection *connection, size_t size)
{
    connection->touched_us = thread->now_us;
    connection->arrived_us = thread->now_us - thread->waited_us;
    if (connection->behind_us != 0) {
        if (connection->received >= connection->behind_bytes) {
            connection->behind_us = 0;
        } else if (connection->behind_us < connection->arrived_us) {
            connection->arrived_us = connection->behind_us;
        }
    }
    pause_arrived(thread, &connection->input_late, size);
    connection->received += size;
    thread->stats.bytes_in += size;
}

static void end_of_input(struct shard_thread *thread, struct connection *connection, int32_t result)
{
    if (result == 0) {
        connection->ended = true;
    } else if (result == -ENOBUFS) {
        note_behind(thread, connection);
    } else if (result != -ECANCELED && result != -EAGAIN && result != -EINTR) {
        connection_close(thread, connection);
    }
}

void connection_received(struct shard_thread *thread, struct connection *connection,
                         const struct io_uring_cqe *cqe)
{
    struct bytes bytes = bytes_of(NULL, 0);

    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        bytes = ring_received(&thread->ring, cqe);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        connection->receive = RECEIVE_NONE;
        connection_mark(thread, connection);
    }
    if (cqe->res <= 0) {
        end_of_input(thread, connection, cqe->res);
        return;
    }
    if (connection->state != CONNECTION_LINGERING) {
        note_arrival(thread, connection, bytes.size);
    }
    connection_feed(thread, connection, bytes);
    if (wants_bulk(connection)) {
        connection_mark(thread, connection);
    }
}

void connection_received_bulk(struct shard_thread *thread, struct connection *connection,
                              int32_t result)
{
    connection->receive = RECEIVE_NONE;
    connection_mark(thread, connection);
    if (result <= 0) {
        end_of_input(thread, connection, result);
        return;
    }
    note_arrival(thread, connection, (size_t)result);
    if (connection->state == CONNECTION_OPEN) {
        input_grew(thread, connection, (size_t)result);
    }
}

void receive_drop(struct shard_thread *thread, struct connection *connection)
{
    chunk_list_clear(&connection->put_off, &thread->chunks);
    chunk_list_clear(&connection->backlog, &thread->chunks);
    if (connection->receive != RECEIVE_BULK) {
        drop_input(thread, connection);
    }
}

int receive_rest(const struct connection *connection, struct buffer *out)
{
    int rc = 0;

    for (struct chunk *chunk = connection->backlog.first; chunk != NULL && rc == 0;
         chunk = chunk->next) {
        rc = buffer_append(out, bytes_of(chunk->data, chunk->size));
    }
    return rc;
}
