#include "pubsub_topics.h"

#include <errno.h>

#include "heap.h"
#include "keeper.h"

enum { BUCKETS_MIN = 64 };

static uint64_t hash_of(const struct pubsub *pubsub, struct bytes name)
{
    return keeper_fingerprint(pubsub->seed, name);
}

static struct pubsub_topic **bucket_of(const struct pubsub *pubsub, uint64_t hash)
{
    return &pubsub->buckets[hash & (pubsub->bucket_count - 1)];
}

static struct pubsub_topic *find(const struct pubsub *pubsub, enum pubsub_kind kind,
                                 struct bytes name, uint64_t hash)
{
    struct pubsub_topic *topic = pubsub->bucket_count == 0 ? NULL : *bucket_of(pubsub, hash);

    while (topic != NULL &&
           !(topic->hash == hash && topic->kind == kind && bytes_equal(topic_name(topic), name))) {
        topic = topic->next;
    }
    return topic;
}

struct pubsub_topic *topic_find(const struct pubsub *pubsub, enum pubsub_kind kind,
                                struct bytes name)
{
    return find(pubsub, kind, name, hash_of(pubsub, name));
}

const struct pubsub_topic *topic_next(const struct pubsub *pubsub, const struct pubsub_topic *topic,
                                      uint32_t *bucket)
{
    topic = topic == NULL ? NULL : topic->next;
    while (topic == NULL && *bucket < pubsub->bucket_count) {
        topic = pubsub->buckets[(*bucket)++];
    }
    return topic;
}

void topics_fini(struct pubsub *pubsub)
{
    if (pubsub->buckets != NULL) {
        heap_give(pubsub->memory, pubsub->buckets,
                  pubsub->bucket_count * sizeof(struct pubsub_topic *));
    }
}

/* About one topic in each bucket. Without memory for that the lists grow longer. */
static int make_buckets(struct pubsub *pubsub)
{
    const uint32_t count = pubsub->bucket_count == 0 ? BUCKETS_MIN : 2 * pubsub->bucket_count;

    if (pubsub->channel_count + pubsub->pattern_count < pubsub->bucket_count || count == 0) {
        return 0;
    }
    struct pubsub_topic **old = pubsub->buckets;
    const uint32_t old_count = pubsub->bucket_count;
    struct pubsub_topic **buckets = heap_take(pubsub->memory, count * sizeof *buckets);
    if (buckets == NULL) {
        return old == NULL ? -ENOMEM : 0;
    }
    memset(buckets, 0, count * sizeof *buckets);
    pubsub->buckets = buckets;
    pubsub->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        for (struct pubsub_topic *topic = old[i], *next; topic != NULL; topic = next) {
            struct pubsub_topic **bucket = bucket_of(pubsub, topic->hash);
            next = topic->next;
            topic->next = *bucket;
            *bucket = topic;
        }
    }
    if (old != NULL) {
        heap_give(pubsub->memory, old, old_count * sizeof(struct pubsub_topic *));
    }
    return 0;
}

static struct pubsub_topic *add(struct pubsub *pubsub, enum pubsub_kind kind, struct bytes name,
                                uint64_t hash)
{
    if (make_buckets(pubsub) != 0) {
        return NULL;
    }
    struct pubsub_topic *topic = heap_take(pubsub->memory, sizeof *topic + name.size);
    if (topic == NULL) {
        return NULL;
    }
    struct pubsub_topic **bucket = bucket_of(pubsub, hash);
    *topic = (struct pubsub_topic){
        .next = *bucket,
        .kind = kind,
        .hash = hash,
        .name_size = name.size,
    };
    if (name.size > 0) {
        memcpy(topic->name, name.data, name.size);
    }
    *bucket = topic;
    if (kind == PUBSUB_CHANNEL) {
        pubsub->channel_count++;
        return topic;
    }
    pubsub->pattern_count++;
    topic->after = pubsub->patterns;
    if (topic->after != NULL) {
        topic->after->before = topic;
    }
    pubsub->patterns = topic;
    return topic;
}

static void drop(struct pubsub *pubsub, struct pubsub_topic *topic)
{
    struct pubsub_topic **at = bucket_of(pubsub, topic->hash);

    while (*at != topic) {
        at = &(*at)->next;
    }
    *at = topic->next;
    if (topic->kind == PUBSUB_CHANNEL) {
        pubsub->channel_count--;
    } else {
        pubsub->pattern_count--;
        *(topic->before == NULL ? &pubsub->patterns : &topic->before->after) = topic->after;
        if (topic->after != NULL) {
            topic->after->before = topic->before;
        }
    }
    heap_give(pubsub->memory, topic, sizeof *topic + topic->name_size);
}

/* ---- Shares ---- */

struct subscription_share *share_find(const struct pubsub_topic *topic, uint32_t shard)
{
    struct subscription_share *share = topic == NULL ? NULL : topic->shares;

    while (share != NULL && share->shard != shard) {
        share = share->next;
    }
    return share;
}

static struct subscription_share *add_share(struct pubsub *pubsub, struct pubsub_topic *topic,
                                            uint32_t shard)
{
    struct subscription_share *share = heap_take(pubsub->memory, sizeof *share);
    struct pubsub_thread *thread = &pubsub->threads[shard];

    if (share == NULL) {
        return NULL;
    }
    *share = (struct subscription_share){.topic = topic, .shard = shard, .next = topic->shares};
    topic->shares = share;
    if (topic->kind == PUBSUB_PATTERN) {
        share->after = thread->patterns;
        if (share->after != NULL) {
            share->after->before = share;
        }
        thread->patterns = share;
    }
    return share;
}

struct subscription_share *share_take(struct pubsub *pubsub, uint32_t shard, enum pubsub_kind kind,
                                      struct bytes name)
{
    uint64_t hash = hash_of(pubsub, name);
    struct pubsub_topic *topic = find(pubsub, kind, name, hash);
    struct subscription_share *share = share_find(topic, shard);
    bool fresh = topic == NULL;

    if (share != NULL) {
        return share;
    }
    topic = fresh ? add(pubsub, kind, name, hash) : topic;
    share = topic == NULL ? NULL : add_share(pubsub, topic, shard);
    if (share == NULL && fresh && topic != NULL) {
        drop(pubsub, topic);
    }
    return share;
}

void share_drop(struct pubsub *pubsub, struct subscription_share *share)
{
    struct pubsub_topic *topic = share->topic;
    struct subscription_share **at = &topic->shares;

    while (*at != share) {
        at = &(*at)->next;
    }
    *at = share->next;
    if (topic->kind == PUBSUB_PATTERN) {
        struct pubsub_thread *thread = &pubsub->threads[share->shard];
        *(share->before == NULL ? &thread->patterns : &share->before->after) = share->after;
        if (share->after != NULL) {
            share->after->before = share->before;
        }
    }
    heap_give(pubsub->memory, share, sizeof *share);
    if (topic->shares == NULL) {
        drop(pubsub, topic);
    }
}
