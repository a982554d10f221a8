/* belayctl archive forget: what restores of a window do not need is removed now; where a checkpoint that has it is
 * damaged, it is not. */
#include <inttypes.h>

#include "archive.h"
#include "archive_retention.h"

enum { UNENDED_MS = 24 * 3600 * 1000 }; /* So old is what nobody is still writing. */

struct forget {
    struct archive_command command;
    uint64_t older_ms;
    bool dry_run;
    json_t *names;
};

static void removed(void *context, const char *name)
{
    struct forget *forget = context;

    if (forget->names != NULL) {
        json_array_append_new(forget->names, json_string(name));
    } else {
        printf("%s %s\n", forget->dry_run ? "would go:" : "removed:", name);
    }
}

static void damaged(void *context, const char *name, const char *why, uint16_t first_slot,
                    uint16_t last_slot)
{
    struct forget *forget = context;

    archive_tell_damaged(&forget->command, name, why, first_slot, last_slot);
}

static int run(struct forget *forget)
{
    struct archive_command *command = &forget->command;
    uint64_t now_ms = archive_now_ms();
    struct retention_round round = {
        .from_ms = forget->older_ms < now_ms ? now_ms - forget->older_ms : 0,
        .tidy_ms = now_ms - UNENDED_MS,
        .dry = forget->dry_run,
        .removed = removed,
        .damaged = damaged,
        .context = forget,
    };
    char size[32];

    int rc = retention_run(&command->access, command->cluster, &round);
    if (rc != 0) {
        return archive_failed(command, rc);
    }
    if (command->ctl->json) {
        rc = ctl_print_json(json_pack(
            "{s:s, s:I, s:I, s:O, s:b, s:I}", "cluster", command->cluster_hex, "objects",
            (json_int_t)round.objects, "bytes", (json_int_t)round.bytes, "names", forget->names,
            "dry_run", forget->dry_run, "damaged", (json_int_t)command->damaged));
        return command->damaged == 0 ? rc : CTL_REFUSED;
    }
    printf("%" PRIu64 " objects, %s\n", round.objects, show_size(round.bytes, size, sizeof size));
    if (command->damaged > 0) {
        fprintf(stderr, "belayctl: %s: what the damaged checkpoints have is kept in the log, too\n",
                command->ctl->command->words);
    }
    return command->damaged == 0 ? CTL_OK : CTL_REFUSED;
}

int archive_forget_run(struct ctl *ctl, int argc, char **argv)
{
    struct forget forget = {.dry_run = false};
    const struct option options[] = {
        {"older-than", OPTION_LIFETIME, &forget.older_ms},
        {"dry-run", OPTION_FLAG, &forget.dry_run},
        ARCHIVE_OPTIONS(&forget.command),
        {NULL, OPTION_FLAG, NULL},
    };
    struct text_list operands;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (forget.older_ms == 0) {
        return ctl_usage(ctl, "how far back are restores to reach? Give --older-than DURATION");
    }
    rc = archive_begin(&forget.command, ctl, operands.items[0]);
    if (rc != CTL_OK) {
        return rc;
    }
    forget.names = ctl->json ? json_array() : NULL;
    rc = run(&forget);
    json_decref(forget.names);
    archive_end(&forget.command);
    return rc;
}
