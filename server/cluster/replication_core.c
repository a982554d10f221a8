#include "replication_core.h"

#include <stddef.h>

/* ---- What replication asks of the shard ---- */

static struct shard *shard_of(struct replication_shard *port)
{
    return ((struct replication_core *)port)->shard;
}

static void copy(struct replication_shard *port, const struct replication_copy *from,
                 uint64_t now_ms, uint64_t now_us)
{
    const struct shard_copy to = {
        .ticket = from->ticket,
        .kind = from->kind,
        .position = from->position,
        .body = from->body,
    };

    shard_copy(shard_of(port), &to, now_ms, now_us);
}

static void copied(struct replication_shard *port, uint64_t number, uint64_t now_us)
{
    shard_copied(shard_of(port), number, now_us);
}

static void uncopied(struct replication_shard *port, uint64_t number, uint64_t now_us)
{
    shard_uncopied(shard_of(port), number, now_us);
}

static void walk(struct replication_shard *port, uint64_t first, uint64_t last, bool hashes,
                 bool (*visit)(void *context, uint64_t position, uint64_t hash), void *context)
{
    shard_walk(shard_of(port), first, last, hashes, visit, context);
}

static int whole(struct replication_shard *port, uint64_t position, uint64_t ticket,
                 uint64_t now_us)
{
    shard_whole(shard_of(port), position, ticket, now_us);
    return 0;
}

static int drop(struct replication_shard *port, uint32_t slot, uint64_t now_ms)
{
    return shard_drop_slot(shard_of(port), slot, now_ms);
}

static bool find(struct replication_shard *port, uint64_t position, struct bytes key,
                 struct bytes *record)
{
    return shard_peek(shard_of(port), position, key, record);
}

static bool ready(struct replication_shard *port)
{
    return shard_stats(shard_of(port))->loading == 0;
}

static uint64_t appended(struct replication_shard *port)
{
    return shard_appended(shard_of(port));
}

static bool durable(struct replication_shard *port, uint64_t lsn)
{
    return shard_is_durable(shard_of(port), lsn);
}

static void prefetch(struct replication_shard *port, uint64_t position, bool found)
{
    shard_prefetch_copy(shard_of(port), position, found);
}

static void waiting(struct replication_shard *port, void (*visit)(void *context, uint32_t slot),
                    void *context)
{
    shard_visit_waiting(shard_of(port), visit, context);
}

/* ---- What the shard asks of replication ---- */

static struct replication *replication_of(struct copies_port *copies)
{
    const size_t offset = offsetof(struct replication_core, copies);

    return ((struct replication_core *)(void *)((char *)copies - offset))->replication;
}

static uint64_t append(struct copies_port *copies, uint8_t kind, uint64_t position, uint64_t hlc,
                       const struct bytes parts[], uint32_t part_count)
{
    return replication_append(replication_of(copies), kind, position, hlc, parts, part_count);
}

static void merged(struct copies_port *copies, uint64_t ticket, enum status status)
{
    replication_merged(replication_of(copies), ticket, status);
}

static void give_whole(struct copies_port *copies, uint64_t ticket, struct bytes record)
{
    replication_whole(replication_of(copies), ticket, record);
}

static void whole_done(struct copies_port *copies, uint64_t ticket, enum status status)
{
    replication_whole_done(replication_of(copies), ticket, status);
}

static bool may_bury(struct copies_port *copies, uint64_t position, struct bytes key,
                     struct bytes record, bool *asked)
{
    return replication_may_bury(replication_of(copies), position, key, record, asked);
}

static bool reaches(struct copies_port *copies, uint64_t position)
{
    return replication_reaches_owner(replication_of(copies), position);
}

static uint64_t known_ms(struct copies_port *copies, uint64_t position)
{
    return replication_known_ms(replication_of(copies), position);
}

static bool await_all(struct copies_port *copies, uint64_t position, uint64_t number)
{
    return replication_await_all(replication_of(copies), position, number);
}

static void await_first(struct copies_port *copies, uint64_t position, uint64_t number)
{
    replication_await_first(replication_of(copies), position, number);
}

void replication_core_init(struct replication_core *core, struct shard *shard)
{
    *core = (struct replication_core){
        .port =
            {
                .copy = copy,
                .copied = copied,
                .uncopied = uncopied,
                .walk = walk,
                .whole = whole,
                .drop = drop,
                .find = find,
                .ready = ready,
                .appended = appended,
                .durable = durable,
                .seen = shard_seen(shard),
                .eras = shard_eras(shard),
                .prefetch = prefetch,
                .waiting = waiting,
            },
        .copies =
            {
                .append = append,
                .merged = merged,
                .whole = give_whole,
                .whole_done = whole_done,
                .may_bury = may_bury,
                .reaches = reaches,
                .known_ms = known_ms,
                .await_all = await_all,
                .await_first = await_first,
            },
        .shard = shard,
    };
}

void replication_core_attach(struct replication_core *core, struct replication *replication)
{
    core->replication = replication;
}
