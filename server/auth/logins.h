/* Logins: is this the password of that user?
 *
 * Argon2 is slow on purpose, so one thread, which is nice, does it for all; whoever asks is told later. What has been found
 * right once is remembered as a keyed digest (HMAC-SHA-256, RFC 2104, under a key of this process's own), so that clients
 * which log in for every request, or all at once after a restart, cost next to nothing. Failures are limited by address
 * and user (login_limit.h): whoever is over the limit is told so, right or wrong, that he learns nothing.
 *
 * An unknown user takes the time that a known one takes.
 * Memory: bounded: LOGINS_WAITING_MAX questions wait. Passwords are overwritten once they are checked.
 * Threads: any.
 */
#ifndef LOGINS_H
#define LOGINS_H

#include <stdint.h>

#include "bytes.h"
#include "users.h"

enum { LOGINS_WAITING_MAX = 256, LOGIN_DIGEST_BYTES = 32 };

struct logins; /* private to logins.c */

enum login_outcome {
    LOGIN_RIGHT = 0,
    LOGIN_WRONG,
    LOGIN_LIMITED, /* Too many failures: not looked at. */
    LOGIN_BUSY,    /* Too many wait: not looked at. */
    LOGIN_PENDING, /* It will be told. */
};

struct login_question {
    struct bytes user, password;
    uint64_t address; /* A hash of the client's address. */
    uint64_t token;   /* Of whoever asks. */
};

struct login_answer {
    enum login_outcome outcome;
    const struct user *user; /* LOGIN_RIGHT: who it is. */
    uint32_t wait_ms;        /* LOGIN_LIMITED: before the next try. */
    uint8_t
        digest[LOGIN_DIGEST_BYTES]; /* Of user and password: says which question was answered. */
};

struct logins_counts {
    uint64_t right, wrong, limited, busy;
};

/* `answered` is called on the thread that checks, and must not block. Returns 0 or negative errno. */
int logins_create(const struct users *users,
                  void (*answered)(void *context, uint64_t token,
                                   const struct login_answer *answer),
                  void *context, struct logins **created);
/* Questions that wait are not answered. NULL: nothing. */
void logins_destroy(struct logins *logins);

/* The answer, at once where it can be had; else LOGIN_PENDING, and answered() comes later. */
void logins_ask(struct logins *logins, const struct login_question *question,
                struct login_answer *answer);

/* The keyed digest of user and password; and are two the same? The time that takes says nothing of where they differ. */
void logins_digest(const struct logins *logins, const struct login_question *question,
                   uint8_t digest[LOGIN_DIGEST_BYTES]);
bool logins_digests_equal(const uint8_t a[LOGIN_DIGEST_BYTES], const uint8_t b[LOGIN_DIGEST_BYTES]);

struct logins_counts logins_counts(struct logins *logins);

#endif
