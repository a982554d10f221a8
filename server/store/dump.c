#include "dump.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

#include "checkpoint.h"
#include "directory.h"
#include "log_reader.h"
#include "segment_pool.h"
#include "session.h"
#include "staging.h"

struct dump {
    struct log_visitor visitor;
    struct reporter reporter;
    FILE *out;
    uint64_t lsn_to_offset; /* Add to an LSN; may wrap. */
    uint64_t records;
};

static void print_key(FILE *out, struct bytes key)
{
    fputs(" key=\"", out);
    for (size_t i = 0; i < key.size; i++) {
        uint8_t byte = key.data[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\') {
            fputc(byte, out);
        } else {
            fprintf(out, "\\x%02x", byte);
        }
    }
    fputs("\"\n", out);
}

static const char *kind_name(uint32_t kind)
{
    static const char *const names[] = {"?",    "full",  "delta", "batch",
                                        "mark", "touch", "bury",  "drop"};

    return kind < sizeof names / sizeof names[0] ? names[kind] : "?";
}

static void print_item(FILE *out, uint32_t kind, uint64_t position, struct bytes body)
{
    fprintf(out, " kind=%s position=%016" PRIx64 " bytes=%zu", kind_name(kind), position,
            body.size);
    print_key(out, log_record_key(kind, body));
}

void dump_item(FILE *out, uint32_t kind, uint64_t position, struct bytes body)
{
    struct reader reader = reader_of(body);
    struct log_batch_item item;

    print_item(out, kind, position, body);
    while (kind == LOG_BATCH && log_batch_next(&reader, &item) == 1) {
        fputs("item", out);
        print_item(out, item.kind, item.position, item.body);
    }
}

/* ---- One file of the log ---- */

static int dump_record(struct log_visitor *visitor, uint64_t lsn, const struct log_record *record)
{
    struct dump *dump = (struct dump *)(void *)visitor;

    dump->records++;
    fprintf(dump->out, "record offset=%" PRIu64 " lsn=%" PRIu64, lsn + dump->lsn_to_offset, lsn);
    dump_item(dump->out, record->kind, record->position, record->body);
    return ferror(dump->out) != 0 ? -EIO : 0;
}

static void dump_damage(struct log_visitor *visitor, const struct log_damage *damage)
{
    struct dump *dump = (struct dump *)(void *)visitor;

    fprintf(dump->out, "damaged offset=%" PRIu64 " bytes=%" PRIu64, damage->offset, damage->size);
    print_key(dump->out, log_record_key(damage->kind, damage->body));
}

static void dump_torn(struct log_visitor *visitor, uint64_t offset)
{
    struct dump *dump = (struct dump *)(void *)visitor;

    fprintf(dump->out, "torn offset=%" PRIu64 "\n", offset);
}

/* Find out what the file is: from its header or, where that is damaged, its name. */
static int open_file(struct log_reader *reader, const char *path, FILE *out)
{
    struct log_segment_header header = {0};
    const char *slash = strrchr(path, '/');
    const char *name = slash == NULL ? path : slash + 1;

    int rc = log_reader_open(reader, path, (struct log_epoch){0});
    if (rc != 0) {
        return rc;
    }
    int header_rc = log_reader_header(reader, &header);
    if (header_rc != 0) {
        rc = header_rc == -EBADMSG || header_rc == -ENODATA
                 ? segment_name_parse(name, &header.epoch)
                 : header_rc;
        if (rc != 0) {
            return header_rc;
        }
    }
    reader->epoch = header.epoch;
    rc = log_reader_locate(reader);
    fprintf(out,
            "segment file=%s header=%s shard=%" PRIu32 " node=%" PRIu32 " start=%" PRIu32
            " epoch=%" PRIu32 " bytes=%" PRIu64,
            name, header_rc == 0 ? "good" : "damaged", header.shard, header.actor.node,
            header.actor.start, header.epoch.number, reader->size);
    if (rc == 0) {
        fprintf(out, " lsn=%" PRIu64 "\n", reader->lsn);
    } else {
        fputs(" lsn=none\n", out);
    }
    return rc;
}

/* ---- The staging ---- */

static int dump_area(struct dump *dump, const struct staging_note *note, uint32_t area,
                     struct bytes from, bool records)
{
    uint64_t lsn = note->lsn;
    int rc = 0;

    fprintf(dump->out,
            "area index=%" PRIu32 " epoch=%" PRIu32 " lsn=%" PRIu64 " bytes=%" PRIu32 " holds=%s\n",
            area, note->epoch.number, note->lsn, note->size,
            staging_note_holds(note, from) ? "yes" : "no");
    dump->lsn_to_offset = staging_note_offset(note, area) - note->lsn;
    while (records && rc == 0) {
        struct log_record record;
        int64_t size = log_record_parse(from, note->epoch, &record);
        if (size <= 0) {
            break;
        }
        rc = dump_record(&dump->visitor, lsn, &record);
        lsn += (uint64_t)size;
        from = bytes_of(from.data + size, from.size - (size_t)size);
    }
    return rc;
}

static int dump_areas(struct dump *dump, struct memory *memory, int fd, bool records)
{
    struct files *files = files_system();
    uint8_t header[STAGING_HEADER_BYTES];
    struct staging_note note;
    uint32_t shard;

    int64_t got = files->read(files, fd, header, sizeof header, 0);
    int rc = got < 0 ? (int)got : staging_header_parse(bytes_of(header, (size_t)got), &shard);
    if (rc != 0) {
        return rc;
    }
    fprintf(dump->out, "staging file=%s shard=%" PRIu32 "\n", STAGING_NAME, shard);
    for (uint32_t i = 0; i < STAGING_AREAS && rc == 0; i++) {
        if (!staging_note_get(bytes_of(header, sizeof header), i, &note)) {
            continue;
        }
        uint8_t *from = memory->resize(memory, NULL, 0, note.size);
        if (from == NULL) {
            return -ENOMEM;
        }
        got = files->read(files, fd, from, note.size, staging_note_offset(&note, i));
        rc = got < 0 ? (int)got : dump_area(dump, &note, i, bytes_of(from, (size_t)got), records);
        memory->resize(memory, from, note.size, 0);
    }
    return rc;
}

/* Returns 0; -EBADMSG: it is something else; -ENODATA: never used; negative errno. */
static int dump_staging(struct dump *dump, struct memory *memory, const char *path, bool records)
{
    struct files *files = files_system();
    int fd = files->open(files, path, O_RDONLY);

    if (fd < 0) {
        return fd;
    }
    int rc = dump_areas(dump, memory, fd, records);
    files->close(files, fd);
    return rc;
}

static void tell(char *message, size_t size, const char *path, int rc)
{
    const char *text = rc == -EBADMSG           ? "no segment of Belay's log"
                       : rc == -ENODATA         ? "was never written"
                       : rc == -EPROTONOSUPPORT ? "was written by another version"
                                                : strerror(-rc);

    snprintf(message, size, "%s: %s", path, text);
}

int dump_log(struct memory *memory, const char *path, FILE *out, char *message, size_t message_size)
{
    struct dump dump = {
        .visitor = {.record = dump_record, .damage = dump_damage, .torn = dump_torn}, .out = out};
    struct log_reader reader;
    uint64_t lsn = 0;

    int rc = dump_staging(&dump, memory, path, true);
    if (rc == 0) {
        return 0;
    }
    if (rc == -EPROTONOSUPPORT) {
        tell(message, message_size, path, rc);
        return rc;
    }
    log_reader_init(&reader, files_system(), memory);
    rc = open_file(&reader, path, out);
    if (rc == 0) {
        lsn = reader.lsn;
        dump.lsn_to_offset = LOG_HEADER_BYTES - lsn;
        rc = log_reader_walk(&reader, &lsn, LOG_LSN_UNKNOWN, &dump.visitor);
        fprintf(out, "end lsn=%" PRIu64 " records=%" PRIu64 "\n", lsn, dump.records);
    } else if (rc == -ENODATA && reader.epoch.number != 0) {
        rc = 0; /* Prepared, and not written yet. */
    }
    log_reader_fini(&reader);
    if (rc != 0) {
        tell(message, message_size, path, rc);
    }
    return rc;
}

/* ---- A data directory ---- */

static void dump_report(struct reporter *reporter, const struct store_report *report)
{
    struct dump *dump =
        (struct dump *)(void *)((uint8_t *)reporter - offsetof(struct dump, reporter));

    fprintf(dump->out, "%s shard=%" PRIu32 " lsn=%" PRIu64 " bytes=%" PRIu64,
            store_event_name(report->event), report->shard, report->lsn, report->size);
    print_key(dump->out, report->key);
}

struct segment_dump {
    struct dump *dump;
    struct memory *memory;
    const char *directory;
};

static int dump_segment(void *context, const char *name)
{
    const struct segment_dump *segment = context;
    struct log_reader reader;
    struct log_epoch epoch;
    char path[PATH_BYTES_MAX];

    bool staging = strcmp(name, STAGING_NAME) == 0;

    if (!staging && segment_name_parse(name, &epoch) != 0) {
        return 0;
    }
    int rc = path_join(path, segment->directory, name);
    if (rc != 0) {
        return rc;
    }
    if (staging) {
        rc = dump_staging(segment->dump, segment->memory, path, false);
        if (rc == -EBADMSG) {
            fprintf(segment->dump->out, "staging file=%s header=damaged\n", STAGING_NAME);
        }
        return rc == -ENODATA || rc == -EBADMSG ? 0 : rc;
    }
    log_reader_init(&reader, files_system(), segment->memory);
    rc = open_file(&reader, path, segment->dump->out);
    log_reader_fini(&reader);
    return rc == -ENODATA ? 0 : rc;
}

static int dump_sessions(struct dump *dump, struct checkpoint *checkpoint, uint32_t shard)
{
    struct checkpoint_key key;
    struct bytes record;

    int rc = checkpoint_read_begin(checkpoint);
    if (rc != 0) {
        return rc;
    }
    while ((rc = checkpoint_read_next(checkpoint, &key, &record)) == 1) {
        fprintf(dump->out, "session shard=%" PRIu32 " position=%016" PRIx64 " bytes=%zu", shard,
                key.position, record.size);
        print_key(dump->out, session_key(record));
        if (ferror(dump->out) != 0) {
            rc = -EIO;
            break;
        }
    }
    checkpoint_read_end(checkpoint);
    return rc;
}

static int dump_shard(struct dump *dump, struct memory *memory, const struct directory *directory,
                      uint32_t shard)
{
    struct checkpoint *checkpoint;
    struct checkpoint_info info;
    char path[PATH_BYTES_MAX];

    int rc = directory_shard_path(directory, directory->meta.generation, shard, path);
    if (rc != 0) {
        return rc;
    }
    const struct checkpoint_options options = {
        .directory = path,
        .shard = shard,
        .files = files_system(),
        .memory = memory,
        .reporter = &dump->reporter,
        .inspect = true,
    };
    rc = checkpoint_open(&options, &checkpoint);
    if (rc != 0) {
        return rc;
    }
    checkpoint_info(checkpoint, &info);
    fprintf(dump->out,
            "shard index=%" PRIu32 " checkpoint-lsn=%" PRIu64 " sessions=%" PRIu64 " bytes=%" PRIu64
            "\n",
            shard, info.lsn, info.sessions, info.record_bytes);
    struct segment_dump segment = {.dump = dump, .memory = memory, .directory = path};
    rc = files_list(path, dump_segment, &segment);
    if (rc == 0) {
        rc = dump_sessions(dump, checkpoint, shard);
    }
    checkpoint_close(checkpoint);
    return rc;
}

int dump_data(struct memory *memory, const char *path, FILE *out, char *message,
              size_t message_size)
{
    struct dump dump = {.reporter = {.report = dump_report}, .out = out};
    struct directory directory;

    int rc = directory_inspect(&directory, files_system(), path, message, message_size);
    if (rc != 0) {
        return rc;
    }
    const struct directory_meta *meta = &directory.meta;
    fprintf(out,
            "directory path=%s id=%016" PRIx64 " node=%" PRIu32 " start=%" PRIu32 " shards=%" PRIu32
            " generation=%" PRIu64 " clean=%s\n",
            path, meta->id, meta->actor.node, meta->actor.start, meta->shards, meta->generation,
            meta->clean ? "yes" : "no");
    for (uint32_t i = 0; i < meta->shards && rc == 0; i++) {
        rc = dump_shard(&dump, memory, &directory, i);
    }
    directory_close(&directory);
    if (rc != 0) {
        tell(message, message_size, path, rc);
    }
    return rc;
}
