/* Publish and subscribe: who listens to which channel or pattern, and the messages on their way to them.
 *
 * All threads share it. Whoever publishes looks up, under the one lock, which threads have subscribers, and puts the
 * message into the queue of each, its own too: so all subscribers see all messages in the same order. A thread takes
 * its queue and gives the messages to its own subscribers.
 *
 * A *topic* is a channel or a pattern that somebody has subscribed to; its *shares* are the subscribers of one thread. A
 * share, with its list, is changed and walked by its thread alone; others see only that it is there, and its count.
 *
 * Memory: the port's, which any thread uses; a message is one block for all its queues. Threads: any; what concerns a
 * subscriber, its own.
 */
#ifndef PUBSUB_H
#define PUBSUB_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bounds.h"
#include "bytes.h"
#include "memory.h"

struct pubsub_topic; /* pubsub_topics.h */
struct subscriber;

enum pubsub_kind { PUBSUB_CHANNEL = 0, PUBSUB_PATTERN, PUBSUB_KINDS };

struct subscription {
    struct subscriber *subscriber;
    struct subscription_share *share;
    uint64_t since;                       /* Messages up to this number came before it. */
    struct subscription *next, *previous; /* Of the share. */
    struct subscription *later, *earlier; /* Of the subscriber. */
};

struct subscription_share {
    struct pubsub_topic *topic;
    uint32_t shard, count;
    struct subscription *first, *last;
    struct subscription_share *next;           /* Of the topic. */
    struct subscription_share *after, *before; /* Patterns: of the thread. */
};

/* Part of a connection's session; zero but for `shard`. */
struct subscriber {
    uint32_t shard;
    uint32_t counts[PUBSUB_KINDS];
    struct subscription *first[PUBSUB_KINDS], *last[PUBSUB_KINDS];
    uint64_t name_bytes;
};

struct pubsub_message {
    _Atomic uint32_t queues; /* Those that still have it. */
    uint32_t channel_size;
    uint64_t number;
    size_t size, block_size;
    struct bytes channel, payload; /* In the block. */
};

/* A message in one queue: part of its block. */
struct pubsub_queued {
    struct pubsub_queued *next;
    struct pubsub_message *message;
};

struct pubsub_thread {
    struct pubsub_queued *first, *last;
    uint64_t bytes; /* Of them. */
    struct subscription_share *patterns;
};

struct pubsub {
    struct memory *memory;
    uint64_t seed;
    void (*wake)(void *context, uint32_t shard); /* A queue has something after it had nothing. */
    void *context;
    pthread_mutex_t lock; /* Of what follows, but for what belongs to one thread. */
    uint64_t number;      /* Of the last message. */
    struct pubsub_topic **buckets;
    uint32_t bucket_count; /* A power of two, or 0. */
    uint32_t channel_count, pattern_count;
    struct pubsub_topic *patterns; /* All of them. */
    uint32_t events;               /* Which keyspace events are asked for (events.h). */
    uint64_t subscriptions;
    bool shared;           /* Other nodes may have subscribers. */
    _Atomic uint32_t told; /* The same; 0 while nobody subscribes to anything. */
    struct pubsub_thread threads[SHARDS_MAX];
};

void pubsub_init(struct pubsub *pubsub, struct memory *memory, uint64_t seed,
                 void (*wake)(void *context, uint32_t shard), void *context);
/* When no thread runs and no subscriber is left. */
void pubsub_fini(struct pubsub *pubsub);

/* Returns 1; 0 where it has subscribed to that before; -ENOMEM; -EDQUOT: it has as many as a subscriber may
 * (PUBSUB_CHANNELS_MAX, PUBSUB_PATTERNS_MAX); -EMSGSIZE: their names are PUBSUB_NAMES_BYTES_MAX. */
int pubsub_subscribe(struct pubsub *pubsub, struct subscriber *subscriber, enum pubsub_kind kind,
                     struct bytes name);
/* Nothing where it has not. */
void pubsub_unsubscribe(struct pubsub *pubsub, struct subscriber *subscriber, enum pubsub_kind kind,
                        struct bytes name);
/* From everything. */
void pubsub_leave(struct pubsub *pubsub, struct subscriber *subscriber);

/* Good while the subscription is there. */
struct bytes pubsub_name(const struct subscription_share *share);

static inline uint32_t pubsub_count(const struct subscriber *subscriber)
{
    return subscriber->counts[PUBSUB_CHANNEL] + subscriber->counts[PUBSUB_PATTERN];
}

/* Put a message into the queues of those who have subscribed. Returns how many subscriptions that were; -EAGAIN: a queue is
 * full (PUBSUB_QUEUE_BYTES_MAX), later; -ENOMEM. With an error nobody gets it. */
int64_t pubsub_publish(struct pubsub *pubsub, struct bytes channel, struct bytes payload);

/* All that is in the queue of a thread, in order; NULL: nothing. Each is to be given back once. */
struct pubsub_queued *pubsub_take(struct pubsub *pubsub, uint32_t shard);
void pubsub_give_back(struct pubsub *pubsub, struct pubsub_queued *queued);

/* What this thread has of a channel; NULL: nothing. Its patterns are a list that begins at threads[].patterns. */
struct subscription_share *pubsub_share(struct pubsub *pubsub, uint32_t shard,
                                        struct bytes channel);

/* ---- For PUBSUB ---- */

/* Channels whose names match; an empty pattern (data NULL) matches all. Appends each as a bulk string behind the head of
 * an array. Returns 0 or -ENOMEM. */
int pubsub_put_channels(struct pubsub *pubsub, struct bytes pattern, struct buffer *out);
/* The names of channels that match, or of all patterns, each as varint size and bytes. Returns 0, -ENOMEM, or -EMSGSIZE with
 * more than `bytes_max` of them. */
int pubsub_put_names(struct pubsub *pubsub, enum pubsub_kind kind, struct bytes pattern,
                     size_t bytes_max, struct buffer *out);
uint64_t pubsub_subscribers(struct pubsub *pubsub, struct bytes channel);
uint32_t pubsub_pattern_count(struct pubsub *pubsub);

/* ---- Keyspace events ---- */

void pubsub_set_events(struct pubsub *pubsub, uint32_t events);
/* There are other nodes, whose subscribers are told as well; or no more. */
void pubsub_set_shared(struct pubsub *pubsub, bool shared);
uint32_t pubsub_events(struct pubsub *pubsub);

/* Is anybody told of them, perhaps? All that it costs where nobody is. */
static inline uint32_t pubsub_told(const struct pubsub *pubsub)
{
    return atomic_load_explicit(&pubsub->told, memory_order_relaxed);
}

#endif
