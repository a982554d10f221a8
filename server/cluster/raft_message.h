/* Messages: what the members of Raft say to each other, as bytes.
 *
 *   u8 version (1), u8 type, varint term of the sender, then by type:
 *
 *   PRE_VOTE, VOTE               varint index and varint term of the sender's last entry; VOTE: u8 1 where
 *                                a leader hands over (dissertation, 3.10), else 0
 *   PRE_VOTE_REPLY, VOTE_REPLY   varint term that was asked for, u8 granted
 *   APPEND                       varint index and varint term of the entry before, varint commit index,
 *                                varint count, then entries: varint term, u8 kind, string (varint size, bytes)
 *   APPEND_REPLY                 varint index of the entry before, as in the APPEND; u8 accepted; varint index:
 *                                accepted: up to which the log is the leader's, and stored; otherwise:
 *                                after which the leader may try
 *   SNAPSHOT                     varint index, varint term, varint size, u32 CRC-32C of the whole snapshot; varint
 *                                offset, string: a chunk of it
 *   SNAPSHOT_REPLY               the same index, term, CRC; varint how many of its bytes have come
 *   TIMEOUT_NOW                  nothing more
 *
 * Integers of fixed size are little-endian; varints have their shortest form. PRE_VOTE asks for a vote in the
 * term after the sender's. A peer may send anything: what raft_message_parse() accepts keeps all bounds that
 * stand here, and no more is believed.
 */
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "memory.h"
#include "raft_log.h"

enum {
    RAFT_MESSAGE_VERSION = 1,
    RAFT_ENTRY_BYTES_MAX = 1024 * 1024,
    RAFT_APPEND_BYTES = 64 * 1024, /* Entries in one APPEND: the first, and more up to this. */
    RAFT_CHUNK_BYTES = 64 * 1024,
    RAFT_SNAPSHOT_BYTES_MAX = 64 * 1024 * 1024,
    RAFT_MESSAGE_BYTES_MAX = RAFT_ENTRY_BYTES_MAX + RAFT_APPEND_BYTES + 256,
};

/* The largest term and index: one more never overflows. */
#define RAFT_NUMBER_MAX (UINT64_C(1) << 62)

enum raft_message_type {
    RAFT_PRE_VOTE = 1,
    RAFT_PRE_VOTE_REPLY = 2,
    RAFT_VOTE = 3,
    RAFT_VOTE_REPLY = 4,
    RAFT_APPEND = 5,
    RAFT_APPEND_REPLY = 6,
    RAFT_SNAPSHOT = 7,
    RAFT_SNAPSHOT_REPLY = 8,
    RAFT_TIMEOUT_NOW = 9,
};

/* Which fields count is said above; the rest are 0. */
struct raft_message {
    enum raft_message_type type;
    uint64_t term;
    uint64_t index, index_term; /* Last entry; entry before; snapshot's last entry. */
    uint64_t asked_term;
    bool granted; /* Or accepted, or handed over. */
    uint64_t commit;
    uint32_t entry_count;
    struct bytes entries;  /* Encoded: raft_message_entry() takes them out. */
    uint64_t match;        /* APPEND_REPLY's last field. */
    uint64_t size, offset; /* SNAPSHOT; `offset` is also what has come. */
    uint32_t crc;
    struct bytes chunk;
};

/* Append the bytes of a message. Returns 0, or -ENOMEM with `to` as it was. */
int raft_message_put(struct buffer *to, const struct raft_message *message);

/* Append the bytes of one entry, as APPEND has them. Returns 0, or -ENOMEM with `to` as it was. */
int raft_message_put_entry(struct buffer *to, const struct raft_entry *entry);

/* Take a message apart; its parts point into `input`.
 *
 * Returns 0; -EPROTONOSUPPORT for another version; -EBADMSG for anything that breaks the format: a field that
 * is missing, left over, not in shortest form or out of its bounds, a term that is 0, entries whose terms fall
 * or pass the message's, a members entry that cannot be read. `message` is then untouched. */
int raft_message_parse(struct bytes input, struct raft_message *message);

/* Take the next entry of a parsed APPEND, from a reader over its `entries`; its index is the caller's to set. */
struct raft_entry raft_message_entry(struct reader *reader);

#endif
