/* belayctl node drain: a node gives what it has to the others. The cluster does that by itself once it is asked; who waits
 * only looks on. */
#include <inttypes.h>
#include <string.h>

#include "ctl.h"

enum { LOOK_MS = 200, LINE_MS = 1000, STILL_MS = 10 * 1000, TEXT_BYTES = 64, LINE_BYTES = 256 };

struct drain {
    struct ctl *ctl;
    const char *node;  /* As the operator named it. */
    uint64_t number;   /* Of the node. */
    uint64_t total;    /* Slots that it owned when it was looked at first. */
    uint64_t left;     /* Of these. */
    uint64_t sessions; /* That it had then, with their bytes; 0: not known. */
    uint64_t bytes;
    bool undecided; /* Nobody leads. */
    bool has_left;
    struct ctl_rest rest; /* Then. */
    uint64_t begun_ms, left_ms, line_ms, line_left;
    bool line_waits;
    struct progress progress;
    char more[3 * LINE_BYTES]; /* For the bar. */
};

static const json_t *row_of(const json_t *nodes, uint64_t number)
{
    const json_t *row;
    size_t index;

    json_array_foreach(json_object_get(nodes, "nodes"), index, row)
    {
        if (ctl_number(row, "number") == number) {
            return row;
        }
    }
    return NULL;
}

/* What it has in all, from itself, where it can be asked. That only tells how much it is, so a failure is none. */
static void ask_sessions(struct drain *drain, const char *server)
{
    enum belay_status failed;
    json_t *status = ctl_ask(drain->ctl, server, "status", NULL, &failed);

    drain->sessions = ctl_number(status, "sessions");
    drain->bytes = ctl_number(status, "session_bytes");
    json_decref(status);
}

/* ---- How far it is ---- */

static uint64_t part_of(uint64_t whole, uint64_t part, uint64_t total)
{
    return total == 0 ? 0 : (uint64_t)((double)whole * (double)part / (double)total);
}

/* "about 3,000 sessions, 1.2 MiB", of that part of its slots; empty where it is not known. */
static const char *show_sessions(const struct drain *drain, uint64_t slots, char *text,
                                 size_t text_size)
{
    char count[TEXT_BYTES], bytes[TEXT_BYTES];

    text[0] = '\0';
    if (drain->sessions > 0) {
        show_count(part_of(drain->sessions, slots, drain->total), count, sizeof count);
        show_size(part_of(drain->bytes, slots, drain->total), bytes, sizeof bytes);
        snprintf(text, text_size, "about %s sessions, %s", count, bytes);
    }
    return text;
}

/* Why it stands; empty: it does not. */
static const char *show_wait(const struct drain *drain, char *text, size_t text_size)
{
    text[0] = '\0';
    if (drain->undecided) {
        snprintf(text, text_size, "; " CTL_UNDECIDED);
    } else if (drain->has_left) {
        snprintf(text, text_size,
                 "; it has left, and compares what it has with those that own it now (%" PRIu64
                 " slots)",
                 drain->rest.slots);
    }
    return text;
}

static void print_line(struct drain *drain, uint64_t now)
{
    char left[TEXT_BYTES], total[TEXT_BYTES], rate[TEXT_BYTES], time[TEXT_BYTES];
    char sessions[LINE_BYTES], wait[LINE_BYTES];
    const uint64_t moved = drain->total - drain->left, took_ms = now - drain->begun_ms;

    fprintf(stderr, "%s: %s of %s slots left", drain->node,
            show_count(drain->left, left, sizeof left),
            show_count(drain->total, total, sizeof total));
    if (*show_sessions(drain, drain->left, sessions, sizeof sessions) != '\0') {
        fprintf(stderr, " (%s)", sessions);
    }
    if (moved > 0 && took_ms > 0) {
        fprintf(stderr, ", %s slots/s, %s to go",
                show_count(moved * 1000 / took_ms, rate, sizeof rate),
                show_duration(part_of(took_ms, drain->left, moved), time, sizeof time));
    }
    fprintf(stderr, "%s\n", show_wait(drain, wait, sizeof wait));
    drain->line_ms = now;
    drain->line_left = drain->left;
    drain->line_waits = drain->undecided || drain->has_left;
}

/* Now and then also where nothing changes: it is still waited for. */
static bool is_line_due(const struct drain *drain, uint64_t now)
{
    const bool waits = drain->undecided || drain->has_left;
    bool changed = drain->left != drain->line_left || waits != drain->line_waits;

    return now >= drain->line_ms + (changed ? LINE_MS : STILL_MS);
}

static void show_progress(struct drain *drain)
{
    const uint64_t now = ctl_now_ms();
    char sessions[LINE_BYTES], rate[TEXT_BYTES], wait[LINE_BYTES];

    if (!progress_wanted()) {
        if (is_line_due(drain, now)) {
            print_line(drain, now);
        }
        return;
    }
    const uint64_t moved = drain->total - drain->left, took_ms = now - drain->begun_ms;
    show_sessions(drain, drain->left, sessions, sizeof sessions);
    snprintf(drain->more, sizeof drain->more, "%s slots/s%s%s%s%s",
             show_count(took_ms > 0 ? moved * 1000 / took_ms : 0, rate, sizeof rate),
             sessions[0] != '\0' ? ", " : "", sessions, sessions[0] != '\0' ? " left" : "",
             show_wait(drain, wait, sizeof wait));
    progress_update(&drain->progress, moved);
}

/* ---- Waiting ---- */

static bool others_serve(const json_t *nodes, uint64_t number)
{
    const json_t *row;
    size_t index;

    json_array_foreach(json_object_get(nodes, "nodes"), index, row)
    {
        if (ctl_number(row, "number") != number && ctl_serves(row)) {
            return true;
        }
    }
    return false;
}

/* What keeps it from ever being done as things are; NULL: nothing. */
static const char *obstacle(const struct drain *drain, const json_t *nodes, const json_t *row)
{
    const char *state = ctl_text(row, "state");

    if (strcmp(state, "down") == 0) {
        return drain->left > 0
                   ? "it went down, and nobody else has some of its slots: start it again, then it "
                     "goes on"
                   : "it went down: others have its slots, but it may not know: start it again, "
                     "then it goes on, or take it out with node remove";
    }
    if (strcmp(state, "draining") == 0 && drain->left > 0 && !others_serve(nodes, drain->number)) {
        return "no other node is left that could take its sessions: start one, or take it back "
               "with --cancel";
    }
    if (strcmp(state, "active") == 0 || strcmp(state, "degraded") == 0 ||
        strcmp(state, "joining") == 0) {
        return "that was taken back (--cancel): it keeps its slots";
    }
    return NULL;
}

/* It owns nothing any more. Have others all that it has, too? */
static bool is_empty(struct drain *drain, const json_t *row)
{
    if (!drain->has_left) {
        drain->has_left = true;
        drain->left_ms = ctl_now_ms();
    }
    drain->rest = ctl_rest(drain->ctl, row);
    return drain->rest.is_none || !drain->rest.asked;
}

/* One look. Returns -1 to go on, else the exit code with the failure printed; CTL_OK: it is drained, as far as it can be asked.
 * `step` is brought up to date. */
static int look(struct drain *drain, json_t *step)
{
    json_t *nodes;
    int rc = ctl_admin(drain->ctl, "nodes", NULL, &nodes);

    if (rc != CTL_OK) {
        return rc;
    }
    const json_t *row = row_of(nodes, drain->number);
    drain->undecided = ctl_number(nodes, "leader") == 0;
    json_object_set(step, "epoch", json_object_get(nodes, "epoch"));
    drain->left =
        row == NULL ? 0 : ctl_number(row, "slots_primary") + ctl_number(row, "slots_copy");
    drain->total = drain->left > drain->total ? drain->left : drain->total;
    json_object_set_new(step, "slots", json_integer((json_int_t)drain->left));
    json_object_set_new(step, "state", json_string(row == NULL ? "" : ctl_text(row, "state")));
    json_object_set_new(step, "removed", json_boolean(row == NULL));
    const char *cause = row == NULL ? NULL : obstacle(drain, nodes, row);
    const bool left = row != NULL && strcmp(ctl_text(row, "state"), "left") == 0;
    rc = row == NULL || (left && is_empty(drain, row)) ? CTL_OK : -1;
    if (cause != NULL) {
        progress_end(&drain->progress);
        rc = ctl_failed_for(drain->ctl, drain->node, BELAY_UNSUPPORTED, cause, "");
    }
    json_decref(nodes);
    return rc;
}

static void begin(struct drain *drain)
{
    json_t *nodes;

    drain->begun_ms = drain->line_ms = ctl_now_ms();
    drain->line_left = UINT64_MAX;
    progress_begin(&drain->progress, "slots moved", drain->total);
    drain->progress.more = drain->more;
    if (drain->left > 0 && ctl_admin(drain->ctl, "nodes", NULL, &nodes) == CTL_OK) {
        const json_t *row = row_of(nodes, drain->number);
        if (row != NULL) {
            ask_sessions(drain, ctl_text(row, "native"));
        }
        json_decref(nodes);
    }
}

static int wait_while_it_drains(struct drain *drain, json_t *step)
{
    for (;;) {
        int rc = look(drain, step);
        if (rc >= 0) {
            return rc;
        }
        show_progress(drain);
        if (ctl_is_late(drain->ctl)) {
            progress_end(&drain->progress);
            return ctl_failed_for(drain->ctl, drain->node, BELAY_TIMEOUT,
                                  "it is not drained yet, and goes on draining", "");
        }
        ctl_sleep_ms(LOOK_MS);
    }
}

static int wait_for_it(struct drain *drain, json_t *step)
{
    begin(drain);
    progress_goes_on(
        "%s goes on draining: node drain %s --wait shows how far it is, --cancel takes it back",
        drain->node, drain->node);
    int rc = wait_while_it_drains(drain, step);
    progress_end(&drain->progress);
    progress_is_over();
    return rc;
}

/* ---- Its end ---- */

static void add_figures(const struct drain *drain, json_t *step)
{
    const uint64_t moved = drain->total - drain->left;

    json_object_set_new(step, "slots_moved", json_integer((json_int_t)moved));
    json_object_set_new(step, "sessions", json_integer((json_int_t)drain->sessions));
    json_object_set_new(step, "session_bytes", json_integer((json_int_t)drain->bytes));
    json_object_set_new(step, "took_ms",
                        json_integer((json_int_t)(ctl_now_ms() - drain->begun_ms)));
    json_object_set_new(step, "left_ms",
                        json_integer((json_int_t)(drain->left_ms - drain->begun_ms)));
    json_object_set_new(step, "asked", json_boolean(drain->rest.asked));
}

static const char *may_go(const struct drain *drain, const json_t *step)
{
    if (json_is_true(json_object_get(step, "removed"))) {
        return "it was removed meanwhile";
    }
    return drain->rest.asked ? "it may be stopped, or taken out with node remove"
                             : "it cannot be asked whether others have all that it took meanwhile";
}

static void print_end(const struct drain *drain, const json_t *step)
{
    char slots[TEXT_BYTES], took[TEXT_BYTES], sessions[LINE_BYTES];

    show_count(drain->total, slots, sizeof slots);
    show_sessions(drain, drain->total, sessions, sizeof sessions);
    printf("%s is drained: %s slots%s%s%s moved in %s; ", ctl_text(step, "name"), slots,
           sessions[0] != '\0' ? " (" : "", sessions, sessions[0] != '\0' ? ")" : "",
           show_duration(ctl_now_ms() - drain->begun_ms, took, sizeof took));
    puts(may_go(drain, step));
}

/* Of a drain that is not waited for, and of one that was taken back. */
static void print_step(const json_t *step)
{
    const char *name = ctl_text(step, "name"), *state = ctl_text(step, "state");
    char slots[TEXT_BYTES];

    if (strcmp(state, "draining") == 0) {
        printf("%s is draining: %s slots to go; node drain %s --wait shows how far it is\n", name,
               show_count(ctl_number(step, "slots"), slots, sizeof slots), name);
    } else if (strcmp(state, "left") == 0) {
        printf("%s has left; node drain %s --wait says when it may be stopped, or taken out\n",
               name, name);
    } else {
        printf("%s is %s\n", name, state);
    }
}

/* Fewer nodes than each session is to have copies of may go on, but that is to be known. */
void node_drain_warn(struct ctl *ctl, uint64_t number)
{
    const json_t *row;
    uint64_t left = 0, replicas;
    size_t index;
    json_t *nodes;

    if (ctl->json || ctl_admin(ctl, "nodes", NULL, &nodes) != CTL_OK) {
        return;
    }
    json_array_foreach(json_object_get(nodes, "nodes"), index, row)
    {
        left += ctl_number(row, "number") != number && ctl_serves(row);
    }
    replicas = ctl_number(nodes, "replicas");
    if (left > 0 && left < replicas) {
        fprintf(stderr,
                "belayctl: %s: warning: %" PRIu64
                " node%s left, and each session is to have %" PRIu64
                " copies: that is all that it has then. node drain NODE --cancel takes it back\n",
                ctl->command->words, left, left == 1 ? " is" : "s are", replicas);
    }
    json_decref(nodes);
}

static int drain_it(struct ctl *ctl, const char *node, bool wait)
{
    struct drain drain = {.ctl = ctl, .node = node};
    json_t *step;
    int rc = ctl_admin(ctl, "node-drain", node, &step);

    if (rc != CTL_OK) {
        return rc;
    }
    drain.number = ctl_number(step, "number");
    if (strcmp(ctl_text(step, "state"), "draining") == 0) {
        node_drain_warn(ctl, drain.number);
    }
    if (wait) {
        drain.total = drain.left = ctl_number(step, "slots");
        rc = wait_for_it(&drain, step);
        if (rc != CTL_OK) {
            json_decref(step);
            return rc;
        }
        add_figures(&drain, step);
    }
    if (ctl->json) {
        return ctl_print_json(step);
    }
    if (wait) {
        print_end(&drain, step);
    } else {
        print_step(step);
    }
    json_decref(step);
    return CTL_OK;
}

static int cancel_it(struct ctl *ctl, const char *node)
{
    json_t *step, *nodes;
    int rc = ctl_admin(ctl, "nodes", NULL, &nodes);

    if (rc != CTL_OK) {
        return rc;
    }
    const bool drained =
        strcmp(ctl_text(ctl_node(nodes, node), "state"), "active") != 0; /* Or it is about to be. */
    json_decref(nodes);
    rc = ctl_admin(ctl, "node-drain-cancel", node, &step);
    if (rc != CTL_OK) {
        return rc;
    }
    /* It had left just then: that is for others to take back (node activate). */
    bool late = strcmp(ctl_text(step, "state"), "left") == 0;
    if (ctl->json) {
        (void)ctl_print_json(step);
    } else if (!drained) {
        printf("%s was not draining\n", ctl_text(step, "name"));
        json_decref(step);
    } else {
        print_step(step);
        json_decref(step);
    }
    return late ? CTL_REFUSED : CTL_OK;
}

int node_drain_run(struct ctl *ctl, int argc, char **argv)
{
    bool wait = false, cancel = false;
    const struct option options[] = {
        {"wait", OPTION_FLAG, &wait}, {"cancel", OPTION_FLAG, &cancel}, {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (wait && cancel) {
        return ctl_usage(ctl, "--wait and --cancel do not go together");
    }
    return cancel ? cancel_it(ctl, operands.items[0]) : drain_it(ctl, operands.items[0], wait);
}
