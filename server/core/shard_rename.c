/* The steps of RENAME at its two shards. */
#include "rename_parts.h"

#include <string.h>

#include "slot.h"

/* ---- The journal's keys ---- */

static const uint8_t journal_head[] = {1, 'r', '{'};

struct bytes rename_journal_key(uint16_t tag, uint32_t number, uint8_t key[RENAME_KEY_BYTES])
{
    memcpy(key, journal_head, sizeof journal_head);
    key[3] = (uint8_t)(tag >> 8);
    key[4] = (uint8_t)tag;
    key[5] = '}';
    key[6] = (uint8_t)('0' + number);
    return bytes_of(key, RENAME_KEY_BYTES);
}

bool rename_is_journal(struct bytes key)
{
    return key.size == RENAME_KEY_BYTES && memcmp(key.data, journal_head, sizeof journal_head) == 0;
}

/* CRC16 of two bytes takes each value once, so that each slot has four tags. */
void rename_tags(uint16_t tags[SLOT_COUNT])
{
    uint8_t bytes[RENAME_KEY_BYTES];

    for (uint32_t tag = 0; tag <= UINT16_MAX; tag++) {
        struct bytes key = rename_journal_key((uint16_t)tag, 0, bytes);
        if (bytes[3] != '}' && bytes[4] != '}') {
            tags[slot_of_key(key)] = (uint16_t)tag;
        }
    }
}

/* ---- What moves ---- */

static void put_head(struct session_copy *copy, const struct change *change)
{
    copy->head_size = (size_t)(change_put(copy->head + copy->head_size, change) - copy->head);
}

void rename_field_change(enum session_type type, const struct session_field *field,
                         struct change *change)
{
    *change = (struct change){.operation = CHANGE_SET, .name = field->name, .value = field->value};
    if (type == SESSION_SET) {
        change->operation = CHANGE_ADD_MEMBER;
    } else if (type == SESSION_ZSET) {
        uint64_t bits = load_u64(field->value.data);
        change->operation = CHANGE_SET_SCORE;
        memcpy(&change->score, &bits, sizeof bits);
    } else if (field->deadline_ms != 0) {
        change->operation = CHANGE_SET_UNTIL;
        change->ms = field->deadline_ms;
    }
}

/* Returns OK or NO_MEMORY. */
static enum status copy_session(struct session_view *view, struct buffer *changes,
                                struct session_copy *copy)
{
    struct session_field field;
    struct change change;

    *copy = (struct session_copy){.type = view->type, .changes = changes};
    put_head(copy, &(struct change){.operation = CHANGE_ABSOLUTE, .ms = view->absolute_ms});
    put_head(copy, &(struct change){.operation = CHANGE_IDLE, .ms = view->idle_ms});
    put_head(copy, &(struct change){.operation = CHANGE_OWNER, .value = view->owner});
    changes->size = 0;
    session_rewind(view);
    while (session_next(view, false, &field)) {
        rename_field_change(copy->type, &field, &change);
        if (buffer_reserve(changes, change_size(&change)) != 0) {
            return STATUS_NO_MEMORY;
        }
        changes->size =
            (size_t)(change_put(changes->data + changes->size, &change) - changes->data);
        copy->fields++;
    }
    return STATUS_OK;
}

enum status rename_destroy(struct turn *turn)
{
    static const uint8_t change = CHANGE_DESTROY;

    return turn_write(turn, WRITE_UPSERT, SESSION_NONE, bytes_of(&change, 1), NULL);
}

/* Begin the copy at the key turned to, in place of what is there. What was allowed under one key is under another;
 * `client` (0: none) and `id` are what the dedup window remembers. */
static enum status paste(struct turn *turn, const struct session_copy *copy, uint64_t client,
                         uint64_t id)
{
    struct policy policy = *turn->policy;
    struct request request = *turn->request;

    enum status status = turn_view(turn) != NULL ? rename_destroy(turn) : STATUS_OK;
    if (status != STATUS_OK) {
        return status;
    }
    request.client = client;
    request.sequence = id;
    request.retry_hlc = 0;
    request.takes_over = true;
    turn_to(turn, &request);
    policy.rules.session_bytes_max = SESSION_BYTES_MAX;
    policy.rules.fields_max = SESSION_FIELDS_MAX;
    turn->policy = &policy;
    status =
        turn_write(turn, WRITE_CREATE, copy->type, bytes_of(copy->head, copy->head_size), NULL);
    request.client = request.sequence = 0;
    if (status == STATUS_OK && copy->fields > 0) {
        status = turn_write(turn, WRITE_UPDATE, SESSION_NONE, buffer_bytes(copy->changes), NULL);
    }
    return status;
}

enum status turn_rename(struct turn *turn, struct bytes target, bool only_new,
                        enum rename_answer *answer)
{
    const struct request *old = turn->request;
    struct request new = *old;
    struct session_copy copy;

    struct session_view *view = turn_use(turn);
    *answer = view == NULL ? RENAME_NONE : RENAME_DONE;
    if (view == NULL) {
        return STATUS_OK;
    }
    bool same = bytes_equal(old->key, target);
    enum status status = same ? STATUS_OK : copy_session(view, turn->changes, &copy);
    if (same || status != STATUS_OK) {
        *answer = only_new ? RENAME_EXISTS : RENAME_DONE;
        return status;
    }
    new.key = target;
    turn_to(turn, &new);
    if (only_new && rename_is_taken(turn)) {
        *answer = RENAME_EXISTS;
    } else {
        status = paste(turn, &copy, 0, 0);
    }
    struct request again = *old;
    turn_to(turn, &again);
    if (status == STATUS_OK && *answer == RENAME_DONE) {
        turn->moves = true;
        status = rename_destroy(turn);
        turn->moves = false;
    }
    turn->request = old;
    return status;
}

/* ---- Answers ---- */

enum status rename_say(struct turn *turn, enum rename_answer answer)
{
    const uint8_t byte = (uint8_t)answer;

    turn->answer->size = 0;
    return buffer_append(turn->answer, bytes_of(&byte, 1)) == 0 ? STATUS_OK : STATUS_NO_MEMORY;
}

enum status rename_say_with(struct turn *turn, enum rename_answer what, struct bytes bytes)
{
    enum status status = rename_say(turn, what);

    if (status == STATUS_OK && buffer_append(turn->answer, bytes) != 0) {
        status = STATUS_NO_MEMORY;
    }
    return status;
}

static enum status answer_number(struct turn *turn, enum rename_answer what, uint64_t number)
{
    uint8_t bytes[8];

    store_u64(bytes, number);
    return rename_say_with(turn, what, bytes_of(bytes, sizeof bytes));
}

/* ---- The intent ---- */

enum { INTENT_HEAD_BYTES = 8 + 8 + 8 + 1 };

bool rename_intent_read(struct bytes bytes, struct rename_intent *intent)
{
    struct reader reader = reader_of(bytes);

    *intent = (struct rename_intent){
        .id = read_u64(&reader),
        .now_ms = read_u64(&reader),
        .hlc = read_u64(&reader),
        .number = read_u8(&reader),
        .key = read_string(&reader),
    };
    intent->record = read_bytes(&reader, reader_left(&reader));
    return !reader.bad && intent->key.size > 0 && intent->key.size <= KEY_BYTES_MAX &&
           intent->number < RENAMES_MAX;
}

int rename_put_intent(struct buffer *to, const struct rename_intent *intent)
{
    uint8_t head[INTENT_HEAD_BYTES + VARINT_BYTES_MAX];

    store_u64(head, intent->id);
    store_u64(head + 8, intent->now_ms);
    store_u64(head + 16, intent->hlc);
    head[24] = intent->number;
    const uint8_t *end = varint_put(head + INTENT_HEAD_BYTES, intent->key.size);
    to->size = 0;
    int rc = buffer_append(to, bytes_of(head, (size_t)(end - head)));
    rc = rc != 0 ? rc : buffer_append(to, intent->key);
    return rc != 0 ? rc : buffer_append(to, intent->record);
}

/* ---- At the target ---- */

static enum status lock_run(struct turn *turn)
{
    const struct request *request = turn->request;
    struct reader body = reader_of(request->body);
    uint64_t id = read_u64(&body);
    bool only_new = read_u8(&body) != 0;

    if (only_new && rename_is_taken(turn)) {
        return rename_say(turn, RENAME_EXISTS);
    }
    if (!shard_lock(turn->shard, request->position, id)) {
        return rename_say(turn, RENAME_WAIT);
    }
    return answer_number(turn, RENAME_DONE, turn->shard->hlc);
}

static enum status unlock_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);

    turn->unlocks = read_u64(&body);
    return rename_say(turn, RENAME_DONE);
}

/* Did something begin or end here since then? */
static bool has_changed(const struct record *record, uint64_t hlc)
{
    bool changed = record->version.death.hlc > hlc;

    for (uint32_t i = 0; i < record->birth_count && !changed; i++) {
        changed = record_birth(record, i).stamp.hlc > hlc;
    }
    return changed;
}

/* Was that done before at the key turned to? So it is taken to be, too, where the window had to let go of newer writes than
 * the intent, and a session has begun or ended here since: nobody else could begin or end one, as the key is locked. */
static bool is_applied(struct turn *turn, const struct rename_intent *intent)
{
    const struct request *request = turn->request;
    struct bytes record = shard_find(turn->shard, request->position, request->key);
    struct session_view *view = &turn->shard->view;
    struct dedup dedup;

    turn->opened = false;
    if (record.size == 0 || session_open_known(view, record, turn->now_ms, 0, &dedup) != 0 ||
        view->cold) {
        return false;
    }
    /* The session that it begins is newer: what was only written to does not hide that. */
    return dedup_find(&dedup, RENAME_CLIENT, intent->id) != NULL ||
           (dedup.floor > intent->hlc && has_changed(&view->record_, intent->hlc));
}

enum status rename_paste(struct turn *turn, const struct rename_intent *intent, uint64_t client)
{
    struct session_view view;
    struct session_copy copy;

    /* That it lives was seen where it was. */
    if (session_check(intent->record) != 0 ||
        session_open_known(&view, intent->record, intent->now_ms, UINT64_MAX, NULL) != 0 ||
        !view.live) {
        return STATUS_DAMAGED;
    }
    enum status status = copy_session(&view, turn->changes, &copy);
    if (status == STATUS_OK && turn_stage(turn) != 0) {
        status = STATUS_NO_MEMORY;
    }
    return status == STATUS_OK ? paste(turn, &copy, client, intent->id) : status;
}

static enum status apply_run(struct turn *turn)
{
    struct rename_intent intent;

    if (!rename_intent_read(turn->request->body, &intent)) {
        return STATUS_INVALID;
    }
    enum status status =
        is_applied(turn, &intent) ? STATUS_OK : rename_paste(turn, &intent, RENAME_CLIENT);
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

/* ---- At the source ---- */

/* A journal keeps what it has whatever the policies say, and for no longer. */
static const struct policy journal_policy = {
    .rules = {.session_bytes_max = SESSION_BYTES_MAX, .fields_max = 1},
};

void rename_to_own(struct turn *turn, struct request *request, struct bytes key)
{
    request->key = key;
    turn_to(turn, request);
    turn->policy = &journal_policy;
}

/* The journal that this rename has, or a free one; RENAMES_MAX: there is none. */
static uint32_t find_journal(const struct shard *shard, uint64_t id)
{
    uint32_t free = RENAMES_MAX;

    for (uint32_t i = RENAMES_MAX; i-- > 0;) {
        if (shard->renames[i] == id) {
            return i;
        }
        free = shard->renames[i] == 0 ? i : free;
    }
    return free;
}

struct bytes rename_own_value(struct session_view *view)
{
    struct session_field field;

    return view != NULL && session_find(view, bytes_of((const uint8_t *)"", 0), &field)
               ? field.value
               : bytes_of(NULL, 0);
}

enum status rename_write_own(struct turn *turn, struct request *request, struct bytes key,
                             struct bytes value)
{
    const struct change change = {
        .operation = CHANGE_SET,
        .name = bytes_of((const uint8_t *)"", 0),
        .value = value,
    };
    struct buffer *list = turn->changes;

    list->size = 0;
    if (buffer_reserve(list, change_size(&change)) != 0) {
        return STATUS_NO_MEMORY;
    }
    list->size = (size_t)(change_put(list->data, &change) - list->data);
    rename_to_own(turn, request, key);
    return turn_write(turn, WRITE_CREATE, SESSION_BLOB, buffer_bytes(list), NULL);
}

static enum status find_run(struct turn *turn)
{
    return rename_say(turn, turn_view(turn) != NULL ? RENAME_DONE : RENAME_NONE);
}

static enum status commit(struct turn *turn, struct rename_intent *intent, uint16_t tag)
{
    struct shard *shard = turn->shard;
    const struct request *whole = turn->request;
    struct request request = *whole;
    uint8_t journal[RENAME_KEY_BYTES];

    struct session_view *view = turn_view(turn);
    if (view == NULL) {
        return rename_say(turn, RENAME_NONE);
    }
    intent->record = view->record;
    intent->now_ms = turn->now_ms;
    if (rename_put_intent(&shard->scratch, intent) != 0) {
        return STATUS_NO_MEMORY;
    }
    enum status status = rename_say_with(turn, RENAME_DONE, buffer_bytes(&shard->scratch));
    if (status == STATUS_OK && turn_stage(turn) != 0) {
        status = STATUS_NO_MEMORY;
    }
    turn->moves = true;
    status = status == STATUS_OK ? rename_destroy(turn) : status;
    turn->moves = false;
    if (status == STATUS_OK) {
        struct bytes bytes = bytes_of(turn->answer->data + 1, turn->answer->size - 1);
        status = rename_write_own(turn, &request, rename_journal_key(tag, intent->number, journal),
                                  bytes);
    }
    turn->request = whole;
    if (status == STATUS_OK) {
        shard->renames[intent->number] = intent->id;
    }
    return status == STATUS_EXISTS ? STATUS_BUSY
                                   : status; /* What was there is not forgotten yet. */
}

/* What was committed before. Returns whether it was: else that failed. */
static bool commit_again(struct turn *turn, uint32_t number, uint16_t tag, enum status *status)
{
    const struct request *whole = turn->request;
    struct request request = *whole, again = *whole;
    uint8_t journal[RENAME_KEY_BYTES];

    rename_to_own(turn, &request, rename_journal_key(tag, number, journal));
    struct bytes intent = rename_own_value(turn_view(turn));
    *status = intent.size == 0 ? STATUS_OK : rename_say_with(turn, RENAME_DONE, intent);
    turn_to(turn, &again);
    turn->request = whole;
    return intent.size > 0;
}

static enum status commit_run(struct turn *turn)
{
    struct shard *shard = turn->shard;
    struct reader body = reader_of(turn->request->body);
    struct rename_intent intent = {.id = read_u64(&body), .hlc = read_u64(&body)};

    uint16_t tag = read_u8(&body);
    tag = (uint16_t)(tag << 8 | read_u8(&body));
    intent.key = read_bytes(&body, reader_left(&body));
    uint64_t owner = shard_lock_owner(shard, turn->request->position);
    uint32_t number = find_journal(shard, intent.id);
    enum status status;
    if (number == RENAMES_MAX) {
        return rename_say(turn, RENAME_WAIT);
    }
    if (shard->renames[number] == intent.id && commit_again(turn, number, tag, &status)) {
        return status;
    }
    if (owner != 0) {
        return answer_number(turn, RENAME_LOCKED, owner);
    }
    intent.number = (uint8_t)number;
    return commit(turn, &intent, tag);
}

static enum status forget_run(struct turn *turn)
{
    struct shard *shard = turn->shard;
    struct reader body = reader_of(turn->request->body);
    uint64_t id = read_u64(&body);

    if (turn_stage(turn) != 0) {
        return STATUS_NO_MEMORY;
    }
    turn->moves = true;
    enum status status = rename_destroy(turn);
    for (uint32_t i = 0; status == STATUS_OK && i < RENAMES_MAX; i++) {
        shard->renames[i] = shard->renames[i] == id ? 0 : shard->renames[i];
    }
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

static enum status look_run(struct turn *turn)
{
    struct bytes value = rename_own_value(turn_view(turn));
    struct rename_intent intent;

    if (value.size == 0 || !rename_intent_read(value, &intent)) {
        return rename_say(turn, RENAME_NONE);
    }
    if (turn->request->body.size > 0) {
        turn->shard->renames[intent.number] = intent.id;
    }
    return rename_say_with(turn, RENAME_DONE, value);
}

const struct procedure rename_find = {.name = "rename-find", .inner = true, .run = find_run};
const struct procedure rename_lock = {.name = "rename-lock",
                                      .inner = true,
                                      .run = lock_run,
                                      .locks = true};
const struct procedure rename_commit = {.name = "rename-commit",
                                        .inner = true,
                                        .run = commit_run,
                                        .locks = true};
const struct procedure rename_apply = {.name = "rename-apply",
                                       .inner = true,
                                       .run = apply_run,
                                       .locks = true};
const struct procedure rename_forget = {.name = "rename-forget",
                                        .inner = true,
                                        .run = forget_run,
                                        .ends = true,
                                        .locks = true};
const struct procedure rename_unlock = {.name = "rename-unlock",
                                        .inner = true,
                                        .run = unlock_run,
                                        .ends = true,
                                        .locks = true};
const struct procedure rename_look = {.name = "rename-look",
                                      .inner = true,
                                      .run = look_run,
                                      .locks = true};
