#include "peers.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peers_private.h"
#include "sockets.h"

static_assert((int)PEERS_SHARDS_MAX == (int)PEER_HELLO_SHARDS_MAX, "one bound");

/* The place of the first node from this number up. */
static uint32_t place(struct peers_node *const *nodes, uint32_t count, uint32_t number)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (nodes[middle]->member.node < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

struct peers_node *peers_node(const struct peers *peers, uint32_t number)
{
    uint32_t at = place(peers->nodes, peers->node_count, number);

    return at < peers->node_count && peers->nodes[at]->member.node == number ? peers->nodes[at]
                                                                             : NULL;
}

/* ---- Members ---- */

static struct peers_node *make_node(struct peers *peers, const struct peer_member *member)
{
    struct peers_node *node = calloc(1, sizeof *node);

    if (node != NULL) {
        node->peers = peers;
        node->member = *member;
        node->control =
            (struct peers_line){.node = node, .control = true, .retry_ms = PEERS_RETRY_MS};
    }
    return node;
}

static void drop_node(struct peers_node *node, const char *text)
{
    struct peers_link *links[] = {node->dialled, node->accepted};

    for (size_t i = 0; i < 2; i++) {
        if (links[i] != NULL) {
            peers_link_cut(links[i], text);
            links[i]->node = NULL;
        }
    }
    /* Links of it that are closing already know it, too. */
    for (struct peers_link *link = node->peers->links; link != NULL; link = link->next) {
        if (link->node == node) {
            link->node = NULL;
        }
    }
    peers_node_end_lines(node);
    free(node);
}

static void update_node(struct peers_node *node, const struct peer_member *member)
{
    uint32_t start = node->member.start;
    bool moved = node->member.port != member->port || strcmp(node->member.host, member->host) != 0;

    node->member = *member;
    if (start > member->start) {
        node->member.start = start; /* A newer life was met before the map knew of it. */
    }
    if (moved) {
        peers_node_has_moved(node);
    }
}

static int by_number(const void *a, const void *b)
{
    uint32_t left = (*(struct peers_node *const *)a)->member.node;
    uint32_t right = (*(struct peers_node *const *)b)->member.node;

    return (left > right) - (left < right);
}

int peers_set_members(struct peers *peers, uint64_t epoch, const struct peer_member members[],
                      uint32_t count)
{
    struct peers_node **nodes = calloc((size_t)count + 1, sizeof(struct peers_node *));
    uint32_t made = 0, kept = 0;

    if (nodes == NULL) {
        return -ENOMEM;
    }
    /* First all that needs memory. */
    for (uint32_t i = 0; i < count; i++) {
        if (members[i].node == peers->self.name.node ||
            peers_node(peers, members[i].node) != NULL) {
            continue;
        }
        nodes[made] = make_node(peers, &members[i]);
        if (nodes[made++] == NULL) {
            while (made-- > 0) {
                free(nodes[made]);
            }
            free(nodes);
            return -ENOMEM;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct peers_node *node = peers_node(peers, members[i].node);
        if (node != NULL && !node->kept) {
            node->kept = true;
            nodes[made + kept++] = node;
            update_node(node, &members[i]);
        }
    }
    for (uint32_t i = 0; i < peers->node_count; i++) {
        if (!peers->nodes[i]->kept) {
            drop_node(peers->nodes[i], "it is no member any more");
        } else {
            peers->nodes[i]->kept = false;
        }
    }
    qsort(nodes, made + kept, sizeof(struct peers_node *), by_number);
    free(peers->nodes);
    peers->nodes = nodes;
    peers->node_count = made + kept;
    peers->self.epoch = epoch;
    peers_kick(peers);
    return 0;
}

bool peers_reaches(const struct peers *peers, uint32_t number)
{
    const struct peers_node *node = peers_node(peers, number);

    return node != NULL && (node->dialled != NULL || node->accepted != NULL);
}

/* ---- Figures ---- */

static void add_stream(struct peers_figures *figures, const struct peer_stream *stream)
{
    figures->frames_in += stream->frames_in;
    figures->frames_out += stream->frames_out;
    figures->bytes_in += stream->bytes_in;
    figures->bytes_out += stream->bytes_out;
}

void peers_figures(const struct peers *peers, struct peers_figures *figures)
{
    *figures = peers->figures;
    for (uint32_t i = 0; i < peers->node_count; i++) {
        const struct peers_node *node = peers->nodes[i];
        figures->dialled += node->dialled != NULL;
        figures->accepted += node->accepted != NULL;
        for (uint32_t line = 0; line < node->data_count; line++) {
            figures->data_links += node->data[line].state == LINE_UP;
        }
    }
    for (const struct peers_link *link = peers->links; link != NULL; link = link->next) {
        add_stream(figures, &link->stream);
    }
}

/* ---- Life ---- */

uint16_t peers_port(const struct peers *peers)
{
    return peers->port;
}

static int start_handles(struct peers *peers)
{
    uv_loop_t *loop = peers->options.loop;
    int rc = uv_async_init(loop, &peers->wake, peers_on_wake);

    if (rc != 0) {
        return rc;
    }
    peers->handles++;
    rc = uv_poll_init(loop, &peers->listener, peers->fd);
    if (rc != 0) {
        return rc;
    }
    uv_timer_init(loop, &peers->timer);
    uv_timer_init(loop, &peers->pause);
    peers->handles += 3;
    peers->wake.data = peers->listener.data = peers->timer.data = peers->pause.data = peers;
    return peers_listen(peers);
}

static void forget(struct peers *peers)
{
    pthread_mutex_destroy(&peers->mutex);
    free(peers->lost);
    free(peers->nodes);
    free(peers);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct peers *peers = handle->data;

    if (--peers->handles == 0) {
        forget(peers);
    }
}

/* Close the handles that were begun, in the order they were. */
static void close_handles(struct peers *peers)
{
    uint32_t begun = peers->handles;
    uv_handle_t *handles[] = {
        (uv_handle_t *)&peers->wake,
        (uv_handle_t *)&peers->listener,
        (uv_handle_t *)&peers->timer,
        (uv_handle_t *)&peers->pause,
    };

    if (peers->fd >= 0) {
        if (begun > 1) {
            uv_poll_stop(&peers->listener);
        }
        close(peers->fd);
    }
    if (begun == 0) {
        forget(peers);
        return;
    }
    for (uint32_t i = 0; i < begun; i++) {
        handles[i]->data = peers;
        uv_close(handles[i], on_handle_closed);
    }
}

int peers_create(const struct peers_options *options, struct peers **peers, char *message,
                 size_t message_size)
{
    struct peers *made = calloc(1, sizeof *made);

    if (made == NULL) {
        snprintf(message, message_size, "peers: out of memory");
        return -ENOMEM;
    }
    made->options = *options;
    made->self = options->self;
    made->port = options->port;
    pthread_mutex_init(&made->mutex, NULL);
    made->fd = socket_listen(options->address, &made->port, SOMAXCONN);
    int rc = made->fd < 0 ? made->fd : start_handles(made);
    if (rc != 0) {
        snprintf(message, message_size, "peers: cannot listen on %s port %u: %s%s",
                 options->address, options->port, strerror(-rc),
                 rc == -EADDRINUSE
                     ? "; set listen.peer_port to a free one, or 0 to let the system pick"
                     : "");
        close_handles(made);
        return rc;
    }
    *peers = made;
    return 0;
}

void peers_destroy(struct peers *peers)
{
    if (peers == NULL) {
        return;
    }
    peers_listener_end(peers);
    for (uint32_t i = 0; i < peers->node_count; i++) {
        drop_node(peers->nodes[i], "this node ends");
    }
    peers->node_count = 0;
    while (peers->links != NULL) {
        struct peers_link *link = peers->links;
        peers->links = link->next;
        link->peers = NULL;
        link->previous = link->next = NULL;
        peer_stream_close(&link->stream, "this node ends");
    }
    close_handles(peers);
}
