/* The plane's side of the archive (plane.h). */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "mailbox.h"
#include "plane_private.h"

enum { DURABLE_POLL_MS = 2 };

void plane_log_reach(struct plane *plane, uint32_t shard, struct plane_log_reach *reach)
{
    struct archive_gate *gate = &plane->threads[shard].archive;

    /* In this order: each only grows. */
    reach->wanted = atomic_load_explicit(&gate->wanted, memory_order_acquire);
    reach->asked = atomic_load_explicit(&gate->asked, memory_order_relaxed);
    reach->durable = atomic_load_explicit(&gate->durable, memory_order_acquire);
    reach->appended = atomic_load_explicit(&gate->appended, memory_order_relaxed);
    reach->durable = reach->durable < reach->wanted ? reach->wanted : reach->durable;
    reach->appended = reach->appended < reach->durable ? reach->durable : reach->appended;
}

void plane_archived(struct plane *plane, uint32_t shard, uint64_t lost, uint64_t lsn)
{
    struct shard_thread *thread = &plane->threads[shard];

    archive_gate_tell(&thread->archive, lost, lsn);
    mailbox_wake(&thread->mailbox);
}

void plane_archive_based(struct plane *plane, uint32_t shard)
{
    struct shard_thread *thread = &plane->threads[shard];

    archive_gate_based(&thread->archive);
    mailbox_wake(&thread->mailbox);
}

static struct mail *records_mail(struct plane *plane, const struct buffer *keys)
{
    struct mail *mail = mail_new(MAIL_RECORDS);
    struct memory *memory = plane->options.memory;

    if (mail == NULL) {
        return NULL;
    }
    mail->records = calloc(1, sizeof *mail->records);
    if (mail->records != NULL) {
        mail->records->keys.memory = mail->records->found.memory = memory;
        if (buffer_append(&mail->records->keys, buffer_bytes(keys)) == 0) {
            return mail;
        }
    }
    mail_free(mail);
    return NULL;
}

int plane_records(struct plane *plane, uint32_t shard, struct plane_records *records)
{
    struct mailbox *mailbox = &plane->threads[shard].mailbox;
    struct mail *mail = records_mail(plane, &records->keys);

    if (mail == NULL) {
        return -ENOMEM;
    }
    mailbox_post(mailbox, mail);
    int rc = mailbox_wait(mailbox, mail);
    if (rc != 0) {
        return rc; /* The shard's thread frees it. */
    }
    records->found.size = 0;
    rc = buffer_append(&records->found, buffer_bytes(&mail->records->found));
    records->answered = rc == 0 ? mail->records->answered : 0;
    records->lsn = mail->records->lsn;
    mail_free(mail);
    return rc;
}

void plane_records_stopped(struct plane *plane, uint32_t shard, struct plane_records *records)
{
    records->found.size = 0;
    records->answered = 0;
    archive_gate_answer(&plane->threads[shard], records);
}

int plane_restore(struct plane *plane, uint32_t shard, struct plane_restore *restore)
{
    struct mail *mail = mail_new(MAIL_RESTORE);

    if (mail == NULL) {
        return -ENOMEM;
    }
    mail->restore = malloc(sizeof *mail->restore);
    if (mail->restore == NULL) {
        mail_free(mail);
        return -ENOMEM;
    }
    *mail->restore = *restore;
    restore->records = (struct buffer){.memory = restore->records.memory};
    restore->slots = (struct buffer){.memory = restore->slots.memory};
    mailbox_post(&plane->threads[shard].mailbox, mail);
    return 0;
}

int plane_basis(struct plane *plane, uint32_t shard, bool ends, struct plane_basis *basis)
{
    struct mailbox *mailbox = &plane->threads[shard].mailbox;
    struct mail *mail = mail_new(MAIL_BASIS);

    if (mail == NULL) {
        return -ENOMEM;
    }
    mail->basis = calloc(1, sizeof *mail->basis);
    if (mail->basis == NULL) {
        mail_free(mail);
        return -ENOMEM;
    }
    mail->basis->first_slot = basis->first_slot;
    mail->basis->slot_count = basis->slot_count;
    mail->basis->copies = basis->copies;
    mail->basis->vectors.memory = plane->options.memory;
    mail->ends = ends;
    mailbox_post(mailbox, mail);
    int rc = mailbox_wait(mailbox, mail);
    if (rc != 0) {
        return rc; /* The shard's thread frees it. */
    }
    rc = buffer_append(&basis->vectors, buffer_bytes(&mail->basis->vectors));
    basis->lsn = mail->basis->lsn;
    basis->hlc = mail->basis->hlc;
    basis->epoch = mail->basis->epoch;
    basis->missing = mail->basis->missing;
    basis->known = mail->basis->known;
    mail_free(mail);
    return rc;
}

int plane_await_durable(struct plane *plane, uint32_t shard, const atomic_bool *stops)
{
    const struct timespec poll = {.tv_nsec = DURABLE_POLL_MS * 1000000};
    struct plane_basis basis = {.vectors = {.memory = plane->options.memory}};
    struct plane_log_reach reach;
    int rc;

    do { /* A large write may take its thread longer than one waits for an answer. */
        rc = plane_basis(plane, shard, false, &basis);
    } while (rc == -ETIMEDOUT && !atomic_load(stops));
    buffer_fini(&basis.vectors);
    for (plane_log_reach(plane, shard, &reach);
         rc == 0 && reach.durable < basis.lsn && !atomic_load(stops);
         plane_log_reach(plane, shard, &reach)) {
        nanosleep(&poll, NULL);
    }
    return atomic_load(stops) ? -ECANCELED : rc;
}
