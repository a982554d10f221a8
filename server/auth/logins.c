#include "logins.h"

#include <errno.h>
#include <nettle/hmac.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "login_limit.h"
#include "password.h"

enum { CHECKER_NICE = 10 };

/* Waits to be checked. */
struct waiting {
    struct waiting *next;
    uint64_t token, who;
    const struct user *user; /* NULL: there is none of that name. */
    uint8_t digest[LOGIN_DIGEST_BYTES];
    size_t password_size;
    uint8_t password[PASSWORD_BYTES_MAX];
};

/* A password that was right. */
struct known {
    bool set;
    uint8_t digest[LOGIN_DIGEST_BYTES];
};

struct logins {
    const struct users *users;
    void (*answered)(void *context, uint64_t token, const struct login_answer *answer);
    void *context;
    struct hmac_sha256_ctx key; /* Copied, never changed. */
    pthread_t thread;
    pthread_mutex_t lock; /* Of what follows. */
    pthread_cond_t asked;
    bool stopping;
    uint32_t waiting_count;
    struct waiting *first, *last;
    struct known known[USERS_MAX][USER_HASHES_MAX];
    struct login_limit limit;
    struct logins_counts counts;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void logins_digest(const struct logins *logins, const struct login_question *question,
                   uint8_t digest[LOGIN_DIGEST_BYTES])
{
    struct hmac_sha256_ctx state = logins->key;
    uint8_t size[8];

    for (int i = 0; i < 8; i++) {
        size[i] = (uint8_t)(question->user.size >> 8 * i);
    }
    hmac_sha256_update(&state, sizeof size, size);
    hmac_sha256_update(&state, question->user.size, question->user.data);
    hmac_sha256_update(&state, question->password.size, question->password.data);
    hmac_sha256_digest(&state, LOGIN_DIGEST_BYTES, digest);
}

/* Unknown users of an address share a bucket, so that trying names is limited too. */
static uint64_t who_of(const struct login_question *question, const struct user *user)
{
    uint64_t number = user == NULL ? USERS_MAX : user->index;
    uint64_t who =
        (question->address ^ number * UINT64_C(0x9e3779b97f4a7c15)) * UINT64_C(0xff51afd7ed558ccd);

    who ^= who >> 32;
    return who == 0 ? 1 : who;
}

bool logins_digests_equal(const uint8_t a[LOGIN_DIGEST_BYTES], const uint8_t b[LOGIN_DIGEST_BYTES])
{
    uint8_t difference = 0;

    for (int i = 0; i < LOGIN_DIGEST_BYTES; i++) {
        difference |= a[i] ^ b[i];
    }
    return difference == 0;
}

static bool is_known(const struct logins *logins, const struct user *user,
                     const uint8_t digest[LOGIN_DIGEST_BYTES])
{
    for (uint32_t i = 0; user != NULL && i < USER_HASHES_MAX; i++) {
        const struct known *known = &logins->known[user->index][i];
        if (known->set && logins_digests_equal(known->digest, digest)) {
            return true;
        }
    }
    return false;
}

/* Returns LOGIN_PENDING or LOGIN_BUSY. */
static enum login_outcome enqueue(struct logins *logins, const struct login_question *question,
                                  const struct user *user, uint64_t who,
                                  const uint8_t digest[LOGIN_DIGEST_BYTES])
{
    struct waiting *waiting =
        logins->waiting_count < LOGINS_WAITING_MAX ? malloc(sizeof *waiting) : NULL;

    if (waiting == NULL) {
        return LOGIN_BUSY;
    }
    *waiting = (struct waiting){
        .token = question->token,
        .who = who,
        .user = user,
        .password_size = question->password.size,
    };
    memcpy(waiting->digest, digest, sizeof waiting->digest);
    if (question->password.size > 0) {
        memcpy(waiting->password, question->password.data, question->password.size);
    }
    if (logins->last == NULL) {
        logins->first = waiting;
    } else {
        logins->last->next = waiting;
    }
    logins->last = waiting;
    logins->waiting_count++;
    login_limit_tried(&logins->limit, who, now_ms());
    pthread_cond_signal(&logins->asked);
    return LOGIN_PENDING;
}

void logins_ask(struct logins *logins, const struct login_question *question,
                struct login_answer *answer)
{
    const struct user *user = users_find(logins->users, question->user);
    const uint64_t who = who_of(question, user);

    *answer = (struct login_answer){.outcome = LOGIN_WRONG};
    logins_digest(logins, question, answer->digest);
    pthread_mutex_lock(&logins->lock);
    uint64_t wait_ms = login_limit_wait_ms(&logins->limit, who, now_ms());
    if (wait_ms > 0) {
        answer->outcome = LOGIN_LIMITED;
        answer->wait_ms = (uint32_t)wait_ms;
        logins->counts.limited++;
    } else if (is_known(logins, user, answer->digest)) {
        answer->outcome = LOGIN_RIGHT;
        answer->user = user;
        logins->counts.right++;
    } else if (question->password.size > PASSWORD_BYTES_MAX) {
        login_limit_tried(&logins->limit, who, now_ms());
        logins->counts.wrong++;
    } else {
        answer->outcome = enqueue(logins, question, user, who, answer->digest);
        logins->counts.busy += answer->outcome == LOGIN_BUSY;
    }
    pthread_mutex_unlock(&logins->lock);
}

/* ---- The thread that checks ---- */

/* Returns the number of the hash that it is the password of, or -1. */
static int find_hash(const struct users *users, const struct waiting *waiting)
{
    const struct user *user = waiting->user != NULL ? waiting->user : &users->rows[0];
    struct bytes password = bytes_of(waiting->password, waiting->password_size);
    int found = -1;

    for (int i = 0; i < USER_HASHES_MAX && found < 0; i++) {
        if (user->hashes[i][0] != '\0' && password_matches(user->hashes[i], password)) {
            found = i;
        }
    }
    return waiting->user != NULL ? found : -1;
}

static void check(struct logins *logins, struct waiting *waiting)
{
    struct login_answer answer = {.outcome = LOGIN_WRONG};
    int found = find_hash(logins->users, waiting);

    memcpy(answer.digest, waiting->digest, sizeof answer.digest);
    pthread_mutex_lock(&logins->lock);
    if (found >= 0) {
        struct known *known = &logins->known[waiting->user->index][found];
        known->set = true;
        memcpy(known->digest, waiting->digest, sizeof known->digest);
        answer.outcome = LOGIN_RIGHT;
        answer.user = waiting->user;
        login_limit_succeeded(&logins->limit, waiting->who);
        logins->counts.right++;
    } else {
        logins->counts.wrong++;
    }
    pthread_mutex_unlock(&logins->lock);
    logins->answered(logins->context, waiting->token, &answer);
}

static void forget(struct waiting *waiting)
{
    explicit_bzero(waiting->password, sizeof waiting->password);
    free(waiting);
}

/* Returns NULL where there is nothing to do any more. */
static struct waiting *take(struct logins *logins)
{
    pthread_mutex_lock(&logins->lock);
    while (logins->first == NULL && !logins->stopping) {
        pthread_cond_wait(&logins->asked, &logins->lock);
    }
    struct waiting *waiting = logins->stopping ? NULL : logins->first;
    if (waiting != NULL) {
        logins->first = waiting->next;
        logins->last = waiting->next == NULL ? NULL : logins->last;
        logins->waiting_count--;
    }
    pthread_mutex_unlock(&logins->lock);
    return waiting;
}

static void *check_all(void *context)
{
    struct logins *logins = context;
    struct waiting *waiting;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), CHECKER_NICE);
    while ((waiting = take(logins)) != NULL) {
        check(logins, waiting);
        forget(waiting);
    }
    return NULL;
}

/* ---- Life ---- */

int logins_create(const struct users *users,
                  void (*answered)(void *context, uint64_t token,
                                   const struct login_answer *answer),
                  void *context, struct logins **created)
{
    uint8_t key[LOGIN_DIGEST_BYTES];
    struct logins *logins = calloc(1, sizeof *logins);

    if (logins == NULL) {
        return -ENOMEM;
    }
    if (getrandom(key, sizeof key, 0) != sizeof key) {
        free(logins);
        return -EIO;
    }
    logins->users = users;
    logins->answered = answered;
    logins->context = context;
    hmac_sha256_set_key(&logins->key, sizeof key, key);
    explicit_bzero(key, sizeof key);
    pthread_mutex_init(&logins->lock, NULL);
    pthread_cond_init(&logins->asked, NULL);
    int rc = pthread_create(&logins->thread, NULL, check_all, logins);
    if (rc != 0) {
        free(logins);
        return -rc;
    }
    *created = logins;
    return 0;
}

void logins_destroy(struct logins *logins)
{
    if (logins == NULL) {
        return;
    }
    pthread_mutex_lock(&logins->lock);
    logins->stopping = true;
    pthread_cond_signal(&logins->asked);
    pthread_mutex_unlock(&logins->lock);
    pthread_join(logins->thread, NULL);
    while (logins->first != NULL) {
        struct waiting *next = logins->first->next;
        forget(logins->first);
        logins->first = next;
    }
    pthread_cond_destroy(&logins->asked);
    pthread_mutex_destroy(&logins->lock);
    free(logins);
}

struct logins_counts logins_counts(struct logins *logins)
{
    pthread_mutex_lock(&logins->lock);
    struct logins_counts counts = logins->counts;
    pthread_mutex_unlock(&logins->lock);
    return counts;
}
