/* Publish and subscribe in the RESP door (pubsub.h).
 *
 * Each of these commands begins once all before it are answered: what a message tells of is done when it goes out, and
 * nobody hears of a channel before he is told that he listens. A subscriber's messages go into its output as replies do, in
 * between them; where they fill it, because the client does not read, it is cut as with too many replies. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "batch.h"
#include "container.h"
#include "events.h"
#include "glob.h"
#include "limits.h"
#include "news.h"
#include "plane_private.h"
#include "resp_local.h"
#include "run.h"
#include "shard_thread.h"

bool resp_is_subscribed(const struct resp_session *session)
{
    return !session->resp3 && pubsub_count(&session->subscriber) > 0;
}

/* ---- Messages to this thread's subscribers ---- */

static struct connection *connection_of(const struct subscription *subscription)
{
    return container_of(subscription->subscriber, struct resp_session, subscriber)->connection;
}

/* The message in thread->frame. Returns how many bytes were added to the output. */
static size_t push(struct shard_thread *thread, struct connection *connection)
{
    const uint64_t most = 2 * thread->plane->options.limits.output_bytes;
    struct buffer *frame = &thread->frame;

    if (connection->output.size > 0 && connection->output.size + frame->size > most) {
        connection_cut(thread, connection);
        return 0;
    }
    frame->data[0] = connection->resp->resp3 ? '>' : '*'; /* The rest is the same. */
    connection_write(thread, connection, buffer_bytes(frame));
    return frame->size;
}

static int make_frame(struct shard_thread *thread, const struct subscription_share *pattern,
                      const struct pubsub_message *message)
{
    const struct resp_out out = {.buffer = &thread->frame};

    thread->frame.size = 0;
    int rc = resp_array(&out, pattern == NULL ? 3 : 4);
    rc = rc != 0 ? rc : resp_text(&out, pattern == NULL ? "message" : "pmessage");
    if (pattern != NULL) {
        rc = rc != 0 ? rc : resp_bulk(&out, pubsub_name(pattern));
    }
    rc = rc != 0 ? rc : resp_bulk(&out, message->channel);
    return rc != 0 ? rc : resp_bulk(&out, message->payload);
}

/* To all of one share; `pattern` is it, or NULL. `gone` is one that takes no more messages. Returns the bytes. */
static uint64_t give_to(struct shard_thread *thread, const struct subscription_share *share,
                        const struct subscription_share *pattern,
                        const struct pubsub_message *message, struct connection **gone)
{
    bool made = make_frame(thread, pattern, message) == 0;
    uint64_t bytes = 0;

    for (const struct subscription *at = share->first; at != NULL; at = at->next) {
        struct connection *connection = connection_of(at);
        if (connection->state != CONNECTION_OPEN) {
            *gone = connection;
        } else if (login_is_over(connection)) {
            connection_close(thread, connection);
        } else if (!made) {
            connection_close(thread, connection); /* It would miss one. */
        } else if (message->number > at->since &&
                   resp_may_hear(thread, connection, message->channel, message->payload)) {
            bytes += push(thread, connection);
        }
    }
    return bytes;
}

/* No list changes meanwhile. */
static uint64_t give(struct shard_thread *thread, const struct pubsub_message *message)
{
    struct pubsub *pubsub = &thread->plane->pubsub;
    struct connection *gone = NULL;
    uint64_t bytes = message->size;

    const struct subscription_share *share = pubsub_share(pubsub, thread->index, message->channel);
    if (share != NULL) {
        bytes += give_to(thread, share, NULL, message, &gone);
    }
    for (share = pubsub->threads[thread->index].patterns; share != NULL; share = share->after) {
        if (glob_matches(pubsub_name(share), message->channel)) {
            bytes += give_to(thread, share, share, message, &gone);
        }
    }
    if (gone != NULL) {
        pubsub_leave(pubsub, &gone->resp->subscriber);
    }
    return bytes;
}

/* Those that were taken from the queue, and a little more than `bytes_max` of them. */
static void give_taken(struct shard_thread *thread, uint64_t bytes_max)
{
    uint64_t bytes = 0;

    while (thread->messages != NULL && bytes < bytes_max) {
        struct pubsub_queued *queued = thread->messages;
        thread->messages = queued->next;
        bytes += give(thread, queued->message);
        pubsub_give_back(&thread->plane->pubsub, queued);
    }
}

static void take(struct shard_thread *thread)
{
    if (thread->messages == NULL) {
        thread->messages_came = false;
        thread->messages = pubsub_take(&thread->plane->pubsub, thread->index);
    }
}

void resp_pubsub_turn(struct shard_thread *thread)
{
    if (!thread->messages_came && thread->messages == NULL) {
        return;
    }
    take(thread);
    give_taken(thread, PUBSUB_TURN_BYTES);
    if (thread->messages_came || thread->messages != NULL) {
        thread->again = true;
    }
}

void resp_pubsub_fini(struct shard_thread *thread)
{
    while (thread->messages != NULL) {
        struct pubsub_queued *next = thread->messages->next;
        pubsub_give_back(&thread->plane->pubsub, thread->messages);
        thread->messages = next;
    }
}

/* ---- Keyspace events ---- */

bool resp_find_database(struct bytes *key, uint32_t *database)
{
    *database = 0;
    if (key->size == 0 || key->data[0] != RESP_KEY_RESERVED) {
        return true;
    }
    size_t at = 1;
    while (at < key->size && key->data[at] >= '0' && key->data[at] <= '9' &&
           *database < RESP_DATABASES) {
        *database = 10 * *database + key->data[at++] - '0';
    }
    if (at == 1 || at == key->size || key->data[at] != ':' || *database >= RESP_DATABASES) {
        return false;
    }
    *key = bytes_of(key->data + at + 1, key->size - at - 1);
    return true;
}

static void tell(struct shard_thread *thread, const char *where, uint32_t database,
                 struct bytes what, struct bytes payload)
{
    uint8_t channel[KEY_BYTES_MAX + 32];

    int size = snprintf((char *)channel, sizeof channel, "__%s@%u__:", where, database);
    assert(size > 0 && (size_t)size + what.size <= sizeof channel);
    memcpy(channel + size, what.data, what.size);
    int64_t count = pubsub_publish(&thread->plane->pubsub,
                                   bytes_of(channel, (size_t)size + what.size), payload);
    thread->stats.events_dropped += count < 0;
    if (thread->clustered) {
        news_send(thread, bytes_of(channel, (size_t)size + what.size), payload);
    }
}

void resp_tell(struct shard_thread *thread, enum trace_event event, struct bytes key)
{
    const uint32_t told = pubsub_told(&thread->plane->pubsub);
    bool expired = event == TRACE_SESSION_EXPIRED;
    struct bytes name = bytes_of_string(expired ? "expired" : "del");
    uint32_t database;

    if ((!expired && event != TRACE_SESSION_DELETED) ||
        (told & (expired ? EVENTS_EXPIRED : EVENTS_GENERIC)) == 0 ||
        !resp_find_database(&key, &database)) {
        return;
    }
    if ((told & EVENTS_KEYSPACE) != 0) {
        tell(thread, "keyspace", database, key, name);
    }
    if ((told & EVENTS_KEYEVENT) != 0) {
        tell(thread, "keyevent", database, name, key);
    }
}

/* ---- Commands ---- */

bool resp_waits_for_all(struct shard_thread *thread, struct connection *connection, uint64_t number,
                        struct bytes whole)
{
    if (connection->batched > 0) {
        batch_run(thread);
        resp_measure_anew(thread->slow);
    }
    if (connection->stalled || !reply_order_is_due(connection->order, number)) {
        resp_put_off(thread, connection, number, whole);
        return true;
    }
    return false;
}

static int confirm(const struct resp_out *out, const struct command *command,
                   const struct bytes *name, const struct subscriber *subscriber)
{
    int rc = resp_push(out, 3);

    rc = rc != 0 ? rc : resp_text(out, command->name);
    rc = rc != 0 ? rc : name == NULL ? resp_null(out) : resp_bulk(out, *name);
    return rc != 0 ? rc : resp_number(out, pubsub_count(subscriber));
}

static int subscribe(struct pubsub *pubsub, struct subscriber *subscriber,
                     const struct command *command, enum pubsub_kind kind,
                     struct resp_arguments names, const struct resp_out *out)
{
    struct bytes name;
    int rc = 0;

    while (rc == 0 && resp_next(&names, &name)) {
        int done = pubsub_subscribe(pubsub, subscriber, kind, name);
        if (done >= 0) {
            rc = confirm(out, command, &name, subscriber);
        } else if (done == -ENOMEM) {
            rc = resp_error(out, "OOM no memory for the subscription");
        } else if (done == -EMSGSIZE) {
            rc = resp_error(out, "ERR a connection's subscriptions have names of more than 8 MiB");
        } else {
            rc = resp_error(out, kind == PUBSUB_CHANNEL
                                     ? "ERR more than 65536 channels of one connection"
                                     : "ERR more than 1024 patterns of one connection");
        }
    }
    return rc;
}

static int unsubscribe(struct pubsub *pubsub, struct subscriber *subscriber,
                       const struct command *command, enum pubsub_kind kind,
                       struct resp_arguments names, const struct resp_out *out)
{
    bool all = names.count == 0;
    struct bytes name;
    int rc = 0;

    if (all && subscriber->counts[kind] == 0) {
        return confirm(out, command, NULL, subscriber);
    }
    while (rc == 0 && resp_next(&names, &name)) {
        pubsub_unsubscribe(pubsub, subscriber, kind, name);
        rc = confirm(out, command, &name, subscriber);
    }
    while (rc == 0 && all && subscriber->counts[kind] > 0) {
        /* The name goes with it: what follows it is the number of those that are left. */
        name = pubsub_name(subscriber->first[kind]->share);
        subscriber->counts[kind]--;
        rc = confirm(out, command, &name, subscriber);
        subscriber->counts[kind]++;
        pubsub_unsubscribe(pubsub, subscriber, kind, name);
    }
    return rc;
}

static int64_t publish_here(struct shard_thread *thread, struct resp_arguments arguments,
                            struct bytes *channel, struct bytes *payload)
{
    (void)resp_next(&arguments, channel);
    (void)resp_next(&arguments, payload);
    if (thread->clustered && !news_has_room(thread)) {
        return -EAGAIN;
    }
    return pubsub_publish(&thread->plane->pubsub, *channel, *payload);
}

int64_t resp_publish(struct shard_thread *thread, struct resp_arguments arguments)
{
    struct bytes channel, payload;
    int64_t count = publish_here(thread, arguments, &channel, &payload);

    if (count >= 0 && thread->clustered) {
        news_send(thread, channel, payload);
    }
    return count;
}

static void publish(struct shard_thread *thread, struct connection *connection, uint64_t number,
                    struct resp_arguments arguments, struct bytes whole)
{
    struct bytes channel, message;
    int64_t count = publish_here(thread, arguments, &channel, &message);

    if (count >= 0 && thread->clustered &&
        resp_publish_far(thread, connection, number, channel, message, count)) {
        return; /* The reply waits for the other nodes. */
    }
    if (count == -EAGAIN) {
        resp_put_off(thread, connection, number, whole);
        thread->again = true;
    } else if (count < 0) {
        resp_reply_error(thread, connection, number, "OOM no memory for the message");
    } else {
        resp_reply_number(thread, connection, number, count);
    }
}

/* ---- Subscriptions ---- */

void resp_pubsub(struct shard_thread *thread, struct connection *connection, uint64_t number,
                 const struct command *command, struct bytes array, struct bytes whole)
{
    struct resp_session *session = connection->resp;
    struct pubsub *pubsub = &thread->plane->pubsub;
    struct resp_arguments arguments = resp_arguments(array);
    bool pattern = command->local == LOCAL_PSUBSCRIBE || command->local == LOCAL_PUNSUBSCRIBE;
    enum pubsub_kind kind = pattern ? PUBSUB_PATTERN : PUBSUB_CHANNEL;
    struct bytes name;

    if (resp_waits_for_all(thread, connection, number, whole)) {
        return;
    }
    (void)resp_next(&arguments, &name);
    if (command->local == LOCAL_PUBLISH) {
        publish(thread, connection, number, arguments, whole);
        return;
    }
    bool begins = command->local == LOCAL_SUBSCRIBE || command->local == LOCAL_PSUBSCRIBE;
    if (!begins) {
        /* What was sent before is given before this ends. */
        give_taken(thread, UINT64_MAX);
        take(thread);
        give_taken(thread, UINT64_MAX);
    }
    const struct resp_out out = {.buffer = &thread->scratch, .resp3 = session->resp3};
    thread->scratch.size = 0;
    int rc = (begins ? subscribe : unsubscribe)(pubsub, &session->subscriber, command, kind,
                                                arguments, &out);
    session->silent_now = false; /* It is no mere reply. */
    resp_reply(thread, connection, number, rc);
}

/* ---- PUBSUB ---- */

static int pubsub_numsub(struct local *local)
{
    int rc = resp_array(local->out, 2 * (uint64_t)local->rest.count);

    while (rc == 0 && local->rest.count > 0) {
        struct bytes channel = local_next(local);
        uint64_t count = pubsub_subscribers(&local->thread->plane->pubsub, channel);
        rc = resp_bulk(local->out, channel);
        rc = rc != 0 ? rc : resp_number(local->out, (int64_t)count);
    }
    return rc;
}

int local_pubsub(struct local *local)
{
    struct pubsub *pubsub = &local->thread->plane->pubsub;
    struct bytes sub = local_next(local);

    if (run_is(sub, "channels") && local->rest.count <= 1) {
        return pubsub_put_channels(pubsub, local_next(local), local->out->buffer);
    }
    if (run_is(sub, "numsub")) {
        return pubsub_numsub(local);
    }
    if (run_is(sub, "numpat") && local->rest.count == 0) {
        return resp_number(local->out, pubsub_pattern_count(pubsub));
    }
    return local_unknown_sub(local, sub);
}
