#include "move.h"
#include "shard_state.h"
#include "version.h"

enum {
    SCAN_VISITS_PER_KEY = 10, /* A scan that finds little looks at this many times its count... */
    SCAN_VISITS_MAX = 16384,  /* ... or this, whichever is less... */
    SCAN_KEYS_BYTES_MAX =
        256 * 1024, /* ... and gives no more than this, and one position's keys. */
};

static const char older_text[] =
    "the copy on this node is older than the version asked for, or is not there";

/* ---- GET ---- */

static bool names_are_well_formed(struct bytes names)
{
    struct reader reader = reader_of(names);

    while (reader_left(&reader) > 0) {
        read_string(&reader);
    }
    return !reader.bad;
}

/* Log that the session was used, so that a restart does not let it die early. Where the log takes
 * nothing, reads go on, and the next part of the idle timeout is another chance. */
static void log_touch(struct shard *shard, const struct request *request)
{
    uint8_t ms[VARINT_BYTES_MAX];
    const uint8_t *end = varint_put(ms, shard->now_ms);
    const struct bytes parts[] = {bytes_of(ms, (size_t)(end - ms)), request->key};

    if (shard_append(shard, LOG_TOUCH, request->position, request->key, parts, 2) == 0) {
        shard->stats.touches_logged++;
    }
}

/* Slide the idle deadline of the session in view, in its stored bytes, and take the view again. */
static void touch(struct shard *shard, const struct request *request)
{
    struct session_view *view = &shard->view;
    uint64_t before_ms = view->last_access_ms, part_ms = session_idle_part_ms(view->idle_ms);
    size_t size = 0;
    uint8_t *stored = keeper_find_mutable(shard->keeper, request->position, request->key, &size);

    if (!session_touch_in_place(stored, size, shard->now_ms)) {
        return;
    }
    if (before_ms <= shard->restored_ms || before_ms / part_ms != shard->now_ms / part_ms) {
        log_touch(shard, request);
    }
    session_open(view, bytes_of(stored, size), shard->now_ms); /* It could be opened just before. */
}

static bool touches(const struct shard *shard, const struct request *request,
                    const struct policy *policy)
{
    return policy->touch_on_read && (request->flags & GET_NO_TOUCH) == 0 &&
           shard->view.idle_ms > 0 && shard->view.last_access_ms < shard->now_ms;
}

void shard_use(struct shard *shard, const struct request *request, const struct policy *policy)
{
    if (touches(shard, request, policy)) {
        touch(shard, request);
    }
}

/* Nothing is there. Had this shard all that the token says? It has what this life of the node stamped in the slot's present
 * era, and of the lives before what was stamped up to the newest time that came back: a crash takes the end.
 * What it had and has no more has ended, and its tombstone too. */
static bool had_all(const struct shard *shard, uint32_t slot, struct bytes token)
{
    const struct actor self = eras_last(&shard->eras, slot);
    const bool lacks = eras_may_lack(&shard->eras, slot);
    struct reader reader = reader_of(token);
    struct version version;
    struct version_item item;

    if (!version_read(&reader, true, &version)) {
        return false;
    }
    for (struct version_walk walk = version_walk(&version); version_next(&walk, &item);) {
        if (item.actor.node != self.node ||
            ((lacks || item.actor.start != self.start) && item.hlc > shard->restored_hlc)) {
            return false;
        }
    }
    return true;
}

/* Check the request's floor. Returns OK, UNAVAILABLE or INVALID. */
static enum status check_floor(const struct shard *shard, const struct request *request,
                               struct bytes record)
{
    if (request->version.size == 0) {
        return STATUS_OK;
    }
    int covers = session_covers(record, request->version);
    if (covers < 0) {
        return STATUS_INVALID;
    }
    return covers == 1 || (record.size == 0 &&
                           had_all(shard, shard_slot(request->position), request->version))
               ? STATUS_OK
               : STATUS_UNAVAILABLE;
}

static void get_miss(struct shard *shard, const struct request *request, uint64_t now_us)
{
    shard->stats.misses++;
    shard_answer_error(shard, request, STATUS_NOT_FOUND, NULL, now_us);
}

/* Answer with the live session in view. */
static void get_hit(struct shard *shard, const struct request *request, uint64_t now_us)
{
    const struct policy *policy = policy_of_key(shard->policies, request->key);
    struct session_view *view = &shard->view;

    shard_use(shard, request, policy);
    struct bytes token;
    if (session_token(&shard->view, &shard->scratch, &token) != 0) {
        shard_answer_error(shard, request, STATUS_MEMORY_FULL, "no memory for the answer", now_us);
        return;
    }
    struct reply reply = {
        .version = token,
        .flags = request->flags,
        .fields = request->body,
        .view = view,
    };
    if (policy->conflict_view == CONFLICT_SIBLINGS) {
        reply.flags |= GET_SIBLINGS;
    }
    if ((reply.flags & GET_SIBLINGS) == 0) {
        shard->stats.siblings_hidden += view->siblings_hidden;
    }
    shard->stats.hits++;
    shard_answer(shard, request, &reply, now_us);
}

void shard_get(struct shard *shard, const struct request *request, uint64_t now_us)
{
    if ((request->flags & GET_FIELDS) != 0 && !names_are_well_formed(request->body)) {
        shard_answer_error(shard, request, STATUS_INVALID, "the names of fields are malformed",
                           now_us);
        return;
    }
    struct bytes record = shard_find(shard, request->position, request->key);
    enum status status = check_floor(shard, request, record);
    if (status != STATUS_OK) {
        shard_answer_error(
            shard, request, status,
            status == STATUS_INVALID ? "the version is no version token" : older_text, now_us);
    } else if (record.size == 0) {
        get_miss(shard, request, now_us);
    } else if (shard_open(shard, record, shard->now_ms) != 0) {
        shard_answer_error(shard, request, STATUS_DAMAGED, NULL, now_us);
    } else if (!shard->view.live) {
        get_miss(shard, request, now_us);
    } else if (shard->view.cold) {
        shard_await(shard, request, now_us);
    } else {
        get_hit(shard, request, now_us);
    }
}

/* ---- SCAN ---- */

struct scan {
    struct shard *shard;
    const struct request *request;
    uint32_t found, found_max;
    uint32_t visited, visited_max;
    bool failed;
};

static int put_key(struct buffer *keys, struct bytes key)
{
    int rc = buffer_reserve(keys, VARINT_BYTES_MAX + key.size);

    if (rc == 0) {
        const uint8_t *end = varint_put(keys->data + keys->size, key.size);
        keys->size = (size_t)(end - keys->data);
        rc = buffer_append(keys, key);
    }
    return rc;
}

static bool scan_wants(const struct scan *scan, uint64_t position, struct bytes key,
                       struct bytes record)
{
    struct session_view *view = &scan->shard->view;

    if (move_is_letter(key)) {
        return (scan->request->flags & SCAN_LETTERS) != 0 &&
               shard_open(scan->shard, record, scan->shard->now_ms) == 0 && view->live;
    }
    if (!bytes_starts_with(key, scan->request->key) || rename_is_journal(key)) {
        return false;
    }
    shard_give_grace_early(scan->shard, position, record);
    if (shard_open(scan->shard, record, scan->shard->now_ms) != 0) {
        return false;
    }
    return view->live && (scan->request->type == SESSION_NONE || view->type == scan->request->type);
}

static bool scan_visit(void *context, uint64_t position, struct bytes record)
{
    struct scan *scan = context;
    struct buffer *keys = &scan->shard->scratch;
    struct bytes key = session_key(record);

    scan->visited++;
    if (scan_wants(scan, position, key, record)) {
        if (put_key(keys, key) != 0) {
            scan->failed = true;
            return false;
        }
        scan->found++;
    }
    return scan->found < scan->found_max && scan->visited < scan->visited_max &&
           keys->size < SCAN_KEYS_BYTES_MAX;
}

void shard_scan(struct shard *shard, const struct request *request, uint64_t now_us)
{
    struct scan scan = {.shard = shard, .request = request, .found_max = request->count};

    if (scan.found_max == 0) {
        scan.found_max = SCAN_COUNT_DEFAULT;
    } else if (scan.found_max > SCAN_COUNT_MAX) {
        scan.found_max = SCAN_COUNT_MAX;
    }
    scan.visited_max = scan.found_max * SCAN_VISITS_PER_KEY;
    if (scan.visited_max > SCAN_VISITS_MAX) {
        scan.visited_max = SCAN_VISITS_MAX;
    }
    shard->scratch.size = 0;
    uint64_t next = keeper_scan(shard->keeper, request->cursor, scan_visit, &scan);
    if (scan.failed) {
        shard_answer_error(shard, request, STATUS_MEMORY_FULL, "no memory for the answer", now_us);
        return;
    }
    struct reply reply = {.keys = buffer_bytes(&shard->scratch), .cursor = next};
    shard_answer(shard, request, &reply, now_us);
}

/* ---- INSPECT ---- */

void shard_inspect(struct shard *shard, const struct request *request, uint64_t now_us)
{
    struct bytes record = keeper_find(shard->keeper, request->position, request->key);

    if (record.size == 0) {
        shard_answer_error(shard, request, STATUS_NOT_FOUND, NULL, now_us);
        return;
    }
    if (shard_open(shard, record, shard->now_ms) != 0) {
        shard_answer_error(shard, request, STATUS_DAMAGED, NULL, now_us);
        return;
    }
    if (shard->view.cold) {
        shard_await(shard, request, now_us);
        return;
    }
    struct bytes token;
    if (session_token(&shard->view, &shard->scratch, &token) != 0) {
        shard_answer_error(shard, request, STATUS_MEMORY_FULL, "no memory for the answer", now_us);
        return;
    }
    struct reply reply = {
        .version = token,
        .view = &shard->view,
        .record = record,
    };
    shard_answer(shard, request, &reply, now_us);
}
