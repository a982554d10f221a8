/* Slots that go to other nodes: what is here of them is forgotten, step by step.
 *
 * The log says so of each session (LOG_DROP), so that neither a restart nor the checkpoint bring it back. It is no end of
 * the session: it may come again, as it was. */
#include "record.h"
#include "shard_state.h"

#include <errno.h>

enum { DROP_STEP = 64, SAME_POSITION_MAX = 64 };

struct dropping {
    struct shard *shard;
    uint64_t last;
    uint32_t count;
    uint64_t positions[DROP_STEP + SAME_POSITION_MAX];
};

static bool find_visit(void *context, uint64_t position, struct bytes record)
{
    struct dropping *dropping = context;

    if (position > dropping->last) {
        return false;
    }
    if (!rename_is_journal(session_key(record))) {
        dropping->positions[dropping->count++] = position;
    }
    return dropping->count < DROP_STEP;
}

struct dropped {
    struct shard *shard;
    bool found, cold, counted;
    uint64_t newest_hlc;
    int rc; /* Of making what is logged, in shard->scratch. */
};

static bool drop_visit(void *context, uint64_t position, struct bytes record)
{
    struct dropped *dropped = context;
    struct shard *shard = dropped->shard;

    (void)position;
    if (rename_is_journal(session_key(record))) {
        return true;
    }
    dropped->found = true;
    dropped->cold = record_is_cold(record);
    dropped->counted = shard_glance(shard, record, shard->now_ms).counted;
    dropped->newest_hlc = session_newest_hlc(record);
    dropped->rc = session_empty(record, &shard->scratch);
    return false;
}

/* One session of the position. Returns whether there was one, or an error. */
static int drop_one(struct shard *shard, uint64_t position)
{
    struct dropped dropped = {.shard = shard};

    keeper_visit(shard->keeper, position, drop_visit, &dropped);
    if (!dropped.found || dropped.rc != 0) {
        return dropped.rc;
    }
    struct bytes record = buffer_bytes(&shard->scratch), key = session_key(record);
    int rc = shard_log(shard, LOG_DROP, position, key, &record, 1);
    if (rc != 0) {
        return rc;
    }
    keeper_remove(shard->keeper, position, key);
    shard->stats.live -= dropped.counted;
    shard->stats.cold -= dropped.cold;
    /* What is known of writes that were done once went with it. */
    shard->gone_hlc = dropped.newest_hlc > shard->gone_hlc ? dropped.newest_hlc : shard->gone_hlc;
    return 1;
}

int shard_drop_slot(struct shard *shard, uint32_t slot, uint64_t now_ms)
{
    uint64_t first = (uint64_t)slot << (64 - SLOT_BITS);
    struct dropping dropping = {.shard = shard,
                                .last = first + ((UINT64_C(1) << (64 - SLOT_BITS)) - 1)};

    shard_advance(shard, now_ms);
    if (shard->loading) {
        return -EAGAIN; /* More of it may come. */
    }
    (void)keeper_scan(shard->keeper, first, find_visit, &dropping);
    if (dropping.count > 0) {
        shard_unsee(shard, slot);
    }
    for (uint32_t i = 0; i < dropping.count; i++) {
        int rc = drop_one(shard, dropping.positions[i]);
        if (rc < 0) {
            return rc;
        }
    }
    if (dropping.count == 0) {
        eras_forget(&shard->eras, &shard->seen, slot, shard->hlc);
        seen_forget(&shard->seen, slot);
    }
    return dropping.count > 0;
}
