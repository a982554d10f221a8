#include "s3.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "heap.h"
#include "s3_list.h"
#include "s3_state.h"

enum {
    PARALLEL = 8,
    TRY_MS = 10 * 1000,
    CALL_MS = 60 * 1000,
    PART_BYTES = 16 * 1024 * 1024,
    TIMERS = 2,
};

static struct s3 *s3_of(struct object_store *port)
{
    return (struct s3 *)(void *)port; /* Its first member. */
}

static uint64_t system_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Xorshift (Marsaglia 2003): for pauses only. */
static uint64_t random_below(struct s3 *s3, uint64_t bound)
{
    s3->random ^= s3->random << 13;
    s3->random ^= s3->random >> 7;
    s3->random ^= s3->random << 17;
    return bound == 0 ? 0 : s3->random % bound;
}

/* ---- The end of a call ---- */

static void free_call(struct s3_call *call)
{
    s3_step_clear(call);
    buffer_fini(&call->body);
    buffer_fini(&call->request);
    free(call->tags);
    s3_uploads_fini(&call->uploads);
    object_list_fini(&call->aborted);
    free(call);
}

static void take_out(struct s3 *s3, struct s3_call *call)
{
    struct s3_call **link = &s3->calls;

    while (*link != call) {
        link = &(*link)->next;
    }
    *link = call->next;
    if (call->next == NULL) {
        s3->last = link;
    }
}

static void answer(struct s3 *s3, struct s3_call *call)
{
    struct object_answer told = {.rc = call->rc, .text = call->text};
    struct object_list list = {0};
    enum object_op op = call->call.op;

    if (call->rc == 0 && op == OBJECT_GET) {
        told.body = buffer_bytes(&call->body);
        told.whole = &call->body;
        told.size = call->size;
        s3->stats.bytes_got += told.body.size;
    } else if (call->rc == 0 && op == OBJECT_PUT) {
        s3->stats.bytes_put += call->call.body.size;
    } else if (call->rc == 0 && op == OBJECT_LIST) {
        told.rc = s3_list_read(&list, buffer_bytes(&call->body), s3->target.prefix);
        told.text = told.rc == 0 ? "" : "the server's list cannot be read";
        object_list_answer(&list, &told);
    } else if (op == OBJECT_TIDY) {
        object_list_answer(&call->aborted, &told);
    }
    s3->stats.calls[op]++;
    s3->stats.failures[op] += told.rc != 0 && !(op == OBJECT_GET && told.rc == -ENOENT);
    call->call.done(call->call.context, &told);
    object_list_fini(&list);
}

static void end_call(struct s3 *s3, struct s3_call *call)
{
    take_out(s3, call);
    answer(s3, call);
    free_call(call);
}

/* ---- Requests ---- */

static void pump(struct s3 *s3);

static uint64_t pause_ms(struct s3 *s3, uint32_t tries)
{
    uint64_t most = S3_BACKOFF_MAX_MS;

    if (tries < 8 && (uint64_t)S3_BACKOFF_MIN_MS << tries < most) {
        most = (uint64_t)S3_BACKOFF_MIN_MS << tries;
    }
    return most - random_below(s3, most / 2);
}

/* A call that failed may have begun an upload, which would take room for ever. */
static bool has_to_abort(const struct s3_call *call)
{
    return call->rc != 0 && call->upload_id[0] != '\0' && call->step != S3_STEP_ABORT_PARTS;
}

/* Returns whether the call goes on. */
static bool settle(struct s3 *s3, struct s3_call *call, enum s3_verdict verdict)
{
    uint64_t now_ms = uv_now(s3->options.loop);

    if (verdict == S3_AGAIN) {
        call->due_ms = now_ms + pause_ms(s3, call->tries++);
        if (call->due_ms < call->until_ms) {
            s3->stats.tries_again++;
            return true;
        }
        call->rc = -ETIMEDOUT;
        verdict = S3_DONE;
    }
    if (verdict == S3_DONE && has_to_abort(call)) {
        call->step = S3_STEP_ABORT_PARTS;
        call->until_ms = now_ms + s3->options.try_ms;
        verdict = S3_NEXT;
    }
    if (verdict == S3_NEXT) {
        call->due_ms = now_ms;
        return true;
    }
    end_call(s3, call);
    return false;
}

static void start(struct s3 *s3, struct s3_call *call)
{
    int rc = s3_step_begin(call);

    if (rc == 0 && curl_multi_add_handle(s3->multi, call->easy) == CURLM_OK) {
        call->under_way = true;
        s3->under_way++;
        s3->stats.tries++;
        return;
    }
    s3_step_clear(call);
    if (call->step != S3_STEP_ABORT_PARTS) {
        call->rc = rc == 0 ? -ENOMEM : rc;
        snprintf(call->text, sizeof call->text, "%s", strerror(-call->rc));
    }
    (void)settle(s3, call, S3_DONE);
}

static void stop(struct s3 *s3, struct s3_call *call)
{
    if (call->under_way) {
        curl_multi_remove_handle(s3->multi, call->easy);
        call->under_way = false;
        s3->under_way--;
    }
    s3_step_clear(call);
}

static void set_timer(struct s3 *s3);

/* Begin what is due, end what is too late. */
static void pump(struct s3 *s3)
{
    uint64_t now_ms = uv_now(s3->options.loop);
    struct s3_call *next;

    for (struct s3_call *call = s3->calls; call != NULL && !s3->gone; call = next) {
        next = call->next;
        if (now_ms >= call->until_ms) {
            stop(s3, call);
            if (call->step != S3_STEP_ABORT_PARTS) {
                call->rc = -ETIMEDOUT;
                if (call->text[0] == '\0') {
                    snprintf(call->text, sizeof call->text, "no answer in time");
                }
            }
            (void)settle(s3, call, S3_DONE);
        } else if (!call->under_way && now_ms >= call->due_ms &&
                   s3->under_way < s3->options.parallel) {
            start(s3, call);
        }
    }
    set_timer(s3);
}

static void on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

/* For the next that is due, or too late. */
static void set_timer(struct s3 *s3)
{
    uint64_t due_ms = UINT64_MAX, now_ms = uv_now(s3->options.loop);

    if (s3->gone) {
        return;
    }
    for (const struct s3_call *call = s3->calls; call != NULL; call = call->next) {
        uint64_t due = call->under_way || call->due_ms <= now_ms ? call->until_ms : call->due_ms;
        due_ms = due < due_ms ? due : due_ms;
    }
    if (due_ms == UINT64_MAX) {
        uv_timer_stop(&s3->timer);
    } else {
        uv_timer_start(&s3->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0, 0);
    }
}

/* ---- libcurl on the loop ---- */

struct socket_poll {
    uv_poll_t poll;
    struct s3 *s3;
    curl_socket_t fd;
};

static void let_go(struct s3 *s3)
{
    if (--s3->handles == 0) {
        free(s3);
    }
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct socket_poll *poll = handle->data;
    struct s3 *s3 = poll->s3;

    free(poll);
    let_go(s3);
}

/* Requests that have ended. */
static void reap(struct s3 *s3)
{
    CURLMsg *message;
    int left;

    while (!s3->gone && (message = curl_multi_info_read(s3->multi, &left)) != NULL) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode code = message->data.result;
        struct s3_call *call;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        enum s3_verdict verdict = s3_step_end(call, code);
        stop(s3, call);
        (void)settle(s3, call, verdict);
    }
}

static void act(struct s3 *s3, curl_socket_t fd, int events)
{
    int running;

    s3->handles++; /* It may be destroyed from within. */
    curl_multi_socket_action(s3->multi, fd, events, &running);
    reap(s3);
    if (!s3->gone) {
        pump(s3);
    }
    let_go(s3);
}

static void on_ready(uv_poll_t *handle, int status, int events)
{
    struct socket_poll *poll = handle->data;
    int what = 0;

    if (status < 0) {
        what = CURL_CSELECT_ERR;
    } else {
        what |= (events & UV_READABLE) != 0 ? CURL_CSELECT_IN : 0;
        what |= (events & UV_WRITABLE) != 0 ? CURL_CSELECT_OUT : 0;
    }
    act(poll->s3, poll->fd, what);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *of_socket)
{
    struct s3 *s3 = context;
    struct socket_poll *poll = of_socket;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (poll != NULL) {
            uv_close((uv_handle_t *)&poll->poll, on_poll_closed);
            curl_multi_assign(s3->multi, fd, NULL);
        }
        return 0;
    }
    if (poll == NULL) {
        poll = calloc(1, sizeof *poll);
        if (poll == NULL || uv_poll_init_socket(s3->options.loop, &poll->poll, fd) != 0) {
            free(poll);
            return -1;
        }
        poll->s3 = s3;
        poll->fd = fd;
        poll->poll.data = poll;
        s3->handles++;
        curl_multi_assign(s3->multi, fd, poll);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&poll->poll, events, on_ready) == 0 ? 0 : -1;
}

static void on_multi_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_timeout(CURLM *multi, long ms, void *context)
{
    struct s3 *s3 = context;

    (void)multi;
    if (s3->gone) {
        return 0;
    }
    if (ms < 0) {
        return uv_timer_stop(&s3->multi_timer);
    }
    return uv_timer_start(&s3->multi_timer, on_multi_timer, (uint64_t)ms, 0);
}

/* ---- The port ---- */

static bool is_name(const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < size; i++) {
        if (name[i] < ' ' || name[i] > '~') {
            return false;
        }
    }
    return size <= OBJECT_NAME_BYTES_MAX;
}

static bool has_one_object(enum object_op op)
{
    return op != OBJECT_LIST && op != OBJECT_TIDY;
}

static enum s3_step first_step(const struct s3 *s3, const struct object_call *call)
{
    switch (call->op) {
    case OBJECT_GET:
        return S3_STEP_GET;
    case OBJECT_LIST:
        return S3_STEP_LIST;
    case OBJECT_REMOVE:
        return S3_STEP_REMOVE;
    case OBJECT_TIDY:
        return S3_STEP_LIST_UPLOADS;
    case OBJECT_PUT:
        break;
    }
    if (call->only_new) {
        return s3->no_condition ? S3_STEP_LOOK : S3_STEP_PUT;
    }
    return call->body.size > s3->options.part_bytes ? S3_STEP_BEGIN_PARTS : S3_STEP_PUT;
}

static int port_begin(struct object_store *port, const struct object_call *given)
{
    struct s3 *s3 = s3_of(port);
    uint64_t now_ms = uv_now(s3->options.loop);

    if (!is_name(given->name) || (has_one_object(given->op) && given->name[0] == '\0') ||
        (given->after != NULL && !is_name(given->after)) ||
        (given->op == OBJECT_PUT && given->body.size / S3_PARTS_MAX >= s3->options.part_bytes)) {
        return -EINVAL;
    }
    struct s3_call *call = calloc(1, sizeof *call);
    if (call == NULL) {
        return -ENOMEM;
    }
    call->s3 = s3;
    call->call = *given;
    call->step = first_step(s3, given);
    call->until_ms = now_ms + s3->options.call_ms;
    call->due_ms = now_ms;
    call->body.memory = call->request.memory = heap_memory();
    strcpy(call->name, given->name);
    if (given->hash != NULL) {
        snprintf(call->hash, sizeof call->hash, "%s", given->hash);
    }
    if (given->after != NULL) {
        strcpy(call->after, given->after);
    }
    *s3->last = call;
    s3->last = &call->next;
    /* Not from within: the timer begins it. */
    uv_timer_start(&s3->timer, on_timer, 0, 0);
    return 0;
}

static void port_stats(struct object_store *port, struct object_store_stats *stats)
{
    *stats = s3_of(port)->stats;
}

static void on_timer_closed(uv_handle_t *handle)
{
    let_go(handle->data);
}

static void port_destroy(struct object_store *port)
{
    struct s3 *s3 = s3_of(port);

    s3->gone = true;
    while (s3->calls != NULL) {
        struct s3_call *call = s3->calls;
        stop(s3, call);
        call->rc = -ECANCELED;
        snprintf(call->text, sizeof call->text, "the archive was closed");
        end_call(s3, call);
    }
    curl_multi_cleanup(s3->multi); /* Its sockets are closed, and on_socket() hears of it. */
    s3->multi = NULL;
    s3_target_fini(&s3->target);
    uv_close((uv_handle_t *)&s3->multi_timer, on_timer_closed);
    uv_close((uv_handle_t *)&s3->timer, on_timer_closed);
}

/* ---- Life ---- */

static void set_defaults(struct s3_options *options)
{
    options->parallel = options->parallel == 0 ? PARALLEL : options->parallel;
    options->parallel = options->parallel > S3_PARALLEL_MAX ? S3_PARALLEL_MAX : options->parallel;
    options->try_ms = options->try_ms == 0 ? TRY_MS : options->try_ms;
    options->call_ms = options->call_ms == 0 ? CALL_MS : options->call_ms;
    options->part_bytes = options->part_bytes == 0 ? PART_BYTES : options->part_bytes;
    if (options->part_bytes < S3_PART_BYTES_MIN) {
        options->part_bytes = S3_PART_BYTES_MIN;
    }
    options->now_ms = options->now_ms == NULL ? system_now_ms : options->now_ms;
}

/* Once for the process; libcurl counts. */
static bool begin_curl(struct s3 *s3)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return false;
    }
    s3->multi = curl_multi_init();
    if (s3->multi == NULL) {
        return false;
    }
    curl_multi_setopt(s3->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(s3->multi, CURLMOPT_SOCKETDATA, s3);
    curl_multi_setopt(s3->multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(s3->multi, CURLMOPT_TIMERDATA, s3);
    curl_multi_setopt(s3->multi, CURLMOPT_MAXCONNECTS, (long)s3->options.parallel);
    return true;
}

int s3_create(const struct s3_options *options, struct object_store **store, char *message,
              size_t message_size)
{
    struct s3 *s3 = calloc(1, sizeof *s3);

    if (s3 == NULL) {
        snprintf(message, message_size, "%s", strerror(ENOMEM));
        return -ENOMEM;
    }
    s3->port = (struct object_store){port_begin, port_stats, port_destroy, sigv4_hash};
    s3->options = *options;
    s3->last = &s3->calls;
    set_defaults(&s3->options);
    int rc = s3_target_init(&s3->target, options, message, message_size);
    if (rc != 0) {
        free(s3);
        return rc;
    }
    if (getrandom(&s3->random, sizeof s3->random, 0) != sizeof s3->random || s3->random == 0) {
        s3->random = 1;
    }
    if (!begin_curl(s3)) {
        s3_target_fini(&s3->target);
        free(s3);
        snprintf(message, message_size, "libcurl cannot be started");
        return -ENOMEM;
    }
    (void)uv_timer_init(s3->options.loop, &s3->multi_timer); /* These never fail. */
    (void)uv_timer_init(s3->options.loop, &s3->timer);
    s3->multi_timer.data = s3->timer.data = s3;
    s3->handles = TIMERS;
    *store = &s3->port;
    return 0;
}
