/* A staging for tests of what writes to it: a real file, in a directory that is gone at once. To make one writes all of it, so
 * that a program of many starts keeps those that it has closed, and empties them. */
#ifndef STAGING_KIT_H
#define STAGING_KIT_H

#include "scratch.h"
#include "staging.h"

enum { STAGING_KIT_KEPT = 4 };

/* Those that were closed. */
static struct {
    struct staging stagings[STAGING_KIT_KEPT];
    uint32_t count;
} staging_kit;

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

    if (staging_kit.count > 0) {
        *staging = staging_kit.stagings[--staging_kit.count];
        return;
    }
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

static inline void staging_kit_close(struct staging *staging)
{
    if (staging_kit.count == STAGING_KIT_KEPT) {
        staging_close(staging);
        return;
    }
    for (uint32_t i = 0; i < STAGING_AREAS; i++) {
        staging_empty(&staging->areas[i]);
        staging->areas[i].used_bytes = 0;
    }
    staging_set_durable(staging, 0);
    staging_kit.stagings[staging_kit.count++] = *staging;
}

#endif
