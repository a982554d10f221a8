#include "shard_thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "container.h"
#include "copies.h"
#include "cross.h"
#include "door.h"
#include "gather.h"
#include "listener.h"
#include "loading.h"
#include "native_door.h"
#include "plane_private.h"
#include "renames.h"
#include "tasks.h"

enum { STOP_POLL_US = 10 * 1000, RECOVER_POLL_US = 1000, TICK_SHARE = 8 };

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t monotonic_us(void)
{
    return clock_us(CLOCK_BOOTTIME); /* Others go on while this machine is suspended (pause.h). */
}

/* ---- Its life ---- */

static void trace(struct tracer *tracer, enum trace_event event, uint64_t a, struct bytes text)
{
    struct shard_thread *thread = container_of(tracer, struct shard_thread, tracer);
    const struct plane_options *options = &thread->plane->options;

    if (pubsub_told(&thread->plane->pubsub) != 0) {
        resp_tell(thread, event, text);
    }
    if (options->trace != NULL) {
        options->trace(options->context, thread->index, event, a, text);
    }
}

static int make_hops(struct shard_thread *thread)
{
    uint32_t count = thread->plane->options.shard_count;

    thread->hops_in = calloc(count, sizeof(struct hop *));
    thread->hops_out = calloc(count, sizeof(struct hop *));
    thread->owed = calloc(count, sizeof *thread->owed);
    thread->turned_marks = calloc(count, sizeof *thread->turned_marks);
    if (thread->hops_in == NULL || thread->hops_out == NULL || thread->owed == NULL ||
        thread->turned_marks == NULL) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (i == thread->index) {
            continue;
        }
        struct hop *hop = aligned_alloc(_Alignof(struct hop), sizeof *hop);
        if (hop == NULL) {
            return -ENOMEM;
        }
        int rc = hop_init(hop);
        if (rc != 0) {
            free(hop);
            return rc;
        }
        thread->hops_out[i] = hop;
    }
    return 0;
}

int shard_thread_init(struct shard_thread *thread, struct plane *plane, uint32_t index,
                      char *message, size_t message_size)
{
    *thread = (struct shard_thread){.plane = plane, .index = index, .mailbox = {.wake_fd = -1}};
    thread->tracer.event = trace;
    thread->memory = plane->options.memory;
    thread->scratch.memory = thread->frame.memory = thread->memory;
    door_init(thread);
    archive_gate_init(&thread->archive);
    arena_init(&thread->arena);
    calls_init(&thread->calls, index, thread->memory);
    thread->chunks.memory = thread->memory;
    int rc = ring_create(&thread->ring, message, message_size);
    if (rc != 0) {
        return rc;
    }
    log_writer_init(&thread->log, &thread->ring, plane->options.limits.log_interval_ms);
    rc = mailbox_init(&thread->mailbox);
    if (rc == 0) {
        rc = make_hops(thread);
    }
    if (rc == 0) {
        rc = far_init(&thread->far);
    }
    if (rc == 0) {
        rc = aside_init(thread);
    }
    if (rc == 0) {
        rc = buffer_reserve(&thread->frame, FRAME_BUFFER_BYTES);
    }
    if (rc != 0) {
        ring_explain(rc, "cannot prepare a shard's thread", message, message_size);
    }
    return rc;
}

/* Gathered replies whose parts will not come. */
static void abandon_gathers(struct shard_thread *thread)
{
    for (uint32_t i = 0; i < thread->calls.size; i++) {
        struct call *call = &thread->calls.table[i];
        if ((call->generation & 1) != 0 && call->gather != NULL) {
            gather_abandon(call->gather);
        }
    }
}

/* Requests whose answers will not come from other nodes. */
static void abandon_far(struct shard_thread *thread)
{
    for (uint32_t i = 0; i < thread->calls.size; i++) {
        struct call *call = &thread->calls.table[i];
        if ((call->generation & 1) != 0 && call->away != NULL) {
            far_drop(thread, call);
        }
    }
}

static void free_hops(struct shard_thread *thread)
{
    for (uint32_t i = 0; thread->hops_out != NULL && i < thread->plane->options.shard_count; i++) {
        if (thread->hops_out[i] != NULL) {
            hop_fini(thread->hops_out[i]);
            free(thread->hops_out[i]);
        }
    }
    free(thread->hops_in);
    free(thread->hops_out);
    free(thread->owed);
}

void shard_thread_fini(struct shard_thread *thread)
{
    ring_destroy(&thread->ring);
    connections_fini(thread);
    resp_pubsub_fini(thread);
    abandon_gathers(thread);
    tasks_fini(thread);
    abandon_far(thread);
    far_fini(&thread->far);
    links_fini(thread);
    restores_fini(thread);
    copies_fini(thread);
    aside_fini(thread);
    calls_fini(&thread->calls);
    chunk_pool_fini(&thread->chunks);
    arena_fini(&thread->arena);
    native_map_fini(thread);
    buffer_fini(&thread->scratch);
    buffer_fini(&thread->frame);
    log_writer_fini(&thread->log);
    free_hops(thread);
    turned_fini(thread);
    archive_gate_fini(&thread->archive);
    if (thread->mailbox.wake_fd >= 0) {
        mailbox_fini(&thread->mailbox);
    }
}

/* ---- Mail ---- */

static void arm_mailbox(struct shard_thread *thread)
{
    struct io_uring_sqe *sqe = ring_submission(&thread->ring);

    io_uring_prep_read(sqe, thread->mailbox.wake_fd, &thread->mailbox.wake_value,
                       sizeof thread->mailbox.wake_value, 0);
    io_uring_sqe_set_data64(sqe, ring_tag_pack(RING_MAIL, 0, 0));
}

static void fill_stats(struct shard_thread *thread, struct plane_shard_stats *stats)
{
    *stats = thread->stats;
    stats->shard = *shard_stats(thread->shard);
    keeper_stats(shard_keeper(thread->shard), &stats->keeper);
    stats->log = thread->log.stats;
    stats->connections = thread->connections.open;
    stats->links = thread->links.open;
    copies_fill_stats(thread, stats);
    stats->buffer_bytes = thread->chunks.bytes_out;
    stats->cpu_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
    if (thread->index == 0) {
        stats->refused_connections = atomic_load(&thread->plane->refused_connections);
    }
}

static void answer_admin(struct shard_thread *thread, const struct mail *mail)
{
    struct call *call = calls_find(&thread->calls, mail->ticket);
    if (call == NULL) {
        return;
    }
    struct connection *connection =
        connection_find(thread, call->connection, call->connection_generation);
    if (connection != NULL) {
        connection->in_flight--;
        connection_mark(thread, connection);
        native_document(thread, connection, call->request_id, mail->status, mail->text,
                        bytes_of(mail->json, mail->json_size));
    }
    calls_give(&thread->calls, call);
}

static void read_mail(struct shard_thread *thread)
{
    struct mail *mail;

    thread->messages_came = true;
    while ((mail = mailbox_take(&thread->mailbox)) != NULL) {
        switch (mail->kind) {
        case MAIL_STATS:
            fill_stats(thread, mail->stats);
            mailbox_answer(&thread->mailbox, mail);
            continue;
        case MAIL_RECORDS:
            archive_gate_answer(thread, mail->records);
            mailbox_answer(&thread->mailbox, mail);
            continue;
        case MAIL_BASIS:
            archive_gate_basis(thread, mail->basis, mail->ends);
            mailbox_answer(&thread->mailbox, mail);
            continue;
        case MAIL_RESTORE:
            restores_take(thread, mail);
            break;
        case MAIL_POLICIES:
            shard_set_policies(thread->shard, mail->policies);
            break;
        case MAIL_MAP:
            native_map_set(thread, mail->ticket, (uint8_t *)mail->json, mail->json_size);
            mail->json = NULL;
            break;
        case MAIL_ADMIN:
            answer_admin(thread, mail);
            break;
        case MAIL_LOGIN:
            login_take(thread, mail->ticket, &mail->login);
            break;
        case MAIL_USERS:
            connections_end_logins(thread);
            break;
        case MAIL_LINK:
            link_open(thread, &mail->link);
            mail->link.fd = -1;
            break;
        case MAIL_TABLE:
            copies_set_table(thread, mail->table);
            mail->table = NULL;
            break;
        case MAIL_STOP:
            thread->stopping = true;
            thread->stop_us = thread->now_us;
            break;
        }
        mail_free(mail);
    }
}

/* ---- Completions ---- */

static void wake_failed(struct shard_thread *thread, uint32_t shard)
{
    /* The kernel could not post to the other ring; its mailbox wakes it as well. */
    mailbox_wake(&thread->plane->threads[shard].mailbox);
}

static void complete(struct shard_thread *thread, const struct io_uring_cqe *cqe)
{
    struct ring_tag tag = ring_tag_unpack(cqe->user_data);

    switch (tag.event) {
    case RING_RECEIVE:
        connection_received(thread, connection_at(thread, tag.index), cqe);
        break;
    case RING_SEND:
        connection_sent(thread, connection_at(thread, tag.index), cqe->res);
        break;
    case RING_RECEIVE_BULK:
        connection_received_bulk(thread, connection_at(thread, tag.index), cqe->res);
        break;
    case RING_LOG_WRITE:
        log_writer_written(&thread->log, cqe->res, thread->now_us);
        break;
    case RING_ACCEPT:
        listener_accepted(thread, tag.index, cqe);
        break;
    case RING_MAIL:
        read_mail(thread);
        arm_mailbox(thread);
        break;
    case RING_LINK_RECEIVE:
        link_received(thread, link_at(thread, tag.index), cqe);
        break;
    case RING_LINK_BULK:
        link_received_bulk(thread, link_at(thread, tag.index), cqe->res);
        break;
    case RING_LINK_SEND:
        link_sent(thread, link_at(thread, tag.index), cqe->res);
        break;
    case RING_HOP_SENT:
        if (cqe->res < 0) {
            wake_failed(thread, tag.index);
        }
        break;
    case RING_HOP:
    case RING_IGNORED:
        break;
    }
}

static void reap(struct shard_thread *thread)
{
    struct io_uring *uring = &thread->ring.uring;
    struct io_uring_cqe *cqe;
    unsigned head;
    unsigned count = 0;

    io_uring_for_each_cqe(uring, head, cqe)
    {
        complete(thread, cqe);
        count++;
    }
    io_uring_cq_advance(uring, count);
}

/* ---- Turns ---- */

/* The shard's own work gets a small part of the time, however much there is. */
static uint64_t tick(struct shard_thread *thread, uint64_t now_us)
{
    if (now_us < thread->tick_us) {
        return thread->tick_us - now_us;
    }
    uint32_t next_ms = shard_tick(thread->shard, thread->now_ms, TICK_BUDGET_US);
    uint64_t done_us = monotonic_us();
    uint64_t wait_us = (uint64_t)next_ms * 1000;
    uint64_t fair_us = (done_us - now_us) * TICK_SHARE;
    wait_us = wait_us > fair_us ? wait_us : fair_us;
    thread->tick_us = done_us + wait_us;
    return wait_us;
}

static uint64_t check(struct shard_thread *thread)
{
    const struct connections *connections = &thread->connections;

    if (connections->lingering == 0 && chunk_pool_is_empty(&thread->chunks) &&
        !thread->log.trimmable) {
        return UINT64_MAX;
    }
    const uint64_t soon_us = thread->now_us + CROWDED_MS * 1000;
    if (connections_are_crowded(thread) && thread->check_us > soon_us) {
        thread->check_us = soon_us;
    }
    if (thread->now_us >= thread->check_us) {
        connections_check(thread);
        chunk_pool_trim(&thread->chunks);
        log_writer_trim(&thread->log);
        thread->check_us = thread->now_us + CHECK_MS * 1000;
    }
    return thread->check_us - thread->now_us;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t accept_again(struct shard_thread *thread)
{
    struct plane *plane = thread->plane;
    uint64_t wait_us = UINT64_MAX;

    if (thread->index != 0 || thread->stopping) {
        return UINT64_MAX;
    }
    for (uint32_t i = 0; i < LISTENERS; i++) {
        const struct listener *listener = &plane->listeners[i];
        if (listener->fd < 0 || listener->accepting) {
            continue;
        }
        if (atomic_load(&plane->recovering) != 0) {
            return RECOVER_POLL_US;
        }
        if (thread->now_us < listener->accept_us) {
            wait_us = least(wait_us, listener->accept_us - thread->now_us);
        } else {
            listener_arm(thread, i);
        }
    }
    return wait_us;
}

/* Has stopping taken so long that it ends whatever is left? */
static bool stop_is_late(const struct shard_thread *thread)
{
    return thread->now_us - thread->stop_us >= STOP_MS * 1000;
}

/* Stopping: close what has been answered, and tell the others when nothing is left. */
static void wind_up(struct shard_thread *thread)
{
    bool late = stop_is_late(thread);
    bool answered = true;

    thread->log.hurry = true;
    for (uint32_t i = 0; i < thread->connections.size; i++) {
        struct connection *connection = connection_at(thread, i);
        if (connection->state == CONNECTION_OPEN && connection->input == NULL &&
            connection->backlog.first == NULL && connection->put_off.first == NULL) {
            connection_drain(thread, connection);
        }
        answered &=
            connection->state == CONNECTION_FREE ||
            (connection->in_flight == 0 && connection->output.size == 0 && !connection->sending);
    }
    if ((answered || late) && thread->calls.used == 0 && log_writer_idle(&thread->log) &&
        !thread->drained) {
        thread->drained = true;
        atomic_fetch_add(&thread->plane->draining, 1);
    } else if (late && !thread->drained) {
        thread->drained = true;
        atomic_fetch_add(&thread->plane->draining, 1);
    }
}

static uint64_t end_of_turn(struct shard_thread *thread)
{
    uint64_t wait_us = least(IDLE_WAIT_MS * 1000, loading_turn(thread));
    wait_us = least(wait_us, archive_gate_turn(thread));
    wait_us = least(wait_us, moves_turn(thread));
    wait_us = least(wait_us, tasks_turn(thread));
    uint64_t now_us = monotonic_us();

    resp_pubsub_turn(thread);
    resp_monitor_turn(thread);
    wait_us = least(wait_us, native_map_turn(thread));
    wait_us = least(wait_us, far_turn(thread));
    connections_resume(thread);
    wait_us = least(wait_us, tick(thread, now_us));
    /* The kernel sends one after the other, in this order: first what other nodes have work to do with, which they do while
     * the clients are answered. */
    wait_us = least(wait_us, copies_turn(thread));
    links_turn(thread);
    connections_settle(thread);
    wait_us = least(wait_us, log_writer_turn(&thread->log, now_us));
    wait_us = least(wait_us, check(thread));
    wait_us = least(wait_us, accept_again(thread));
    cross_flush(thread);
    ring_give_back(&thread->ring);
    if (thread->stopping) {
        wind_up(thread);
        wait_us = least(wait_us, STOP_POLL_US);
    }
    return thread->again ? 0 : wait_us;
}

/* Submit and sleep, unless another shard has sent something meanwhile. */
static void wait(struct shard_thread *thread, uint64_t wait_us)
{
    if (wait_us > 0) {
        atomic_store(&thread->asleep, 1);
        atomic_thread_fence(memory_order_seq_cst);
        if (cross_waiting(thread)) {
            wait_us = 0;
        }
    }
    thread->turn_us = monotonic_us() - thread->now_us;
    ring_wait(&thread->ring, wait_us);
    atomic_store_explicit(&thread->asleep, 0, memory_order_relaxed);
}

static void begin_turn(struct shard_thread *thread)
{
    const struct plane_options *options = &thread->plane->options;

    thread->now_us = thread->late_us = thread->log.now_us = monotonic_us();
    thread->now_ms = options->now_ms(options->clock);
    /* What we read now came at some time during the turn before. */
    thread->waited_us = thread->turn_us / 2;
    thread->bulk_bytes = thread->crossed_bytes = thread->gathered_bytes = 0;
    thread->again = thread->bulk_over = false;
    arena_reset(&thread->arena);
    if (thread->clustered) {
        pause_look(thread);
    }
}

/* All have answered all. What another shard's last clients wrote here may have come after this one had
 * nothing left, so its log is asked again. */
static bool is_over(const struct shard_thread *thread)
{
    return thread->drained &&
           atomic_load(&thread->plane->draining) == thread->plane->options.shard_count &&
           (log_writer_idle(&thread->log) || stop_is_late(thread));
}

static void *run(void *context)
{
    struct shard_thread *thread = context;

    if (ring_enable(&thread->ring) != 0) {
        atomic_store(&thread->plane->broken, true);
        return NULL;
    }
    thread->now_us = monotonic_us();
    arm_mailbox(thread);
    begin_turn(thread);
    renames_recover(thread);
    while (!is_over(thread)) {
        begin_turn(thread);
        reap(thread);
        aside_turn(thread); /* A device write that is done has made room. */
        batch_run(thread);
        cross_receive(thread);
        cross_release(thread);
        wait(thread, end_of_turn(thread));
    }
    connections_shut(thread);
    return NULL;
}

int shard_thread_start(struct shard_thread *thread)
{
    assert(thread->shard != NULL);
    int rc =
        thread->loader != NULL ? thread->loader->start(thread->loader, loading_wake, thread) : 0;
    if (rc != 0) {
        return rc;
    }
    rc = -pthread_create(&thread->thread, NULL, run, thread);
    if (rc != 0 && thread->loader != NULL) {
        thread->loader->stop(thread->loader);
    }
    return rc;
}

void shard_thread_join(struct shard_thread *thread)
{
    pthread_join(thread->thread, NULL);
    loading_drop(thread);
}
