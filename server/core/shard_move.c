/* The steps of move.h. */
#include "move_parts.h"

#include <errno.h>
#include <string.h>

#include "slot.h"

/* ---- Keys ---- */

static const uint8_t letter_head[] = {1, 'm', '{'};

struct bytes move_letter_key(uint16_t tag, uint64_t id, uint8_t key[MOVE_KEY_BYTES])
{
    memcpy(key, letter_head, sizeof letter_head);
    key[3] = (uint8_t)(tag >> 8);
    key[4] = (uint8_t)tag;
    key[5] = '}';
    store_u64(key + 6, id);
    return bytes_of(key, MOVE_KEY_BYTES);
}

bool move_is_letter(struct bytes key)
{
    return key.size == MOVE_KEY_BYTES && memcmp(key.data, letter_head, sizeof letter_head) == 0 &&
           key.data[5] == '}';
}

uint16_t move_tag(struct bytes letter_key)
{
    return (uint16_t)(letter_key.data[3] << 8 | letter_key.data[4]);
}

uint16_t moved_read_tag(struct reader *from)
{
    uint16_t high = read_u8(from);

    return (uint16_t)(high << 8 | read_u8(from));
}

/* ---- What they have in common ---- */

struct bytes moved_record(const struct turn *turn)
{
    return shard_find(turn->shard, turn->request->position, turn->request->key);
}

struct stamp moved_stamp(const struct turn *turn, struct bytes record)
{
    const struct shard *shard = turn->shard;
    uint64_t newest = session_newest_hlc(record);

    return (struct stamp){
        .hlc = hlc_next(newest > shard->hlc ? newest : shard->hlc, turn->now_ms),
        .actor = shard_actor(turn->shard, turn->request->position),
    };
}

/* Stage what was made in shard->written.record. */
enum status moved_stage(struct turn *turn, struct stamp stamp, bool renamed)
{
    struct session_written *written = &turn->shard->written;

    written->changed = true;
    written->created = written->repeated = false;
    written->destroyed = renamed;
    written->next_ms = 0;
    written->stamp = stamp;
    turn->opened = false;
    if (turn_stage(turn) != 0) {
        return STATUS_NO_MEMORY;
    }
    turn->moves = renamed;
    enum status status = shard_stage(turn, turn->request);
    turn->moves = false;
    return status;
}

enum status moved_status(int rc)
{
    return rc == 0 ? STATUS_OK : rc == -ENOMEM ? STATUS_NO_MEMORY : STATUS_DAMAGED;
}

enum status moved_say(struct turn *turn, enum rename_answer what, struct stamp stamp)
{
    uint8_t bytes[16];

    alias_store_stamp(bytes, stamp);
    return rename_say_with(turn, what, bytes_of(bytes, sizeof bytes));
}

/* Is the letter of a rename here still? */
bool moved_has_letter(struct turn *turn, uint16_t tag, uint64_t id)
{
    struct shard *shard = turn->shard;
    uint8_t room[MOVE_KEY_BYTES];
    struct bytes key = move_letter_key(tag, id, room);
    uint64_t position = keeper_position(shard->options.seed, key);
    struct bytes record = keeper_find(shard->keeper, position, key);
    struct session_view view;

    return record.size > 0 && session_open(&view, record, turn->now_ms) == 0 && view.live;
}

/* The newest alias of this id; or, with id 0, of what was born so. */
bool moved_find_alias(struct bytes record, uint64_t id, struct stamp origin, struct alias *alias)
{
    struct record opened;
    struct entry entry;
    bool found = false;

    if (record.size == 0 || record_open(&opened, record, record_format(record)) != 0) {
        return false;
    }
    struct entry_walk walk = entry_walk(&opened);
    while (entry_next(&walk, &entry)) {
        struct alias one;
        if (entry.kind == ENTRY_ALIAS && alias_read(entry.value, &one) &&
            (id != 0 ? one.id == id : stamp_compare(entry.birth.stamp, origin) == 0)) {
            *alias = one;
            found = true;
        }
    }
    return found;
}

bool rename_is_taken(struct turn *turn)
{
    return turn_view(turn) != NULL || alias_may_return(moved_record(turn));
}

bool moved_is_to_come(struct turn *turn, struct bytes key)
{
    struct shard *shard = turn->shard;
    const struct request whole = {
        .op = REQUEST_GET, .key = key, .position = keeper_position(shard->options.seed, key)};

    if (!shard_must_wait(shard, &whole)) {
        return false;
    }
    (void)shard_want(shard, whole.position); /* Else it comes in its turn. */
    turn->text = "a session that is on its way is still being loaded";
    return true;
}

/* ---- The way of a session ---- */

static enum status probe_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    bool only_new = read_u8(&body) != 0;

    return rename_say(turn, only_new && rename_is_taken(turn) ? RENAME_EXISTS : RENAME_DONE);
}

struct commit {
    uint64_t id;
    uint16_t tag;
    uint8_t only_new;
    struct bytes target;
    uint8_t room[MOVE_KEY_BYTES];
    struct bytes letter;
};

static bool commit_read(const struct turn *turn, struct commit *commit)
{
    struct reader body = reader_of(turn->request->body);

    commit->id = read_u64(&body);
    commit->tag = moved_read_tag(&body);
    commit->only_new = read_u8(&body) != 0;
    commit->target = read_bytes(&body, reader_left(&body));
    commit->letter = move_letter_key(commit->tag, commit->id, commit->room);
    return !body.bad && commit->id != 0 && commit->target.size > 0 &&
           commit->target.size <= KEY_BYTES_MAX &&
           slot_of_key(commit->letter) == shard_slot(turn->request->position);
}

/* What is under a letter's key: its intent, or nothing. The turn is where it was then. */
static struct bytes find_letter(struct turn *turn, struct bytes key)
{
    const struct request *whole = turn->request;
    const struct policy *policy = turn->policy;
    struct request request = *whole;

    rename_to_own(turn, &request, key);
    struct bytes intent = rename_own_value(turn_view(turn));
    turn->request = whole;
    turn->policy = policy;
    turn->opened = false;
    return intent;
}

/* Alias and letter, of the session in view. */
static enum status commit_both(struct turn *turn, const struct commit *commit,
                               const struct session_view *view)
{
    struct shard *shard = turn->shard;
    const struct request *whole = turn->request;
    const struct session_rules *rules = &turn->policy->rules;
    struct bytes record = view->record;
    struct stamp stamp = moved_stamp(turn, record);
    struct request request = *whole;
    const struct rename_intent intent = {
        .id = commit->id,
        .now_ms = turn->now_ms,
        .hlc = stamp.hlc,
        .number = commit->only_new,
        .key = commit->target,
        .record = record,
    };
    const struct alias alias = {
        .id = commit->id,
        .birth = {.hlc = 0, .actor = {.start = commit->only_new}},
        .key = commit->target,
    };
    uint64_t until =
        rules->no_resurrect ? hlc_of_ms(hlc_ms(stamp.hlc) + rules->tombstone_keep_ms) : 0;

    if (rename_put_intent(&shard->scratch, &intent) != 0) {
        return STATUS_NO_MEMORY;
    }
    enum status status = rename_say_with(turn, RENAME_DONE, buffer_bytes(&shard->scratch));
    if (status == STATUS_OK) {
        status = moved_status(alias_begin(record, stamp, &alias, until, &shard->written.record));
    }
    status = status == STATUS_OK ? moved_stage(turn, stamp, true) : status;
    if (status == STATUS_OK) {
        turn->moved = true;
        status = rename_write_own(turn, &request, commit->letter,
                                  bytes_of(turn->answer->data + 1, turn->answer->size - 1));
    }
    turn->request = whole;
    return status;
}

/* The window of the key turned to. It is no cold one. */
static void read_window(const struct turn *turn, struct dedup *dedup)
{
    struct bytes record = moved_record(turn);
    struct record opened;

    if (record.size == 0 || record_open_dedup(&opened, record, RECORD_FORMAT, dedup) != 0) {
        dedup->count = 0;
        dedup->floor = 0;
    }
}

/* Was it brought back before, and is known to be? */
static bool is_back(const struct turn *turn, uint64_t id)
{
    struct dedup dedup;

    read_window(turn, &dedup);
    return dedup_find(&dedup, RENAME_CLIENT, id) != NULL;
}

/* Was it committed, and has a session begun under the old key since? The window may have had to forget it; there is also
 * what the letter left, for as long as a tombstone is kept. */
static bool is_past(struct turn *turn, const struct commit *commit)
{
    const struct shard *shard = turn->shard;
    const uint64_t position = keeper_position(shard->options.seed, commit->letter);
    struct dedup dedup;

    read_window(turn, &dedup);
    return dedup_find(&dedup, ALIAS_CLIENT, commit->id) != NULL ||
           keeper_find(shard->keeper, position, commit->letter).size > 0;
}

/* Then that session has nothing to do with it, unless it is the one that was brought back. */
static enum status say_past(struct turn *turn, uint64_t id)
{
    return rename_say(turn, is_back(turn, id) ? RENAME_EXISTS : RENAME_DONE);
}

static enum status commit_run(struct turn *turn)
{
    struct commit commit;
    struct alias alias;

    if (!commit_read(turn, &commit)) {
        return STATUS_INVALID;
    }
    if (moved_is_to_come(turn, commit.letter)) {
        return STATUS_BUSY;
    }
    struct bytes intent = find_letter(turn, commit.letter);
    if (intent.size > 0) {
        return rename_say_with(turn, RENAME_DONE, intent);
    }
    if (moved_find_alias(moved_record(turn), commit.id, (struct stamp){0, {0, 0}}, &alias)) {
        return rename_say(turn, RENAME_DONE);
    }
    if (is_past(turn, &commit)) {
        return say_past(turn, commit.id);
    }
    struct session_view *view = turn_view(turn);
    if (view == NULL) {
        return rename_say(turn, RENAME_NONE);
    }
    enum status status = commit_both(turn, &commit, view);
    if (status == STATUS_OK) {
        shard_note_moved(turn->shard, keeper_position(turn->shard->options.seed, commit.letter));
    }
    return status;
}

static enum status take_run(struct turn *turn)
{
    struct bytes intent = rename_own_value(turn_view(turn));

    return intent.size > 0 ? rename_say_with(turn, RENAME_DONE, intent)
                           : rename_say(turn, RENAME_NONE);
}

/* The birth of what was just staged at the key of this request. */
static struct stamp staged_birth(struct turn *turn, const struct request *whole)
{
    struct request again = *whole;

    turn_to(turn, &again);
    struct session_view *view = turn_view(turn);
    turn->request = whole;
    return view != NULL ? view->leader_.birth.stamp : (struct stamp){0, {0, 0}};
}

/* How it ended, and whether there are more receipts than need be. */
static enum status say_delivered(struct turn *turn, enum rename_answer what, struct stamp birth,
                                 uint32_t receipts)
{
    const uint8_t many = receipts > DEDUP_RECEIPTS_KEPT;
    enum status status =
        what == RENAME_DONE ? moved_say(turn, what, birth) : rename_say(turn, what);

    return status == STATUS_OK && buffer_append(turn->answer, bytes_of(&many, 1)) != 0
               ? STATUS_NO_MEMORY
               : status;
}

/* There is something. Whoever delivers it later must find that so, too: it is brought back. */
static enum status refuse(struct turn *turn, uint64_t id, uint32_t receipts)
{
    struct bytes record = moved_record(turn);
    struct stamp stamp = moved_stamp(turn, record);
    enum status status =
        moved_status(receipt_refuse(record, stamp, id, &turn->shard->written.record));

    status = status == STATUS_OK ? moved_stage(turn, stamp, false) : status;
    return status == STATUS_OK ? say_delivered(turn, RENAME_EXISTS, stamp, receipts + 1) : status;
}

static enum status deliver_run(struct turn *turn)
{
    const struct request *whole = turn->request;
    struct shard *shard = turn->shard;
    struct rename_intent intent;
    struct dedup dedup;

    if (!rename_intent_read(whole->body, &intent) || !bytes_equal(intent.key, whole->key)) {
        return STATUS_INVALID;
    }
    read_window(turn, &dedup);
    const uint32_t receipts = dedup_receipts(&dedup);
    const struct dedup_item *receipt = receipt_find(&dedup, intent.id);
    if (receipt != NULL) {
        return say_delivered(turn, receipt_is_refusal(receipt) ? RENAME_EXISTS : RENAME_DONE,
                             receipt->stamp, receipts);
    }
    if (!dedup_takes_receipt(&dedup, turn->now_ms)) {
        return rename_say(turn, RENAME_WAIT);
    }
    if (intent.number != 0 && rename_is_taken(turn)) {
        return refuse(turn, intent.id, receipts);
    }
    if (intent.hlc > shard->hlc) {
        shard->hlc = intent.hlc; /* It comes after the commit. */
    }
    enum status status = rename_paste(turn, &intent, DEDUP_RECEIPT_CLIENT);
    return status == STATUS_OK
               ? say_delivered(turn, RENAME_DONE, staged_birth(turn, whole), receipts + 1)
               : status;
}

/* It writes nothing; how safe the receipt is follows from the level that it is asked with. */
static enum status kept_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    const uint64_t id = read_u64(&body);
    struct dedup dedup;

    if (body.bad) {
        return STATUS_INVALID;
    }
    read_window(turn, &dedup);
    return rename_say(turn, receipt_find(&dedup, id) != NULL ? RENAME_DONE : RENAME_NONE);
}

enum status moved_drop_letter(struct turn *turn, struct bytes key)
{
    const struct request *whole = turn->request;
    const struct policy *policy = turn->policy;
    struct request request = *whole;

    if (turn_stage(turn) != 0) {
        return STATUS_NO_MEMORY;
    }
    rename_to_own(turn, &request, key);
    turn->moves = true;
    enum status status = rename_destroy(turn);
    turn->moves = false;
    turn->request = whole;
    turn->policy = policy;
    turn->opened = false;
    return status;
}

static enum status arrive_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    uint64_t id = read_u64(&body);
    uint16_t tag = moved_read_tag(&body);
    struct stamp birth = alias_read_stamp(&body);
    uint8_t room[MOVE_KEY_BYTES];

    if (body.bad || id == 0) {
        return STATUS_INVALID;
    }
    struct bytes letter = move_letter_key(tag, id, room);
    if (moved_is_to_come(turn, letter)) {
        return STATUS_BUSY;
    }
    const uint8_t went = moved_has_letter(turn, tag, id);
    enum status status = moved_drop_letter(turn, letter);
    if (status != STATUS_OK) {
        return status;
    }
    struct bytes record = moved_record(turn);
    struct stamp stamp = moved_stamp(turn, record);
    int rc = record.size == 0 || record_is_cold(record)
                 ? -ENOENT
                 : alias_arrive(record, stamp, id, birth, &turn->shard->written.record);
    if (rc != -ENOENT) {
        status = rc == 0 ? moved_stage(turn, stamp, false) : moved_status(rc);
    }
    return status == STATUS_OK ? rename_say_with(turn, RENAME_DONE, bytes_of(&went, 1)) : status;
}

/* The session begins again under its old key, and the letter goes. Where another one is there that knows nothing of the
 * rename, the letter stays: it waits for that to end. What was deleted by who did not know of the rename stays so. */
static enum status bring_back(struct turn *turn, const struct rename_intent *intent,
                              struct bytes letter)
{
    const struct request *whole = turn->request;
    const struct policy *policy = turn->policy;
    const bool is_done = is_back(turn, intent->id), is_free = turn_view(turn) == NULL;
    struct bytes record = moved_record(turn);
    struct aliases aliases = {.count = 0};

    if (record.size > 0 && alias_find(record, &aliases) != 0) {
        return STATUS_DAMAGED;
    }
    const bool is_known = aliases.count > 0 && aliases.newest.id == intent->id;
    if (!is_done && !is_free && is_known && !aliases.ended) {
        return rename_say(turn, RENAME_WAIT);
    }
    enum status status = moved_drop_letter(turn, letter);
    if (status == STATUS_OK && !is_done && is_free && !(is_known && aliases.ended)) {
        status = rename_paste(turn, intent, RENAME_CLIENT);
        turn->request = whole;
        turn->policy = policy;
    }
    return status == STATUS_OK ? rename_say(turn, RENAME_DONE) : status;
}

static enum status back_run(struct turn *turn)
{
    struct reader body = reader_of(turn->request->body);
    uint16_t tag = moved_read_tag(&body);
    uint8_t room[MOVE_KEY_BYTES];
    struct rename_intent intent;

    if (!rename_intent_read(read_bytes(&body, reader_left(&body)), &intent) || intent.id == 0) {
        return STATUS_INVALID;
    }
    struct bytes letter = move_letter_key(tag, intent.id, room);
    if (moved_is_to_come(turn, letter)) {
        return STATUS_BUSY;
    }
    if (!moved_has_letter(turn, tag, intent.id)) {
        return rename_say(turn, is_back(turn, intent.id) ? RENAME_DONE : RENAME_NONE);
    }
    return bring_back(turn, &intent, letter);
}

const struct procedure move_probe = {.name = "move-probe", .inner = true, .run = probe_run};
const struct procedure move_commit = {.name = "move-commit",
                                      .inner = true,
                                      .run = commit_run,
                                      .safe = true};
const struct procedure move_take = {.name = "move-take",
                                    .inner = true,
                                    .run = take_run,
                                    .safe = true};
const struct procedure move_deliver = {.name = "move-deliver",
                                       .inner = true,
                                       .run = deliver_run,
                                       .safe = true};
const struct procedure move_kept = {.name = "move-kept", .inner = true, .run = kept_run};
const struct procedure move_arrive = {.name = "move-arrive",
                                      .inner = true,
                                      .run = arrive_run,
                                      .ends = true,
                                      .safe = true};
const struct procedure move_back = {.name = "move-back",
                                    .inner = true,
                                    .run = back_run,
                                    .safe = true};
