#include "link.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "batch.h"
#include "bounds.h"
#include "connection.h"
#include "copies.h"
#include "far.h"
#include "heap.h"
#include "link_input.h"
#include "news.h"
#include "peer_frame.h"
#include "plane_private.h"
#include "shard_thread.h"

enum { DELAYED_ACK_US = 40 * 1000 }; /* Linux's TCP_DELACK_MIN: the longest on a short way. */

struct link *link_at(struct shard_thread *thread, uint32_t index)
{
    assert(index < thread->links.size);
    return thread->links.table[index];
}

struct link *link_find(struct shard_thread *thread, uint32_t index, uint32_t generation)
{
    struct link *link = index < thread->links.size ? thread->links.table[index] : NULL;

    return link != NULL && link->state == LINK_OPEN && link->generation == generation ? link : NULL;
}

static struct link *find(struct shard_thread *thread, bool dialled, uint32_t node, uint32_t shard)
{
    for (uint32_t i = 0; i < thread->links.size; i++) {
        struct link *link = thread->links.table[i];
        if (link->state == LINK_OPEN && link->dialled == dialled && link->node == node &&
            (shard == UINT32_MAX || link->shard == shard)) {
            return link;
        }
    }
    return NULL;
}

struct link *link_to(struct shard_thread *thread, uint32_t node, uint32_t shard)
{
    return find(thread, true, node, shard);
}

struct link *link_to_node(struct shard_thread *thread, uint32_t node)
{
    return find(thread, true, node, UINT32_MAX);
}

static void mark(struct shard_thread *thread, struct link *link)
{
    link->dirty = thread->links.dirty = true;
}

/* ---- Its life ---- */

/* One that is free, or a new one. Returns NULL where there is no memory. */
static struct link *take_link(struct shard_thread *thread)
{
    struct links *links = &thread->links;

    for (uint32_t i = 0; i < links->size; i++) {
        if (links->table[i]->state == LINK_FREE) {
            return links->table[i];
        }
    }
    if (links->size == LINKS_MAX) {
        return NULL;
    }
    if (links->table == NULL) {
        links->table = heap_take(thread->memory, LINKS_MAX * sizeof(struct link *));
    }
    struct link *link = links->table == NULL ? NULL : heap_take(thread->memory, sizeof *link);
    if (link != NULL) {
        *link = (struct link){.index = links->size};
        links->table[links->size++] = link;
    }
    return link;
}

void link_open(struct shard_thread *thread, const struct plane_link *opened)
{
    const struct plane_options *options = &thread->plane->options;
    struct link *before = find(thread, opened->dialled, opened->node, opened->shard);
    struct link *link = take_link(thread);
    int on = 1;

    if (before != NULL) {
        before->replaced = true; /* Its other end has given it up. */
        link_close(thread, before);
    }
    if (link == NULL) {
        close(opened->fd);
        if (options->link_lost != NULL) {
            options->link_lost(options->context, thread->index, opened->node, opened->shard,
                               opened->dialled);
        }
        return;
    }
    (void)setsockopt(opened->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *link = (struct link){
        .index = link->index,
        .generation = link->generation + 1,
        .fd = opened->fd,
        .state = LINK_OPEN,
        .dialled = opened->dialled,
        .node = opened->node,
        .start = opened->start,
        .shard = opened->shard,
        .shards = opened->shards,
        .output = {.memory = thread->memory},
        .heard_us = thread->now_us,
    };
    pause_mark_new(thread, &link->input_late, link->fd);
    thread->links.open++;
    mark(thread, link);
    copies_link_up(thread, link);
    link_input_take(thread, link, opened->rest);
}

/* tcp(7): close() resets, and drops what is not sent. */
static void drop_unsent(const struct link *link)
{
    const struct linger none = {.l_onoff = 1};

    (void)setsockopt(link->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

void link_close(struct shard_thread *thread, struct link *link)
{
    if (link->state == LINK_OPEN) {
        link->state = LINK_CLOSING;
        if (link->asked.first != NULL) {
            drop_unsent(link); /* It is asked elsewhere. */
        }
        /* Ends what the ring has under way with this socket. */
        (void)shutdown(link->fd, SHUT_RDWR);
        mark(thread, link);
    }
}

void link_abort(struct shard_thread *thread, struct link *link)
{
    if (link->state != LINK_FREE) {
        drop_unsent(link);
        link_close(thread, link);
    }
}

/* The ring has let go of it. */
static void release(struct shard_thread *thread, struct link *link)
{
    const struct plane_options *options = &thread->plane->options;

    close(link->fd);
    link_input_drop(thread, link);
    chunk_list_clear(&link->backlog, &thread->chunks);
    link_output_fini(&link->output, &thread->chunks);
    link->state = LINK_FREE;
    thread->links.open--;
    copies_link_down(thread, link);
    far_link_lost(thread, link);
    news_link_lost(thread, link);
    if (!link->replaced && options->link_lost != NULL) {
        options->link_lost(options->context, thread->index, link->node, link->shard, link->dialled);
    }
}

void links_paused(struct shard_thread *thread, uint64_t before_us)
{
    for (uint32_t i = 0; i < thread->links.size; i++) {
        struct link *link = thread->links.table[i];
        if (link->state == LINK_OPEN) {
            link->heard_us =
                replication_heard_before_pause(link->heard_us, before_us, thread->now_us,
                                               copies_silence_us(thread), &link->spared);
            pause_mark(&link->input_late, link->fd, link->input != NULL,
                       link->backlog.first != NULL);
        }
    }
}

void links_keep_members(struct shard_thread *thread)
{
    for (uint32_t i = 0; i < thread->links.size; i++) {
        struct link *link = thread->links.table[i];
        if (link->state == LINK_OPEN && !copies_is_member(thread, link->node)) {
            link_close(thread, link);
        }
    }
}

void links_fini(struct shard_thread *thread)
{
    struct links *links = &thread->links;

    for (uint32_t i = 0; i < links->size; i++) {
        struct link *link = links->table[i];
        if (link->state != LINK_FREE) {
            link->replaced = true; /* Nobody is to dial again. */
            release(thread, link);
        }
        heap_give(thread->memory, link, sizeof *link);
    }
    if (links->table != NULL) {
        heap_give(thread->memory, links->table, LINKS_MAX * sizeof(struct link *));
    }
    *links = (struct links){0};
}

/* ---- Out ---- */

enum link_sent link_send(struct shard_thread *thread, struct link *link, uint8_t kind,
                         uint64_t number, const struct bytes parts[], uint32_t count, bool lends,
                         bool must)
{
    struct bytes whole[1 + LINK_FRAME_PARTS_MAX];
    uint8_t head[PEER_HEAD_BYTES];

    assert(count <= LINK_FRAME_PARTS_MAX && (count > 0 || !lends));
    if (link->state != LINK_OPEN) {
        return LINK_GONE;
    }
    if (!must && link->output.size >= LINK_OUTPUT_BYTES_MAX) {
        link->full = true;
        return LINK_FULL;
    }
    peer_frame_head_put(head, kind, number, parts, count);
    whole[0] = bytes_of(head, sizeof head);
    for (uint32_t i = 0; i < count; i++) {
        whole[1 + i] = parts[i];
    }
    if (link_output_add(&link->output, &thread->chunks, whole, 1 + count, lends) != 0) {
        link_close(thread, link); /* A frame that is missing would be missed silently. */
        return LINK_GONE;
    }
    mark(thread, link);
    return LINK_SENT;
}

bool link_is_unheeded(const struct link *link, uint64_t us)
{
    struct tcp_info info;
    socklen_t size = sizeof info;

    if (link->state != LINK_OPEN ||
        getsockopt(link->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
        return false;
    }
    const uint64_t heeded_us = (uint64_t)info.tcpi_last_ack_recv * 1000;
    return info.tcpi_unacked > 0 && heeded_us >= us &&
           heeded_us >= DELAYED_ACK_US + 4 * (uint64_t)info.tcpi_rtt;
}

static void send_output(struct shard_thread *thread, struct link *link)
{
    struct iovec *parts = arena_take(&thread->arena, LINK_SEND_PARTS_MAX * sizeof *parts);
    struct msghdr *header = arena_take(&thread->arena, sizeof *header);

    if (parts == NULL || header == NULL) {
        mark(thread, link);
        thread->again = true;
        return;
    }
    *header = (struct msghdr){
        .msg_iov = parts,
        .msg_iovlen =
            link_output_gather(&link->output, parts, LINK_SEND_PARTS_MAX, LINK_SEND_BYTES_MAX),
    };
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);
    io_uring_prep_sendmsg(sqe, link->fd, header, MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_LINK_SEND, link->index, link->generation));
    link->sending = true;
}

void link_sent(struct shard_thread *thread, struct link *link, int32_t result)
{
    link->sending = false;
    mark(thread, link);
    if (link->state != LINK_OPEN) {
        return;
    }
    if (result < 0) {
        if (result != -EAGAIN && result != -EINTR && result != -ENOBUFS) {
            link_close(thread, link);
        }
        return;
    }
    thread->stats.link_bytes_out += (uint64_t)result;
    link_output_sent(&link->output, &thread->chunks, (size_t)result);
    if (link->full && link->output.size <= LINK_OUTPUT_BYTES_MAX / 2) {
        link->full = false;
        copies_writable(thread, link);
    }
}

/* ---- The ring's side ---- */

static void arm(struct shard_thread *thread, struct link *link)
{
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);

    if (link_input_is_large(link)) {
        struct chunk *input = link->input;
        io_uring_prep_recv(sqe, link->fd, input->data + input->size,
                           link->input_wanted - input->size, 0);
        io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_LINK_BULK, link->index, link->generation));
        link->receive = RECEIVE_BULK;
        return;
    }
    io_uring_prep_recv_multishot(sqe, link->fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_LINK_RECEIVE, link->index, link->generation));
    link->receive = RECEIVE_MULTI;
}

static void cancel(struct shard_thread *thread, struct link *link)
{
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);

    io_uring_prep_cancel64(sqe, ring_tag_pack(RING_LINK_RECEIVE, link->index, link->generation), 0);
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_IGNORED, 0, 0));
    link->receive = RECEIVE_CANCELLED;
}

static void end_of_input(struct shard_thread *thread, struct link *link, int32_t result)
{
    if (result != -ENOBUFS && result != -ECANCELED && result != -EAGAIN && result != -EINTR) {
        link_close(thread, link);
    }
}

static void hear(const struct shard_thread *thread, struct link *link)
{
    link->heard_us = thread->now_us;
    link->spared = false;
}

static void note_arrival(struct shard_thread *thread, struct link *link, size_t size)
{
    if (thread->now_us - link->heard_us >= copies_silence_us(thread)) {
        copies_heard_again(thread);
    }
    hear(thread, link);
    pause_arrived(thread, &link->input_late, size);
    thread->stats.link_bytes_in += size;
}

void link_received(struct shard_thread *thread, struct link *link, const struct io_uring_cqe *cqe)
{
    struct bytes bytes = bytes_of(NULL, 0);

    if ((cqe->flags & IORING_CQE_F_BUFFER) != 0) {
        bytes = ring_received(&thread->ring, cqe);
    }
    if ((cqe->flags & IORING_CQE_F_MORE) == 0) {
        link->receive = RECEIVE_NONE;
        mark(thread, link);
    }
    if (cqe->res <= 0) {
        end_of_input(thread, link, cqe->res);
        return;
    }
    note_arrival(thread, link, bytes.size);
    link_input_take(thread, link, bytes);
    if (link_input_is_large(link) || link->stalled) {
        mark(thread, link);
    }
}

void link_received_bulk(struct shard_thread *thread, struct link *link, int32_t result)
{
    link->receive = RECEIVE_NONE;
    mark(thread, link);
    if (result <= 0) {
        end_of_input(thread, link, result);
        return;
    }
    note_arrival(thread, link, (size_t)result);
    if (link->state == LINK_OPEN) {
        link_input_grew(thread, link, (size_t)result);
    }
}

/* ---- End of a turn ---- */

static void settle(struct shard_thread *thread, struct link *link)
{
    if (link->state == LINK_CLOSING) {
        if (link->receive == RECEIVE_NONE && !link->sending) {
            release(thread, link);
        } else if (link->receive == RECEIVE_MULTI) {
            cancel(thread, link); /* The end of the stream alone ends it, too. */
        }
        return;
    }
    if (link->output.size > 0 && !link->sending) {
        send_output(thread, link);
    }
    if (link->receive == RECEIVE_MULTI && (link->stalled || link_input_is_large(link))) {
        cancel(thread, link);
    } else if (link->receive == RECEIVE_NONE && !link->stalled) {
        arm(thread, link);
    }
}

/* Half of the answers are gone, and the log has room. */
static bool may_resume(struct shard_thread *thread, struct link *link)
{
    if (link->behind) {
        /* It is this end that does not listen. */
        hear(thread, link);
        copies_heard(thread, link);
    }
    return (link->dialled || link->output.size <= LINK_OUTPUT_BYTES_MAX / 2) &&
           !(link->behind && copies_must_wait(thread, link->behind_kind, link->behind_bytes));
}

void links_turn(struct shard_thread *thread)
{
    struct links *links = &thread->links;

    if (!links->dirty && !links->behind) {
        return;
    }
    links->behind = false;
    for (uint32_t i = 0; i < links->size; i++) {
        struct link *link = links->table[i];
        if (link->state == LINK_OPEN && link->stalled && may_resume(thread, link)) {
            mark(thread, link);
            link_input_resume(thread, link);
        }
        links->behind = links->behind || (link->state == LINK_OPEN && link->behind);
    }
    batch_run(thread);
    links->dirty = false;
    for (uint32_t i = 0; i < links->size; i++) {
        struct link *link = links->table[i];
        if (link->dirty) {
            link->dirty = false;
            settle(thread, link);
        }
    }
    thread->again = thread->again || links->dirty;
}
