#include "cold.h"

#include <errno.h>
#include <xxhash.h>

#include "record.h"
#include "shown.h"

static const struct dedup no_dedup;

/* Copies of the births that `death` has not ended. */
static uint32_t count_births(const struct record *record, struct death death)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < record->birth_count; i++) {
        struct birth birth = record_birth(record, i);
        count += !death_ends(death, birth.stamp.hlc, birth.blind);
    }
    return count;
}

static void write_births(struct record_writer *writer, const struct record *record,
                         struct death death)
{
    for (uint32_t i = 0; i < record->birth_count; i++) {
        struct birth birth = record_birth(record, i);
        if (!death_ends(death, birth.stamp.hlc, birth.blind)) {
            record_write_birth(writer, &birth);
        }
    }
}

static uint64_t end_of_fields(const struct record *record, const struct leader *leader)
{
    struct fields_end end = {.ms = 0};
    struct group_walk walk;
    struct group group;

    group_walk(record, &walk);
    while (leader->found && group_next(&walk, leader, &group)) {
        fields_end_take(&end, &group);
    }
    return fields_end_ms(&end, leader);
}

uint64_t session_hash(struct bytes record, uint64_t seed)
{
    size_t skipped = 1; /* The format, with its flags. */

    if (record.size > 0 && (record.data[0] & RECORD_ACCESS) != 0) {
        skipped += RECORD_ACCESS_BYTES;
    }
    if (record.size < skipped) {
        return 0;
    }
    return XXH3_64bits_withSeed(record.data + skipped, record.size - skipped,
                                seed ^ record.data[0]);
}

uint64_t session_cold_hash(struct bytes cold)
{
    struct record opened;

    return record_open(&opened, cold, RECORD_COLD) == 0 ? opened.whole_hash : 0;
}

int session_freeze(struct bytes record, uint64_t hash, struct buffer *out)
{
    struct record_writer writer;
    struct record opened;
    struct version nothing;
    struct leader leader;
    struct entry entry;

    if (record_open(&opened, record, RECORD_FORMAT) != 0) {
        return -EBADMSG;
    }
    version_init(&nothing);
    leader_find(&opened, &leader);
    const struct record_head head = {
        .format = RECORD_COLD,
        .key = opened.key,
        .a = &opened.version,
        .b = &nothing,
        .death = opened.version.death,
        .last_access_ms = opened.last_access_ms,
        .whole_bytes = record.size,
        .fields_end_ms = end_of_fields(&opened, &leader),
        .life_first = leader.first,
        .whole_hash = hash,
        .birth_count = opened.birth_count,
        .dedup = &no_dedup,
    };
    record_write_head(&writer, out, &head);
    for (uint32_t i = 0; i < opened.birth_count; i++) {
        struct birth birth = record_birth(&opened, i);
        record_write_birth(&writer, &birth);
    }
    record_write_dedup(&writer, &no_dedup);
    struct entry_walk walk = entry_walk(&opened);
    while (entry_next(&walk, &entry) && entry.kind < ENTRY_FIELD) {
        record_write_entry(&writer, &entry);
    }
    int rc = record_write_end(&writer);
    return walk.in.bad ? -EBADMSG : rc;
}

/* The stored record with what only the cold one knows: a later access, and deaths of earlier lives that
 * the store was told to forget. */
static int join(const struct record *cold, const struct record *stored, struct buffer *out)
{
    struct record_writer writer;
    struct dedup dedup;
    struct entry entry;
    struct death death = death_join(cold->version.death, stored->version.death);

    record_dedup(stored, &dedup);
    const struct record_head head = {
        .format = RECORD_FORMAT,
        .key = stored->key,
        .a = &cold->version,
        .b = &stored->version,
        .death = death,
        .last_access_ms = cold->last_access_ms > stored->last_access_ms ? cold->last_access_ms
                                                                        : stored->last_access_ms,
        .birth_count = count_births(stored, death),
        .dedup = &dedup,
    };
    record_write_head(&writer, out, &head);
    write_births(&writer, stored, death);
    record_write_dedup(&writer, &dedup);
    struct entry_walk walk = entry_walk(stored);
    while (entry_next(&walk, &entry)) {
        if (!death_ends(death, entry.birth.stamp.hlc, entry.birth.blind)) {
            record_write_entry(&writer, &entry);
        }
    }
    int rc = record_write_end(&writer);
    return walk.in.bad ? -EBADMSG : rc;
}

uint64_t session_cold_bytes(struct bytes cold)
{
    struct record opened;

    return record_open(&opened, cold, RECORD_COLD) == 0 && opened.whole_log2 < 64
               ? UINT64_C(1) << opened.whole_log2
               : 0;
}

int session_thaw(struct bytes cold, struct bytes stored, struct buffer *out)
{
    struct record opened, found;

    if (record_open(&opened, cold, RECORD_COLD) != 0 ||
        record_open(&found, stored, RECORD_FORMAT) != 0 || !bytes_equal(opened.key, found.key)) {
        return -EBADMSG;
    }
    if (stamp_compare(opened.version.newest, found.version.newest) != 0) {
        return -ESTALE;
    }
    if (bytes_equal(opened.token, found.token) && opened.last_access_ms == found.last_access_ms) {
        out->size = 0; /* So it is nearly always. */
        return buffer_append(out, stored);
    }
    return join(&opened, &found, out);
}
