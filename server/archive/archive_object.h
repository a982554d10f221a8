/* The archive's objects: what their bytes are. A log object has records of the log, a checkpoint's objects have whole
 * sessions, and both are read the same way: the end first, which says what is where, then the blocks that are wanted.
 *
 *   header   ARCHIVE_HEADER_BYTES
 *   blocks   one behind the other, from the header to the footer
 *   footer   the index
 *   trailer  ARCHIVE_TRAILER_BYTES: the header once more, and the footer's place
 *
 * Integers are little-endian; varints as in bytes.h, in their shortest form.
 *
 * The header:
 *
 *     0   8  "BELAYARC"
 *     8   4  ARCHIVE_VERSION
 *    12   1  enum archive_kind
 *    13   1  cipher: 0 none, 1 AES-256-GCM
 *    14   2  0
 *    16  16  the cluster's id
 *    32   8  the actor that made it: node, start
 *    40   8  sequence
 *    48   4  part
 *    52   4  0
 *    56   8  when it was made, ms since 1970
 *    64  16  salt: random with a cipher, else 0
 *    80  32  id of the key, padded with zeros; zeros without a cipher
 *   112   8  check of the key (archive_keys.h); 0 without a cipher
 *   120   4  0
 *   124   4  CRC-32C of all that
 *
 * The trailer:
 *
 *     0 128  the header again, so that who reads the end needs nothing else
 *   128   8  offset of the footer
 *   136   4  size of the footer as it is stored
 *   140   4  its raw size
 *   144   4  CRC-32C of the footer as it is stored
 *   148   1  its codec: 0 as it is, 1 zstd
 *   149   3  0
 *   152   4  CRC-32C of the trailer up to here
 *   156   4  "BARC"
 *
 * Header and trailer have their sizes, "BELAYARC", version and both CRCs in every version; so another version is told
 * from damage.
 *
 * A block is for a range of slots, blocks in the order of slots; the records of one slot may go on in the next block.
 * Raw, it is the records as log_batch_item_put() (log_format.h) writes them: kind, position, size, body; in the order
 * of slots, and of one slot in the order in which they were added. Kinds are LOG_FULL, LOG_DELTA, LOG_BATCH and
 * LOG_BURY. A record belongs to the slot of its key, a batch to the one slot of all its keys. The position is that of
 * the cluster that wrote it. A block has at most ARCHIVE_BLOCK_BYTES_MAX raw bytes, or one record.
 *
 * Stored, a block is the raw bytes or, where that is less, one zstd frame of them, then enciphered where there is a
 * cipher. So is the footer. Raw, the footer is
 *
 *   varint   records
 *   8, 8     least and newest hlc of the newest stamps of all records, or as archive_writer_note() and
 *            archive_writer_reach() said; 0: none
 *   varint   parts: of ARCHIVE_DONE how many objects the checkpoint has beside it, else 0
 *   varint   blocks; for each:
 *              varint size as stored, varint raw size, 1 codec, 4 CRC-32C as stored,
 *              varint first slot less the last one of the block before (of the first block: the slot itself),
 *              varint last slot less first slot, varint records
 *   varint   shards; for each, ascending:
 *              varint shard, varint LSN from which on, varint LSN up to which this object has its log
 *   varint   slots; for each, ascending:
 *              varint slot less the one before, less 1 (of the first: the slot itself),
 *              varint actors; for each, ascending: varint node, varint start,
 *                varint least hlc of newest stamps less that of the object, varint newest less least, varint records
 *                (0: what it stamped is in records whose newest stamp is another's, archive_writer_note()),
 *              varint size, a vector of seen.h: of a checkpoint, what the slot had seen when it was made; else empty
 *
 * and a slot is there if it has records or a vector. Where blocks begin follows from their sizes, so none lies on
 * another.
 *
 * The cipher is AES-256 in GCM (NIST SP 800-38D) with a key of the object's own: HMAC-SHA256 of "belay archive
 * object" and the header under the key of the file (RFC 5869's expand step, with one block). The nonce is 4 bytes, 0
 * for the footer and 1 more than its number for a block, and 8 zeros; the tag of 16 bytes comes last. Authenticated
 * beside the bytes: the header, the offset (8), the raw size (4), the codec (1).
 *
 * No nonce is used twice with one key. In one object each number is used once. Two objects never have the same key, as
 * their headers differ: in kind, actor, sequence or part, of which an actor, one life of one node, gives each
 * combination to one object; and where it makes that object again, after a crash in which only the store knows whether
 * it got the first, in 16 bytes of the system's random numbers. So however many objects a key sees, there is nothing
 * to count and no birthday to fear, which random nonces would bring at some 2^32 objects. A PUT that is repeated sends
 * the same bytes.
 *
 * The cipher keeps contents, keys of sessions included, from who can read the store. Which node wrote, when and how
 * much is to be seen. An object that is changed does not pass; one that is removed, or replaced by one without a
 * cipher or by another of the same key, is for the reader to notice: by its name, and by what the catalog expects.
 *
 * CRCs are over what is stored, so damage is found without the key, and a wrong key is told from damage.
 *
 * Memory: what a reader needs is bounded by ARCHIVE_FOOTER_BYTES_MAX, and ARCHIVE_BLOCK_BYTES_MAX or one record's
 * size, whatever an object claims. zstd's and OpenSSL's working states come from malloc(), all else from the port.
 * Threads: any; a writer one at a time; a reader that is open may be used by several, as it does not change. No
 * clock, file or random number: they come as arguments.
 */
#ifndef ARCHIVE_OBJECT_H
#define ARCHIVE_OBJECT_H

#include <stdbool.h>
#include <stdint.h>

#include "archive_keys.h"
#include "archive_name.h"
#include "bytes.h"
#include "log_kind.h"
#include "memory.h"
#include "slot.h"
#include "stamp.h"

enum {
    ARCHIVE_VERSION = 1,
    ARCHIVE_HEADER_BYTES = 128,
    ARCHIVE_TRAILER_BYTES = 160,
    ARCHIVE_SALT_BYTES = 16,
    ARCHIVE_BLOCK_BYTES_MAX = 1024 * 1024,        /* Raw, but for one record that is larger. */
    ARCHIVE_RECORD_BYTES_MAX = 128 * 1024 * 1024, /* Of one record, with kind, position and size. */
    ARCHIVE_OBJECT_BYTES_MAX = 256 * 1024 * 1024, /* Raw, of all records of an object. */
    ARCHIVE_FOOTER_BYTES_MAX = 64 * 1024 * 1024,  /* Raw. */
    ARCHIVE_SHARDS_MAX = 1024,
    ARCHIVE_LEVEL = 3,              /* zstd's, unless there is a reason for another. */
    ARCHIVE_TAIL_BYTES = 64 * 1024, /* What to ask of an object's end at first: mostly enough. */
};

/* What a header says, beside its version. */
struct archive_header {
    struct archive_name name;
    uint64_t made_ms;
    /* Of no cipher: "", zeros. */
    char key_id[ARCHIVE_KEY_ID_BYTES_MAX + 1];
    uint8_t key_check[ARCHIVE_KEY_CHECK_BYTES];
    uint8_t salt[ARCHIVE_SALT_BYTES];
};

struct archive_record {
    uint8_t kind; /* enum log_kind. */
    uint16_t slot;
    uint64_t position; /* In the cluster that wrote it. */
    struct bytes body;
};

/* The slot of a record: that of its key, of a batch that of all its keys. Returns 0 with `slot` set; -EINVAL: a kind
 * that the archive has not; -EXDEV: a batch of several slots, which goes into the archive as its items; -EBADMSG: no
 * key is in it. */
int archive_record_slot(uint8_t kind, struct bytes body, uint16_t *slot);

/* ---- Writing ---- */

struct archive_writer_options {
    struct archive_name name;
    uint64_t made_ms;
    uint32_t parts;                /* ARCHIVE_DONE. */
    int level;                     /* zstd's, also below 0; 0: nothing is compressed. */
    const struct archive_key *key; /* NULL: no cipher. Copied. */
    /* With a key: of the system's random numbers, new for each object. */
    uint8_t salt[ARCHIVE_SALT_BYTES];
};

/* Gathers an object's records, then makes its bytes. Private to archive_writer.c, but for what is read. */
struct archive_writer {
    struct memory *memory;
    struct archive_writer_options options;
    struct archive_key key;
    struct buffer raw;     /* Records, as they came. */
    struct buffer entries; /* Of each: slot, place, stamp. */
    struct buffer vectors, vector_bytes;
    struct buffer shards;
    struct buffer block; /* One, raw; then the footer. */
    struct buffer index; /* Blocks of the footer. */
    struct buffer spans; /* Of a slot. */
    struct buffer object;
    uint64_t least_hlc, newest_hlc;
    uint64_t records;      /* Read. */
    uint64_t record_bytes; /* Read: raw bytes of all records. */
};

void archive_writer_init(struct archive_writer *writer, struct memory *memory);
void archive_writer_fini(struct archive_writer *writer);

/* Begin an object; what was gathered before is dropped, memory is kept. */
void archive_writer_begin(struct archive_writer *writer,
                          const struct archive_writer_options *options);

/* Add a record, copied; slots in any order, records of one slot in the order of the log. `newest` is its newest stamp.
 * `slot` of the record is not looked at: it goes by the key. Returns 0; with nothing changed:
 * -EFBIG    The object would be larger than ARCHIVE_OBJECT_BYTES_MAX: make it, begin the next.
 * -EMSGSIZE The record is larger than any may be.
 * -EINVAL   It has no stamp (hlc 0), or the object is ARCHIVE_DONE.
 * -EINVAL, -EXDEV, -EBADMSG as archive_record_slot(); -ENOMEM. */
int archive_writer_add(struct archive_writer *writer, const struct archive_record *record,
                       struct stamp newest);

/* The record that was added last has what an actor stamped up to here as well, and is needed for it, though its newest
 * stamp is another's. Returns 0 or -ENOMEM. */
int archive_writer_note(struct archive_writer *writer, struct stamp stamp);

/* Of a checkpoint: what a slot had seen (seen_put()) when its sessions began to be read; copied. A part has those of
 * slots that it holds wholly or in part, or none; `done` has those of all slots that the checkpoint holds, also the
 * empty ones, so that one object says what a checkpoint covers. Once per slot, never empty. Returns 0; -EFBIG: more
 * than a footer may have; -ENOMEM. */
int archive_writer_seen(struct archive_writer *writer, uint16_t slot, struct bytes vector);

/* The log of a shard from `from` up to `to` is in this object, as far as it goes to the archive. Once per shard, below
 * ARCHIVE_SHARDS_MAX. Returns 0 or -ENOMEM. */
int archive_writer_shard(struct archive_writer *writer, uint32_t shard, uint64_t from, uint64_t to);

/* Times that the object says it reaches over, beside those of its records: for `done`, those of its parts. */
void archive_writer_reach(struct archive_writer *writer, uint64_t least_hlc, uint64_t newest_hlc);

/* Make the object's bytes: valid until the next call with this writer. The same was given, the same bytes come. Takes
 * as long as compressing takes. Returns 0 with `object` set; -EFBIG: the footer would be larger than
 * ARCHIVE_FOOTER_BYTES_MAX; -EIO: the cipher failed; -ENOMEM. After a failure it may be called again. */
int archive_writer_make(struct archive_writer *writer, struct bytes *object);

/* ---- Reading ---- */

struct archive_block {
    uint64_t offset;
    uint32_t size; /* As stored: from `offset` on. */
    uint32_t raw_size;
    uint32_t crc;
    uint32_t records;
    uint16_t first_slot, last_slot;
    uint8_t codec;
};

/* Records of a slot whose newest stamp is of one actor. */
struct archive_span {
    struct actor actor;
    uint64_t least_hlc, newest_hlc; /* Of their newest stamps, and as archive_writer_note() said. */
    uint64_t records;               /* 0: only that. */
};

struct archive_slot {
    uint16_t slot;
    uint32_t span_count;
    const struct archive_span *spans; /* In the order of actors. */
    struct bytes seen;                /* A vector (seen.h), or empty. */
};

struct archive_shard {
    uint32_t shard;
    uint64_t from, to;
};

/* Private to archive_reader.c, but for what is read once it is open. */
struct archive_reader {
    struct memory *memory;
    const struct archive_keys *keys;
    struct archive_header header;
    uint64_t object_bytes;
    uint64_t records, raw_bytes;    /* Of all blocks. */
    uint64_t least_hlc, newest_hlc; /* 0: no record, and no archive_writer_reach(). */
    uint32_t parts;                 /* ARCHIVE_DONE. */
    uint32_t block_count, slot_count, shard_count;
    struct archive_block *blocks;
    struct archive_slot *slots;   /* Ascending. */
    struct archive_shard *shards; /* Ascending. */
    const char *damaged;          /* After -EBADMSG: "trailer" or "footer"... */
    uint64_t damaged_offset;      /* ... and where in the object. */
    uint8_t header_bytes[ARCHIVE_HEADER_BYTES];
    uint8_t object_key[ARCHIVE_KEY_BYTES];
    struct buffer footer, spans;
};

/* `keys` may be NULL: none; they stay the caller's and must stay. */
void archive_reader_init(struct archive_reader *reader, struct memory *memory,
                         const struct archive_keys *keys);
void archive_reader_fini(struct archive_reader *reader);

/* Open an object of `object_bytes` from its last bytes (all of it will do), or another in the place of the one before;
 * `tail` is not needed afterwards. Returns 0, or
 * -EAGAIN          `tail_bytes` is set: so many bytes of the end are needed.
 * -EBADMSG         Damaged, cut short or none of ours; `damaged` and `damaged_offset` say where.
 * -EPROTONOSUPPORT Of another version.
 * -ENOKEY          It is enciphered, and its key (`header.key_id`) is not among the keys.
 * -EKEYREJECTED    A key of that id is, but it is another one.
 * -ENOMEM, -EIO (the cipher).
 * `header` is set after 0, -ENOKEY and -EKEYREJECTED; the index is there after 0 only. */
int archive_reader_open(struct archive_reader *reader, struct bytes tail, uint64_t object_bytes,
                        uint64_t *tail_bytes);

/* What it takes to read the blocks of an open object, in `blocks`, which is the caller's to end as a reader: some 40 bytes for
 * each block. The keys of the reader it needs no more. Returns 0 or -ENOMEM. */
int archive_reader_keep_blocks(const struct archive_reader *reader, struct archive_reader *blocks);

/* Is this, the object's first ARCHIVE_HEADER_BYTES, what the trailer says it is? For who verifies. Returns 0;
 * -EBADMSG. */
int archive_reader_check_header(const struct archive_reader *reader, struct bytes first);

/* What the object has of a slot; NULL: nothing. */
const struct archive_slot *archive_reader_slot(const struct archive_reader *reader, uint16_t slot);

/* Which blocks hold records of these slots. They lie in one range of the object: from `blocks[first].offset` on,
 * archive_reader_bytes(). Returns their number, perhaps 0. */
uint32_t archive_reader_blocks(const struct archive_reader *reader, uint16_t first_slot,
                               uint16_t last_slot, uint32_t *first);

/* Bytes of `count` blocks from the first on. */
uint64_t archive_reader_bytes(const struct archive_reader *reader, uint32_t first, uint32_t count);

/* Make a block's raw bytes of its stored ones. Returns 0 with `raw` overwritten; -EBADMSG: the block is damaged;
 * -ENOMEM, -EIO. */
int archive_reader_block(const struct archive_reader *reader, uint32_t block, struct bytes stored,
                         struct buffer *raw);

/* A walk over a block's records. */
struct archive_walk {
    const struct archive_block *block;
    struct reader from;
    struct bytes raw;
    uint64_t offset;  /* In the raw bytes, of the record that came last, or of the damage. */
    uint32_t records; /* So many came. */
    uint16_t slot;    /* Of the one that came last. */
};

/* `raw`, and the reader that has the block, must stay. */
void archive_walk_init(struct archive_walk *walk, const struct archive_block *block,
                       struct bytes raw);

/* The next record, which points into the raw bytes. Its body was not looked at, but for its keys: session_check() and
 * session_check_delta() do that. A batch is taken apart with log_batch_next(). Returns 1 with `record` set; 0: these
 * were all; -EBADMSG: not a record, not of a slot of the block, not in order, or not as many as the index says. */
int archive_walk_next(struct archive_walk *walk, struct archive_record *record);

#endif
