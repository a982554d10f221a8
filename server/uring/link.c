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

static void feed(struct shard_thread *thread, struct link *link, struct bytes bytes);

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
    feed(thread, link, opened->rest);
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

static void drop_input(struct shard_thread *thread, struct link *link)
{
    if (link->input != NULL) {
        chunk_give(&thread->chunks, link->input);
        link->input = NULL;
    }
}

/* The ring has let go of it. */
static void release(struct shard_thread *thread, struct link *link)
{
    const struct plane_options *options = &thread->plane->options;

    close(link->fd);
    drop_input(thread, link);
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

/* ---- In ---- */

/* The batch may point into it: it goes back once that was executed. */
static void spend(struct shard_thread *thread, struct chunk *chunk)
{
    chunk->next = thread->spent;
    thread->spent = chunk;
}

/* Returns false where it cannot be taken now, nor what comes behind it. */
static bool take_frame(struct shard_thread *thread, struct link *link, struct bytes whole)
{
    struct peer_frame frame;

    if (peer_frame_parse(whole, &frame) != 0) {
        thread->stats.frames_bad++;
        link_close(thread, link);
        return true;
    }
    if (copies_must_wait(thread, frame.kind, frame.body.size)) {
        thread->stats.link_waits++;
        thread->links.behind = true;
        link->behind = link->stalled = true;
        link->behind_kind = frame.kind;
        link->behind_bytes = frame.body.size;
        return false;
    }
    if (frame.kind >= PEER_REPLICATION_FIRST && frame.kind < REPLICATION_KINDS_END) {
        copies_receive(thread, link, &frame);
        return true;
    }
    copies_heard(thread, link);
    if (frame.kind == PEER_FAR_REQUEST && !link->dialled) {
        far_take_request(thread, link, &frame);
    } else if (frame.kind == PEER_FAR_ANSWER && link->dialled) {
        far_take_answer(thread, link, &frame);
    } else if (frame.kind == PEER_PUBLISH && !link->dialled) {
        news_take(thread, link, &frame);
    } else if (frame.kind == PEER_NEWS_ASK && !link->dialled) {
        news_take_ask(thread, link, &frame);
    } else if (frame.kind == PEER_NEWS_ANSWER && link->dialled) {
        news_take_answer(thread, link, &frame);
    } else {
        thread->stats.frames_bad++;
        link_close(thread, link);
    }
    return true;
}

/* It has been asked for more than its other end takes, or has brought more copies than the log does. */
static bool is_stalled(struct shard_thread *thread, struct link *link)
{
    if (!link->dialled && thread->batch.count >= PREFETCH_MAX) {
        batch_run(thread); /* The answers count. */
    }
    link->stalled = link->behind || (!link->dialled && link->output.size >= LINK_OUTPUT_BYTES_MAX);
    return link->stalled;
}

/* So much of the frame in `input` is wanted. Returns 0 or -ENOMEM. */
static int set_wanted(struct shard_thread *thread, struct link *link, size_t size)
{
    struct chunk *input = link->input;

    link->input_wanted = size;
    if (size > input->capacity) {
        struct chunk *larger = chunk_take(&thread->chunks, size);
        if (larger == NULL) {
            return -ENOMEM;
        }
        memcpy(larger->data, input->data, input->size);
        larger->size = input->size;
        chunk_give(&thread->chunks, input);
        link->input = larger;
    }
    return 0;
}

/* `input` grew: find its size, or take the frame. */
static void look_at_input(struct shard_thread *thread, struct link *link)
{
    struct chunk *input = link->input;

    if (input->size < link->input_wanted) {
        return;
    }
    if (link->input_wanted == PEER_HEAD_BYTES) {
        int64_t size = peer_frame_size(bytes_of(input->data, input->size), PEER_BODY_BYTES_MAX);
        if (size < 0 || set_wanted(thread, link, (size_t)size) != 0) {
            thread->stats.frames_bad += size < 0;
            link_close(thread, link);
            return;
        }
        input = link->input;
    }
    if (input->size < link->input_wanted) {
        return;
    }
    pause_completes(&link->input_late);
    if (take_frame(thread, link, bytes_of(input->data, input->size))) {
        link->input = NULL;
        spend(thread, input);
    }
}

/* Returns how many bytes of it were used. */
static size_t fill_input(struct shard_thread *thread, struct link *link, struct bytes bytes)
{
    struct chunk *input = link->input;
    size_t room = link->input_wanted - input->size;
    size_t size = room < bytes.size ? room : bytes.size;

    memcpy(input->data + input->size, bytes.data, size);
    input->size += size;
    look_at_input(thread, link);
    return size;
}

/* A frame that lies whole in `bytes`, or the begin of one. Returns how many bytes of it were used. */
static size_t take_next(struct shard_thread *thread, struct link *link, struct bytes bytes)
{
    int64_t size = peer_frame_size(bytes, PEER_BODY_BYTES_MAX);

    if (size < 0) {
        thread->stats.frames_bad++;
        link_close(thread, link);
        return bytes.size;
    }
    if (size > 0 && (size_t)size <= bytes.size) {
        return take_frame(thread, link, bytes_of(bytes.data, (size_t)size)) ? (size_t)size : 0;
    }
    link->input_wanted = size == 0 ? PEER_HEAD_BYTES : (size_t)size;
    link->input = chunk_take(&thread->chunks, link->input_wanted);
    if (link->input == NULL) {
        link_close(thread, link);
        return bytes.size;
    }
    pause_begins(&link->input_late);
    memcpy(link->input->data, bytes.data, bytes.size);
    link->input->size = bytes.size;
    return bytes.size;
}

static void feed(struct shard_thread *thread, struct link *link, struct bytes bytes)
{
    while (bytes.size > 0 && link->state == LINK_OPEN) {
        if (is_stalled(thread, link)) {
            pause_keeps(&link->input_late);
            if (chunk_list_append(&link->backlog, &thread->chunks, bytes) != 0) {
                link_close(thread, link);
            }
            return;
        }
        size_t used =
            link->input != NULL ? fill_input(thread, link, bytes) : take_next(thread, link, bytes);
        bytes = bytes_of(bytes.data + used, bytes.size - used);
    }
}

/* There is room for what it waited with. */
static void resume(struct shard_thread *thread, struct link *link)
{
    struct chunk *chunk = link->backlog.first;

    link->stalled = link->behind = false;
    pause_resumes(&link->input_late, chunk != NULL);
    link->backlog = (struct chunk_list){0};
    if (link->input != NULL) {
        look_at_input(thread, link);
    }
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        feed(thread, link, bytes_of(chunk->data, chunk->size));
        spend(thread, chunk);
        chunk = next;
    }
}

/* ---- The ring's side ---- */

static bool wants_bulk(const struct link *link)
{
    return link->input != NULL && link->input_wanted - link->input->size > BULK_BYTES_MIN;
}

static void arm(struct shard_thread *thread, struct link *link)
{
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);

    if (wants_bulk(link)) {
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
    feed(thread, link, bytes);
    if (wants_bulk(link) || link->stalled) {
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
        link->input->size += (size_t)result;
        look_at_input(thread, link);
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
    if (link->receive == RECEIVE_MULTI && (link->stalled || wants_bulk(link))) {
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
            resume(thread, link);
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
