/* What was written and acknowledged, and what of it must be there in the end.
 *
 * Each write sets a field of its own, so that a copy shows by its fields which writes it has. An acknowledged write may
 * be missing in the end only
 *
 *   - where its session was destroyed at or after it, or had a deadline;
 *   - at `memory`, where a node lost what it had appended at that time; at `replica`, where two did; at `disk` and
 *     `archive`, only where a node lost all that it had.
 *
 * And what an acknowledged destroy ended, that is all fields that its coordinator had, may not be there, where the
 * destroy itself may not be missing. */
#include "copies_scenario.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "record.h"
#include "status.h"

static struct copies_oracle *oracle_of(const struct copies_node *node)
{
    return &copies_scenario_of(node->sim)->oracle;
}

uint32_t copies_write_of(struct bytes name)
{
    uint32_t number = 0;

    if (name.size < 2 || name.data[0] != 'f') {
        return COPIES_WRITES_MAX;
    }
    for (size_t i = 1; i < name.size; i++) {
        number = number * 10 + (uint32_t)(name.data[i] - '0');
    }
    return number;
}

bool copies_was_added(const struct session_view *view, const struct copies_write *write,
                      uint32_t write_number)
{
    struct session_field field;
    char name[16];

    snprintf(name, sizeof name, "n%u", write->place / COPIES_DIGITS);
    if (!session_find(view, bytes_of_string(name), &field)) {
        return false;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < field.value.size; i++) {
        number = number * 10 + (uint64_t)(field.value.data[i] - '0');
    }
    uint64_t digit = number >> 2 * (write->place % COPIES_DIGITS) & 3;
    SIM_CHECK("twice", digit <= 1, "addition %u of key %u was done %u times", write_number,
              write->key, (unsigned)digit);
    return digit == 1;
}

bool copies_shows(struct bytes record, uint64_t now_ms, const struct copies_write *write,
                  uint32_t number)
{
    struct session_view view;
    struct session_field field;
    char name[16];

    if (record.size == 0 || session_open(&view, record, now_ms) != 0 || !view.live) {
        return false;
    }
    snprintf(name, sizeof name, "f%u", number);
    return write->adds ? copies_was_added(&view, write, number)
                       : session_find(&view, bytes_of_string(name), &field);
}

void copies_oracle_begins(struct copies_node *node, uint32_t number)
{
    struct copies_oracle *oracle = oracle_of(node);
    struct copies_write *write = &oracle->writes[number];
    struct bytes record = copies_node_record(node, write->key);
    struct session_view view;
    struct session_field field;

    for (uint32_t i = 0; i < oracle->write_count && write->destroys; i++) {
        oracle->writes[i].there = 0;
    }
    if (!write->destroys || record.size == 0 ||
        session_open(&view, record, copies_node_now_ms(node)) != 0 || !view.live) {
        return;
    }
    while (session_next(&view, false, &field)) {
        uint32_t ended = copies_write_of(field.name);
        if (ended < COPIES_WRITES_MAX) {
            oracle->writes[ended].there = number + 1;
        }
    }
}

/* What was there when this destroy began is to be gone. */
static void doom(struct copies_oracle *oracle, uint32_t number)
{
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        struct copies_write *write = &oracle->writes[i];
        if (write->there == number + 1 && write->doomed == 0) {
            write->doomed = number + 1;
        }
    }
}

void copies_oracle_executed(struct copies_node *node, uint32_t number, uint64_t hlc)
{
    struct copies_write *write = &oracle_of(node)->writes[number];
    struct bytes record = copies_node_record(node, write->key);
    struct record opened;

    if (write->destroys) {
        doom(oracle_of(node), number);
    }
    write->executions++;
    write->node = node->node;
    write->hlc = hlc > write->hlc ? hlc : write->hlc;
    write->now_ms = copies_node_now_ms(node);
    write->begun_us = node->sim->now_us;
    if (record_open(&opened, record, RECORD_FORMAT) == 0 && opened.birth_count > 0) {
        uint64_t birth_hlc = record_birth(&opened, 0).stamp.hlc;
        write->births = opened.birth_count;
        write->last_birth_hlc =
            birth_hlc > write->last_birth_hlc ? birth_hlc : write->last_birth_hlc;
        if (write->executions == 1 || birth_hlc < write->birth_hlc) {
            write->birth_hlc = birth_hlc;
        }
    }
}

void copies_oracle_acked(struct sim *sim, uint32_t number, enum ack_level level)
{
    struct copies_write *write = &copies_scenario_of(sim)->oracle.writes[number];

    SIM_CHECK("answer", write->level == 0, "write %u is acknowledged twice", number);
    write->level = (uint8_t)level;
    write->acked_us = sim->now_us;
    sim_count(sim, level == ACK_ARCHIVE   ? SIM_ACKS_ARCHIVE
                   : level == ACK_DISK    ? SIM_ACKS_DISK
                   : level == ACK_REPLICA ? SIM_ACKS_REPLICA
                                          : SIM_ACKS_MEMORY);
    sim_count(sim, write->destroys ? SIM_DESTROYS : SIM_EVENTS);
}

void copies_oracle_lost(struct copies_node *node, uint64_t since_us, uint64_t until_us, bool wiped)
{
    struct copies_oracle *oracle = oracle_of(node);

    SIM_CHECK("sim", oracle->loss_count < COPIES_LOSSES_MAX, "too many losses");
    oracle->losses[oracle->loss_count++] =
        (struct copies_loss){node->node, wiped, since_us, until_us};
}

/* ---- Versions ---- */

void copies_oracle_look(struct copies_node *node)
{
    for (uint32_t key = 0; key < COPIES_KEYS; key++) {
        struct bytes record = copies_node_record(node, key);
        struct reader reader = reader_of(bytes_of(node->versions[key], node->version_bytes[key]));
        struct version before;
        struct record opened;

        node->version_bytes[key] = record.size == 0 ? 0 : node->version_bytes[key];
        if (record.size == 0 || record_open_head(&opened, record, RECORD_FORMAT) != 0) {
            continue; /* It was forgotten. */
        }
        if (node->version_bytes[key] > 0 && version_read(&reader, true, &before)) {
            SIM_CHECK("version", version_covers_all(&opened.version, &before),
                      "node %u has seen less of key %u than before", node->node, key);
        }
        if (opened.token.size <= COPIES_VERSION_BYTES_MAX) {
            memcpy(node->versions[key], opened.token.data, opened.token.size);
            node->version_bytes[key] = opened.token.size;
        }
    }
}

/* ---- The end ---- */

/* May an acknowledged write be missing, as more was lost than its level stands? */
static bool may_be_lost(const struct copies_oracle *oracle, const struct copies_write *write)
{
    uint32_t nodes = 0, count = 0;
    bool wiped = false;

    for (uint32_t i = 0; i < oracle->loss_count; i++) {
        const struct copies_loss *loss = &oracle->losses[i];
        if (loss->since_us <= write->acked_us && loss->until_us >= write->begun_us) {
            nodes |= 1U << loss->node;
            wiped |= loss->wiped;
        }
    }
    for (; nodes != 0; nodes &= nodes - 1) {
        count++;
    }
    return write->level >= ACK_DISK ? wiped : count >= (write->level == ACK_MEMORY ? 1U : 2U);
}

bool copies_may_be_ended(const struct copies_oracle *oracle, const struct copies_write *write)
{
    return write->key < COPIES_TIMED_KEYS || copies_may_be_destroyed(oracle, write);
}

bool copies_may_be_destroyed(const struct copies_oracle *oracle, const struct copies_write *write)
{
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *other = &oracle->writes[i];
        if (other->destroys && other->key == write->key && other->executions > 0 &&
            other->hlc >= write->birth_hlc) {
            return true;
        }
    }
    return false;
}

/* ---- Deadlines ---- */

/* May a session with this write be past its deadline: the one that it set, or that was set later, or that of a session
 * begun later on the other side of a cut, which hides this one? */
static bool may_be_over(const struct copies_oracle *oracle, const struct copies_write *write,
                        uint64_t now_ms)
{
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *other = &oracle->writes[i];
        if (other->key == write->key && other->executions > 0 && !other->destroys &&
            (other->hlc >= write->hlc || other->birth_hlc > write->birth_hlc) &&
            (other->executions > 1 || now_ms >= other->now_ms + copies_ttl_ms(i))) {
            return true;
        }
    }
    return false;
}

/* Has the node lost it that had it first? */
static bool is_lost_there(const struct copies_oracle *oracle, const struct copies_write *write)
{
    for (uint32_t i = 0; i < oracle->loss_count; i++) {
        const struct copies_loss *loss = &oracle->losses[i];
        if (loss->node == write->node && loss->since_us <= write->acked_us &&
            loss->until_us >= write->begun_us) {
            return true;
        }
    }
    return false;
}

/* Does the burial at this node, of all births up to this one, end the session of the write, though an owner had it? */
static bool is_buried(struct copies_node *node, const struct copies_write *write,
                      uint64_t death_hlc)
{
    struct copies_scenario *scenario = copies_scenario_of(node->sim);
    uint32_t owner = scenario->nodes[write->node].number;

    return write->level != 0 && !write->destroys && write->executions == 1 && write->births == 1 &&
           write->birth_hlc <= death_hlc &&
           slot_owners_has(&node->table->owners[slot_of_key(copies_key(write->key))], owner) &&
           !is_lost_there(&scenario->oracle, write) &&
           !copies_may_be_destroyed(&scenario->oracle, write);
}

/* All owners have to agree that it is over. */
void copies_oracle_buried(struct copies_node *node, uint32_t key)
{
    const struct copies_oracle *oracle = oracle_of(node);
    struct bytes record = copies_node_record(node, key);
    uint64_t now_ms = copies_node_now_ms(node);
    struct record opened;

    if (record_open(&opened, record, RECORD_FORMAT) != 0) {
        return;
    }
    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        if (write->key == key && is_buried(node, write, opened.version.death.hlc)) {
            SIM_CHECK("buried", may_be_over(oracle, write, now_ms),
                      "node %u buries key %u before the deadline that write %u set", node->node,
                      key, i);
        }
    }
}

static void check_write(struct copies_node *node, const struct copies_oracle *oracle,
                        uint32_t number)
{
    const struct copies_write *write = &oracle->writes[number];
    const struct copies_write *end = &oracle->writes[write->doomed == 0 ? 0 : write->doomed - 1];
    struct bytes record = copies_node_record(node, write->key);
    bool has = copies_shows(record, copies_node_now_ms(node), write, number);

    if (write->level != 0 && !has) {
        bool ended = copies_may_be_ended(oracle, write);
        SIM_CHECK("acknowledged", ended || may_be_lost(oracle, write),
                  "node %u has not write %u of key %u, acknowledged at level %u", node->node,
                  number, write->key, write->level);
        node->sim->counts[SIM_ACKS_LOST] += !ended;
    }
    if (write->doomed != 0 && write->executions == 1 && end->level != 0 && has) {
        SIM_CHECK("resurrected", may_be_lost(oracle, end),
                  "node %u has write %u of key %u, which %u ended", node->node, number, write->key,
                  write->doomed - 1);
    }
}

void copies_oracle_check(struct sim *sim)
{
    struct copies_scenario *scenario = copies_scenario_of(sim);
    const struct copies_oracle *oracle = &scenario->oracle;

    for (uint32_t i = 0; i < oracle->write_count; i++) {
        const struct copies_write *write = &oracle->writes[i];
        struct copies_node *owner;
        for (uint32_t rank = 0; !write->destroys && rank < scenario->replicas; rank++) {
            owner = copies_owner(scenario, write->key, rank);
            if (owner != NULL) {
                check_write(owner, oracle, i);
            }
        }
    }
}
