#include "writer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "content.h"

enum { TOLD_MAX = 10 };

int writer_open(struct writer *writer, const struct bench_options *options)
{
    struct record_header header = {
        .keys = options->keys,
        .ttl_ms = options->ttl_ms,
        .value_bytes = options->value_bytes,
        .deletes_percent = options->deletes_percent,
    };

    *writer = (struct writer){.options = options};
    snprintf(header.prefix, sizeof header.prefix, "%s", options->prefix);
    writer->keys = calloc(options->keys, sizeof *writer->keys);
    writer->value = malloc(options->value_bytes);
    int rc = writer->keys != NULL && writer->value != NULL ? 0 : -ENOMEM;
    if (rc == 0) {
        rc = record_create(&writer->record, options->record, &header);
    }
    if (rc != 0) {
        free(writer->keys);
        free(writer->value);
    }
    return rc;
}

void writer_close(struct writer *writer)
{
    record_close(&writer->record);
    free(writer->keys);
    free(writer->value);
}

/* Write it down. A record that cannot grow ends the run: going on without it would be pointless. */
static void note(struct writer *writer, struct record_entry entry)
{
    int rc = record_note(&writer->record, entry);

    if (rc != 0) {
        fprintf(stderr, "belay-bench: %s: %s\n", writer->options->record, strerror(-rc));
        exit(BENCH_USAGE);
    }
}

bool writer_begin(struct writer *writer, uint64_t key, uint64_t *count, struct ask *ask)
{
    const struct bench_options *options = writer->options;
    struct writer_key *state = &writer->keys[key];

    if (state->busy || state->retired || state->sent == UINT32_MAX) {
        return false;
    }
    *count = ++state->sent;
    state->busy = true;
    ask_key(ask, options->prefix, key);
    ask->ack = options->ack;
    if (content_is_delete(key, *count, options->deletes_percent)) {
        ask->kind = ASK_DELETE;
    } else {
        ask->kind = ASK_SET;
        ask->create = state->ended;
        content_counted(bytes_of(ask->key, ask->key_size), key, *count, writer->value,
                        options->value_bytes);
        ask->value = bytes_of(writer->value, options->value_bytes);
        ask->ttl_ms = options->ttl_ms;
    }
    note(writer, (struct record_entry){.key = key, .count = *count, .what = RECORD_SENT});
    return true;
}

/* Did the server say for certain that nothing was written? */
static bool is_refusal(enum belay_status status)
{
    switch (status) {
    case BELAY_EXISTS:
    case BELAY_DESTROYED:
    case BELAY_NOT_FOUND:
    case BELAY_BUSY:
    case BELAY_MEMORY_FULL:
    case BELAY_DISK_FULL:
    case BELAY_SESSION_TOO_LARGE:
    case BELAY_TOO_MANY_IN_FLIGHT:
    case BELAY_STOPPING:
        return true;
    default:
        return false;
    }
}

void writer_end(struct writer *writer, uint64_t key, uint64_t count, const struct answer *answer)
{
    const enum belay_status status = answer->status;
    struct writer_key *state = &writer->keys[key];
    struct record_entry entry = {.key = key, .count = count, .status = (uint16_t)status};

    state->busy = false;
    if (status == BELAY_OK) {
        entry.what = RECORD_ACKED;
        entry.level = (uint8_t)answer->ack_level;
        state->acked = (uint32_t)count;
        state->ended = content_is_delete(key, count, writer->options->deletes_percent);
    } else if (is_refusal(status)) {
        entry.what = RECORD_REFUSED;
        state->ended = status == BELAY_DESTROYED || (state->ended && status != BELAY_EXISTS);
    } else {
        entry.what = RECORD_UNKNOWN;
        state->retired = true;
        writer->keys_retired++;
    }
    note(writer, entry);
}

uint64_t writer_read_begin(const struct writer *writer, uint64_t key)
{
    return writer->keys[key].acked;
}

/* The first ones of a kind; all are counted. */
static void tell(const struct writer *writer, const struct evidence *evidence, enum verdict verdict)
{
    uint64_t count = writer->verdicts[verdict];
    char text[VERDICT_TEXT_BYTES];

    if (count <= TOLD_MAX) {
        verdict_describe(evidence, verdict, text);
        fprintf(stderr, "belay-bench: read: %s\n", text);
    }
    if (count == TOLD_MAX) {
        fprintf(stderr, "belay-bench: more that is %s is counted, but not shown\n",
                verdict_name(verdict));
    }
    if (count == 1 && verdict == VERDICT_WRONG) {
        fprintf(stderr,
                "belay-bench: do keys with the prefix %s hold something else? A recorded run "
                "wants keys of its own: --prefix\n",
                writer->options->prefix);
    }
}

void writer_read_end(struct writer *writer, uint64_t key, uint64_t at_least,
                     const struct answer *answer)
{
    const struct bench_options *options = writer->options;
    struct evidence evidence = {
        .key = key,
        .acked = at_least,
        .sent = writer->keys[key].sent,
        .deletes_percent = options->deletes_percent,
        .expired = options->ttl_ms > 0, /* An audit looks closer. */
        .present = answer->status == BELAY_OK,
    };
    uint8_t name[CONTENT_KEY_BYTES_MAX];

    if (evidence.present) {
        size_t size = content_key(options->prefix, key, name);
        evidence.readable =
            content_counted_read(bytes_of(name, size), key, answer->value, &evidence.found) == 0;
    }
    enum verdict verdict = verdict_of(&evidence);
    writer->verdicts[verdict]++;
    if (verdict != VERDICT_GOOD) {
        tell(writer, &evidence, verdict);
    }
}
