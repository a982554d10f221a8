/* belayctl archive give-up: lost slots are served without what the archive has of them. */
#include <inttypes.h>

#include "ctl.h"

/* The server takes one step at a time: the slots of one loss and one owner. Returns the exit code. */
static int give_up(struct ctl *ctl, const char *command, uint64_t *slots, uint64_t *epoch)
{
    uint64_t left;

    *slots = 0;
    do {
        json_t *step;
        int rc = ctl_admin(ctl, command, "", &step);
        if (rc != CTL_OK) {
            return rc;
        }
        *slots += ctl_number(step, "slots");
        *epoch = ctl_number(step, "epoch");
        left = ctl_number(step, "left");
        json_decref(step);
    } while (left > 0);
    return CTL_OK;
}

int archive_give_up_run(struct ctl *ctl, int argc, char **argv)
{
    bool force = false;
    const struct option options[] = {{"force", OPTION_FLAG, &force}, {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    uint64_t slots, epoch;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = give_up(ctl, force ? "archive-give-up-force" : "archive-give-up", &slots, &epoch);
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(
            json_pack("{s:I, s:I}", "slots", (json_int_t)slots, "epoch", (json_int_t)epoch));
    }
    if (slots == 0) {
        printf("no slot is lost\n");
    } else {
        printf("gave up %" PRIu64 " slots: what did not come back of them is gone\n", slots);
    }
    return CTL_OK;
}
