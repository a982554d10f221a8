#include "alias.h"

#include <errno.h>
#include <string.h>

#include "limits.h"

/* ---- The value ---- */

void alias_store_stamp(uint8_t to[16], struct stamp stamp)
{
    store_u64(to, stamp.hlc);
    store_u32(to + 8, stamp.actor.node);
    store_u32(to + 12, stamp.actor.start);
}

struct stamp alias_read_stamp(struct reader *from)
{
    struct stamp stamp = {.hlc = read_u64(from)};

    stamp.actor.node = read_u32(from);
    stamp.actor.start = read_u32(from);
    return stamp;
}

uint8_t *alias_put(uint8_t *to, const struct alias *alias)
{
    store_u64(to, alias->id);
    alias_store_stamp(to + 8, alias->birth);
    memcpy(to + ALIAS_HEAD_BYTES, alias->key.data, alias->key.size);
    return to + ALIAS_HEAD_BYTES + alias->key.size;
}

bool alias_read(struct bytes value, struct alias *alias)
{
    struct reader reader = reader_of(value);

    alias->id = read_u64(&reader);
    alias->birth = alias_read_stamp(&reader);
    alias->key = read_bytes(&reader, reader_left(&reader));
    return !reader.bad && alias->key.size > 0 && alias->key.size <= KEY_BYTES_MAX;
}

/* ---- Reading ---- */

int alias_find(struct bytes record, struct aliases *aliases)
{
    struct record opened;
    struct entry entry;
    int rc = record_open(&opened, record, record_format(record));

    *aliases = (struct aliases){.count = 0};
    if (rc != 0) {
        return rc;
    }
    struct entry_walk walk = entry_walk(&opened);
    while (entry_next(&walk, &entry)) {
        aliases->late = aliases->late || alias_is_late(&entry);
        if (entry.kind == ENTRY_ALIAS) { /* In order of their stamps. */
            aliases->count++;
            aliases->stamp = entry.stamp;
            aliases->origin = entry.birth.stamp;
            aliases->ended = alias_is_ended(&opened, &entry);
            walk.in.bad = walk.in.bad || !alias_read(entry.value, &aliases->newest);
        }
    }
    return walk.in.bad ? -EBADMSG : 0;
}

bool alias_may_return(struct bytes record)
{
    struct aliases aliases;

    return record.size > 0 && record_format(record) == RECORD_FORMAT &&
           alias_find(record, &aliases) == 0 && aliases.count > 0 && !aliases.ended &&
           aliases.newest.birth.hlc == 0 && aliases.newest.birth.actor.start != 0;
}

/* ---- Writing ---- */

/* A new record from an old one, whose entries stay as told. */
struct redo {
    struct record old;
    struct dedup dedup;
    struct version stamped;
    struct stamp stamp;
    struct death death;
    uint64_t arrived_id; /* This alias gets another value; 0: none does. */
    struct bytes value;
    bool settles;      /* Only this one alias stays, and nothing late... */
    struct stamp kept; /* ... hlc 0: none does. */
};

static int begin(struct redo *redo, struct bytes record, struct stamp stamp)
{
    *redo = (struct redo){.stamp = stamp};
    if (record_open_dedup(&redo->old, record, RECORD_FORMAT, &redo->dedup) != 0 ||
        stamp.hlc <= record_newest(&redo->old)) {
        return -EBADMSG;
    }
    version_init_stamp(&redo->stamped, stamp);
    redo->death = redo->old.version.death;
    return 0;
}

static void write_head(const struct redo *redo, struct record_writer *writer, uint32_t birth_count,
                       struct buffer *out)
{
    const struct record_head head = {
        .format = RECORD_FORMAT,
        .key = redo->old.key,
        .a = &redo->old.version,
        .b = &redo->stamped,
        .death = redo->death,
        .last_access_ms = redo->old.last_access_ms,
        .birth_count = birth_count,
        .dedup = &redo->dedup,
    };

    record_write_head(writer, out, &head);
}

/* The next entry that stays, as it is then. */
static bool next_kept(const struct redo *redo, struct entry_walk *walk, struct entry *entry)
{
    struct alias alias;

    while (entry_next(walk, entry)) {
        if (redo->settles &&
            (alias_is_late(entry) ||
             (entry->kind == ENTRY_ALIAS && stamp_compare(entry->stamp, redo->kept) != 0))) {
            continue;
        }
        if (redo->arrived_id != 0 && entry->kind == ENTRY_ALIAS &&
            alias_read(entry->value, &alias) && alias.id == redo->arrived_id) {
            continue; /* It comes last: its stamp is the newest. */
        }
        return true;
    }
    return false;
}

/* The alias that gets another value: the newest of that id. */
static bool find_arrived(const struct redo *redo, struct entry *found)
{
    struct entry_walk walk = entry_walk(&redo->old);
    struct entry entry;
    struct alias alias;
    bool is = false;

    while (redo->arrived_id != 0 && entry_next(&walk, &entry)) {
        if (entry.kind == ENTRY_ALIAS && alias_read(entry.value, &alias) &&
            alias.id == redo->arrived_id) {
            *found = entry;
            found->stamp = redo->stamp;
            found->value = redo->value;
            is = true;
        }
    }
    return is;
}

/* Does something that stays refer to this birth? */
static bool birth_stays(const struct redo *redo, const struct birth *birth)
{
    struct entry_walk walk = entry_walk(&redo->old);
    struct entry entry;
    bool stays = birth->type != 0;

    while (!stays && next_kept(redo, &walk, &entry)) {
        stays = stamp_compare(entry.birth.stamp, birth->stamp) == 0;
    }
    return stays ||
           (find_arrived(redo, &entry) && stamp_compare(entry.birth.stamp, birth->stamp) == 0);
}

static uint32_t put_births(const struct redo *redo, struct record_writer *writer)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < redo->old.birth_count; i++) {
        struct birth birth = record_birth(&redo->old, i);
        if (birth_stays(redo, &birth)) {
            count++;
            if (writer != NULL) {
                record_write_birth(writer, &birth);
            }
        }
    }
    return count;
}

static int write_out(const struct redo *redo, struct buffer *out)
{
    struct entry_walk walk = entry_walk(&redo->old);
    struct record_writer writer;
    struct entry entry, arrived;
    bool has_arrived = find_arrived(redo, &arrived);

    write_head(redo, &writer, put_births(redo, NULL), out);
    put_births(redo, &writer);
    record_write_dedup(&writer, &redo->dedup);
    while (writer.rc == 0 && next_kept(redo, &walk, &entry)) {
        if (has_arrived && entry.kind > ENTRY_ALIAS) {
            record_write_entry(&writer, &arrived);
            has_arrived = false;
        }
        record_write_entry(&writer, &entry);
    }
    if (has_arrived) {
        record_write_entry(&writer, &arrived);
    }
    int rc = record_write_end(&writer);
    return rc == 0 && walk.in.bad ? -EBADMSG : rc;
}

int alias_begin(struct bytes record, struct stamp stamp, const struct alias *alias,
                uint64_t until_hlc, struct buffer *out)
{
    uint8_t value[ALIAS_HEAD_BYTES + KEY_BYTES_MAX];
    struct record_writer writer;
    struct leader leader;
    struct redo redo;
    int rc = begin(&redo, record, stamp);

    if (rc != 0) {
        return rc;
    }
    leader_find(&redo.old, &leader);
    if (!leader.found) {
        return -EBADMSG;
    }
    struct birth birth = leader.birth;
    birth.type = 0;
    if (until_hlc > redo.death.until) { /* With a death that ends none of this incarnation's. */
        redo.death = death_join(redo.death, (struct death){birth.stamp.hlc - 1, until_hlc});
        redo.death.until = redo.death.until > redo.death.hlc ? redo.death.until : redo.death.hlc;
    }
    const uint8_t *end = alias_put(value, alias);
    const struct entry entry = {
        .kind = ENTRY_ALIAS,
        .stamp = stamp,
        .birth = birth,
        .name = bytes_of(redo.old.end, 0),
        .value = bytes_of(value, (size_t)(end - value)),
    };
    const struct dedup_item item = {
        .client = ALIAS_CLIENT, .sequence = alias->id, .stamp = stamp, .results = entry.name};
    dedup_add(&redo.dedup, &item, 0);
    write_head(&redo, &writer, 1, out);
    record_write_birth(&writer, &birth);
    record_write_dedup(&writer, &redo.dedup);
    record_write_entry(&writer, &entry);
    return record_write_end(&writer);
}

int alias_arrive(struct bytes record, struct stamp stamp, uint64_t id, struct stamp birth,
                 struct buffer *out)
{
    uint8_t value[ALIAS_HEAD_BYTES + KEY_BYTES_MAX];
    struct entry entry;
    struct alias alias;
    struct redo redo;
    int rc = begin(&redo, record, stamp);

    if (rc != 0) {
        return rc;
    }
    redo.arrived_id = id;
    if (!find_arrived(&redo, &entry)) {
        return -ENOENT;
    }
    struct entry_walk walk = entry_walk(&redo.old);
    while (entry_next(&walk, &entry)) {
        if (entry.kind == ENTRY_ALIAS && alias_read(entry.value, &alias) && alias.id == id) {
            alias.birth = birth;
            redo.value = bytes_of(value, (size_t)(alias_put(value, &alias) - value));
        }
    }
    return write_out(&redo, out);
}

int alias_settle(struct bytes record, struct stamp stamp, struct buffer *out)
{
    struct aliases aliases;
    struct redo redo;
    int rc = begin(&redo, record, stamp);

    rc = rc != 0 ? rc : alias_find(record, &aliases);
    if (rc != 0 || aliases.count == 0) {
        return rc != 0 ? rc : -ENOENT;
    }
    redo.settles = true;
    if (!aliases.ended) {
        redo.kept = aliases.stamp;
    }
    return write_out(&redo, out);
}
