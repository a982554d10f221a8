/* belayctl archive ls, and what the others share. */
#include "archive.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "heap.h"

enum { HEAP_BYTES = 32 * 1024 * 1024 };

uint64_t archive_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

const char *archive_actor(struct actor actor, char *text, size_t text_size)
{
    snprintf(text, text_size, "%" PRIu32 ".%" PRIu32, actor.node, actor.start);
    return text;
}

bool archive_time(const char *text, uint64_t now_ms, uint64_t *time_ms)
{
    static const char *const forms[] = {"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%SZ",
                                        "%Y-%m-%dT%H:%MZ", "%Y-%m-%d %H:%MZ"};
    uint64_t ago_ms;

    if (text == NULL) {
        *time_ms = now_ms;
        return true;
    }
    if (text[0] == '@') {
        char *end;
        *time_ms = strtoull(text + 1, &end, 10);
        return end != text + 1 && *end == '\0';
    }
    if (duration_parse(text, &ago_ms)) {
        *time_ms = ago_ms < now_ms ? now_ms - ago_ms : 0;
        return true;
    }
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct tm when = {.tm_year = 0};
        const char *end = strptime(text, forms[i], &when);
        if (end != NULL && *end == '\0') {
            const int day = when.tm_mday;
            time_t seconds = timegm(&when); /* Moves a 30th of February on. */
            *time_ms = seconds < 0 ? 0 : (uint64_t)seconds * 1000;
            return seconds >= 0 && when.tm_mday == day;
        }
    }
    return false;
}

/* ---- What goes wrong ---- */

static int print_failed(struct archive_command *command, int code, const char *text)
{
    struct ctl *ctl = command->ctl;

    if (ctl->json) {
        json_t *error = json_pack("{s:s, s:s}", "status", "FAILED", "node", "");
        json_set_bytes(error, "text", belay_text(text));
        ctl_print_json(json_pack("{s:o}", "error", error));
    } else {
        fprintf(stderr, "belayctl: %s: %s\n", ctl->command->words, text);
    }
    return code;
}

int archive_failed(struct archive_command *command, int rc)
{
    const char *said = command->access.text[0] != '\0' ? command->access.text : access_error(rc);
    char text[ACCESS_TEXT_BYTES + 800];

    if (rc == -ENOKEY) {
        snprintf(text, sizeof text, "%s. Give it with --key-file or BELAY_ARCHIVE_KEYS", said);
        return print_failed(command, CTL_REFUSED, text);
    }
    if (rc != -ETIMEDOUT) {
        return print_failed(command, CTL_REFUSED, said);
    }
    snprintf(text, sizeof text,
             "%s: %s. Is its server there (--endpoint)? Allow more time with --timeout",
             command->place.url, said);
    return print_failed(command, CTL_UNREACHABLE, text);
}

int archive_refused(struct archive_command *command, const char *format, ...)
{
    char text[800];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return print_failed(command, CTL_REFUSED, text);
}

void archive_tell_damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                          uint16_t last_slot)
{
    struct archive_command *command = context;

    command->damaged++;
    fprintf(stderr, "belayctl: %s: %s: %s", command->ctl->command->words, name, why);
    if (first_slot > 0 || last_slot < SLOT_COUNT - 1) {
        fprintf(stderr, " (slots %u to %u)", first_slot, last_slot);
    }
    fputc('\n', stderr);
}

/* ---- Opening ---- */

static void put_cluster(struct archive_command *command)
{
    for (int i = 0; i < CLUSTER_ID_BYTES; i++) {
        snprintf(command->cluster_hex + (size_t)2 * (size_t)i, 3, "%02x", command->cluster[i]);
    }
}

static int take_any(void *context, const char *name, uint64_t size)
{
    struct archive_name parsed;

    (void)context;
    (void)size;
    return archive_name_parse(name, &parsed) == 0;
}

/* The cluster that is asked for: is anything of it there? */
static int find_named(struct archive_command *command)
{
    char prefix[CLUSTER_HEX_BYTES + 1];

    if (strlen(command->cluster_text) != CLUSTER_HEX_BYTES - 1 ||
        hex_parse(command->cluster_text, command->cluster, CLUSTER_ID_BYTES) != CLUSTER_ID_BYTES) {
        return ctl_usage(command->ctl, "--cluster %s: it is %d hexadecimal digits",
                         command->cluster_text, CLUSTER_HEX_BYTES - 1);
    }
    put_cluster(command);
    snprintf(prefix, sizeof prefix, "%s/", command->cluster_hex);
    int rc = access_list(&command->access, prefix, take_any, NULL);
    if (rc == 0) {
        return archive_refused(command,
                               "%s has nothing of cluster %s (archive ls shows what it has)",
                               command->place.url, command->cluster_hex);
    }
    return rc == 1 ? CTL_OK : archive_failed(command, rc);
}

/* The cluster that is asked for, or the only one. */
static int find_cluster(struct archive_command *command)
{
    uint8_t other[CLUSTER_ID_BYTES];

    if (command->cluster_text != NULL) {
        return find_named(command);
    }
    int rc = access_next_cluster(&command->access, NULL, command->cluster);
    if (rc == -ENOENT) {
        return archive_refused(command, "there is no archive at %s", command->place.url);
    }
    if (rc != 0) {
        return archive_failed(command, rc);
    }
    put_cluster(command);
    rc = access_next_cluster(&command->access, command->cluster, other);
    if (rc == 0) {
        return archive_refused(command,
                               "%s has the archives of several clusters: say which with --cluster "
                               "(archive ls shows them)",
                               command->place.url);
    }
    return rc == -ENOENT ? CTL_OK : archive_failed(command, rc);
}

/* As access.slow. */
static void tell_slow(void *context, const char *name)
{
    const struct archive_command *command = context;

    fprintf(
        stderr,
        "belayctl: %s: %s has not answered for %d s (%s); it is still tried (--timeout says for "
        "how long)\n",
        command->ctl->command->words, command->place.url, ACCESS_SLOW_MS / 1000,
        name[0] != '\0' ? name : "what there is");
}

static int open_archive(struct archive_command *command, struct ctl *ctl, const char *url)
{
    char message[512];

    command->ctl = ctl;
    command->place.url = url;
    command->place.path_style = !command->host_style;
    if (ctl->timeout_ms != CTL_TIMEOUT_MS) {
        command->place.call_ms =
            ctl->timeout_ms < UINT32_MAX ? (uint32_t)ctl->timeout_ms : UINT32_MAX;
    }
    if (archive_place_check(url, message, sizeof message) != 0) {
        return ctl_usage(ctl, "%s", message);
    }
    int rc = access_open(&command->access, &command->place, command->key_file);
    if (rc != 0) {
        return archive_failed(command, rc);
    }
    if (!ctl->json) {
        command->access.slow = tell_slow;
        command->access.slow_context = command;
    }
    return CTL_OK;
}

/* Blocks come and go, as large as what malloc() else maps anew each time, or gives back: each page would be cleared each
 * time. */
static void keep_heap(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_BYTES);
}

int archive_begin(struct archive_command *command, struct ctl *ctl, const char *url)
{
    keep_heap();
    int rc = open_archive(command, ctl, url);

    if (rc == CTL_OK && (rc = find_cluster(command)) != CTL_OK) {
        access_close(&command->access);
    }
    return rc;
}

void archive_end(struct archive_command *command)
{
    access_close(&command->access);
}

/* ---- ls ---- */

/* Times that an actor's logs reach over, by its first and its last that can be read. */
static void read_span(struct archive_command *command, const struct archive_catalog *catalog,
                      size_t first, size_t end, uint64_t *least_hlc, uint64_t *newest_hlc)
{
    struct catalog_port *port = &command->access.port;
    struct archive_reader *reader = NULL;

    *least_hlc = *newest_hlc = 0;
    for (size_t i = first; i < end && *least_hlc == 0; i++) {
        const struct archive_name name = catalog_log_name(catalog, &catalog->logs[i]);
        if (port->open(port, &name, catalog->logs[i].size, &reader) == 0) {
            *least_hlc = reader->least_hlc;
        }
    }
    for (size_t i = end; i > first && *newest_hlc == 0; i--) {
        const struct archive_name name = catalog_log_name(catalog, &catalog->logs[i - 1]);
        if (port->open(port, &name, catalog->logs[i - 1].size, &reader) == 0) {
            *newest_hlc = reader->newest_hlc;
        }
    }
}

static void show_hlc(const char *before, uint64_t hlc)
{
    char text[64];
    time_t seconds = (time_t)(hlc_ms(hlc) / 1000);
    struct tm when;

    if (hlc == 0 || gmtime_r(&seconds, &when) == NULL) {
        printf("%s-", before);
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &when);
    printf("%s%s", before, text);
}

static json_t *list_logs(struct archive_command *command, const struct archive_catalog *catalog)
{
    json_t *all = json_array();
    char actor[32], size[32];

    for (size_t first = 0, end; first < catalog->log_count; first = end) {
        uint64_t bytes = 0, least, newest;
        const struct catalog_log *log = &catalog->logs[first];
        for (end = first;
             end < catalog->log_count && actor_compare(catalog->logs[end].actor, log->actor) == 0;
             end++) {
            bytes += catalog->logs[end].size;
        }
        read_span(command, catalog, first, end, &least, &newest);
        archive_actor(log->actor, actor, sizeof actor);
        if (command->ctl->json) {
            json_array_append_new(
                all, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "actor", actor, "objects",
                               (json_int_t)(end - first), "bytes", (json_int_t)bytes, "first",
                               (json_int_t)log->sequence, "last",
                               (json_int_t)catalog->logs[end - 1].sequence, "from_ms",
                               (json_int_t)hlc_ms(least), "to_ms", (json_int_t)hlc_ms(newest)));
            continue;
        }
        printf("  log/%s/%" PRIu64 " to %" PRIu64 ": %zu objects, %s", actor, log->sequence,
               catalog->logs[end - 1].sequence, end - first, show_size(bytes, size, sizeof size));
        show_hlc(", from ", least);
        show_hlc(" to ", newest);
        putchar('\n');
    }
    return all;
}

enum archive_checkpoint_state archive_checkpoint_state(const struct archive_catalog *catalog,
                                                       size_t index)
{
    const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[index];

    if (checkpoint->whole) {
        return CHECKPOINT_WHOLE;
    }
    if (checkpoint->done_size != 0) {
        return CHECKPOINT_DAMAGED;
    }
    /* Without its end it is being written, unless its node has gone on: then it was given up. */
    return catalog_left_behind(catalog, index) ? CHECKPOINT_GIVEN_UP : CHECKPOINT_UNFINISHED;
}

static json_t *list_checkpoints(struct archive_command *command,
                                const struct archive_catalog *catalog)
{
    static const char *const words[] = {"whole", "unfinished", "given_up", "damaged"};
    static const char *const texts[] = {"", "not finished yet",
                                        "given up before it was finished, and of no use",
                                        "damaged, or parts are missing: archive verify tells what"};
    json_t *all = json_array();
    char actor[32], size[32];

    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        const enum archive_checkpoint_state state = archive_checkpoint_state(catalog, i);
        archive_actor(checkpoint->actor, actor, sizeof actor);
        if (command->ctl->json) {
            json_array_append_new(all,
                                  json_pack("{s:s, s:I, s:I, s:I, s:b, s:s, s:I}", "actor", actor,
                                            "sequence", (json_int_t)checkpoint->sequence, "parts",
                                            (json_int_t)checkpoint->part_count, "bytes",
                                            (json_int_t)checkpoint->size, "whole",
                                            checkpoint->whole, "state", words[state], "as_of_ms",
                                            (json_int_t)hlc_ms(checkpoint->newest_hlc)));
            continue;
        }
        printf("  checkpoint/%s/%" PRIu64 ": %" PRIu32 " parts, %s", actor, checkpoint->sequence,
               checkpoint->part_count, show_size(checkpoint->size, size, sizeof size));
        if (state != CHECKPOINT_WHOLE) {
            printf(", %s", texts[state]);
        } else if (checkpoint->newest_hlc == 0) {
            fputs(", without any session", stdout);
        } else {
            show_hlc(", as of ", checkpoint->newest_hlc);
        }
        putchar('\n');
    }
    return all;
}

/* One cluster. */
static int list_one(struct archive_command *command, json_t *clusters)
{
    struct archive_catalog catalog;

    int rc = access_catalog(&command->access, command->cluster, &catalog);
    if (rc != 0) {
        return archive_failed(command, rc);
    }
    put_cluster(command);
    if (!command->ctl->json) {
        printf("cluster %s\n", command->cluster_hex);
    }
    json_t *logs = list_logs(command, &catalog);
    json_t *checkpoints = list_checkpoints(command, &catalog);
    json_array_append_new(clusters, json_pack("{s:s, s:o, s:o}", "cluster", command->cluster_hex,
                                              "logs", logs, "checkpoints", checkpoints));
    catalog_fini(&catalog);
    return CTL_OK;
}

static int list_all(struct archive_command *command, json_t *clusters)
{
    const uint8_t *after = NULL;
    uint8_t last[CLUSTER_ID_BYTES];
    int code = CTL_OK, rc;

    if (command->cluster_text != NULL) {
        code = find_cluster(command);
        return code != CTL_OK ? code : list_one(command, clusters);
    }
    while (code == CTL_OK &&
           (rc = access_next_cluster(&command->access, after, command->cluster)) != -ENOENT) {
        if (rc != 0) {
            return archive_failed(command, rc);
        }
        memcpy(last, command->cluster, sizeof last);
        after = last;
        code = list_one(command, clusters);
    }
    if (after == NULL) {
        return archive_refused(command, "there is no archive at %s", command->place.url);
    }
    return code;
}

int archive_ls_run(struct ctl *ctl, int argc, char **argv)
{
    struct archive_command command = {.ctl = ctl};
    const struct option options[] = {
        ARCHIVE_OPTIONS(&command),
        {NULL, OPTION_FLAG, NULL},
    };
    struct text_list operands;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = open_archive(&command, ctl, operands.items[0]);
    if (rc != CTL_OK) {
        return rc;
    }
    json_t *clusters = json_array();
    rc = list_all(&command, clusters);
    archive_end(&command);
    if (rc == CTL_OK && ctl->json) {
        return ctl_print_json(json_pack("{s:o}", "clusters", clusters));
    }
    json_decref(clusters);
    return rc;
}
