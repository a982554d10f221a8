/* Names of the archive's objects, and the file of its keys. */
#include <unistd.h>

#include "archive_key_file.h"
#include "archive_kit.h"

/* ---- Names ---- */

#define CLUSTER "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"

static struct archive_name name_of(enum archive_kind kind, uint64_t sequence, uint32_t part)
{
    struct archive_name name = archive_kit_options().name;

    name.kind = kind;
    name.sequence = sequence;
    name.part = part;
    return name;
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        enum archive_kind kind;
        uint64_t sequence;
        uint32_t part;
        const char *text;
    } rows[] = {
        {ARCHIVE_PART, 1, 0, CLUSTER "/checkpoint/0000000300000007/0000000000000001/00000000"},
        {ARCHIVE_PART, 1, ARCHIVE_PARTS_MAX - 1,
         CLUSTER "/checkpoint/0000000300000007/0000000000000001/000fffff"},
        {ARCHIVE_DONE, 1, 0, CLUSTER "/checkpoint/0000000300000007/0000000000000001/done"},
        {ARCHIVE_PART, 2, 0, CLUSTER "/checkpoint/0000000300000007/0000000000000002/00000000"},
        {ARCHIVE_LOG, 0x1234, 0, CLUSTER "/log/0000000300000007/0000000000001234"},
        {ARCHIVE_LOG, UINT64_MAX, 0, CLUSTER "/log/0000000300000007/ffffffffffffffff"},
    };
    struct archive_name before = {0};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[ARCHIVE_NAME_BYTES];
        struct archive_name name = name_of(rows[i].kind, rows[i].sequence, rows[i].part), again;
        archive_name_put(text, &name);
        assert_string_equal(text, rows[i].text);
        assert_int_equal(archive_name_parse(text, &again), 0);
        assert_int_equal(archive_name_compare(&name, &again), 0);
        assert_memory_equal(again.cluster, name.cluster, CLUSTER_ID_BYTES);
        assert_int_equal(again.kind, name.kind);
        assert_int_equal(again.part, name.part);
        if (i > 0) {
            assert_true(archive_name_compare(&before, &name) < 0);
            assert_true(archive_name_compare(&name, &before) > 0);
            assert_true(strcmp(rows[i - 1].text, rows[i].text) < 0);
        }
        before = name;
    }
}

static void test_prefixes(void **state)
{
    (void)state;
    struct archive_name name = name_of(ARCHIVE_LOG, 1, 0);
    char text[ARCHIVE_NAME_BYTES];

    archive_name_prefix(text, ARCHIVE_LOG, name.cluster, (struct actor){0, 0});
    assert_string_equal(text, CLUSTER "/log/");
    archive_name_prefix(text, ARCHIVE_DONE, name.cluster, (struct actor){0x10, UINT32_MAX});
    assert_string_equal(text, CLUSTER "/checkpoint/00000010ffffffff/");
}

static void test_other_names(void **state)
{
    (void)state;
    static const char good[] = CLUSTER "/checkpoint/0000000300000007/0000000000000001/00000000";
    static const char *const others[] = {
        "",
        CLUSTER,
        CLUSTER "/",
        CLUSTER "/log",
        CLUSTER "/log/",
        CLUSTER "/logs/0000000300000007/0000000000001234",
        CLUSTER "/log/0000000300000007/",
        CLUSTER "/log/0000000300000007/0000000000001234/",
        CLUSTER "/log/0000000300000007/0000000000001234/done",
        CLUSTER "/log/0000000300000007/000000000000123A",
        CLUSTER "/log/0000000300000007/00000000000001234",
        CLUSTER "/log/0000000000000007/0000000000001234",
        CLUSTER "/log/0000000300000000/0000000000001234",
        CLUSTER "/checkpoint/0000000300000007/0000000000000001",
        CLUSTER "/checkpoint/0000000300000007/0000000000000001/",
        CLUSTER "/checkpoint/0000000300000007/0000000000000001/00100000",
        CLUSTER "/checkpoint/0000000300000007/0000000000000001/done ",
    };
    struct archive_name name = {.sequence = 99};
    char text[sizeof good];

    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_int_equal(archive_name_parse(others[i], &name), -EINVAL);
    }
    for (size_t size = 0; size < sizeof good - 1; size++) {
        memcpy(text, good, sizeof good);
        text[size] = '\0';
        assert_int_equal(archive_name_parse(text, &name), -EINVAL);
        memcpy(text, good, sizeof good);
        text[size] = 'x';
        assert_int_equal(archive_name_parse(text, &name), -EINVAL);
    }
    assert_int_equal(name.sequence, 99);
}

/* ---- Keys ---- */

#define HEX    "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define BASE64 "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define OTHER  "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffFF"

static void test_keys(void **state)
{
    (void)state;
    struct archive_keys keys;

    archive_kit_keys(&keys,
                     "# new first\r\n\n  new-2.b_\t " OTHER " \r\nold " HEX "\nsame " BASE64);
    assert_int_equal(keys.count, 3);
    assert_string_equal(keys.keys[0].id, "new-2.b_");
    assert_int_equal(keys.keys[0].bytes[31], 0xff);
    assert_string_equal(keys.keys[1].id, "old");
    for (int i = 0; i < ARCHIVE_KEY_BYTES; i++) {
        assert_int_equal(keys.keys[1].bytes[i], i);
    }
    assert_memory_equal(keys.keys[1].bytes, keys.keys[2].bytes, ARCHIVE_KEY_BYTES);
    assert_memory_equal(keys.keys[1].check, keys.keys[2].check, ARCHIVE_KEY_CHECK_BYTES);
    assert_memory_not_equal(keys.keys[0].check, keys.keys[1].check, ARCHIVE_KEY_CHECK_BYTES);
    assert_ptr_equal(archive_keys_find(&keys, "old"), &keys.keys[1]);
    assert_null(archive_keys_find(&keys, "ol"));
    assert_null(archive_keys_find(&keys, "older"));
    assert_null(archive_keys_find(NULL, "old"));
    archive_keys_wipe(&keys);
    assert_int_equal(keys.count, 0);
    assert_null(memchr(keys.keys, 0xff, sizeof keys.keys));
}

static void test_wrong_keys(void **state)
{
    (void)state;
    static const struct {
        const char *lines, *message;
    } rows[] = {
        {"", "there is no key"},
        {"# a " HEX "\n\n", "there is no key"},
        {"a", "line 1: a key is"},
        {"a\n", "line 1: a key is"},
        {"# one\na " HEX "\nb " HEX "0\n", "line 3: a key is"},
        {"a " HEX " x\n", "line 1: a key is"},
        {"a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n", "line 1: a key is"},
        {"a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh==\n", "line 1: a key is"},
        {"a AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdH*8=\n", "line 1: a key is"},
        {"a/b " HEX "\n", "line 1: an id is"},
        {"a12345678901234567890123456789012 " HEX "\n", "line 1: an id is"},
        {"a " HEX "\na " OTHER "\n", "line 2: this id has a key"},
    };
    struct archive_keys keys = {.count = 7};
    char message[200];

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(archive_keys_parse(&keys, text(rows[i].lines), message, sizeof message),
                         -EINVAL);
        assert_memory_equal(message, rows[i].message, strlen(rows[i].message));
        assert_null(strstr(message, "0102")); /* Never a key. */
    }
    assert_int_equal(keys.count, 7);
}

static void test_many_keys(void **state)
{
    (void)state;
    static char lines[ARCHIVE_KEY_FILE_BYTES_MAX + 1];
    struct archive_keys keys;
    char message[200];
    size_t size = 0;

    for (int i = 0; i < ARCHIVE_KEYS_MAX; i++) {
        size += (size_t)snprintf(lines + size, sizeof lines - size, "key-%d %s\n", i, HEX);
    }
    archive_kit_keys(&keys, lines);
    assert_int_equal(keys.count, ARCHIVE_KEYS_MAX);
    snprintf(lines + size, sizeof lines - size, "more %s\n", HEX);
    assert_int_equal(archive_keys_parse(&keys, text(lines), message, sizeof message), -EINVAL);
    assert_string_equal(message, "line 65: too many keys");
    memset(lines, '\n', sizeof lines);
    memcpy(lines, "a " HEX, strlen("a " HEX));
    assert_int_equal(
        archive_keys_parse(&keys, bytes_of(lines, sizeof lines), message, sizeof message), -EINVAL);
    assert_int_equal(
        archive_keys_parse(&keys, bytes_of(lines, sizeof lines - 1), message, sizeof message), 0);
}

/* From a file, from the environment, from nowhere. */
static void test_key_file(void **state)
{
    (void)state;
    char path[] = "/tmp/belay-keys-XXXXXX", message[200] = "";
    struct archive_keys keys = {.count = 0};
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, "file " HEX "\n", strlen("file " HEX "\n")),
                     strlen("file " HEX "\n"));
    assert_int_equal(unsetenv(ARCHIVE_KEYS_VARIABLE), 0);
    assert_int_equal(archive_key_file_read(&keys, NULL, message, sizeof message), -ENOENT);
    assert_int_equal(archive_key_file_read(&keys, "", message, sizeof message), -ENOENT);
    assert_string_equal(message, "");
    assert_int_equal(setenv(ARCHIVE_KEYS_VARIABLE, "variable " HEX, 1), 0);
    assert_int_equal(archive_key_file_read(&keys, "", message, sizeof message), 0);
    assert_string_equal(keys.keys[0].id, "variable");
    assert_int_equal(archive_key_file_read(&keys, path, message, sizeof message), 0);
    assert_string_equal(keys.keys[0].id, "file");
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(archive_key_file_read(&keys, path, message, sizeof message), -EINVAL);
    assert_memory_equal(message, path, strlen(path));
    assert_non_null(strstr(message, ": line 2: "));
    assert_int_equal(setenv(ARCHIVE_KEYS_VARIABLE, "variable", 1), 0);
    assert_int_equal(archive_key_file_read(&keys, "", message, sizeof message), -EINVAL);
    assert_string_equal(message, ARCHIVE_KEYS_VARIABLE
                        ": line 1: a key is 64 hexadecimal digits, or 44 characters of base64");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(archive_key_file_read(&keys, path, message, sizeof message), -ENOENT);
    assert_non_null(strstr(message, "No such file"));
    assert_int_equal(keys.count, 1);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_other_names), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_wrong_keys),  cmocka_unit_test(test_many_keys),
        cmocka_unit_test(test_key_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
