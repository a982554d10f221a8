#include "mailbox.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "plane_table.h"

int mailbox_init(struct mailbox *mailbox)
{
    pthread_condattr_t attributes;

    *mailbox = (struct mailbox){.wake_fd = eventfd(0, EFD_CLOEXEC)};
    if (mailbox->wake_fd < 0) {
        return -errno;
    }
    pthread_mutex_init(&mailbox->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&mailbox->answered, &attributes);
    pthread_condattr_destroy(&attributes);
    return 0;
}

void mailbox_fini(struct mailbox *mailbox)
{
    struct mail *mail;

    while ((mail = mailbox_take(mailbox)) != NULL) {
        mail_free(mail);
    }
    close(mailbox->wake_fd);
    pthread_cond_destroy(&mailbox->answered);
    pthread_mutex_destroy(&mailbox->lock);
}

struct mail *mail_new(enum mail_kind kind)
{
    struct mail *mail = calloc(1, sizeof *mail);

    if (mail == NULL) {
        return NULL;
    }
    mail->kind = kind;
    if (kind == MAIL_STATS) {
        mail->stats = malloc(sizeof *mail->stats);
        if (mail->stats == NULL) {
            free(mail);
            return NULL;
        }
    }
    return mail;
}

void mail_free(struct mail *mail)
{
    if (mail->kind == MAIL_LINK && mail->link.fd >= 0) {
        close(mail->link.fd);
    }
    if (mail->table != NULL) {
        plane_table_drop(mail->table);
    }
    if (mail->records != NULL) {
        buffer_fini(&mail->records->keys);
        buffer_fini(&mail->records->found);
    }
    free(mail->records);
    if (mail->basis != NULL) {
        buffer_fini(&mail->basis->vectors);
    }
    free(mail->basis);
    if (mail->restore != NULL) {
        const struct plane_restored result = {.rc = -ECANCELED};
        mail->restore->done(mail->restore->context, &result);
        buffer_fini(&mail->restore->records);
        buffer_fini(&mail->restore->slots);
    }
    free(mail->restore);
    free(mail->bytes);
    free(mail->stats);
    free(mail->text);
    free(mail->json);
    free(mail);
}

void mailbox_wake(struct mailbox *mailbox)
{
    uint64_t one = 1;

    /* Fails only when 2^64 - 2 wake-ups are waiting. */
    (void)!write(mailbox->wake_fd, &one, sizeof one);
}

void mailbox_post(struct mailbox *mailbox, struct mail *mail)
{
    pthread_mutex_lock(&mailbox->lock);
    if (mailbox->last == NULL) {
        mailbox->first = mail;
    } else {
        mailbox->last->next = mail;
    }
    mailbox->last = mail;
    pthread_mutex_unlock(&mailbox->lock);
    mailbox_wake(mailbox);
}

struct mail *mailbox_take(struct mailbox *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    struct mail *mail = mailbox->first;
    if (mail != NULL) {
        mailbox->first = mail->next;
        if (mailbox->first == NULL) {
            mailbox->last = NULL;
        }
        mail->next = NULL;
    }
    pthread_mutex_unlock(&mailbox->lock);
    return mail;
}

void mailbox_answer(struct mailbox *mailbox, struct mail *mail)
{
    pthread_mutex_lock(&mailbox->lock);
    bool abandoned = mail->abandoned;
    mail->answered = true;
    pthread_cond_broadcast(&mailbox->answered);
    pthread_mutex_unlock(&mailbox->lock);
    if (abandoned) {
        mail_free(mail);
    }
}

int mailbox_wait(struct mailbox *mailbox, struct mail *mail)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec++;
    pthread_mutex_lock(&mailbox->lock);
    while (!mail->answered && rc == 0) {
        rc = pthread_cond_timedwait(&mailbox->answered, &mailbox->lock, &until);
    }
    bool answered = mail->answered;
    mail->abandoned = !answered;
    pthread_mutex_unlock(&mailbox->lock);
    return answered ? 0 : -ETIMEDOUT;
}
