#include "pubsub.h"

#include <assert.h>
#include <errno.h>

#include "glob.h"
#include "heap.h"
#include "pubsub_topics.h"
#include "resp.h"

void pubsub_init(struct pubsub *pubsub, struct memory *memory, uint64_t seed,
                 void (*wake)(void *context, uint32_t shard), void *context)
{
    *pubsub = (struct pubsub){.memory = memory, .seed = seed, .wake = wake, .context = context};
    pthread_mutex_init(&pubsub->lock, NULL);
}

void pubsub_fini(struct pubsub *pubsub)
{
    assert(pubsub->subscriptions == 0);
    for (uint32_t shard = 0; shard < SHARDS_MAX; shard++) {
        struct pubsub_queued *queued = pubsub_take(pubsub, shard);
        while (queued != NULL) {
            struct pubsub_queued *next = queued->next;
            pubsub_give_back(pubsub, queued);
            queued = next;
        }
    }
    topics_fini(pubsub);
    pthread_mutex_destroy(&pubsub->lock);
}

/* ---- Subscriptions ---- */

struct bytes pubsub_name(const struct subscription_share *share)
{
    return topic_name(share->topic);
}

static void tell(struct pubsub *pubsub)
{
    bool listens = pubsub->subscriptions > 0 || pubsub->shared;

    atomic_store_explicit(&pubsub->told, listens ? pubsub->events : 0, memory_order_relaxed);
}

/* Of the two lists that it would be in, the shorter one is searched. */
static struct subscription *find(const struct subscriber *subscriber, enum pubsub_kind kind,
                                 const struct subscription_share *share)
{
    if (share == NULL) {
        return NULL;
    }
    bool by_share = share->count < subscriber->counts[kind];
    struct subscription *at = by_share ? share->first : subscriber->first[kind];
    while (at != NULL && (at->subscriber != subscriber || at->share != share)) {
        at = by_share ? at->next : at->later;
    }
    return at;
}

static void link_in(struct subscription *subscription, enum pubsub_kind kind)
{
    struct subscription_share *share = subscription->share;
    struct subscriber *subscriber = subscription->subscriber;

    subscription->previous = share->last;
    *(share->last == NULL ? &share->first : &share->last->next) = subscription;
    share->last = subscription;
    subscription->earlier = subscriber->last[kind];
    *(subscriber->last[kind] == NULL ? &subscriber->first[kind] : &subscriber->last[kind]->later) =
        subscription;
    subscriber->last[kind] = subscription;
}

static void link_out(struct subscription *subscription, enum pubsub_kind kind)
{
    struct subscription_share *share = subscription->share;
    struct subscriber *subscriber = subscription->subscriber;

    *(subscription->previous == NULL ? &share->first : &subscription->previous->next) =
        subscription->next;
    *(subscription->next == NULL ? &share->last : &subscription->next->previous) =
        subscription->previous;
    *(subscription->earlier == NULL ? &subscriber->first[kind] : &subscription->earlier->later) =
        subscription->later;
    *(subscription->later == NULL ? &subscriber->last[kind] : &subscription->later->earlier) =
        subscription->earlier;
}

static int subscribe(struct pubsub *pubsub, struct subscriber *subscriber, enum pubsub_kind kind,
                     struct bytes name)
{
    const uint32_t most = kind == PUBSUB_CHANNEL ? PUBSUB_CHANNELS_MAX : PUBSUB_PATTERNS_MAX;
    struct pubsub_topic *topic = topic_find(pubsub, kind, name);

    if (find(subscriber, kind, share_find(topic, subscriber->shard)) != NULL) {
        return 0;
    }
    if (subscriber->counts[kind] == most) {
        return -EDQUOT;
    }
    if (subscriber->name_bytes + name.size > PUBSUB_NAMES_BYTES_MAX) {
        return -EMSGSIZE;
    }
    struct subscription *subscription = heap_take(pubsub->memory, sizeof *subscription);
    struct subscription_share *share =
        subscription == NULL ? NULL : share_take(pubsub, subscriber->shard, kind, name);
    if (share == NULL) {
        if (subscription != NULL) {
            heap_give(pubsub->memory, subscription, sizeof *subscription);
        }
        return -ENOMEM;
    }
    *subscription = (struct subscription){
        .subscriber = subscriber,
        .share = share,
        .since = pubsub->number,
    };
    link_in(subscription, kind);
    share->count++;
    subscriber->counts[kind]++;
    subscriber->name_bytes += name.size;
    pubsub->subscriptions++;
    tell(pubsub);
    return 1;
}

int pubsub_subscribe(struct pubsub *pubsub, struct subscriber *subscriber, enum pubsub_kind kind,
                     struct bytes name)
{
    pthread_mutex_lock(&pubsub->lock);
    int rc = subscribe(pubsub, subscriber, kind, name);
    pthread_mutex_unlock(&pubsub->lock);
    return rc;
}

static void end(struct pubsub *pubsub, struct subscription *subscription)
{
    struct subscription_share *share = subscription->share;
    struct pubsub_topic *topic = share->topic;
    struct subscriber *subscriber = subscription->subscriber;

    link_out(subscription, topic->kind);
    subscriber->counts[topic->kind]--;
    subscriber->name_bytes -= topic->name_size;
    pubsub->subscriptions--;
    tell(pubsub);
    heap_give(pubsub->memory, subscription, sizeof *subscription);
    if (--share->count == 0) {
        share_drop(pubsub, share);
    }
}

void pubsub_unsubscribe(struct pubsub *pubsub, struct subscriber *subscriber, enum pubsub_kind kind,
                        struct bytes name)
{
    pthread_mutex_lock(&pubsub->lock);
    struct pubsub_topic *topic = topic_find(pubsub, kind, name);
    struct subscription *found = find(subscriber, kind, share_find(topic, subscriber->shard));
    if (found != NULL) {
        end(pubsub, found);
    }
    pthread_mutex_unlock(&pubsub->lock);
}

void pubsub_leave(struct pubsub *pubsub, struct subscriber *subscriber)
{
    if (pubsub_count(subscriber) == 0) {
        return;
    }
    pthread_mutex_lock(&pubsub->lock);
    for (uint32_t kind = 0; kind < PUBSUB_KINDS; kind++) {
        while (subscriber->first[kind] != NULL) {
            end(pubsub, subscriber->first[kind]);
        }
    }
    pthread_mutex_unlock(&pubsub->lock);
}

/* ---- Messages ---- */

/* Who gets one. */
struct receivers {
    uint64_t subscriptions;
    uint32_t shard_count;
    bool full;
    bool has[SHARDS_MAX];
    uint8_t shards[SHARDS_MAX];
};

static void add_receivers(const struct pubsub *pubsub, const struct pubsub_topic *topic,
                          struct receivers *receivers)
{
    for (const struct subscription_share *share = topic->shares; share != NULL;
         share = share->next) {
        receivers->subscriptions += share->count;
        if (!receivers->has[share->shard]) {
            receivers->has[share->shard] = true;
            receivers->shards[receivers->shard_count++] = (uint8_t)share->shard;
            receivers->full |= pubsub->threads[share->shard].bytes > PUBSUB_QUEUE_BYTES_MAX;
        }
    }
}

static void find_receivers(const struct pubsub *pubsub, struct bytes channel,
                           struct receivers *receivers)
{
    const struct pubsub_topic *topic = topic_find(pubsub, PUBSUB_CHANNEL, channel);

    if (topic != NULL) {
        add_receivers(pubsub, topic, receivers);
    }
    for (topic = pubsub->patterns; topic != NULL; topic = topic->after) {
        if (glob_matches(topic_name(topic), channel)) {
            add_receivers(pubsub, topic, receivers);
        }
    }
}

static struct bytes copy(uint8_t *to, struct bytes from)
{
    if (from.size > 0) {
        memcpy(to, from.data, from.size);
    }
    return bytes_of(to, from.size);
}

/* The block: the message, its place in each queue, the channel, the payload. */
static struct pubsub_message *make_message(struct pubsub *pubsub, struct bytes channel,
                                           struct bytes payload, uint32_t queues)
{
    const size_t head = sizeof(struct pubsub_message) + queues * sizeof(struct pubsub_queued);
    const size_t size = head + channel.size + payload.size;
    struct pubsub_message *message = heap_take(pubsub->memory, size);

    if (message != NULL) {
        uint8_t *at = (uint8_t *)message + head;
        *message = (struct pubsub_message){
            .number = ++pubsub->number,
            .size = channel.size + payload.size,
            .block_size = size,
            .channel = copy(at, channel),
            .payload = copy(at + channel.size, payload),
        };
        atomic_init(&message->queues, queues);
    }
    return message;
}

/* Returns whether there was nothing in it. */
static bool enqueue(struct pubsub_thread *thread, struct pubsub_queued *queued)
{
    bool was_empty = thread->first == NULL;

    *(was_empty ? &thread->first : &thread->last->next) = queued;
    thread->last = queued;
    thread->bytes += queued->message->block_size;
    return was_empty;
}

int64_t pubsub_publish(struct pubsub *pubsub, struct bytes channel, struct bytes payload)
{
    struct receivers receivers = {.subscriptions = 0};
    struct pubsub_message *message = NULL;
    uint32_t wake_count = 0;

    pthread_mutex_lock(&pubsub->lock);
    find_receivers(pubsub, channel, &receivers);
    if (receivers.shard_count > 0 && !receivers.full) {
        message = make_message(pubsub, channel, payload, receivers.shard_count);
    }
    for (uint32_t i = 0; message != NULL && i < receivers.shard_count; i++) {
        struct pubsub_queued *queued = (struct pubsub_queued *)(message + 1) + i;
        *queued = (struct pubsub_queued){.message = message};
        if (enqueue(&pubsub->threads[receivers.shards[i]], queued)) {
            receivers.shards[wake_count++] = receivers.shards[i];
        }
    }
    pthread_mutex_unlock(&pubsub->lock);
    for (uint32_t i = 0; i < wake_count; i++) {
        pubsub->wake(pubsub->context, receivers.shards[i]);
    }
    if (receivers.shard_count > 0 && message == NULL) {
        return receivers.full ? -EAGAIN : -ENOMEM;
    }
    return (int64_t)receivers.subscriptions;
}

struct pubsub_queued *pubsub_take(struct pubsub *pubsub, uint32_t shard)
{
    struct pubsub_thread *thread = &pubsub->threads[shard];

    pthread_mutex_lock(&pubsub->lock);
    struct pubsub_queued *first = thread->first;
    thread->first = thread->last = NULL;
    thread->bytes = 0;
    pthread_mutex_unlock(&pubsub->lock);
    return first;
}

void pubsub_give_back(struct pubsub *pubsub, struct pubsub_queued *queued)
{
    struct pubsub_message *message = queued->message;

    if (atomic_fetch_sub(&message->queues, 1) == 1) {
        heap_give(pubsub->memory, message, message->block_size);
    }
}

struct subscription_share *pubsub_share(struct pubsub *pubsub, uint32_t shard, struct bytes channel)
{
    pthread_mutex_lock(&pubsub->lock);
    struct subscription_share *share =
        share_find(topic_find(pubsub, PUBSUB_CHANNEL, channel), shard);
    pthread_mutex_unlock(&pubsub->lock);
    return share;
}

/* ---- For PUBSUB ---- */

static const struct pubsub_topic *next_channel(const struct pubsub *pubsub, struct bytes pattern,
                                               const struct pubsub_topic *topic, uint32_t *bucket)
{
    do {
        topic = topic_next(pubsub, topic, bucket);
    } while (topic != NULL &&
             (topic->kind != PUBSUB_CHANNEL || !glob_matches(pattern, topic_name(topic))));
    return topic;
}

int pubsub_put_channels(struct pubsub *pubsub, struct bytes pattern, struct buffer *out)
{
    const struct resp_out to = {.buffer = out};
    const struct pubsub_topic *topic = NULL;
    uint32_t bucket = 0, count = 0;

    pthread_mutex_lock(&pubsub->lock);
    while ((topic = next_channel(pubsub, pattern, topic, &bucket)) != NULL) {
        count++;
    }
    int rc = resp_array(&to, count);
    for (bucket = 0; rc == 0 && (topic = next_channel(pubsub, pattern, topic, &bucket)) != NULL;) {
        rc = resp_bulk(&to, topic_name(topic));
    }
    pthread_mutex_unlock(&pubsub->lock);
    return rc;
}

static int put_name(struct buffer *out, struct bytes name)
{
    uint8_t size[VARINT_BYTES_MAX];

    int rc = buffer_append(out, bytes_of(size, (size_t)(varint_put(size, name.size) - size)));
    return rc != 0 ? rc : buffer_append(out, name);
}

int pubsub_put_names(struct pubsub *pubsub, enum pubsub_kind kind, struct bytes pattern,
                     size_t bytes_max, struct buffer *out)
{
    const size_t most = out->size + bytes_max;
    const struct pubsub_topic *topic = NULL;
    uint32_t bucket = 0;
    int rc = 0;

    pthread_mutex_lock(&pubsub->lock);
    while (rc == 0 && (topic = topic_next(pubsub, topic, &bucket)) != NULL) {
        const struct bytes name = topic_name(topic);
        if (topic->kind == kind && glob_matches(pattern, name)) {
            rc = out->size + VARINT_BYTES_MAX + name.size > most ? -EMSGSIZE : put_name(out, name);
        }
    }
    pthread_mutex_unlock(&pubsub->lock);
    return rc;
}

uint64_t pubsub_subscribers(struct pubsub *pubsub, struct bytes channel)
{
    uint64_t count = 0;

    pthread_mutex_lock(&pubsub->lock);
    const struct pubsub_topic *topic = topic_find(pubsub, PUBSUB_CHANNEL, channel);
    for (const struct subscription_share *share = topic == NULL ? NULL : topic->shares;
         share != NULL; share = share->next) {
        count += share->count;
    }
    pthread_mutex_unlock(&pubsub->lock);
    return count;
}

uint32_t pubsub_pattern_count(struct pubsub *pubsub)
{
    pthread_mutex_lock(&pubsub->lock);
    uint32_t count = pubsub->pattern_count;
    pthread_mutex_unlock(&pubsub->lock);
    return count;
}

/* ---- Keyspace events ---- */

void pubsub_set_events(struct pubsub *pubsub, uint32_t events)
{
    pthread_mutex_lock(&pubsub->lock);
    pubsub->events = events;
    tell(pubsub);
    pthread_mutex_unlock(&pubsub->lock);
}

void pubsub_set_shared(struct pubsub *pubsub, bool shared)
{
    pthread_mutex_lock(&pubsub->lock);
    pubsub->shared = shared;
    tell(pubsub);
    pthread_mutex_unlock(&pubsub->lock);
}

uint32_t pubsub_events(struct pubsub *pubsub)
{
    pthread_mutex_lock(&pubsub->lock);
    uint32_t events = pubsub->events;
    pthread_mutex_unlock(&pubsub->lock);
    return events;
}
