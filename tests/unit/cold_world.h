/* A shard with a store behind it, whose sessions leave memory and come back. */
#ifndef COLD_WORLD_H
#define COLD_WORLD_H

#include "random.h"
#include "shard_store.h"

enum { BIG = 1500 };

static char big[BIG + 1];

static inline void begin(uint64_t memory_max)
{
    memset(big, 'v', BIG);
    world_prepare();
    world.policy.touch_on_read = true;
    store_init();
    world.options.loader = &store.port;
    world.options.memory_max = memory_max;
    world_start();
}

/* With all memory there is: only what store_freeze() takes goes. */
static inline void begin_roomy(void)
{
    begin(UINT64_C(1) << 40);
}

static inline void end(void)
{
    assert_int_equal(store.wanted_count, 0);
    store_fini();
    world_end();
}

static inline const struct shard_stats *stats(void)
{
    return shard_stats(world.shard);
}

/* One session, cold. */
static inline void put_cold(const char *key)
{
    assert_int_equal(world_put(key, big), STATUS_OK);
    store_compact();
    store_freeze();
    assert_int_equal(stats()->cold, 1);
}

static inline struct request get_of(const char *key)
{
    return (struct request){.op = REQUEST_GET, .key = text(key)};
}

static inline size_t value_size(void)
{
    return world.answer.field_count == 1 ? BIG : 0;
}

#endif
