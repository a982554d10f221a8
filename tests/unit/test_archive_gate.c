/* What a shard's thread is told of the archive: all of it, in the order in which it came about, however late it looks. */
#include "archive_gate.h"

#include "check.h"

static void test_what_the_archive_has(void **state)
{
    struct archive_gate gate;
    struct archive_news news;
    (void)state;

    archive_gate_init(&gate);
    assert_false(archive_gate_news(&gate, &news));
    archive_gate_tell(&gate, 0, 10);
    archive_gate_tell(&gate, 0, 20);
    assert_true(archive_gate_news(&gate, &news));
    assert_int_equal(news.archived, 20);
    assert_int_equal(news.lost, 0);
    assert_false(archive_gate_news(&gate, &news));
    archive_gate_fini(&gate);
}

/* What was archived before the loss is not told of as lost, although nobody looked between the two. */
static void test_whole_before_a_loss(void **state)
{
    struct archive_gate gate;
    struct archive_news news;
    (void)state;

    archive_gate_init(&gate);
    archive_gate_tell(&gate, 0, 10);
    archive_gate_tell(&gate, 20, 20);
    archive_gate_tell(&gate, 0, 30);
    assert_true(archive_gate_news(&gate, &news));
    assert_int_equal(news.whole, 10);
    assert_int_equal(news.lost, 20);
    assert_int_equal(news.archived, 30);
    archive_gate_tell(&gate, 0, 40);
    assert_true(archive_gate_news(&gate, &news));
    assert_int_equal(news.lost, 0);
    assert_int_equal(news.archived, 40);
    archive_gate_fini(&gate);
}

/* What came with a checkpoint is not lost any more; what is lost after it is. */
static void test_based(void **state)
{
    struct archive_gate gate;
    struct archive_news news;
    (void)state;

    archive_gate_init(&gate);
    archive_gate_tell(&gate, 20, 20);
    archive_gate_based(&gate);
    assert_true(archive_gate_news(&gate, &news));
    assert_int_equal(news.lost, 20);
    assert_true(news.based);
    archive_gate_based(&gate); /* Nothing of the log came. */
    assert_true(archive_gate_news(&gate, &news));
    assert_true(news.based);
    assert_int_equal(news.archived, 20);
    archive_gate_tell(&gate, 0, 30);
    assert_true(archive_gate_news(&gate, &news));
    assert_false(news.based);
    archive_gate_based(&gate);
    archive_gate_tell(&gate, 40, 40);
    assert_true(archive_gate_news(&gate, &news));
    assert_int_equal(news.lost, 40);
    assert_false(news.based);
    archive_gate_tell(
        &gate, 50, 40); /* Before anything is archived of a log that was not from its beginning. */
    assert_true(archive_gate_news(&gate, &news));
    assert_int_equal(news.lost, 50);
    archive_gate_fini(&gate);
}

/* Two losses are told as one, from before the first to the end of the second: nothing that was lost is passed over. */
static void test_two_losses(void **state)
{
    struct archive_gate gate;
    struct archive_news news;
    (void)state;

    archive_gate_init(&gate);
    archive_gate_tell(&gate, 0, 10);
    archive_gate_tell(&gate, 20, 20);
    archive_gate_tell(&gate, 0, 30);
    archive_gate_tell(&gate, 40, 40);
    assert_true(archive_gate_news(&gate, &news));
    assert_int_equal(news.whole, 10);
    assert_int_equal(news.lost, 40);
    assert_int_equal(news.archived, 40);
    archive_gate_fini(&gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_the_archive_has),
        cmocka_unit_test(test_whole_before_a_loss),
        cmocka_unit_test(test_two_losses),
        cmocka_unit_test(test_based),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
