/* The topics of publish and subscribe, and what each thread has of them (pubsub.h): a hash table that all threads
 * share, with a list of the patterns beside it.
 *
 * A topic is there while it has a share, a share while it has a subscription. Under the lock of the whole; memory is
 * its port's.
 */
#ifndef PUBSUB_TOPICS_H
#define PUBSUB_TOPICS_H

#include "pubsub.h"

struct pubsub_topic {
    struct pubsub_topic *next;           /* In its bucket. */
    struct pubsub_topic *after, *before; /* Patterns: among all of them. */
    enum pubsub_kind kind;
    uint64_t hash;
    struct subscription_share *shares;
    size_t name_size;
    uint8_t name[];
};

/* Good while the topic is there. */
static inline struct bytes topic_name(const struct pubsub_topic *topic)
{
    return bytes_of(topic->name, topic->name_size);
}

/* The table goes, when no topic is left in it. */
void topics_fini(struct pubsub *pubsub);

/* The topic of that name, or NULL. */
struct pubsub_topic *topic_find(const struct pubsub *pubsub, enum pubsub_kind kind,
                                struct bytes name);

/* Walk over all topics, in no order: the one after `topic` (NULL: the first, with `bucket` 0). NULL at the end. */
const struct pubsub_topic *topic_next(const struct pubsub *pubsub, const struct pubsub_topic *topic,
                                      uint32_t *bucket);

/* What a thread has of a topic (NULL: none), or NULL. */
struct subscription_share *share_find(const struct pubsub_topic *topic, uint32_t shard);

/* The same, made with its topic where they are not there, without a subscription yet. NULL without memory, with neither
 * made. */
struct subscription_share *share_take(struct pubsub *pubsub, uint32_t shard, enum pubsub_kind kind,
                                      struct bytes name);

/* A share without subscriptions goes, and with the last one its topic. */
void share_drop(struct pubsub *pubsub, struct subscription_share *share);

#endif
