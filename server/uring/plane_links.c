/* What the control thread gives the shards of other nodes: links, and the slot table. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "plane_private.h"
#include "plane_table.h"

int plane_link(struct plane *plane, uint32_t shard, const struct plane_link *link)
{
    struct mail *mail = mail_new(MAIL_LINK);

    assert(shard < plane->options.shard_count);
    if (mail == NULL) {
        return -ENOMEM;
    }
    mail->link = *link;
    mail->link.rest = bytes_of(NULL, 0);
    if (link->rest.size > 0) {
        mail->bytes = malloc(link->rest.size);
        if (mail->bytes == NULL) {
            mail->link.fd = -1;
            mail_free(mail);
            return -ENOMEM;
        }
        memcpy(mail->bytes, link->rest.data, link->rest.size);
        mail->link.rest = bytes_of(mail->bytes, link->rest.size);
    }
    mailbox_post(&plane->threads[shard].mailbox, mail);
    return 0;
}

void plane_table_drop(struct plane_table *table)
{
    if (atomic_fetch_sub(&table->users, 1) == 1) {
        table->released(table->context, table->table);
        free(table);
    }
}

/* One mail for each thread, in a list; NULL where there is no memory for all. */
static struct mail *make_mails(uint32_t count)
{
    struct mail *first = NULL;

    for (uint32_t i = 0; i < count; i++) {
        struct mail *mail = mail_new(MAIL_TABLE);
        if (mail == NULL) {
            while (first != NULL) {
                struct mail *next = first->next;
                mail_free(first);
                first = next;
            }
            return NULL;
        }
        mail->next = first;
        first = mail;
    }
    return first;
}

int plane_set_table(struct plane *plane, const struct slot_table *table,
                    void (*released)(void *context, const struct slot_table *table), void *context)
{
    const uint32_t count = plane->options.shard_count;
    struct plane_table *used = malloc(sizeof *used);
    struct mail *mail = used == NULL ? NULL : make_mails(count);

    if (mail == NULL) {
        free(used);
        return -ENOMEM;
    }
    *used = (struct plane_table){.table = table, .released = released, .context = context};
    atomic_init(&used->users, count);
    for (uint32_t i = 0; i < count; i++) {
        struct mail *next = mail->next;
        mail->next = NULL;
        mail->table = used;
        mailbox_post(&plane->threads[i].mailbox, mail);
        mail = next;
    }
    return 0;
}

uint64_t plane_followed(const struct plane *plane)
{
    uint64_t followed = UINT64_MAX;

    for (uint32_t i = 0; i < plane->options.shard_count; i++) {
        const uint64_t epoch =
            atomic_load_explicit(&plane->threads[i].followed, memory_order_acquire);
        followed = epoch < followed ? epoch : followed;
    }
    return followed;
}
