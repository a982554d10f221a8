#include "peer_greeting.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer_greeting {
    struct peer_greeting_options options;
    uv_poll_t poll;
    uv_timer_t timer;
    uint32_t handles; /* Still to be closed by the loop. */
    int fd;
    bool connecting;
    bool over;
    struct peer_hello hello;
    size_t sent; /* Of hello.out. */
    size_t rest_size;
    uint8_t rest[PEER_REST_BYTES_MAX];
};

static void on_closed(uv_handle_t *handle)
{
    struct peer_greeting *greeting = handle->data;

    if (--greeting->handles == 0) {
        free(greeting);
    }
}

/* The socket is not watched any more; what becomes of it is the caller's business. */
static void let_go(struct peer_greeting *greeting)
{
    assert(!greeting->over);
    greeting->over = true;
    uv_poll_stop(&greeting->poll);
    uv_close((uv_handle_t *)&greeting->poll, on_closed);
    uv_close((uv_handle_t *)&greeting->timer, on_closed);
}

static void tell(struct peer_greeting *greeting, const struct peer_greeting_result *result)
{
    greeting->options.done(greeting->options.context, greeting, result);
}

/* There was no connection. */
static void end_unconnected(struct peer_greeting *greeting, int rc)
{
    let_go(greeting);
    close(greeting->fd);
    tell(greeting, &(struct peer_greeting_result){.rc = rc, .text = strerror(-rc), .fd = -1});
}

/* The handshake is over, and nothing more is to be sent of it. */
static void end(struct peer_greeting *greeting)
{
    const struct peer_hello *hello = &greeting->hello;
    bool good = hello->state == PEER_HELLO_DONE;
    struct peer_greeting_result result = {
        .refusal = hello->refusal,
        .refused_there = hello->refused_there,
        .text = hello->text,
        .fd = good ? greeting->fd : -1,
        .opening = hello->opening,
        .rest = bytes_of(greeting->rest, greeting->rest_size),
    };

    let_go(greeting);
    if (!good) {
        shutdown(greeting->fd, SHUT_WR); /* What is in its buffer still goes out. */
        close(greeting->fd);
    }
    tell(greeting, &result);
}

void peer_greeting_fail(struct peer_greeting *greeting, enum peer_refusal refusal)
{
    if (greeting->connecting) {
        end_unconnected(greeting, -ETIMEDOUT);
        return;
    }
    peer_hello_fail(&greeting->hello, refusal);
    end(greeting);
}

void peer_greeting_cancel(struct peer_greeting *greeting)
{
    let_go(greeting);
    close(greeting->fd);
}

static void on_timer(uv_timer_t *timer)
{
    peer_greeting_fail(timer->data, PEER_REFUSED_SLOW);
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void watch(struct peer_greeting *greeting)
{
    bool writes = greeting->connecting || greeting->sent < greeting->hello.out_size;
    bool reads = !greeting->connecting && greeting->hello.state == PEER_HELLO_MORE;
    int rc = uv_poll_start(&greeting->poll, (writes ? UV_WRITABLE : 0) | (reads ? UV_READABLE : 0),
                           on_poll);

    assert(rc == 0); /* The descriptor is known to it. */
}

/* Send what the handshake has to say. Returns false where it is over now. */
static bool flush(struct peer_greeting *greeting)
{
    struct peer_hello *hello = &greeting->hello;

    while (greeting->sent < hello->out_size) {
        ssize_t size = send(greeting->fd, hello->out + greeting->sent,
                            hello->out_size - greeting->sent, MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR) {
            continue;
        }
        if (size < 0 && errno == EAGAIN && hello->state != PEER_HELLO_FAILED) {
            return true;
        }
        if (size < 0) {
            if (hello->state != PEER_HELLO_FAILED) {
                peer_hello_fail(hello, PEER_REFUSED_CLOSED);
            }
            break;
        }
        greeting->sent += (size_t)size;
    }
    greeting->sent = hello->out_size = 0;
    if (hello->state != PEER_HELLO_MORE) {
        end(greeting);
        return false;
    }
    return true;
}

static void ask(struct peer_greeting *greeting)
{
    const struct peer_greeting_options *options = &greeting->options;
    const char *text = "";
    enum peer_refusal refusal = options->asks(options->context, &greeting->hello.opening, &text);

    peer_hello_answer(&greeting->hello, refusal, text);
}

static uint64_t now_ms(const struct peer_greeting *greeting)
{
    return greeting->options.now_ms(greeting->options.clock);
}

/* Read once. Returns false where it is over now. */
static bool take(struct peer_greeting *greeting)
{
    struct peer_hello *hello = &greeting->hello;
    ssize_t size = recv(greeting->fd, greeting->rest, sizeof greeting->rest, 0);

    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (size <= 0) {
        peer_greeting_fail(greeting, PEER_REFUSED_CLOSED);
        return false;
    }
    struct bytes input = bytes_of(greeting->rest, (size_t)size);
    if (peer_hello_take(hello, &input, now_ms(greeting)) == PEER_HELLO_ASKS) {
        ask(greeting);
    }
    if (hello->state == PEER_HELLO_DONE && input.size > 0) {
        memmove(greeting->rest, input.data, input.size);
        greeting->rest_size = input.size;
    }
    return flush(greeting);
}

/* Returns false where it is over now. */
static bool connected(struct peer_greeting *greeting)
{
    int error = 0;
    socklen_t size = sizeof error;
    uint8_t nonce[PEER_NONCE_BYTES];

    if (getsockopt(greeting->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        error = errno;
    }
    if (error == 0 && getrandom(nonce, sizeof nonce, 0) != sizeof nonce) {
        error = EIO;
    }
    if (error != 0) {
        end_unconnected(greeting, -error);
        return false;
    }
    greeting->connecting = false;
    uv_timer_start(&greeting->timer, on_timer, PEER_GREETING_MS, 0);
    peer_hello_dial(&greeting->hello, greeting->options.self, greeting->options.wish, nonce,
                    now_ms(greeting));
    return flush(greeting);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct peer_greeting *greeting = poll->data;
    bool goes_on = true;

    if (greeting->connecting) {
        goes_on = connected(greeting);
    } else if (greeting->hello.state == PEER_HELLO_MORE &&
               (status < 0 || (events & UV_READABLE) != 0)) {
        goes_on = take(greeting);
    } else if (status < 0) {
        peer_greeting_fail(greeting, PEER_REFUSED_CLOSED);
        goes_on = false;
    } else {
        goes_on = flush(greeting);
    }
    if (goes_on) {
        watch(greeting);
    }
}

int peer_greeting_begin(const struct peer_greeting_options *options, int fd,
                        struct peer_greeting **greeting)
{
    size_t wish_size = options->wish == NULL ? 0 : sizeof *options->wish;
    uint8_t nonce[PEER_NONCE_BYTES];
    struct peer_greeting *made = calloc(1, sizeof *made + wish_size);

    if (made == NULL) {
        return -ENOMEM;
    }
    int rc = getrandom(nonce, sizeof nonce, 0) == sizeof nonce ? 0 : -EIO;
    if (rc == 0) {
        rc = uv_poll_init(options->loop, &made->poll, fd);
    }
    if (rc != 0) {
        free(made);
        return rc;
    }
    uv_timer_init(options->loop, &made->timer);
    made->options = *options;
    made->fd = fd;
    made->handles = 2;
    made->poll.data = made->timer.data = made;
    if (options->wish != NULL) {
        made->connecting = true;
        made->options.wish = memcpy(made + 1, options->wish, wish_size);
    } else {
        peer_hello_accept(&made->hello, options->self, nonce);
    }
    uv_timer_start(&made->timer, on_timer, made->connecting ? PEER_CONNECT_MS : PEER_GREETING_MS,
                   0);
    watch(made);
    *greeting = made;
    return 0;
}
