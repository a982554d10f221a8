/* PUBLISH and PUBSUB where there are other nodes: the reply is about the subscribers of all of them (news.h). */
#include <errno.h>
#include <stdlib.h>

#include "container.h"
#include "heap.h"
#include "news.h"
#include "plane_private.h"
#include "resp_door.h"
#include "run.h"
#include "shard_thread.h"

struct resp_question {
    struct news_question question; /* First: news.c takes it by its task. */
    struct buffer words;           /* As they were asked. */
};

static struct resp_question *question_of(struct task *task)
{
    return container_of(task, struct resp_question, question.task);
}

static void free_question(struct shard_thread *thread, struct task *task)
{
    struct resp_question *asked = question_of(task);

    buffer_fini(&asked->words);
    buffer_fini(&asked->question.names);
    buffer_fini(&asked->question.numbers);
    heap_give(thread->memory, asked, sizeof *asked);
}

/* ---- The reply ---- */

static int compare_names(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

/* The names, each once, or only how many. Returns 0 or -ENOMEM. */
static int put_names(const struct resp_out *out, struct memory *memory, struct bytes names,
                     bool counts)
{
    uint64_t count = 0, kept = 0;

    for (struct reader from = reader_of(names); reader_left(&from) > 0; count++) {
        (void)read_string(&from);
    }
    struct bytes *list = heap_take(memory, (count + 1) * sizeof *list);
    if (list == NULL) {
        return -ENOMEM;
    }
    struct reader from = reader_of(names);
    for (uint64_t i = 0; i < count; i++) {
        list[i] = read_string(&from);
    }
    qsort(list, count, sizeof *list, compare_names);
    for (uint64_t i = 0; i < count; i++) {
        if (i == 0 || !bytes_equal(list[i], list[kept - 1])) {
            list[kept++] = list[i];
        }
    }
    int rc = counts ? resp_number(out, (int64_t)kept) : resp_array(out, kept);
    for (uint64_t i = 0; rc == 0 && !counts && i < kept; i++) {
        rc = resp_bulk(out, list[i]);
    }
    heap_give(memory, list, (count + 1) * sizeof *list);
    return rc;
}

static int put_subscribers(const struct resp_out *out, const struct resp_question *asked)
{
    const struct buffer *numbers = &asked->question.numbers;
    struct reader channels = reader_of(buffer_bytes(&asked->words));
    int rc = resp_array(out, 2 * (numbers->size / 8));

    for (size_t at = 0; rc == 0 && at < numbers->size; at += 8) {
        rc = resp_bulk(out, read_string(&channels));
        rc = rc != 0 ? rc : resp_number(out, (int64_t)load_u64(numbers->data + at));
    }
    return rc;
}

static int put_reply(struct shard_thread *thread, const struct resp_question *asked,
                     const struct resp_out *out)
{
    const struct news_question *question = &asked->question;

    if (question->too_many) {
        return resp_error(out, "ERR the names of all nodes do not fit into 16 MiB");
    }
    if (question->what == NEWS_RECEIVERS) {
        return resp_number(out, (int64_t)question->count);
    }
    if (question->what == NEWS_SUBSCRIBERS) {
        return put_subscribers(out, asked);
    }
    return put_names(out, thread->memory, buffer_bytes(&question->names),
                     question->what == NEWS_PATTERNS);
}

/* ---- The task ---- */

static void begin(struct shard_thread *thread, struct task *task)
{
    struct resp_question *asked = question_of(task);
    const uint64_t number = task->number;

    if (!thread->stopping && !news_is_over(thread, &asked->question)) {
        return;
    }
    struct connection *connection = task_client(thread, task);
    if (connection != NULL) {
        const struct resp_out out = {.buffer = &thread->scratch, .resp3 = connection->resp->resp3};
        thread->scratch.size = 0;
        resp_reply(thread, connection, number, put_reply(thread, asked, &out));
    }
    task_over(thread, task);
}

static void never_answered(struct shard_thread *thread, struct task *task,
                           const struct task_answer *answer)
{
    (void)thread;
    (void)task;
    (void)answer;
}

const struct task_kind news_question_kind = {
    .begin = begin,
    .answered = never_answered,
    .free = free_question,
};

static struct resp_question *make(struct shard_thread *thread, enum news_what what)
{
    struct resp_question *made = heap_take(thread->memory, sizeof *made);

    if (made != NULL) {
        *made = (struct resp_question){
            .question = {.what = what,
                         .names = {.memory = thread->memory},
                         .numbers = {.memory = thread->memory}},
            .words = {.memory = thread->memory},
        };
    }
    return made;
}

/* ---- PUBLISH ---- */

bool resp_publish_far(struct shard_thread *thread, struct connection *connection, uint64_t number,
                      struct bytes channel, struct bytes payload, int64_t count)
{
    struct resp_question *asked = make(thread, NEWS_RECEIVERS);

    if (asked == NULL) {
        news_send(thread, channel, payload);
        return false;
    }
    asked->question.count = (uint64_t)count;
    if (!news_publish(thread, &asked->question, channel, payload)) {
        free_question(thread, &asked->question.task);
        return false;
    }
    task_add_for(thread, &asked->question.task, &news_question_kind, connection, number);
    return true;
}

/* ---- PUBSUB ---- */

static int append_string(struct buffer *to, struct bytes bytes)
{
    uint8_t size[VARINT_BYTES_MAX];

    int rc = buffer_append(to, bytes_of(size, (size_t)(varint_put(size, bytes.size) - size)));
    return rc != 0 ? rc : buffer_append(to, bytes);
}

/* What this node has, and what to ask the others. Returns 0, -ENOMEM, or -EMSGSIZE. */
static int begin_with(struct shard_thread *thread, struct resp_question *asked,
                      struct resp_arguments arguments)
{
    struct news_question *question = &asked->question;
    struct buffer *words = &asked->words;
    struct bytes word;
    int rc = 0;

    if (question->what == NEWS_CHANNELS) {
        const uint8_t has_pattern = arguments.count > 0;
        rc = buffer_append(words, bytes_of(&has_pattern, 1));
    }
    while (rc == 0 && resp_next(&arguments, &word)) {
        rc = question->what == NEWS_CHANNELS ? buffer_append(words, word)
                                             : append_string(words, word);
    }
    if (rc != 0 || question->what != NEWS_SUBSCRIBERS) {
        return rc != 0 ? rc
                       : news_put(thread, question->what, buffer_bytes(words), &question->names);
    }
    for (struct reader from = reader_of(buffer_bytes(words)); rc == 0 && reader_left(&from) > 0;) {
        uint8_t bytes[8];
        store_u64(bytes, pubsub_subscribers(&thread->plane->pubsub, read_string(&from)));
        rc = buffer_append(&question->numbers, bytes_of(bytes, sizeof bytes));
    }
    return rc;
}

/* Returns false: none of those that are asked of all. */
static bool find_what(struct bytes sub, uint32_t count, enum news_what *what)
{
    *what = run_is(sub, "channels") ? NEWS_CHANNELS
            : run_is(sub, "numsub") ? NEWS_SUBSCRIBERS
                                    : NEWS_PATTERNS;
    return (*what == NEWS_CHANNELS && count <= 1) || (*what == NEWS_SUBSCRIBERS && count > 0) ||
           (run_is(sub, "numpat") && count == 0);
}

bool resp_pubsub_far(struct shard_thread *thread, struct connection *connection, uint64_t number,
                     struct bytes array, struct bytes whole)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes sub = bytes_of(NULL, 0);
    enum news_what what;

    (void)resp_next(&arguments, &sub);
    if (!resp_next(&arguments, &sub) || !find_what(sub, arguments.count, &what)) {
        return false;
    }
    if (resp_waits(thread, connection, number, 1, whole) ||
        resp_waits_for_all(thread, connection, number, whole)) {
        return true;
    }
    struct resp_question *asked = make(thread, what);
    int rc = asked == NULL ? -ENOMEM : begin_with(thread, asked, arguments);
    if (rc == -EMSGSIZE) {
        asked->question.too_many = true;
    } else if (rc != 0) {
        if (asked != NULL) {
            free_question(thread, &asked->question.task);
        }
        resp_reply_error(thread, connection, number, "OOM no memory for the request");
        return true;
    }
    (void)news_ask(thread, &asked->question, buffer_bytes(&asked->words));
    task_add_for(thread, &asked->question.task, &news_question_kind, connection, number);
    return true;
}
