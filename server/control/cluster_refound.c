/* A cluster whose deciding nodes are lost for good, founded anew by one that is left: what it is to begin with. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster_private.h"

struct refounding {
    struct cluster *old; /* As it was left. */
    uint32_t lost[MAP_MEMBERS_MAX];
    uint32_t lost_count;
    char *message;
    size_t message_size;
};

/* ---- The old one: looked at, it does nothing ---- */

static bool send_nothing(void *context, uint32_t node, uint8_t kind, uint64_t number,
                         const struct bytes parts[], uint32_t count)
{
    (void)context;
    (void)node;
    (void)kind;
    (void)number;
    (void)parts;
    (void)count;
    return false;
}

static void tell_nobody(void *context, const struct map *map, bool kept)
{
    (void)context;
    (void)map;
    (void)kept;
}

static void keep_nothing(void *context, uint64_t index)
{
    (void)context;
    (void)index;
}

static void wake_never(void *context, uint32_t ms)
{
    (void)context;
    (void)ms;
}

static int store_vote(struct raft_store *store, uint64_t sequence, uint64_t term, uint32_t node)
{
    (void)store;
    (void)sequence;
    (void)term;
    (void)node;
    return 0;
}

static int store_entries(struct raft_store *store, uint64_t sequence,
                         const struct raft_entry entries[], uint32_t count)
{
    (void)store;
    (void)sequence;
    (void)entries;
    (void)count;
    return 0;
}

static int store_snapshot(struct raft_store *store, uint64_t sequence, uint64_t index,
                          uint64_t term, struct bytes snapshot, bool alone)
{
    (void)store;
    (void)sequence;
    (void)index;
    (void)term;
    (void)snapshot;
    (void)alone;
    return 0;
}

/* Does it take this node out? Nobody who is left says so. */
static bool ends_self(const struct refounding *work, struct bytes entry)
{
    struct cluster_proposer by;
    struct map_command command;

    return cluster_entry_read(entry, &by, &command) == 0 &&
           command.number == work->old->options.self.node &&
           (command.type == MAP_REMOVE || command.type == MAP_LOSE ||
            (command.type == MAP_STATE && command.state == MAP_LEFT));
}

static int open_old(struct refounding *work, const struct cluster_options *options)
{
    struct raft_store nowhere = {store_vote, store_entries, store_snapshot};
    struct cluster_options quiet = *options;

    quiet.store = &nowhere;
    quiet.port = (struct cluster_port){send_nothing, tell_nobody, keep_nothing, wake_never, NULL};
    int rc = cluster_create(&quiet, 0, &work->old, work->message, work->message_size);
    if (rc != 0) {
        return rc;
    }
    if (map_member(work->old->map, options->self.node)->state == MAP_LEFT) {
        snprintf(work->message, work->message_size,
                 "this node was drained, and holds no sessions: take one of the others");
        return -EPERM;
    }
    /* What is not known to be committed may have been, by those that are lost. */
    const struct raft_saved *saved = options->saved;
    for (uint32_t i = 0; i < saved->entry_count; i++) {
        const struct raft_entry *entry = &saved->entries[i];
        if (entry->kind == RAFT_COMMAND && entry->index > work->old->raft.applied &&
            !ends_self(work, entry->data)) {
            (void)cluster_entry_apply(entry->data, work->old->map, work->old->work,
                                      &work->old->outcomes);
        }
    }
    return 0;
}

/* ---- Who is lost ---- */

static const struct map_member *find_member(const struct map *map, const char *name, size_t size)
{
    char text[MAP_TEXT_BYTES_MAX + 1];

    for (uint32_t i = 0; i < map->member_count; i++) {
        const struct map_member *member = &map->members[i];
        snprintf(text, sizeof text, "%u", member->number);
        if (bytes_equal(map_text_bytes(&member->name), bytes_of(name, size)) ||
            (strlen(text) == size && memcmp(text, name, size) == 0)) {
            return member;
        }
    }
    return NULL;
}

static bool is_lost(const struct refounding *work, uint32_t number)
{
    for (uint32_t i = 0; i < work->lost_count; i++) {
        if (work->lost[i] == number) {
            return true;
        }
    }
    return false;
}

static int read_lost(struct refounding *work, const char *names)
{
    const struct map *map = work->old->map;

    for (const char *at = names; *at != '\0';) {
        const size_t size = strcspn(at, ",");
        const struct map_member *member = find_member(map, at, size);
        if (member == NULL || member->number == work->old->options.self.node) {
            snprintf(work->message, work->message_size,
                     member == NULL
                         ? "%.*s is no member of this node's cluster: if that was founded anew "
                           "already, start the node as usual"
                         : "%.*s is this node",
                     (int)size, at);
            return -EINVAL;
        }
        if (!is_lost(work, member->number)) {
            work->lost[work->lost_count++] = member->number;
        }
        at += size + (at[size] == ',');
    }
    return 0;
}

/* While those that are left can decide, they must: else there were two clusters. */
static int check_majority(const struct refounding *work)
{
    const struct raft_members *members = &work->old->raft.members;
    uint32_t voters = 0, left = 0;

    for (uint32_t i = 0; i < members->count; i++) {
        if (members->list[i].voter) {
            voters++;
            left += !is_lost(work, members->list[i].node);
        }
    }
    if (2 * left > voters) {
        snprintf(work->message, work->message_size,
                 "of the %u nodes that decide %u are left, which is enough: start those, and take "
                 "the lost ones out with `belayctl node remove`",
                 voters, left);
        return -EPERM;
    }
    return 0;
}

/* ---- The new one ---- */

static int set_state(struct refounding *work, uint32_t number, enum map_state state)
{
    const struct map_command command = {.type = MAP_STATE, .number = number, .state = state};
    int rc = map_apply(work->old->map, work->old->work, &command);

    return rc == -EALREADY ? 0 : rc;
}

/* As the rest of the cluster saw it last this node may have been away. */
static int serve_again(struct refounding *work)
{
    const uint32_t self = work->old->options.self.node;
    const struct map_member *member = map_member(work->old->map, self);
    int rc = 0;

    if (member->state == MAP_DOWN) {
        rc = set_state(work, self, member->before_down);
    }
    if (rc == 0 && (member->state == MAP_JOINING || member->state == MAP_DRAINING)) {
        rc = set_state(work, self, MAP_ACTIVE);
    }
    return rc;
}

static int remove_lost(struct refounding *work)
{
    int rc = 0;

    for (uint32_t i = 0; i < work->lost_count && rc == 0; i++) {
        const struct map_command remove = {
            .type = work->old->options.archives ? MAP_LOSE : MAP_REMOVE, .number = work->lost[i]};
        if (map_member(work->old->map, work->lost[i])->state != MAP_LEFT) {
            rc = set_state(work, work->lost[i], MAP_DOWN);
        }
        rc = rc != 0 ? rc : map_apply(work->old->map, work->old->work, &remove);
    }
    return rc;
}

static int put_snapshot(const struct refounding *work, struct buffer *to)
{
    const struct cluster *old = work->old;
    struct buffer state = {.memory = old->options.memory};

    int rc = cluster_state_put(&state, old->map, &old->outcomes);
    if (rc == 0) {
        to->size = 0;
        rc = raft_first_snapshot(&old->options.self.node, 1, buffer_bytes(&state), to);
    }
    buffer_fini(&state);
    return rc;
}

static int make(struct refounding *work, struct buffer *to, struct raft_saved *saved)
{
    const struct raft_saved *before = saved;
    const uint32_t self = work->old->options.self.node;
    struct map *map = work->old->map;

    cluster_map_ahead(map, self); /* First: slots are lost in an epoch that none before was. */
    int rc = serve_again(work);
    rc = rc != 0 ? rc : remove_lost(work);
    if (rc != 0) {
        snprintf(work->message, work->message_size, "the cluster's map: %s", strerror(-rc));
        return rc;
    }
    struct raft_saved made = {
        .snapshot_index = before->snapshot_index + before->entry_count,
        .snapshot_term = before->term,
    };
    cluster_log_ahead(&made, self);
    rc = put_snapshot(work, to);
    if (rc == 0) {
        made.snapshot = buffer_bytes(to);
        *saved = made;
    }
    return rc;
}

int cluster_refound(const struct cluster_options *options, const char *lost, struct buffer *to,
                    struct raft_saved *saved, char *message, size_t message_size)
{
    struct refounding work = {.message = message, .message_size = message_size};

    *saved = *options->saved;
    int rc = open_old(&work, options);
    if (rc == 0) {
        rc = read_lost(&work, lost);
    }
    if (rc == 0) {
        rc = check_majority(&work);
    }
    if (rc == 0) {
        rc = make(&work, to, saved);
    }
    cluster_destroy(work.old);
    return rc;
}
