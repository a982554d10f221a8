/* What a compaction reads and what it may leave: indexes that are missing or wrong, records that no longer
 * count, and damage to those that do. test_store.c has its ordinary life. */
#include <dirent.h>
#include <sys/stat.h>

#include "segment_index.h"
#include "store_kit.h"

enum { SEGMENT = 64 * 1024 };

static struct store_kit kit;

/* The end of a record in its file. */
struct place {
    struct log_epoch epoch;
    uint64_t end;
};

static void begin(uint32_t key_count)
{
    store_kit_init(&kit, key_count, SEGMENT);
    assert_int_equal(kit_open_store(&kit), 0);
}

static struct place place_of_last(void)
{
    return (struct place){kit.segment.epoch, LOG_HEADER_BYTES + (kit.lsn - kit.segment.lsn)};
}

static uint64_t position_of(uint32_t number)
{
    char text[16];

    return keeper_position(kit.seed, kit_key(number, text));
}

/* The session changes (by a delta or in full), and is logged in full. */
static struct place set_in_full(uint32_t number)
{
    assert_int_equal(kit_set(&kit, number), 0);
    assert_int_equal(
        kit_append(&kit, LOG_FULL, position_of(number), buffer_bytes(&kit.present[number])), 0);
    return place_of_last();
}

static void flip_file(const char *path, uint64_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x20;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

/* Damage the end of a record's body. */
static void damage(struct place place)
{
    char path[PATH_BYTES_MAX];

    assert_int_equal(segments_path(store_segments(kit.store), place.epoch, path), 0);
    flip_file(path, place.end - 12);
}

/* All that was written is sealed, and has its index. */
static void seal(void)
{
    kit_flush(&kit);
    assert_int_equal(kit_take_segment(&kit), 0);
    while (segments_prepare(store_segments(kit.store)) == 1) {
    }
}

static void compact(void)
{
    struct store_stats stats;

    assert_int_equal(store_compact(kit.store), 0);
    store_stats(kit.store, &stats);
    assert_int_equal(stats.sealed_bytes, 0);
}

static uint64_t damages(void)
{
    return kit.reports[STORE_LOG_DAMAGED] + kit.reports[STORE_LOG_BASELESS] +
           kit.reports[STORE_CHECKPOINT_DAMAGED];
}

static void expect_record(uint32_t number, struct bytes record)
{
    store_kit_close(&kit);
    assert_int_equal(kit_open_store(&kit), 0);
    assert_bytes_equal(buffer_bytes(&kit.restored[number]), record);
}

/* A copy that a test keeps. */
static struct buffer copy_of(uint32_t number)
{
    struct buffer copy = {.memory = &kit.own.memory};

    assert_int_equal(buffer_append(&copy, buffer_bytes(&kit.present[number])), 0);
    return copy;
}

/* ---- Indexes ---- */

static bool is_index(const char *name)
{
    size_t size = strlen(name);

    return size > 4 && strcmp(name + size - 4, ".idx") == 0;
}

enum harm {
    HARM_REMOVED,
    HARM_FLIPPED,
    HARM_CUT,
    HARM_EMPTY,
    HARM_OTHER, /* Of another segment. */
    HARM_SHORT, /* Of this one, but not all of it. */
    HARM_COUNT,
};

/* Replace the file by another index, whole and right, but of another epoch. */
static void put_other(const char *path)
{
    char other[PATH_BYTES_MAX];
    static uint8_t bytes[SEGMENT];
    struct segment_file files[64];

    uint32_t count = segments_list(store_segments(kit.store), SEGMENT_SEALED, files, 64);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(segments_index_path(store_segments(kit.store), files[i].epoch, other), 0);
        int fd = open(other, O_RDONLY);
        if (fd >= 0 && strcmp(other, path) != 0) {
            ssize_t size = read(fd, bytes, sizeof bytes);
            close(fd);
            if (size <= 0) {
                continue; /* Of an earlier round. */
            }
            fd = open(path, O_WRONLY | O_TRUNC);
            assert_int_equal(write(fd, bytes, (size_t)size), size);
            close(fd);
            return;
        }
        if (fd >= 0) {
            close(fd);
        }
    }
}

/* A whole and right index, of the segment as it was once. */
static void shorten(const char *path)
{
    struct segment_index index;

    uint8_t header[24];
    int fd = open(path, O_RDONLY);
    if (fd < 0 || read(fd, header, sizeof header) != sizeof header) {
        close(fd); /* Emptied in an earlier round. */
        return;
    }
    close(fd);
    segment_index_init(&index, &kit.own.memory);
    index.shard = kit.options.shard;
    index.epoch = (struct log_epoch){load_u32(header + 16), load_u32(header + 20)};
    if (segment_index_read(&index, files_system(), path) == 0 && index.count > 0) {
        index.count /= 2;
        index.end_lsn -= 8;
        assert_int_equal(segment_index_write(&index, files_system(), path), 0);
    }
    segment_index_fini(&index);
}

/* Harm every second index, or all. Returns how many. */
static uint32_t harm_indexes(enum harm harm, bool all)
{
    DIR *directory = opendir(kit.directory);
    struct dirent *entry;
    uint32_t seen = 0, harmed = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)) != NULL) {
        char path[PATH_BYTES_MAX];
        struct stat status;
        if (!is_index(entry->d_name) || (seen++ % 2 == 1 && !all)) {
            continue;
        }
        assert_int_equal(path_join(path, kit.directory, entry->d_name), 0);
        assert_int_equal(stat(path, &status), 0);
        harmed++;
        switch (harm) {
        case HARM_REMOVED:
            assert_int_equal(unlink(path), 0);
            break;
        case HARM_FLIPPED:
            flip_file(path, (uint64_t)status.st_size - 5);
            break;
        case HARM_CUT:
            assert_int_equal(truncate(path, status.st_size - 24), 0);
            break;
        case HARM_EMPTY:
            assert_int_equal(truncate(path, 0), 0);
            break;
        case HARM_OTHER:
            put_other(path);
            break;
        default:
            shorten(path);
            break;
        }
    }
    closedir(directory);
    return harmed;
}

/* An index that is missing, damaged or another's is made again from its segment. */
static void test_indexes_are_made_again(void **state)
{
    (void)state;
    for (int round = 0; round < 2 * HARM_COUNT; round++) {
        begin(150);
        kit_live(&kit, 1500);
        seal();
        assert_true(harm_indexes((enum harm)(round / 2), round % 2 == 0) >= 2);
        compact();
        kit_reopen_and_check(&kit);
        assert_int_equal(damages(), 0);
        store_kit_fini(&kit);
    }
}

/* In place as well: few changes to many sessions. */
static void test_indexes_are_made_again_in_place(void **state)
{
    (void)state;
    begin(3000);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    seal();
    compact();
    for (int round = 0; round < HARM_COUNT; round++) {
        uint64_t done = kit.reports[STORE_CHECKPOINT_DONE];
        for (uint32_t i = 0; i < 150; i++) {
            assert_int_equal(kit_step(&kit), 0);
        }
        seal();
        harm_indexes((enum harm)round, true);
        compact();
        assert_int_equal(kit.reports[STORE_CHECKPOINT_DONE], done + 1);
        kit_reopen_and_check(&kit);
    }
    assert_int_equal(damages(), 0);
    store_kit_fini(&kit);
}

/* ---- What counts ---- */

/* What a later full record replaced is not looked at any more. */
static void test_old_damage_does_not_count(void **state)
{
    struct place old[20];

    (void)state;
    begin(20);
    for (uint32_t i = 0; i < 20; i++) {
        old[i] = set_in_full(i);
    }
    for (uint32_t i = 0; i < 20; i++) {
        (void)set_in_full(i);
        if (i % 2 == 0) {
            assert_int_equal(kit_touch(&kit, i), 0);
        }
    }
    seal();
    for (uint32_t i = 0; i < 20; i++) {
        damage(old[i]);
    }
    compact();
    kit_reopen_and_check(&kit);
    assert_int_equal(damages(), 0);
    store_kit_fini(&kit);
}

/* Where the newest full record is damaged, what came before it counts: here that is all of it. */
static void test_damage_of_the_newest(void **state)
{
    (void)state;
    begin(20);
    for (uint32_t i = 0; i < 20; i++) {
        (void)set_in_full(i);
    }
    for (int round = 0; round < 3; round++) { /* In the log alone; on a checkpoint; again. */
        struct place newest[20];
        for (uint32_t i = 0; i < 20; i++) {
            newest[i] = set_in_full(i);
        }
        for (uint32_t i = 0; i < 20; i += 2) {
            assert_int_equal(kit_set(&kit, i), 0); /* On the damaged one. */
        }
        seal();
        damage(newest[4]);
        damage(newest[5]);
        compact();
        /* Of number 4 the last change may have been logged in full, too. */
        assert_int_equal(kit.named[5], round + 1);
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED], kit.named[4] + kit.named[5]);
        kit_reopen_and_check(&kit);
    }
    assert_true(kit.named[4] > 0);
    assert_int_equal(damages(), kit.named[4] + kit.named[5]);
    store_kit_fini(&kit);
}

static void append_full(uint32_t number)
{
    assert_int_equal(
        kit_append(&kit, LOG_FULL, position_of(number), buffer_bytes(&kit.present[number])), 0);
}

/* And where nothing whole came after an older copy, that copy is what is left. */
static void test_damage_falls_back(void **state)
{
    (void)state;
    begin(20);
    for (int round = 0; round < 2; round++) {
        struct place newest[4];
        (void)set_in_full(7);
        struct buffer before = copy_of(7);
        if (round == 1) { /* Now it is the checkpoint's. */
            seal();
            compact();
        }
        assert_int_equal(kit_set(&kit, 7), 0);
        newest[0] = place_of_last();
        for (uint32_t i = 1; i < 4; i++) {
            assert_int_equal(kit_set(&kit, 2), 0); /* Between them: so each can be named. */
            append_full(7);
            newest[i] = place_of_last();
        }
        seal();
        assert_int_equal(kit_set(&kit, 1), 0); /* Tells that all before was durable. */
        kit_flush(&kit);
        for (uint32_t i = 0; i < 4; i++) {
            damage(newest[i]);
        }
        /* A restart sees the same damage, and is left with the same. */
        memset(kit.named, 0, sizeof kit.named);
        store_kit_close(&kit);
        assert_int_equal(kit_open_store(&kit), 0);
        assert_bytes_equal(buffer_bytes(&kit.restored[7]), buffer_bytes(&before));
        assert_int_equal(kit.named[7], 4);
        compact();
        assert_int_equal(kit.named[7], 8);
        expect_record(7, buffer_bytes(&before));
        kit_replace(&kit.present[7], buffer_bytes(&before));
        buffer_fini(&before);
    }
    store_kit_fini(&kit);
}

/* A new life is damaged: the one before it was buried, and stays so. */
static void test_damage_does_not_unbury(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        begin(20);
        (void)set_in_full(3);
        if (round == 1) {
            seal();
            compact();
        }
        assert_int_equal(kit_bury(&kit, 3), 0);
        uint64_t lsn = kit.lsn;
        while (kit.lsn == lsn) { /* What begins a life is logged in full. */
            assert_int_equal(kit_set(&kit, 3), 0);
        }
        struct place newest = place_of_last();
        assert_int_equal(kit_set(&kit, 5), 0);
        seal();
        damage(newest);
        compact();
        assert_int_equal(kit.reports[STORE_LOG_DAMAGED], 1);
        assert_int_equal(kit.named[3], 1);
        expect_record(3, bytes_of(NULL, 0));
        expect_record(5, buffer_bytes(&kit.present[5]));
        store_kit_fini(&kit);
    }
}

/* Lives that end and begin again, in every distribution over two compactions. */
static void test_burials_and_new_lives(void **state)
{
    (void)state;
    begin(64);
    for (uint32_t i = 0; i < 64; i++) {
        (void)set_in_full(i);
    }
    for (uint32_t at = 0; at < 6; at++) { /* Each key by the bits of its number. */
        for (uint32_t i = 0; i < 64; i++) {
            if ((i >> at & 1) != 0) {
                assert_int_equal(kit_bury(&kit, i), 0);
            } else if (at % 2 == 0) {
                (void)set_in_full(i);
            }
        }
        if (at == 2) {
            seal();
            compact();
        }
    }
    seal();
    compact();
    struct store_stats stats;
    uint32_t live = 0;
    for (uint32_t i = 0; i < 64; i++) {
        live += kit.present[i].size > 0;
    }
    store_stats(kit.store, &stats);
    assert_int_equal(stats.checkpoint_sessions, live);
    kit_reopen_and_check(&kit);
    assert_int_equal(damages(), 0);
    store_kit_fini(&kit);
}

/* ---- Twins ---- */

enum { TWINS = 200, TWIN_POSITION = 42 };

static void append_twin(uint32_t number)
{
    assert_int_equal(kit_append(&kit, LOG_FULL, TWIN_POSITION, buffer_bytes(&kit.present[number])),
                     0);
}

/* Keys that share a position are told apart, afresh and in place. */
static void test_twins(void **state)
{
    struct store_stats stats;

    (void)state;
    begin(TWINS);
    for (uint32_t i = 0; i < TWINS; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    kit.staged = 0; /* Forgotten, but for the model. */
    kit.lsn = 0;
    store_kit_close(&kit);
    assert_int_equal(files_remove_tree(files_system(), kit.directory), 0);
    assert_int_equal(files_system()->make_directory(files_system(), kit.directory), 0);
    assert_int_equal(kit_open_store(&kit), 0);
    for (uint32_t i = 0; i < TWINS; i++) {
        append_twin(i);
    }
    seal();
    compact();
    store_stats(kit.store, &stats);
    assert_int_equal(stats.checkpoint_sessions, TWINS);
    kit_reopen_and_check(&kit);
    for (uint32_t i = 0; i < 5; i++) { /* In place. */
        append_twin(i * 7);
    }
    const struct stamp stamp = {.hlc = hlc_of_ms(kit.now_ms + 5), .actor = kit_actor};
    assert_int_equal(session_bury(buffer_bytes(&kit.present[9]), stamp, false, &kit.scratch), 0);
    assert_int_equal(kit_append(&kit, LOG_BURY, TWIN_POSITION, buffer_bytes(&kit.scratch)), 0);
    kit.present[9].size = 0;
    seal();
    compact();
    store_stats(kit.store, &stats);
    assert_int_equal(stats.checkpoint_sessions, TWINS - 1);
    kit_reopen_and_check(&kit);
    store_kit_fini(&kit);
}

/* ---- What it knows of itself ---- */

static void expect_hlc(void)
{
    struct checkpoint_info info;
    uint64_t newest = 0;

    for (uint32_t i = 0; i < kit.key_count; i++) {
        uint64_t hlc = session_newest_hlc(buffer_bytes(&kit.present[i]));
        newest = hlc > newest ? hlc : newest;
    }
    assert_true(newest > 0);
    checkpoint_info(store_checkpoint(kit.store), &info);
    assert_true(info.hlc >= newest && info.hlc <= hlc_of_ms(kit.now_ms + 1));
}

/* The newest hlc, whatever way the records came in. */
static void test_newest_hlc(void **state)
{
    (void)state;
    begin(500);
    for (uint32_t i = 0; i < kit.key_count; i++) {
        assert_int_equal(kit_set(&kit, i), 0);
    }
    for (int round = 0; round < 4; round++) { /* Afresh, then in place; with and without indexes. */
        for (uint32_t i = 0; i < 20; i++) {
            assert_int_equal(kit_set(&kit, i), 0);
        }
        seal();
        if (round % 2 == 1) {
            harm_indexes(HARM_REMOVED, true);
        }
        compact();
        expect_hlc();
        store_kit_close(&kit);
        assert_int_equal(kit_open_store(&kit), 0);
        expect_hlc();
    }
    store_kit_fini(&kit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_indexes_are_made_again),
        cmocka_unit_test(test_indexes_are_made_again_in_place),
        cmocka_unit_test(test_old_damage_does_not_count),
        cmocka_unit_test(test_damage_of_the_newest),
        cmocka_unit_test(test_damage_falls_back),
        cmocka_unit_test(test_damage_does_not_unbury),
        cmocka_unit_test(test_burials_and_new_lives),
        cmocka_unit_test(test_twins),
        cmocka_unit_test(test_newest_hlc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
