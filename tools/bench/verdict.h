/* What an audit concludes about one key from what its one writer knows and what was found.
 *
 * The writes of a key are counted from 1 up and never overlap; content_is_delete() says which of them are
 * deletes. So one count, of the last write acknowledged, says what must be there at least.
 * Threads: pure functions.
 */
#ifndef BENCH_VERDICT_H
#define BENCH_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

enum verdict {
    VERDICT_GOOD,
    VERDICT_LOST,        /* Acknowledged, and nothing is there. */
    VERDICT_STALE,       /* An older value than the one acknowledged. */
    VERDICT_WRONG,       /* Not what was ever written to this key. */
    VERDICT_RESURRECTED, /* A value whose delete was acknowledged. */
    VERDICT_COUNT,
};

struct evidence {
    uint64_t key;
    uint64_t acked;           /* Count of the last write acknowledged, 0: none. */
    uint64_t sent;            /* Count of the last write sent. */
    uint32_t deletes_percent; /* For content_is_delete(). */
    bool expired;             /* Its deadline may have passed. */
    bool present;
    bool readable;  /* Where present: the value is one of this key's. */
    uint64_t found; /* Where readable: its count. */
};

enum verdict verdict_of(const struct evidence *evidence);

/* "good", "lost", ... */
const char *verdict_name(enum verdict verdict);

enum { VERDICT_TEXT_BYTES = 200 };

/* What is wrong with a key, for people: "key 7 is stale: found write 3, acknowledged 5, sent 6". */
void verdict_describe(const struct evidence *evidence, enum verdict verdict,
                      char text[VERDICT_TEXT_BYTES]);

#endif
