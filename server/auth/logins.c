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

#include "password.h"

enum { CHECKER_NICE = 10, KNOWN_MAX = USERS_MAX * USER_HASHES_MAX };

/* Of whom failures are counted. */
struct tried {
    uint64_t name, address;
};

/* Waits to be checked. */
struct waiting {
    struct waiting *next;
    uint64_t token;
    void *carrier;
    struct tried tried;
    const struct user *user;  /* NULL: there is none of that name... */
    const struct user *decoy; /* ... and this one's hashes take the time. */
    uint8_t digest[LOGIN_DIGEST_BYTES];
    char peer[LOGIN_PEER_BYTES];
    size_t name_size;
    uint8_t name[USER_NAME_BYTES_MAX]; /* As much of it as there is room for. */
    bool too_long;                     /* It is no password, and takes the time of one. */
    size_t password_size;
    uint8_t password[PASSWORD_BYTES_MAX];
};

/* A password that was right. */
struct known {
    const struct user *user; /* NULL: none. */
    int hash;                /* Which of his. */
    uint8_t digest[LOGIN_DIGEST_BYTES];
};

struct logins {
    struct roster *roster;
    struct logins_listener listener;
    struct hmac_sha256_ctx key; /* Copied, never changed. */
    pthread_t thread;
    pthread_mutex_t lock; /* Of what follows. */
    pthread_cond_t asked;
    bool stopping;
    uint32_t waiting_count;
    struct waiting *first, *last;
    struct known known[KNOWN_MAX]; /* Of those there are; others make room. */
    struct login_limit limit;
    struct logins_counts counts;
};

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- Keyed digests: of what, and of two numbers and a name ---- */

enum what { OF_LOGIN = 1, OF_DECOY, OF_TRIES_OF_NAME, OF_TRIES_OF_ADDRESS };

static void digest_begin(const struct logins *logins, enum what what, uint64_t number,
                         struct bytes name, struct hmac_sha256_ctx *state)
{
    uint8_t head[1 + 8 + 8];

    *state = logins->key;
    head[0] = (uint8_t)what;
    for (int i = 0; i < 8; i++) {
        head[1 + i] = (uint8_t)(number >> 8 * i);
        head[9 + i] = (uint8_t)(name.size >> 8 * i);
    }
    hmac_sha256_update(state, sizeof head, head);
    if (name.size > 0) {
        hmac_sha256_update(state, name.size, name.data);
    }
}

void logins_digest(const struct logins *logins, const struct login_question *question,
                   uint8_t digest[LOGIN_DIGEST_BYTES])
{
    struct hmac_sha256_ctx state;

    digest_begin(logins, OF_LOGIN, 0, question->user, &state);
    if (question->password.size > 0) {
        hmac_sha256_update(&state, question->password.size, question->password.data);
    }
    hmac_sha256_digest(&state, LOGIN_DIGEST_BYTES, digest);
}

/* Not 0. */
static uint64_t draw(const struct logins *logins, enum what what, uint64_t number,
                     struct bytes name)
{
    struct hmac_sha256_ctx state;
    uint64_t drawn = 0;

    digest_begin(logins, what, number, name, &state);
    hmac_sha256_digest(&state, sizeof drawn, (uint8_t *)&drawn);
    return drawn == 0 ? 1 : drawn;
}

/* ---- Tries ---- */

static struct tried tried_of(const struct logins *logins, const struct login_question *question)
{
    return (struct tried){
        .name = draw(logins, OF_TRIES_OF_NAME, question->address, question->user),
        .address = draw(logins, OF_TRIES_OF_ADDRESS, question->address, bytes_of(NULL, 0)),
    };
}

static uint64_t must_wait_ms(const struct logins *logins, struct tried tried)
{
    const uint64_t now = now_ms();
    const uint64_t name_ms = login_limit_wait_ms(&logins->limit, LOGIN_RATE_NAME, tried.name, now);
    const uint64_t address_ms =
        login_limit_wait_ms(&logins->limit, LOGIN_RATE_ADDRESS, tried.address, now);

    return name_ms > address_ms ? name_ms : address_ms;
}

static void count_tried(struct logins *logins, struct tried tried)
{
    const uint64_t now = now_ms();

    login_limit_tried(&logins->limit, LOGIN_RATE_NAME, tried.name, now);
    login_limit_tried(&logins->limit, LOGIN_RATE_ADDRESS, tried.address, now);
}

static void count_not_tried(struct logins *logins, struct tried tried)
{
    login_limit_succeeded(&logins->limit, LOGIN_RATE_NAME, tried.name);
    login_limit_succeeded(&logins->limit, LOGIN_RATE_ADDRESS, tried.address);
}

/* ---- Asking ---- */

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
    for (uint32_t i = 0; user != NULL && i < KNOWN_MAX; i++) {
        const struct known *known = &logins->known[i];
        if (known->user == user && logins_digests_equal(known->digest, digest)) {
            return true;
        }
    }
    return false;
}

static void remember(struct logins *logins, const struct user *user, int hash,
                     const uint8_t digest[LOGIN_DIGEST_BYTES])
{
    struct known *to = NULL;

    for (uint32_t i = 0; i < KNOWN_MAX; i++) {
        struct known *known = &logins->known[i];
        if (known->user == user && known->hash == hash) {
            to = known;
            break;
        }
        to = user_now(known->user) != known->user || known->user == NULL ? known : to;
    }
    if (to != NULL) {
        *to = (struct known){.user = user, .hash = hash};
        memcpy(to->digest, digest, sizeof to->digest);
    }
}

static const struct user *draw_decoy(const struct logins *logins, struct bytes name)
{
    const struct user *rows[USERS_MAX];
    const uint32_t count = roster_list(logins->roster, rows);

    return rows[draw(logins, OF_DECOY, 0, name) % count];
}

/* Returns LOGIN_PENDING or LOGIN_BUSY. */
static enum login_outcome enqueue(struct logins *logins, const struct login_question *question,
                                  const struct user *user, struct tried tried,
                                  const uint8_t digest[LOGIN_DIGEST_BYTES])
{
    const bool too_long = question->password.size > PASSWORD_BYTES_MAX;
    struct waiting *waiting =
        logins->waiting_count < LOGINS_WAITING_MAX ? malloc(sizeof *waiting) : NULL;

    if (waiting == NULL) {
        return LOGIN_BUSY;
    }
    *waiting = (struct waiting){
        .token = question->token,
        .carrier = question->carrier,
        .tried = tried,
        .user = user,
        .decoy = draw_decoy(logins, question->user),
        .name_size =
            question->user.size < USER_NAME_BYTES_MAX ? question->user.size : USER_NAME_BYTES_MAX,
        .too_long = too_long,
        .password_size = too_long ? 0 : question->password.size,
    };
    memcpy(waiting->digest, digest, sizeof waiting->digest);
    memcpy(waiting->peer, question->peer, sizeof waiting->peer);
    if (waiting->name_size > 0) {
        memcpy(waiting->name, question->user.data, waiting->name_size);
    }
    if (waiting->password_size > 0) {
        memcpy(waiting->password, question->password.data, waiting->password_size);
    }
    if (logins->last == NULL) {
        logins->first = waiting;
    } else {
        logins->last->next = waiting;
    }
    logins->last = waiting;
    logins->waiting_count++;
    count_tried(logins, tried);
    pthread_cond_signal(&logins->asked);
    return LOGIN_PENDING;
}

void logins_ask(struct logins *logins, const struct login_question *question,
                struct login_answer *answer)
{
    const struct user *user = roster_find(logins->roster, question->user);
    const struct tried tried = tried_of(logins, question);

    *answer = (struct login_answer){.outcome = LOGIN_WRONG};
    logins_digest(logins, question, answer->digest);
    pthread_mutex_lock(&logins->lock);
    uint64_t wait_ms = must_wait_ms(logins, tried);
    if (wait_ms > 0) {
        answer->outcome = LOGIN_LIMITED;
        answer->wait_ms = (uint32_t)wait_ms;
        logins->counts.limited++;
    } else if (is_known(logins, user, answer->digest)) {
        answer->outcome = LOGIN_RIGHT;
        answer->user = user;
        logins->counts.right++;
    } else {
        answer->outcome = enqueue(logins, question, user, tried, answer->digest);
        logins->counts.busy += answer->outcome == LOGIN_BUSY;
    }
    pthread_mutex_unlock(&logins->lock);
}

/* ---- The thread that checks ---- */

/* Returns the number of the hash that it is the password of, -ENOENT or -ENOMEM. */
static int find_hash(const struct waiting *waiting)
{
    const struct user *user = waiting->user != NULL ? waiting->user : waiting->decoy;
    struct bytes password = bytes_of(waiting->password, waiting->password_size);
    int found = -ENOENT;

    for (int i = 0; i < USER_HASHES_MAX && found == -ENOENT; i++) {
        int rc = user->hashes[i][0] == '\0' ? 0 : password_check(user->hashes[i], password);
        found = rc == 1 ? i : rc < 0 ? rc : found;
    }
    return found >= 0 && (waiting->user == NULL || waiting->too_long) ? -ENOENT : found;
}

static void check(struct logins *logins, struct waiting *waiting)
{
    const struct logins_listener *listener = &logins->listener;
    struct login_answer answer = {.outcome = LOGIN_WRONG};
    int found = find_hash(waiting);
    const struct user *user = user_now(waiting->user); /* The roster may have changed meanwhile. */

    memcpy(answer.digest, waiting->digest, sizeof answer.digest);
    pthread_mutex_lock(&logins->lock);
    if (found >= 0 && user != NULL) {
        if (user == waiting->user) {
            remember(logins, user, found, waiting->digest);
        }
        answer.outcome = LOGIN_RIGHT;
        answer.user = user;
        count_not_tried(logins, waiting->tried);
        logins->counts.right++;
    } else if (found == -ENOMEM) {
        answer.outcome = LOGIN_BUSY;
        count_not_tried(logins, waiting->tried);
        logins->counts.busy++;
    } else {
        logins->counts.wrong++;
    }
    pthread_mutex_unlock(&logins->lock);
    listener->answered(listener->context, waiting->token, waiting->carrier, &answer);
    if (answer.outcome == LOGIN_WRONG && listener->failed != NULL) {
        listener->failed(listener->context, bytes_of(waiting->name, waiting->name_size),
                         waiting->peer);
    }
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

int logins_create(struct roster *roster, const struct logins_listener *listener,
                  struct logins **created)
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
    logins->roster = roster;
    logins->listener = *listener;
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
        logins->listener.answered(logins->listener.context, logins->first->token,
                                  logins->first->carrier, NULL);
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
