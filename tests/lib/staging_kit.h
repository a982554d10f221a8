/* A staging for tests of what writes to it: a real file, in a directory that is gone at once. */
#ifndef STAGING_KIT_H
#define STAGING_KIT_H

#include "scratch.h"
#include "staging.h"

static void staging_kit_report(struct reporter *reporter, const struct store_report *report)
{
    (void)reporter;
    fail_msg("%s", store_event_name(report->event));
}

static inline void staging_kit_open(struct staging *staging)
{
    struct reporter reporter = {.report = staging_kit_report};
    struct test_memory memory = test_memory();
    struct scratch scratch;

    scratch_make(&scratch, "/var/tmp", "belay-staging");
    const struct staging_options options = {
        .directory = scratch.path,
        .files = files_system(),
        .memory = &memory.memory,
        .reporter = &reporter,
    };
    assert_int_equal(staging_open(&options, staging), 0);
    assert_true(staging->kept);
    scratch_remove(&scratch);
}

#endif
