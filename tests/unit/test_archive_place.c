/* Archives by URL, and as whom they are asked. */
#include "archive_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "scratch.h"

static uv_loop_t loop;
static struct scratch scratch;
static char message[512];

static int open_place(struct archive_place place)
{
    struct object_store *store = NULL;

    message[0] = '\0';
    int rc = archive_place_open(&loop, &place, &store, message, sizeof message);
    if (rc == 0) {
        object_store_destroy(store);
        uv_run(&loop, UV_RUN_DEFAULT);
    }
    return rc;
}

static void forget_environment(void)
{
    static const char *const names[] = {"AWS_ACCESS_KEY_ID",           "AWS_SECRET_ACCESS_KEY",
                                        "AWS_SESSION_TOKEN",           "AWS_PROFILE",
                                        "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION",
                                        "AWS_DEFAULT_REGION",          "AWS_ENDPOINT_URL"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
}

static int setup(void **state)
{
    (void)state;
    forget_environment();
    scratch_make(&scratch, "/tmp", "belay-place");
    return uv_loop_init(&loop);
}

static int teardown(void **state)
{
    (void)state;
    scratch_remove(&scratch);
    return uv_loop_close(&loop);
}

/* The same place has the same number, another one another. */
static void test_ids(void **state)
{
    const struct archive_place places[] = {
        {.url = "s3://bucket"},
        {.url = "s3://bucket/a"},
        {.url = "s3://bucket/b"},
        {.url = "s3://bucket", .endpoint = "http://127.0.0.1:1"},
        {.url = "s3://bucket", .endpoint = "http://127.0.0.1:2"},
        {.url = "file:///bucket"},
        {.url = "file:///a"},
    };
    const size_t count = sizeof places / sizeof places[0];

    (void)state;
    forget_environment();
    for (size_t i = 0; i < count; i++) {
        assert_int_not_equal(archive_place_id(&places[i]), 0);
        for (size_t j = 0; j < count; j++) {
            assert_int_equal(archive_place_id(&places[i]) == archive_place_id(&places[j]), i == j);
        }
    }
    const struct archive_place slashes = {.url = "s3://bucket//",
                                          .endpoint = "http://127.0.0.1:1/"},
                               environment = {.url = "s3://bucket"},
                               file = {.url = "file:///a/", .endpoint = "http://127.0.0.1:1"};
    assert_true(archive_place_id(&slashes) == archive_place_id(&places[3]));
    assert_true(archive_place_id(&file) == archive_place_id(&places[6]));
    setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2", 1);
    assert_true(archive_place_id(&environment) == archive_place_id(&places[4]));
    forget_environment();
}

static void test_urls(void **state)
{
    static const char *const good[] = {"s3://bucket", "s3://bucket/", "s3://bucket/a/b",
                                       "file:///d", "file:///d/e"};
    static const char *const bad[] = {"",
                                      "bucket",
                                      "s3:/bucket",
                                      "s3://",
                                      "s3:///a",
                                      "file://",
                                      "file://example.org/e",
                                      "file:///",
                                      "http://example.org/",
                                      "S3://bucket",
                                      "/d"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(archive_place_check(good[i], message, sizeof message), 0);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        message[0] = '\0';
        assert_int_equal(archive_place_check(bad[i], message, sizeof message), -EINVAL);
        assert_true(message[0] != '\0');
    }
}

static void test_directory(void **state)
{
    char url[512];

    (void)state;
    snprintf(url, sizeof url, "file://%s/archive", scratch.path);
    assert_int_equal(open_place((struct archive_place){.url = url, .writes = true}), 0);
    snprintf(url, sizeof url, "file://%s/not/there", scratch.path);
    assert_true(open_place((struct archive_place){.url = url, .writes = true}) < 0);
    assert_true(message[0] != '\0');
}

static void write_file(const char *name, const char *content, char path[512])
{
    snprintf(path, 512, "%s/%s", scratch.path, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(content, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void test_credentials(void **state)
{
    struct archive_place place = {.url = "s3://bucket/prefix", .endpoint = "http://127.0.0.1:9"};
    char path[512];

    (void)state;
    assert_int_equal(open_place(place), -EINVAL);
    assert_non_null(strstr(message, "no credentials"));
    setenv("AWS_ACCESS_KEY_ID", "id", 1);
    assert_int_equal(open_place(place), -EINVAL); /* Half of them. */
    setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
    assert_int_equal(open_place(place), 0);
    forget_environment();

    write_file("credentials",
               "# a comment\n[other]\naws_access_key_id=x\n\n[default]\n aws_access_key_id = id \n"
               "aws_secret_access_key = a/b+c=\n",
               path);
    place.credentials_file = path;
    assert_int_equal(open_place(place), 0);
    setenv("AWS_PROFILE", "other", 1);
    assert_int_equal(open_place(place), -EINVAL);
    assert_non_null(strstr(message, "[other]"));
    assert_null(strstr(message, "a/b+c")); /* Never a secret. */
    forget_environment();
    place.credentials_file = NULL;
    setenv("AWS_SHARED_CREDENTIALS_FILE", path, 1);
    assert_int_equal(open_place(place), 0);
    forget_environment();
    place.credentials_file = "/not/there";
    assert_int_equal(open_place(place), -ENOENT);
    assert_non_null(strstr(message, "/not/there"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_urls, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_credentials, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
