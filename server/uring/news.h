/* Messages of PUBLISH, and keyspace events, to the subscribers of other nodes; and questions about those subscribers.
 *
 * Each goes from the thread where it is published to one thread of every other member that it has a link to, and from there
 * into the queues of that node's threads (pubsub.h). So what one connection publishes arrives everywhere in its order; what
 * several publish, in an order of each node's own. Nothing is kept for a node that cannot be reached: whoever listens there
 * misses it, as a subscriber does who is not connected.
 *
 * What clients ask about subscribers, PUBLISH by its reply included, is about those of all nodes: each is asked, and the
 * reply waits for the answers, at most NEWS_WAIT_MS. Who has not answered by then, or whose link is gone or silent,
 * is left out. (A transaction's PUBLISH and PUBSUB are about the node that is asked.)
 *
 * On the wire (strings as a varint and so many bytes):
 *
 *   PEER_PUBLISH      number 0, or that of who wants to know how many got it; the channel as a string, then the message
 *   PEER_NEWS_ASK     number; u8 enum news_what; CHANNELS: u8 1 and a pattern, or u8 0; SUBSCRIBERS: channels as strings
 *   PEER_NEWS_ANSWER  the same number; to a PUBLISH a varint; u8 0, then to CHANNELS and PATTERNS names as strings, to
 *                     SUBSCRIBERS a varint for each; u8 1: there are more than NEWS_NAMES_BYTES_MAX
 *
 * Memory: a question is a task (tasks.h) with its names, from the port. Threads: the shard's.
 */
#ifndef NEWS_H
#define NEWS_H

#include <stdbool.h>
#include <stdint.h>

#include "bytes.h"
#include "memory.h"
#include "tasks.h"

struct link;
struct peer_frame;
struct shard_thread;

enum {
    NEWS_WAIT_MS = 500,
    NEWS_NAMES_BYTES_MAX = 16 * 1024 * 1024,
    NEWS_NODES_MAX = 256,
};

enum news_what { NEWS_RECEIVERS = 0, NEWS_CHANNELS, NEWS_PATTERNS, NEWS_SUBSCRIBERS };

/* Do all links take another message? */
bool news_has_room(struct shard_thread *thread);

/* To all other nodes. Where a link has no room it is dropped, and counted with the events dropped. */
void news_send(struct shard_thread *thread, struct bytes channel, struct bytes payload);

/* ---- Questions ---- */

/* One that is under way; part of what its owner has, and zero at first but for `what`, `names` and `numbers`. */
struct news_question {
    struct task task;
    enum news_what what;
    uint64_t number;
    uint64_t count; /* RECEIVERS: of all nodes. */
    bool too_many;  /* There are more names than NEWS_NAMES_BYTES_MAX, of one or together. */
    struct buffer
        names; /* CHANNELS, PATTERNS: strings, perhaps several times; of this node at first. */
    struct buffer numbers; /* SUBSCRIBERS: a u64 for each channel; of this node at first. */
    uint32_t asked;
    bool waits;
    struct {
        uint32_t link, generation;
    } links[NEWS_NODES_MAX]; /* Whose answers are awaited. */
};

/* Ask, with a message that goes to all other nodes, whoever is asked. Returns whether an answer is awaited. The task is
 * to begin then; it begins again once there are all, or time is up. */
bool news_publish(struct shard_thread *thread, struct news_question *question, struct bytes channel,
                  struct bytes payload);
/* The same without one; `words`: what follows `what`. */
bool news_ask(struct shard_thread *thread, struct news_question *question, struct bytes words);

/* When its task begins: is it over? Else it begins again later. */
bool news_is_over(struct shard_thread *thread, struct news_question *question);

/* What this node itself answers: appended to `out`, but for the u8. Returns 0, -ENOMEM, -EMSGSIZE where there are too many,
 * or -EBADMSG. */
int news_put(struct shard_thread *thread, enum news_what what, struct bytes words,
             struct buffer *out);

/* The task kind of questions: whose `free` is the owner's. Set by resp_news.c. */
extern const struct task_kind news_question_kind;

/* ---- From links ---- */

void news_take(struct shard_thread *thread, struct link *link, const struct peer_frame *frame);
void news_take_ask(struct shard_thread *thread, struct link *link, const struct peer_frame *frame);
void news_take_answer(struct shard_thread *thread, struct link *link,
                      const struct peer_frame *frame);
/* The link is gone. */
void news_link_lost(struct shard_thread *thread, const struct link *link);

#endif
