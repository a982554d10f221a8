#include "raft_message.h"

#include <assert.h>
#include <errno.h>

#include "raft_members.h"

/* ---- Writing. ---- */

/* Room for all fields but strings is reserved at once. */
enum { FIELDS_BYTES_MAX = 2 + 8 * VARINT_BYTES_MAX };

static void put_u8(struct buffer *to, uint8_t value)
{
    to->data[to->size++] = value;
}

static void put_varint(struct buffer *to, uint64_t value)
{
    to->size = (size_t)(varint_put(to->data + to->size, value) - to->data);
}

static void put_u32(struct buffer *to, uint32_t value)
{
    store_u32(to->data + to->size, value);
    to->size += 4;
}

static void put_bytes(struct buffer *to, struct bytes part)
{
    if (part.size > 0) {
        memcpy(to->data + to->size, part.data, part.size);
        to->size += part.size;
    }
}

static void put_place(struct buffer *to, const struct raft_message *message)
{
    put_varint(to, message->index);
    put_varint(to, message->index_term);
}

static void put_snapshot(struct buffer *to, const struct raft_message *message)
{
    put_place(to, message);
    put_varint(to, message->size);
    put_u32(to, message->crc);
    put_varint(to, message->offset);
    put_varint(to, message->chunk.size);
    put_bytes(to, message->chunk);
}

static void put_body(struct buffer *to, const struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PRE_VOTE:
        put_place(to, message);
        return;
    case RAFT_VOTE:
        put_place(to, message);
        put_u8(to, message->granted);
        return;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        put_varint(to, message->asked_term);
        put_u8(to, message->granted);
        return;
    case RAFT_APPEND:
        put_place(to, message);
        put_varint(to, message->commit);
        put_varint(to, message->entry_count);
        put_bytes(to, message->entries);
        return;
    case RAFT_APPEND_REPLY:
        put_varint(to, message->index);
        put_u8(to, message->granted);
        put_varint(to, message->match);
        return;
    case RAFT_SNAPSHOT:
        put_snapshot(to, message);
        return;
    case RAFT_SNAPSHOT_REPLY:
        put_place(to, message);
        put_u32(to, message->crc);
        put_varint(to, message->offset);
        return;
    case RAFT_TIMEOUT_NOW:
        return;
    }
    assert(false);
}

int raft_message_put(struct buffer *to, const struct raft_message *message)
{
    int rc = buffer_reserve(to, FIELDS_BYTES_MAX + message->entries.size + message->chunk.size);

    if (rc == 0) {
        put_u8(to, RAFT_MESSAGE_VERSION);
        put_u8(to, (uint8_t)message->type);
        put_varint(to, message->term);
        put_body(to, message);
    }
    return rc;
}

int raft_message_put_entry(struct buffer *to, const struct raft_entry *entry)
{
    int rc = buffer_reserve(to, FIELDS_BYTES_MAX + entry->data.size);

    if (rc == 0) {
        put_varint(to, entry->term);
        put_u8(to, (uint8_t)entry->kind);
        put_varint(to, entry->data.size);
        put_bytes(to, entry->data);
    }
    return rc;
}

/* ---- Reading. ---- */

static uint64_t read_number(struct reader *reader)
{
    uint64_t number = read_varint(reader);

    reader->bad |= number > RAFT_NUMBER_MAX;
    return number;
}

static bool read_flag(struct reader *reader)
{
    uint8_t flag = read_u8(reader);

    reader->bad |= flag > 1;
    return flag == 1;
}

/* The place of an entry: of none at all, or of one whose term the sender may know. */
static void read_place(struct reader *reader, struct raft_message *message)
{
    message->index = read_number(reader);
    message->index_term = read_number(reader);
    reader->bad |= (message->index == 0) != (message->index_term == 0);
    reader->bad |= message->index_term > message->term;
}

struct raft_entry raft_message_entry(struct reader *reader)
{
    struct raft_entry entry = {.term = read_number(reader)};

    entry.kind = (enum raft_kind)read_u8(reader);
    entry.data = read_string(reader);
    return entry;
}

static bool entry_is_good(const struct raft_entry *entry)
{
    struct reader reader = reader_of(entry->data);
    struct raft_members members;

    switch (entry->kind) {
    case RAFT_COMMAND:
        return entry->data.size <= RAFT_ENTRY_BYTES_MAX;
    case RAFT_NOOP:
        return entry->data.size == 0;
    case RAFT_MEMBERS:
        return raft_members_read(&reader, &members) == 0 && reader_done(&reader);
    }
    return false;
}

/* The entries go to the end of the message; their terms never fall (paper, 5.3: each was appended by the leader of
 * its term). */
static void read_entries(struct reader *reader, struct raft_message *message)
{
    uint64_t count = read_varint(reader), term = message->index_term;

    message->entries = bytes_of(reader->at, reader_left(reader));
    if (count > RAFT_MESSAGE_BYTES_MAX || message->index + count > RAFT_NUMBER_MAX) {
        reader->bad = true;
        return;
    }
    message->entry_count = (uint32_t)count;
    for (uint64_t i = 0; i < count && !reader->bad; i++) {
        struct raft_entry entry = raft_message_entry(reader);
        reader->bad |= entry.term == 0 || entry.term < term || entry.term > message->term ||
                       !entry_is_good(&entry);
        term = entry.term;
    }
}

static void read_snapshot(struct reader *reader, struct raft_message *message)
{
    read_place(reader, message);
    message->size = read_varint(reader);
    message->crc = read_u32(reader);
    message->offset = read_varint(reader);
    message->chunk = read_string(reader);
    reader->bad |= message->index == 0 || message->size > RAFT_SNAPSHOT_BYTES_MAX ||
                   message->chunk.size == 0 || message->chunk.size > RAFT_CHUNK_BYTES ||
                   message->offset > message->size ||
                   message->chunk.size > message->size - message->offset;
}

static void read_body(struct reader *reader, struct raft_message *message)
{
    switch (message->type) {
    case RAFT_PRE_VOTE:
        read_place(reader, message);
        return;
    case RAFT_VOTE:
        read_place(reader, message);
        message->granted = read_flag(reader);
        return;
    case RAFT_PRE_VOTE_REPLY:
    case RAFT_VOTE_REPLY:
        message->asked_term = read_number(reader);
        message->granted = read_flag(reader);
        reader->bad |= message->asked_term == 0;
        return;
    case RAFT_APPEND:
        read_place(reader, message);
        message->commit = read_number(reader);
        read_entries(reader, message);
        return;
    case RAFT_APPEND_REPLY:
        message->index = read_number(reader);
        message->granted = read_flag(reader);
        message->match = read_number(reader);
        return;
    case RAFT_SNAPSHOT:
        read_snapshot(reader, message);
        return;
    case RAFT_SNAPSHOT_REPLY:
        read_place(reader, message);
        message->crc = read_u32(reader);
        message->offset = read_varint(reader);
        reader->bad |= message->index == 0 || message->offset > RAFT_SNAPSHOT_BYTES_MAX;
        return;
    case RAFT_TIMEOUT_NOW:
        return;
    }
    reader->bad = true;
}

int raft_message_parse(struct bytes input, struct raft_message *message)
{
    struct reader reader = reader_of(input);
    struct raft_message found = {0};
    uint8_t version = read_u8(&reader);

    if (reader.bad || input.size > RAFT_MESSAGE_BYTES_MAX) {
        return -EBADMSG;
    }
    if (version != RAFT_MESSAGE_VERSION) {
        return -EPROTONOSUPPORT;
    }
    found.type = (enum raft_message_type)read_u8(&reader);
    found.term = read_number(&reader);
    /* Whoever has never heard of a term still answers whether it would vote. */
    reader.bad |= found.term == 0 && found.type != RAFT_PRE_VOTE_REPLY;
    read_body(&reader, &found);
    if (!reader_done(&reader)) {
        return -EBADMSG;
    }
    *message = found;
    return 0;
}
