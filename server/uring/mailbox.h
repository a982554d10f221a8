/* Messages from outside to a shard's thread, rare ones: counters asked for, a new table of policies or of slots, other
 * users, a link to another node, the answer to an administrative request or a login, the end.
 *
 * Memory: a mail is the heap's, and the receiver's once it was posted; one that is waited for is freed by
 * whoever comes last. Threads: any posts, the shard's takes.
 */
#ifndef MAILBOX_H
#define MAILBOX_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "logins.h"
#include "plane.h"

enum mail_kind {
    MAIL_STATS = 1,
    MAIL_POLICIES,
    MAIL_MAP,
    MAIL_ADMIN,
    MAIL_LOGIN,
    MAIL_USERS,
    MAIL_LINK,
    MAIL_TABLE,
    MAIL_RECORDS,
    MAIL_BASIS,
    MAIL_RESTORE,
    MAIL_STOP,
};

struct plane_table;

struct mail {
    struct mail *next;
    enum mail_kind kind;
    /* STATS */
    bool answered, abandoned;
    struct plane_shard_stats *stats; /* In the mail's own memory. */
    /* RECORDS: waited for, as STATS. */
    struct plane_records *records; /* In the mail's own memory, as are its buffers. */
    /* BASIS: as RECORDS. */
    struct plane_basis *basis;
    bool ends;
    /* RESTORE: in the mail's own memory, as are its buffers. Where nobody takes it, it is canceled as the mail goes. */
    struct plane_restore *restore;
    /* POLICIES */
    const struct policies *policies;
    /* LINK: the socket is the mail's until it was taken (then -1), its `rest` lies in `bytes`. */
    struct plane_link link;
    uint8_t *bytes;
    /* TABLE: one of its users is the mail. */
    struct plane_table *table;
    /* LOGIN: the ticket is logins.h's token. */
    struct login_answer login;
    /* ADMIN; MAP: the epoch is the ticket, the map the document. */
    uint64_t ticket;
    enum status status;
    char *text; /* NULL: none. */
    char *json; /* `json_size` bytes. */
    size_t json_size;
};

struct mailbox {
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct mail *first, *last;
    int wake_fd; /* An eventfd. */
    uint64_t wake_value;
};

/* Returns 0 or negative errno. */
int mailbox_init(struct mailbox *mailbox);
void mailbox_fini(struct mailbox *mailbox);

/* A new mail. Returns NULL where there is no memory. */
struct mail *mail_new(enum mail_kind kind);
void mail_free(struct mail *mail);

void mailbox_post(struct mailbox *mailbox, struct mail *mail);

/* The oldest mail, or NULL. */
struct mail *mailbox_take(struct mailbox *mailbox);

/* The receiver has filled in a mail that is waited for. */
void mailbox_answer(struct mailbox *mailbox, struct mail *mail);

/* Wait for that at most a second, then it is the receiver's. Returns 0 or -ETIMEDOUT. */
int mailbox_wait(struct mailbox *mailbox, struct mail *mail);

/* Only make the thread look around. */
void mailbox_wake(struct mailbox *mailbox);

#endif
