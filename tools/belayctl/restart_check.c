/* belayctl cluster restart-check: may the next node be restarted? Each node is asked, as only it knows whether it has all that
 * others have. */
#include <string.h>

#include "ctl.h"

enum { LOOK_MS = 300, SAY_MS = 10 * 1000 };

struct check {
    struct ctl *ctl;
    const char *name; /* Which node is to go; empty: whichever. */
    json_t *reasons;
    json_int_t epoch;
};

/* What several nodes say alike is said once. */
static void add(struct check *check, const char *node, const char *reason, const char *text)
{
    const json_t *known;
    size_t index;

    json_array_foreach(check->reasons, index, known)
    {
        if (strcmp(ctl_text(known, "text"), text) == 0) {
            return;
        }
    }
    json_array_append_new(
        check->reasons, json_pack("{s:s, s:s, s:s}", "node", node, "reason", reason, "text", text));
}

static void take(struct check *check, const json_t *page)
{
    const json_t *reason;
    size_t index;

    json_array_foreach(json_object_get(page, "reasons"), index, reason)
    {
        add(check, ctl_text(page, "name"), ctl_text(reason, "reason"), ctl_text(reason, "text"));
    }
}

/* One of the others. That it does not answer is a reason as well. */
static void ask_other(struct check *check, const json_t *row)
{
    enum belay_status status;
    json_t *page =
        ctl_ask(check->ctl, ctl_text(row, "native"), "restart-check", check->name, &status);
    char text[400];

    if (page != NULL) {
        take(check, page);
        json_decref(page);
    } else {
        snprintf(text, sizeof text, "%.200s cannot be asked at %.100s: %s", ctl_text(row, "name"),
                 ctl_text(row, "native"), belay_status_text(status));
        add(check, ctl_text(row, "name"), "unreachable", text);
    }
}

static int look(struct check *check)
{
    json_t *page, *nodes;
    const json_t *row;
    size_t index;
    int rc = ctl_admin(check->ctl, "restart-check", check->name, &page);

    if (rc != CTL_OK) {
        return rc;
    }
    json_array_clear(check->reasons);
    check->epoch = json_integer_value(json_object_get(page, "epoch"));
    take(check, page);
    rc = ctl_admin(check->ctl, "nodes", NULL, &nodes);
    if (rc == CTL_OK) {
        json_array_foreach(json_object_get(nodes, "nodes"), index, row)
        {
            const char *state = ctl_text(row, "state");
            if (strcmp(ctl_text(row, "name"), ctl_text(page, "name")) != 0 &&
                strcmp(state, "left") != 0 && strcmp(state, "down") != 0) {
                ask_other(check, row);
            }
        }
        json_decref(nodes);
    }
    json_decref(page);
    return rc;
}

/* Now and then, so that who waits knows for what. */
static void say(const struct check *check)
{
    const json_t *reason;
    size_t index;

    json_array_foreach(check->reasons, index, reason)
    {
        fprintf(stderr, "%s %s\n", index == 0 ? "waits:" : "      ", ctl_text(reason, "text"));
    }
}

static int show(const struct check *check)
{
    const bool good = json_array_size(check->reasons) == 0;
    const json_t *reason;
    size_t index;

    if (check->ctl->json) {
        int rc =
            ctl_print_json(json_pack("{s:b, s:s, s:I, s:O}", "ok", (int)good, "node", check->name,
                                     "epoch", check->epoch, "reasons", check->reasons));
        return rc != CTL_OK || good ? rc : CTL_REFUSED;
    }
    if (good) {
        printf("%s may be restarted\n", check->name[0] == '\0' ? "a node" : check->name);
        return CTL_OK;
    }
    printf("%s is not to be restarted now:\n", check->name[0] == '\0' ? "a node" : check->name);
    json_array_foreach(check->reasons, index, reason)
    {
        printf("  %s\n", ctl_text(reason, "text"));
    }
    return CTL_REFUSED;
}

int restart_check_run(struct ctl *ctl, int argc, char **argv)
{
    bool wait = false;
    const struct option options[] = {{"wait", OPTION_FLAG, &wait}, {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    struct check check = {.ctl = ctl, .name = ""};

    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    check.name = operands.count == 1 ? operands.items[0] : "";
    check.reasons = json_array();
    rc = look(&check);
    uint64_t say_ms = ctl_now_ms();
    while (rc == CTL_OK && wait && json_array_size(check.reasons) > 0) {
        if (ctl_now_ms() >= say_ms) {
            say(&check);
            say_ms = ctl_now_ms() + SAY_MS;
        }
        ctl_sleep_ms(LOOK_MS);
        rc = look(&check);
    }
    rc = rc == CTL_OK ? show(&check) : rc;
    json_decref(check.reasons);
    return rc;
}
