#include "login.h"

#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include <netinet/in.h>

#include "connection.h"
#include "heap.h"
#include "mailbox.h"
#include "peer.h"
#include "plane_private.h"
#include "shard_thread.h"

static_assert((int)PEER_BYTES == (int)LOGIN_PEER_BYTES, "An address as text.");

/* ---- Tokens: shard, index and generation of the connection ---- */

enum { TOKEN_INDEX_BITS = 24 };

static uint64_t token_of(const struct shard_thread *thread, const struct connection *connection)
{
    return (uint64_t)thread->index << (32 + TOKEN_INDEX_BITS) | (uint64_t)connection->index << 32 |
           connection->generation;
}

static struct connection *connection_of(struct shard_thread *thread, uint64_t token)
{
    return connection_find(thread, (uint32_t)(token >> 32) & ((1U << TOKEN_INDEX_BITS) - 1),
                           (uint32_t)token);
}

/* ---- Asking ---- */

/* FNV-1a. */
static uint64_t hash(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t value = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++) {
        value = (value ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return value;
}

/* The address without the port; of IPv6 the network, as its hosts have as many addresses as they like. */
static uint64_t address_of(const struct connection *connection)
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;

    if (getpeername(connection->fd, (struct sockaddr *)&address, &size) != 0) {
        return 0;
    }
    if (address.ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
        return hash(&v4->sin_addr, sizeof v4->sin_addr);
    }
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
    bool mapped = IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr);
    return mapped ? hash(v6->sin6_addr.s6_addr + 12, 4) : hash(v6->sin6_addr.s6_addr, 8);
}

bool login_is_pending(const struct connection *connection)
{
    const struct login_answer *answer = connection->login.answer;

    return answer != NULL && answer->outcome == LOGIN_PENDING;
}

static bool is_of(const struct logins *logins, const struct login_answer *answer,
                  const struct login_question *question)
{
    uint8_t digest[LOGIN_DIGEST_BYTES];

    logins_digest(logins, question, digest);
    return logins_digests_equal(digest, answer->digest);
}

enum login_outcome login_ask(struct shard_thread *thread, struct connection *connection,
                             struct bytes user, struct bytes password, uint32_t *wait_ms)
{
    struct login_question question = {
        .user = user,
        .password = password,
        .address = address_of(connection),
        .token = token_of(thread, connection),
    };
    struct login_answer answer;
    struct login_answer *kept = connection->login.answer;

    if (kept != NULL && is_of(thread->plane->options.logins, kept, &question)) {
        answer = *kept; /* It is this request that was put off: what came after it still waits. */
        login_drop(thread, connection);
    } else {
        login_drop(thread, connection);
        kept = heap_take(thread->memory, sizeof *kept);
        struct mail *mail = kept == NULL ? NULL : mail_new(MAIL_LOGIN);
        if (mail == NULL) {
            if (kept != NULL) {
                heap_give(thread->memory, kept, sizeof *kept);
            }
            return LOGIN_BUSY;
        }
        question.carrier = mail;
        peer_print(connection->fd, question.peer);
        kept->outcome = LOGIN_PENDING;
        connection->login.answer = kept;
        connection->in_flight++; /* Before the answer can come: the thread reads it later. */
        logins_ask(thread->plane->options.logins, &question, &answer);
        if (answer.outcome == LOGIN_PENDING) {
            return LOGIN_PENDING;
        }
        mail_free(mail);
        connection->in_flight--;
        login_drop(thread, connection);
    }
    if (answer.outcome == LOGIN_RIGHT) {
        connection->user = answer.user;
    }
    *wait_ms = answer.wait_ms;
    return answer.outcome;
}

void login_drop(struct shard_thread *thread, struct connection *connection)
{
    if (connection->login.answer != NULL) {
        heap_give(thread->memory, connection->login.answer, sizeof *connection->login.answer);
        connection->login.answer = NULL;
    }
}

/* ---- The answer ---- */

void plane_login_answered(struct plane *plane, uint64_t token, void *carrier,
                          const struct login_answer *answer)
{
    struct mail *mail = carrier;

    if (answer == NULL) {
        mail_free(mail);
        return;
    }
    mail->ticket = token;
    mail->login = *answer;
    mailbox_post(&plane->threads[token >> (32 + TOKEN_INDEX_BITS)].mailbox, mail);
}

void login_take(struct shard_thread *thread, uint64_t token, const struct login_answer *answer)
{
    struct connection *connection = connection_of(thread, token);

    if (connection == NULL || !login_is_pending(connection)) {
        return;
    }
    *connection->login.answer = *answer;
    connection->in_flight--;
    connection_mark(thread, connection);
}

/* ---- Rights ---- */

bool login_is_over(const struct connection *connection)
{
    return connection->user != NULL && user_now(connection->user) == NULL;
}

bool login_is_wanted(const struct shard_thread *thread, const struct connection *connection)
{
    return thread->plane->options.users != NULL && connection->user == NULL;
}

uint32_t login_frame_bytes(const struct shard_thread *thread, const struct connection *connection)
{
    uint32_t most = thread->plane->options.limits.frame_bytes;

    return login_is_wanted(thread, connection) && most > LOGIN_REQUEST_BYTES_MAX
               ? LOGIN_REQUEST_BYTES_MAX
               : most;
}

bool login_may(const struct shard_thread *thread, const struct connection *connection,
               enum role role, struct bytes start)
{
    if (thread->plane->options.users == NULL) {
        return true;
    }
    const struct user *user = user_now(connection->user);
    return user != NULL && user_may(user, role, start);
}
