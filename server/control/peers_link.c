/* Control links, and the connections of nodes that join. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "peers_private.h"

static struct peers_link *link_of(struct peer_stream *stream)
{
    return (struct peers_link *)stream; /* It is its first member. */
}

/* ---- Up and down ---- */

static void tell_down(struct peers_node *node)
{
    const struct peers_options *options = &node->peers->options;

    node->told_up = false;
    logger_write(options->logger, LOG_LEVEL_INFO, "peer-down",
                 LOG_NUMBER("node", node->member.node), LOG_NUMBER("start", node->told_start));
    if (options->control_down != NULL) {
        options->control_down(options->context, node->member.node);
    }
}

static void tell_up(struct peers_node *node, uint32_t start)
{
    const struct peers_options *options = &node->peers->options;

    node->told_up = true;
    node->told_start = start;
    logger_write(options->logger, LOG_LEVEL_INFO, "peer-up", LOG_NUMBER("node", node->member.node),
                 LOG_NUMBER("start", start));
    if (options->control_up != NULL) {
        options->control_up(options->context, node->member.node, start);
    }
}

/* Take it from its node. */
static void detach(struct peers_link *link)
{
    struct peers_node *node = link->node;

    if (node == NULL) {
        return;
    }
    if (node->dialled == link) {
        node->dialled = NULL;
    }
    if (node->accepted == link) {
        node->accepted = NULL;
    }
}

void peers_link_cut(struct peers_link *link, const char *text)
{
    detach(link);
    peer_stream_close(&link->stream, text);
}

static void unlink_link(struct peers_link *link)
{
    struct peers *peers = link->peers;
    struct peers_figures *figures = &peers->figures;

    *(link->previous != NULL ? &link->previous->next : &peers->links) = link->next;
    if (link->next != NULL) {
        link->next->previous = link->previous;
    }
    figures->frames_in += link->stream.frames_in;
    figures->frames_out += link->stream.frames_out;
    figures->bytes_in += link->stream.bytes_in;
    figures->bytes_out += link->stream.bytes_out;
    peers->joiners -= link->joiner != 0;
}

/* Its line is to be dialled again, and whoever has no link left is told. */
static void on_closed(struct peer_stream *stream)
{
    struct peers_link *link = link_of(stream);
    struct peers_node *node = link->node;

    if (link->peers == NULL) {
        free(link);
        return;
    }
    detach(link);
    unlink_link(link);
    if (node != NULL) {
        logger_write(link->peers->options.logger, LOG_LEVEL_INFO, "peer-link-closed",
                     LOG_NUMBER("node", link->number),
                     LOG_TEXT("dialled", link->dialled ? "here" : "there"),
                     LOG_TEXT("cause", stream->text));
    }
    if (node != NULL && link->dialled && node->dialled == NULL) {
        peers_line_again(&node->control);
    }
    if (node != NULL && node->told_up && node->dialled == NULL && node->accepted == NULL) {
        tell_down(node);
    }
    free(link);
}

/* ---- In ---- */

static void on_frame(struct peer_stream *stream, const struct peer_frame *frame)
{
    struct peers_link *link = link_of(stream);
    const struct peers_options *options = &link->peers->options;

    if (link->joiner != 0) {
        options->join_frame(options->context, link->joiner, frame);
    } else if (link->node != NULL && options->control_frame != NULL) {
        options->control_frame(options->context, link->number, frame);
    }
}

/* The newest link of a direction counts; one of an earlier life is of no use. */
static void attach(struct peers_link *link)
{
    struct peers_node *node = link->node;
    struct peers_link **own = link->dialled ? &node->dialled : &node->accepted;
    struct peers_link **other = link->dialled ? &node->accepted : &node->dialled;

    if (*own != NULL) {
        peers_link_cut(*own, "a newer one took its place");
    }
    if (*other != NULL && (*other)->start != link->start) {
        peers_link_cut(*other, "another life of the node has come");
    }
    *own = link;
    if (node->member.start < link->start) {
        node->member.start = link->start;
    }
    if (node->told_up && node->told_start != link->start) {
        tell_down(node);
    }
}

static struct peers_link *make_link(struct peers *peers, const struct peer_greeting_result *result,
                                    bool dialled)
{
    struct peers_link *link = calloc(1, sizeof *link);

    if (link == NULL) {
        return NULL;
    }
    link->peers = peers;
    link->number = result->opening.from.node;
    link->start = result->opening.from.start;
    link->dialled = dialled;
    link->stream.body_bytes_max = PEERS_BODY_BYTES_MAX;
    link->stream.frame = on_frame;
    link->stream.closed = on_closed;
    link->next = peers->links;
    if (link->next != NULL) {
        link->next->previous = link;
    }
    peers->links = link;
    return link;
}

void peers_link_open(struct peers *peers, const struct peer_greeting_result *result, bool dialled)
{
    bool joins = result->opening.role == PEER_ROLE_JOIN;
    struct peers_node *node = joins ? NULL : peers_node(peers, result->opening.from.node);
    /* Meanwhile it may be no member any more, or have begun another life. */
    bool old = node == NULL ? !joins : result->opening.from.start < node->member.start;
    struct peers_link *link = old ? NULL : make_link(peers, result, dialled);

    if (link == NULL) {
        close(result->fd);
        if (node != NULL && dialled) {
            peers_line_again(&node->control);
        }
        return;
    }
    link->node = node;
    if (joins) {
        peers->joiners++;
        link->joiner = ++peers->joiner_last;
        link->deadline_ms = uv_now(peers->options.loop) + PEERS_JOIN_MS;
        peers_kick(peers);
    }
    if (peer_stream_open(&link->stream, peers->options.loop, result->fd) != 0) {
        return; /* on_closed() follows. */
    }
    if (node != NULL) {
        peers_set_shards(node, result->opening.shards);
        attach(link); /* From here on its user may take the node out at any call. */
        if (link->node != NULL && !link->node->told_up) {
            tell_up(link->node, link->start);
        }
        if (link->node != NULL) {
            peers_node_is_there(link->node);
        }
    }
    if (link->stream.open) {
        peer_stream_take(&link->stream, result->rest);
    }
}

/* ---- Out ---- */

static bool send_frame(struct peers_link *link, uint8_t kind, uint64_t number,
                       const struct bytes parts[], uint32_t part_count)
{
    size_t size = PEER_HEAD_BYTES;

    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    if (size > PEERS_QUEUE_BYTES_MAX ||
        peer_stream_waiting(&link->stream) > PEERS_QUEUE_BYTES_MAX - size) {
        link->peers->figures.dropped++;
        if (kind != PEER_LIVENESS) {
            peers_link_cut(link, "it does not take what is sent");
        }
        return false;
    }
    return peer_stream_send(&link->stream, kind, number, parts, part_count) == 0;
}

bool peers_send(struct peers *peers, uint32_t number, uint8_t kind, uint64_t frame_number,
                const struct bytes parts[], uint32_t part_count)
{
    const struct peers_node *node = peers_node(peers, number);
    struct peers_link *link = node == NULL            ? NULL
                              : node->dialled != NULL ? node->dialled
                                                      : node->accepted;

    return link != NULL && send_frame(link, kind, frame_number, parts, part_count);
}

/* ---- Nodes that join ---- */

bool peers_join_answer(struct peers *peers, uint64_t joiner, uint8_t kind, uint64_t number,
                       const struct bytes parts[], uint32_t part_count)
{
    for (struct peers_link *link = peers->links; link != NULL; link = link->next) {
        if (link->joiner == joiner && link->stream.open) {
            bool sent = send_frame(link, kind, number, parts, part_count);
            peer_stream_end(&link->stream);
            return sent;
        }
    }
    return false;
}

uint64_t peers_joiners_look(struct peers *peers, uint64_t now_ms)
{
    uint64_t next = UINT64_MAX;

    for (struct peers_link *link = peers->links; link != NULL; link = link->next) {
        if (link->joiner != 0 && link->deadline_ms <= now_ms) {
            peers_link_cut(link, "its time is over");
        } else if (link->joiner != 0 && link->deadline_ms < next) {
            next = link->deadline_ms;
        }
    }
    return next;
}
