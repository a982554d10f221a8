/* audit: read every key of a record, and say whether what was acknowledged is there. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "content.h"
#include "pump.h"
#include "record.h"
#include "report.h"
#include "verdict.h"

enum {
    LEVELS = BELAY_ACK_ARCHIVE + 1,
    ALL_LEVELS = 0,
    TOLD_MAX = 10, /* Keys that are named; of the others there is a count. */
};

/* What the record says about one key. Index 0 of the arrays stands for all levels together. */
struct audit_key {
    uint64_t sent;
    uint64_t acked[LEVELS];
    uint64_t acked_us[LEVELS];
    uint64_t missing; /* Writes from this count on are not there; 0: nothing is missing. */
};

struct audit {
    struct pump_user user;
    const struct bench_options *options;
    struct pump *pump;
    struct record record;
    struct audit_key *keys;
    uint64_t next, done, ignored;
    uint64_t found; /* Keys with which something is wrong. */
    uint64_t acked[LEVELS];
    uint64_t verdicts[LEVELS][VERDICT_COUNT];
    uint64_t ignore_us; /* Acknowledgements at `memory` since then do not count. */
    uint64_t end_us;    /* The last acknowledgement... */
    uint64_t oldest_us; /* ... and how long before it the oldest came of which nothing is there. */
    struct report_errors errors;
};

static struct audit *audit_of(struct pump_user *user)
{
    return (struct audit *)user;
}

static bool is_acked(const struct record_entry *entry)
{
    return entry->what == RECORD_ACKED && entry->level > 0 && entry->level < LEVELS;
}

static bool is_ignored(const struct audit *audit, const struct record_entry *entry)
{
    return entry->level == BELAY_ACK_MEMORY && entry->time_us >= audit->ignore_us;
}

/* Bring the entries into one row per key. */
static void note_entry(struct audit *audit, const struct record_entry *entry)
{
    struct audit_key *key = &audit->keys[entry->key];

    if (entry->what == RECORD_SENT) {
        key->sent = entry->count;
    }
    if (!is_acked(entry)) {
        return;
    }
    if (is_ignored(audit, entry)) {
        audit->ignored++;
        return;
    }
    const unsigned levels[] = {ALL_LEVELS, entry->level};
    for (unsigned i = 0; i < 2; i++) {
        audit->acked[levels[i]]++;
        key->acked[levels[i]] = entry->count;
        key->acked_us[levels[i]] = entry->time_us;
    }
}

/* When the last acknowledgement came. */
static int find_end(struct audit *audit)
{
    struct record *record = &audit->record;
    struct record_entry entry;
    int rc;

    while ((rc = record_next(record, &entry)) == 1) {
        if (entry.what == RECORD_ACKED && entry.time_us > audit->end_us) {
            audit->end_us = entry.time_us;
        }
    }
    record_rewind(record);
    return rc;
}

static int read_record(struct audit *audit)
{
    struct record_entry entry;

    int rc = find_end(audit);
    if (rc != 0) {
        return rc;
    }
    audit->keys = calloc(audit->record.header.keys, sizeof *audit->keys);
    if (audit->keys == NULL) {
        return -ENOMEM;
    }
    uint64_t ignored_us = audit->options->ignore_last_ms * 1000;
    audit->ignore_us = audit->end_us + 1 > ignored_us ? audit->end_us + 1 - ignored_us : 0;
    while (record_next(&audit->record, &entry) == 1) {
        note_entry(audit, &entry);
    }
    return 0;
}

/* Once every key was looked at. */
static void find_oldest_missing(struct audit *audit)
{
    struct record_entry entry;

    record_rewind(&audit->record);
    while (record_next(&audit->record, &entry) == 1) {
        const struct audit_key *key = &audit->keys[entry.key];
        if (is_acked(&entry) && !is_ignored(audit, &entry) && key->missing > 0 &&
            entry.count >= key->missing && audit->end_us - entry.time_us > audit->oldest_us) {
            audit->oldest_us = audit->end_us - entry.time_us;
        }
    }
}

static bool audit_begin(struct pump_user *user, struct operation *operation, struct ask *ask)
{
    struct audit *audit = audit_of(user);
    const struct record_header *header = &audit->record.header;

    while (audit->next < header->keys && audit->keys[audit->next].sent == 0) {
        audit->next++;
    }
    if (audit->next == header->keys) {
        return false;
    }
    operation->key = audit->next++;
    ask->kind = ASK_GET;
    ask->no_touch = true;
    ask_key(ask, header->prefix, operation->key);
    return true;
}

static bool may_have_expired(const struct audit *audit, uint64_t acked_us)
{
    const struct record_header *header = &audit->record.header;
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    return header->ttl_ms > 0 && now_us >= header->start_us + acked_us + header->ttl_ms * 1000;
}

/* The first write that is not there. What is absent may be so by the last delete that was acknowledged; of what is wrong
 * nothing is known. */
static uint64_t first_missing(const struct evidence *evidence)
{
    uint64_t count = evidence->acked;

    if (evidence->present) {
        return evidence->found + 1;
    }
    while (count > 0 && !content_is_delete(evidence->key, count, evidence->deletes_percent)) {
        count--;
    }
    return count + 1;
}

/* The first ones. */
static void tell(struct audit *audit, const struct evidence *evidence, enum verdict verdict)
{
    char text[VERDICT_TEXT_BYTES];

    if (audit->found++ < TOLD_MAX) {
        verdict_describe(evidence, verdict, text);
        fprintf(stderr, "belay-bench: %s\n", text);
    }
}

/* Judge one key at each level by itself, and in all. */
static void judge(struct audit *audit, struct evidence *evidence)
{
    struct audit_key *key = &audit->keys[evidence->key];

    for (unsigned level = 0; level < LEVELS; level++) {
        if (level != ALL_LEVELS && key->acked[level] == 0) {
            continue;
        }
        evidence->acked = key->acked[level];
        evidence->expired = may_have_expired(audit, key->acked_us[level]);
        enum verdict verdict = verdict_of(evidence);
        audit->verdicts[level][verdict]++;
        if (level == ALL_LEVELS && verdict != VERDICT_GOOD) {
            key->missing = verdict == VERDICT_WRONG ? 0 : first_missing(evidence);
            tell(audit, evidence, verdict);
        }
    }
}

static void audit_end(struct pump_user *user, struct operation *operation,
                      const struct answer *answer, uint64_t latency_ns)
{
    const enum belay_status status = answer->status;
    struct audit *audit = audit_of(user);
    const struct record_header *header = &audit->record.header;
    struct evidence evidence = {
        .key = operation->key,
        .sent = audit->keys[operation->key].sent,
        .deletes_percent = header->deletes_percent,
        .present = status == BELAY_OK,
    };
    uint8_t key[CONTENT_KEY_BYTES_MAX];

    (void)latency_ns;
    audit->done++;
    if (status != BELAY_OK && status != BELAY_NOT_FOUND) {
        report_error(&audit->errors, status);
        return;
    }
    if (evidence.present) {
        size_t key_size = content_key(header->prefix, operation->key, key);
        evidence.readable = content_counted_read(bytes_of(key, key_size), operation->key,
                                                 answer->value, &evidence.found) == 0;
    }
    judge(audit, &evidence);
}

static void tick(struct pump_user *user)
{
    struct audit *audit = audit_of(user);

    report_progress("audit", audit->done, audit->record.header.keys);
    if (audit->next == audit->record.header.keys) {
        pump_stop(audit->pump);
    }
}

static json_t *level_json(const struct audit *audit, unsigned level)
{
    json_t *row = json_pack("{s:I}", "acked", (json_int_t)audit->acked[level]);

    for (unsigned i = VERDICT_LOST; i < VERDICT_COUNT; i++) {
        json_object_set_new(row, verdict_name((enum verdict)i),
                            json_integer((json_int_t)audit->verdicts[level][i]));
    }
    return row;
}

static void print_json(const struct audit *audit)
{
    json_t *document = json_object(), *levels = json_object();

    for (unsigned level = 1; level < LEVELS; level++) {
        if (audit->acked[level] > 0) {
            json_object_set_new(levels, belay_ack_name((enum belay_ack)level),
                                level_json(audit, level));
        }
    }
    json_object_set_new(document, "levels", levels);
    json_object_set_new(document, "all", level_json(audit, ALL_LEVELS));
    json_object_set_new(document, "keys", json_integer((json_int_t)audit->done));
    json_object_set_new(document, "ignored", json_integer((json_int_t)audit->ignored));
    json_object_set_new(document, "oldest_missing_ms", json_real((double)audit->oldest_us / 1000));
    json_object_set_new(document, "errors", report_errors_json(&audit->errors));
    report_json(document);
}

static void print_level(const struct audit *audit, unsigned level, const char *name)
{
    printf("%-11s acked=%" PRIu64, name, audit->acked[level]);
    for (unsigned i = VERDICT_LOST; i < VERDICT_COUNT; i++) {
        printf(" %s=%" PRIu64, verdict_name((enum verdict)i), audit->verdicts[level][i]);
    }
    printf("\n");
}

static void print_text(const struct audit *audit)
{
    for (unsigned level = 1; level < LEVELS; level++) {
        if (audit->acked[level] > 0) {
            print_level(audit, level, belay_ack_name((enum belay_ack)level));
        }
    }
    print_level(audit, ALL_LEVELS, "all");
    if (audit->oldest_us > 0) {
        printf("missing     the oldest was acknowledged %.1f ms before the last of the record\n",
               (double)audit->oldest_us / 1000);
    }
    if (audit->ignored > 0) {
        printf("ignored     %" PRIu64 " acknowledged at memory in the last %" PRIu64 " ms\n",
               audit->ignored, audit->options->ignore_last_ms);
    }
    if (report_errors_sum(&audit->errors) > 0) {
        report_errors_print(&audit->errors);
    }
}

static enum bench_exit run_audit(struct audit *audit, const struct server *server)
{
    int rc = read_record(audit);
    if (rc != 0) {
        fprintf(stderr, "belay-bench: %s: %s\n", audit->options->record,
                rc == -EBADMSG ? "the record is damaged" : strerror(-rc));
        return BENCH_USAGE;
    }
    rc = pump_create(audit->options, server, &audit->user, &audit->pump);
    if (rc != 0) {
        fprintf(stderr, "belay-bench: %s\n", strerror(-rc));
        return BENCH_BAD;
    }
    pump_run(audit->pump);
    report_progress_end();
    pump_destroy(audit->pump);
    find_oldest_missing(audit);
    if (audit->found > TOLD_MAX) {
        fprintf(stderr, "belay-bench: and %" PRIu64 " more keys\n", audit->found - TOLD_MAX);
    }
    if (audit->options->json) {
        print_json(audit);
    } else {
        print_text(audit);
    }
    const uint64_t *verdicts = audit->verdicts[ALL_LEVELS];
    uint64_t bad = report_errors_sum(&audit->errors);
    for (unsigned i = VERDICT_LOST; i < VERDICT_COUNT; i++) {
        bad += verdicts[i];
    }
    return bad == 0 ? BENCH_GOOD : BENCH_BAD;
}

enum bench_exit bench_audit(const struct bench_options *options, const struct server *server)
{
    struct audit audit = {
        .user = {.begin = audit_begin, .end = audit_end, .tick = tick},
        .options = options,
    };
    int rc = record_open(&audit.record, options->record);

    if (rc != 0) {
        fprintf(stderr, "belay-bench: %s: %s\n", options->record,
                rc == -EBADMSG ? "not a record of belay-bench run" : strerror(-rc));
        return BENCH_USAGE;
    }
    enum bench_exit verdict = run_audit(&audit, server);
    free(audit.keys);
    record_close(&audit.record);
    return verdict;
}
