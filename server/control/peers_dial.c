/* Whom to dial, and when: one control line to each member, and while that one is there a data line for each pair of
 * shards that meet. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "peers_private.h"

static uint64_t now_ms(const struct peers *peers)
{
    return uv_now(peers->options.loop);
}

void peers_kick(struct peers *peers)
{
    uv_timer_start(&peers->timer, peers_on_timer, 0, 0);
}

/* ---- Lines ---- */

static bool is_wanted(const struct peers_line *line)
{
    const struct peers_node *node = line->node;

    return node->member.port != 0 &&
           (line->control ? true : node->told_up && node->peers->options.data_link != NULL);
}

/* A dial came to nothing, or what it made is gone: the next one, after a while that is another one for each node. */
void peers_line_again(struct peers_line *line)
{
    struct peers *peers = line->node->peers;
    uint32_t random = 0, half = line->retry_ms / 2;

    (void)!getrandom(&random, sizeof random, GRND_NONBLOCK);
    line->state = LINE_IDLE;
    line->dial = NULL;
    line->next_ms = now_ms(peers) + line->retry_ms - random % (half + 1);
    line->retry_ms =
        2 * line->retry_ms < PEERS_RETRY_MS_MAX ? 2 * line->retry_ms : PEERS_RETRY_MS_MAX;
    peers_kick(peers);
}

static void line_hurry(struct peers_line *line)
{
    line->next_ms = 0;
    line->retry_ms = PEERS_RETRY_MS;
}

void peers_node_is_there(struct peers_node *node)
{
    line_hurry(&node->control);
    for (uint32_t i = 0; i < node->data_count; i++) {
        line_hurry(&node->data[i]);
    }
    peers_kick(node->peers);
}

static void end_line(struct peers_line *line)
{
    if (line->state == LINE_DIALLING) {
        peer_dial_cancel(line->dial);
        line->node->peers->figures.dials--;
    }
    line->state = LINE_IDLE;
    line->dial = NULL;
}

void peers_node_end_lines(struct peers_node *node)
{
    end_line(&node->control);
    for (uint32_t i = 0; i < node->data_count; i++) {
        end_line(&node->data[i]);
    }
    free(node->data);
    node->data = NULL;
    node->data_count = 0;
}

void peers_node_has_moved(struct peers_node *node)
{
    if (node->control.state == LINE_DIALLING) {
        end_line(&node->control);
    }
    for (uint32_t i = 0; i < node->data_count; i++) {
        if (node->data[i].state == LINE_DIALLING) {
            end_line(&node->data[i]);
        }
    }
    peers_node_is_there(node);
}

static struct peers_line *find_data_line(const struct peers_node *node, uint32_t local,
                                         uint32_t shard)
{
    for (uint32_t i = 0; i < node->data_count; i++) {
        if (node->data[i].local == local && node->data[i].shard == shard) {
            return &node->data[i];
        }
    }
    return NULL;
}

void peers_set_shards(struct peers_node *node, uint32_t shards)
{
    uint32_t here = node->peers->self.shards, count = 0;

    if (node->shards == shards) {
        return;
    }
    for (uint32_t i = 0; i < here * shards; i++) {
        count += peer_shards_meet(i / shards, here, i % shards, shards);
    }
    struct peers_line *data = calloc(count, sizeof *data);
    if (data == NULL) {
        return; /* The next handshake says it again. */
    }
    count = 0;
    for (uint32_t i = 0; i < here * shards; i++) {
        uint32_t local = i / shards, shard = i % shards;
        if (peer_shards_meet(local, here, shard, shards)) {
            const struct peers_line *old = find_data_line(node, local, shard);
            data[count++] = (struct peers_line){
                .node = node,
                .local = local,
                .shard = shard,
                /* (It is still to be lost, whoever's shard that was.) */
                .state = old != NULL && old->state == LINE_UP ? LINE_UP : LINE_IDLE,
                .retry_ms = PEERS_RETRY_MS,
            };
        }
    }
    for (uint32_t i = 0; i < node->data_count; i++) {
        end_line(&node->data[i]);
    }
    free(node->data);
    node->data = data;
    node->data_count = count;
    node->shards = shards;
    peers_kick(node->peers);
}

/* ---- One dial ---- */

/* Say what is wrong with it, once. */
static void report(struct peers_node *node, const struct peer_greeting_result *result)
{
    int said = result->rc != 0 ? result->rc : (int)result->refusal;

    if (node->said == said) {
        return;
    }
    node->said = said;
    logger_write(
        node->peers->options.logger, result->rc != 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARN,
        result->rc != 0 ? "peer-unreachable" : "peer-handshake-failed",
        LOG_NUMBER("node", node->member.node), LOG_TEXT("host", node->member.host),
        LOG_NUMBER("port", node->member.port),
        LOG_TEXT("by", result->refused_there ? "it" : "this node"),
        LOG_TEXT("reason", result->rc != 0 ? "connection" : peer_refusal_word(result->refusal)),
        LOG_TEXT("cause", result->text));
}

/* Room for one more line that may be lost. Returns whether there is. */
static bool reserve_lost(struct peers *peers)
{
    uint32_t up = 1;

    for (uint32_t i = 0; i < peers->node_count; i++) {
        for (uint32_t line = 0; line < peers->nodes[i]->data_count; line++) {
            up += peers->nodes[i]->data[line].state == LINE_UP;
        }
    }
    pthread_mutex_lock(&peers->mutex);
    bool room = up <= peers->lost_capacity;
    if (!room) {
        struct peers_lost *lost = realloc(peers->lost, 2 * (size_t)up * sizeof *lost);
        if (lost != NULL) {
            peers->lost = lost;
            peers->lost_capacity = 2 * up;
            room = true;
        }
    }
    pthread_mutex_unlock(&peers->mutex);
    return room;
}

static void give_data_link(struct peers_line *line, const struct peer_greeting_result *result)
{
    struct peers *peers = line->node->peers;

    if (result->opening.from.start < line->node->member.start || !reserve_lost(peers)) {
        close(result->fd);
        peers_line_again(line);
        return;
    }
    line->state = LINE_UP;
    line->dial = NULL;
    line->retry_ms = PEERS_RETRY_MS;
    peers->options.data_link(peers->options.context, &(struct peers_data_link){
                                                         .fd = result->fd,
                                                         .dialled = true,
                                                         .local = line->local,
                                                         .node = line->node->member.node,
                                                         .start = result->opening.from.start,
                                                         .shard = line->shard,
                                                         .shards = result->opening.shards,
                                                         .rest = result->rest,
                                                     });
}

/* Nobody is there. That says nothing of his clock, until it lasts; and while another one that is there does not talk to this
 * node either, it is not to be taken for alone. */
static bool may_be_apart(const struct peers_node *node)
{
    const struct peers *peers = node->peers;
    const uint32_t asked_ms = peers->options.apart_ms;

    if (now_ms(peers) - node->apart_ms < (asked_ms == 0 ? PEERS_APART_MS : asked_ms)) {
        return true;
    }
    for (uint32_t i = 0; i < peers->node_count; i++) {
        if (peers->nodes[i] != node && peers->nodes[i]->refuses) {
            return true;
        }
    }
    return false;
}

static void note_clock(struct peers_node *node, const struct peer_greeting_result *result)
{
    const struct peers_options *options = &node->peers->options;
    bool apart = result->fd < 0 && result->rc == 0 && result->refusal == PEER_REFUSED_CLOCK;

    node->refuses = apart;
    if (apart) {
        node->apart_ms = now_ms(node->peers);
    }
    if (apart != node->apart && (apart || result->fd >= 0 || !may_be_apart(node))) {
        node->apart = apart;
        if (options->clock_apart != NULL) {
            options->clock_apart(options->context, node->member.node, apart);
        }
    }
}

static void on_dialled(void *context, const struct peer_greeting_result *result)
{
    struct peers_line *line = context;
    struct peers_node *node = line->node;
    struct peers *peers = node->peers;

    peers->figures.dials--;
    if (result->rc != 0) {
        peers->figures.dials_failed++;
    } else {
        peers->figures.handshakes[result->refusal]++;
    }
    note_clock(node, result);
    if (result->fd < 0) {
        report(node, result);
        peers_line_again(line);
        if (result->refused_there && result->refusal == PEER_REFUSED_REMOVED &&
            peers->options.removed != NULL) {
            peers->options.removed(peers->options.context, node->member.node);
        }
        if (result->refused_there && result->refusal == PEER_REFUSED_START &&
            peers->options.outlived != NULL) {
            peers->options.outlived(peers->options.context, node->member.node);
        }
        return;
    }
    if (line->control) {
        node->said = 0;
        line->state = LINE_UP;
        line->dial = NULL;
        line->retry_ms = PEERS_RETRY_MS;
        peers_link_open(peers, result, true);
    } else {
        give_data_link(line, result);
    }
    peers_kick(peers);
}

static void dial(struct peers_line *line)
{
    struct peers_node *node = line->node;
    struct peers *peers = node->peers;
    const struct peer_dial_options options = {
        .loop = peers->options.loop,
        .host = node->member.host,
        .port = node->member.port,
        .silent_ms = PEERS_SILENT_MS,
        .self = &peers->self,
        .wish =
            {
                .node = node->member.node,
                .start = node->member.start,
                .role = line->control ? PEER_ROLE_CONTROL : PEER_ROLE_DATA,
                .shard = line->local,
                .to_shard = line->shard,
                .to_shards = line->control ? 0 : node->shards,
            },
        .now_ms = peers->options.now_ms,
        .clock = peers->options.clock,
        .done = on_dialled,
        .context = line,
    };
    int rc = peer_dial_begin(&options, &line->dial);

    if (rc != 0) {
        peers->figures.dials_failed++;
        report(node, &(struct peer_greeting_result){.rc = rc, .text = strerror(-rc)});
        peers_line_again(line);
        return;
    }
    line->state = LINE_DIALLING;
    peers->figures.dials++;
}

/* ---- All of them ---- */

/* Dial it if it is time. Returns when it will be. */
static uint64_t look_at_line(struct peers_line *line, uint64_t now)
{
    struct peers *peers = line->node->peers;

    if (line->state != LINE_IDLE || !is_wanted(line)) {
        return UINT64_MAX;
    }
    if (line->next_ms > now) {
        return line->next_ms;
    }
    if (peers->figures.dials >= PEERS_DIALS_MAX) {
        return UINT64_MAX; /* Whoever ends makes this one looked at again. */
    }
    dial(line);
    return line->state == LINE_IDLE ? line->next_ms : UINT64_MAX;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void peers_on_timer(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    uint64_t now = now_ms(peers), next = peers_joiners_look(peers, now);

    /* Control links first: without them nothing else is of use. */
    for (uint32_t i = 0; i < peers->node_count; i++) {
        next = earlier(next, look_at_line(&peers->nodes[i]->control, now));
    }
    for (uint32_t i = 0; i < peers->node_count; i++) {
        struct peers_node *node = peers->nodes[i];
        for (uint32_t line = 0; line < node->data_count; line++) {
            next = earlier(next, look_at_line(&node->data[line], now));
        }
    }
    if (next != UINT64_MAX) {
        uv_timer_start(&peers->timer, peers_on_timer, next > now ? next - now : 0, 0);
    } else {
        uv_timer_stop(&peers->timer);
    }
}

/* ---- Data links that are gone ---- */

void peers_link_lost(struct peers *peers, uint32_t local, uint32_t node, uint32_t shard)
{
    pthread_mutex_lock(&peers->mutex);
    if (peers->lost_count < peers->lost_capacity) { /* Else it is none of those that were given. */
        peers->lost[peers->lost_count++] =
            (struct peers_lost){.local = local, .node = node, .shard = shard};
    }
    pthread_mutex_unlock(&peers->mutex);
    uv_async_send(&peers->wake);
}

static bool take_lost(struct peers *peers, struct peers_lost *lost)
{
    pthread_mutex_lock(&peers->mutex);
    bool taken = peers->lost_count > 0;
    if (taken) {
        *lost = peers->lost[--peers->lost_count];
    }
    pthread_mutex_unlock(&peers->mutex);
    return taken;
}

void peers_on_wake(uv_async_t *wake)
{
    struct peers *peers = wake->data;
    struct peers_lost lost;

    while (take_lost(peers, &lost)) {
        struct peers_node *node = peers_node(peers, lost.node);
        struct peers_line *line =
            node == NULL ? NULL : find_data_line(node, lost.local, lost.shard);
        if (line != NULL && line->state == LINE_UP) {
            peers_line_again(line);
        }
    }
}
