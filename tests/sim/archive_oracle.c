/* What must be in the archive, at any moment, and what not.
 *
 *   - What was acknowledged at `archive`, and what a node takes for archived, is restored, unless its session was destroyed
 *     or had a deadline; and what such a destroy ended is not.
 *   - As of a time T a session is what all writes up to T come to (the join of what was there behind each), where these
 *     were archived before there was a later one: a whole record tells of all that it has, at the time of its newest.
 *     A write that its node lost with a part of its log may be there or not.
 *   - What a node keeps of how far all is archived is so, also where it had given up some of its log.
 *   - Where a node says that all that it has is archived, all is that it has, whoever stamped it.
 *   - What a node's figures say is the least age of what would be lost, is; and unless something is at fault, that is no
 *     more than the flush interval and a PUT. */
#include "archive_scenario.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "heap.h"

enum {
    ROUNDING_MS = 12, /* Of clocks that drift apart, too. */
    CATCH_UP_US = SIM_STORE_LIMIT_US + ARCHIVE_SIM_PAUSE_MS_MAX * 1000 + 600 * 1000,
    /* Beside the interval: of a PUT that was under way, and of its own one; of a thread that makes an object twice, as the
     * shard was busy, and of keeping how far it is; of the disk; of turns. */
    PUTS_MS = 2 * SIM_STORE_PUT_US_MAX / 1000,
    JOBS_MS = 8 * ARCHIVE_SIM_JOB_US_MAX / 1000 + 4 * 50,
    DISK_MS = (SIM_LOG_INTERVAL_US + 2 * SIM_DISK_WRITE_US_MAX) / 1000,
    TURNS_MS = 4 * ARCHIVE_SIM_TURN_US / 1000,
    BEHIND_MS_MAX = ARCHIVE_SIM_FLUSH_MS + PUTS_MS + JOBS_MS + DISK_MS + TURNS_MS,
    LATELY_US = 5000000,
};

static struct copies_oracle *oracle_of(struct sim *sim)
{
    return &archive_scenario_of(sim)->copies.oracle;
}

static struct archive_write *write_at(struct sim *sim, uint32_t number)
{
    return &archive_scenario_of(sim)->writes[number];
}

void archive_oracle_executed(struct copies_node *copies, uint32_t number)
{
    struct sim *sim = copies->sim;
    const struct archive_node *node = &archive_scenario_of(sim)->nodes[copies->node];
    struct archive_write *write = write_at(sim, number);
    struct bytes record = copies_node_record(copies, oracle_of(sim)->writes[number].key);

    uint8_t *copy = sim_more(NULL, record.size + 1);
    if (record.size > 0) {
        memcpy(copy, record.data, record.size);
    }
    *write = (struct archive_write){
        .record = bytes_of(copy, record.size),
        .node = copies->node,
        .end = sim->nodes[copies->node].disk.size,
    };
    if (write->end <= node->archiver.shards[0].archived) {
        write->archived_us = sim->now_us; /* It changed nothing. */
    }
}

/* Is it in the log of this node? */
static bool is_there(struct sim *sim, const struct archive_node *node, uint32_t number)
{
    return oracle_of(sim)->writes[number].executions > 0 &&
           write_at(sim, number)->node == node->place && !write_at(sim, number)->lost;
}

void archive_oracle_archived(struct archive_node *node, uint64_t lsn)
{
    struct sim *sim = node->sim;

    for (uint32_t i = 0; i < oracle_of(sim)->write_count; i++) {
        struct archive_write *write = write_at(sim, i);
        if (is_there(sim, node, i) && !write->given_up && write->end <= lsn &&
            write->archived_us == 0) {
            write->archived_us = sim->now_us;
        }
    }
}

void archive_oracle_given_up(struct archive_node *node, uint64_t from, uint64_t to)
{
    struct sim *sim = node->sim;

    for (uint32_t i = 0; i < oracle_of(sim)->write_count; i++) {
        struct archive_write *write = write_at(sim, i);
        if (is_there(sim, node, i) && write->end > from && write->end <= to &&
            write->archived_us == 0) {
            write->given_up = true;
        }
    }
}

void archive_oracle_based(struct archive_node *node, uint64_t lsn)
{
    struct sim *sim = node->sim;

    for (uint32_t i = 0; i < oracle_of(sim)->write_count; i++) {
        struct archive_write *write = write_at(sim, i);
        if (is_there(sim, node, i) && write->given_up && write->end <= lsn &&
            node->vectors[oracle_of(sim)->writes[i].key].size > 0) {
            write->given_up = false;
            write->based = true;
            write->archived_us = sim->now_us;
        }
    }
}

void archive_oracle_kept(struct archive_node *node, const struct archive_mark *mark)
{
    struct sim *sim = node->sim;

    for (uint32_t i = 0; i < oracle_of(sim)->write_count && mark->based; i++) {
        SIM_CHECK("based",
                  !is_there(sim, node, i) || !write_at(sim, i)->given_up ||
                      write_at(sim, i)->end > mark->lsn,
                  "node %u keeps that all is archived up to %" PRIu64
                  ", and write %u of key %u was given up and is in no checkpoint",
                  node->place, mark->lsn, i, oracle_of(sim)->writes[i].key);
    }
}

void archive_oracle_cut(struct archive_node *node, size_t end)
{
    struct sim *sim = node->sim;

    for (uint32_t i = 0; i < oracle_of(sim)->write_count; i++) {
        struct archive_write *write = write_at(sim, i);
        if (is_there(sim, node, i) && write->end > end) {
            write->lost = true;
        }
    }
}

/* ---- How much would be lost ---- */

void archive_oracle_behind(struct archive_node *node)
{
    struct sim *sim = node->sim;
    uint64_t behind_ms = archiver_behind_ms(&node->archiver, archive_node_now_ms(node));

    for (uint32_t i = 0; i < oracle_of(sim)->write_count; i++) {
        uint64_t begun_us = oracle_of(sim)->writes[i].begun_us;
        if (is_there(sim, node, i) && begun_us >= node->began_us && !write_at(sim, i)->given_up &&
            write_at(sim, i)->archived_us == 0) {
            uint64_t age_ms = (sim->now_us - begun_us) / 1000;
            SIM_CHECK("rpo", age_ms <= behind_ms + ROUNDING_MS,
                      "node %u says that nothing older than %" PRIu64
                      " ms is not archived; write %u is not, after %" PRIu64 " ms",
                      node->place, behind_ms, i, age_ms);
        }
    }
    if (sim->now_us - node->harmed_us > CATCH_UP_US) {
        SIM_CHECK("bound", behind_ms <= BEHIND_MS_MAX,
                  "node %u is %" PRIu64 " ms behind, and nothing is at fault", node->place,
                  behind_ms);
        sim_count(sim, SIM_BOUNDS_LOOKED_AT);
    }
}

/* ---- What is restored now ---- */

/* Is it safe, whatever happens to nodes? */
static bool is_safe(struct sim *sim, uint32_t number)
{
    return oracle_of(sim)->writes[number].level == ACK_ARCHIVE ||
           write_at(sim, number)->archived_us != 0;
}

static bool shows(struct sim *sim, const struct archive_restored *restored, uint32_t number)
{
    const struct copies_write *write = &oracle_of(sim)->writes[number];

    return copies_shows(buffer_bytes(&restored->records[write->key]), sim_clock_true_ms(sim), write,
                        number);
}

static void check_write(struct sim *sim, const struct archive_restored *restored, uint32_t number)
{
    const struct copies_oracle *oracle = oracle_of(sim);
    const struct copies_write *write = &oracle->writes[number];
    bool has = shows(sim, restored, number);

    if (is_safe(sim, number) && !has) {
        SIM_CHECK(
            "archived", copies_may_be_ended(oracle, write),
            "write %u of key %u, of node %u and acknowledged at level %u, is archived, and not "
            "restored",
            number, write->key, write->node, write->level);
    }
    if (write->doomed != 0 && has) {
        SIM_CHECK("resurrected", !is_safe(sim, write->doomed - 1),
                  "write %u of key %u is restored, and %u, which is archived, ended it", number,
                  write->key, write->doomed - 1);
    }
}

/* ---- As of a time ---- */

/* When a write was stamped, as far as a record of its session tells. */
static uint64_t hlc_of(struct sim *sim, uint32_t number)
{
    struct bytes record = write_at(sim, number)->record;

    return record.size > 0 ? session_newest_stamp(record) : 0;
}

/* Was all of this session up to that time archived before there was anything later of it? */
static bool is_settled(struct sim *sim, uint32_t key, uint64_t as_of_hlc)
{
    const struct copies_oracle *oracle = oracle_of(sim);
    uint64_t later_us = UINT64_MAX;

    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        if (write->key == key && write->executions > 0 && hlc_of(sim, i) > as_of_hlc &&
            write->begun_us < later_us) {
            later_us = write->begun_us;
        }
    }
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        const struct archive_write *beside = write_at(sim, i);
        if (write->key != key || write->executions == 0 || hlc_of(sim, i) > as_of_hlc) {
            continue;
        }
        if (beside->based && as_of_hlc != UINT64_MAX) {
            return false; /* The checkpoint may be of a later time. */
        }
        if (beside->lost ? write->destroys
                         : beside->archived_us == 0 || beside->archived_us > later_us) {
            return false;
        }
    }
    return true;
}

/* The join of what there was of a session behind each write up to that time. */
static void join_all(struct sim *sim, uint32_t key, uint64_t as_of_hlc, struct buffer *to)
{
    const struct copies_oracle *oracle = oracle_of(sim);
    struct buffer joined = {.memory = heap_memory()};

    to->size = 0;
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        struct bytes record = write_at(sim, i)->record;
        if (oracle->writes[i].key != key || record.size == 0 || hlc_of(sim, i) > as_of_hlc) {
            continue;
        }
        int rc = to->size == 0 ? buffer_append(&joined, record)
                               : session_merge(buffer_bytes(to), record, &joined);
        SIM_CHECK("merge", rc == 0, "two records of key %u do not join: %d", key, rc);
        struct buffer before = *to;
        *to = joined;
        joined = before;
        joined.size = 0;
    }
    buffer_fini(&joined);
}

/* Where tombstones are forgotten, what was written on the other side of a cut may outlive an end that did not know of it. */
static bool may_outlive(struct sim *sim, const struct copies_write *write, uint64_t as_of_hlc)
{
    return archive_scenario_of(sim)->copies.tombstone_ms < (uint64_t)sim->heals_us / 1000 &&
           (write->doomed == 0 || hlc_of(sim, write->doomed - 1) > as_of_hlc);
}

static void check_as_of(struct sim *sim, uint32_t key, uint64_t as_of_hlc,
                        const struct archive_restored *restored)
{
    const struct copies_oracle *oracle = oracle_of(sim);
    struct buffer joined = {.memory = heap_memory()};

    join_all(sim, key, as_of_hlc, &joined);
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        if (write->key != key || write->executions == 0 || write->destroys ||
            write_at(sim, i)->lost) {
            continue;
        }
        bool should = copies_shows(buffer_bytes(&joined), sim_clock_true_ms(sim), write, i);
        bool has = shows(sim, restored, i);
        SIM_CHECK("as_of", should == has || (has && may_outlive(sim, write, as_of_hlc)),
                  "as of %" PRIx64 " write %u (%" PRIx64 ") of key %u is %srestored", as_of_hlc, i,
                  hlc_of(sim, i), key, has ? "" : "not ");
    }
    buffer_fini(&joined);
    sim_count(sim, SIM_AS_OF);
}

static void check_all_as_of(struct sim *sim, uint64_t as_of_hlc,
                            const struct archive_restored *restored)
{
    for (uint32_t key = COPIES_TIMED_KEYS; key < COPIES_KEYS; key++) {
        if (is_settled(sim, key, as_of_hlc)) {
            check_as_of(sim, key, as_of_hlc, restored);
        }
    }
}

/* The time of one of the last writes, where that is within the window. 0: it is not. */
static uint64_t draw_time(struct sim *sim)
{
    const struct copies_oracle *oracle = oracle_of(sim);

    if (oracle->write_count == 0) {
        return 0;
    }
    uint32_t number = (uint32_t)sim_between(sim, SIM_RANDOM_STORE, 0, oracle->write_count - 1);
    while (number + 1 < oracle->write_count &&
           oracle->writes[number].begun_us + LATELY_US < sim->now_us) {
        number += (oracle->write_count - number) / 2;
    }
    uint64_t hlc = hlc_of(sim, number);
    return hlc >= archive_scenario_of(sim)->kept_hlc ? hlc : 0;
}

/* ---- What others have ---- */

/* Does this node say that all that it has is archived, whoever stamped it? */
static bool says_all(struct archive_node *node)
{
    const struct sim_node *place = &node->sim->nodes[node->place];

    return place->up && !place->paused && archive_node_is_done(node) && node->based &&
           node->given_up == 0 && node->archiver.shards[0].archived == place->disk.size;
}

/* Then it is, though its coordinators have lost it, or are down. */
static void check_copies(struct sim *sim, const struct archive_restored *restored)
{
    const struct copies_oracle *oracle = oracle_of(sim);

    for (uint32_t place = 1; place <= sim->node_count; place++) {
        struct archive_node *node = &archive_scenario_of(sim)->nodes[place];
        for (uint32_t i = 0; says_all(node) && i < oracle->write_count; i++) {
            const struct copies_write *write = &oracle->writes[i];
            if (write->executions != 1 || write->destroys || write_at(sim, i)->given_up ||
                !copies_shows(copies_node_record(node->copies, write->key), sim_clock_true_ms(sim),
                              write, i)) {
                continue;
            }
            SIM_CHECK(
                "copies", shows(sim, restored, i) || copies_may_be_ended(oracle, write),
                "node %u has write %u of key %u, of node %u, says that all is archived, and it is "
                "not restored",
                place, i, write->key, write_at(sim, i)->node);
            sim_count(sim, SIM_COPIES_LOOKED_AT);
        }
    }
}

void archive_oracle_check(struct sim *sim)
{
    struct archive_restored *restored = &archive_scenario_of(sim)->restored;

    archive_restore(sim, UINT64_MAX, restored);
    SIM_CHECK("left", restored->left == 0 || archive_scenario_of(sim)->baseless,
              "%u changes are restored without what they build on", restored->left);
    for (uint32_t i = 0; i < oracle_of(sim)->write_count; i++) {
        const struct copies_write *write = &oracle_of(sim)->writes[i];
        if (write->executions == 1 && !write->destroys) {
            check_write(sim, restored, i);
        }
    }
    check_copies(sim, restored);
    check_all_as_of(sim, UINT64_MAX, restored);
    uint64_t hlc = draw_time(sim);
    if (hlc != 0) {
        archive_restore(sim, hlc, restored);
        check_all_as_of(sim, hlc, restored);
    }
}

/* Is a write neither in its node's log nor archived by it? Perhaps nobody has it; those that do archive it. */
static bool is_adrift(struct sim *sim, uint32_t number)
{
    return write_at(sim, number)->lost || write_at(sim, number)->given_up;
}

/* May a write be restored although it has ended: as what ended it is adrift, or as below where tombstones are forgotten? */
static bool may_be_outlived(struct sim *sim, uint32_t number)
{
    const struct copies_oracle *oracle = oracle_of(sim);

    for (uint32_t i = 0; i < oracle->write_count; i++) {
        if (oracle->writes[i].destroys && oracle->writes[i].key == oracle->writes[number].key &&
            oracle->writes[i].executions > 0 && is_adrift(sim, i)) {
            return true;
        }
    }
    return may_outlive(sim, &oracle->writes[number], UINT64_MAX);
}

void archive_oracle_check_end(struct sim *sim)
{
    struct archive_scenario *scenario = archive_scenario_of(sim);
    const struct copies_oracle *oracle = oracle_of(sim);

    archive_oracle_check(sim);
    archive_restore(sim, UINT64_MAX, &scenario->restored);
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        struct copies_node *owner = copies_owner(&scenario->copies, write->key, 0);
        if (write->executions != 1 || write->destroys || write->key < COPIES_TIMED_KEYS ||
            write_at(sim, i)->given_up) {
            continue;
        }
        bool lives =
            copies_shows(copies_node_record(owner, write->key), sim_clock_true_ms(sim), write, i);
        bool has = shows(sim, &scenario->restored, i);
        SIM_CHECK("end", lives == has || (has && (is_adrift(sim, i) || may_be_outlived(sim, i))),
                  "write %u of key %u is %s, but not %s", i, write->key,
                  lives ? "at its owner" : "restored", lives ? "restored" : "at its owner");
    }
    archive_restore_into(sim, &scenario->restored);
}
