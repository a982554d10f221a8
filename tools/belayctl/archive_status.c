/* belayctl archive status: how far a node's log is in the archive (admin command "archive"), for people. */
#include <inttypes.h>
#include <string.h>

#include "ctl.h"

enum { TEXT_BYTES = 64 };

static uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

static void print_state(const json_t *archive)
{
    char since[TEXT_BYTES];

    if (strcmp(text_of(archive, "state"), "degraded") == 0) {
        printf("degraded for %s: %s\n",
               show_duration(number_of(archive, "degraded_ms"), since, sizeof since),
               text_of(archive, "cause"));
    } else {
        printf("ok\n");
    }
}

static void print_archive(const json_t *archive)
{
    char one[TEXT_BYTES], two[TEXT_BYTES];
    uint64_t raw = number_of(archive, "raw_bytes"), stored = number_of(archive, "object_bytes");

    printf("%s: ", text_of(archive, "url"));
    print_state(archive);
    printf("  not archived  %s of log, the oldest %s old\n",
           show_size(number_of(archive, "unarchived_bytes"), one, sizeof one),
           show_duration(number_of(archive, "rpo_ms"), two, sizeof two));
    if (number_of(archive, "others_ms") > 0) {
        printf("  of others     copies that may not be archived, the oldest %s old\n",
               show_duration(number_of(archive, "others_ms"), one, sizeof one));
    }
    if (number_of(archive, "taken_nodes") > 0 || number_of(archive, "taken_records") > 0) {
        printf("  in place of   %s nodes now; %s records\n",
               show_count(number_of(archive, "taken_nodes"), one, sizeof one),
               show_count(number_of(archive, "taken_records"), two, sizeof two));
    }
    printf("  kept for it   %s of files of the log\n",
           show_size(number_of(archive, "kept_bytes"), one, sizeof one));
    printf("  stored        %s objects",
           show_count(number_of(archive, "objects"), one, sizeof one));
    printf(" with %s records, %s", show_count(number_of(archive, "records"), one, sizeof one),
           show_size(stored, two, sizeof two));
    if (raw > 0) {
        printf(" for %s (%.2f)", show_size(raw, one, sizeof one), (double)stored / (double)raw);
    }
    if (number_of(archive, "objects") > 0) {
        printf(", the last one %s ago",
               show_duration(number_of(archive, "last_ms"), one, sizeof one));
    }
    printf("\n  errors        %s\n", show_count(number_of(archive, "errors"), one, sizeof one));
    if (number_of(archive, "conflicts") > 0) {
        printf("  ALARM         names of %" PRIu64 " objects were taken by others\n",
               number_of(archive, "conflicts"));
    }
    if (number_of(archive, "gap_bytes") > 0) {
        printf("  ALARM         %s of log were given up, or damaged, before they were archived\n",
               show_size(number_of(archive, "gap_bytes"), one, sizeof one));
    }
    if (!json_is_true(json_object_get(archive, "based"))) {
        printf("  note          what was not written since the archive is there is not in it "
               "before the next checkpoint\n");
    }
}

static void print_restore(const json_t *restore)
{
    char one[TEXT_BYTES], two[TEXT_BYTES];
    uint64_t total = number_of(restore, "bytes"), done = number_of(restore, "bytes_done");

    if (number_of(restore, "lost") == 0 && number_of(restore, "sessions") == 0) {
        return;
    }
    printf("  lost slots    %s still to come",
           show_count(number_of(restore, "slots"), one, sizeof one));
    printf(" of %s of the cluster; restored: %s sessions",
           show_count(number_of(restore, "lost"), one, sizeof one),
           show_count(number_of(restore, "sessions"), two, sizeof two));
    if (number_of(restore, "slots") > 0 && total > 0) {
        printf(", %.0f%%", 100 * (double)done / (double)total);
    }
    if (number_of(restore, "eta_ms") > 0) {
        printf(", %s to go", show_duration(number_of(restore, "eta_ms"), one, sizeof one));
    }
    printf("\n");
    if (number_of(restore, "damaged") + number_of(restore, "left") + number_of(restore, "refused") >
        0) {
        printf("  ALARM         damaged or missing: %" PRIu64
               ", changes left without what they build on: %" PRIu64 ", sessions refused: %" PRIu64
               "; the log names them\n",
               number_of(restore, "damaged"), number_of(restore, "left"),
               number_of(restore, "refused"));
    }
    if (text_of(restore, "cause")[0] != '\0') {
        printf("  ALARM         lost slots wait: %s\n", text_of(restore, "cause"));
    }
}

int archive_status_run(struct ctl *ctl, int argc, char **argv)
{
    json_t *document;
    int rc = ctl_show(ctl, argc, argv, "archive", &document);

    if (rc != CTL_OK || document == NULL) {
        return rc;
    }
    const json_t *archive = json_object_get(document, "archive");
    if (strcmp(text_of(archive, "state"), "off") == 0) {
        printf("no archive is configured (archive.url)\n");
    } else {
        print_archive(archive);
    }
    print_restore(json_object_get(archive, "restore"));
    json_decref(document);
    return CTL_OK;
}
