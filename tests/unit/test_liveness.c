/* Liveness: what one node believes of the others, rule by rule, with the times at which each turns. */
#include "check.h"

#include <errno.h>

#include "liveness.h"

enum { SELF = 1, HEARTBEAT_MS = 1000, DOWN_MS = 3000, TICK_MS = 125, SENT_MAX = 4096 };

/* What a node does, for one node under test; the test plays the others. */
struct world {
    struct liveness_port port;
    struct liveness liveness;
    uint64_t now_ms;
    struct {
        uint32_t to;
        struct liveness_message message;
    } sent[SENT_MAX];
    uint32_t sent_count;
    uint32_t reports;
    struct liveness_report report;
    uint32_t members;
    uint32_t mute; /* From this one no heartbeat comes; 0: from all. */
};

static struct world world;

static void on_send(struct liveness_port *port, uint32_t node,
                    const struct liveness_message *message)
{
    assert_ptr_equal(port, &world.port);
    assert_true(world.sent_count < SENT_MAX);
    world.sent[world.sent_count].to = node;
    world.sent[world.sent_count++].message = *message;
}

static void on_report(struct liveness_port *port, const struct liveness_report *report)
{
    assert_ptr_equal(port, &world.port);
    assert_true(report->number > world.report.number);
    world.report = *report;
    world.reports++;
}

static void begin_with(const struct liveness_settings *settings, uint32_t members)
{
    uint32_t nodes[LIVENESS_MEMBERS_MAX];

    memset(&world, 0, sizeof world);
    world.port = (struct liveness_port){.send = on_send, .report = on_report};
    world.now_ms = 5000000;
    world.members = members;
    liveness_init(&world.liveness, settings, &world.port, (struct actor){SELF, 7}, 42,
                  world.now_ms);
    for (uint32_t i = 0; i < members; i++) {
        nodes[i] = i + 1;
    }
    liveness_members(&world.liveness, world.now_ms, nodes, members);
}

static void begin(uint32_t members)
{
    const struct liveness_settings settings = LIVENESS_SETTINGS_DEFAULT;

    begin_with(&settings, members);
}

static struct liveness_message message_of(uint32_t node, enum liveness_kind kind)
{
    return (struct liveness_message){.kind = kind, .from = {node, 3}};
}

static void receive(struct liveness_message message)
{
    liveness_receive(&world.liveness, world.now_ms, &message);
}

static void heartbeat_from(uint32_t node)
{
    receive(message_of(node, LIVENESS_HEARTBEAT));
}

static void others_beat(void)
{
    for (uint32_t node = 2; node <= world.members; node++) {
        if (node != world.mute) {
            heartbeat_from(node);
        }
    }
}

static void tick(void)
{
    world.now_ms += TICK_MS;
    liveness_tick(&world.liveness, world.now_ms);
}

/* Time goes by, with a heartbeat of all but the mute one at each tick. */
static void run(uint64_t ms)
{
    for (uint64_t end_ms = world.now_ms + ms; world.now_ms < end_ms;) {
        others_beat();
        tick();
    }
}

static enum liveness_belief belief(uint32_t node)
{
    return liveness_belief(&world.liveness, node);
}

static uint32_t sent_to(uint32_t node, enum liveness_kind kind)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < world.sent_count; i++) {
        count += world.sent[i].message.kind == kind && (node == 0 || world.sent[i].to == node);
    }
    return count;
}

static const struct liveness_message *last_sent(uint32_t node, enum liveness_kind kind)
{
    for (uint32_t i = world.sent_count; i-- > 0;) {
        if (world.sent[i].to == node && world.sent[i].message.kind == kind) {
            return &world.sent[i].message;
        }
    }
    return NULL;
}

/* Whoever was asked about `subject` answers so. Returns how many were. */
static uint32_t answer_all(uint32_t subject, enum liveness_kind kind)
{
    uint32_t answered = 0;

    for (uint32_t i = 0; i < world.sent_count; i++) {
        if (world.sent[i].message.kind == LIVENESS_PROBE &&
            world.sent[i].message.subject == subject) {
            struct liveness_message message = message_of(world.sent[i].to, kind);
            message.subject = subject;
            message.number = world.sent[i].message.number;
            receive(message);
            answered++;
        }
    }
    return answered;
}

static void test_settings(void **state)
{
    (void)state;
    const struct liveness_settings fine = LIVENESS_SETTINGS_DEFAULT;
    struct liveness_settings settings = fine;

    assert_int_equal(liveness_settings_check(&fine), 0);
    assert_int_equal(liveness_tick_ms(&fine), TICK_MS);
    settings.heartbeat_ms = 99;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
    settings.heartbeat_ms = 100;
    assert_int_equal(liveness_settings_check(&settings), 0);
    assert_int_equal(liveness_tick_ms(&settings), 25);
    settings.down_after_ms = 299;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
    settings.down_after_ms = 300;
    assert_int_equal(liveness_settings_check(&settings), 0);
    settings = fine;
    settings.probe_members = 17;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
    settings = fine;
    settings.cooldown_ms = settings.cooldown_max_ms + 1;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
    settings.cooldown_max_ms = 24 * 60 * 60 * 1000 + 1;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
    settings = fine;
    settings.panic_percent = 51;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
    settings.panic_percent = 9;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
    settings = fine;
    settings.heartbeat_ms = 10001;
    settings.down_after_ms = 120000;
    assert_int_equal(liveness_settings_check(&settings), -ERANGE);
}

/* One heartbeat to each at each interval, and a report with it; nothing else while all is well. */
static void test_heartbeats(void **state)
{
    (void)state;

    begin(4);
    run(10 * HEARTBEAT_MS);
    for (uint32_t node = 2; node <= 4; node++) {
        assert_int_equal(sent_to(node, LIVENESS_HEARTBEAT), 11); /* The first at once. */
        assert_int_equal(belief(node), BELIEF_HEARD);
    }
    assert_int_equal(sent_to(SELF, LIVENESS_HEARTBEAT), 0);
    assert_int_equal(world.sent_count, 33);
    assert_int_equal(world.liveness.counters.heartbeats_sent, 33);
    assert_int_equal(world.liveness.counters.heartbeats_heard, 3 * 80);
    assert_int_equal(world.liveness.counters.suspicions, 0);
    assert_int_equal(world.reports, 14); /* And as each was heard first. */
    assert_int_equal(world.report.count, 3);
    assert_int_equal(world.report.from.start, 7);
    assert_int_equal(last_sent(2, LIVENESS_HEARTBEAT)->from.start, 7);
}

/* Configured down to 100 ms. */
static void test_heartbeats_quick(void **state)
{
    (void)state;
    struct liveness_settings settings = LIVENESS_SETTINGS_DEFAULT;

    settings.heartbeat_ms = 100;
    settings.down_after_ms = 300;
    begin_with(&settings, 2);
    for (int i = 0; i < 40; i++) {
        heartbeat_from(2);
        world.now_ms += 25;
        liveness_tick(&world.liveness, world.now_ms);
    }
    assert_int_equal(sent_to(2, LIVENESS_HEARTBEAT), 11);
    for (int i = 0; i < 10; i++) {
        world.now_ms += 25;
        liveness_tick(&world.liveness, world.now_ms);
    }
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    world.now_ms += 25;
    liveness_tick(&world.liveness, world.now_ms);
    assert_int_equal(belief(2), BELIEF_SILENT);
}

/* A suspect at half of `down_after`, silent at all of it, to the tick; back with the first message. */
static void test_silence(void **state)
{
    (void)state;

    begin(2);
    run(5000);
    world.mute = 2; /* Last heard a tick ago. */
    run(DOWN_MS / 2 - 2 * TICK_MS);
    assert_int_equal(belief(2), BELIEF_HEARD);
    run(TICK_MS);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    assert_int_equal(sent_to(2, LIVENESS_PING), 1);
    run(DOWN_MS / 2 - TICK_MS);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    assert_int_equal(sent_to(2, LIVENESS_PING),
                     1 + (DOWN_MS / 2 - TICK_MS) / TICK_MS); /* Again and again. */
    uint32_t reports = world.reports;
    run(TICK_MS);
    assert_int_equal(belief(2), BELIEF_SILENT);
    assert_int_equal(world.reports, reports + 1); /* At once. */
    assert_int_equal(world.report.members[0].belief, BELIEF_SILENT);
    assert_int_equal(world.liveness.counters.suspicions, 1);
    assert_int_equal(world.liveness.counters.silent, 1);
    assert_int_equal(world.liveness.counters.probes_sent, 0); /* There is nobody to ask. */
    uint32_t pings = sent_to(2, LIVENESS_PING);
    run(10 * HEARTBEAT_MS);
    assert_int_equal(sent_to(2, LIVENESS_PING), pings); /* Heartbeats only. */
    reports = world.reports;
    heartbeat_from(2);
    assert_int_equal(belief(2), BELIEF_HEARD);
    assert_int_equal(world.reports, reports + 1);
    assert_int_equal(world.liveness.counters.refuted, 0);
}

/* Who was never heard is unknown at first, and silent after `down_after`. */
static void test_unknown(void **state)
{
    (void)state;

    begin(3);
    world.mute = 2;
    run(DOWN_MS - TICK_MS);
    assert_int_equal(belief(2), BELIEF_UNKNOWN);
    assert_int_equal(belief(3), BELIEF_HEARD);
    run(TICK_MS);
    assert_int_equal(belief(2), BELIEF_SILENT);
    assert_int_equal(belief(9), BELIEF_UNKNOWN);
}

/* Whoever does not hear us is silent to us. */
static void test_deaf(void **state)
{
    (void)state;

    begin(2);
    run(5000);
    struct liveness_message message = message_of(2, LIVENESS_HEARTBEAT);
    for (uint32_t past = 0; past < DOWN_MS; past += TICK_MS) {
        message.unheard_ms = DOWN_MS - 1;
        receive(message);
        tick();
    }
    assert_int_equal(belief(2), BELIEF_HEARD);
    heartbeat_from(2);
    for (uint32_t past = 0; past < DOWN_MS; past += TICK_MS) {
        assert_int_not_equal(belief(2), BELIEF_SILENT);
        message.unheard_ms = DOWN_MS;
        receive(message);
        tick();
    }
    assert_int_equal(belief(2), BELIEF_SILENT);
    assert_int_equal(world.liveness.counters.deaf, DOWN_MS / TICK_MS);
    heartbeat_from(2);
    assert_int_equal(belief(2), BELIEF_HEARD);
}

/* And we tell for how long we have not heard them. */
static void test_unheard(void **state)
{
    (void)state;

    begin(3);
    run(5000);
    world.mute = 2;
    run(4 * HEARTBEAT_MS);
    assert_int_equal(last_sent(2, LIVENESS_HEARTBEAT)->unheard_ms, 4000 + TICK_MS);
    assert_int_equal(last_sent(3, LIVENESS_HEARTBEAT)->unheard_ms, TICK_MS);
}

/* A ping is answered at once. */
static void test_ping(void **state)
{
    (void)state;

    begin(3);
    receive(message_of(3, LIVENESS_PING));
    assert_int_equal(world.sent_count, 1);
    assert_int_equal(world.sent[0].to, 3);
    assert_int_equal(world.sent[0].message.kind, LIVENESS_HEARTBEAT);
    assert_int_equal(world.sent[0].message.unheard_ms, 0);
}

/* A reset is a suspicion at once; confirmed by others, the member is silent after a round of probes. */
static void test_reset_confirmed(void **state)
{
    (void)state;

    begin(6);
    run(5000);
    world.mute = 2;
    uint32_t reports = world.reports;
    liveness_reset(&world.liveness, world.now_ms, 2);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    assert_int_equal(world.reports, reports + 1);
    assert_int_equal(sent_to(2, LIVENESS_PING), 1);
    assert_int_equal(sent_to(2, LIVENESS_PROBE), 0);
    assert_int_equal(sent_to(0, LIVENESS_PROBE), 3);
    for (uint32_t node = 3; node <= 6; node++) {
        assert_true(sent_to(node, LIVENESS_PROBE) <= 1);
    }
    assert_int_equal(answer_all(2, LIVENESS_NO), 3);
    run(LIVENESS_PROBE_MS_MAX - TICK_MS);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    run(TICK_MS);
    assert_int_equal(belief(2), BELIEF_SILENT);
    assert_int_equal(world.liveness.counters.confirmed, 1);
    assert_int_equal(world.liveness.counters.resets, 1);
    assert_int_equal(world.liveness.counters.probes_sent, 3);
    heartbeat_from(2);
}

/* One YES among them: suspected on, and asked again, until `down_after`. */
static void test_reset_denied(void **state)
{
    (void)state;

    begin(6);
    run(5000);
    world.mute = 2;
    liveness_reset(&world.liveness, world.now_ms, 2);
    assert_int_equal(answer_all(2, LIVENESS_NO), 3);
    struct liveness_message yes = message_of(3, LIVENESS_YES);
    yes.subject = 2;
    yes.number = world.liveness.peers[0].number;
    assert_int_equal(world.liveness.peers[0].node, 2);
    receive(yes);
    run(LIVENESS_PROBE_MS_MAX);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    assert_int_equal(sent_to(0, LIVENESS_PROBE), 6);
    run(LIVENESS_PROBE_MS_MAX / 2);
    assert_int_equal(world.liveness.counters.confirmed, 0);
    heartbeat_from(2);
    assert_int_equal(belief(2), BELIEF_HEARD);
    assert_int_equal(world.liveness.counters.refuted, 1);
}

/* Answers of an earlier round confirm nothing. */
static void test_reset_old_answers(void **state)
{
    (void)state;

    begin(6);
    run(5000);
    world.mute = 2;
    liveness_reset(&world.liveness, world.now_ms, 2);
    run(LIVENESS_PROBE_MS_MAX);
    uint32_t second = world.liveness.peers[0].number;
    struct liveness_message no = message_of(3, LIVENESS_NO);
    no.subject = 2;
    no.number = second - 1;
    receive(no);
    run(LIVENESS_PROBE_MS_MAX);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    assert_int_equal(world.liveness.counters.confirmed, 0);
    assert_int_equal(world.liveness.counters.probes_unanswered, 2);
}

/* UNSURE confirms nothing either; and a silent one whose link is not broken has all of `down_after`. */
static void test_no_early_silence(void **state)
{
    (void)state;

    begin(6);
    run(5000);
    world.mute = 2;
    liveness_reset(&world.liveness, world.now_ms, 2);
    answer_all(2, LIVENESS_UNSURE);
    run(LIVENESS_PROBE_MS_MAX);
    assert_int_equal(belief(2), BELIEF_SUSPECT);

    begin(6);
    run(5000);
    world.mute = 2;
    run(DOWN_MS / 2);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    assert_int_equal(answer_all(2, LIVENESS_NO), 3);
    run(DOWN_MS / 2 - 2 * TICK_MS);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    run(TICK_MS);
    assert_int_equal(belief(2), BELIEF_SILENT);
}

/* With two members nobody can confirm: a reset alone moves nothing before `down_after`. */
static void test_reset_of_two(void **state)
{
    (void)state;

    begin(2);
    run(5000);
    world.mute = 2;
    liveness_reset(&world.liveness, world.now_ms, 2);
    run(DOWN_MS - 2 * TICK_MS);
    assert_int_equal(belief(2), BELIEF_SUSPECT);
    run(TICK_MS);
    assert_int_equal(belief(2), BELIEF_SILENT);
    assert_int_equal(world.liveness.counters.probes_sent, 0);
}

/* Asked by another: the subject is pinged, YES once it was heard after the question. */
static void test_asked_yes(void **state)
{
    (void)state;

    begin(4);
    run(5000);
    world.mute = 3;
    struct liveness_message probe = message_of(2, LIVENESS_PROBE);
    probe.subject = 3;
    probe.number = 77;
    probe.wait_ms = 750;
    receive(probe);
    assert_int_equal(sent_to(3, LIVENESS_PING), 1);
    run(TICK_MS);
    assert_int_equal(sent_to(2, LIVENESS_YES), 0); /* What was heard before does not count. */
    heartbeat_from(3);
    assert_int_equal(sent_to(2, LIVENESS_YES), 1);
    assert_int_equal(last_sent(2, LIVENESS_YES)->subject, 3);
    assert_int_equal(last_sent(2, LIVENESS_YES)->number, 77);
    heartbeat_from(3);
    run(1000);
    assert_int_equal(sent_to(2, LIVENESS_YES), 1);
    assert_int_equal(sent_to(2, LIVENESS_NO), 0);
    probe.subject = SELF; /* Of ourselves we know. */
    receive(probe);
    assert_int_equal(sent_to(2, LIVENESS_YES), 2);
    assert_int_equal(world.liveness.counters.probes_heard, 2);
    assert_int_equal(world.liveness.counters.answered_yes, 2);
}

static void test_asked_no(void **state)
{
    (void)state;

    begin(4);
    run(5000);
    world.mute = 3;
    struct liveness_message probe = message_of(2, LIVENESS_PROBE);
    probe.subject = 3;
    probe.number = 77;
    probe.wait_ms = 750;
    receive(probe);
    run(750 - TICK_MS);
    assert_int_equal(sent_to(2, LIVENESS_NO), 0);
    run(TICK_MS);
    assert_int_equal(sent_to(2, LIVENESS_NO), 1);
    assert_int_equal(last_sent(2, LIVENESS_NO)->number, 77);
    assert_int_equal(sent_to(3, LIVENESS_PING), 750 / TICK_MS); /* Some may be lost. */
    run(1000);
    assert_int_equal(sent_to(2, LIVENESS_NO), 1);
    assert_int_equal(world.liveness.counters.answered_no, 1);
    receive(probe); /* And where it is no member any more nobody knows. */
    liveness_members(&world.liveness, world.now_ms, (const uint32_t[]){1, 2, 4}, 3);
    tick();
    assert_int_equal(sent_to(2, LIVENESS_UNSURE), 1);
}

/* Of a stranger, or with too many questions under way, nothing can be said. */
static void test_asked_unsure(void **state)
{
    (void)state;
    struct liveness_message probe = message_of(2, LIVENESS_PROBE);

    begin(256);
    probe.subject = 300;
    probe.wait_ms = 750;
    receive(probe);
    assert_int_equal(sent_to(2, LIVENESS_UNSURE), 1);
    for (uint32_t asker = 2; asker < 2 + LIVENESS_ASKED_MAX / 2; asker++) {
        for (uint32_t subject = 254; subject <= 255; subject++) {
            probe = message_of(asker, LIVENESS_PROBE);
            probe.subject = subject;
            probe.wait_ms = 750;
            receive(probe);
            receive(probe); /* Repeated: still one question. */
        }
    }
    assert_int_equal(world.liveness.counters.answered_unsure, 1);
    probe = message_of(200, LIVENESS_PROBE);
    probe.subject = 254;
    receive(probe);
    assert_int_equal(sent_to(200, LIVENESS_UNSURE), 1);
    heartbeat_from(254);
    assert_int_equal(world.liveness.counters.answered_yes, LIVENESS_ASKED_MAX / 2);
    receive(probe);
    assert_int_equal(sent_to(200, LIVENESS_UNSURE), 1); /* There is room again. */
}

/* A pause of our own is not the others' silence; and makes us wait longer for a while. */
static void test_pause(void **state)
{
    (void)state;

    begin(4);
    run(5000);
    world.now_ms += 60 * 1000;
    world.sent_count = 0;
    liveness_tick(&world.liveness, world.now_ms);
    for (uint32_t node = 2; node <= 4; node++) {
        assert_int_equal(belief(node), BELIEF_HEARD);
        assert_int_equal(sent_to(node, LIVENESS_HEARTBEAT), 1); /* At once: we are here. */
        assert_true(last_sent(node, LIVENESS_HEARTBEAT)->unheard_ms <= 3 * TICK_MS);
    }
    assert_int_equal(world.liveness.counters.pauses, 1);
    assert_int_equal(liveness_patience_ms(&world.liveness), DOWN_MS + HEARTBEAT_MS);
    run(2 * HEARTBEAT_MS);
    assert_int_equal(liveness_patience_ms(&world.liveness), DOWN_MS);
    world.now_ms += 4 * TICK_MS; /* Late, no pause. */
    liveness_tick(&world.liveness, world.now_ms);
    assert_int_equal(world.liveness.counters.pauses, 1);
    world.now_ms += 4 * TICK_MS + 1;
    liveness_tick(&world.liveness, world.now_ms);
    assert_int_equal(world.liveness.counters.pauses, 2);
}

/* What others say of the time of our pause is not held against them. */
static void test_pause_and_deaf(void **state)
{
    (void)state;
    struct liveness_message message = message_of(2, LIVENESS_HEARTBEAT);

    begin(2);
    run(5000);
    for (int i = 0; i < 10; i++) {
        world.now_ms += 60 * 1000;
        message.unheard_ms = 60 * 1000;
        receive(message);
        tick();
    }
    run(0);
    assert_int_equal(belief(2), BELIEF_HEARD);
    assert_int_equal(world.liveness.counters.deaf, 0);
}

/* Nobody answers: it may be us. At most three heartbeats longer; and back, when all is well. */
static void test_unanswered(void **state)
{
    (void)state;

    begin(5);
    run(5000);
    world.mute = 2;
    uint32_t ticks = 0;
    while (belief(2) != BELIEF_SILENT) {
        run(TICK_MS);
        ticks++;
        assert_true(ticks * TICK_MS <= DOWN_MS + LIVENESS_SLOW_MAX * HEARTBEAT_MS);
    }
    assert_true(ticks * TICK_MS > DOWN_MS + HEARTBEAT_MS - 2 * TICK_MS);
    assert_true(world.liveness.counters.probes_unanswered >= 2);
    run(4 * HEARTBEAT_MS);
    assert_int_equal(liveness_patience_ms(&world.liveness), DOWN_MS);
}

/* One answer shows that others are there: the patience of one unanswered round is taken back. */
static void test_answered(void **state)
{
    (void)state;

    begin(5);
    run(5000);
    world.mute = 2;
    run(DOWN_MS / 2 + LIVENESS_PROBE_MS_MAX - TICK_MS);
    assert_int_equal(world.liveness.counters.probes_unanswered, 1);
    assert_int_equal(liveness_patience_ms(&world.liveness), DOWN_MS + HEARTBEAT_MS);
    struct liveness_message no = message_of(3, LIVENESS_NO);
    no.subject = 2;
    no.number = world.liveness.peers[0].number;
    receive(no);
    run(LIVENESS_PROBE_MS_MAX - TICK_MS);
    assert_int_equal(liveness_patience_ms(&world.liveness), DOWN_MS + HEARTBEAT_MS);
    run(TICK_MS);
    assert_int_equal(liveness_patience_ms(&world.liveness), DOWN_MS);
}

/* A new life counts, messages of an earlier one do not, nor those of strangers. */
static void test_lives(void **state)
{
    (void)state;
    struct liveness_message old = message_of(2, LIVENESS_HEARTBEAT);
    struct liveness_message stranger = message_of(9, LIVENESS_PING);
    struct liveness_message again = message_of(2, LIVENESS_HEARTBEAT);

    begin(2);
    run(5000);
    again.from.start = 4;
    receive(again);
    assert_int_equal(world.liveness.counters.restarts, 1);
    world.mute = 2;
    for (uint32_t past = 0; past < DOWN_MS; past += TICK_MS) {
        receive(old);
        receive(stranger);
        tick();
    }
    assert_int_equal(belief(2), BELIEF_SILENT);
    assert_int_equal(world.liveness.counters.stale, 2 * DOWN_MS / TICK_MS);
    assert_int_equal(sent_to(9, LIVENESS_HEARTBEAT), 0);
    receive(again);
    assert_int_equal(belief(2), BELIEF_HEARD);
    assert_int_equal(world.liveness.counters.restarts, 1);
}

/* What a member goes by only grows, but in another life of it; this node says its own with each message. */
static void test_followed(void **state)
{
    (void)state;
    struct liveness_message message = message_of(2, LIVENESS_HEARTBEAT);

    begin(3);
    liveness_follow(&world.liveness, 7);
    liveness_follow(&world.liveness, 5);
    run(HEARTBEAT_MS);
    assert_int_equal(last_sent(2, LIVENESS_HEARTBEAT)->followed, 7);
    assert_int_equal(liveness_followed(&world.liveness, 2), 0);
    message.followed = 30;
    receive(message);
    message.followed = 20; /* One that was late. */
    receive(message);
    assert_int_equal(liveness_followed(&world.liveness, 2), 30);
    message.from.start++;
    receive(message);
    assert_int_equal(liveness_followed(&world.liveness, 2), 20);
    message.from.start--;
    message.followed = 40;
    receive(message);
    assert_int_equal(liveness_followed(&world.liveness, 2), 20);
    assert_int_equal(liveness_followed(&world.liveness, 3), 0);
    assert_int_equal(liveness_followed(&world.liveness, 9), 0);
}

/* Members come and go; what is known of the others stays. */
static void test_members(void **state)
{
    (void)state;
    const uint32_t fewer[] = {1, 3}, more[] = {300, 3, 2};

    begin(3);
    run(5000);
    liveness_members(&world.liveness, world.now_ms, fewer, 2);
    assert_int_equal(belief(2), BELIEF_UNKNOWN);
    assert_int_equal(belief(3), BELIEF_HEARD);
    world.mute = 2;
    run(TICK_MS);
    assert_int_equal(world.report.count, 1);
    liveness_members(&world.liveness, world.now_ms, more, 3);
    assert_int_equal(belief(3), BELIEF_HEARD);
    run(TICK_MS);
    assert_int_equal(world.report.count, 3);
    assert_int_equal(belief(300), BELIEF_UNKNOWN);
    heartbeat_from(2);
    assert_int_equal(world.liveness.counters.restarts, 0);
    begin(1);
    run(5000);
    assert_int_equal(world.sent_count, 0);
    assert_int_equal(world.report.count, 0);
}

/* What a node finds wrong with itself goes to all at once; a new leader is told at once. */
static void test_condition(void **state)
{
    (void)state;

    begin(3);
    run(5000);
    uint32_t reports = world.reports;
    world.sent_count = 0;
    liveness_condition(&world.liveness, world.now_ms, CONDITION_DISK_FULL | CONDITION_OPERATOR);
    assert_int_equal(world.reports, reports + 1);
    assert_int_equal(world.report.condition, CONDITION_DISK_FULL);
    assert_int_equal(last_sent(2, LIVENESS_HEARTBEAT)->condition, CONDITION_DISK_FULL);
    assert_int_equal(last_sent(3, LIVENESS_HEARTBEAT)->condition, CONDITION_DISK_FULL);
    liveness_condition(&world.liveness, world.now_ms, CONDITION_DISK_FULL);
    assert_int_equal(world.reports, reports + 1);
    liveness_new_leader(&world.liveness, world.now_ms);
    assert_int_equal(world.reports, reports + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings),
        cmocka_unit_test(test_heartbeats),
        cmocka_unit_test(test_heartbeats_quick),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_deaf),
        cmocka_unit_test(test_unheard),
        cmocka_unit_test(test_ping),
        cmocka_unit_test(test_reset_confirmed),
        cmocka_unit_test(test_reset_denied),
        cmocka_unit_test(test_reset_old_answers),
        cmocka_unit_test(test_no_early_silence),
        cmocka_unit_test(test_reset_of_two),
        cmocka_unit_test(test_asked_yes),
        cmocka_unit_test(test_asked_no),
        cmocka_unit_test(test_asked_unsure),
        cmocka_unit_test(test_pause),
        cmocka_unit_test(test_pause_and_deaf),
        cmocka_unit_test(test_unanswered),
        cmocka_unit_test(test_answered),
        cmocka_unit_test(test_lives),
        cmocka_unit_test(test_followed),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_condition),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
