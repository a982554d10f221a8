/* Logins: is this the password of that user?
 *
 * Argon2 is slow on purpose, so one thread, which is nice, does it for all; whoever asks is told later. What has been found
 * right once is remembered as a keyed digest (HMAC-SHA-256, RFC 2104, under a key of this process's own), so that clients
 * which log in for every request, or all at once after a restart, cost next to nothing. Failures are limited
 * (login_limit.h) by address and name, and by address alone; whoever is over a limit is told so, right or wrong, so that he
 * learns nothing.
 *
 * Nothing tells whether there is a user of some name: names that nobody has are limited as the others are, and each is
 * checked against the hashes of a user that is drawn for it by a keyed digest, always the same, so that it takes the time
 * that some user takes.
 * Memory: bounded: LOGINS_WAITING_MAX questions wait. Passwords are overwritten once they are checked.
 * Threads: any.
 */
#ifndef LOGINS_H
#define LOGINS_H

#include <stdint.h>

#include "bytes.h"
#include "login_limit.h"
#include "roster.h"
#include "users.h"

enum { LOGINS_WAITING_MAX = 256, LOGIN_DIGEST_BYTES = 32, LOGIN_PEER_BYTES = 64 };

/* Failures: of one name from one address, and of one address. */
#define LOGIN_RATE_NAME    ((struct login_rate){.tries = 10, .refill_ms = 1000})
#define LOGIN_RATE_ADDRESS ((struct login_rate){.tries = 100, .refill_ms = 100})

struct logins; /* private to logins.c */

enum login_outcome {
    LOGIN_RIGHT = 0,
    LOGIN_WRONG,
    LOGIN_LIMITED, /* Too many failures: not looked at. */
    LOGIN_BUSY,    /* Too many wait, or no memory for the hash: not looked at. */
    LOGIN_PENDING, /* It will be told. */
};

struct login_question {
    struct bytes user, password;
    uint64_t address; /* A hash of the client's address. */
    uint64_t token;   /* Of whoever asks. */
    void *
        carrier; /* What the answer is to be brought in, so that bringing it cannot fail: answered() gets it. */
    char peer[LOGIN_PEER_BYTES]; /* Where the client is, for the log. */
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

/* Who is told, on the thread that checks. */
struct logins_listener {
    /* Once for each LOGIN_PENDING. Must not block. `answer` NULL, in logins_destroy(): there is none. */
    void (*answered)(void *context, uint64_t token, void *carrier,
                     const struct login_answer *answer);
    /* A password was wrong; after the answer. May be NULL. The name is the client's: any bytes, and cut to
     * USER_NAME_BYTES_MAX. */
    void (*failed)(void *context, struct bytes name, const char *peer);
    void *context;
};

/* `roster` has users, always. Returns 0 or negative errno. */
int logins_create(struct roster *roster, const struct logins_listener *listener,
                  struct logins **created);
/* NULL: nothing. */
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
