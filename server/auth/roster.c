#include "roster.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct member {
    struct member *next;
    struct user user;
};

struct roster {
    pthread_mutex_t lock;   /* Of what follows. */
    struct member *members; /* All there ever were. */
    uint32_t member_count;
    uint32_t count;
    struct user *rows[USERS_MAX]; /* Those there are. */
};

const struct user user_nobody;

static struct user *find(const struct roster *roster, struct bytes name)
{
    for (uint32_t i = 0; i < roster->count; i++) {
        if (bytes_equal(bytes_of_string(roster->rows[i]->name), name)) {
            return roster->rows[i];
        }
    }
    return NULL;
}

/* ---- Comparing ---- */

static bool grants_equal(const struct user *a, const struct user *b)
{
    bool equal = a->grant_count == b->grant_count;

    for (uint32_t i = 0; equal && i < a->grant_count; i++) {
        const struct grant *one = &a->grants[i], *other = &b->grants[i];
        equal =
            one->role == other->role && bytes_equal(bytes_of(one->prefix, one->prefix_size),
                                                    bytes_of(other->prefix, other->prefix_size));
    }
    return equal;
}

/* Does every password of the one hold for the other, too? */
static bool keeps_passwords(const struct user *before, const struct user *now)
{
    bool all = true;

    for (int i = 0; all && i < USER_HASHES_MAX; i++) {
        bool found = before->hashes[i][0] == '\0';
        for (int j = 0; !found && j < USER_HASHES_MAX; j++) {
            found = strcmp(before->hashes[i], now->hashes[j]) == 0;
        }
        all = found;
    }
    return all;
}

static bool is_same(const struct user *a, const struct user *b)
{
    bool same = grants_equal(a, b);

    for (int i = 0; same && i < USER_HASHES_MAX; i++) {
        same = strcmp(a->hashes[i], b->hashes[i]) == 0;
    }
    return same;
}

/* ---- Changing ---- */

static void free_members(struct member *members)
{
    while (members != NULL) {
        struct member *next = members->next;
        free(members);
        members = next;
    }
}

/* The rows as they are to be: those that stay, and new members, which begin the list `made`. */
static int make_rows(const struct roster *roster, const struct users *users,
                     struct user *rows[USERS_MAX], struct member **made)
{
    uint32_t count = roster->member_count;

    for (uint32_t i = 0; i < users->count; i++) {
        struct user *before = find(roster, bytes_of_string(users->rows[i].name));
        if (before != NULL && is_same(before, &users->rows[i])) {
            rows[i] = before;
            continue;
        }
        struct member *member = count++ < ROSTER_USERS_MAX ? malloc(sizeof *member) : NULL;
        if (member == NULL) {
            free_members(*made);
            return count > ROSTER_USERS_MAX ? -ENOSPC : -ENOMEM;
        }
        member->user = users->rows[i];
        atomic_init(&member->user.successor, NULL);
        member->next = *made;
        *made = member;
        rows[i] = &member->user;
    }
    return 0;
}

static void retire(struct user *before, struct user *const rows[USERS_MAX], uint32_t count,
                   struct roster_change *change)
{
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i] == before) {
            return;
        }
        if (strcmp(rows[i]->name, before->name) == 0) {
            bool keeps = keeps_passwords(before, rows[i]);
            atomic_store_explicit(&before->successor, keeps ? rows[i] : &user_nobody,
                                  memory_order_release);
            change->changed++;
            return;
        }
    }
    atomic_store_explicit(&before->successor, &user_nobody, memory_order_release);
    change->removed++;
}

static int set_locked(struct roster *roster, const struct users *users,
                      struct roster_change *change)
{
    struct user *rows[USERS_MAX];
    struct member *made = NULL;
    int rc = make_rows(roster, users, rows, &made);

    if (rc != 0) {
        return rc;
    }
    *change = (struct roster_change){.added = 0};
    for (uint32_t i = 0; i < users->count; i++) {
        change->added += find(roster, bytes_of_string(rows[i]->name)) == NULL;
    }
    for (uint32_t i = 0; i < roster->count; i++) {
        retire(roster->rows[i], rows, users->count, change);
    }
    while (made != NULL) {
        struct member *next = made->next;
        made->next = roster->members;
        roster->members = made;
        roster->member_count++;
        made = next;
    }
    memcpy(roster->rows, rows, users->count * sizeof rows[0]);
    roster->count = users->count;
    return 0;
}

int roster_set(struct roster *roster, const struct users *users, struct roster_change *change)
{
    pthread_mutex_lock(&roster->lock);
    int rc = set_locked(roster, users, change);
    pthread_mutex_unlock(&roster->lock);
    return rc;
}

/* ---- Asking ---- */

const struct user *roster_find(struct roster *roster, struct bytes name)
{
    pthread_mutex_lock(&roster->lock);
    const struct user *user = find(roster, name);
    pthread_mutex_unlock(&roster->lock);
    return user;
}

uint32_t roster_list(struct roster *roster, const struct user *rows[USERS_MAX])
{
    pthread_mutex_lock(&roster->lock);
    const uint32_t count = roster->count;
    for (uint32_t i = 0; i < count; i++) {
        rows[i] = roster->rows[i];
    }
    pthread_mutex_unlock(&roster->lock);
    return count;
}

/* ---- Life ---- */

int roster_create(const struct users *users, struct roster **created)
{
    struct roster *roster = calloc(1, sizeof *roster);
    struct roster_change change;

    if (roster == NULL) {
        return -ENOMEM;
    }
    pthread_mutex_init(&roster->lock, NULL);
    int rc = roster_set(roster, users, &change);
    if (rc != 0) {
        roster_destroy(roster);
        return rc;
    }
    *created = roster;
    return 0;
}

void roster_destroy(struct roster *roster)
{
    if (roster == NULL) {
        return;
    }
    free_members(roster->members);
    pthread_mutex_destroy(&roster->lock);
    free(roster);
}
