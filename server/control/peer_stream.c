#include "peer_stream.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "heap.h"

struct send {
    uv_write_t request;
    struct peer_stream *stream;
    uint8_t bytes[];
};

static void on_closed(uv_handle_t *handle)
{
    struct peer_stream *stream = handle->data;

    buffer_fini(&stream->in);
    stream->closed(stream);
}

void peer_stream_close(struct peer_stream *stream, const char *text)
{
    if (!uv_is_closing((uv_handle_t *)&stream->tcp)) {
        stream->text = text;
        stream->open = false;
        uv_close((uv_handle_t *)&stream->tcp, on_closed);
    }
}

/* ---- In ---- */

/* Give the frames that are whole, and keep the rest. */
static void give_frames(struct peer_stream *stream)
{
    size_t at = 0;

    while (stream->open && at < stream->in.size) {
        struct bytes left = bytes_of(stream->in.data + at, stream->in.size - at);
        struct peer_frame frame;
        int64_t size = peer_frame_size(left, stream->body_bytes_max);
        if (size == 0 || (size > 0 && (uint64_t)size > left.size)) {
            break;
        }
        int rc = size < 0 ? (int)size : peer_frame_parse(bytes_of(left.data, (size_t)size), &frame);
        if (rc != 0 || frame.kind < PEER_CONTROL_FIRST || frame.kind >= PEER_REPLICATION_FIRST) {
            peer_stream_close(stream, rc == -EMSGSIZE ? "a frame is too large"
                                      : rc == -EILSEQ ? "a frame is damaged"
                                                      : "it does not keep to the protocol");
            return;
        }
        at += (size_t)size;
        stream->frames_in++;
        stream->frame(stream, &frame);
    }
    if (at > 0 && stream->open) {
        stream->in.size -= at;
        memmove(stream->in.data, stream->in.data + at, stream->in.size);
        if (stream->in.size == 0 && stream->in.capacity > PEER_STREAM_KEEP_BYTES) {
            buffer_fini(&stream->in);
        }
    }
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *room)
{
    struct peer_stream *stream = handle->data;
    int64_t size = peer_frame_size(buffer_bytes(&stream->in), stream->body_bytes_max);
    size_t more = PEER_STREAM_READ_BYTES;

    (void)suggested;
    if (size > 0 && (uint64_t)size - stream->in.size > more) {
        more = (size_t)size - stream->in.size;
    }
    if (buffer_reserve(&stream->in, more) != 0) {
        *room = uv_buf_init(NULL, 0);
        return;
    }
    *room = uv_buf_init((char *)stream->in.data + stream->in.size,
                        (unsigned)(stream->in.capacity - stream->in.size));
}

static void on_read(uv_stream_t *tcp, ssize_t size, const uv_buf_t *room)
{
    struct peer_stream *stream = tcp->data;

    (void)room;
    if (size < 0) {
        peer_stream_close(stream, size == UV_EOF       ? "the other end closed it"
                                  : size == UV_ENOBUFS ? "out of memory"
                                                       : uv_strerror((int)size));
        return;
    }
    if (stream->open) {
        stream->in.size += (size_t)size;
        stream->bytes_in += (uint64_t)size;
        give_frames(stream);
    }
}

void peer_stream_take(struct peer_stream *stream, struct bytes rest)
{
    if (buffer_append(&stream->in, rest) != 0) {
        peer_stream_close(stream, "out of memory");
        return;
    }
    stream->bytes_in += rest.size;
    give_frames(stream);
}

int peer_stream_open(struct peer_stream *stream, uv_loop_t *loop, int fd)
{
    stream->in.memory = heap_memory();
    stream->open = true;
    uv_tcp_init(loop, &stream->tcp);
    stream->tcp.data = stream;
    int rc = uv_tcp_open(&stream->tcp, fd);
    if (rc != 0) {
        close(fd);
    } else {
        rc = uv_read_start((uv_stream_t *)&stream->tcp, on_room, on_read);
    }
    if (rc != 0) {
        peer_stream_close(stream, uv_strerror(rc));
    }
    return rc;
}

/* ---- Out ---- */

size_t peer_stream_waiting(const struct peer_stream *stream)
{
    return uv_stream_get_write_queue_size((const uv_stream_t *)&stream->tcp);
}

static void on_sent(uv_write_t *request, int status)
{
    struct send *send = request->data;

    if (status < 0) {
        peer_stream_close(send->stream, uv_strerror(status));
    }
    free(send);
}

/* Send what can be sent at once. Returns how much. */
static size_t try_send(struct peer_stream *stream, uint8_t *bytes, size_t size)
{
    const uv_buf_t piece = uv_buf_init((char *)bytes, (unsigned)size);
    int sent =
        peer_stream_waiting(stream) > 0 ? 0 : uv_try_write((uv_stream_t *)&stream->tcp, &piece, 1);

    return sent > 0 ? (size_t)sent : 0; /* What is wrong with it shows with the rest. */
}

int peer_stream_send(struct peer_stream *stream, uint8_t kind, uint64_t number,
                     const struct bytes parts[], uint32_t part_count)
{
    size_t size = PEER_HEAD_BYTES;

    if (!stream->open) {
        return -EPIPE;
    }
    for (uint32_t i = 0; i < part_count; i++) {
        size += parts[i].size;
    }
    struct send *send = malloc(sizeof *send + size);
    if (send == NULL) {
        return -ENOMEM;
    }
    peer_frame_head_put(send->bytes, kind, number, parts, part_count);
    uint8_t *to = send->bytes + PEER_HEAD_BYTES;
    for (uint32_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0) {
            memcpy(to, parts[i].data, parts[i].size);
            to += parts[i].size;
        }
    }
    stream->frames_out++;
    stream->bytes_out += size;
    size_t sent = try_send(stream, send->bytes, size);
    if (sent == size) {
        free(send);
        return 0;
    }
    send->stream = stream;
    send->request.data = send;
    uv_buf_t rest = uv_buf_init((char *)send->bytes + sent, (unsigned)(size - sent));
    int rc = uv_write(&send->request, (uv_stream_t *)&stream->tcp, &rest, 1, on_sent);
    if (rc != 0) { /* Of the half that has gone out nothing can be made any more. */
        free(send);
        peer_stream_close(stream, uv_strerror(rc));
        return -EPIPE;
    }
    return 0;
}

static void on_shut(uv_shutdown_t *request, int status)
{
    (void)status;
    peer_stream_close(request->data, "all is said");
}

void peer_stream_end(struct peer_stream *stream)
{
    if (!stream->open) {
        return;
    }
    stream->open = false;
    stream->shutdown.data = stream;
    if (uv_shutdown(&stream->shutdown, (uv_stream_t *)&stream->tcp, on_shut) != 0) {
        peer_stream_close(stream, "all is said");
    }
}
