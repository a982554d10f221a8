#include "connection.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bounds.h"
#include "cross.h"
#include "gather.h"
#include "login.h"
#include "plane_private.h"
#include "receive.h"
#include "shard_thread.h"

enum { CONNECTIONS_PER_BLOCK = 64 };

static_assert(SEND_PARTS_MAX * sizeof(struct iovec) < 1024, "parts fit the turn's arena");

struct connection *connection_at(struct shard_thread *thread, uint32_t index)
{
    struct connections *all = &thread->connections;

    assert(index < all->size);
    return &all->blocks[index / CONNECTIONS_PER_BLOCK][index % CONNECTIONS_PER_BLOCK];
}

struct connection *connection_find(struct shard_thread *thread, uint32_t index, uint32_t generation)
{
    if (index >= thread->connections.size) {
        return NULL;
    }
    struct connection *connection = connection_at(thread, index);
    bool here = connection->state != CONNECTION_FREE && connection->generation == generation;
    return here ? connection : NULL;
}

static bool add_block(struct connections *all)
{
    struct connection **blocks = realloc(all->blocks, (all->block_count + 1) * sizeof *all->blocks);
    if (blocks == NULL) {
        return false;
    }
    all->blocks = blocks;
    blocks[all->block_count] = calloc(CONNECTIONS_PER_BLOCK, sizeof **blocks);
    if (blocks[all->block_count] == NULL) {
        return false;
    }
    all->block_count++;
    return true;
}

struct connection *connection_open(struct shard_thread *thread, int fd)
{
    struct connections *all = &thread->connections;
    uint32_t index = all->free == 0 ? all->size : all->free - 1;

    if (all->free == 0) {
        if (index == all->block_count * CONNECTIONS_PER_BLOCK && !add_block(all)) {
            return NULL;
        }
        all->size++;
    }
    struct connection *connection = connection_at(thread, index);
    if (all->free != 0) {
        all->free = connection->next;
    }
    *connection = (struct connection){
        .index = index,
        .generation = connection->generation + 1,
        .fd = fd,
        .state = CONNECTION_OPEN,
        .gather_bytes = OUTPUT_PACE_BYTES, /* None is known yet. */
        .touched_us = thread->now_us,
        .arrived_us = thread->now_us,
    };
    pause_mark_new(thread, &connection->input_late, fd);
    all->open++;
    connection_mark(thread, connection);
    return connection;
}

void connection_mark(struct shard_thread *thread, struct connection *connection)
{
    if (!connection->dirty) {
        struct connections *all = &thread->connections;
        connection->dirty = true;
        connection->next = 0;
        if (all->dirty == 0) {
            all->dirty = connection->index + 1;
        } else {
            connection_at(thread, all->dirty_last - 1)->next = connection->index + 1;
        }
        all->dirty_last = connection->index + 1;
    }
}

void connection_forget(struct shard_thread *thread, struct connection *connection)
{
    struct connections *all = &thread->connections;

    assert(connection->receive == RECEIVE_NONE && !connection->sending && !connection->dirty);
    receive_drop(thread, connection);
    thread->unread_bytes -= connection->output.size;
    output_clear(&connection->output, &thread->chunks);
    if (connection->protocol != NULL && connection->protocol->forget != NULL) {
        connection->protocol->forget(thread, connection);
    }
    connection->state = CONNECTION_FREE;
    connection->fd = -1;
    connection->next = all->free;
    all->free = connection->index + 1;
    all->open--;
    atomic_fetch_sub(&thread->connection_count, 1);
    login_drop(thread, connection);
    gather_drop(thread, connection);
    turned_drop(thread, connection);
}

static void release(struct shard_thread *thread, struct connection *connection)
{
    close(connection->fd);
    connection_forget(thread, connection);
}

/* ---- Output ---- */

uint8_t *connection_reserve(struct shard_thread *thread, struct connection *connection, size_t size)
{
    if (connection->cut || connection->state == CONNECTION_CLOSING ||
        connection->state == CONNECTION_LINGERING) {
        return NULL;
    }
    uint8_t *room = output_reserve(&connection->output, &thread->chunks, size);
    if (room == NULL) {
        /* An answer that cannot be given must not be missing silently. */
        connection_close(thread, connection);
    }
    return room;
}

void connection_commit(struct shard_thread *thread, struct connection *connection, size_t size)
{
    output_commit(&connection->output, size);
    thread->unread_bytes += size;
    if (size > connection->answer_bytes_max) {
        connection->answer_bytes_max = size;
    }
    connection_mark(thread, connection);
}

void connection_write(struct shard_thread *thread, struct connection *connection,
                      struct bytes bytes)
{
    uint8_t *room = connection_reserve(thread, connection, bytes.size);

    if (room != NULL && bytes.size > 0) {
        memcpy(room, bytes.data, bytes.size);
        connection_commit(thread, connection, bytes.size);
    }
}

void connection_answered(struct shard_thread *thread, struct connection *connection)
{
    struct reply_order *order = connection->order;
    struct bytes reply;

    reply_order_sent(order);
    while (reply_order_kept(order, &reply)) {
        connection_write(thread, connection, reply);
        reply_order_drop(order);
    }
}

void connection_answer(struct shard_thread *thread, struct connection *connection, uint64_t number,
                       struct bytes bytes)
{
    struct reply_order *order = connection->order;

    if (order == NULL) {
        connection_write(thread, connection, bytes);
    } else if (reply_order_is_due(order, number)) {
        connection_write(thread, connection, bytes);
        connection_answered(thread, connection);
    } else if (reply_order_keep(order, number, bytes) != 0) {
        connection_close(thread, connection); /* All that follows would answer another request. */
    }
}

static void send_output(struct shard_thread *thread, struct connection *connection)
{
    struct iovec *parts = arena_take(&thread->arena, SEND_PARTS_MAX * sizeof *parts);
    struct msghdr *header = arena_take(&thread->arena, sizeof *header);
    if (parts == NULL || header == NULL) {
        connection_mark(thread, connection);
        thread->again = true;
        return;
    }
    uint32_t count = output_gather(&connection->output, parts, SEND_PARTS_MAX, SEND_BYTES_MAX);
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);
    if (count == 1) {
        io_uring_prep_send(sqe, connection->fd, parts[0].iov_base, parts[0].iov_len, MSG_NOSIGNAL);
    } else {
        *header = (struct msghdr){.msg_iov = parts, .msg_iovlen = count};
        io_uring_prep_sendmsg(sqe, connection->fd, header, MSG_NOSIGNAL);
    }
    io_uring_sqe_set_data64(sqe,
                            ring_tag_pack(RING_SEND, connection->index, connection->generation));
    connection->sending = true;
    connection->sent_us = thread->now_us;
}

void connection_sent(struct shard_thread *thread, struct connection *connection, int32_t result)
{
    connection->sending = false;
    connection_mark(thread, connection);
    if (connection->state == CONNECTION_CLOSING) {
        return;
    }
    if (result < 0) {
        if (result != -EAGAIN && result != -EINTR && result != -ENOBUFS) {
            connection_close(thread, connection);
        }
        return;
    }
    thread->stats.bytes_out += (uint64_t)result;
    output_sent(&connection->output, &thread->chunks, (size_t)result);
    thread->unread_bytes -= (uint64_t)result;
    if (connection->output.size == 0) {
        connection->answer_bytes_max = 0;
    }
}

/* ---- Ends ---- */

void connection_drain(struct shard_thread *thread, struct connection *connection)
{
    if (connection->state == CONNECTION_OPEN) {
        connection->state = CONNECTION_DRAINING;
        receive_drop(thread, connection);
        connection_mark(thread, connection);
    }
}

void connection_close(struct shard_thread *thread, struct connection *connection)
{
    if (connection->state == CONNECTION_CLOSING || connection->state == CONNECTION_FREE) {
        return;
    }
    if (connection->state == CONNECTION_LINGERING) {
        thread->connections.lingering--;
    }
    connection->state = CONNECTION_CLOSING;
    /* Ends what the ring has under way with this socket. */
    (void)shutdown(connection->fd, SHUT_RDWR);
    connection_mark(thread, connection);
}

void connection_move(struct shard_thread *thread, struct connection *connection, uint32_t shard,
                     uint64_t request_id)
{
    assert(connection->state == CONNECTION_OPEN);
    connection->state = CONNECTION_MOVING;
    connection->move_to = (uint8_t)shard;
    connection->move_request = request_id;
    connection_mark(thread, connection);
}

static void linger(struct shard_thread *thread, struct connection *connection)
{
    if (connection->ended || shutdown(connection->fd, SHUT_WR) != 0) {
        connection_close(thread, connection);
        return;
    }
    connection->state = CONNECTION_LINGERING;
    connection->touched_us = thread->now_us;
    thread->connections.lingering++;
}

/* ---- End of a turn ---- */

uint64_t connection_pace_bytes(const struct shard_thread *thread)
{
    uint64_t limit = thread->plane->options.limits.output_bytes;

    uint64_t pace = thread->unread_bytes > UNREAD_BYTES_MAX ? UNREAD_PACE_BYTES : OUTPUT_PACE_BYTES;

    return limit < pace ? limit : pace;
}

bool connections_are_crowded(const struct shard_thread *thread)
{
    return thread->unread_bytes > CROWDED_BYTES_MAX;
}

/* What its client has to read before the reply to request `number`, or soon. Replies that are kept because they come
 * after that one do not count: it is what they wait for. */
static uint64_t unread_bytes(const struct connection *connection, uint64_t number)
{
    const struct reply_order *order = connection->order;
    uint64_t kept = order == NULL || order->due == number ? 0 : order->kept_bytes;

    return connection->output.size + connection->awaited_bytes + kept;
}

bool connection_is_full(const struct shard_thread *thread, const struct connection *connection,
                        uint64_t number)
{
    return unread_bytes(connection, number) > connection_pace_bytes(thread) ||
           connections_are_crowded(thread);
}

void connection_awaits(struct connection *connection, struct call *call, bool awaits)
{
    uint64_t bytes = call->granted_bytes > 0 ? call->granted_bytes : UNASKED_BYTES_MAX;

    if (call->awaited != awaits) {
        call->awaited = awaits;
        connection->awaited_bytes += awaits ? bytes : -bytes;
    }
}

/* Half of the answers are gone, and the log takes a record of any size. */
static bool may_resume(const struct shard_thread *thread, const struct connection *connection)
{
    uint64_t number = connection->order == NULL ? 0 : reply_order_next(connection->order);

    return unread_bytes(connection, number) <= connection_pace_bytes(thread) / 2 &&
           !connections_are_crowded(thread) && connection->turned.first == NULL &&
           !login_is_pending(connection) && log_writer_has_room(&thread->log, SESSION_BYTES_MAX);
}

static bool is_done(const struct connection *connection)
{
    return connection->output.size == 0 && !connection->sending &&
           (connection->in_flight == 0 || connection->cut);
}

/* Its client does not read. One answer may be of any size: it says nothing about the reader. */
static bool is_flooded(const struct shard_thread *thread, const struct connection *connection)
{
    uint64_t limit = thread->plane->options.limits.output_bytes;

    return connection->output.size > 2 * limit + connection->answer_bytes_max;
}

void connection_cut(struct shard_thread *thread, struct connection *connection)
{
    thread->stats.output_limited++;
    connection->protocol->complain(thread, connection, STATUS_OUTPUT_LIMIT);
    connection->cut = true;
    connection->touched_us = thread->now_us;
    connection_drain(thread, connection);
}

static void settle_open(struct shard_thread *thread, struct connection *connection)
{
    if (!connection->cut && is_flooded(thread, connection)) {
        connection_cut(thread, connection);
    }
    if (!connection->cut) {
        gather_resume(thread, connection);
        turned_resume(thread, connection);
    }
    if (connection->output.size > 0 && !connection->sending) {
        send_output(thread, connection);
    }
    if (connection->state == CONNECTION_OPEN && connection->ended && !connection->stalled &&
        !receive_has_request(connection)) {
        connection_drain(thread, connection);
    }
    if (connection->state == CONNECTION_DRAINING && is_done(connection)) {
        linger(thread, connection);
    }
}

static void settle(struct shard_thread *thread, struct connection *connection)
{
    switch ((enum connection_state)connection->state) {
    case CONNECTION_OPEN:
    case CONNECTION_DRAINING:
        settle_open(thread, connection);
        break;
    case CONNECTION_MOVING:
        if (connection->receive == RECEIVE_NONE && is_done(connection)) {
            cross_move(thread, connection);
            return;
        }
        if (connection->output.size > 0 && !connection->sending) {
            send_output(thread, connection);
        }
        break;
    case CONNECTION_LINGERING:
        if (connection->ended) {
            connection_close(thread, connection);
        }
        break;
    case CONNECTION_CLOSING:
    case CONNECTION_FREE:
        break;
    }
    if (connection->state == CONNECTION_CLOSING) {
        bool held = connection->receive != RECEIVE_NONE || connection->sending;
        if (connection->dirty) {
            thread->again = true; /* In the list once more; its turn is the next one. */
        } else if (!held) {
            release(thread, connection);
        }
        return;
    }
    receive_settle(thread, connection);
}

void connections_resume(struct shard_thread *thread)
{
    struct connections *all = &thread->connections;

    for (uint32_t i = all->dirty; i != 0;) {
        struct connection *connection = connection_at(thread, i - 1);
        i = connection->next;
        if (connection->state == CONNECTION_OPEN) {
            connection->stalled = connection->stalled && !may_resume(thread, connection);
            receive_resume(thread, connection);
        }
    }
    batch_run(thread);
}

void connections_settle(struct shard_thread *thread)
{
    struct connections *all = &thread->connections;
    uint32_t dirty = all->dirty;

    all->dirty = all->dirty_last = 0;
    while (dirty != 0) {
        struct connection *connection = connection_at(thread, dirty - 1);
        dirty = connection->next;
        connection->dirty = false;
        connection->next = 0;
        settle(thread, connection);
    }
}

/* Close those whose clients read nothing, until so many bytes have gone that others may go on. */
static void make_room(struct shard_thread *thread)
{
    uint64_t left = thread->unread_bytes;

    for (uint32_t i = 0; i < thread->connections.size && left > UNREAD_BYTES_MAX; i++) {
        struct connection *connection = connection_at(thread, i);
        if (connection->output.size > 0 && connection->sending &&
            thread->now_us - connection->sent_us >= UNREAD_MS * 1000) {
            left -= connection->output.size;
            thread->stats.output_limited += connection->state != CONNECTION_CLOSING;
            connection_close(thread, connection);
        }
    }
}

void connections_check(struct shard_thread *thread)
{
    if (connections_are_crowded(thread)) {
        make_room(thread);
    }
    for (uint32_t i = 0; i < thread->connections.size; i++) {
        struct connection *connection = connection_at(thread, i);
        uint64_t age_ms = (thread->now_us - connection->touched_us) / 1000;
        bool lingers = connection->state == CONNECTION_LINGERING && age_ms >= LINGER_MS;
        bool dawdles = connection->state == CONNECTION_OPEN && !connection->stalled &&
                       connection->input != NULL && !receive_has_request(connection) &&
                       age_ms >= HALF_FRAME_MS;
        bool unread =
            connection->state == CONNECTION_DRAINING && connection->cut && age_ms >= CUT_MS;
        if (lingers || dawdles || unread) {
            connection_close(thread, connection);
        }
    }
}

static bool has_hung_up(int fd)
{
    struct pollfd end = {.fd = fd, .events = POLLRDHUP};

    return poll(&end, 1, 0) > 0;
}

void connections_paused(struct shard_thread *thread)
{
    for (uint32_t i = 0; i < thread->connections.size; i++) {
        struct connection *connection = connection_at(thread, i);
        if (connection->state != CONNECTION_OPEN && connection->state != CONNECTION_MOVING) {
            continue;
        }
        pause_mark(&connection->input_late, connection->fd, connection->input != NULL,
                   connection->put_off.first != NULL || connection->backlog.first != NULL);
        if (has_hung_up(connection->fd)) {
            connection_drain(thread, connection);
        }
    }
}

void connections_end_logins(struct shard_thread *thread)
{
    for (uint32_t i = 0; i < thread->connections.size; i++) {
        struct connection *connection = connection_at(thread, i);
        if (connection->state == CONNECTION_OPEN && login_is_over(connection)) {
            connection_close(thread, connection);
        }
    }
}

void connections_shut(struct shard_thread *thread)
{
    for (uint32_t i = 0; i < thread->connections.size; i++) {
        struct connection *connection = connection_at(thread, i);
        if (connection->state != CONNECTION_FREE) {
            (void)shutdown(connection->fd, SHUT_WR);
        }
    }
}

void connections_fini(struct shard_thread *thread)
{
    struct connections *all = &thread->connections;

    for (uint32_t i = 0; i < all->size; i++) {
        struct connection *connection = connection_at(thread, i);
        if (connection->state != CONNECTION_FREE) {
            /* The ring is gone, and with it whatever it had under way. */
            connection->receive = RECEIVE_NONE;
            connection->sending = connection->dirty = false;
            release(thread, connection);
        }
    }
    for (uint32_t i = 0; i < all->block_count; i++) {
        free(all->blocks[i]);
    }
    free(all->blocks);
    *all = (struct connections){0};
}
