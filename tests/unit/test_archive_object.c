/* Objects of the archive: golden bytes, what goes in comes out, what is asked of a writer and refused. */
#include "archive_kit.h"
#include "golden.h"
#include "session.h"

enum { RECORDS_MAX = 4000 };

/* ---- Golden bytes ---- */

static void add(struct archive_writer *writer, uint8_t kind, uint64_t position, const char *key,
                const char *value, struct stamp newest)
{
    struct buffer body = {.memory = writer->memory};
    struct archive_record record = {.kind = kind, .position = position};

    record.body = archive_kit_body(&body, key, text(value));
    assert_int_equal(archive_writer_add(writer, &record, newest), 0);
    buffer_fini(&body);
}

static void add_three(struct archive_writer *writer)
{
    add(writer, LOG_FULL, UINT64_C(0x1111111111111111), "b", "first",
        archive_kit_stamp(1000, 3, 7));
    add(writer, LOG_DELTA, UINT64_C(0x2222222222222222), "a", "second",
        archive_kit_stamp(1005, 3, 7));
    add(writer, LOG_BURY, UINT64_C(0x3333333333333333), "b", "third", archive_kit_stamp(999, 2, 1));
    assert_int_equal(archive_writer_shard(writer, 1, 4096, 8192), 0);
    assert_int_equal(archive_writer_shard(writer, 0, 0, 77), 0);
}

static void add_seen(struct archive_writer *writer)
{
    static const uint8_t five[] = {1, 3, 7, 0xe8, 3, 0, 0, 0, 0, 0, 0};
    static const uint8_t a[] = {1, 2, 1, 0xe7, 3, 0, 0, 0, 0, 0, 0};

    assert_int_equal(archive_writer_seen(writer, slot_of_key(text("a")), bytes_of(a, sizeof a)), 0);
    assert_int_equal(archive_writer_seen(writer, 5, bytes_of(five, sizeof five)), 0);
}

/* Another implementation of CRC-32C, HMAC, AES-GCM and this format gave these. They lie in buckets: they change only
 * with the number of the version. */
static void test_golden_log(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct archive_writer_options options = archive_kit_options();
    struct archive_keys keys;
    struct archive_writer writer;
    struct bytes object;

    archive_writer_init(&writer, &memory.memory);
    archive_writer_begin(&writer, &options);
    add_three(&writer);
    assert_int_equal(archive_writer_make(&writer, &object), 0);
    assert_golden(
        object,
        "42454c41594152430100000001000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf030000000700000034120000"
        "0000000000000000000000000068e5cf8b010000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000000000000093af557001111111"
        "111111111118100162000068e5cf8b010101130180dddb012666697273740633333333333333331810016200"
        "0068e5cf8b010101130180dddb0126746869726402222222222222222219100161000068e5cf8b0101011301"
        "80dddb01267365636f6e6403e703000000000000ed030000000000000001676700b7e103ede419a35f030200"
        "004d018020804002e419020201000001030701000100a25f0103070600010042454c41594152430100000001"
        "000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf03000000070000003412000000000000000000000000000000"
        "68e5cf8b01000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "000000000000000000000000000000000000000000000093af5570e700000000000000400000004000000085"
        "ac6acc00000000f98a79f842415243");
    archive_kit_keys(&keys,
                     "k1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
    options.key = &keys.keys[0];
    archive_writer_begin(&writer, &options);
    add_three(&writer);
    assert_int_equal(archive_writer_make(&writer, &object), 0);
    assert_golden(
        object,
        "42454c41594152430100000001010000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf030000000700000034120000"
        "0000000000000000000000000068e5cf8b0100005a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a6b31000000000000"
        "00000000000000000000000000000000000000000000000040355dbdb70a20070000000018c32da3e45c426d"
        "7ac2bc25c598d323b04cf85e172d3c84bd65d47be535d7ad9821b35390d1dc2b6ca65fccb024ce1719281023"
        "3a42628ae1d04962b48d94011cd4d23d2c8fc0db05784e8323d497c75d6d9da1d4e927e7c34abefb902a07c0"
        "6061f6ea5704a081fab25070286148e8414ea285bd51f5a1230efbc5dacd35731d3dbf88b8a6ecd93e6dc1f0"
        "932b6c169cdbed59196a9413e8a97968a54e50ea0c21cb4a67aec72275deace1ee050ba8b5cdb98d65a202ff"
        "b34e097ea46eb28882d0d1e77bcb95699de55a42454c41594152430100000001010000a0a1a2a3a4a5a6a7a8"
        "a9aaabacadaeaf0300000007000000341200000000000000000000000000000068e5cf8b0100005a5a5a5a5a"
        "5a5a5a5a5a5a5a5a5a5a5a6b3100000000000000000000000000000000000000000000000000000000000040"
        "355dbdb70a20070000000018c32da3f700000000000000500000004000000039de82e600000000037e07e742"
        "415243");
    archive_writer_fini(&writer);
    assert_int_equal(memory.outstanding_bytes, 0);
}

static void test_golden_checkpoint(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct archive_writer_options options = archive_kit_options();
    struct archive_writer writer;
    struct bytes object;

    archive_writer_init(&writer, &memory.memory);
    options.name.kind = ARCHIVE_PART;
    options.name.part = 9;
    archive_writer_begin(&writer, &options);
    add(&writer, LOG_DELTA, UINT64_C(0x2222222222222222), "a", "second",
        archive_kit_stamp(1005, 3, 7));
    add_seen(&writer);
    assert_int_equal(archive_writer_make(&writer, &object), 0);
    assert_golden(
        object,
        "42454c41594152430100000002000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf030000000700000034120000"
        "0000000009000000000000000068e5cf8b010000000000000000000000000000000000000000000000000000"
        "00000000000000000000000000000000000000000000000000000000000000000000000028dfc30002222222"
        "222222222219100161000068e5cf8b010101130180dddb01267365636f6e6401ed03000000000000ed030000"
        "0000000000012323000106d25b87790001000205000b010307e80300000000000081790103070000010b0102"
        "01e70300000000000042454c41594152430100000002000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf030000"
        "0007000000341200000000000009000000000000000068e5cf8b010000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
        "0028dfc300a30000000000000042000000420000000813686d00000000e5acd70b42415243");
    options.name.kind = ARCHIVE_DONE;
    options.name.part = 0;
    options.parts = 10;
    archive_writer_begin(&writer, &options);
    add_seen(&writer);
    archive_writer_reach(&writer, 998, 1000);
    archive_writer_reach(&writer, 999, 1005);
    assert_int_equal(archive_writer_shard(&writer, 0, 0, 5), 0);
    assert_int_equal(archive_writer_make(&writer, &object), 0);
    assert_golden(
        object,
        "42454c41594152430100000003000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf030000000700000034120000"
        "0000000000000000000000000068e5cf8b010000000000000000000000000000000000000000000000000000"
        "000000000000000000000000000000000000000000000000000000000000000000000000f397e72500e60300"
        "0000000000ed030000000000000a00010000050205000b010307e8030000000000008179000b010201e70300"
        "000000000042454c41594152430100000003000000a0a1a2a3a4a5a6a7a8a9aaabacadaeaf03000000070000"
        "00341200000000000000000000000000000068e5cf8b01000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000f397e7"
        "25800000000000000035000000350000007a7cc73a00000000d1044bda42415243");
    archive_writer_fini(&writer);
}

/* ---- In and out ---- */

/* What was added, in the order in which it was. */
struct model {
    uint32_t count;
    struct model_record {
        uint8_t kind;
        uint16_t slot;
        uint64_t position;
        struct stamp newest;
        size_t offset, size;
    } records[RECORDS_MAX];
    struct buffer bodies;
};

static struct bytes model_body(const struct model *model, const struct model_record *record)
{
    return bytes_of(model->bodies.data + record->offset, record->size);
}

/* A value of random bytes, or of a word again and again. */
static void put_value(struct buffer *to, uint64_t *random, size_t size)
{
    static const char words[] =
        "\"theme\":\"dark\",\"cart\":[\"4711\",\"4712\"],\"locale\":\"de-CH\",";
    bool same = random_below(random, 4) > 0;

    to->size = 0;
    assert_int_equal(buffer_reserve(to, size), 0);
    for (; to->size < size; to->size++) {
        to->data[to->size] =
            same ? (uint8_t)words[to->size % (sizeof words - 1)] : (uint8_t)random_next(random);
    }
}

static void put_batch(struct buffer *to, const char *tag, uint64_t position, struct bytes value)
{
    struct buffer body = {.memory = to->memory}, batch = {.memory = to->memory};
    char key[64];

    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "{%s}%d", tag, i);
        struct log_batch_item item = {LOG_FULL, position + (uint64_t)i, {NULL, 0}};
        item.body = archive_kit_body(&body, key, value);
        assert_int_equal(buffer_reserve(&batch, log_batch_item_size(&item)), 0);
        const uint8_t *end = log_batch_item_put(batch.data + batch.size, &item);
        batch.size = (size_t)(end - batch.data);
    }
    to->size = 0;
    assert_int_equal(buffer_append(to, buffer_bytes(&batch)), 0);
    buffer_fini(&body);
    buffer_fini(&batch);
}

static void add_random(struct archive_writer *writer, struct model *model, uint64_t *random,
                       uint32_t keys)
{
    static const uint8_t kinds[] = {LOG_FULL, LOG_DELTA, LOG_BURY, LOG_BATCH};
    struct model_record *added = &model->records[model->count++];
    struct buffer body = {.memory = writer->memory}, value = {.memory = writer->memory};
    struct archive_record record = {
        .kind = kinds[random_below(random, 4)],
        .position = random_next(random),
    };
    char key[32];

    snprintf(key, sizeof key, "session-%u", random_below(random, keys));
    put_value(&value, random,
              random_below(random, 30) == 0 ? random_below(random, 60000)
                                            : random_below(random, 300));
    if (record.kind == LOG_BATCH) {
        put_batch(&body, key, record.position, buffer_bytes(&value));
        record.body = buffer_bytes(&body);
    } else {
        record.body = archive_kit_body(&body, key, buffer_bytes(&value));
    }
    *added = (struct model_record){
        .kind = record.kind,
        .slot = slot_of_key(text(key)),
        .position = record.position,
        .newest = {random_next(random) | 1,
                   {1 + random_below(random, 3), 1 + random_below(random, 2)}},
        .offset = model->bodies.size,
        .size = record.body.size,
    };
    assert_int_equal(buffer_append(&model->bodies, record.body), 0);
    assert_int_equal(archive_writer_add(writer, &record, added->newest), 0);
    buffer_fini(&body);
    buffer_fini(&value);
}

/* The next record of this slot from `at` on. */
static uint32_t model_next(const struct model *model, uint16_t slot, uint32_t at)
{
    while (at < model->count && model->records[at].slot != slot) {
        at++;
    }
    return at;
}

/* Records of a slot, as the object gives them, are those that were added, in their order. */
static void check_slot(const struct archive_reader *reader, struct bytes object,
                       const struct model *model, uint16_t slot, struct buffer *raw)
{
    uint32_t first, at = model_next(model, slot, 0);
    uint32_t count = archive_reader_blocks(reader, slot, slot, &first);

    for (uint32_t i = first; i < first + count; i++) {
        struct archive_record record;
        struct archive_walk walk;
        int rc;
        assert_int_equal(
            archive_reader_block(reader, i, archive_kit_stored(reader, object, i), raw), 0);
        archive_walk_init(&walk, &reader->blocks[i], buffer_bytes(raw));
        while ((rc = archive_walk_next(&walk, &record)) == 1) {
            if (record.slot == slot) {
                assert_in_range(at, 0, model->count - 1);
                const struct model_record *wanted = &model->records[at];
                assert_int_equal(record.kind, wanted->kind);
                assert_int_equal(record.position, wanted->position);
                assert_bytes_equal(record.body, model_body(model, wanted));
                at = model_next(model, slot, at + 1);
            }
        }
        assert_int_equal(rc, 0);
    }
    assert_int_equal(at, model->count);
}

static void check_spans(const struct archive_slot *slot, const struct model *model)
{
    uint64_t records = 0;

    for (uint32_t i = 0; i < slot->span_count; i++) {
        const struct archive_span *span = &slot->spans[i];
        uint64_t least = UINT64_MAX, newest = 0, count = 0;
        for (uint32_t at = model_next(model, slot->slot, 0); at < model->count;
             at = model_next(model, slot->slot, at + 1)) {
            const struct stamp *stamp = &model->records[at].newest;
            if (actor_compare(stamp->actor, span->actor) == 0) {
                least = stamp->hlc < least ? stamp->hlc : least;
                newest = stamp->hlc > newest ? stamp->hlc : newest;
                count++;
            }
            records += i == 0;
        }
        assert_int_equal(span->least_hlc, least);
        assert_int_equal(span->newest_hlc, newest);
        assert_int_equal(span->records, count);
        assert_true(i == 0 || actor_compare(span[-1].actor, span->actor) < 0);
        records -= count;
    }
    assert_int_equal(records, 0);
}

/* Opens from the object's end, with as little as is needed. */
static void open_by_tail(struct archive_reader *reader, struct bytes object)
{
    uint64_t tail_bytes = 0;
    uint8_t *tail = NULL;
    int rc, rounds = 0;

    do {
        tail = realloc(tail, tail_bytes + 1);
        memcpy(tail, object.data + object.size - tail_bytes, tail_bytes);
        uint64_t before = tail_bytes;
        rc = archive_reader_open(reader, bytes_of(tail, tail_bytes), object.size, &tail_bytes);
        assert_true(rc == 0 || (rc == -EAGAIN && tail_bytes > before && tail_bytes <= object.size));
    } while (rc != 0 && ++rounds < 3);
    assert_int_equal(rc, 0);
    free(tail);
}

static void check_object(const struct archive_keys *keys, struct bytes object,
                         const struct model *model, struct memory *memory)
{
    struct buffer raw = {.memory = memory};
    struct archive_reader reader;
    uint64_t bytes = 0, records = 0;

    archive_reader_init(&reader, memory, keys);
    open_by_tail(&reader, object);
    for (uint32_t i = 0; i < reader.block_count; i++) {
        const struct archive_block *block = &reader.blocks[i];
        assert_true(block->raw_size <= ARCHIVE_BLOCK_BYTES_MAX || block->records == 1);
        assert_true(i == 0 || block->first_slot >= block[-1].last_slot);
        bytes += block->size;
        records += block->records;
    }
    assert_int_equal(records, model->count);
    assert_int_equal(reader.records, model->count);
    assert_int_equal(archive_reader_bytes(&reader, 0, reader.block_count), bytes);
    records = 0;
    for (uint32_t slot = 0; slot < SLOT_COUNT; slot++) {
        const struct archive_slot *found = archive_reader_slot(&reader, (uint16_t)slot);
        assert_int_equal(found != NULL, model_next(model, (uint16_t)slot, 0) < model->count);
        if (found != NULL) {
            check_spans(found, model);
            check_slot(&reader, object, model, (uint16_t)slot, &raw);
            records++;
        }
    }
    assert_int_equal(records, reader.slot_count);
    assert_int_equal(archive_kit_read(&reader, object, &raw), 0);
    archive_reader_fini(&reader);
    buffer_fini(&raw);
}

static void test_what_goes_in_comes_out(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct archive_keys keys;
    static struct model model;
    struct archive_writer writer;
    struct bytes object, again;
    uint64_t random = 5;

    archive_kit_keys(&keys,
                     "k1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
    archive_writer_init(&writer, &memory.memory);
    model = (struct model){.bodies = {.memory = &memory.memory}};
    for (int round = 0; round < 8; round++) {
        static const uint32_t counts[] = {0, 1, 40, 3000};
        struct archive_writer_options options = archive_kit_options();
        options.level = round % 3 - 1;
        options.key = round >= 4 ? &keys.keys[0] : NULL;
        archive_writer_begin(&writer, &options);
        model.count = 0;
        model.bodies.size = 0;
        for (uint32_t i = 0; i < counts[round % 4]; i++) {
            add_random(&writer, &model, &random, 60);
        }
        assert_int_equal(archive_writer_make(&writer, &object), 0);
        check_object(&keys, object, &model, &memory.memory);
        /* The same again. */
        uint8_t *copy = malloc(object.size);
        memcpy(copy, object.data, object.size);
        assert_int_equal(archive_writer_make(&writer, &again), 0);
        assert_bytes_equal(again, bytes_of(copy, object.size));
        free(copy);
    }
    buffer_fini(&model.bodies);
    archive_writer_fini(&writer);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* A record may be larger than a block: it has one of its own. */
static void test_large_records(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct archive_writer_options options = archive_kit_options();
    struct buffer value = {.memory = &memory.memory}, body = {.memory = &memory.memory};
    struct archive_writer writer;
    struct archive_reader reader;
    struct bytes object;
    uint64_t random = 1;

    archive_writer_init(&writer, &memory.memory);
    archive_reader_init(&reader, &memory.memory, NULL);
    options.level = 1;
    archive_writer_begin(&writer, &options);
    add(&writer, LOG_FULL, 1, "b", "before", archive_kit_stamp(1, 1, 1));
    put_value(&value, &random, 3 * ARCHIVE_BLOCK_BYTES_MAX);
    struct archive_record record = {.kind = LOG_FULL, .position = 2};
    record.body = archive_kit_body(&body, "b", buffer_bytes(&value));
    assert_int_equal(archive_writer_add(&writer, &record, archive_kit_stamp(2, 1, 1)), 0);
    add(&writer, LOG_FULL, 3, "b", "after", archive_kit_stamp(3, 1, 1));
    assert_int_equal(archive_writer_make(&writer, &object), 0);
    assert_int_equal(archive_kit_read(&reader, object, &body), 0);
    assert_int_equal(reader.block_count, 3);
    assert_int_equal(reader.blocks[1].records, 1);
    assert_in_range(reader.blocks[1].raw_size, value.size, value.size + 100);
    uint32_t first;
    assert_int_equal(
        archive_reader_blocks(&reader, reader.blocks[0].first_slot, SLOT_COUNT - 1, &first), 3);
    assert_int_equal(first, 0);
    assert_int_equal(archive_reader_blocks(&reader, 0, reader.blocks[0].first_slot - 1, &first), 0);
    archive_reader_fini(&reader);
    archive_writer_fini(&writer);
    buffer_fini(&value);
    buffer_fini(&body);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* ---- What is refused ---- */

static void test_refusals(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct archive_writer_options options = archive_kit_options();
    struct buffer body = {.memory = &memory.memory};
    const struct stamp stamp = archive_kit_stamp(1, 1, 1);
    struct archive_writer writer;
    struct archive_record record = {.kind = LOG_FULL, .position = 1};
    static const uint8_t others[] = {0, LOG_MARK, LOG_TOUCH, LOG_DROP, 8, 255};

    archive_writer_init(&writer, &memory.memory);
    archive_writer_begin(&writer, &options);
    record.body = archive_kit_body(&body, "b", text("value"));
    for (size_t i = 0; i < sizeof others; i++) {
        record.kind = others[i];
        assert_int_equal(archive_writer_add(&writer, &record, stamp), -EINVAL);
    }
    record.kind = LOG_FULL;
    assert_int_equal(archive_writer_add(&writer, &record, (struct stamp){0}), -EINVAL);
    record.body = bytes_of("", 0);
    assert_int_equal(archive_writer_add(&writer, &record, stamp), -EBADMSG);
    record.kind = LOG_BATCH;
    assert_int_equal(archive_writer_add(&writer, &record, stamp), -EBADMSG);
    /* Sessions of two slots, as where one is renamed from one to the other. */
    struct buffer batch = {.memory = &memory.memory};
    for (int i = 0; i < 2; i++) {
        struct log_batch_item item = {LOG_FULL, 1, {NULL, 0}};
        item.body = archive_kit_body(&body, i == 0 ? "a" : "b", text("value"));
        assert_int_equal(buffer_reserve(&batch, log_batch_item_size(&item)), 0);
        batch.size = (size_t)(log_batch_item_put(batch.data + batch.size, &item) - batch.data);
    }
    record.body = buffer_bytes(&batch);
    assert_int_equal(archive_writer_add(&writer, &record, stamp), -EXDEV);
    record.body.size--;
    assert_int_equal(archive_writer_add(&writer, &record, stamp), -EBADMSG);
    buffer_fini(&batch);

    /* Sizes: nothing is copied before they were looked at. */
    uint8_t *large = calloc(1, ARCHIVE_RECORD_BYTES_MAX);
    record.kind = LOG_FULL;
    record.body = archive_kit_body(&body, "b", text("value"));
    memcpy(large, record.body.data, record.body.size);
    record.body = bytes_of(large, ARCHIVE_RECORD_BYTES_MAX);
    assert_int_equal(archive_writer_add(&writer, &record, stamp), -EMSGSIZE);
    free(large);
    writer.raw.size = ARCHIVE_OBJECT_BYTES_MAX - 10;
    record.body = buffer_bytes(&body);
    assert_int_equal(archive_writer_add(&writer, &record, stamp), -EFBIG);
    writer.raw.size = 0;
    assert_int_equal(writer.records, 0);
    assert_int_equal(writer.newest_hlc, 0);

    options.name.kind = ARCHIVE_DONE;
    archive_writer_begin(&writer, &options);
    assert_int_equal(archive_writer_add(&writer, &record, stamp), -EINVAL);
    archive_writer_fini(&writer);
    buffer_fini(&body);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* ---- Size ---- */

/* Sessions as web frameworks write them, each with values of its own. */
static void put_json(struct buffer *to, uint64_t *random)
{
    char value[1024];
    static const char *const locales[] = {"en_US", "de_CH", "fr_FR", "es_AR", "ja_JP"};
    static const char *const roles[] = {"customer", "editor", "admin", "guest"};

    int size = snprintf(
        value, sizeof value,
        "{\"_auth_user_id\":\"%u\",\"_auth_user_hash\":\"%016llx%016llx\",\"_csrftoken\":\"%"
        "016llx\","
        "\"locale\":\"%s\",\"role\":\"%s\",\"last_seen\":\"2026-11-%02uT%02u:%02u:%02uZ\","
        "\"cart\":{\"items\":[{\"sku\":\"A-%05u\",\"quantity\":%u,\"price\":%u.%02u},"
        "{\"sku\":\"B-%05u\",\"quantity\":%u,\"price\":%u.%02u}],\"currency\":\"CHF\"},"
        "\"flash\":[],\"theme\":\"%s\",\"remember_me\":%s}",
        random_below(random, 1000000), (unsigned long long)random_next(random),
        (unsigned long long)random_next(random), (unsigned long long)random_next(random),
        locales[random_below(random, 5)], roles[random_below(random, 4)],
        1 + random_below(random, 30), random_below(random, 24), random_below(random, 60),
        random_below(random, 60), random_below(random, 100000), 1 + random_below(random, 9),
        random_below(random, 500), random_below(random, 100), random_below(random, 100000),
        1 + random_below(random, 9), random_below(random, 500), random_below(random, 100),
        random_below(random, 2) == 0 ? "dark" : "light",
        random_below(random, 2) == 0 ? "true" : "false");
    to->size = 0;
    assert_int_equal(buffer_append(to, bytes_of(value, (size_t)size)), 0);
}

/* The object, index and all, beside what the sessions alone take in memory; the log takes more. */
static void test_sessions_of_json_take_half(void **state)
{
    (void)state;
    static const size_t sizes[] = {64 * 1024, 256 * 1024, 1024 * 1024};
    struct test_memory memory = test_memory();
    struct buffer value = {.memory = &memory.memory}, body = {.memory = &memory.memory};
    struct archive_keys keys;
    struct archive_writer writer;
    uint64_t random = 11;

    archive_kit_keys(&keys,
                     "k1 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n");
    archive_writer_init(&writer, &memory.memory);
    for (int i = 0; i < 6; i++) {
        struct archive_writer_options options = archive_kit_options();
        size_t record_bytes = 0;
        uint64_t hlc = hlc_of_ms(options.made_ms);
        struct bytes object;
        options.level = ARCHIVE_LEVEL;
        options.key = i % 2 == 0 ? NULL : &keys.keys[0];
        archive_writer_begin(&writer, &options);
        while (record_bytes < sizes[i / 2]) {
            struct archive_record record = {.kind = LOG_FULL, .position = random_next(&random)};
            char key[64];
            snprintf(key, sizeof key, "sess:%016llx%016llx",
                     (unsigned long long)random_next(&random),
                     (unsigned long long)random_next(&random));
            put_json(&value, &random);
            record.body = archive_kit_body(&body, key, buffer_bytes(&value));
            assert_int_equal(archive_writer_add(&writer, &record, archive_kit_stamp(hlc, 1, 1)), 0);
            record_bytes += record.body.size;
            hlc += random_below(&random, 4 << HLC_COUNTER_BITS);
        }
        assert_int_equal(archive_writer_make(&writer, &object), 0);
        print_message("%zu bytes of sessions in %zu\n", record_bytes, object.size);
        assert_in_range(object.size, 1, record_bytes / 2);
    }
    archive_writer_fini(&writer);
    buffer_fini(&value);
    buffer_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_log),
        cmocka_unit_test(test_golden_checkpoint),
        cmocka_unit_test(test_what_goes_in_comes_out),
        cmocka_unit_test(test_large_records),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_sessions_of_json_take_half),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
