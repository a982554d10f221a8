/* The thread that makes the archive's objects: it reads the log of all shards, asks them for sessions that have to go whole,
 * and compresses. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "container.h"
#include "node_archive.h"
#include "node_archive_private.h"

enum {
    ARCHIVE_NICE = 10,
    SHARE_BYTES_MIN = 1024 * 1024, /* Of a shard in an object. */
    /* It runs beside those who serve. Measured with sessions in JSON, against level 1: 40 % less of its time, for 0.28 of the
     * log in place of 0.20; and where nothing can be compressed that is found out in half the time. */
    ZSTD_LEVEL = -3,
};

/* ---- Sessions that have to go whole ---- */

struct asking {
    struct archive_feed_source source;
    struct node_archive *archive;
    uint32_t shard;
};

/* What a checkpoint has of one key. */
struct fetching {
    uint64_t position;
    struct bytes key;
    struct buffer *to;
    bool found, damaged;
    int rc;
};

static int fetched(void *context, struct checkpoint_key key, struct bytes record)
{
    struct fetching *fetching = context;

    if (key.position != fetching->position) {
        return -ECANCELED; /* It is behind. */
    }
    if (record.size == 0) {
        fetching->damaged = true; /* It may be this one. */
    } else if (bytes_equal(session_key(record), fetching->key)) {
        fetching->rc = buffer_append(fetching->to, record);
        fetching->found = fetching->rc == 0;
    }
    return 0;
}

static void tell_damage(struct node_archive *archive, struct bytes key)
{
    if (!archive->told_damage) {
        archive->told_damage = true;
        logger_write(archive->node->world.logger, LOG_LEVEL_ERROR, "archive-damaged-session",
                     LOG_BYTES("key", key),
                     LOG_TEXT("effect",
                              "it goes to the archive as what was changed of it alone; it "
                              "is the first one that does"));
    }
}

static struct store *store_of(const struct asking *asking)
{
    return asking->archive->node->shards[asking->shard].store;
}

/* Append what the store's checkpoint has of a cold session. What does not read back comes never: what was changed of it
 * goes then, and holds up nobody else. */
static int fetch(struct asking *asking, struct archive_feed_ask *ask)
{
    struct node_archive *archive = asking->archive;
    struct fetching fetching = {.position = ask->position, .key = ask->key, .to = &archive->found};
    struct checkpoint_key from = {.position = ask->position};

    int rc = store_scan(store_of(asking), &from, SIZE_MAX, fetched, &fetching);
    if (fetching.rc != 0) {
        return fetching.rc;
    }
    if (fetching.found) {
        ask->found = ARCHIVE_FEED_WHOLE;
        return 0;
    }
    if (rc == -EBADMSG || fetching.damaged) {
        tell_damage(archive, ask->key);
        ask->found = ARCHIVE_FEED_NONE;
        return 0;
    }
    ask->found = ARCHIVE_FEED_UNKNOWN; /* It is not cold any more, or was left out. */
    return rc == -ECANCELED ? 0 : rc;
}

static int ask_shard(struct node_archive *archive, uint32_t shard,
                     const struct archive_feed_ask *asks, uint32_t count)
{
    struct plane_records *records = &archive->records;
    struct plane *plane = archive->node->plane;
    uint8_t head[8 + 10];
    int rc = 0;

    records->keys.size = 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        store_u64(head, asks[i].position);
        uint8_t *end = varint_put(head + 8, asks[i].key.size);
        rc = buffer_append(&records->keys, bytes_of(head, (size_t)(end - head)));
        rc = rc != 0 ? rc : buffer_append(&records->keys, asks[i].key);
    }
    if (rc == 0 && archive->stopped) {
        plane_records_stopped(plane, shard, records);
    } else if (rc == 0) {
        rc = plane_records(plane, shard, records);
    }
    if (rc == 0 && records->lsn > archive->needs[shard]) {
        archive->needs[shard] = records->lsn;
    }
    return rc;
}

/* The answers so far: where each record lies in `found`. */
struct answers {
    size_t at[ARCHIVE_FEED_ASKS_MAX], size[ARCHIVE_FEED_ASKS_MAX];
    bool missed[ARCHIVE_FEED_ASKS_MAX]; /* It is cold, and the checkpoint has none of it. */
};

/* Take what the shard answered of those from `first` on. */
static int take_answers(struct asking *asking, struct archive_feed_ask asks[], uint32_t first,
                        struct answers *answers)
{
    struct node_archive *archive = asking->archive;
    const struct plane_records *records = &archive->records;
    const uint8_t *from = records->found.data;
    int rc = 0;

    for (uint32_t i = first; i < first + records->answered && rc == 0; i++) {
        struct plane_record_head head;
        memcpy(&head, from, sizeof head);
        from += sizeof head;
        answers->at[i] = archive->found.size;
        answers->missed[i] = false;
        if (head.what == PLANE_RECORD_COLD) {
            rc = fetch(asking, &asks[i]);
            answers->missed[i] = asks[i].found == ARCHIVE_FEED_UNKNOWN;
        } else {
            rc = buffer_append(&archive->found, bytes_of(from, head.size));
            asks[i].found = head.what == PLANE_RECORD_WHOLE  ? ARCHIVE_FEED_WHOLE
                            : head.what == PLANE_RECORD_NONE ? ARCHIVE_FEED_NONE
                                                             : ARCHIVE_FEED_UNKNOWN;
        }
        answers->size[i] = archive->found.size - answers->at[i];
        from += head.size;
    }
    return rc;
}

/* Ask the shard for those from `first` on, up to `end`. Returns how many it answered, or negative errno. */
static int ask_some(struct asking *asking, struct archive_feed_ask asks[], uint32_t first,
                    uint32_t end, struct answers *answers)
{
    struct node_archive *archive = asking->archive;

    int rc = ask_shard(archive, asking->shard, asks + first, end - first);
    if (rc == 0 && archive->records.answered == 0) {
        rc = -ENOMEM;
    }
    rc = rc != 0 ? rc : take_answers(asking, asks, first, answers);
    return rc != 0 ? rc : (int)archive->records.answered;
}

/* One that the checkpoint did not have: by now it may be in memory, or gone, or cold again. But where it did not read back
 * when the log was compacted it was left out for good, though the shard has it as cold for ever. */
static int look_again(struct asking *asking, struct archive_feed_ask asks[], uint32_t i,
                      struct answers *answers)
{
    uint32_t slot = slot_of_position(asks[i].position);

    if (!store_lacks(store_of(asking), slot)) {
        return 0;
    }
    int rc = ask_some(asking, asks, i, i + 1, answers);
    if (rc > 0 && answers->missed[i]) {
        tell_damage(asking->archive, asks[i].key);
        asks[i].found = ARCHIVE_FEED_NONE;
    }
    return rc < 0 ? rc : 0;
}

static int ask(struct archive_feed_source *source, struct archive_feed_ask asks[], uint32_t count)
{
    struct asking *asking = container_of(source, struct asking, source);
    struct node_archive *archive = asking->archive;
    struct answers answers;
    uint32_t done = 0;
    int rc = 0;

    archive->found.size = 0;
    while (done < count && rc >= 0) {
        rc = ask_some(asking, asks, done, count, &answers);
        done += rc < 0 ? 0 : (uint32_t)rc;
    }
    rc = rc < 0 ? rc : 0;
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        rc = answers.missed[i] ? look_again(asking, asks, i, &answers) : 0;
    }
    for (uint32_t i = 0; i < count && rc == 0; i++) {
        asks[i].record = bytes_of(archive->found.data + answers.at[i], answers.size[i]);
    }
    return rc;
}

/* ---- The log of one shard ---- */

struct feeding {
    struct log_visitor visitor;
    struct archive_feed *feed;
    uint64_t from, share;
    uint64_t damaged_bytes; /* Records that read back, and are none. */
    uint64_t gap_bytes;     /* Not there any more, or damaged, up to where it is... */
    uint64_t lost_bytes;    /* ... of which the feed knows of so many. */
    bool damaged;           /* Right before what comes next. */
    uint64_t gap_lsn;       /* Behind the last of it; 0: there is none. */
};

/* Is something missing right before this place? Nobody builds on what it was. */
static void tell_lost(struct feeding *feeding, uint64_t lsn)
{
    if (feeding->damaged || feeding->gap_bytes + feeding->damaged_bytes != feeding->lost_bytes) {
        feeding->lost_bytes = feeding->gap_bytes + feeding->damaged_bytes;
        feeding->damaged = false;
        feeding->gap_lsn = lsn;
        archive_feed_lost(feeding->feed);
    }
}

static int on_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct feeding *feeding = container_of(visitor, struct feeding, visitor);

    if (lsn > feeding->from && lsn - feeding->from >= feeding->share) {
        return 1; /* The rest goes into the next object. */
    }
    tell_lost(feeding, lsn);
    int rc = archive_feed_record(feeding->feed, lsn, (uint8_t)record->kind, record->position,
                                 record->body);
    if (rc == -EFBIG) {
        return 1;
    }
    if (rc == -EBADMSG) {
        feeding->damaged_bytes += log_record_size(record->body.size);
        rc = 0;
    }
    return rc;
}

static void on_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    (void)damage;
    container_of(visitor, struct feeding, visitor)->damaged = true;
}

static uint64_t share_of(const struct node_archive *archive)
{
    uint64_t share =
        archive->archiver.settings.object_bytes / archive->archiver.settings.shard_count;

    return share < SHARE_BYTES_MIN ? SHARE_BYTES_MIN : share;
}

/* Where the log is walked again, for what others stamped: what is missing of it was counted. */
static int follow_counted(struct node_archive *archive, uint32_t shard, struct log_follow *follow,
                          struct feeding *feeding, uint64_t *lsn)
{
    uint64_t to =
        archive->gaps[shard] < archive->to[shard] ? archive->gaps[shard] : archive->to[shard];

    if (*lsn >= to) {
        return 0;
    }
    int rc = log_follow(follow, lsn, to, &feeding->visitor, &feeding->gap_bytes);
    tell_lost(feeding, *lsn);
    feeding->gap_bytes = feeding->damaged_bytes = feeding->lost_bytes = feeding->gap_lsn = 0;
    return rc;
}

/* Sets to[shard] to how far the object has its log. */
static int feed_shard(struct node_archive *archive, uint32_t shard)
{
    struct node *node = archive->node;
    struct log_follow follow;
    struct feeding feeding = {
        .visitor = {.record = on_record, .damage = on_damage},
        .feed = &archive->feed,
        .from = archive->from[shard],
        .share = share_of(archive),
    };
    struct asking asking = {.source = {ask}, .archive = archive, .shard = shard};
    uint64_t lsn = archive->from[shard];

    archive_feed_shard(&archive->feed, shard, archive->others.own_lsn[shard]);
    log_follow_init(&follow, store_segments(node->shards[shard].store), files_system(),
                    &node->memory);
    int rc = follow_counted(archive, shard, &follow, &feeding, &lsn);
    if (rc == 0) {
        rc = log_follow(&follow, &lsn, archive->to[shard], &feeding.visitor, &feeding.gap_bytes);
    }
    log_follow_fini(&follow);
    tell_lost(&feeding, lsn);
    archive->others.walked[shard] = lsn;
    if (rc == 0 || rc == 1) {
        rc = archive_feed_settle(&archive->feed, &asking.source, &lsn);
    }
    if (lsn == archive->others.walked[shard]) {
        archive->others.own_hlc[shard] = archive->feed.own_hlc;
    }
    archive->to[shard] = lsn;
    uint64_t gaps = feeding.gap_lsn < lsn ? feeding.gap_lsn : lsn; /* The rest comes again. */
    if (gaps > archive->gaps_to[shard]) {
        archive->gaps_to[shard] = gaps;
    }
    archive->lost[shard] = feeding.gap_bytes + feeding.damaged_bytes > 0 ? lsn : 0;
    archive->built.gap_bytes += feeding.gap_bytes + feeding.damaged_bytes;
    archive->built.baseless = archive->feed.baseless;
    return rc;
}

/* A shard that has appended nothing since: all that it has stamped is in the archive with this object, and what it will
 * stamp is later. Where one does not answer, less is known than is true, and no other is waited for. */
static void ask_stamped(struct node_archive *archive, uint32_t shard)
{
    struct plane_basis basis = {.vectors = {.memory = &archive->node->memory}};

    int rc = plane_basis(archive->node->plane, shard, false, &basis);
    if (rc == 0 && basis.lsn <= archive->to[shard]) {
        archive->others.own_hlc[shard] = basis.hlc;
    }
    archive->others.asks = rc != -ETIMEDOUT;
    buffer_fini(&basis.vectors);
}

/* ---- Jobs ---- */

static int make_object(struct node_archive *archive)
{
    struct archiver_built *built = &archive->built;

    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        int rc =
            archive_writer_shard(&archive->writer, i, archive->said[i], archive_said(archive, i));
        if (rc != 0) {
            return rc;
        }
    }
    built->records = archive->writer.records;
    built->raw_bytes = archive->writer.record_bytes;
    if (built->records == 0 && !archive->bare) {
        return 0;
    }
    int rc = archive_writer_make(&archive->writer, &archive->object);
    if (rc == 0) { /* Not on the control thread, which has no low priority. */
        object_store_hash(archive->store, archive->object, archive->object_hash);
    }
    built->object_bytes = archive->object.size;
    return rc;
}

/* One without records. What is missing behind it was stamped by now. Where a shard does not answer, that is not said. */
static int make_bare(struct node_archive *archive)
{
    uint64_t newest = 0;
    int rc = 0;

    for (uint32_t i = 0; i < archive->node->shard_count && rc == 0; i++) {
        struct plane_basis basis = {.vectors = {.memory = &archive->node->memory}};
        rc = archive->stopped ? -ECANCELED : plane_basis(archive->node->plane, i, false, &basis);
        newest = rc == 0 && basis.hlc > newest ? basis.hlc : newest;
        buffer_fini(&basis.vectors);
    }
    if (rc == 0) {
        archive_writer_reach(&archive->writer, newest, newest);
    }
    return make_object(archive);
}

/* The log of all shards. */
static int feed_all(struct node_archive *archive)
{
    bool moved = false;
    int rc = 0;

    archive_feed_begin(&archive->feed, archive->anew, archive->others.taken,
                       archive->others.taken_count);
    memset(archive->lost, 0, sizeof archive->lost);
    for (uint32_t i = 0; i < archive->node->shard_count && rc == 0; i++) {
        if (archive->to[i] > archive->from[i]) {
            rc = feed_shard(archive, i);
            moved = moved || archive->to[i] > archive->from[i];
        }
        if (rc == 0 && archive->others.asks && !archive->stopped) {
            ask_stamped(archive, i);
        }
    }
    if (rc == -ETIMEDOUT) {
        rc = -EAGAIN; /* The shard is busy. */
    }
    return rc != 0 ? rc : moved ? make_object(archive) : -EAGAIN;
}

static void build(struct node_archive *archive)
{
    struct archive_writer_options options = {
        .name = archive_name_of(archive, ARCHIVE_LOG, archive->job_sequence, 0),
        .made_ms = archive->made_ms,
        .level = ZSTD_LEVEL,
        .key = archive->keys.count > 0 ? &archive->keys.keys[0] : NULL,
    };

    if (options.key != NULL &&
        getrandom(options.salt, sizeof options.salt, 0) != sizeof options.salt) {
        archive->built = (struct archiver_built){.rc = -EIO};
        return;
    }
    archive->built = (struct archiver_built){.to = archive->to, .needs = archive->needs};
    memset(archive->needs, 0, sizeof archive->needs);
    archive_writer_begin(&archive->writer, &options);
    archive->built.rc = archive->bare ? make_bare(archive) : feed_all(archive);
}

static void keep(struct node_archive *archive)
{
    archive->kept_rc = 0;
    for (uint32_t i = 0; i < archive->node->shard_count; i++) {
        const struct archive_mark mark = {
            .lsn = archive->to[i],
            .actor = archive->node->directory.meta.actor,
            .log_sequence = archive->job_sequence,
            .checkpoint_sequence = archive->job_checkpoints,
            .based = archive->job_based[i],
            .place = node_archive_place_id(archive->node),
        };
        int rc = store_set_archived(archive->node->shards[i].store, &mark);
        archive->kept_rc = rc != 0 ? rc : archive->kept_rc;
    }
}

void *node_archive_main(void *context)
{
    struct node_archive *archive = context;

    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), ARCHIVE_NICE);
    pthread_mutex_lock(&archive->lock);
    while (archive->job != ARCHIVE_JOB_END) {
        struct archive_side *side = &archive->side;
        bool idle = archive->job == ARCHIVE_JOB_NONE || archive->done;
        if (idle && side->job != ARCHIVE_SIDE_NONE && !side->done) {
            pthread_mutex_unlock(&archive->lock);
            archive_side_work(archive);
            pthread_mutex_lock(&archive->lock);
            side->done = true;
            uv_async_send(&archive->wake);
            continue;
        }
        if (idle) {
            pthread_cond_wait(&archive->changed, &archive->lock);
            continue;
        }
        enum archive_job job = archive->job;
        pthread_mutex_unlock(&archive->lock);
        if (job == ARCHIVE_JOB_BUILD) {
            build(archive);
        } else {
            keep(archive);
        }
        pthread_mutex_lock(&archive->lock);
        archive->done = true;
        uv_async_send(&archive->wake);
    }
    pthread_mutex_unlock(&archive->lock);
    return NULL;
}
