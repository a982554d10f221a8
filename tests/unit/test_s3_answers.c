/* What S3 says in XML, and where its requests go. */
#include <stdio.h>

#include "check.h"
#include "s3_list.h"
#include "s3_target.h"
#include "s3_uploads.h"
#include "s3_xml.h"

static int read_list(struct object_list *list, const char *xml, const char *prefix)
{
    *list = (struct object_list){0};
    return s3_list_read(list, bytes_of_string(xml), prefix);
}

static void test_list(void **state)
{
    struct object_list list;

    (void)state;
    assert_int_equal(
        read_list(
            &list,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult "
            "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
            "<Name>b</Name><Prefix>p/</Prefix><IsTruncated>true</IsTruncated>"
            "<Contents><Key>p/a&amp;b</Key><Size>12</Size><Owner><ID>x</ID></Owner></Contents>"
            "<Contents><Size>0</Size><Key>p/c</Key></Contents></ListBucketResult>",
            "p/"),
        0);
    assert_int_equal(list.count, 2);
    assert_true(list.more);
    assert_string_equal(list.listed[0].name, "a&b");
    assert_int_equal(list.listed[0].size, 12);
    assert_string_equal(list.listed[1].name, "c");
    assert_int_equal(list.listed[1].size, 0);
    object_list_fini(&list);
}

static void test_bad_lists(void **state)
{
    static const char *const bad[] = {
        "",
        "hello",
        "<ListBucketResult>",
        "<ListBucketResult><Contents><Key>other/a</Key></Contents></ListBucketResult>",
        "<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>",
        "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a></a></a></"
        "a></a></a></a></a></a></a></a>",
        "<!DOCTYPE a [<!ENTITY b \"bbbbbbbbbbbbbbbb\"><!ENTITY c "
        "\"&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;\">"
        "<!ENTITY d "
        "\"&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;\">]><a>&d;</a>",
    };
    struct object_list list;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_list(&list, bad[i], "p/"), -EBADMSG);
        object_list_fini(&list);
    }
}

#define UPLOAD(key, id, begun)                                                                     \
    "<Upload><Key>" key "</Key><UploadId>" id "</UploadId><Initiator><ID>a</ID></Initiator>"       \
    "<Initiated>" begun "</Initiated></Upload>"
#define UPLOADS(rows) "<ListMultipartUploadsResult>" rows "</ListMultipartUploadsResult>"

static int read_uploads(struct s3_uploads *uploads, const char *xml)
{
    *uploads = (struct s3_uploads){0};
    return s3_uploads_read(uploads, bytes_of_string(xml), "p/", UINT64_C(1440938160999));
}

/* Those of before 2015-08-30T12:36:00Z. */
static void test_uploads(void **state)
{
    struct s3_uploads uploads;

    (void)state;
    assert_int_equal(
        read_uploads(&uploads, UPLOADS("<KeyMarker/><IsTruncated>true</IsTruncated>" UPLOAD(
                                   "p/a&amp;b", "one", "2015-08-30T12:35:59.999Z")
                                           UPLOAD("p/c", "two", "2015-08-30T12:36:00.000Z")
                                               UPLOAD("p/c", "3", "2014-12-31T23:59:59Z"))),
        0);
    assert_true(uploads.more);
    assert_int_equal(uploads.count, 2);
    assert_string_equal(uploads.table[0].name, "a&b");
    assert_string_equal(uploads.table[0].id, "one");
    assert_string_equal(uploads.table[1].name, "c");
    assert_string_equal(uploads.table[1].id, "3");
    s3_uploads_fini(&uploads);
    assert_int_equal(read_uploads(&uploads, UPLOADS("<IsTruncated>false</IsTruncated>")), 0);
    assert_false(uploads.more);
    assert_int_equal(uploads.count, 0);
    s3_uploads_fini(&uploads);
}

static void test_bad_uploads(void **state)
{
    static const char *const bad[] = {
        "",
        UPLOADS(UPLOAD("other/a", "1", "2015-08-30T12:35:59Z")),
        UPLOADS(UPLOAD("p/", "1", "2015-08-30T12:35:59Z")),
        UPLOADS(UPLOAD("p/a", "", "2015-08-30T12:35:59Z")),
        UPLOADS(UPLOAD("p/a", "1", "20150830T123559Z")),
        UPLOADS(UPLOAD("p/a", "1", "2015-08-30T12:35")),
        UPLOADS("<Upload><Key>p/a</Key><UploadId>1</UploadId></Upload>"),
        UPLOADS("<Upload><Key>p/a</Key><Initiated>2015-08-30T12:35:59Z</Initiated></Upload>"),
        UPLOADS(UPLOAD("p/a", "1", "2015-08-30T12:35:59Z") "<Upload></Upload>"),
    };
    struct s3_uploads uploads;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(read_uploads(&uploads, bad[i]), -EBADMSG);
        s3_uploads_fini(&uploads);
    }
}

static const struct s3_options OPTIONS = {.bucket = "bucket",
                                          .prefix = "p/",
                                          .access_key = "key",
                                          .secret_key = "secret"};

static void check_host(struct s3_options options, const char *host, const char *origin)
{
    struct s3_target target;
    char message[256];

    assert_int_equal(s3_target_init(&target, &options, message, sizeof message), 0);
    assert_string_equal(target.host, host);
    assert_string_equal(target.origin, origin);
    assert_string_equal(target.credentials.secret_key, "secret");
    assert_null(target.credentials.session_token);
    s3_target_fini(&target);
}

static void test_hosts(void **state)
{
    struct s3_options options = OPTIONS;

    (void)state;
    check_host(options, "bucket.s3.us-east-1.amazonaws.com",
               "https://bucket.s3.us-east-1.amazonaws.com");
    options.region = "eu-central-1";
    options.path_style = true;
    check_host(options, "s3.eu-central-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com");
    options.endpoint = "http://127.0.0.1:9000";
    check_host(options, "127.0.0.1:9000", "http://127.0.0.1:9000");
    options.endpoint = "http://[::1]:9000/";
    check_host(options, "[::1]:9000", "http://[::1]:9000");
}

static void check_refused(struct s3_options options, const char *why)
{
    struct s3_target target;
    char message[256] = "";

    assert_int_equal(s3_target_init(&target, &options, message, sizeof message), -EINVAL);
    assert_non_null(strstr(message, why));
    s3_target_fini(&target);
}

static void test_refused(void **state)
{
    static const char *const endpoints[] = {"127.0.0.1:9000",
                                            "ftp://example.com",
                                            "http://",
                                            "http://example.com/b",
                                            "http://"
                                            "u@example.com",
                                            "http://"
                                            "example.com?b"};
    struct s3_options options = OPTIONS;

    (void)state;
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        options.endpoint = endpoints[i];
        check_refused(options, "a host");
    }
    options = OPTIONS;
    options.bucket = "a/b";
    check_refused(options, "a bucket's name");
    options.bucket = "ab";
    check_refused(options, "a bucket's name");
    options = OPTIONS;
    options.region = "US/1";
    check_refused(options, "region");
    options = OPTIONS;
    options.secret_key = NULL;
    check_refused(options, "AWS_SECRET_ACCESS_KEY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),    cmocka_unit_test(test_bad_lists),
        cmocka_unit_test(test_uploads), cmocka_unit_test(test_bad_uploads),
        cmocka_unit_test(test_hosts),   cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
