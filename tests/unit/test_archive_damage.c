/* Objects of the archive that are damaged, forged, of another version or of another key; and memory that runs out. */
#include <zstd.h>

#include "archive_craft.h"
#include "archive_kit.h"

#define KEY   "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER "100102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* ---- An object of every part ---- */

static int add_sample(struct archive_writer *writer, uint32_t records)
{
    static const uint8_t seen[] = {1, 3, 7, 0xe8, 3, 0, 0, 0, 0, 0, 0};
    static struct test_memory heap;
    struct buffer body = {.memory = &heap.memory}, value = {.memory = &heap.memory};
    int rc = 0;

    heap = test_memory();
    for (uint32_t i = 0; i < records && rc == 0; i++) {
        struct archive_record record = {.kind = LOG_FULL, .position = i};
        char key[16];
        snprintf(key, sizeof key, "k%u", i % 7);
        value.size = 0;
        for (int word = 0; word < 20; word++) {
            assert_int_equal(buffer_append(&value, text("again and again ")), 0);
        }
        record.body = archive_kit_body(&body, key, buffer_bytes(&value));
        rc = archive_writer_add(writer, &record, archive_kit_stamp(1000 + i, 1 + i % 3, 1));
    }
    if (rc == 0) {
        rc = archive_writer_seen(writer, 9, bytes_of(seen, sizeof seen));
    }
    if (rc == 0) {
        rc = archive_writer_shard(writer, 0, 10, 20);
    }
    buffer_fini(&body);
    buffer_fini(&value);
    return rc;
}

/* A copy, to be freed. */
static uint8_t *make_sample(const struct archive_key *key, int level, uint32_t records,
                            size_t *size)
{
    struct test_memory memory = test_memory();
    struct archive_writer_options options = archive_kit_options();
    struct archive_writer writer;
    struct bytes object;

    options.key = key;
    options.level = level;
    archive_writer_init(&writer, &memory.memory);
    archive_writer_begin(&writer, &options);
    assert_int_equal(add_sample(&writer, records), 0);
    assert_int_equal(archive_writer_make(&writer, &object), 0);
    uint8_t *copy = malloc(object.size);
    memcpy(copy, object.data, object.size);
    *size = object.size;
    archive_writer_fini(&writer);
    return copy;
}

struct world {
    struct test_memory memory;
    struct archive_keys keys;
    struct archive_reader reader;
    struct buffer raw;
};

static void world_init(struct world *world, const char *lines)
{
    world->memory = test_memory();
    world->raw = (struct buffer){.memory = &world->memory.memory};
    archive_kit_keys(&world->keys, lines);
    archive_reader_init(&world->reader, &world->memory.memory, &world->keys);
}

static void world_fini(struct world *world)
{
    archive_reader_fini(&world->reader);
    buffer_fini(&world->raw);
    assert_int_equal(world->memory.outstanding_bytes, 0);
}

static int read_all(struct world *world, const uint8_t *object, size_t size)
{
    return archive_kit_read(&world->reader, bytes_of(object, size), &world->raw);
}

/* ---- Damage ---- */

/* No bit of an object may change without being noticed, whoever reads it; and no key is thought wrong for it. */
static void test_every_bit(void **state)
{
    (void)state;
    struct world world;
    size_t size;

    world_init(&world, "k1 " KEY "\n");
    for (int round = 0; round < 4; round++) {
        uint8_t *object =
            make_sample(round % 2 == 0 ? NULL : &world.keys.keys[0], round / 2, 3, &size);
        assert_int_equal(read_all(&world, object, size), 0);
        for (size_t bit = 0; bit < size * 8; bit++) {
            object[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(read_all(&world, object, size), -EBADMSG);
            object[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        free(object);
    }
    world_fini(&world);
}

static void test_every_cut(void **state)
{
    (void)state;
    struct world world;
    size_t size;

    world_init(&world, "k1 " KEY "\n");
    uint8_t *object = make_sample(&world.keys.keys[0], 1, 20, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *part = malloc(cut + 1); /* So that reading past it shows. */
        memcpy(part, object, cut);
        assert_int_equal(archive_kit_open(&world.reader, bytes_of(part, cut)), -EBADMSG);
        memcpy(part, object + size - cut, cut);
        assert_int_equal(archive_kit_open(&world.reader, bytes_of(part, cut)), -EBADMSG);
        free(part);
    }
    free(object);
    world_fini(&world);
}

static void test_places(void **state)
{
    (void)state;
    struct world world;
    size_t size;

    world_init(&world, "k1 " KEY "\n");
    uint8_t *object = make_sample(NULL, 0, 20, &size);
    assert_int_equal(read_all(&world, object, size), 0);
    const struct archive_block block = world.reader.blocks[0];
    uint64_t footer = block.offset + block.size;
    object[size - 10] ^= 1;
    assert_int_equal(read_all(&world, object, size), -EBADMSG);
    assert_string_equal(world.reader.damaged, "trailer");
    assert_int_equal(world.reader.damaged_offset, size - ARCHIVE_TRAILER_BYTES);
    object[size - 10] ^= 1;
    object[footer] ^= 1;
    assert_int_equal(read_all(&world, object, size), -EBADMSG);
    assert_string_equal(world.reader.damaged, "footer");
    assert_int_equal(world.reader.damaged_offset, footer);
    assert_int_equal(world.reader.block_count, 0);
    object[footer] ^= 1;
    object[1] ^= 1;
    assert_int_equal(archive_kit_open(&world.reader, bytes_of(object, size)), 0);
    assert_int_equal(
        archive_reader_check_header(&world.reader, bytes_of(object, ARCHIVE_HEADER_BYTES)),
        -EBADMSG);
    free(object);
    world_fini(&world);
}

/* Put the checksums of header and trailer right. */
static void sum_trailer(uint8_t *object, size_t size)
{
    uint8_t *trailer = object + size - ARCHIVE_TRAILER_BYTES;

    store_u32(trailer + 124, crc32c(0, bytes_of(trailer, 124)));
    store_u32(trailer + 152, crc32c(0, bytes_of(trailer, 152)));
}

static void test_versions(void **state)
{
    (void)state;
    struct world world;
    size_t size;

    world_init(&world, "k1 " KEY "\n");
    uint8_t *object = make_sample(NULL, 0, 3, &size);
    uint8_t *trailer = object + size - ARCHIVE_TRAILER_BYTES;
    store_u32(trailer + 8, ARCHIVE_VERSION + 1);
    trailer[12] = 99;
    sum_trailer(object, size);
    assert_int_equal(read_all(&world, object, size), -EPROTONOSUPPORT);
    store_u32(trailer + 8, ARCHIVE_VERSION);
    sum_trailer(object, size);
    assert_int_equal(read_all(&world, object, size), -EBADMSG); /* No such kind. */
    trailer[12] = ARCHIVE_LOG;
    sum_trailer(object, size);
    assert_int_equal(read_all(&world, object, size), 0);
    /* What must be 0, or is left of a cipher. */
    static const int places[] = {14, 15, 48, 52, 64, 80, 112, 120, 123, 149, 151};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        trailer[places[i]] ^= 1;
        sum_trailer(object, size);
        assert_int_equal(read_all(&world, object, size), -EBADMSG);
        trailer[places[i]] ^= 1;
    }
    free(object);
    world_fini(&world);
}

/* ---- Keys ---- */

static void test_keys(void **state)
{
    (void)state;
    struct world rotated, wrong, none;
    size_t size;

    world_init(&rotated, "k2 " OTHER "\nk1 " KEY "\n");
    world_init(&wrong, "k2 " KEY "\nk1 " OTHER "\n");
    world_init(&none, "k2 " OTHER "\n");
    uint8_t *object = make_sample(&rotated.keys.keys[1], 1, 3, &size);
    assert_int_equal(read_all(&rotated, object, size), 0);
    assert_int_equal(read_all(&wrong, object, size), -EKEYREJECTED);
    assert_int_equal(read_all(&none, object, size), -ENOKEY);
    assert_string_equal(none.reader.header.key_id, "k1");
    assert_int_equal(none.reader.header.name.sequence, 0x1234);
    none.reader.keys = NULL;
    assert_int_equal(read_all(&none, object, size), -ENOKEY);
    world_fini(&rotated);
    world_fini(&wrong);
    world_fini(&none);
    free(object);
}

/* Nothing of what is stored shows a key of a session, and no two objects are enciphered with the same bytes. */
static void test_cipher(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct archive_keys keys;
    struct archive_writer writer;
    struct bytes object;
    uint8_t first[4][64];

    archive_kit_keys(&keys, "k1 " KEY "\n");
    archive_writer_init(&writer, &memory.memory);
    for (int i = 0; i < 4; i++) {
        struct archive_writer_options options = archive_kit_options();
        options.key = &keys.keys[0];
        options.salt[15] = i == 1;
        options.name.sequence += i == 2;
        options.name.actor.start += i == 3;
        archive_writer_begin(&writer, &options);
        assert_int_equal(add_sample(&writer, 3), 0);
        assert_int_equal(archive_writer_make(&writer, &object), 0);
        assert_null(memmem(object.data, object.size, "again", 5));
        memcpy(first[i], object.data + ARCHIVE_HEADER_BYTES, sizeof first[i]);
        for (int before = 0; before < i; before++) {
            assert_memory_not_equal(first[before], first[i], sizeof first[i]);
        }
    }
    archive_writer_fini(&writer);
}

/* Who may write to the store and knows the format, but not the key. */
static void test_forgeries(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct archive_writer_options options = archive_kit_options();
    struct world world;
    struct archive_writer writer;
    struct buffer value = {.memory = &memory.memory}, body = {.memory = &memory.memory};
    struct bytes object;

    /* Two blocks of the same size. */
    world_init(&world, "k1 " KEY "\n");
    archive_writer_init(&writer, &memory.memory);
    options.key = &world.keys.keys[0];
    archive_writer_begin(&writer, &options);
    assert_int_equal(buffer_reserve(&value, 600000), 0);
    memset(value.data, 'x', value.size = 600000);
    for (int i = 0; i < 2; i++) {
        struct archive_record record = {.kind = LOG_FULL, .position = 1};
        record.body = archive_kit_body(&body, "b", buffer_bytes(&value));
        assert_int_equal(archive_writer_add(&writer, &record, archive_kit_stamp(1, 1, 1)), 0);
    }
    assert_int_equal(archive_writer_make(&writer, &object), 0);
    assert_int_equal(archive_kit_read(&world.reader, object, &world.raw), 0);
    assert_int_equal(world.reader.block_count, 2);
    struct bytes stored = archive_kit_stored(&world.reader, object, 1);
    assert_int_equal(world.reader.blocks[0].size, stored.size);
    world.reader.blocks[0].crc = world.reader.blocks[1].crc;
    assert_int_equal(archive_reader_block(&world.reader, 0, stored, &world.raw), -EBADMSG);
    assert_int_equal(archive_reader_block(&world.reader, 1, stored, &world.raw), 0);

    /* A bit of the footer, with its checksum put right. */
    uint8_t *forged = malloc(object.size);
    memcpy(forged, object.data, object.size);
    uint8_t *trailer = forged + object.size - ARCHIVE_TRAILER_BYTES;
    uint64_t footer = load_u64(trailer + 128);
    forged[footer + 3] ^= 1;
    store_u32(trailer + 144, crc32c(0, bytes_of(forged + footer, load_u32(trailer + 136))));
    sum_trailer(forged, object.size);
    assert_int_equal(archive_kit_read(&world.reader, bytes_of(forged, object.size), &world.raw),
                     -EBADMSG);
    assert_string_equal(world.reader.damaged, "footer");
    /* Another time than it was made at. */
    memcpy(forged, object.data, object.size);
    trailer[56] ^= 1;
    sum_trailer(forged, object.size);
    assert_int_equal(archive_kit_open(&world.reader, bytes_of(forged, object.size)), -EBADMSG);
    free(forged);
    archive_writer_fini(&writer);
    buffer_fini(&value);
    buffer_fini(&body);
    world_fini(&world);
    assert_int_equal(memory.outstanding_bytes, 0);
}

/* ---- Bombs ---- */

static int open_crafted(struct world *world, const struct archive_craft *craft)
{
    size_t size;
    uint8_t *object = archive_craft(craft, &size);

    int rc = archive_kit_open(&world->reader, bytes_of(object, size));
    free(object);
    return rc;
}

struct footer {
    uint8_t bytes[256];
    size_t size;
};

/* Of an object with one block. */
static struct footer footer_of(uint64_t records, uint64_t size, uint64_t raw_size, uint8_t codec,
                               uint32_t crc)
{
    struct footer footer = {.size = 0};
    uint8_t *at = varint_put(footer.bytes, records);

    store_u64(at, 5);
    store_u64(at + 8, 5);
    at = varint_put(at + 16, 0);
    at = varint_put(at, 1);
    at = varint_put(varint_put(at, size), raw_size);
    *at = codec;
    store_u32(at + 1, crc);
    at = varint_put(at + 5, slot_of_key(text("b")));
    at = varint_put(varint_put(at, 0), records);
    at = varint_put(varint_put(at, 0), 1); /* No shard, a slot. */
    at = varint_put(varint_put(at, slot_of_key(text("b"))), 1);
    at = varint_put(varint_put(at, 1), 1);
    at = varint_put(varint_put(varint_put(at, 0), 0), records);
    at = varint_put(at, 0);
    footer.size = (size_t)(at - footer.bytes);
    return footer;
}

static int open_block(struct world *world, struct bytes block, uint64_t records, uint64_t raw_size,
                      uint8_t codec)
{
    struct footer footer = footer_of(records, block.size, raw_size, codec, crc32c(0, block));
    struct archive_craft craft = {
        .kind = ARCHIVE_LOG,
        .blocks = block,
        .footer = bytes_of(footer.bytes, footer.size),
        .footer_raw_size = (uint32_t)footer.size,
    };

    int rc = open_crafted(world, &craft);
    return rc != 0 ? rc : archive_reader_block(&world->reader, 0, block, &world->raw);
}

static void test_bombs(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct buffer body = {.memory = &memory.memory};
    struct world world;
    uint8_t raw[128], packed[256];

    world_init(&world, "k1 " KEY "\n");
    struct log_batch_item item = {LOG_FULL, 1,
                                  archive_kit_body(&body, "b", text("valuevaluevalue"))};
    size_t size = (size_t)(log_batch_item_put(raw, &item) - raw);
    assert_int_equal(open_block(&world, bytes_of(raw, size), 1, size, ARCHIVE_PLAIN), 0);
    assert_int_equal(open_block(&world, bytes_of(raw, size), 1, size + 1, ARCHIVE_PLAIN), -EBADMSG);
    /* Larger than anything may be. */
    assert_int_equal(
        open_block(&world, bytes_of(raw, size), 1, ARCHIVE_RECORD_BYTES_MAX + 1, ARCHIVE_ZSTD),
        -EBADMSG);
    assert_int_equal(
        open_block(&world, bytes_of(raw, size), 2, ARCHIVE_BLOCK_BYTES_MAX + 1, ARCHIVE_ZSTD),
        -EBADMSG);
    assert_int_equal(open_block(&world, bytes_of(raw, size), 1, UINT64_MAX, ARCHIVE_ZSTD),
                     -EBADMSG);
    assert_int_equal(open_block(&world, bytes_of(raw, size), 1, 0, ARCHIVE_ZSTD), -EBADMSG);
    assert_int_equal(open_block(&world, bytes_of(raw, size), 0, size, ARCHIVE_PLAIN), -EBADMSG);
    assert_int_equal(open_block(&world, bytes_of(raw, size), 1, size, 2), -EBADMSG);
    assert_true(world.memory.outstanding_bytes < 64 * 1024);

    /* Compressed without need, which nobody does. */
    size_t longer = ZSTD_compress(packed, sizeof packed, raw, size, 1);
    assert_in_range(longer, size, sizeof packed);
    assert_int_equal(open_block(&world, bytes_of(packed, longer), 1, size, ARCHIVE_ZSTD), -EBADMSG);

    /* A megabyte of zeros in some bytes, said to be less, said to be more. */
    uint8_t *zeros = calloc(1, ARCHIVE_BLOCK_BYTES_MAX);
    size = ZSTD_compress(packed, sizeof packed, zeros, ARCHIVE_BLOCK_BYTES_MAX, 1);
    assert_false(ZSTD_isError(size));
    free(zeros);
    struct bytes bomb = bytes_of(packed, size);
    assert_int_equal(open_block(&world, bomb, 1, 1024, ARCHIVE_ZSTD), -EBADMSG);
    assert_true(world.memory.outstanding_bytes < 64 * 1024);
    assert_int_equal(open_block(&world, bomb, 1, ARCHIVE_BLOCK_BYTES_MAX + 1, ARCHIVE_ZSTD),
                     -EBADMSG);
    assert_int_equal(open_block(&world, bomb, 1, ARCHIVE_BLOCK_BYTES_MAX, ARCHIVE_ZSTD), 0);
    struct archive_walk walk;
    struct archive_record record;
    archive_walk_init(&walk, &world.reader.blocks[0], buffer_bytes(&world.raw));
    assert_int_equal(archive_walk_next(&walk, &record), -EBADMSG);
    assert_int_equal(walk.offset, 0);

    /* The same as a footer. */
    struct archive_craft craft = {
        .kind = ARCHIVE_LOG, .footer = bomb, .footer_raw_size = 100000, .codec = ARCHIVE_ZSTD};
    assert_int_equal(open_crafted(&world, &craft), -EBADMSG);
    craft.footer_raw_size = ARCHIVE_FOOTER_BYTES_MAX + 1;
    assert_int_equal(open_crafted(&world, &craft), -EBADMSG);
    craft.footer_raw_size = 0;
    assert_int_equal(open_crafted(&world, &craft), -EBADMSG);
    /* Counts that are not there. */
    for (size_t at = 17; at < 30; at++) {
        struct footer footer = footer_of(1, 1, 1, ARCHIVE_PLAIN, 0);
        uint8_t many[VARINT_BYTES_MAX];
        size_t length = (size_t)(varint_put(many, UINT64_MAX) - many);
        memmove(footer.bytes + at + length, footer.bytes + at, footer.size - at);
        memcpy(footer.bytes + at, many, length);
        craft = (struct archive_craft){
            .kind = ARCHIVE_LOG,
            .blocks = text("x"),
            .footer = bytes_of(footer.bytes, footer.size + length),
            .footer_raw_size = (uint32_t)(footer.size + length),
        };
        assert_int_equal(open_crafted(&world, &craft), -EBADMSG);
    }
    buffer_fini(&body);
    world_fini(&world);
}

/* The index says three times how many records there are. */
static void test_counts_that_differ(void **state)
{
    (void)state;
    struct world world;

    world_init(&world, "k1 " KEY "\n");
    for (int wrong = 0; wrong < 8; wrong++) {
        struct footer footer = footer_of(1, 50, 50, ARCHIVE_PLAIN, 0);
        const size_t places[] = {0, 29, footer.size - 2}; /* Of all, of the block, of the span. */
        uint8_t block[50] = {0};
        for (int i = 0; i < 3; i++) {
            assert_int_equal(footer.bytes[places[i]], 1);
            footer.bytes[places[i]] = (uint8_t)(1 + (wrong >> i & 1));
        }
        struct archive_craft craft = {
            .kind = ARCHIVE_LOG,
            .blocks = bytes_of(block, sizeof block),
            .footer = bytes_of(footer.bytes, footer.size),
            .footer_raw_size = (uint32_t)footer.size,
        };
        assert_int_equal(open_crafted(&world, &craft), wrong % 7 == 0 ? 0 : -EBADMSG);
    }
    world_fini(&world);
}

/* Records that do not belong to their block. */
static void test_records_of_other_slots(void **state)
{
    (void)state;
    struct test_memory memory = test_memory();
    struct buffer body = {.memory = &memory.memory};
    struct world world;
    struct archive_walk walk;
    struct archive_record record;
    uint8_t raw[256];

    world_init(&world, "k1 " KEY "\n");
    char lower[16] = "";
    for (int i = 0; i == 0 || slot_of_key(text(lower)) >= slot_of_key(text("b")); i++) {
        snprintf(lower, sizeof lower, "k%d", i);
    }
    for (int i = 0; i < 5; i++) {
        static const uint8_t kinds[] = {LOG_FULL, LOG_FULL, LOG_TOUCH, LOG_FULL, LOG_FULL};
        struct log_batch_item item = {kinds[i], 1, {NULL, 0}};
        item.body = archive_kit_body(&body, i == 1 ? "a" : i == 4 ? lower : "b", text("value"));
        size_t size = (size_t)(log_batch_item_put(raw, &item) - raw);
        uint64_t records = i == 3 ? 2 : 1; /* One less than it says. */
        assert_int_equal(open_block(&world, bytes_of(raw, size), records, size, ARCHIVE_PLAIN), 0);
        archive_walk_init(&walk, &world.reader.blocks[0], buffer_bytes(&world.raw));
        int rc = archive_walk_next(&walk, &record);
        assert_int_equal(rc, i == 0 || i == 3 ? 1 : -EBADMSG);
        assert_int_equal(archive_walk_next(&walk, &record), i == 0 ? 0 : -EBADMSG);
        assert_int_equal(archive_walk_next(&walk, &record), i == 0 ? 0 : -EBADMSG);
    }
    buffer_fini(&body);
    world_fini(&world);
}

/* ---- Memory ---- */

static int write_and_read(struct memory *memory, const struct archive_keys *keys)
{
    struct archive_writer_options options = archive_kit_options();
    struct buffer raw = {.memory = memory};
    struct archive_writer writer;
    struct archive_reader reader;
    struct bytes object;

    options.key = &keys->keys[0];
    options.level = 1;
    archive_writer_init(&writer, memory);
    archive_reader_init(&reader, memory, keys);
    archive_writer_begin(&writer, &options);
    int rc = add_sample(&writer, 100);
    if (rc == 0) {
        rc = archive_writer_make(&writer, &object);
    }
    if (rc == 0) {
        rc = archive_kit_read(&reader, object, &raw);
    }
    archive_writer_fini(&writer);
    archive_reader_fini(&reader);
    buffer_fini(&raw);
    return rc;
}

static void test_memory_that_fails(void **state)
{
    (void)state;
    struct archive_keys keys;
    int rc = -ENOMEM;

    archive_kit_keys(&keys, "k1 " KEY "\n");
    for (uint64_t fail_at = 1; rc != 0; fail_at++) {
        struct test_memory memory = test_memory();
        memory.fail_at = fail_at;
        rc = write_and_read(&memory.memory, &keys);
        assert_true(rc == 0 || rc == -ENOMEM);
        assert_int_equal(memory.outstanding_bytes, 0);
        assert_true(rc != 0 || fail_at > 20);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_bit),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_cipher),
        cmocka_unit_test(test_forgeries),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_counts_that_differ),
        cmocka_unit_test(test_records_of_other_slots),
        cmocka_unit_test(test_memory_that_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
