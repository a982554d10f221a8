#include "adopt.h"

#include <errno.h>

#include "alias.h"
#include "record.h"

/* What is made on the way: the moved version (two, as a join is never written over a part of it), and an alias. */
struct work {
    struct buffer versions[2], alias;
    struct version version;
};

static struct actor moved(struct actor actor)
{
    actor.node += actor.node == 0 ? 0 : ADOPT_NODES;
    return actor;
}

static struct stamp moved_stamp(struct stamp stamp)
{
    stamp.actor = moved(stamp.actor);
    return stamp;
}

/* The version, actor by actor. */
static int move_version(struct work *work, const struct version *from)
{
    struct version_walk walk = version_walk(from);
    const struct death none = {0, 0};
    struct version_item item;
    uint32_t turn = 0;
    int rc = 0;

    version_init(&work->version);
    while (rc == 0 && version_next(&walk, &item)) {
        struct version before = work->version, one;
        if (item.actor.node > UINT32_MAX - ADOPT_NODES) {
            return -EOVERFLOW;
        }
        version_init_stamp(&one, (struct stamp){item.hlc, moved(item.actor)});
        work->versions[turn].size = 0;
        rc = version_put_join(&work->versions[turn], &before, &one, none, &work->version);
        turn = 1 - turn;
    }
    return rc;
}

static void move_birth(struct birth *birth)
{
    birth->stamp = moved_stamp(birth->stamp);
}

/* An alias knows the birth of a session. Returns 0 or -ENOMEM. */
static int move_alias(struct work *work, struct entry *entry)
{
    struct alias alias;

    if (!alias_read(entry->value, &alias)) {
        return 0;
    }
    alias.birth = moved_stamp(alias.birth);
    work->alias.size = 0;
    int rc = buffer_reserve(&work->alias, ALIAS_HEAD_BYTES + alias.key.size);
    if (rc == 0) {
        work->alias.size = (size_t)(alias_put(work->alias.data, &alias) - work->alias.data);
        entry->value = buffer_bytes(&work->alias);
    }
    return rc;
}

static int move_entries(struct work *work, const struct record *opened,
                        struct record_writer *writer)
{
    struct entry_walk walk = entry_walk(opened);
    struct entry entry;
    int rc = 0;

    /* One alias at a time is in the work's buffer: the writer takes it with the next call. */
    while (rc == 0 && entry_next(&walk, &entry)) {
        struct buffer kept = work->alias;
        move_birth(&entry.birth);
        entry.stamp = moved_stamp(entry.stamp);
        entry.base = moved_stamp(entry.base);
        if (entry.kind == ENTRY_ALIAS) {
            work->alias = (struct buffer){.memory = kept.memory};
            rc = move_alias(work, &entry);
        }
        if (rc == 0) {
            record_write_entry(writer, &entry);
        }
        if (entry.kind == ENTRY_ALIAS) {
            buffer_fini(&kept);
        }
    }
    if (rc == 0) {
        rc = record_write_end(writer);
    }
    return rc != 0 ? rc : walk.in.bad ? -EBADMSG : 0;
}

static int adopt(struct work *work, struct bytes record, struct buffer *out)
{
    struct record_writer writer;
    struct record opened;
    struct dedup dedup;

    int rc = record_open_dedup(&opened, record, RECORD_FORMAT, &dedup);
    rc = rc != 0 ? rc : move_version(work, &opened.version);
    if (rc != 0) {
        return rc;
    }
    for (uint32_t i = 0; i < dedup.count; i++) {
        dedup.items[i].stamp = moved_stamp(dedup.items[i].stamp);
    }
    record_write_head(&writer, out,
                      &(struct record_head){
                          .format = RECORD_FORMAT,
                          .key = opened.key,
                          .a = &work->version,
                          .b = &work->version,
                          .death = opened.version.death,
                          .last_access_ms = opened.last_access_ms,
                          .birth_count = opened.birth_count,
                          .dedup = &dedup,
                      });
    if (writer.rc != 0) {
        return writer.rc;
    }
    for (uint32_t i = 0; i < opened.birth_count; i++) {
        struct birth birth = record_birth(&opened, i);
        move_birth(&birth);
        record_write_birth(&writer, &birth);
    }
    record_write_dedup(&writer, &dedup);
    return move_entries(work, &opened, &writer);
}

int session_adopt(struct bytes record, struct buffer *out)
{
    struct work work = {
        .versions = {{.memory = out->memory}, {.memory = out->memory}},
        .alias = {.memory = out->memory},
    };

    int rc = adopt(&work, record, out);
    buffer_fini(&work.versions[0]);
    buffer_fini(&work.versions[1]);
    buffer_fini(&work.alias);
    return rc;
}

bool session_is_adopted(struct bytes record)
{
    struct record opened;
    struct version_item item;
    bool is = false;

    if (record_open_head(&opened, record, record_format(record)) != 0) {
        return false;
    }
    struct version_walk walk = version_walk(&opened.version);
    while (!is && version_next(&walk, &item)) {
        is = item.actor.node >= ADOPT_NODES;
    }
    return is;
}
