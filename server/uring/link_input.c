#include "link_input.h"

#include "batch.h"
#include "bounds.h"
#include "copies.h"
#include "far.h"
#include "link.h"
#include "news.h"
#include "peer_frame.h"
#include "shard_thread.h"

/* The batch may point into it: it goes back once that was executed. */
static void spend(struct shard_thread *thread, struct chunk *chunk)
{
    chunk->next = thread->spent;
    thread->spent = chunk;
}

/* Returns false where it cannot be taken now, nor what comes behind it. */
static bool take_frame(struct shard_thread *thread, struct link *link, struct bytes whole)
{
    struct peer_frame frame;

    if (peer_frame_parse(whole, &frame) != 0) {
        thread->stats.frames_bad++;
        link_close(thread, link);
        return true;
    }
    if (copies_must_wait(thread, frame.kind, frame.body.size)) {
        thread->stats.link_waits++;
        thread->links.behind = true;
        link->behind = link->stalled = true;
        link->behind_kind = frame.kind;
        link->behind_bytes = frame.body.size;
        return false;
    }
    if (frame.kind >= PEER_REPLICATION_FIRST && frame.kind < REPLICATION_KINDS_END) {
        copies_receive(thread, link, &frame);
        return true;
    }
    copies_heard(thread, link);
    if (frame.kind == PEER_FAR_REQUEST && !link->dialled) {
        far_take_request(thread, link, &frame);
    } else if (frame.kind == PEER_FAR_ANSWER && link->dialled) {
        far_take_answer(thread, link, &frame);
    } else if (frame.kind == PEER_PUBLISH && !link->dialled) {
        news_take(thread, link, &frame);
    } else if (frame.kind == PEER_NEWS_ASK && !link->dialled) {
        news_take_ask(thread, link, &frame);
    } else if (frame.kind == PEER_NEWS_ANSWER && link->dialled) {
        news_take_answer(thread, link, &frame);
    } else {
        thread->stats.frames_bad++;
        link_close(thread, link);
    }
    return true;
}

/* It has been asked for more than its other end takes, or has brought more copies than the log does. */
static bool is_stalled(struct shard_thread *thread, struct link *link)
{
    if (!link->dialled && thread->batch.count >= PREFETCH_MAX) {
        batch_run(thread); /* The answers count. */
    }
    link->stalled = link->behind || (!link->dialled && link->output.size >= LINK_OUTPUT_BYTES_MAX);
    return link->stalled;
}

/* So much of the frame in `input` is wanted. Returns 0 or -ENOMEM. */
static int set_wanted(struct shard_thread *thread, struct link *link, size_t size)
{
    struct chunk *input = link->input;

    link->input_wanted = size;
    if (size > input->capacity) {
        struct chunk *larger = chunk_take(&thread->chunks, size);
        if (larger == NULL) {
            return -ENOMEM;
        }
        memcpy(larger->data, input->data, input->size);
        larger->size = input->size;
        chunk_give(&thread->chunks, input);
        link->input = larger;
    }
    return 0;
}

/* `input` grew: find its size, or take the frame. */
static void look_at_input(struct shard_thread *thread, struct link *link)
{
    struct chunk *input = link->input;

    if (input->size < link->input_wanted) {
        return;
    }
    if (link->input_wanted == PEER_HEAD_BYTES) {
        int64_t size = peer_frame_size(bytes_of(input->data, input->size), PEER_BODY_BYTES_MAX);
        if (size < 0 || set_wanted(thread, link, (size_t)size) != 0) {
            thread->stats.frames_bad += size < 0;
            link_close(thread, link);
            return;
        }
        input = link->input;
    }
    if (input->size < link->input_wanted) {
        return;
    }
    pause_completes(&link->input_late);
    if (take_frame(thread, link, bytes_of(input->data, input->size))) {
        link->input = NULL;
        spend(thread, input);
    }
}

/* Returns how many bytes of it were used. */
static size_t fill_input(struct shard_thread *thread, struct link *link, struct bytes bytes)
{
    struct chunk *input = link->input;
    size_t room = link->input_wanted - input->size;
    size_t size = room < bytes.size ? room : bytes.size;

    memcpy(input->data + input->size, bytes.data, size);
    input->size += size;
    look_at_input(thread, link);
    return size;
}

/* A frame that lies whole in `bytes`, or the begin of one. Returns how many bytes of it were used. */
static size_t take_next(struct shard_thread *thread, struct link *link, struct bytes bytes)
{
    int64_t size = peer_frame_size(bytes, PEER_BODY_BYTES_MAX);

    if (size < 0) {
        thread->stats.frames_bad++;
        link_close(thread, link);
        return bytes.size;
    }
    if (size > 0 && (size_t)size <= bytes.size) {
        return take_frame(thread, link, bytes_of(bytes.data, (size_t)size)) ? (size_t)size : 0;
    }
    link->input_wanted = size == 0 ? PEER_HEAD_BYTES : (size_t)size;
    link->input = chunk_take(&thread->chunks, link->input_wanted);
    if (link->input == NULL) {
        link_close(thread, link);
        return bytes.size;
    }
    pause_begins(&link->input_late);
    memcpy(link->input->data, bytes.data, bytes.size);
    link->input->size = bytes.size;
    return bytes.size;
}

void link_input_take(struct shard_thread *thread, struct link *link, struct bytes bytes)
{
    while (bytes.size > 0 && link->state == LINK_OPEN) {
        if (is_stalled(thread, link)) {
            pause_keeps(&link->input_late);
            if (chunk_list_append(&link->backlog, &thread->chunks, bytes) != 0) {
                link_close(thread, link);
            }
            return;
        }
        size_t used =
            link->input != NULL ? fill_input(thread, link, bytes) : take_next(thread, link, bytes);
        bytes = bytes_of(bytes.data + used, bytes.size - used);
    }
}

void link_input_resume(struct shard_thread *thread, struct link *link)
{
    struct chunk *chunk = link->backlog.first;

    link->stalled = link->behind = false;
    pause_resumes(&link->input_late, chunk != NULL);
    link->backlog = (struct chunk_list){0};
    if (link->input != NULL) {
        look_at_input(thread, link);
    }
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        link_input_take(thread, link, bytes_of(chunk->data, chunk->size));
        spend(thread, chunk);
        chunk = next;
    }
}

void link_input_grew(struct shard_thread *thread, struct link *link, size_t size)
{
    link->input->size += size;
    look_at_input(thread, link);
}

bool link_input_is_large(const struct link *link)
{
    return link->input != NULL && link->input_wanted - link->input->size > BULK_BYTES_MIN;
}

void link_input_drop(struct shard_thread *thread, struct link *link)
{
    if (link->input != NULL) {
        chunk_give(&thread->chunks, link->input);
        link->input = NULL;
    }
}
