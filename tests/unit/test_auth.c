/* Users, the limit of failed logins, hashes of passwords, and the thread that checks them. */
#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/resource.h>

#include "login_limit.h"
#include "logins.h"
#include "password.h"
#include "roster.h"
#include "users.h"

static void test_grants(void **state)
{
    struct user user = {.name = "u"};

    (void)state;
    assert_int_equal(user_grant(&user, ROLE_READ, " \"a:\"\t\"b:\" "), 0);
    assert_int_equal(user_grant(&user, ROLE_WRITE, "\"w\""), 0);
    assert_int_equal(user.grant_count, 3);
    assert_true(user_may(&user, ROLE_READ, text("a:1")));
    assert_true(user_may(&user, ROLE_READ, text("a:")));
    assert_false(user_may(&user, ROLE_READ, text("a")));
    assert_false(user_may(&user, ROLE_READ, text("A:1")));
    assert_false(user_may(&user, ROLE_READ, text("")));
    assert_false(user_may(&user, ROLE_WRITE, text("a:1")));
    assert_true(user_may(&user, ROLE_READ, text("w")));
    assert_true(user_may(&user, ROLE_WRITE, text("wx")));
    assert_false(user_may(&user, ROLE_ADMIN, text("wx")));
    assert_false(user_may_all(&user, ROLE_READ));
    assert_int_equal(user_grant(&user, ROLE_READ, "\"\""), 0);
    assert_true(user_may_all(&user, ROLE_READ));
    assert_false(user_may_all(&user, ROLE_WRITE));
    assert_int_equal(user_grant(&user, ROLE_ADMIN, ""), 0);
    assert_int_equal(user_grant(&user, ROLE_ADMIN, "a"), -EINVAL);
    assert_int_equal(user_grant(&user, ROLE_ADMIN, "\"a"), -EINVAL);
    assert_int_equal(user_grant(&user, ROLE_ADMIN, "\"a\"\"b\""), -EINVAL);
    assert_int_equal(user_grant(&user, ROLE_ADMIN, "\"a\",\"b\""), -EINVAL);
    char longest[USER_PREFIX_BYTES_MAX + 4] = "\"";
    memset(longest + 1, 'x', USER_PREFIX_BYTES_MAX + 1);
    longest[USER_PREFIX_BYTES_MAX + 2] = '"';
    assert_int_equal(user_grant(&user, ROLE_READ, longest), -EMSGSIZE);
    while (user.grant_count < USER_GRANTS_MAX) {
        assert_int_equal(user_grant(&user, ROLE_READ, "\"x\""), 0);
    }
    assert_int_equal(user_grant(&user, ROLE_READ, "\"x\""), -E2BIG);
}

static void test_limit(void **state)
{
    const struct login_rate rate = LOGIN_RATE_NAME;
    struct login_limit *limit = calloc(1, sizeof *limit);
    uint64_t now_ms = 1000000;

    (void)state;
    assert_non_null(limit);
    for (int i = 0; i < (int)rate.tries; i++) {
        assert_int_equal(login_limit_wait_ms(limit, rate, 7, now_ms), 0);
        login_limit_tried(limit, rate, 7, now_ms);
    }
    assert_int_equal(login_limit_wait_ms(limit, rate, 7, now_ms), rate.refill_ms);
    assert_int_equal(login_limit_wait_ms(limit, rate, 8, now_ms), 0);
    now_ms += rate.refill_ms;
    assert_int_equal(login_limit_wait_ms(limit, rate, 7, now_ms), 0);
    login_limit_tried(limit, rate, 7, now_ms);
    assert_int_equal(login_limit_wait_ms(limit, rate, 7, now_ms), rate.refill_ms);
    login_limit_succeeded(limit, rate, 7);
    assert_int_equal(login_limit_wait_ms(limit, rate, 7, now_ms), 0);
    now_ms += 100 * rate.refill_ms; /* What was not used is not saved up. */
    for (int i = 0; i < (int)rate.tries; i++) {
        login_limit_tried(limit, rate, 7, now_ms);
    }
    assert_int_equal(login_limit_wait_ms(limit, rate, 7, now_ms), rate.refill_ms);
    /* However many others try, who is over the limit stays so. */
    for (uint64_t who = 100; who < 100000; who++) {
        login_limit_tried(limit, rate, who, now_ms);
    }
    assert_int_equal(login_limit_wait_ms(limit, rate, 7, now_ms), rate.refill_ms);
    free(limit);
}

/* Of `word`, with the salt `somesalt`. */
#define HASH_OF(version, cost)                                                                     \
    "$argon2id$v=" version "$" cost "$c29tZXNhbHQ$mZvNGXKG1nq1PQlrnG9BZdl8O/oY7jcmKIffGKpsc0Y"
static const char quick_hash[] = HASH_OF("19", "m=8,t=1,p=1");

static void test_hashes(void **state)
{
    static const char of_16_bytes[] =
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$bJ0/KyhT3hFRxilQznZ8xw";
    static const char *const bad[] = {
        "",
        "secret",
        "$argon2i$v=19$m=8,t=1,p=1$c29tZXNhbHQ$mZvNGXKG1nq1PQlrnG9BZdl8O/oY7jcmKIffGKpsc0Y",
        HASH_OF("16", "m=8,t=1,p=1"),
        HASH_OF("19", "m=8,t=1,p=1") "=",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$mZvNGXKG1nq1PQlrnG9BZdl8O/oY7jcmKIffGKpsc0Z",
        HASH_OF("19", "m=7,t=1,p=1"),
        HASH_OF("19", "m=8,t=0,p=1"),
        HASH_OF("19", "m=262145,t=1,p=1"),
        HASH_OF("19", "m=8,t=33,p=1"),
        HASH_OF("19", "m=999999999999,t=1,p=1"),
        "$argon2id$v=19$m=8,t=1,p=1$$mZvNGXKG1nq1PQlrnG9BZdl8O/oY7jcmKIffGKpsc0Y",
        "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbA$mZvNGXKG1nq1PQlrnG9BZdl8O/oY7jcmKIffGKpsc0Y",
    };
    char hash[PASSWORD_TEXT_BYTES], other[PASSWORD_TEXT_BYTES];

    (void)state;
    assert_null(password_hash_problem(quick_hash));
    assert_null(password_hash_problem(of_16_bytes));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_non_null(password_hash_problem(bad[i]));
    }
    assert_int_equal(password_hash(text("pass"), hash), 0);
    assert_int_equal(password_hash(text("pass"), other), 0);
    assert_string_not_equal(hash, other);
    assert_null(password_hash_problem(hash));
    assert_int_equal(password_check(hash, text("pass")), 1);
    assert_int_equal(password_check(hash, text("pas")), 0);
    assert_int_equal(password_check(hash, text("")), 0);
    assert_int_equal(password_check(quick_hash, text("word")), 1);
    assert_int_equal(password_check(of_16_bytes, text("word")), 1);
    assert_int_equal(password_check(quick_hash, text("pass")), 0);
}

/* Down to 16 bytes of the hash a cut may have made another whole one; with less, or within a byte, it is seen. */
static void test_cut_hashes(void **state)
{
    const size_t whole = sizeof quick_hash - 1, hash_at = whole - 43;
    char cut[sizeof quick_hash];

    (void)state;
    for (size_t size = 0; size < whole; size++) {
        memcpy(cut, quick_hash, size);
        cut[size] = '\0';
        const char *problem = password_hash_problem(cut);
        if (size < hash_at + 22 || (size - hash_at) % 4 == 1) {
            assert_non_null(problem);
        }
    }
}

/* Without memory for a hash nothing is known of a password. */
static void test_no_memory(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    (void)state;
    skip(); /* It takes all addresses there are. */
#else
    struct rlimit before, small;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    small = before;
    small.rlim_cur = 200 << 20;
    assert_int_equal(setrlimit(RLIMIT_AS, &small), 0);
    int rc = password_check(HASH_OF("19", "m=262144,t=1,p=1"), text("word"));
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(rc, -ENOMEM);
#endif
}

/* ---- Changes ---- */

static void test_roster(void **state)
{
    struct users *users = calloc(1, sizeof *users);
    struct roster_change change;
    struct roster *roster;
    const struct user *rows[USERS_MAX];

    (void)state;
    assert_non_null(users);
    users->count = 3;
    users->rows[0] = (struct user){.name = "a", .hashes = {"1", "2"}};
    users->rows[1] = (struct user){.name = "b", .hashes = {"3"}};
    users->rows[2] = (struct user){.name = "c", .hashes = {"4"}};
    assert_int_equal(roster_create(users, &roster), 0);
    const struct user *a = roster_find(roster, text("a")), *b = roster_find(roster, text("b"));
    const struct user *c = roster_find(roster, text("c"));
    assert_null(roster_find(roster, text("d")));
    assert_ptr_equal(user_now(a), a);
    assert_null(user_now(NULL));

    /* Who stays as he is stays where he is, also in another place. */
    users->rows[2] = users->rows[1];
    users->rows[1] = (struct user){.name = "d", .hashes = {"5"}};
    assert_int_equal(roster_set(roster, users, &change), 0);
    assert_true(change.added == 1 && change.changed == 0 && change.removed == 1);
    assert_ptr_equal(roster_find(roster, text("a")), a);
    assert_ptr_equal(roster_find(roster, text("b")), b);
    assert_null(user_now(c));
    assert_int_equal(roster_list(roster, rows), 3);
    assert_string_equal(rows[1]->name, "d");

    /* Other rights, one more password, or the passwords in another order: the same user. */
    assert_int_equal(user_grant(&users->rows[2], ROLE_READ, "\"x\""), 0);
    memcpy(users->rows[0].hashes[0], "2", 2);
    memcpy(users->rows[0].hashes[1], "1", 2);
    memcpy(users->rows[1].hashes[1], "6", 2);
    const struct user *d = rows[1];
    assert_int_equal(roster_set(roster, users, &change), 0);
    assert_true(change.added == 0 && change.changed == 3 && change.removed == 0);
    assert_ptr_equal(user_now(a), roster_find(roster, text("a")));
    assert_ptr_equal(user_now(d), roster_find(roster, text("d")));
    assert_true(user_may(user_now(b), ROLE_READ, text("xy")));
    assert_false(user_may(b, ROLE_READ, text("xy")));

    /* One password fewer: somebody may be logged in with it. What came before goes the same way. */
    users->rows[1].hashes[0][0] = '7';
    assert_int_equal(roster_set(roster, users, &change), 0);
    assert_true(change.changed == 1);
    assert_null(user_now(d));
    assert_non_null(user_now(a));

    /* Back again it is another one. At the end of its room nothing changes. */
    int rc = 0;
    for (uint32_t i = 0; i < ROSTER_USERS_MAX && rc == 0; i++) {
        users->rows[1].grant_count = 0;
        users->rows[1].hashes[0][0] = (char)('a' + i % 2);
        rc = roster_set(roster, users, &change);
    }
    assert_int_equal(rc, -ENOSPC);
    d = roster_find(roster, text("d"));
    assert_ptr_equal(user_now(d), d);
    assert_true(d->hashes[0][0] != users->rows[1].hashes[0][0]);
    roster_destroy(roster);
    free(users);
}

/* ---- The thread ---- */

struct told {
    pthread_mutex_t lock;
    pthread_cond_t came;
    uint32_t count;
    struct login_answer last;
    uint64_t token;
    uint32_t unanswered;
    uint32_t failed;
    char name[USER_NAME_BYTES_MAX + 1], peer[LOGIN_PEER_BYTES]; /* Of the last. */
};

static void on_failed(void *context, struct bytes name, const char *peer)
{
    struct told *told = context;

    pthread_mutex_lock(&told->lock);
    told->failed++;
    assert_true(name.size <= USER_NAME_BYTES_MAX);
    memcpy(told->name, name.data, name.size);
    told->name[name.size] = '\0';
    memcpy(told->peer, peer, sizeof told->peer);
    pthread_cond_signal(&told->came);
    pthread_mutex_unlock(&told->lock);
}

static void on_answer(void *context, uint64_t token, void *carrier,
                      const struct login_answer *answer)
{
    struct told *told = context;

    if (answer == NULL) {
        told->unanswered += carrier == told;
        return;
    }
    assert_ptr_equal(carrier, told);
    pthread_mutex_lock(&told->lock);
    told->count++;
    told->last = *answer;
    told->token = token;
    pthread_cond_signal(&told->came);
    pthread_mutex_unlock(&told->lock);
}

/* Ask, and wait for the answer where it does not come at once. Returns whether it did. */
static bool ask(struct logins *logins, struct told *told, const char *user, const char *password,
                struct login_answer *answer)
{
    static uint64_t token;
    const struct login_question question = {.user = text(user),
                                            .password = text(password),
                                            .address = 5,
                                            .token = ++token,
                                            .carrier = told,
                                            .peer = "[::1]:5"};
    uint32_t before = told->count;

    logins_ask(logins, &question, answer);
    if (answer->outcome != LOGIN_PENDING) {
        return true;
    }
    pthread_mutex_lock(&told->lock);
    while (told->count == before) {
        pthread_cond_wait(&told->came, &told->lock);
    }
    assert_int_equal(told->token, token);
    assert_true(logins_digests_equal(told->last.digest, answer->digest));
    *answer = told->last;
    pthread_mutex_unlock(&told->lock);
    return false;
}

static void test_logins(void **state)
{
    struct users *users = calloc(1, sizeof *users);
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};
    const struct logins_listener listener = {on_answer, on_failed, &told};
    const struct login_rate rate = LOGIN_RATE_NAME;
    struct login_answer answer;
    struct logins *logins;
    struct roster *roster;

    (void)state;
    assert_non_null(users);
    users->count = 2;
    users->rows[0] = (struct user){.name = "a"};
    users->rows[1] = (struct user){.name = "b"};
    assert_int_equal(password_hash(text("pa"), users->rows[0].hashes[0]), 0);
    assert_int_equal(password_hash(text("pb"), users->rows[1].hashes[0]), 0);
    assert_int_equal(password_hash(text("pb2"), users->rows[1].hashes[1]), 0);
    assert_int_equal(roster_create(users, &roster), 0);
    assert_int_equal(logins_create(roster, &listener, &logins), 0);
    assert_false(ask(logins, &told, "a", "pa", &answer));
    assert_int_equal(answer.outcome, LOGIN_RIGHT);
    assert_ptr_equal(answer.user, roster_find(roster, text("a")));
    assert_true(ask(logins, &told, "a", "pa", &answer)); /* It is remembered... */
    assert_int_equal(answer.outcome, LOGIN_RIGHT);
    assert_false(ask(logins, &told, "b", "pa", &answer)); /* ... of that user only. */
    assert_int_equal(answer.outcome, LOGIN_WRONG);
    assert_false(ask(logins, &told, "ap", "a", &answer)); /* Not of the same letters. */
    assert_int_equal(answer.outcome, LOGIN_WRONG);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(logins, &told, "b", "pb", &answer), i);
        assert_int_equal(answer.outcome, LOGIN_RIGHT);
        assert_int_equal(ask(logins, &told, "b", "pb2", &answer), i);
        assert_int_equal(answer.outcome, LOGIN_RIGHT);
    }
    /* What is remembered is so of the user as he was. */
    struct roster_change change;
    users->rows[1].hashes[0][0] = '\0';
    assert_int_equal(roster_set(roster, users, &change), 0);
    assert_false(ask(logins, &told, "b", "pb", &answer));
    assert_int_equal(answer.outcome, LOGIN_WRONG);
    assert_false(ask(logins, &told, "b", "pb2", &answer));
    assert_int_equal(answer.outcome, LOGIN_RIGHT);
    assert_true(ask(logins, &told, "b", "pb2", &answer));
    assert_true(ask(logins, &told, "a", "pa", &answer));
    assert_int_equal(answer.outcome, LOGIN_RIGHT);
    const uint32_t answered = told.count;
    uint32_t asked = 0;
    for (uint32_t i = 0; i < rate.tries + 2; i++) { /* However slow they are checked. */
        const struct login_question guess = {
            .user = text("a"), .password = text("guess"), .address = 5, .carrier = &told};
        logins_ask(logins, &guess, &answer);
        asked += answer.outcome == LOGIN_PENDING;
    }
    assert_true(ask(logins, &told, "a", "pa", &answer));
    assert_int_equal(answer.outcome, LOGIN_LIMITED);
    assert_true(answer.wait_ms > 0 && answer.wait_ms <= 2 * rate.refill_ms);
    const struct logins_counts counts = logins_counts(logins);
    assert_true(counts.right >= 6 && counts.wrong >= 3 && counts.limited >= 1);
    /* Who waits when it ends is told that there is no answer. */
    for (int i = 0; i < LOGINS_WAITING_MAX + 20; i++) {
        const struct login_question question = {.user = text("b"),
                                                .password = text("x"),
                                                .address = 1000 + (uint64_t)i,
                                                .carrier = &told};
        logins_ask(logins, &question, &answer);
        asked += answer.outcome == LOGIN_PENDING;
    }
    assert_int_equal(answer.outcome, LOGIN_BUSY);
    logins_destroy(logins);
    assert_true(told.unanswered > 0);
    assert_int_equal(told.count - answered + told.unanswered, asked);
    roster_destroy(roster);
    free(users);
}

/* How many of some wrong passwords of a name are looked at. */
static uint32_t tries_of(struct logins *logins, struct told *told, const char *name)
{
    struct login_answer answer;
    uint32_t looked_at = 0;

    for (int i = 0; i < 12; i++) {
        (void)ask(logins, told, name, "guess", &answer);
        looked_at += answer.outcome == LOGIN_WRONG;
    }
    return looked_at;
}

/* Whether there is a user of some name is told neither by the limits nor by the time; that of an address ends it all. */
static void test_no_name_is_told(void **state)
{
    struct users *users = calloc(1, sizeof *users);
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};
    const struct logins_listener listener = {on_answer, on_failed, &told};
    struct login_answer answer;
    struct logins *logins;
    struct roster *roster;
    char name[2 * PASSWORD_BYTES_MAX];

    (void)state;
    assert_non_null(users);
    users->count = 1;
    users->rows[0] = (struct user){.name = "a"};
    strcpy(users->rows[0].hashes[0], quick_hash);
    assert_int_equal(roster_create(users, &roster), 0);
    assert_int_equal(logins_create(roster, &listener, &logins), 0);
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "nobody %d", i);
        assert_true(tries_of(logins, &told, name) >= LOGIN_RATE_NAME.tries);
    }
    assert_true(tries_of(logins, &told, "a") >= LOGIN_RATE_NAME.tries);
    /* What is too long is no password of anybody, and no name. */
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    (void)ask(logins, &told, name, name, &answer);
    assert_int_equal(answer.outcome, LOGIN_WRONG);
    pthread_mutex_lock(&told.lock);
    while (told.failed < told.count) {
        pthread_cond_wait(&told.came, &told.lock);
    }
    pthread_mutex_unlock(&told.lock);
    assert_int_equal(strlen(told.name), USER_NAME_BYTES_MAX);
    assert_string_equal(told.peer, "[::1]:5");
    /* However fast they are checked, they come faster. */
    for (int i = 0; i < LOGINS_WAITING_MAX && answer.outcome != LOGIN_LIMITED; i++) {
        snprintf(name, sizeof name, "new name %d", i);
        const struct login_question question = {
            .user = text(name), .password = text("guess"), .address = 5, .carrier = &told};
        logins_ask(logins, &question, &answer);
    }
    assert_int_equal(answer.outcome, LOGIN_LIMITED);
    assert_true(answer.wait_ms <= LOGIN_RATE_ADDRESS.refill_ms);
    logins_destroy(logins);
    roster_destroy(roster);
    free(users);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_grants),    cmocka_unit_test(test_limit),
    cmocka_unit_test(test_hashes),    cmocka_unit_test(test_cut_hashes),
    cmocka_unit_test(test_no_memory), cmocka_unit_test(test_roster),
    cmocka_unit_test(test_logins),    cmocka_unit_test(test_no_name_is_told),
};

int main(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
