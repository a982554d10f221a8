#include "receipt.h"

#include <errno.h>

static const uint8_t refused = 'E';

const struct dedup_item *receipt_find(const struct dedup *dedup, uint64_t id)
{
    return dedup_find(dedup, DEDUP_RECEIPT_CLIENT, id);
}

bool receipt_is_refusal(const struct dedup_item *receipt)
{
    return receipt->results.size == 1 && receipt->results.data[0] == refused;
}

/* A record that a receipt comes to, or leaves. */
struct amended {
    struct record old;
    struct dedup dedup;
    struct stamp stamp;
};

static int begin(struct amended *amended, struct bytes record, struct stamp stamp)
{
    amended->stamp = stamp;
    int rc = record_open_dedup(&amended->old, record, RECORD_FORMAT, &amended->dedup);
    return rc == 0 && stamp.hlc > record_newest(&amended->old) ? 0 : -EBADMSG;
}

static int write_out(const struct amended *amended, struct buffer *out)
{
    const struct record *old = &amended->old;
    struct entry_walk walk = entry_walk(old);
    struct record_writer writer;
    struct version stamped;
    struct entry entry;

    version_init_stamp(&stamped, amended->stamp);
    const struct record_head head = {
        .format = RECORD_FORMAT,
        .key = old->key,
        .a = &old->version,
        .b = &stamped,
        .death = old->version.death,
        .last_access_ms = old->last_access_ms,
        .birth_count = old->birth_count,
        .dedup = &amended->dedup,
    };
    record_write_head(&writer, out, &head);
    for (uint32_t i = 0; i < old->birth_count; i++) {
        struct birth birth = record_birth(old, i);
        record_write_birth(&writer, &birth);
    }
    record_write_dedup(&writer, &amended->dedup);
    while (writer.rc == 0 && entry_next(&walk, &entry)) {
        record_write_entry(&writer, &entry);
    }
    int rc = record_write_end(&writer);
    return rc == 0 && walk.in.bad ? -EBADMSG : rc;
}

int receipt_refuse(struct bytes record, struct stamp stamp, uint64_t id, struct buffer *out)
{
    struct amended amended;
    const struct dedup_item item = {
        .client = DEDUP_RECEIPT_CLIENT,
        .sequence = id,
        .stamp = stamp,
        .results = bytes_of(&refused, 1),
    };
    int rc = begin(&amended, record, stamp);

    if (rc == 0) {
        dedup_add(&amended.dedup, &item, hlc_ms(stamp.hlc));
        rc = write_out(&amended, out);
    }
    return rc;
}

int receipt_remove(struct bytes record, struct stamp stamp, uint64_t id, struct buffer *out)
{
    struct amended amended;
    int rc = begin(&amended, record, stamp);

    if (rc == 0 && !dedup_remove_receipt(&amended.dedup, id)) {
        rc = -ENOENT;
    }
    return rc != 0 ? rc : write_out(&amended, out);
}
