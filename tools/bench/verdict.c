#include "verdict.h"

#include <inttypes.h>
#include <stdio.h>

#include "content.h"

/* Is one of the writes after `after` up to `last` a delete? */
static bool deletes_between(const struct evidence *evidence, uint64_t after, uint64_t last)
{
    for (uint64_t count = after + 1; count <= last; count++) {
        if (content_is_delete(evidence->key, count, evidence->deletes_percent)) {
            return true;
        }
    }
    return false;
}

static enum verdict verdict_of_absence(const struct evidence *evidence)
{
    bool may_be_deleted =
        content_is_delete(evidence->key, evidence->acked, evidence->deletes_percent) ||
        deletes_between(evidence, evidence->acked, evidence->sent);

    if (evidence->acked == 0 || evidence->expired || may_be_deleted) {
        return VERDICT_GOOD;
    }
    return VERDICT_LOST;
}

enum verdict verdict_of(const struct evidence *evidence)
{
    if (!evidence->present) {
        return verdict_of_absence(evidence);
    }
    if (!evidence->readable || evidence->found == 0 || evidence->found > evidence->sent ||
        content_is_delete(evidence->key, evidence->found, evidence->deletes_percent)) {
        return VERDICT_WRONG;
    }
    if (evidence->found >= evidence->acked) {
        return VERDICT_GOOD;
    }
    return deletes_between(evidence, evidence->found, evidence->acked) ? VERDICT_RESURRECTED
                                                                       : VERDICT_STALE;
}

const char *verdict_name(enum verdict verdict)
{
    static const char *const names[VERDICT_COUNT] = {
        [VERDICT_GOOD] = "good",
        [VERDICT_LOST] = "lost",
        [VERDICT_STALE] = "stale",
        [VERDICT_WRONG] = "wrong",
        [VERDICT_RESURRECTED] = "resurrected",
    };

    return names[verdict];
}

void verdict_describe(const struct evidence *evidence, enum verdict verdict,
                      char text[VERDICT_TEXT_BYTES])
{
    char found[80];

    if (!evidence->present) {
        snprintf(found, sizeof found, "nothing");
    } else if (!evidence->readable) {
        snprintf(found, sizeof found, "what no run with --record wrote to it");
    } else {
        snprintf(found, sizeof found, "write %" PRIu64, evidence->found);
    }
    snprintf(text, VERDICT_TEXT_BYTES,
             "key %" PRIu64 " is %s: found %s, acknowledged %" PRIu64 ", sent %" PRIu64,
             evidence->key, verdict_name(verdict), found, evidence->acked, evidence->sent);
}
