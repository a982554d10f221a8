/* belayctl archive: what an archive should have and has not. */
#include <inttypes.h>

#include "archive.h"

static void tell_gap(struct archive_command *command, const struct catalog_gap *gap)
{
    char actor[32], time[64];

    fprintf(stderr, "belayctl: %s: log of %s: %" PRIu64 " to %" PRIu64 " are missing",
            command->ctl->command->words, archive_actor(gap->actor, actor, sizeof actor),
            gap->first, gap->last);
    if (gap->closed_hlc != 0) {
        fprintf(stderr, "; a checkpoint has it as of %s",
                show_time(hlc_ms(gap->closed_hlc), time, sizeof time));
    }
    fputc('\n', stderr);
}

uint64_t archive_tell_gaps(struct archive_command *command, const struct archive_catalog *catalog,
                           uint64_t as_of_hlc, bool closed, json_t *list)
{
    struct catalog_gap gap;
    uint64_t count = 0;
    char actor[32];
    size_t at = 0;

    while (catalog_next_gap(catalog, as_of_hlc, &at, &gap)) {
        if (!closed && gap.closed_hlc != 0 && gap.closed_hlc <= as_of_hlc) {
            continue;
        }
        count++;
        tell_gap(command, &gap);
        if (list != NULL) {
            archive_actor(gap.actor, actor, sizeof actor);
            json_array_append_new(list,
                                  json_pack("{s:s, s:I, s:I, s:I}", "actor", actor, "first",
                                            (json_int_t)gap.first, "last", (json_int_t)gap.last,
                                            "closed_ms", (json_int_t)hlc_ms(gap.closed_hlc)));
        }
    }
    return count;
}

void archive_tell_parts(struct archive_command *command, const struct archive_catalog *catalog,
                        uint64_t as_of_hlc)
{
    char text[ARCHIVE_NAME_BYTES];

    for (size_t i = 0; i < catalog->checkpoint_count; i++) {
        const struct catalog_checkpoint *checkpoint = &catalog->checkpoints[i];
        if (checkpoint->done_size != 0 && !checkpoint->whole && checkpoint->rc == 0 &&
            checkpoint->newest_hlc <= as_of_hlc) {
            const struct archive_name name = catalog_done_name(catalog, checkpoint);
            archive_name_put(text, &name);
            archive_tell_damaged(command, text, "parts of this checkpoint are missing", 0,
                                 SLOT_COUNT - 1);
        }
    }
}
