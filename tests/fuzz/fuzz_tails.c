/* What a node says that the archive has (PEER_ARCHIVED, archive_tails.h): any bytes. What is not taken changes nothing; what
 * is taken lets go of the marks that it covers and of no others, and comes back from its own encoding. */
#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "adopt.h"
#include "archive_tails.h"
#include "fuzz.h"
#include "heap.h"

enum { SELF = 1, MARKED_HLC = 1000 };

static const struct actor marked[] = {{2, 1}, {2, 2}, {300, 7}};

static void begin(struct archive_tails *tails)
{
    const struct archive_tails_settings settings = {
        .shard_count = 1, .self = {SELF, 1}, .behind_ms = 10, .mark_ms = 1};

    archive_tails_init(tails, heap_memory(), &settings);
    for (size_t i = 0; i < sizeof marked / sizeof marked[0]; i++) {
        const struct archive_feed_note note = {
            .actor = marked[i], .first_lsn = i, .last_lsn = i, .newest_hlc = MARKED_HLC};
        assert(archive_tails_note(tails, &note, 1) == 0);
    }
}

static const struct archive_tail_actor *find(const struct archive_tails *tails, struct actor actor)
{
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        if (actor_compare(tails->actors[i].actor, actor) == 0) {
            return &tails->actors[i];
        }
    }
    return NULL;
}

static void check_marks(const struct archive_tails *tails)
{
    uint64_t begin = 5000;

    for (size_t i = sizeof marked / sizeof marked[0]; i-- > 0;) {
        const struct archive_tail_actor *actor = find(tails, marked[i]);
        /* Once its mark is let go it makes room for others where there is none left. */
        assert(actor != NULL || tails->actor_count >= ARCHIVE_TAILS_ACTORS_MAX);
        begin = actor != NULL && actor->has_hlc < MARKED_HLC ? i : begin;
    }
    assert(archive_tails_begin(tails, 0, 5000) == begin);
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        struct actor actor = tails->actors[i].actor;
        assert(actor.node > 0 && actor.node != SELF && actor.node < ADOPT_NODES && actor.start > 0);
    }
}

static void check_again(const struct archive_tails *tails)
{
    static struct archive_tails other;
    struct buffer message = {.memory = heap_memory()};

    begin(&other);
    assert(archive_tails_put(tails, &message) == 0);
    assert(archive_tails_take(&other, buffer_bytes(&message), 1) == 0);
    assert(other.actor_count == tails->actor_count);
    for (uint32_t i = 0; i < tails->actor_count; i++) {
        const struct archive_tail_actor *found = find(&other, tails->actors[i].actor);
        assert(found != NULL && found->has_hlc == tails->actors[i].has_hlc);
        assert(found->ended == tails->actors[i].ended);
    }
    archive_tails_fini(&other);
    buffer_fini(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct archive_tails tails;

    begin(&tails);
    int rc = archive_tails_take(&tails, bytes_of(data, size), 1);
    assert(rc == 0 || rc == -EBADMSG);
    assert(rc == 0 || tails.actor_count == sizeof marked / sizeof marked[0]);
    check_marks(&tails);
    /* Of a table that is full what has a place depends on what came before. */
    if (rc == 0 && tails.actor_count < ARCHIVE_TAILS_ACTORS_MAX) {
        check_again(&tails);
    }
    (void)archive_tails_step(&tails, false, 20);
    archive_tails_fini(&tails);
    return 0;
}
