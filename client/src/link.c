/* One connection.
 *
 *          link_start                  connected            HELLO answered
 *   IDLE ------------> RESOLVING? -> CONNECTING -> HELLO ------------------> READY
 *    ^                     |             |           |                         |
 *    +----- CLOSING <------+-------------+-----------+----- link_lose ---------+
 *
 * It owns its socket and has libuv only watch it: libuv's own streams would raise SIGPIPE, and give back
 * a buffer for each read. Everything that a turn of the loop sends leaves in one send() (link_flush).
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client.h"

/* Ids of what is no caller's request: those have a number above the low 16 bits. */
enum { PING_ID = 1, MAP_ID = 2 };

struct link *link_create(struct member *member, uint32_t index)
{
    struct link *link = calloc(1, sizeof *link);

    if (link == NULL) {
        return NULL;
    }
    link->client = member->client;
    link->member = member;
    link->index = index;
    link->fd = -1;
    link->node = "";
    list_init(&link->dirty);
    list_init(&link->queue);
    list_init(&link->sent);
    link->in.memory = link->out.memory = &client_memory;
    return link;
}

static void link_free(struct link *link)
{
    assert(list_empty(&link->queue) && list_empty(&link->sent) && link->fd == -1);
    list_remove(&link->dirty);
    connect_forget(link);
    buffer_fini(&link->in);
    buffer_fini(&link->out);
    free(link->slots);
    free(link);
}

/* Buffers shrink only here: a callback that closes the client still reads its answer in them. */
void link_idle(struct link *link)
{
    link->state = LINK_IDLE;
    if (link->in.capacity > SCRATCH_BYTES) {
        buffer_fini(&link->in);
    }
    if (link->out.capacity > OUTPUT_BYTES_MAX) {
        buffer_fini(&link->out);
    }
    if (link->retired) {
        link_free(link);
    }
}

static void poll_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;
    struct belay_client *client = link->client;

    link_idle(link);
    client_wake(client, uv_now(client->loop));
    client_handle_closed(client);
}

static void reset_buffers(struct link *link)
{
    link->in.size = link->out.size = link->out_done = 0;
    link->blocked = false;
    list_remove(&link->dirty);
}

/* Let go of the socket. The link is IDLE, or CLOSING until its poll handle is out of the loop. */
void link_shut(struct link *link)
{
    bool polling = link->fd != -1;

    if (polling) {
        link->state = LINK_CLOSING;
        uv_close((uv_handle_t *)&link->poll, poll_closed);
        close(link->fd);
        link->fd = -1;
    } else if (link->state == LINK_RESOLVING) {
        uv_cancel((uv_req_t *)&link->resolve); /* Else it ends by itself; resolved() goes on. */
        link->state = LINK_CLOSING;
    }
}

void link_lose(struct link *link, const char *reason)
{
    struct belay_client *client = link->client;
    enum link_state state = link->state;

    assert(state != LINK_IDLE && state != LINK_CLOSING);
    reset_buffers(link);
    if (state != LINK_READY) {
        connect_failed(link, reason);
        link_shut(link);
        return;
    }
    client->ready--;
    link->member->ready--;
    link->silent = false;
    /* Without a connection it need not be avoided: it is asked once there is one. */
    link->member->silent = link->member->silent && link->member->ready > 0;
    client->counters[BELAY_COUNT_DISCONNECTS]++;
    link->tries = 0;
    link->retry_at_ms = uv_now(client->loop) + connect_backoff_ms(link);
    snprintf(client->trouble, sizeof client->trouble, "%s: %s", link->peer, reason);
    link_shut(link);
    client_wake(client, uv_now(client->loop));
    again_lost(link, reason);
    map_lost(link);
}

void link_retire(struct link *link)
{
    link->retired = true;
    if (link->state == LINK_READY) {
        link_lose(link, "no longer needed");
        return;
    }
    connect_forget(link);
    if (link->state == LINK_IDLE) {
        link_free(link);
    } else if (link->state != LINK_CLOSING) {
        reset_buffers(link);
        link_shut(link);
    }
}

static void poll_ready(uv_poll_t *poll, int status, int events);

int link_watch(struct link *link)
{
    int events = UV_READABLE;

    if (link->blocked || link->state == LINK_CONNECTING) {
        events |= UV_WRITABLE;
    }
    return uv_poll_start(&link->poll, events, poll_ready);
}

/* ---- Bytes ---- */

int link_socket_error(const struct link *link)
{
    int error = 0;
    socklen_t size = sizeof error;

    return getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

/* libuv has given up watching. What the server said before it hung up may still be there: why. */
static void poll_failed(struct link *link, int status)
{
    while (link->state == LINK_HELLO || link->state == LINK_READY) {
        uint64_t before = link->client->counters[BELAY_COUNT_BYTES_IN];
        link_receive(link);
        if (link->client->counters[BELAY_COUNT_BYTES_IN] == before) {
            break;
        }
    }
    if (link->fd != -1) {
        int error = link_socket_error(link);
        link_lose(link, error != 0 ? strerror(error) : uv_strerror(status));
    }
}

static void poll_ready(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;

    if (status < 0) {
        poll_failed(link, status);
        return;
    }
    if (link->state == LINK_CONNECTING) {
        if ((events & (UV_WRITABLE | UV_READABLE)) != 0) {
            connect_done(link);
        }
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        link_flush(link);
    }
    if ((events & UV_READABLE) != 0 && link->fd != -1) {
        link_receive(link);
    }
}

static void set_blocked(struct link *link, bool blocked)
{
    if (link->blocked != blocked) {
        link->blocked = blocked;
        int rc = link_watch(link);
        if (rc != 0) {
            link_lose(link, uv_strerror(rc));
        }
    }
}

void link_flush(struct link *link)
{
    list_remove(&link->dirty);
    link->numbers_written = link->numbers;
    while (link->out_done < link->out.size) {
        ssize_t sent = send(link->fd, link->out.data + link->out_done,
                            link->out.size - link->out_done, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN) {
                set_blocked(link, true);
                return;
            }
            link_lose(link, strerror(errno));
            return;
        }
        link->out_done += (size_t)sent;
        link->client->counters[BELAY_COUNT_BYTES_OUT] += (uint64_t)sent;
        link->client->counters[BELAY_COUNT_SENDS]++;
    }
    link->out.size = link->out_done = 0;
    if (link->out.capacity > 2 * OUTPUT_BYTES_MAX) {
        buffer_fini(&link->out);
    }
    set_blocked(link, false);
    if (link->state == LINK_READY && !list_empty(&link->queue)) {
        route_queue(link);
    }
}

bool link_takes(const struct link *link)
{
    return link->slots_used < link->slot_count && link->out.size < OUTPUT_BYTES_MAX;
}

static void mark_dirty(struct link *link)
{
    struct belay_client *client = link->client;

    if (link->dirty.next != &link->dirty || link->blocked) {
        return;
    }
    if (list_empty(&client->dirty)) {
        client_flush_later(client);
    }
    list_append(&client->dirty, &link->dirty);
}

int link_send(struct link *link, struct belay_request *request)
{
    struct belay_client *client = link->client;
    uint16_t slot = link->slot_free;
    uint64_t number = link->numbers + 1;
    uint64_t id = number << 16 | slot;

    assert(link->state == LINK_READY && link_takes(link));
    if (request->hlc_before == 0 || link->hlc < request->hlc_before) {
        request->hlc_before = link->hlc;
    }
    request->sent_at_ms = uv_now(client->loop);
    int rc = frame_put_request(request, id, request->sent_at_ms, &link->out);
    if (rc != 0) {
        return rc;
    }
    link->numbers = number;
    if (link->slots_used == 0) {
        link->heard_at_ms = uv_now(client->loop);
        link->pinged = false;
        client_wake(client, link->heard_at_ms +
                                (client->map == NULL ? client->silence_ms : client->probe_ms));
    }
    link->slot_free = link->slots[slot].next_free;
    link->slots[slot].request = request;
    link->slots[slot].id = id;
    link->slots_used++;
    request->state = REQUEST_SENT;
    request->link = link;
    request->slot = slot;
    request->number = number;
    list_append(&link->sent, &request->node);
    mark_dirty(link);
    return 0;
}

int link_ask_map(struct link *link)
{
    int rc = frame_put_map(MAP_ID, link->client->map_epoch, &link->out);

    if (rc == 0) {
        mark_dirty(link);
    }
    return rc;
}

/* ---- Time ---- */

static bool send_ping(struct link *link, uint64_t now_ms)
{
    if (frame_put_ping(PING_ID, &link->out) != 0) {
        return false;
    }
    link->pinged = true;
    link->pinged_at_ms = now_ms;
    mark_dirty(link);
    return true;
}

/* The program may have been busy elsewhere, while the answer lies in the socket. */
static bool has_bytes(const struct link *link)
{
    struct pollfd ready = {.fd = link->fd, .events = POLLIN};

    return poll(&ready, 1, 0) > 0;
}

/* Where another node may answer as well: a word is asked for early, and without one that node is asked. Only a
 * link that says nothing for much longer is given up, as it may be a machine that was stopped for a while. */
static uint64_t silence_among_others(struct link *link, uint64_t now_ms)
{
    const struct belay_client *client = link->client;

    if (!link->pinged) {
        uint64_t probe_at_ms = link->heard_at_ms + client->probe_ms;
        if (now_ms >= probe_at_ms && !send_ping(link, now_ms)) {
            link_lose(link, "no memory");
            return UINT64_MAX;
        }
        /* An answer asks for no look at the clock, so the next one comes when the next PING may be due. */
        return now_ms >= probe_at_ms ? now_ms + client->probe_ms : probe_at_ms;
    }
    if (!link->silent) {
        uint64_t silent_at_ms = link->pinged_at_ms + member_silent_ms(link->member);
        if (now_ms < silent_at_ms) {
            return now_ms + client->probe_ms < silent_at_ms ? now_ms + client->probe_ms
                                                            : silent_at_ms;
        }
        if (has_bytes(link)) {
            return now_ms + 1;
        }
        link->silent = link->member->silent = true;
        again_elsewhere(link);
    }
    if (now_ms >= link->pinged_at_ms + client->silence_ms) {
        /* Its node's other connections, on which nothing is awaited, would not be looked at. */
        member_lose(link->member, "no answer, not even to a PING");
        return UINT64_MAX;
    }
    return link->pinged_at_ms + client->silence_ms;
}

/* Nothing heard though something is owed: ask; then give up, for the peer may be gone without a word. */
static uint64_t silence_tick(struct link *link, uint64_t now_ms)
{
    if (link->slots_used == 0) {
        link->pinged = false;
        return UINT64_MAX;
    }
    if (route_has_others(link)) {
        return silence_among_others(link, now_ms);
    }
    uint32_t silence_ms = link->client->silence_ms;
    uint64_t patience_ms = link->pinged ? 2 * silence_ms : silence_ms;
    if (now_ms < link->heard_at_ms + patience_ms) {
        return link->heard_at_ms + patience_ms;
    }
    if (link->pinged || !send_ping(link, now_ms)) {
        link_lose(link, "no answer, not even to a PING");
        return UINT64_MAX;
    }
    return link->heard_at_ms + 2 * silence_ms;
}

uint64_t link_tick(struct link *link, uint64_t now_ms)
{
    switch (link->state) {
    case LINK_RESOLVING:
    case LINK_CONNECTING:
    case LINK_HELLO:
        if (now_ms >= link->give_up_at_ms) {
            link_lose(link, link->state == LINK_HELLO ? "connected, but no answer to HELLO"
                                                      : "no answer to the connection attempt");
            return UINT64_MAX;
        }
        return link->give_up_at_ms;
    case LINK_READY:
        return silence_tick(link, now_ms);
    default:
        return UINT64_MAX;
    }
}
