#include "news.h"

#include <errno.h>

#include "container.h"
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

/* To all other nodes; with a question, those that were heard of late are awaited. */
static void send_all(struct shard_thread *thread, uint8_t kind, struct news_question *question,
                     const struct bytes parts[], uint32_t count)
{
    const uint64_t number = question == NULL ? 0 : question->number;

    for (uint32_t i = 0; i < thread->links.size; i++) {
        struct link *link = link_at(thread, i);
        if (!is_first(thread, link)) {
            continue;
        }
        if (link_send(thread, link, kind, number, parts, count, false, false) != LINK_SENT) {
            thread->stats.events_dropped += kind == PEER_PUBLISH;
        } else if (question != NULL && question->asked < NEWS_NODES_MAX &&
                   thread->now_us - link->heard_us < copies_silence_us(thread)) {
            question->links[question->asked].link = link->index;
            question->links[question->asked++].generation = link->generation;
        }
    }
}

static void publish(struct shard_thread *thread, struct news_question *question,
                    struct bytes channel, struct bytes payload)
{
    uint8_t size[VARINT_BYTES_MAX];
    const struct bytes parts[] = {bytes_of(size, (size_t)(varint_put(size, channel.size) - size)),
                                  channel, payload};

    send_all(thread, PEER_PUBLISH, question, parts, 3);
}

void news_send(struct shard_thread *thread, struct bytes channel, struct bytes payload)
{
    publish(thread, NULL, channel, payload);
}

/* ---- Questions ---- */

bool news_publish(struct shard_thread *thread, struct news_question *question, struct bytes channel,
                  struct bytes payload)
{
    question->number = ++thread->news_number;
    publish(thread, question, channel, payload);
    return question->asked > 0;
}

bool news_ask(struct shard_thread *thread, struct news_question *question, struct bytes words)
{
    const uint8_t what = (uint8_t)question->what;
    const struct bytes parts[] = {bytes_of(&what, 1), words};

    question->number = ++thread->news_number;
    send_all(thread, PEER_NEWS_ASK, question, parts, 2);
    return question->asked > 0;
}

bool news_is_over(struct shard_thread *thread, struct news_question *question)
{
    if (question->waits || question->asked == 0) {
        return true;
    }
    question->waits = true;
    task_go_on(thread, &question->task, NEWS_WAIT_MS * 1000);
    return false;
}

/* Returns false: it is not awaited. */
static bool leave(struct news_question *question, const struct link *link)
{
    for (uint32_t i = 0; i < question->asked; i++) {
        if (question->links[i].link == link->index &&
            question->links[i].generation == link->generation) {
            question->links[i] = question->links[--question->asked];
            return true;
        }
    }
    return false;
}

static void look(struct shard_thread *thread, struct news_question *question)
{
    if (question->asked == 0) {
        task_go_on(thread, &question->task, 0);
    }
}

static int add_numbers(struct news_question *question, struct reader *from)
{
    for (size_t at = 0; at + 8 <= question->numbers.size; at += 8) {
        uint8_t *number = question->numbers.data + at;
        store_u64(number, load_u64(number) + read_varint(from));
    }
    return reader_done(from) ? 0 : -EBADMSG;
}

static int take_names(struct news_question *question, struct reader *from)
{
    struct reader check = *from;

    while (reader_left(&check) > 0) {
        (void)read_string(&check);
    }
    if (question->names.size + reader_left(from) > NEWS_NAMES_BYTES_MAX) {
        question->too_many = true;
        return check.bad ? -EBADMSG : 0;
    }
    return check.bad ? -EBADMSG
                     : buffer_append(&question->names, bytes_of(from->at, reader_left(from)));
}

/* Returns 0, -ENOMEM or -EBADMSG. */
static int take_answer(struct news_question *question, struct bytes body)
{
    struct reader from = reader_of(body);

    if (question->what == NEWS_RECEIVERS) {
        question->count += read_varint(&from);
        return reader_done(&from) ? 0 : -EBADMSG;
    }
    if (read_u8(&from) != 0) {
        question->too_many = true;
        return reader_done(&from) ? 0 : -EBADMSG;
    }
    return question->what == NEWS_SUBSCRIBERS ? add_numbers(question, &from)
                                              : take_names(question, &from);
}

void news_take_answer(struct shard_thread *thread, struct link *link,
                      const struct peer_frame *frame)
{
    for (struct task *task = thread->tasks; task != NULL; task = task->next) {
        struct news_question *question = container_of(task, struct news_question, task);
        if (task->kind != &news_question_kind || task->over || question->number != frame->number) {
            continue;
        }
        if (leave(question, link)) {
            int rc = take_answer(question, frame->body);
            question->too_many |= rc == -ENOMEM;
            look(thread, question);
            if (rc == -EBADMSG) {
                thread->stats.frames_bad++;
                link_close(thread, link);
            }
        }
        return;
    }
}

void news_link_lost(struct shard_thread *thread, const struct link *link)
{
    for (struct task *task = thread->tasks; task != NULL; task = task->next) {
        if (task->kind == &news_question_kind && !task->over) {
            struct news_question *question = container_of(task, struct news_question, task);
            if (leave(question, link)) {
                look(thread, question);
            }
        }
    }
}

/* ---- Answers ---- */

static int put_numbers(struct shard_thread *thread, struct bytes words, struct buffer *out)
{
    struct reader channels = reader_of(words);
    int rc = 0;

    while (rc == 0 && reader_left(&channels) > 0) {
        uint8_t bytes[VARINT_BYTES_MAX];
        const struct bytes channel = read_string(&channels);
        if (channels.bad) {
            return -EBADMSG;
        }
        uint64_t count = pubsub_subscribers(&thread->plane->pubsub, channel);
        rc = buffer_append(out, bytes_of(bytes, (size_t)(varint_put(bytes, count) - bytes)));
    }
    return rc;
}

int news_put(struct shard_thread *thread, enum news_what what, struct bytes words,
             struct buffer *out)
{
    struct pubsub *pubsub = &thread->plane->pubsub;
    struct reader reader = reader_of(words);

    if (what == NEWS_SUBSCRIBERS) {
        return put_numbers(thread, words, out);
    }
    if (what == NEWS_PATTERNS) {
        return words.size > 0 ? -EBADMSG
                              : pubsub_put_names(pubsub, PUBSUB_PATTERN, bytes_of(NULL, 0),
                                                 NEWS_NAMES_BYTES_MAX, out);
    }
    const uint8_t has_pattern = read_u8(&reader);
    if (what != NEWS_CHANNELS || reader.bad || (has_pattern == 0 && reader_left(&reader) > 0)) {
        return -EBADMSG;
    }
    const struct bytes pattern =
        has_pattern != 0 ? bytes_of(reader.at, reader_left(&reader)) : bytes_of(NULL, 0);
    return pubsub_put_names(pubsub, PUBSUB_CHANNEL, pattern, NEWS_NAMES_BYTES_MAX, out);
}

void news_take_ask(struct shard_thread *thread, struct link *link, const struct peer_frame *frame)
{
    struct reader reader = reader_of(frame->body);
    struct buffer answer = {.memory = thread->memory};
    const enum news_what what = (enum news_what)read_u8(&reader);
    int rc = reader.bad
                 ? -EBADMSG
                 : news_put(thread, what, bytes_of(reader.at, reader_left(&reader)), &answer);

    if (rc == -EBADMSG) {
        thread->stats.frames_bad++;
        link_close(thread, link);
    } else {
        const uint8_t too_many = rc != 0;
        const struct bytes parts[] = {bytes_of(&too_many, 1), buffer_bytes(&answer)};
        (void)link_send(thread, link, PEER_NEWS_ANSWER, frame->number, parts, rc == 0 ? 2 : 1,
                        false, true);
    }
    buffer_fini(&answer);
}

void news_take(struct shard_thread *thread, struct link *link, const struct peer_frame *frame)
{
    struct reader reader = reader_of(frame->body);
    struct bytes channel = read_string(&reader);
    struct bytes payload = read_bytes(&reader, reader_left(&reader));
    int64_t count =
        reader.bad ? -EBADMSG : pubsub_publish(&thread->plane->pubsub, channel, payload);

    thread->stats.events_dropped += count < 0; /* A queue is full: its subscribers do not read. */
    if (frame->number != 0) {
        uint8_t bytes[VARINT_BYTES_MAX];
        const struct bytes part =
            bytes_of(bytes, (size_t)(varint_put(bytes, count < 0 ? 0 : (uint64_t)count) - bytes));
        (void)link_send(thread, link, PEER_NEWS_ANSWER, frame->number, &part, 1, false, true);
    }
}
