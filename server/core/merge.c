/* The join of two states of one session.
 *
 * Versions, death, last access and dedup window join by themselves: by maximum, or as dedup.h says. An
 * entry in both states stays. One that only one state has stays unless the other's version covers its
 * stamp: the other has seen it then, and replaced or removed it. What the joined death ends is dropped:
 * all entries of a birth at or below its hlc (delete wins over what was written concurrently to that
 * incarnation), and those of a blind birth at or below its `until`; but an alias (alias.h), which no death ends.
 * Births that nothing refers to leave with their last entry. The entry of a birth's type lies in the birth and joins
 * the same way.
 *
 * This is the optimized observed-remove set (Bieniusa et al., "An Optimized Conflict-free Replicated
 * Set", 2012) with one more way to die, by a threshold that only grows. It needs each state's version
 * to cover all its stamps; session_check() holds outside bytes to that. Nothing is ever capped here:
 * dropping a sibling would make the result depend on the order of joins.
 *
 * The last access is forgotten when a death after it is known, and by nothing else: dropping it with
 * the idle timeout's entry, or with the last entry, would not be associative.
 *
 * A delta joins the same way, but that names it does not mention are as they were: for those, what only
 * the local copy has stays. That gives what the full record would give, because a copy that covers the
 * delta's base has seen everything that the untouched names went through up to the base, and the write
 * did nothing to them.
 */
#include "session.h"

#include <errno.h>

#include "record.h"

struct join {
    const struct record *a, *b;
    bool delta;        /* b is one. */
    bool ends_aliases; /* The death does end them. */
    struct death death;
    struct entry_walk walk_a, walk_b;
    struct entry next_a, next_b;
    bool has_a, has_b;
    struct entry last_b; /* Of a delta: the newest name it told. */
    bool has_last_b;
};

static void advance_a(struct join *join)
{
    join->has_a = entry_next(&join->walk_a, &join->next_a);
}

static void advance_b(struct join *join)
{
    if (join->delta) {
        join->last_b = join->next_b;
        join->has_last_b = true;
    }
    join->has_b = entry_next(&join->walk_b, &join->next_b);
}

static void rewind_join(struct join *join)
{
    join->walk_a = entry_walk(join->a);
    join->walk_b = entry_walk(join->b);
    join->has_a = entry_next(&join->walk_a, &join->next_a);
    join->has_b = entry_next(&join->walk_b, &join->next_b);
    join->has_last_b = false;
}

/* One stamp, two contents: no writer of ours does that, but bytes may be wrong, and even then all
 * copies must come to the same. */
static bool prefer_b(const struct entry *a, const struct entry *b)
{
    int order = stamp_compare(a->birth.stamp, b->birth.stamp);

    order = order != 0 ? order : bytes_compare(a->value, b->value);
    order = order != 0 ? order : (a->ms > b->ms) - (a->ms < b->ms);
    order = order != 0 ? order : (a->sum > b->sum) - (a->sum < b->sum);
    order = order != 0 ? order : stamp_compare(a->base, b->base);
    if (order == 0) {
        order = (a->deadline_ms > b->deadline_ms) - (a->deadline_ms < b->deadline_ms);
    }
    return order < 0;
}

/* Does the delta say what became of the name of this entry of a? */
static bool told(const struct join *join, const struct entry *entry)
{
    return (join->has_b && entry_compare_names(&join->next_b, entry) == 0) ||
           (join->has_last_b && entry_compare_names(&join->last_b, entry) == 0);
}

static bool stays_from_a(const struct join *join, const struct entry *entry)
{
    return !version_covers(&join->b->version, entry->stamp) || (join->delta && !told(join, entry));
}

static bool is_ended(const struct join *join, const struct entry *entry)
{
    return (entry->kind != ENTRY_ALIAS || join->ends_aliases) &&
           death_ends(join->death, entry->birth.stamp.hlc, entry->birth.blind);
}

/* The next entry of the joined state. */
static bool join_next(struct join *join, struct entry *entry, bool *from_b)
{
    while (join->has_a || join->has_b) {
        int order = !join->has_a   ? 1
                    : !join->has_b ? -1
                                   : entry_compare(&join->next_a, &join->next_b);
        bool stays = true;

        *from_b = order > 0 || (order == 0 && prefer_b(&join->next_a, &join->next_b));
        *entry = *from_b ? join->next_b : join->next_a;
        if (order < 0) {
            stays = stays_from_a(join, entry);
        } else if (order > 0) {
            stays = !entry->gone && !version_covers(&join->a->version, entry->stamp);
        }
        if (order <= 0) {
            advance_a(join);
        }
        if (order >= 0) {
            advance_b(join);
        }
        if (stays && !is_ended(join, entry)) {
            return true;
        }
    }
    return false;
}

/* Births that entries of the joined state refer to, by index in a and in b. */
struct births_used {
    bool known;
    uint64_t a, b;
};

enum { BIRTHS_MARKED = 64 };

static void mark_births(struct join *join, struct births_used *used)
{
    struct entry entry;
    bool from_b;

    *used = (struct births_used){.known = true};
    rewind_join(join);
    while (join_next(join, &entry, &from_b)) {
        if (entry.birth_index < BIRTHS_MARKED) {
            *(from_b ? &used->b : &used->a) |= UINT64_C(1) << entry.birth_index;
        }
    }
}

/* The slow way, for what no one has met: more than 64 concurrent births. */
static bool is_referred_to(struct join *join, struct stamp birth)
{
    struct entry entry;
    bool from_b, found = false;

    rewind_join(join);
    while (!found && join_next(join, &entry, &from_b)) {
        found = stamp_compare(entry.birth.stamp, birth) == 0;
    }
    return found;
}

/* Both tables of births as one, in order. */
struct births {
    uint32_t a, b;
    struct births_used used;
};

/* The type's entry of a birth after the join; 0 when it goes. */
static uint8_t join_type(const struct join *join, const struct birth *a, const struct birth *b)
{
    if (a != NULL && b != NULL && a->type != 0 && b->type != 0) {
        return a->type;
    }
    if (a != NULL && a->type != 0) {
        bool untold = join->delta && b == NULL;
        return untold || !version_covers(&join->b->version, a->stamp) ? a->type : 0;
    }
    if (b != NULL && b->type != 0) {
        return version_covers(&join->a->version, b->stamp) ? 0 : b->type;
    }
    return 0;
}

static bool birth_used(struct join *join, struct births *births, const struct birth *birth,
                       bool in_a, bool in_b)
{
    uint32_t a = births->a - in_a, b = births->b - in_b;

    if ((in_a && a >= BIRTHS_MARKED) || (in_b && b >= BIRTHS_MARKED)) {
        return is_referred_to(join, birth->stamp);
    }
    if (!births->used.known) {
        mark_births(join, &births->used);
    }
    return (in_a && (births->used.a >> a & 1) != 0) || (in_b && (births->used.b >> b & 1) != 0);
}

/* Returns 1 with the next birth that stays, 0 at the end, -EBADMSG where the two contradict. */
static int births_next(struct join *join, struct births *births, struct birth *birth)
{
    while (births->a < join->a->birth_count || births->b < join->b->birth_count) {
        bool in_a = births->a < join->a->birth_count, in_b = births->b < join->b->birth_count;
        struct birth a = {0}, b = {0};

        if (in_a) {
            a = record_birth(join->a, births->a);
        }
        if (in_b) {
            b = record_birth(join->b, births->b);
        }
        if (in_a && in_b) {
            int order = stamp_compare(a.stamp, b.stamp);
            in_a = order <= 0;
            in_b = order >= 0;
        }
        births->a += in_a;
        births->b += in_b;
        if (in_a && in_b &&
            (a.blind != b.blind || a.fades != b.fades ||
             (a.type != b.type && a.type != 0 && b.type != 0))) {
            return -EBADMSG;
        }
        *birth = in_a ? a : b;
        bool ended = death_ends(join->death, birth->stamp.hlc, birth->blind);
        birth->type = ended ? 0 : join_type(join, in_a ? &a : NULL, in_b ? &b : NULL);
        if (birth->type != 0 || birth_used(join, births, birth, in_a, in_b)) {
            return 1;
        }
    }
    return 0;
}

static int write_join(struct join *join, struct record_head *head, struct buffer *out)
{
    struct record_writer writer;
    struct births births = {0};
    struct birth birth;
    struct entry entry;
    bool from_b;
    int rc;

    while ((rc = births_next(join, &births, &birth)) == 1) {
        head->birth_count++;
    }
    if (rc != 0) {
        return rc;
    }
    record_write_head(&writer, out, head);
    births.a = births.b = 0;
    while (births_next(join, &births, &birth) == 1) {
        record_write_birth(&writer, &birth);
    }
    record_write_dedup(&writer, head->dedup);
    rewind_join(join);
    while (writer.rc == 0 && join_next(join, &entry, &from_b)) {
        record_write_entry(&writer, &entry);
    }
    rc = record_write_end(&writer);
    return rc == 0 && (join->walk_a.in.bad || join->walk_b.in.bad) ? -EBADMSG : rc;
}

static int join_records(const struct record *a, const struct record *b, bool ends_aliases,
                        struct buffer *out)
{
    struct dedup dedup_a, dedup_b, dedup;
    struct join join = {
        .a = a,
        .b = b,
        .delta = b->format == RECORD_DELTA,
        .ends_aliases = ends_aliases,
        .death = death_join(a->version.death, b->version.death),
    };
    struct record_head head = {
        .format = RECORD_FORMAT,
        .key = a->key,
        .a = &a->version,
        .b = &b->version,
        .death = join.death,
        .last_access_ms =
            a->last_access_ms > b->last_access_ms ? a->last_access_ms : b->last_access_ms,
        .dedup = &dedup,
    };

    if (!bytes_equal(a->key, b->key)) {
        return -EBADMSG;
    }
    record_dedup(a, &dedup_a);
    record_dedup(b, &dedup_b);
    dedup_join((struct dedup_state){&dedup_a, &a->version},
               (struct dedup_state){&dedup_b, &b->version}, join.delta, &dedup);
    return write_join(&join, &head, out);
}

int session_merge(struct bytes a, struct bytes b, struct buffer *out)
{
    struct record record_a, record_b;

    if (record_open(&record_a, a, RECORD_FORMAT) != 0 ||
        record_open(&record_b, b, RECORD_FORMAT) != 0) {
        return -EBADMSG;
    }
    return join_records(&record_a, &record_b, false, out);
}

int session_end(struct bytes record, uint64_t hlc, struct buffer *out)
{
    struct record opened, end;

    if (record_open(&opened, record, RECORD_FORMAT) != 0 || hlc > opened.version.newest.hlc) {
        return -EBADMSG;
    }
    record_init(&end, opened.key);
    end.version.death = (struct death){hlc, hlc};
    return join_records(&opened, &end, true, out);
}

int session_stamp(struct bytes record, struct stamp stamp, struct buffer *out)
{
    struct record opened, write;

    if (record_open(&opened, record, RECORD_FORMAT) != 0 || stamp.hlc <= record_newest(&opened)) {
        return -EBADMSG;
    }
    record_init(&write, opened.key);
    write.format = RECORD_DELTA; /* So what it does not tell of stays. */
    version_init_stamp(&write.version, stamp);
    return join_records(&opened, &write, false, out);
}

int session_apply_delta(struct bytes record, struct bytes delta, struct buffer *out)
{
    struct record local, news;

    if (record_open(&news, delta, RECORD_DELTA) != 0) {
        return -EBADMSG;
    }
    record_init(&local, news.key);
    if (record.size != 0 && record_open(&local, record, RECORD_FORMAT) != 0) {
        return -EBADMSG;
    }
    int covered = delta_base_covered(&news, &local.version);
    if (covered != 1) {
        return covered == 0 ? -ESTALE : covered;
    }
    return join_records(&local, &news, false, out);
}

int session_bury(struct bytes record, struct stamp stamp, bool seen_only, struct buffer *out)
{
    struct record_writer writer;
    struct version stamped;
    struct record opened;
    struct dedup dedup;

    if (record_open(&opened, record, record_format(record)) != 0) {
        return -EBADMSG;
    }
    if (stamp.hlc <= record_newest(&opened)) {
        return -EINVAL;
    }
    uint64_t death_hlc = seen_only ? record_newest(&opened) : stamp.hlc;
    version_init_stamp(&stamped, stamp);
    record_dedup(&opened, &dedup);
    struct record_head head = {
        .format = RECORD_FORMAT,
        .key = opened.key,
        .a = &opened.version,
        .b = &stamped,
        .death = death_join(opened.version.death, (struct death){death_hlc, death_hlc}),
        .last_access_ms = opened.last_access_ms,
        .dedup = &dedup,
    };
    record_write_head(&writer, out, &head);
    record_write_dedup(&writer, &dedup);
    return record_write_end(&writer);
}

int session_empty(struct bytes record, struct buffer *out)
{
    struct record_writer writer;
    struct record opened;
    struct version nothing;
    static const struct dedup no_dedup;

    if (record_open(&opened, record, record_format(record)) != 0) {
        return -EBADMSG;
    }
    version_init(&nothing);
    const struct record_head head = {
        .format = RECORD_FORMAT,
        .key = opened.key,
        .a = &opened.version,
        .b = &nothing,
        .death = opened.version.death,
        .dedup = &no_dedup,
    };
    record_write_head(&writer, out, &head);
    record_write_dedup(&writer, &no_dedup);
    return record_write_end(&writer);
}
