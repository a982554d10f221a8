/* What a shard has seen of other nodes, kept over a restart.
 *
 * It is put together slot by slot, a few in each tick, and handed to the store once the log is durable up to where it
 * was when the last slot was done: so it never says more than what a restart finds. After a crash it says less: what
 * this node itself stamped since then is taken from the log. What is dropped is not found, though
 * it was seen: before that is logged, all that was kept is given up, and the store writes that before it compacts the
 * log; where a crash comes in between, the log still says what was dropped. */
#include "seen_saved.h"
#include "shard_state.h"

enum { SLOTS_PER_TICK = 1024, SAVE_MS = 10000 };

static void give_up(struct kept_seen *kept)
{
    buffer_fini(&kept->saved);
    kept->slot = 0;
    kept->lsn = 0;
}

/* Slots that others have filled lack nothing any more. */
static void tell_filled(struct shard *shard, uint32_t first)
{
    for (uint32_t slot = first; slot < SLOT_COUNT && slot - first < SLOTS_PER_TICK; slot++) {
        if (seen_is_filled(&shard->seen, slot)) {
            shard->loader->whole(shard->loader, slot);
            seen_set_filled(&shard->seen, slot, false);
        }
    }
}

void shard_keep_seen(struct shard *shard)
{
    struct kept_seen *kept = &shard->kept_seen;

    if (shard->copies == NULL || shard->loader == NULL || shard->loading) {
        return;
    }
    if (kept->lsn != 0) { /* It is made. */
        if (shard->durable_lsn >= kept->lsn) {
            shard->loader->keep_seen(shard->loader, buffer_bytes(&kept->saved));
            give_up(kept);
        }
        return;
    }
    if (kept->slot == 0 && (shard->now_ms < kept->next_ms || shard->appended_lsn == 0)) {
        return;
    }
    tell_filled(shard, kept->slot);
    if (seen_save(&shard->seen, kept->slot, SLOTS_PER_TICK, &kept->saved) != 0) {
        give_up(kept);
        kept->next_ms = shard->now_ms + SAVE_MS;
        return;
    }
    kept->dropped = 0; /* It may have come again, and is in what is made now. */
    kept->slot += SLOTS_PER_TICK;
    if (kept->slot >= SLOT_COUNT) {
        kept->slot = 0;
        kept->lsn = shard->appended_lsn;
        kept->next_ms = shard->now_ms + SAVE_MS;
        shard->options.log->hurry(shard->options.log);
    }
}

void shard_unsee(struct shard *shard, uint32_t slot)
{
    struct kept_seen *kept = &shard->kept_seen;

    eras_forget(&shard->eras, &shard->seen, slot, shard->hlc);
    seen_forget(&shard->seen, slot);
    if (shard->loader != NULL && kept->dropped != slot + 1) {
        kept->dropped = slot + 1;
        shard->loader->keep_seen(shard->loader, bytes_of(NULL, 0));
        give_up(kept);
        kept->next_ms = shard->now_ms + SAVE_MS;
    }
}

void shard_see_before(struct shard *shard)
{
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if (seen_is_known(&shard->seen, slot)) {
            eras_go_on(&shard->eras, slot); /* It is as it was left. */
        }
        if (shard->before_hlc != 0) {
            const struct actor last = seen_last_era(&shard->seen, slot, shard->options.before);
            (void)seen_advance(&shard->seen, slot, (struct stamp){shard->before_hlc, last});
        }
    }
}

void shard_take_seen(struct shard *shard)
{
    struct loader_port *loader = shard->loader;

    shard->scratch.size = 0;
    if (loader == NULL || loader->kept_seen(loader, &shard->scratch) != 0 ||
        seen_restore(&shard->seen, buffer_bytes(&shard->scratch)) != 0) {
        return;
    }
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        if ((shard->kept_seen.replayed[slot / 64] >> (slot % 64) & 1) != 0) {
            seen_forget(&shard->seen, slot);
        }
    }
    shard_see_before(shard);
    if (shard->copies != NULL) {
        shard_note_own(shard);
    }
}
