/* Renames between nodes, over links between real planes: what was left half done is ended, and what both sides of a partition
 * did is settled. */
#include "alias.h"
#include "check.h"
#include "move.h"
#include "moves.h"
#include "planes_kit.h"
#include "record_write.h"
#include "resp_lines.h"

static struct planes_kit kit;
static uint16_t tags[SLOT_COUNT];

static uint64_t then_ms; /* Not long ago. */

/* ---- Records, as a node has them when it starts ---- */

static struct shard *shard_of(struct plane_kit *node, struct bytes key)
{
    return node->shards[slot_of_key(key) % node->options.shard_count];
}

static bool owns(const struct plane_kit *node, struct bytes key)
{
    uint32_t first = slot_of_key(key) % kit.count, number = node->options.actor.node - 1;

    return number == first || number == (first + 1) % kit.count;
}

static bool is_first(const struct plane_kit *node, struct bytes key)
{
    return node->options.actor.node - 1 == slot_of_key(key) % kit.count;
}

static void give(struct plane_kit *node, struct bytes key, const struct buffer *record)
{
    assert_int_equal(shard_restore_record(shard_of(node, key), buffer_bytes(record)), 0);
}

/* What a write makes of a record, by a node of that number. */
static void write_to(struct buffer *record, struct bytes key, uint32_t node, uint64_t now_ms,
                     const struct change *change)
{
    record_write(record, key, (struct actor){node, 1}, now_ms, SESSION_MAP, change);
}

static void set_field(struct buffer *record, struct bytes key, uint32_t node, uint64_t now_ms,
                      const char *name, const char *value)
{
    const struct change change = {
        .operation = CHANGE_SET, .name = text(name), .value = text(value)};

    write_to(record, key, node, now_ms, &change);
}

static struct stamp birth_of(const struct buffer *record)
{
    struct session_view view;

    assert_int_equal(session_open(&view, buffer_bytes(record), then_ms), 0);
    return view.leader_.birth.stamp;
}

static void rename_to(struct buffer *record, uint32_t node, uint64_t now_ms, uint64_t id,
                      struct bytes to, struct stamp birth)
{
    const struct alias alias = {.id = id, .birth = birth, .key = to};
    const struct stamp stamp = {hlc_of_ms(now_ms), {node, 1}};
    struct buffer out = {.memory = heap_memory()};

    assert_int_equal(alias_begin(buffer_bytes(record), stamp, &alias, 0, &out), 0);
    record->size = 0;
    assert_int_equal(buffer_append(record, buffer_bytes(&out)), 0);
    buffer_fini(&out);
}

/* One session under `new`, at all of its owners. Returns its birth. */
static struct stamp give_target(struct plane_kit *node, struct bytes new, uint64_t now_ms)
{
    struct buffer record = {.memory = heap_memory()};

    set_field(&record, new, 1, now_ms, "f", "treasure");
    if (owns(node, new)) {
        give(node, new, &record);
    }
    struct stamp birth = birth_of(&record);
    buffer_fini(&record);
    return birth;
}

/* The letter of a rename, with the old session. */
static void make_letter(struct buffer *letter, struct bytes key, const struct buffer *old,
                        struct bytes to, uint64_t id)
{
    uint8_t intent[2048] = {0};

    store_u64(intent, id);
    store_u64(intent + 8, then_ms);
    store_u64(intent + 16, hlc_of_ms(then_ms));
    uint8_t *at = varint_put(intent + 25, to.size);
    memcpy(at, to.data, to.size);
    memcpy(at + to.size, old->data, old->size);
    const struct change change = {
        .operation = CHANGE_SET,
        .name = bytes_of((const uint8_t *)"", 0),
        .value = bytes_of(intent, (size_t)(at - intent) + to.size + old->size)};
    struct rename_intent read;
    assert_true(rename_intent_read(change.value, &read));
    write_to(letter, key, 1, then_ms, &change);
}

/* ---- Stories: what the two owners of an old key have ---- */

enum { STORIES = 12 };

static char name_room[64];

static struct bytes name_of(const char *what, uint32_t number)
{
    int size = snprintf(name_room, sizeof name_room, "%s%u", what, number);

    return bytes_of(name_room, (size_t)size);
}

static bool damages; /* What the letters have. */

/* A letter, and the alias beside it. */
static void give_letter(struct plane_kit *node, uint64_t id, struct bytes name, struct bytes to)
{
    struct buffer old = {.memory = heap_memory()}, letter = old;
    uint8_t room[MOVE_KEY_BYTES];

    struct bytes key = move_letter_key(tags[slot_of_key(name)], id, room);
    set_field(&old, name, 1, then_ms, "f", "treasure");
    old.data[0] |= damages ? RECORD_FLOOR : 0;
    make_letter(&letter, key, &old, to, id);
    old.data[0] &= (uint8_t) ~(damages ? RECORD_FLOOR : 0);
    rename_to(&old, 1, then_ms + 1, id, to, (struct stamp){0, {0, 0}});
    give(node, name, &old);
    give(node, key, &letter);
    buffer_fini(&old);
    buffer_fini(&letter);
}

/* One of them has a letter that was not delivered. */
static void restore_letter(struct plane_kit *node, uint32_t number)
{
    char name[32], to[32];

    snprintf(name, sizeof name, "letter%u", number);
    snprintf(to, sizeof to, "letter-new%u", number);
    if (owns(node, text(name)) && is_first(node, text(name)) == (number % 2 == 0)) {
        give_letter(node, 100 + number, text(name), text(to));
    }
}

/* Both renamed it. */
static void restore_two(struct plane_kit *node, uint32_t number)
{
    struct buffer old = {.memory = heap_memory()};
    char name[32], left[32], right[32];

    snprintf(name, sizeof name, "two%u", number);
    snprintf(left, sizeof left, "two-left%u", number);
    snprintf(right, sizeof right, "two-right%u", number);
    struct stamp first = give_target(node, text(left), then_ms + 10);
    struct stamp second = give_target(node, text(right), then_ms + 20);
    set_field(&old, text(name), 1, then_ms, "f", "treasure");
    if (owns(node, text(name)) && is_first(node, text(name)) == (number % 2 == 0)) {
        rename_to(&old, 1, then_ms + 1, 1000 + number, text(left), first);
        give(node, text(name), &old);
    } else if (owns(node, text(name))) {
        rename_to(&old, 2, then_ms + 2, 2000 + number, text(right), second);
        give(node, text(name), &old);
    }
    buffer_fini(&old);
}

/* One renamed it; the other wrote to it, or ended it. */
static void restore_late(struct plane_kit *node, uint32_t number, bool ends)
{
    static const struct change destroy = {.operation = CHANGE_DESTROY};
    struct buffer old = {.memory = heap_memory()};
    char name[32], to[32];

    snprintf(name, sizeof name, ends ? "end%u" : "late%u", number);
    snprintf(to, sizeof to, ends ? "end-new%u" : "late-new%u", number);
    struct stamp birth = give_target(node, text(to), then_ms + 10);
    set_field(&old, text(name), 1, then_ms, "f", "treasure");
    if (owns(node, text(name)) && is_first(node, text(name)) == (number % 2 == 0)) {
        rename_to(&old, 1, then_ms + 1, 3000 + number, text(to), birth);
        give(node, text(name), &old);
    } else if (owns(node, text(name)) && ends) {
        write_to(&old, text(name), 2, then_ms + 5, &destroy);
        give(node, text(name), &old);
    } else if (owns(node, text(name))) {
        set_field(&old, text(name), 2, then_ms + 5, "g", "late");
        give(node, text(name), &old);
    }
    buffer_fini(&old);
}

static void restore(struct plane_kit *node)
{
    for (uint32_t number = 0; number < STORIES; number++) {
        restore_letter(node, number);
        restore_two(node, number);
        restore_late(node, number, false);
        restore_late(node, number, true);
    }
}

/* ---- Clients ---- */

/* Ask again until the field has that value; NULL: it has none. */
static void await(struct plane_client *client, struct bytes key, const char *field,
                  const char *value)
{
    char line[RESP_LINE_BYTES] = "", ask[128];
    bool is = false;

    int size =
        snprintf(ask, sizeof ask, "HGET %.*s %s\r\n", (int)key.size, (const char *)key.data, field);
    for (int tries = 0; !is; tries++) {
        if (tries == 60000) {
            fail_msg("%s: %s", ask, line);
        }
        usleep(tries > 0 ? 1000 : 0);
        plane_client_send(client, bytes_of(ask, (size_t)size));
        plane_client_line(client, line);
        bool none = strcmp(line, "$-1") == 0;
        if (line[0] == '$' && !none) {
            plane_client_line(client, line);
            is = value != NULL && strcmp(line, value) == 0;
        } else {
            is = none && value == NULL;
        }
    }
}

static void test_all_is_settled(void **state)
{
    static const uint32_t shards[] = {2, 1, 2};
    struct plane_client clients[3];

    (void)state;
    rename_tags(tags);
    planes_kit_init(&kit, 3, shards);
    then_ms = plane_kit_now_ms(&kit.nodes[0]) - 5000;
    for (uint32_t i = 0; i < 3; i++) {
        kit.nodes[i].restore = restore;
    }
    planes_kit_start(&kit, 2);
    for (uint32_t i = 0; i < 3; i++) {
        plane_client_connect(&clients[i], &kit.nodes[i]);
    }
    for (uint32_t number = 0; number < STORIES; number++) {
        struct plane_client *client = &clients[number % 3];
        await(client, name_of("letter-new", number), "f", "treasure");
        await(client, name_of("two-left", number), "f", NULL);
        await(client, name_of("late-new", number), "g", "late");
        await(client, name_of("end-new", number), "f", NULL);
    }
    for (uint32_t number = 0; number < STORIES; number++) {
        struct plane_client *client = &clients[(number + 1) % 3];
        await(client, name_of("letter", number), "f", NULL);
        await(client, name_of("letter-new", number), "f", "treasure");
        await(client, name_of("two", number), "f", NULL);
        await(client, name_of("two-right", number), "f", "treasure");
        await(client, name_of("late", number), "g", NULL);
        await(client, name_of("late-new", number), "f", "treasure");
        await(client, name_of("end", number), "f", NULL);
    }
    for (uint32_t i = 0; i < 3; i++) {
        plane_client_close(&clients[i]);
    }
    planes_kit_stop(&kit);
}

/* A key that nobody can have now: nothing is renamed. */
static void test_nobody_is_there(void **state)
{
    static const uint32_t shards[] = {1, 2, 1};
    struct plane_client client;
    char line[RESP_LINE_BYTES], command[128];
    uint32_t refused = 0;

    (void)state;
    planes_kit_init(&kit, 3, shards);
    planes_kit_start(&kit, 1);
    plane_client_connect(&client, &kit.nodes[0]);
    plane_kit_stop(&kit.nodes[2]);
    kit.nodes[2].plane = NULL;
    for (uint32_t number = 0; refused < 2; number++) {
        char old[16], new[16];
        snprintf(old, sizeof old, "old%u", number);
        snprintf(new, sizeof new, "new%u", number);
        if (planes_kit_owner(&kit, new) != 2 || planes_kit_owner(&kit, old) == 2) {
            continue;
        }
        refused++;
        int size = snprintf(command, sizeof command, "HSET %s f v\r\n", old);
        plane_client_send(&client, bytes_of(command, (size_t)size));
        plane_client_line(&client, line);
        assert_string_equal(line, ":1");
        size = snprintf(command, sizeof command, "RENAME%s %s %s\r\n", refused == 1 ? "" : "NX",
                        old, new);
        plane_client_send(&client, bytes_of(command, (size_t)size));
        plane_client_line(&client, line);
        assert_memory_equal(line, "-NOREPLICAS", 11);
        await(&client, text(old), "f", "v");
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* More letters than are delivered at a time, most of them to nobody. */
enum { PILE = 90, PILE_DELIVERED = 25 };

/* The next one from node 0, to node 1 or 2. Returns which. */
static uint32_t next_in_pile(uint32_t *number, char name[32], char to[32])
{
    for (;;) {
        ++*number;
        snprintf(name, 32, "pile%u", *number);
        snprintf(to, 32, "pile-new%u", *number);
        if (planes_kit_owner(&kit, name) == 0 && planes_kit_owner(&kit, to) != 0) {
            return planes_kit_owner(&kit, to);
        }
    }
}

static void restore_pile(struct plane_kit *node)
{
    char name[32], to[32];
    uint32_t number = 0;

    for (uint32_t i = 0, near = 0; i < PILE; i++) {
        uint32_t target = next_in_pile(&number, name, to);
        if (target == 2 || near++ < PILE_DELIVERED) {
            give_letter(node, 100 + number, text(name), text(to));
        }
    }
}

static void test_a_pile_of_letters(void **state)
{
    static const uint32_t shards[] = {1, 1, 1};
    struct plane_client client;
    char name[32], to[32];
    uint32_t number = 0;

    (void)state;
    rename_tags(tags);
    planes_kit_init(&kit, 3, shards);
    then_ms = plane_kit_now_ms(&kit.nodes[0]) + 2000; /* They are not looked at before. */
    kit.nodes[0].restore = restore_pile;
    planes_kit_start(&kit, 1);
    plane_kit_stop(&kit.nodes[2]);
    kit.nodes[2].plane = NULL;
    plane_client_connect(&client, &kit.nodes[0]);
    for (uint32_t i = 0, near = 0; i < PILE; i++) {
        if (next_in_pile(&number, name, to) == 1 && near++ < PILE_DELIVERED) {
            await(&client, text(to), "f", "treasure");
        }
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- What a target refuses for good ---- */

static _Atomic uint32_t refusals, damaged;

static void count_refusals(void *context, uint32_t shard, enum trace_event event, uint64_t a,
                           struct bytes about)
{
    (void)context;
    (void)shard;
    (void)a;
    if (event == TRACE_RENAME_REFUSED) {
        bool is_damage = bytes_equal(about, text("DAMAGED"));
        assert_true(is_damage || bytes_equal(about, text("TOO_MANY_FIELDS")));
        atomic_fetch_add(is_damage ? &damaged : &refusals, 1);
    }
}

/* Late writes that there is no room for, and letters that are looked at some looks later. */
static void restore_refused(struct plane_kit *node)
{
    if (is_first(node, text("damaged"))) {
        damages = true;
        give_letter(node, 9000, text("damaged"), text("damaged-new"));
        damages = false;
    }
    for (uint32_t number = 0; number < STORIES; number++) {
        restore_late(node, number, false);
        then_ms += 2000;
        restore_letter(node, number);
        then_ms -= 2000;
    }
}

static void test_refused_for_good(void **state)
{
    static const uint32_t shards[] = {1, 2, 1};
    struct plane_client client;

    (void)state;
    rename_tags(tags);
    planes_kit_init(&kit, 3, shards);
    then_ms = plane_kit_now_ms(&kit.nodes[0]);
    for (uint32_t i = 0; i < 3; i++) {
        kit.nodes[i].restore = restore_refused;
        kit.nodes[i].options.trace = count_refusals;
        kit.nodes[i].policy.rules.fields_max = 1;
    }
    planes_kit_start(&kit, 2);
    plane_client_connect(&client, &kit.nodes[0]);
    while (atomic_load(&refusals) < STORIES || atomic_load(&damaged) == 0) {
        usleep(1000);
    }
    for (uint32_t number = 0; number < STORIES; number++) {
        await(&client, name_of("letter-new", number), "f", "treasure");
    }
    assert_in_range(atomic_load(&refusals), STORIES, 3 * STORIES); /* Not for ever. */
    assert_in_range(atomic_load(&damaged), 1, 2);
    for (uint32_t number = 0; number < STORIES; number++) {
        await(&client, name_of("late-new", number), "f", "treasure");
        await(&client, name_of("late-new", number), "g", NULL);
        await(&client, name_of("late", number), "f", NULL);
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- FLUSHDB ---- */

/* Letters between keys of two databases, which are not looked at yet. */
static void restore_databases(struct plane_kit *node)
{
    char name[32], to[32];

    for (uint32_t number = 0; number < STORIES; number++) {
        for (uint32_t database = 0; database < 2; database++) {
            const char *prefix = database == 0 ? "" : "\0011:";
            snprintf(name, sizeof name, "%sdb%u", prefix, number);
            snprintf(to, sizeof to, "%sdb-new%u", prefix, number);
            if (owns(node, text(name))) {
                give_letter(node, 2 * number + database + 1, text(name), text(to));
            }
        }
    }
}

static void command(struct plane_client *client, const char *line, const char *expected)
{
    char answer[RESP_LINE_BYTES];

    plane_client_send(client, text(line));
    plane_client_line(client, answer);
    assert_string_equal(answer, expected);
}

static void test_flush_takes_letters(void **state)
{
    static const uint32_t shards[] = {1, 2, 1};
    struct plane_client client;

    (void)state;
    rename_tags(tags);
    planes_kit_init(&kit, 3, shards);
    then_ms = plane_kit_now_ms(&kit.nodes[0]) + 5000;
    for (uint32_t i = 0; i < 3; i++) {
        kit.nodes[i].restore = restore_databases;
        kit.nodes[i].options.allow_flush = true;
    }
    planes_kit_start(&kit, 2);
    plane_client_connect(&client, &kit.nodes[0]);
    command(&client, "FLUSHDB\r\n", "+OK");
    command(&client, "SELECT 1\r\n", "+OK");
    for (uint32_t number = 0; number < STORIES; number++) {
        await(&client, name_of("db-new", number), "f", "treasure");
    }
    command(&client, "SELECT 0\r\n", "+OK");
    for (uint32_t number = 0; number < STORIES; number++) {
        await(&client, name_of("db-new", number), "f", NULL);
    }
    plane_client_close(&client);
    planes_kit_stop(&kit);
}

/* ---- Ids ---- */

static int compare_ids(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

/* They are other ones in each life, whatever its clock says, and of each shard and node. */
static void test_ids(void **state)
{
    enum { LIVES = 8, NODES = 4, SHARDS = 4, COUNT = 200, ALL = LIVES * NODES * SHARDS * COUNT };
    static uint64_t ids[ALL];
    uint32_t count = 0;

    (void)state;
    for (uint32_t i = 0; i < ALL; i++) {
        const struct actor actor = {1 + i / COUNT / SHARDS % NODES, 1 + i / COUNT / SHARDS / NODES};
        ids[count++] = moves_id(actor, i / COUNT % SHARDS, i % COUNT);
    }
    qsort(ids, ALL, sizeof ids[0], compare_ids);
    assert_int_not_equal(ids[0], 0);
    for (uint32_t i = 1; i < ALL; i++) {
        assert_true(ids[i - 1] < ids[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_is_settled),      cmocka_unit_test(test_nobody_is_there),
        cmocka_unit_test(test_a_pile_of_letters),   cmocka_unit_test(test_refused_for_good),
        cmocka_unit_test(test_flush_takes_letters), cmocka_unit_test(test_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
