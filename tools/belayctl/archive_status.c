/* belayctl archive status: how far a node's log is in the archive (admin command "archive"), for people. */
#include <inttypes.h>
#include <string.h>

#include "ctl.h"

enum { TEXT_BYTES = 64 };

static void print_state(const json_t *archive)
{
    char since[TEXT_BYTES];

    if (strcmp(ctl_text(archive, "state"), "degraded") == 0) {
        printf("degraded for %s: %s\n",
               show_duration(ctl_number(archive, "degraded_ms"), since, sizeof since),
               ctl_text(archive, "cause"));
    } else {
        printf("ok\n");
    }
}

static void print_archive(const json_t *archive)
{
    char one[TEXT_BYTES], two[TEXT_BYTES];
    uint64_t raw = ctl_number(archive, "raw_bytes"), stored = ctl_number(archive, "object_bytes");

    printf("%s: ", ctl_text(archive, "url"));
    print_state(archive);
    printf("  not archived  %s of log, the oldest %s old\n",
           show_size(ctl_number(archive, "unarchived_bytes"), one, sizeof one),
           show_duration(ctl_number(archive, "rpo_ms"), two, sizeof two));
    if (ctl_number(archive, "others_ms") > 0) {
        printf("  of others     copies that may not be archived, the oldest %s old\n",
               show_duration(ctl_number(archive, "others_ms"), one, sizeof one));
    }
    if (ctl_number(archive, "taken_nodes") > 0 || ctl_number(archive, "taken_records") > 0) {
        printf("  in place of   %s nodes now; %s records\n",
               show_count(ctl_number(archive, "taken_nodes"), one, sizeof one),
               show_count(ctl_number(archive, "taken_records"), two, sizeof two));
    }
    printf("  kept for it   %s of files of the log\n",
           show_size(ctl_number(archive, "kept_bytes"), one, sizeof one));
    printf("  stored        %s objects",
           show_count(ctl_number(archive, "objects"), one, sizeof one));
    printf(" with %s records, %s", show_count(ctl_number(archive, "records"), one, sizeof one),
           show_size(stored, two, sizeof two));
    if (raw > 0) {
        printf(" for %s (%.2f)", show_size(raw, one, sizeof one), (double)stored / (double)raw);
    }
    if (ctl_number(archive, "objects") > 0) {
        printf(", the last one %s ago",
               show_duration(ctl_number(archive, "last_ms"), one, sizeof one));
    }
    printf("\n  errors        %s\n", show_count(ctl_number(archive, "errors"), one, sizeof one));
    if (ctl_number(archive, "conflicts") > 0) {
        printf("  ALARM         names of %" PRIu64 " objects were taken by others\n",
               ctl_number(archive, "conflicts"));
    }
    if (ctl_number(archive, "gap_bytes") > 0) {
        printf("  ALARM         %s of log were given up, or damaged, before they were archived\n",
               show_size(ctl_number(archive, "gap_bytes"), one, sizeof one));
    }
    if (!json_is_true(json_object_get(archive, "based"))) {
        printf("  note          what was not written since the archive is there is not in it "
               "before the next checkpoint\n");
    }
}

static void print_restore(const json_t *restore)
{
    char one[TEXT_BYTES], two[TEXT_BYTES];
    uint64_t total = ctl_number(restore, "bytes"), done = ctl_number(restore, "bytes_done");

    if (ctl_number(restore, "lost") == 0 && ctl_number(restore, "sessions") == 0) {
        return;
    }
    printf("  lost slots    %s still to come",
           show_count(ctl_number(restore, "slots"), one, sizeof one));
    printf(" of %s of the cluster; restored: %s sessions",
           show_count(ctl_number(restore, "lost"), one, sizeof one),
           show_count(ctl_number(restore, "sessions"), two, sizeof two));
    if (ctl_number(restore, "slots") > 0 && total > 0) {
        printf(", %.0f%%", 100 * (double)done / (double)total);
    }
    if (ctl_number(restore, "eta_ms") > 0) {
        printf(", %s to go", show_duration(ctl_number(restore, "eta_ms"), one, sizeof one));
    }
    printf("\n");
    if (ctl_number(restore, "damaged") + ctl_number(restore, "left") +
            ctl_number(restore, "refused") >
        0) {
        printf("  ALARM         damaged or missing: %" PRIu64
               ", changes left without what they build on: %" PRIu64 ", sessions refused: %" PRIu64
               "; the log names them\n",
               ctl_number(restore, "damaged"), ctl_number(restore, "left"),
               ctl_number(restore, "refused"));
    }
    if (ctl_text(restore, "cause")[0] != '\0') {
        printf("  ALARM         lost slots wait: %s\n", ctl_text(restore, "cause"));
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
    if (strcmp(ctl_text(archive, "state"), "off") == 0) {
        printf("no archive is configured (archive.url)\n");
    } else {
        print_archive(archive);
    }
    print_restore(json_object_get(archive, "restore"));
    json_decref(document);
    return CTL_OK;
}
