#include "node_joiners.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"
#include "join.h"
#include "map_page.h"
#include "node_private.h"
#include "peers.h"

enum {
    SEED_AGAIN_MS = 20,    /* While Raft's members change nobody can be given a beginning. */
    SEED_TRIES_MAX = 1500, /* Half a minute. */
    TEXT_BYTES = MAP_TEXT_BYTES_MAX + 1,
};

/* One that asked. */
struct joiner {
    struct joiners *home;
    uint64_t id;     /* Of the peers; 0: this place is free. */
    bool proposed;   /* The cluster decides. */
    uint32_t number; /* Its own, once it is a member: it gets its beginning. */
    uint32_t tries;
    struct map_command add;
};

struct joiners {
    struct node *node;
    uv_timer_t timer; /* Runs while somebody waits for a beginning. */
    struct joiner all[PEERS_JOINERS_MAX];
};

/* ---- Answers ---- */

static void answer(struct joiner *joiner, const struct joined *joined)
{
    struct node *node = joiner->home->node;
    struct buffer body = {.memory = heap_memory()};

    if (joined_encode(joined, &body) == 0) {
        const struct bytes part = buffer_bytes(&body);
        (void)peers_join_answer(node->peers, joiner->id, JOINED_FRAME, 0, &part, 1);
    } /* Else it asks again when its time is over. */
    buffer_fini(&body);
    joiner->id = 0;
}

static void refuse(struct joiner *joiner, enum join_answer how, const char *text)
{
    struct joined joined = {.answer = how};
    size_t size = strlen(text);

    joined.text.size = (uint8_t)(size < MAP_TEXT_BYTES_MAX ? size : MAP_TEXT_BYTES_MAX);
    memcpy(joined.text.bytes, text, joined.text.size);
    logger_write(joiner->home->node->world.logger, LOG_LEVEL_WARN, "join-refused",
                 LOG_BYTES("name", map_text_bytes(&joiner->add.name)), LOG_TEXT("cause", text));
    answer(joiner, &joined);
}

static void on_timer(uv_timer_t *timer);

static void wait_for_beginning(struct joiner *joiner)
{
    uv_timer_t *timer = &joiner->home->timer;

    if (!uv_is_active((uv_handle_t *)timer)) {
        uv_timer_start(timer, on_timer, 0, 0);
    }
}

/* Returns false: not yet. */
static bool give_beginning(struct joiner *joiner)
{
    struct node *node = joiner->home->node;
    struct buffer beginning = {.memory = heap_memory()};
    int rc = cluster_seed(cluster_host_cluster(node->cluster), joiner->number, &beginning);

    if (rc == -EAGAIN && ++joiner->tries < SEED_TRIES_MAX) {
        return false;
    }
    if (rc != 0) {
        refuse(joiner, JOIN_LATER, "the cluster changes just now; try again");
    } else {
        const struct joined joined = {
            .answer = JOIN_TAKEN,
            .number = joiner->number,
            .seed = node->directory.meta.seed,
            .beginning = buffer_bytes(&beginning),
        };
        logger_write(node->world.logger, LOG_LEVEL_INFO, "joined",
                     LOG_NUMBER("number", joiner->number),
                     LOG_BYTES("name", map_text_bytes(&joiner->add.name)));
        answer(joiner, &joined);
    }
    buffer_fini(&beginning);
    return true;
}

static void on_timer(uv_timer_t *timer)
{
    struct joiners *joiners = timer->data;
    bool more = false;

    for (int i = 0; i < PEERS_JOINERS_MAX; i++) {
        struct joiner *joiner = &joiners->all[i];
        if (joiner->id != 0 && joiner->number != 0 && !give_beginning(joiner)) {
            more = true;
        }
    }
    if (more) {
        uv_timer_start(timer, on_timer, SEED_AGAIN_MS, 0);
    }
}

/* ---- Asking the cluster ---- */

static void refuse_name(struct joiner *joiner, const struct map *map)
{
    const struct map_member *member = map_member_named(map, map_text_bytes(&joiner->add.name));
    char text[TEXT_BYTES];

    snprintf(text, sizeof text,
             "there is a node of that name (number %u, %s): choose another "
             "node.name, or remove that "
             "one first (belayctl node remove)",
             member != NULL ? member->number : 0,
             member != NULL ? map_page_state(member->state) : "?");
    refuse(joiner, JOIN_REFUSED, text);
}

static void on_decided(void *context, const struct cluster_outcome *outcome)
{
    struct joiner *joiner = context;

    joiner->proposed = false;
    if (outcome->rc == -ECANCELED) {
        joiner->id = 0; /* This node ends. */
        return;
    }
    const struct map_member *member =
        outcome->map == NULL ? NULL : join_member(outcome->map, &joiner->add);
    if (member != NULL) {
        joiner->number = member->number;
        wait_for_beginning(joiner);
    } else if (outcome->rc == -EEXIST) {
        refuse_name(joiner, outcome->map);
    } else {
        refuse(joiner, outcome->rc == -ETIMEDOUT ? JOIN_LATER : JOIN_REFUSED, outcome->text);
    }
}

static void ask(struct joiner *joiner)
{
    struct cluster_host *host = joiner->home->node->cluster;
    const struct map *map = cluster_map(cluster_host_cluster(host));
    const struct map_member *member = join_member(map, &joiner->add);

    if (member != NULL) { /* Its first answer was lost. */
        joiner->number = member->number;
        wait_for_beginning(joiner);
        return;
    }
    int rc = cluster_propose(cluster_host_cluster(host), cluster_host_now_ms(host), &joiner->add,
                             on_decided, joiner);
    joiner->proposed = rc == 0;
    if (rc != 0) {
        refuse(joiner, JOIN_LATER, strerror(-rc));
    }
}

/* ---- Frames ---- */

/* One whose connection is gone keeps its place until the cluster has decided.
 */
static struct joiner *free_place(struct joiners *joiners)
{
    for (int i = 0; i < PEERS_JOINERS_MAX; i++) {
        if (joiners->all[i].id == 0 && !joiners->all[i].proposed) {
            return &joiners->all[i];
        }
    }
    return NULL;
}

void joiners_take(struct joiners *joiners, uint64_t id, const struct peer_frame *frame)
{
    struct joiner *joiner = free_place(joiners);
    struct joiner beside = {.home = joiners, .id = id};

    if (joiner == NULL) {
        refuse(&beside, JOIN_LATER, "too many nodes join at the same time");
        return;
    }
    *joiner = beside;
    int rc = frame->kind == JOIN_FRAME ? join_decode(frame->body, &joiner->add) : -EBADMSG;
    if (rc != 0) {
        joiner->add.name.size = 0;
        refuse(joiner, JOIN_REFUSED,
               rc == -EPROTONOSUPPORT ? "another release of Belay, whose way of "
                                        "joining this one does not know"
                                      : "what it asks for cannot be read");
        return;
    }
    ask(joiner);
}

/* ---- Life ---- */

int joiners_create(struct node *node, struct joiners **joiners)
{
    struct joiners *made = calloc(1, sizeof *made);

    if (made == NULL) {
        return -ENOMEM;
    }
    made->node = node;
    uv_timer_init(control_loop(node->world.control), &made->timer); /* Cannot fail. */
    made->timer.data = made;
    *joiners = made;
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void joiners_destroy(struct joiners *joiners)
{
    if (joiners != NULL) {
        uv_close((uv_handle_t *)&joiners->timer, on_closed);
    }
}
