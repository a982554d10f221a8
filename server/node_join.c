#include "node_join.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "heap.h"
#include "join.h"
#include "join_client.h"
#include "node_private.h"

/* One time of asking. */
struct asking {
    struct node *node;
    struct directory_identity *identity;
    char *message;
    size_t message_size;
    bool done, later;
    int rc;
};

static int take(struct asking *asking, const struct joined *joined)
{
    struct directory_identity *identity = asking->identity;
    const struct join_token *token = asking->node->world.token;

    memcpy(identity->cluster, token->cluster, CLUSTER_ID_BYTES);
    memcpy(identity->secret, token->secret, CLUSTER_SECRET_BYTES);
    identity->seed = joined->seed;
    identity->node = joined->number;
    identity->beginning = (struct buffer){.memory = heap_memory()};
    int rc = buffer_append(&identity->beginning, joined->beginning);
    if (rc != 0) {
        snprintf(asking->message, asking->message_size, "cannot join: %s", strerror(-rc));
    }
    return rc;
}

static int judge(struct asking *asking, const struct peer_frame *answer)
{
    struct joined joined;
    int rc = answer->kind == JOINED_FRAME ? joined_decode(answer->body, &joined) : -EBADMSG;

    if (rc != 0) {
        snprintf(asking->message, asking->message_size,
                 "cannot join: the answer of the cluster: %s",
                 rc == -EPROTONOSUPPORT ? "it is of another release of Belay" : strerror(-rc));
        return rc;
    }
    if (joined.answer == JOIN_TAKEN) {
        return take(asking, &joined);
    }
    asking->later = joined.answer == JOIN_LATER;
    snprintf(asking->message, asking->message_size, "the cluster does not let this node in: %.*s",
             (int)joined.text.size, joined.text.bytes);
    return -EACCES;
}

static void on_done(void *context, int rc, const struct peer_frame *answer, const char *text)
{
    struct asking *asking = context;

    asking->done = true;
    if (rc != 0) {
        asking->rc = rc;
        asking->later = rc == -EPIPE || rc == -ETIMEDOUT;
        snprintf(asking->message, asking->message_size, "cannot join: %s", text);
    } else {
        asking->rc = judge(asking, answer);
    }
    uv_stop(control_loop(asking->node->world.control));
}

static int ask(struct asking *asking, struct bytes body)
{
    struct node *node = asking->node;
    uv_loop_t *loop = control_loop(node->world.control);
    struct join_client *client;
    const struct join_client_options options = {
        .loop = loop,
        .token = node->world.token,
        .shards = node->shard_count,
        .clock_skew_max_ms = (uint32_t)node->world.config->cluster_max_clock_skew,
        .now_ms = wall_clock_read,
        .clock = node->world.clock,
        .body = body,
        .done = on_done,
        .context = asking,
    };

    asking->done = asking->later = false;
    int rc = join_client_start(&options, &client);
    if (rc != 0) {
        snprintf(asking->message, asking->message_size, "cannot join: %s", strerror(-rc));
        return rc;
    }
    uv_run(loop, UV_RUN_DEFAULT); /* Until on_done(), or a signal that ends the process. */
    if (!asking->done) {
        join_client_cancel(client);
        snprintf(asking->message, asking->message_size, "interrupted while joining");
        return -EINTR;
    }
    return asking->rc;
}

static int encode(const struct node *node, struct buffer *body)
{
    const struct config *config = node->world.config;
    struct map_command add = {
        .type = MAP_ADD,
        .weight = config->weight,
        .name = node_text(config->node_name),
        .zone = node_text(config->node_zone),
        .region = node_text(config->node_region),
    };

    node_place(config, node->shard_count, &add.place);
    return join_encode(&add, body);
}

int node_join_enter(void *context, struct directory_identity *identity, char *message,
                    size_t message_size)
{
    const struct timespec pause = {.tv_nsec = NODE_JOIN_AGAIN_MS * 1000000L};
    struct node *node = context;
    struct buffer body = {.memory = heap_memory()};
    struct asking asking = {node, identity, message, message_size, .rc = 0};
    int rc = encode(node, &body);

    if (rc == 0) {
        logger_write(node->world.logger, LOG_LEVEL_INFO, "joining",
                     LOG_TEXT("member", node->world.token->addresses[0]));
        rc = ask(&asking, buffer_bytes(&body));
    }
    for (int i = 1; i < NODE_JOIN_TRIES && rc != 0 && asking.later; i++) {
        nanosleep(&pause, NULL);
        rc = ask(&asking, buffer_bytes(&body));
    }
    buffer_fini(&body);
    return rc;
}

/* ---- The token ---- */

static int read_file(const char *path, char *text, size_t text_size, size_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return -errno;
    }
    ssize_t got = read(fd, text, text_size);
    int rc = got < 0 ? -errno : 0;
    close(fd);
    *size = got < 0 ? 0 : (size_t)got;
    return rc;
}

int node_join_token(const char *text, struct join_token *token, char *message, size_t message_size)
{
    char content[JOIN_TOKEN_BYTES_MAX + 64]; /* White space around it. */
    size_t size = strlen(text);

    if (text[0] == '@') {
        int rc = read_file(text + 1, content, sizeof content, &size);
        if (rc != 0) {
            snprintf(message, message_size, "--join: %s: %s", text + 1, strerror(-rc));
            return rc;
        }
        text = content;
    }
    const char *wrong = join_token_read(bytes_of(text, size), token);
    if (wrong != NULL) {
        bool file = text != content && access(text, R_OK) == 0;
        snprintf(message, message_size, "--join: %s%s", wrong,
                 file ? "; there is a file of that name: @FILE reads it from there" : "");
        return -EINVAL;
    }
    return 0;
}
