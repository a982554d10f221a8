/* belayctl cluster restart-check: may the next node be restarted? Each node is asked, as only it knows whether it has all that
 * others have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

enum { LOOK_MS = 300, CHANGED_MS = 1000, SAY_MS = 10 * 1000 };

struct check {
    struct ctl *ctl;
    const char *name; /* Which node is to go; empty: whichever. */
    json_t *reasons;
    json_int_t epoch;
    char *said; /* The reasons, without their numbers, when they were said last; NULL: never. */
    uint64_t said_ms; /* When that was. */
};

/* About all slots: nodes differ in it only while one of them has a map that is a little older. */
static bool is_of_the_map(const char *reason)
{
    static const char *const names[] = {"slots_moving", "slots_short", "slots_alone"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(reason, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* What several nodes say of one thing is said once. */
static void add(struct check *check, const char *node, const char *reason, const char *text)
{
    const json_t *known;
    size_t index;

    json_array_foreach(check->reasons, index, known)
    {
        if (strcmp(ctl_text(known, "text"), text) == 0 ||
            (is_of_the_map(reason) && strcmp(ctl_text(known, "reason"), reason) == 0)) {
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

/* The reasons without their numbers: "slots_moving n1,". Memory for free(); NULL: there is none. */
static char *kinds_of(const struct check *check)
{
    const json_t *reason;
    char *kinds = NULL;
    size_t size = 0, index;
    FILE *to = open_memstream(&kinds, &size);

    if (to == NULL) {
        return NULL;
    }
    json_array_foreach(check->reasons, index, reason)
    {
        const char *kind = ctl_text(reason, "reason");
        fprintf(to, "%s %s,", kind, is_of_the_map(kind) ? "" : ctl_text(reason, "node"));
    }
    return fclose(to) == 0 ? kinds : NULL;
}

/* As soon as there are others, and now and then, so that who waits knows for what. */
static void say(struct check *check)
{
    const uint64_t now_ms = ctl_now_ms();
    const json_t *reason;
    size_t index;
    char *kinds = kinds_of(check);
    bool changed = kinds != NULL && check->said != NULL && strcmp(kinds, check->said) != 0;

    if (check->said != NULL && now_ms < check->said_ms + (changed ? CHANGED_MS : SAY_MS)) {
        free(kinds);
        return;
    }
    json_array_foreach(check->reasons, index, reason)
    {
        fprintf(stderr, "%s %s\n", index == 0 ? "waits:" : "      ", ctl_text(reason, "text"));
    }
    free(check->said);
    check->said = kinds;
    check->said_ms = now_ms;
}

/* Returns CTL_OK with no reason left, or the exit code of a failure that was printed. */
static int wait_for_it(struct check *check)
{
    int rc = CTL_OK;

    while (rc == CTL_OK && json_array_size(check->reasons) > 0) {
        say(check);
        if (ctl_is_late(check->ctl)) {
            return ctl_failed_for(check->ctl, check->name[0] == '\0' ? NULL : check->name,
                                  BELAY_TIMEOUT, "not to be restarted yet", "");
        }
        ctl_sleep_ms(LOOK_MS);
        rc = look(check);
    }
    return rc;
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
    if (rc == CTL_OK && wait) {
        rc = wait_for_it(&check);
    }
    rc = rc == CTL_OK ? show(&check) : rc;
    free(check.said);
    json_decref(check.reasons);
    return rc;
}
