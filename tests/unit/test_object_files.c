/* Objects in a directory. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "object_files.h"
#include "scratch.h"

static uv_loop_t loop;
static struct scratch scratch;
static struct object_store *store;

/* Its syncs fail. 0: none does. */
static _Atomic ino_t broken_directory;

/* In place of the system's. */
int fsync(int fd)
{
    struct stat status;

    if (fstat(fd, &status) == 0 && status.st_ino == broken_directory) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* How the last call ended. */
static struct {
    bool done;
    int rc;
    char text[OBJECT_TEXT_BYTES];
    uint8_t body[256];
    size_t body_size;
    uint64_t size;
    char names[2000][16];
    uint32_t count;
    bool more;
} told;

static void on_done(void *context, const struct object_answer *answer)
{
    (void)context;
    told.done = true;
    told.rc = answer->rc;
    snprintf(told.text, sizeof told.text, "%s", answer->text);
    told.body_size = answer->body.size;
    told.size = answer->size;
    if (answer->body.size > 0) {
        memcpy(told.body, answer->body.data, answer->body.size);
    }
    told.count = answer->listed_count;
    told.more = answer->more;
    for (uint32_t i = 0; i < answer->listed_count; i++) {
        snprintf(told.names[i], sizeof told.names[i], "%s", answer->listed[i].name);
    }
}

static int call(struct object_call asked)
{
    asked.done = on_done;
    told.done = false;
    assert_int_equal(object_store_begin(store, &asked), 0);
    while (!told.done) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    return told.rc;
}

static int put(const char *name, const char *body, bool only_new)
{
    return call((struct object_call){
        .op = OBJECT_PUT, .name = name, .body = bytes_of_string(body), .only_new = only_new});
}

static int get(const char *name)
{
    return call(
        (struct object_call){.op = OBJECT_GET, .name = name, .bytes_max = sizeof told.body});
}

static void list(const char *prefix, const char *after)
{
    assert_int_equal(call((struct object_call){.op = OBJECT_LIST, .name = prefix, .after = after}),
                     0);
}

static int begin(void **state)
{
    char message[256];

    (void)state;
    uv_loop_init(&loop);
    scratch_make(&scratch, "/tmp", "belay-objects");
    assert_int_equal(
        object_files_create(&loop, scratch.path, true, &store, message, sizeof message), 0);
    return 0;
}

static int end(void **state)
{
    (void)state;
    object_store_destroy(store);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    scratch_remove(&scratch);
    return 0;
}

static void test_objects_are_written_once(void **state)
{
    (void)state;
    assert_int_equal(put("a/b/one", "hello", true), 0);
    assert_int_equal(put("a/b/one", "hello", true), 0); /* The same again. */
    assert_int_equal(put("a/b/one", "other", true), -EEXIST);
    assert_int_equal(put("a/b/one", "hello!", true), -EEXIST);
    assert_non_null(strstr(told.text, "other bytes"));
    assert_int_equal(get("a/b/one"), 0);
    assert_int_equal(told.body_size, 5);
    assert_memory_equal(told.body, "hello", 5);
    assert_int_equal(put("a/b/one", "new", false), 0);
    assert_int_equal(get("a/b/one"), 0);
    assert_memory_equal(told.body, "new", 3);
    list("", NULL);
    assert_int_equal(told.count, 1); /* Nothing is left beside it. */
}

/* What was there counts as stored once its name is durable, whoever gave it. */
static void test_names_are_durable(void **state)
{
    struct stat status;

    (void)state;
    assert_int_equal(stat(scratch.path, &status), 0);
    broken_directory = status.st_ino;
    assert_int_equal(put("one", "hello", true), -EIO);
    assert_int_equal(get("one"), 0);
    assert_int_equal(put("one", "hello", true), -EIO);
    assert_int_equal(put("one", "other", true), -EEXIST);
    assert_int_equal(put("a/two", "hello", true), -EIO);
    assert_int_equal(put("a/two", "hello", true), -EIO);
    broken_directory = 0;
    assert_int_equal(put("one", "hello", true), 0);
    assert_int_equal(put("a/two", "hello", true), 0);
}

static void test_parts(void **state)
{
    (void)state;
    assert_int_equal(put("one", "0123456789", true), 0);
    struct object_call part = {
        .op = OBJECT_GET, .name = "one", .offset = 8, .bytes_max = 5, .part = true};
    assert_int_equal(call(part), 0);
    assert_int_equal(told.body_size, 2);
    assert_memory_equal(told.body, "89", 2);
    assert_int_equal(told.size, 10);
    part.offset = 20;
    assert_int_equal(call(part), 0);
    assert_int_equal(told.body_size, 0);
    part = (struct object_call){.op = OBJECT_GET, .name = "one", .bytes_max = 9};
    assert_int_equal(call(part), -EFBIG);
    assert_int_equal(get("none"), -ENOENT);
    assert_non_null(strstr(told.text, "none"));
}

static void test_lists(void **state)
{
    char name[16];

    (void)state;
    for (uint32_t i = 0; i < OBJECT_LIST_MAX + 5; i++) {
        snprintf(name, sizeof name, "l/%04u/x", i);
        assert_int_equal(put(name, "", true), 0);
    }
    assert_int_equal(put("m", "", true), 0);
    list("l/", NULL);
    assert_int_equal(told.count, OBJECT_LIST_MAX);
    assert_true(told.more);
    assert_string_equal(told.names[0], "l/0000/x");
    list("l/", "l/0999/x");
    assert_int_equal(told.count, 5);
    assert_false(told.more);
    assert_string_equal(told.names[4], "l/1004/x");
    list("l/100", NULL);
    assert_int_equal(told.count, 5);
    list("none", NULL);
    assert_int_equal(told.count, 0);
    list("l/0001/x/y", NULL);
    assert_int_equal(told.count, 0);
}

static void test_removal(void **state)
{
    (void)state;
    assert_int_equal(put("one", "1", true), 0);
    const struct object_call removal = {.op = OBJECT_REMOVE, .name = "one"};
    assert_int_equal(call(removal), 0);
    assert_int_equal(get("one"), -ENOENT);
    assert_int_equal(call(removal), 0);
}

static void test_names(void **state)
{
    static const char *const bad[] = {"", "/a", "a/", "a//b", ".a", "a/../b", "a\n", "\xc3\xa4"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct object_call asked = {.op = OBJECT_GET, .name = bad[i], .done = on_done};
        assert_int_equal(object_store_begin(store, &asked), -EINVAL);
    }
}

/* What is under way when the store goes is told so, and ends on the loop. */
static void test_destroyed(void **state)
{
    char message[256];
    const struct object_call asked = {.op = OBJECT_PUT,
                                      .name = "one",
                                      .body = bytes_of_string("1"),
                                      .only_new = true,
                                      .done = on_done};

    (void)state;
    told.done = false;
    assert_int_equal(object_store_begin(store, &asked), 0);
    object_store_destroy(store);
    while (!told.done) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(told.rc, -ECANCELED);
    assert_int_equal(
        object_files_create(&loop, scratch.path, true, &store, message, sizeof message), 0);
}

static void test_no_directory(void **state)
{
    char message[256], path[512];
    struct object_store *none;

    (void)state;
    snprintf(path, sizeof path, "%s/a/b", scratch.path);
    assert_int_equal(object_files_create(&loop, path, true, &none, message, sizeof message),
                     -ENOENT);
    assert_non_null(strstr(message, path));
    *strrchr(path, '/') = '\0'; /* Who only reads makes nothing. */
    assert_int_equal(object_files_create(&loop, path, false, &none, message, sizeof message),
                     -ENOENT);
    assert_int_equal(access(path, F_OK), -1);
}

/* A directory that may not be written is refused to who writes; to root, who may write all, nothing is refused. */
static void test_not_writable(void **state)
{
    char message[256], path[512];
    struct object_store *none;
    int status;

    (void)state;
    snprintf(path, sizeof path, "%s/fixed", scratch.path);
    assert_int_equal(mkdir(path, 0555), 0);
    assert_int_equal(chmod(scratch.path, 0755), 0);
    const pid_t child = fork();
    if (child == 0) {
        const bool other = geteuid() != 0 || setuid(65534) == 0;
        const bool refused =
            object_files_create(&loop, path, true, &none, message, sizeof message) == -EACCES &&
            strstr(message, path) != NULL;
        _exit(other && refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(rmdir(path), 0);
}

/* What a crash left half written goes, what somebody may be writing stays. */
static void test_leftovers(void **state)
{
    char message[256], old[512], young[512];
    const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct object_store *other;

    (void)state;
    snprintf(old, sizeof old, "%s/.part-1-0", scratch.path);
    snprintf(young, sizeof young, "%s/.part-1-1", scratch.path);
    fclose(fopen(old, "w"));
    fclose(fopen(young, "w"));
    assert_int_equal(utimensat(AT_FDCWD, old, long_ago, 0), 0);
    assert_int_equal(
        object_files_create(&loop, scratch.path, true, &other, message, sizeof message), 0);
    object_store_destroy(other);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(young, F_OK), 0);
    list("", NULL);
    assert_int_equal(told.count, 0);
}

/* The same asked for, at an age that the caller says. */
static void test_tidy(void **state)
{
    char path[512];
    const struct timespec begun[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    struct object_call tidy = {.op = OBJECT_TIDY, .name = "", .before_ms = 1000 * 1000};

    (void)state;
    assert_int_equal(put("one", "1", true), 0);
    snprintf(path, sizeof path, "%s/.part-1-0", scratch.path);
    fclose(fopen(path, "w"));
    assert_int_equal(utimensat(AT_FDCWD, path, begun, 0), 0);
    assert_int_equal(call(tidy), 0);
    assert_int_equal(told.count, 0);
    tidy.before_ms++;
    assert_int_equal(call(tidy), 0);
    assert_int_equal(told.count, 1);
    assert_false(told.more);
    assert_string_equal(told.names[0], ".part-1-0");
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(get("one"), 0);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_objects_are_written_once),
        CASE(test_names_are_durable),
        CASE(test_parts),
        CASE(test_lists),
        CASE(test_removal),
        CASE(test_names),
        CASE(test_destroyed),
        CASE(test_no_directory),
        CASE(test_not_writable),
        CASE(test_leftovers),
        CASE(test_tidy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
