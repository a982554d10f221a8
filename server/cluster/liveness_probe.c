/* Indirect probes: asking others about a suspect, and answering when others ask. */
#include <assert.h>
#include <stddef.h>

#include "liveness_private.h"

/* SplitMix64. */
static uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint32_t liveness_probe_ms(const struct liveness *liveness)
{
    uint32_t heartbeat_ms = liveness->settings.heartbeat_ms;

    return heartbeat_ms < LIVENESS_PROBE_MS_MAX ? heartbeat_ms : LIVENESS_PROBE_MS_MAX;
}

/* ---- Asking ---- */

/* Choose up to `probe_members` of those that are heard (so not a suspect), each as likely as the others: reservoir
 * sampling (Vitter, 1985, algorithm R). */
static uint32_t choose(struct liveness *liveness, const struct liveness_peer *chosen[])
{
    uint32_t wanted = liveness->settings.probe_members;
    uint32_t seen = 0;

    for (uint32_t i = 0; i < LIVENESS_MEMBERS_MAX && wanted > 0; i++) {
        const struct liveness_peer *peer = &liveness->peers[i];
        if (peer->node == 0 || peer->belief != BELIEF_HEARD) {
            continue;
        }
        uint64_t place = seen < wanted ? seen : random_next(&liveness->random) % (seen + 1);
        if (place < wanted) {
            chosen[place] = peer;
        }
        seen++;
    }
    return seen < wanted ? seen : wanted;
}

void liveness_round_begin(struct liveness *liveness, struct liveness_peer *suspect)
{
    const struct liveness_peer *chosen[16];
    uint32_t count = choose(liveness, chosen);

    assert(liveness->settings.probe_members <= sizeof chosen / sizeof chosen[0]);
    suspect->number = ++liveness->round_number;
    suspect->asked = count;
    suspect->round_end_ms = liveness->awake.time_ms + liveness_probe_ms(liveness);
    suspect->yes = suspect->no = suspect->unsure = false;
    for (uint32_t i = 0; i < count; i++) {
        struct liveness_message probe = liveness_message_to(liveness, chosen[i], LIVENESS_PROBE);
        probe.subject = suspect->node;
        probe.number = suspect->number;
        probe.wait_ms = liveness_probe_ms(liveness) / 4 * 3;
        liveness->counters.probes_sent++;
        liveness_send(liveness, chosen[i], &probe);
    }
}

bool liveness_round_end(struct liveness *liveness, const struct liveness_peer *suspect)
{
    if (suspect->asked == 0) {
        return false;
    }
    if (!suspect->yes && !suspect->no && !suspect->unsure) {
        liveness->counters.probes_unanswered++;
        liveness_slower(liveness);
        return false;
    }
    liveness_faster(liveness);
    return suspect->no && !suspect->yes;
}

void liveness_answer(struct liveness *liveness, const struct liveness_message *message)
{
    struct liveness_peer *suspect = liveness_find(liveness, message->subject);

    if (suspect == NULL || suspect->belief != BELIEF_SUSPECT ||
        suspect->number != message->number) {
        return; /* Of an earlier round. */
    }
    suspect->yes |= message->kind == LIVENESS_YES;
    suspect->no |= message->kind == LIVENESS_NO;
    suspect->unsure |= message->kind == LIVENESS_UNSURE;
}

/* ---- Being asked ---- */

static void answer(struct liveness *liveness, const struct liveness_asked *asked,
                   enum liveness_kind kind)
{
    const struct liveness_peer *asker = liveness_find(liveness, asked->asker);

    liveness->counters.answered_yes += kind == LIVENESS_YES;
    liveness->counters.answered_no += kind == LIVENESS_NO;
    liveness->counters.answered_unsure += kind == LIVENESS_UNSURE;
    if (asker != NULL) {
        struct liveness_message message = liveness_message_to(liveness, asker, kind);
        message.subject = asked->subject;
        message.number = asked->number;
        liveness_send(liveness, asker, &message);
    }
}

/* A free place, or that of an earlier question of the same asker about the same subject; NULL where all are taken. */
static struct liveness_asked *place_for(struct liveness *liveness, uint32_t asker, uint32_t subject)
{
    struct liveness_asked *found = NULL;

    for (uint32_t i = 0; i < LIVENESS_ASKED_MAX; i++) {
        struct liveness_asked *asked = &liveness->asked[i];
        if (asked->asker == asker && asked->subject == subject) {
            return asked;
        }
        if (asked->asker == 0 && found == NULL) {
            found = asked;
        }
    }
    return found;
}

void liveness_probe(struct liveness *liveness, const struct liveness_peer *peer,
                    const struct liveness_message *message)
{
    uint32_t wait_ms =
        message->wait_ms < LIVENESS_PROBE_MS_MAX ? message->wait_ms : LIVENESS_PROBE_MS_MAX;
    struct liveness_asked question = {
        .asker = peer->node,
        .subject = message->subject,
        .number = message->number,
        .end_ms = liveness->awake.time_ms + wait_ms,
    };
    struct liveness_peer *subject = liveness_find(liveness, message->subject);

    liveness->counters.probes_heard++;
    if (message->subject == liveness->self.node) {
        answer(liveness, &question, LIVENESS_YES);
        return;
    }
    struct liveness_asked *place = place_for(liveness, question.asker, question.subject);
    if (subject == NULL || place == NULL) {
        answer(liveness, &question, LIVENESS_UNSURE);
        return;
    }
    *place = question;
    liveness_ping(liveness, subject);
}

void liveness_asked_heard(struct liveness *liveness, uint32_t subject)
{
    for (uint32_t i = 0; i < LIVENESS_ASKED_MAX; i++) {
        struct liveness_asked *asked = &liveness->asked[i];
        if (asked->asker != 0 && asked->subject == subject) {
            answer(liveness, asked, LIVENESS_YES);
            asked->asker = 0;
        }
    }
}

void liveness_asked_tick(struct liveness *liveness)
{
    uint64_t now_ms = liveness->awake.time_ms;

    for (uint32_t i = 0; i < LIVENESS_ASKED_MAX; i++) {
        struct liveness_asked *asked = &liveness->asked[i];
        if (asked->asker == 0) {
            continue;
        }
        struct liveness_peer *subject = liveness_find(liveness, asked->subject);
        if (subject == NULL || now_ms >= asked->end_ms) {
            answer(liveness, asked, subject == NULL ? LIVENESS_UNSURE : LIVENESS_NO);
            asked->asker = 0;
        } else if (now_ms - subject->pinged_ms >= liveness_probe_ms(liveness) / 8) {
            liveness_ping(liveness, subject);
        }
    }
}
