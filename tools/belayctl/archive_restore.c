/* belayctl archive restore: a whole cluster, into an empty one that runs. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "adopt.h"
#include "archive_restore.h"
#include "rename.h"
#include "session.h"

enum { TELL_MS = 10000, SCANS_MAX = 1000 };

/* ---- One session ---- */

static void tell_left(struct restore *restore, struct bytes key, uint32_t left)
{
    restore->done.left += left;
    progress_end(&restore->progress);
    fputs("belayctl: archive restore: ", stderr);
    show_bytes(stderr, belay_bytes_of(key.data, key.size));
    fprintf(stderr, ": %" PRIu32 " changes are left, of which what they build on is missing\n",
            left);
}

/* Its idle clock begins anew; nothing is done for what has ended by itself meanwhile. */
static int put_back(void *context, struct bytes key, struct bytes record, uint32_t left)
{
    struct restore *restore = context;
    struct session_view view;

    if (left > 0) {
        tell_left(restore, key, left);
    }
    if (record.size == 0 || rename_is_journal(key)) {
        return 0;
    }
    int rc = session_adopt(record, &restore->record);
    if (rc == -ENOMEM) {
        return rc;
    }
    if (rc == 0) {
        session_touch_in_place(restore->record.data, restore->record.size, restore->now_ms);
        rc = session_open(&view, buffer_bytes(&restore->record), restore->now_ms);
    }
    if (rc != 0) {
        restore->done.refused++;
        return 0;
    }
    if (view.expired) {
        restore->done.expired++;
        return 0;
    }
    restore->done.sessions += view.live;
    restore->done.tombstones += !view.live;
    restore_send(restore, key, buffer_bytes(&restore->record));
    return restore->code == CTL_OK ? 0 : -ECANCELED;
}

/* ---- All ranges ---- */

/* How far it is, also for who has no terminal. */
static void tell_progress(struct restore *restore, uint64_t total_bytes)
{
    uint64_t now_ms = archive_now_ms(), elapsed_ms = now_ms - restore->begun_ms;
    char sessions[32], left[32];

    progress_update(&restore->progress, restore->bytes_done / 1024);
    if (progress_wanted() || now_ms < restore->told_ms + TELL_MS || restore->bytes_done == 0) {
        return;
    }
    restore->told_ms = now_ms;
    double share = (double)restore->bytes_done / (double)(total_bytes + 1);
    double left_ms = share <= 0 ? 0 : (double)elapsed_ms * (1 - share) / share;
    fprintf(stderr, "belayctl: archive restore: %.0f%%, %s sessions, %s to go\n", share * 100,
            show_count(restore->done.sessions, sessions, sizeof sessions),
            show_duration((uint64_t)left_ms, left, sizeof left));
}

/* What is told again where it goes on counts once. */
static void count_damaged(struct restore *restore, uint64_t told)
{
    restore->done.damaged = told > restore->done.damaged ? told : restore->done.damaged;
}

static int take_range(struct restore *restore, const struct restore_range *range)
{
    if (range->rc != 0) {
        progress_end(&restore->progress);
        return archive_failed(&restore->command, range->rc);
    }
    int rc = archive_state_visit(range->state, put_back, restore);
    restore_land(restore);
    if (restore->code == CTL_OK && rc == -ENOMEM) {
        return archive_refused(&restore->command, "out of memory");
    }
    return restore->code;
}

static int take_ranges(struct restore *restore, uint64_t as_of_hlc)
{
    const struct restore_range *range;
    int code = CTL_OK;

    for (uint32_t slot = 0; slot < restore->done.next_slot; slot++) {
        restore->bytes_done += restore->reading.weights[slot];
    }
    struct restore_ranges *ranges = restore_ranges_begin(restore, as_of_hlc);
    if (ranges == NULL) {
        return CTL_REFUSED;
    }
    while (code == CTL_OK && (range = restore_ranges_next(ranges)) != NULL) {
        code = take_range(restore, range);
        if (code != CTL_OK) {
            break;
        }
        restore->bytes_done += range->bytes;
        restore->done.next_slot = (uint32_t)range->last + 1;
        count_damaged(restore, range->damaged);
        code = restore_keep(restore);
        tell_progress(restore, range->total_bytes);
    }
    restore_ranges_end(ranges);
    return code;
}

/* ---- Before and after ---- */

uint64_t restore_as_of_hlc(const struct restore *restore)
{
    uint64_t as_of_ms = restore->done.as_of_ms;

    return as_of_ms == 0 ? UINT64_MAX : hlc_of_ms(as_of_ms) | ((1U << HLC_COUNTER_BITS) - 1);
}

int restore_tell_missing(struct restore *restore)
{
    struct archive_command *command = &restore->command;
    const uint64_t as_of_hlc = restore_as_of_hlc(restore);
    char time[64];

    if (restore->reading.object_count == 0 && command->damaged == 0 &&
        restore->done.as_of_ms != 0) {
        return archive_refused(
            command,
            "the archive has nothing as of %s or before; belayctl archive ls shows what it has",
            show_time(restore->done.as_of_ms, time, sizeof time));
    }
    command->damaged += archive_tell_gaps(command, &restore->catalog, as_of_hlc, false, NULL);
    archive_tell_parts(command, &restore->catalog, as_of_hlc);
    return CTL_OK;
}

/* Is there any session in the cluster? */
static int check_empty(struct restore *restore)
{
    struct belay_result *result;
    uint64_t cursor = 0;

    for (int i = 0; i < SCANS_MAX; i++) {
        enum belay_status status = belay_run(
            belay_scan_begin(restore->client, cursor, belay_text(""), BELAY_NONE, 100), &result);
        if (status != BELAY_OK) {
            return ctl_failed(restore->command.ctl, NULL, status, result);
        }
        struct belay_bytes key;
        size_t position = 0;
        bool found = belay_result_key(result, &position, &key) == 1;
        cursor = belay_result_cursor(result);
        belay_result_destroy(result);
        if (found) {
            return archive_refused(&restore->command,
                                   "%s has sessions. A restore is for an empty cluster; with "
                                   "--force what is there is merged with what the archive has",
                                   restore->command.ctl->server);
        }
        if (cursor == 0) {
            break;
        }
    }
    return CTL_OK;
}

static int report(struct restore *restore)
{
    const struct restore_state *done = &restore->done;
    const struct archive_command *command = &restore->command;
    bool good = done->damaged == 0 && done->left == 0 && done->refused == 0;
    char count[32], took[32], time[64];

    if (command->ctl->json) {
        int rc = ctl_print_json(
            json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "cluster", command->cluster_hex,
                      "as_of_ms", (json_int_t)done->as_of_ms, "sessions",
                      (json_int_t)done->sessions, "tombstones", (json_int_t)done->tombstones,
                      "expired", (json_int_t)done->expired, "left", (json_int_t)done->left,
                      "refused", (json_int_t)done->refused, "damaged", (json_int_t)done->damaged));
        return good ? rc : CTL_REFUSED;
    }
    printf("restored %s sessions%s%s, in %s", show_count(done->sessions, count, sizeof count),
           done->as_of_ms == 0 ? "" : " as of ",
           done->as_of_ms == 0 ? "" : show_time(done->as_of_ms, time, sizeof time),
           show_duration(archive_now_ms() - restore->begun_ms, took, sizeof took));
    printf("; ended before: %s", show_count(done->tombstones, count, sizeof count));
    printf("; expired meanwhile: %s\n", show_count(done->expired, count, sizeof count));
    if (!good) {
        printf("Damaged or missing: %" PRIu64 ", changes left without what they build on: %" PRIu64
               ", sessions refused: %" PRIu64 ". The rest is restored.\n",
               done->damaged, done->left, done->refused);
    }
    return good ? CTL_OK : CTL_REFUSED;
}

/* Which cluster it goes into. */
static int ask_into(struct restore *restore)
{
    json_t *document;

    int code = ctl_admin(restore->command.ctl, "nodes", "", &document);
    if (code == CTL_OK) {
        const char *cluster = json_string_value(json_object_get(document, "cluster"));
        snprintf(restore->into, sizeof restore->into, "%s", cluster == NULL ? "-" : cluster);
        json_decref(document);
    }
    return code;
}

static int restore_locked(struct restore *restore)
{
    int code = restore_load(restore);

    if (code == CTL_OK && !restore->resumed && !restore->force) {
        code = check_empty(restore);
    }
    if (!restore->resumed) {
        restore->done.begun_ms = restore->now_ms;
    }
    code = code == CTL_OK ? restore_keep(restore) : code;
    if (code != CTL_OK) {
        return code;
    }
    uint64_t as_of_hlc = restore_as_of_hlc(restore);
    int rc = reading_open(&restore->reading, &restore->command.access, &restore->catalog, as_of_hlc,
                          archive_tell_damaged, &restore->command);
    if (rc != 0) {
        return archive_failed(&restore->command, rc);
    }
    code = restore_tell_missing(restore);
    if (code != CTL_OK) {
        restore_forget(restore);
        reading_close(&restore->reading);
        return code;
    }
    count_damaged(restore, restore->command.damaged);
    progress_begin(&restore->progress, "KiB", restore->reading.total_bytes / 1024);
    code = take_ranges(restore, as_of_hlc);
    progress_end(&restore->progress);
    reading_close(&restore->reading);
    if (code == CTL_OK) {
        restore_forget(restore);
        return report(restore);
    }
    if (!restore->command.ctl->json) {
        fprintf(stderr, "Run it again to go on; %s says from where.\n", restore->state_path);
    }
    return code;
}

static int restore_all(struct restore *restore)
{
    int code = ask_into(restore);

    if (code == CTL_OK && (code = restore_lock(restore)) == CTL_OK) {
        code = restore_locked(restore);
        restore_unlock(restore);
    }
    return code;
}

static int run(struct restore *restore)
{
    struct archive_command *command = &restore->command;
    bool select = restore->session != NULL || restore->prefix != NULL;

    restore->client = ctl_client(command->ctl);
    if (restore->client == NULL) {
        return CTL_USAGE;
    }
    restore->record.memory = command->access.memory;
    int rc = access_catalog(&command->access, command->cluster, &restore->catalog);
    if (rc != 0) {
        return archive_failed(command, rc);
    }
    int code = select ? restore_select(restore) : restore_all(restore);
    catalog_fini(&restore->catalog);
    buffer_fini(&restore->record);
    return code;
}

static int check(struct ctl *ctl, const struct restore *restore, uint64_t *as_of_ms)
{
    bool select = restore->session != NULL || restore->prefix != NULL;

    if (restore->from == NULL) {
        return ctl_usage(ctl, "where is the archive? Give --from URL");
    }
    if (restore->as_of_text != NULL &&
        !archive_time(restore->as_of_text, restore->now_ms, as_of_ms)) {
        return ctl_usage(ctl,
                         "--as-of %s: it is a time as 2026-01-31T12:00:00Z, @MS since 1970, or how "
                         "long ago, as 30m",
                         restore->as_of_text);
    }
    if (*as_of_ms > restore->now_ms) {
        return ctl_usage(ctl, "--as-of %s is still to come", restore->as_of_text);
    }
    if (restore->session != NULL && restore->prefix != NULL) {
        return ctl_usage(ctl, "--session is one, --prefix are several");
    }
    if (select && restore->as_of_text == NULL) {
        return ctl_usage(ctl, "as it was when? Give --as-of TIME");
    }
    if (select && (restore->force || restore->state_text != NULL)) {
        return ctl_usage(ctl, "--force and --state are for a restore of all");
    }
    if (!select && (restore->dry_run || restore->undelete || restore->output != NULL)) {
        return ctl_usage(ctl, "--dry-run, --undelete and --output are for --session and --prefix");
    }
    return CTL_OK;
}

int archive_restore_run(struct ctl *ctl, int argc, char **argv)
{
    static struct restore restore;
    struct text_list operands, sessions = {.count = 0}, prefixes = {.count = 0};
    const struct option options[] = {
        {"from", OPTION_TEXT, &restore.from},
        {"as-of", OPTION_TEXT, &restore.as_of_text},
        {"state", OPTION_TEXT, &restore.state_text},
        {"force", OPTION_FLAG, &restore.force},
        {"session", OPTION_LIST, &sessions},
        {"prefix", OPTION_LIST, &prefixes},
        {"dry-run", OPTION_FLAG, &restore.dry_run},
        {"undelete", OPTION_FLAG, &restore.undelete},
        {"output", OPTION_TEXT, &restore.output},
        ARCHIVE_OPTIONS(&restore.command),
        {NULL, OPTION_FLAG, NULL},
    };
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (sessions.count > 1 || prefixes.count > 1) {
        return ctl_usage(ctl,
                         "one --session or one --prefix at a time: each is a restore of its own");
    }
    restore.session = sessions.count > 0 ? sessions.items[0] : NULL;
    restore.prefix = prefixes.count > 0 ? prefixes.items[0] : NULL;
    restore.now_ms = restore.begun_ms = restore.told_ms = archive_now_ms();
    rc = check(ctl, &restore, &restore.done.as_of_ms);
    rc = rc == CTL_OK ? archive_begin(&restore.command, ctl, restore.from) : rc;
    if (rc != CTL_OK) {
        return rc;
    }
    ctl->wide = true;
    rc = run(&restore);
    archive_end(&restore.command);
    return rc;
}
