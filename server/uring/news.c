#include "news.h"

#include "copies.h"
#include "peer_frame.h"
#include "plane_private.h"
#include "shard_thread.h"

/* The first of this thread's links to its node: one message goes over one. */
static bool is_first(struct shard_thread *thread, const struct link *link)
{
    return link->state == LINK_OPEN && link->dialled && link_to_node(thread, link->node) == link;
}

bool news_has_room(struct shard_thread *thread)
{
    for (uint32_t i = 0; i < thread->links.size; i++) {
        const struct link *link = link_at(thread, i);
        if (is_first(thread, link) && link->output.size >= LINK_OUTPUT_BYTES_MAX) {
            return false;
        }
    }
    return true;
}

void news_send(struct shard_thread *thread, struct bytes channel, struct bytes payload)
{
    uint8_t size[VARINT_BYTES_MAX];
    const struct bytes parts[] = {bytes_of(size, (size_t)(varint_put(size, channel.size) - size)),
                                  channel, payload};

    for (uint32_t i = 0; i < thread->links.size; i++) {
        struct link *link = link_at(thread, i);
        if (is_first(thread, link) &&
            link_send(thread, link, PEER_PUBLISH, 0, parts, 3, false, false) != LINK_SENT) {
            thread->stats.events_dropped++;
        }
    }
}

void news_take(struct shard_thread *thread, const struct peer_frame *frame)
{
    struct reader reader = reader_of(frame->body);
    struct bytes channel = read_string(&reader);
    struct bytes payload = read_bytes(&reader, reader_left(&reader));

    if (reader.bad || pubsub_publish(&thread->plane->pubsub, channel, payload) < 0) {
        thread->stats.events_dropped++; /* A queue is full: its subscribers do not read. */
    }
}
