/* Signatures: the examples that Amazon published. */
#include "check.h"
#include "sigv4.h"

/* Of "AWS Signature Version 4 Test Suite". */
static const struct sigv4_credentials SUITE = {"AKIDEXAMPLE",
                                               "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", NULL};
/* Of "Signature Calculations for the Authorization Header" in the Amazon S3 API Reference. */
static const struct sigv4_credentials S3 = {"AKIAIOSFODNN7EXAMPLE",
                                            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", NULL};

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void check_signature(const struct sigv4_request *request,
                            const struct sigv4_credentials *credentials, const char *service,
                            const char *signature)
{
    char authorization[SIGV4_AUTHORIZATION_BYTES_MAX];

    assert_int_equal(sigv4_authorization(request, credentials, "us-east-1", service, authorization),
                     0);
    const char *told = strstr(authorization, "Signature=");
    assert_non_null(told);
    assert_string_equal(told + strlen("Signature="), signature);
}

static void test_suite(void **state)
{
    (void)state;
    const struct sigv4_header headers[] = {{"host", "example.amazonaws.com"},
                                           {"x-amz-date", "20150830T123600Z"}};
    struct sigv4_request request = {"GET", "/", "", "20150830T123600Z", EMPTY, headers, 2};

    check_signature(&request, &SUITE, "service",
                    "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
    request.method = "POST";
    check_signature(&request, &SUITE, "service",
                    "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    request.method = "GET";
    request.query = "Param1=value1&Param2=value2";
    check_signature(&request, &SUITE, "service",
                    "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
}

static void test_object(void **state)
{
    (void)state;
    const struct sigv4_header headers[] = {
        {"host", "examplebucket.s3.amazonaws.com"},
        {"range", "bytes=0-9"},
        {"x-amz-content-sha256", EMPTY},
        {"x-amz-date", "20130524T000000Z"},
    };
    const struct sigv4_request request = {"GET", "/test.txt", "", "20130524T000000Z",
                                          EMPTY, headers,     4};

    check_signature(&request, &S3, "s3",
                    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void test_put(void **state)
{
    (void)state;
    char hash[SIGV4_HASH_BYTES], path[64] = "/";
    sigv4_hash(bytes_of_string("Welcome to Amazon S3."), hash);
    assert_string_equal(hash, "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072");
    assert_true(sigv4_encode(path, sizeof path, "test$file.text", true));
    assert_string_equal(path, "/test%24file.text");
    const struct sigv4_header headers[] = {
        {"date", "Fri, 24 May 2013 00:00:00 GMT"},
        {"host", "examplebucket.s3.amazonaws.com"},
        {"x-amz-content-sha256", hash},
        {"x-amz-date", "20130524T000000Z"},
        {"x-amz-storage-class", "REDUCED_REDUNDANCY"},
    };
    const struct sigv4_request request = {"PUT", path, "", "20130524T000000Z", hash, headers, 5};

    check_signature(&request, &S3, "s3",
                    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

static void test_parameters(void **state)
{
    (void)state;
    const struct sigv4_header headers[] = {
        {"host", "examplebucket.s3.amazonaws.com"},
        {"x-amz-content-sha256", EMPTY},
        {"x-amz-date", "20130524T000000Z"},
    };
    struct sigv4_request request = {"GET",   "/", "lifecycle=", "20130524T000000Z", EMPTY,
                                    headers, 3};

    check_signature(&request, &S3, "s3",
                    "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
    request.query = "max-keys=2&prefix=J";
    check_signature(&request, &S3, "s3",
                    "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void test_encoding(void **state)
{
    (void)state;
    char to[16] = "";

    assert_true(sigv4_encode(to, sizeof to, "a/b c", false));
    assert_string_equal(to, "a%2Fb%20c");
    assert_false(sigv4_encode(to, sizeof to, "0123456", true)); /* With its end it would be 17. */
    assert_string_equal(to, "a%2Fb%20c");
    assert_true(sigv4_encode(to, sizeof to, "-._~/=", true) == false);
    assert_true(sigv4_encode(to, sizeof to, "-._~/", true));
    assert_string_equal(to, "a%2Fb%20c-._~/");
}

static void test_date(void **state)
{
    (void)state;
    char date[SIGV4_DATE_BYTES];

    sigv4_date(1369353600, date);
    assert_string_equal(date, "20130524T000000Z");
    sigv4_date(0, date);
    assert_string_equal(date, "19700101T000000Z");
}

static void test_too_long(void **state)
{
    (void)state;
    char long_key[SIGV4_AUTHORIZATION_BYTES_MAX + 1], authorization[SIGV4_AUTHORIZATION_BYTES_MAX];
    const struct sigv4_request request = {"GET", "/", "", "20130524T000000Z", EMPTY, NULL, 0};

    memset(long_key, 'x', sizeof long_key);
    long_key[sizeof long_key - 1] = '\0';
    const struct sigv4_credentials key = {long_key, "secret", NULL},
                                   secret = {"key", long_key, NULL};
    assert_int_equal(sigv4_authorization(&request, &key, "us-east-1", "s3", authorization),
                     -ENOSPC);
    assert_int_equal(sigv4_authorization(&request, &secret, "us-east-1", "s3", authorization),
                     -ENOSPC);
    assert_int_equal(sigv4_authorization(&request, &S3, long_key, "s3", authorization), -ENOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suite),    cmocka_unit_test(test_object),
        cmocka_unit_test(test_put),      cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_encoding), cmocka_unit_test(test_date),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
