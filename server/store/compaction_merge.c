/* Many sorted indexes as one: a tree of losers, where each step costs one comparison a level.
 *
 * Segment i is the leaf count + i; an inner node holds the segment that lost there, and node 0 the one that
 * won all. Of one key the older segment comes first, so that records come in the order of the log. */
#include "compaction_state.h"

#include <errno.h>

static const struct segment_entry *head_of(const struct compaction *compaction, uint32_t segment)
{
    const struct segment_index *index = &compaction->sealed[segment].index;
    size_t at = compaction->sealed[segment].at;

    return at < index->count ? &index->entries[at] : NULL;
}

static bool comes_first(const struct compaction *compaction, uint32_t left, uint32_t right)
{
    const struct segment_entry *a = head_of(compaction, left), *b = head_of(compaction, right);

    if (a == NULL || b == NULL) {
        return a != NULL;
    }
    if (a->position != b->position) {
        return a->position < b->position;
    }
    if (a->fingerprint != b->fingerprint) {
        return a->fingerprint < b->fingerprint;
    }
    return left < right;
}

/* The head of the present winner changed: play its matches again. */
static void replay(struct compaction *compaction)
{
    uint32_t winner = compaction->losers[0];

    for (uint32_t node = (compaction->sealed_count + winner) / 2; node > 0; node /= 2) {
        uint32_t other = compaction->losers[node];
        if (comes_first(compaction, other, winner)) {
            compaction->losers[node] = winner;
            winner = other;
        }
    }
    compaction->losers[0] = winner;
}

/* All first matches: the winners of a node's children meet there. */
static void play(struct compaction *compaction, uint32_t winners[])
{
    uint32_t count = compaction->sealed_count;

    for (uint32_t i = 0; i < count; i++) {
        winners[count + i] = i;
    }
    for (uint32_t node = count - 1; node > 0; node--) {
        uint32_t left = winners[2 * node], right = winners[2 * node + 1];
        bool first = comes_first(compaction, left, right);
        winners[node] = first ? left : right;
        compaction->losers[node] = first ? right : left;
    }
    compaction->losers[0] = count == 1 ? 0 : winners[1];
}

int compaction_merge_begin(struct compaction *compaction)
{
    struct memory *memory = compaction->memory;
    uint32_t count = compaction->sealed_count;

    for (uint32_t i = 0; i < count; i++) {
        int rc = compaction_first(compaction, &compaction->sealed[i]);
        if (rc != 0) {
            return rc;
        }
    }
    if (compaction->losers == NULL) {
        compaction->losers = memory->resize(memory, NULL, 0, count * sizeof(uint32_t));
    }
    size_t winners_bytes = 2 * (size_t)count * sizeof(uint32_t);
    uint32_t *winners = memory->resize(memory, NULL, 0, winners_bytes);
    if (compaction->losers == NULL || winners == NULL) {
        if (winners != NULL) {
            memory->resize(memory, winners, winners_bytes, 0);
        }
        return -ENOMEM;
    }
    play(compaction, winners);
    memory->resize(memory, winners, winners_bytes, 0);
    return 0;
}

void compaction_merge_end(struct compaction *compaction)
{
    if (compaction->losers != NULL) {
        compaction->memory->resize(compaction->memory, compaction->losers,
                                   compaction->sealed_count * sizeof(uint32_t), 0);
        compaction->losers = NULL;
    }
}

int compaction_merge_next(struct compaction *compaction, struct checkpoint_key *key)
{
    const struct segment_entry *head = head_of(compaction, compaction->losers[0]);

    compaction->group.size = 0;
    if (head == NULL) {
        return 0;
    }
    *key = (struct checkpoint_key){.position = head->position, .hash = head->fingerprint};
    while (head != NULL && head->position == key->position && head->fingerprint == key->hash) {
        uint32_t winner = compaction->losers[0];
        int rc = compaction_group_add(compaction, winner, head);
        if (rc == 0) {
            rc = compaction_next(compaction, &compaction->sealed[winner]);
        }
        if (rc != 0) {
            return rc;
        }
        replay(compaction);
        head = head_of(compaction, compaction->losers[0]);
    }
    return 1;
}
