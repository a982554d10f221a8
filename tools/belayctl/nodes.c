/* belayctl join-token, node list, node remove: who is in the cluster. */
#include <inttypes.h>
#include <string.h>

#include "ctl.h"

enum {
    TEXT_BYTES = 64,
    ASK_AGAIN_MS = 200,
    EMPTY_PATIENCE_MS = 60 * 1000,
    SAY_AGAIN_MS = 10 * 1000,
};

/* ---- join-token ---- */

int join_token_run(struct ctl *ctl, int argc, char **argv)
{
    json_t *document;
    int rc = ctl_show(ctl, argc, argv, "join-token", &document);

    if (rc != CTL_OK || document == NULL) {
        return rc;
    }
    puts(ctl_text(document, "token"));
    if (json_is_true(json_object_get(document, "local"))) {
        fprintf(stderr,
                "belayctl: join-token: warning: only this machine can use it, as it leads to "
                "an address of loopback; for\n"
                "others set listen.address or listen.announce of the nodes to one that they "
                "can reach\n");
    }
    json_decref(document);
    return CTL_OK;
}

/* ---- node list ---- */

static size_t widest(const json_t *nodes, const char *name, size_t least)
{
    const json_t *node;
    size_t index;

    json_array_foreach(nodes, index, node)
    {
        size_t width = show_width(belay_text(ctl_text(node, name)));
        least = width > least ? width : least;
    }
    return least;
}

static void print_text(const json_t *node, const char *name, size_t width)
{
    struct belay_bytes text = belay_text(ctl_text(node, name));

    show_bytes(stdout, text);
    printf("%*s", (int)(width - show_width(text)) + 2, "");
}

static void print_behind(const json_t *node)
{
    char bytes[TEXT_BYTES], since[TEXT_BYTES];

    if (ctl_number(node, "records_behind") == 0) {
        puts("0");
        return;
    }
    printf("%" PRIu64 " (%s, %s)\n", ctl_number(node, "records_behind"),
           show_size(ctl_number(node, "bytes_behind"), bytes, sizeof bytes),
           show_duration(ctl_number(node, "behind_ms"), since, sizeof since));
}

static char mark_of(const json_t *document, const json_t *node)
{
    bool leads = ctl_number(node, "number") == ctl_number(document, "leader");

    return leads ? '*' : json_is_true(json_object_get(node, "votes")) ? '+' : ' ';
}

static void print_reasons(const json_t *node)
{
    const json_t *reasons = json_object_get(node, "degraded_by"), *reason;
    size_t index;

    json_array_foreach(reasons, index, reason)
    {
        const char *name = json_string_value(reason);
        printf("%s is degraded: %s\n", ctl_text(node, "name"),
               strcmp(name, "operator") == 0    ? "somebody said so (node degrade)"
               : strcmp(name, "disk_full") == 0 ? "its disk is full"
                                                : "it cannot write its log");
    }
}

static void print_return(const json_t *node)
{
    if (strcmp(ctl_text(node, "state"), "down") == 0 &&
        strcmp(ctl_text(node, "link"), "down") != 0) {
        printf("%s runs again, and is taken back when its cooldown is over (cluster.cooldown)\n",
               ctl_text(node, "name"));
    }
}

static void print_ramp(const json_t *node)
{
    char time[TEXT_BYTES];

    if (ctl_number(node, "ramp_ms") > 0) {
        printf("%s goes to weight %" PRIu64 " in %s\n", ctl_text(node, "name"),
               ctl_number(node, "weight_to"),
               show_duration(ctl_number(node, "ramp_ms"), time, sizeof time));
    }
}

static void print_nodes(const json_t *document)
{
    const json_t *nodes = json_object_get(document, "nodes"), *node;
    size_t index, voters = 0, name = widest(nodes, "name", 4), zone = widest(nodes, "zone", 4);
    size_t native = widest(nodes, "native", 7);

    printf("cluster %s, epoch %" PRIu64 ", replicas: %" PRIu64 "\n\n",
           ctl_text(document, "cluster"), ctl_number(document, "epoch"),
           ctl_number(document, "replicas"));
    printf("   #  %-*s  %-8s  %-*s  weight  %-*s  primary  copies  coming  link  behind\n",
           (int)name, "name", "state", (int)zone, "zone", (int)native, "clients");
    json_array_foreach(nodes, index, node)
    {
        voters += json_is_true(json_object_get(node, "votes"));
        printf("%c%3" PRIu64 "  ", mark_of(document, node), ctl_number(node, "number"));
        print_text(node, "name", name);
        printf("%-8s  ", ctl_text(node, "state"));
        print_text(node, "zone", zone);
        printf("%6" PRIu64 "  ", ctl_number(node, "weight"));
        print_text(node, "native", native);
        printf("%7" PRIu64 "  %6" PRIu64 "  %6" PRIu64 "  %-4s  ",
               ctl_number(node, "slots_primary"), ctl_number(node, "slots_copy"),
               ctl_number(node, "slots_coming"), ctl_text(node, "link"));
        print_behind(node);
    }
    json_array_foreach(nodes, index, node)
    {
        print_reasons(node);
        print_ramp(node);
        print_return(node);
    }
    if (ctl_number(document, "leader") != 0) {
        puts(voters > 1 ? "\n* leads, + votes too: the map changes while most of these reach each "
                          "other."
                        : "\n* leads, and votes alone: the map changes while it is up.");
        return;
    }
    puts("\nNobody leads: while that is so the map does not change. Start the nodes that are down, "
         "those that\n"
         "vote (+) first; where too many of these are lost for good, see --force-new-cluster in "
         "belayd(8).");
}

int node_list_run(struct ctl *ctl, int argc, char **argv)
{
    json_t *document;
    int rc = ctl_show(ctl, argc, argv, "nodes", &document);

    if (rc != CTL_OK || document == NULL) {
        return rc;
    }
    print_nodes(document);
    json_decref(document);
    return CTL_OK;
}

/* ---- node degrade, node undegrade ---- */

static int change_state(struct ctl *ctl, int argc, char **argv, const char *command)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *document;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = ctl_admin(ctl, command, operands.items[0], &document);
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(document);
    }
    printf("%s is %s\n", ctl_text(document, "name"), ctl_text(document, "state"));
    json_decref(document);
    return CTL_OK;
}

int node_degrade_run(struct ctl *ctl, int argc, char **argv)
{
    return change_state(ctl, argc, argv, "node-degrade");
}

int node_undegrade_run(struct ctl *ctl, int argc, char **argv)
{
    return change_state(ctl, argc, argv, "node-undegrade");
}

/* ---- node remove ---- */

struct removal {
    struct ctl *ctl;
    const char *node; /* As the operator named it. */
    bool force;
    bool begun; /* The bar. */
    struct progress progress;
    uint64_t wait_ms; /* For which nothing was said; 0: it has not waited. */
    uint64_t slots,
        fewer_ms; /* Of which it has something yet though it has left, and since when. */
};

static void say(struct removal *removal, const char *text)
{
    fprintf(stderr, "belayctl: %s: %s: %s\n", removal->ctl->command->words, removal->node, text);
    removal->wait_ms = ctl_now_ms();
}

/* Now and then, while it waits. */
static void say_later(struct removal *removal, const char *text)
{
    const uint64_t now_ms = ctl_now_ms();

    if (removal->wait_ms == 0) {
        removal->wait_ms = now_ms;
    } else if (now_ms >= removal->wait_ms + SAY_AGAIN_MS) {
        say(removal, text);
    }
}

/* It has left, so others have its slots; but what it took while it was cut off may have to come to them yet. One that cannot be
 * asked is as its operator says. Returns CTL_OK with `wait`, or the exit code of a failure that was printed. */
static int look_if_empty(struct removal *removal, const json_t *row, bool *wait)
{
    const struct ctl_rest rest = ctl_rest(removal->ctl, row);
    const uint64_t now_ms = ctl_now_ms();

    *wait = rest.asked && !rest.is_none;
    if (removal->fewer_ms == 0 || rest.slots != removal->slots) {
        removal->fewer_ms = now_ms;
    }
    removal->slots = rest.slots;
    if (!rest.asked) {
        say(removal,
            "it cannot be asked whether others have all that it took: that is taken for so");
    } else if (*wait) {
        say_later(removal, "it has left, and compares what it has with those that own it now");
    }
    if (*wait && now_ms > removal->fewer_ms + EMPTY_PATIENCE_MS) {
        return ctl_failed_for(removal->ctl, removal->node, BELAY_UNSUPPORTED,
                              "it has something yet that others may not have: are all nodes up? "
                              "--force gives it up",
                              "");
    }
    return CTL_OK;
}

/* Is there anything to be waited for before the server is asked for a step? */
static int look(struct removal *removal, bool *wait)
{
    json_t *nodes;
    int rc = ctl_admin(removal->ctl, "nodes", NULL, &nodes);

    *wait = false;
    if (rc != CTL_OK) {
        return rc;
    }
    const json_t *row = ctl_node(nodes, removal->node);
    const uint64_t slots = ctl_number(row, "slots_primary") + ctl_number(row, "slots_copy");
    if (strcmp(ctl_text(row, "state"), "draining") == 0 && slots == 0) {
        *wait = true; /* It is about to have left. */
        say_later(removal, ctl_number(nodes, "leader") == 0
                               ? CTL_UNDECIDED
                               : "it has no slots any more, and has left once it knows that");
    } else if (strcmp(ctl_text(row, "state"), "left") == 0 && !removal->force) {
        rc = look_if_empty(removal, row, wait);
    }
    json_decref(nodes);
    return rc;
}

static void show_progress(struct removal *removal, uint64_t left)
{
    if (!removal->begun) {
        progress_begin(&removal->progress, "slots moved", left);
        progress_goes_on(
            "%s goes on draining: node remove %s goes on with it, node drain %s --cancel "
            "takes it back",
            removal->node, removal->node, removal->node);
        removal->begun = true;
    }
    progress_update(&removal->progress,
                    left < removal->progress.total ? removal->progress.total - left : 0);
}

/* The server takes one step at a time: a node that serves gives its slots to others first. A refusal of the first is meant;
 * later it may be about what is still on its way. */
static int remove_it(struct removal *removal, json_t **document)
{
    const char *command = removal->force ? "node-remove-force" : "node-remove";
    bool wait;

    for (;;) {
        int rc = look(removal, &wait);
        if (rc != CTL_OK) {
            return rc;
        }
        if (!wait) {
            removal->ctl->once = !removal->begun;
            rc = ctl_admin(removal->ctl, command, removal->node, document);
            if (rc != CTL_OK || json_is_true(json_object_get(*document, "removed"))) {
                return rc;
            }
            if (!removal->begun && strcmp(ctl_text(*document, "state"), "draining") == 0) {
                node_drain_warn(removal->ctl, ctl_number(*document, "number"));
            }
            show_progress(removal, ctl_number(*document, "slots"));
            json_decref(*document);
        }
        if (ctl_is_late(removal->ctl)) {
            progress_end(&removal->progress);
            return ctl_failed_for(removal->ctl, removal->node, BELAY_TIMEOUT,
                                  "it is not out yet, and goes on draining: node remove again "
                                  "goes on with it",
                                  "");
        }
        ctl_sleep_ms(ASK_AGAIN_MS);
    }
}

int node_remove_run(struct ctl *ctl, int argc, char **argv)
{
    bool force = false;
    const struct option options[] = {{"force", OPTION_FLAG, &force}, {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    char count[TEXT_BYTES];
    json_t *document;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    struct removal removal = {.ctl = ctl, .node = operands.items[0], .force = force};
    rc = remove_it(&removal, &document);
    if (removal.begun) {
        progress_end(&removal.progress);
        progress_is_over();
    }
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(document);
    }
    printf("removed %s\n", ctl_text(document, "name"));
    if (ctl_number(document, "sessions_given_up") > 0) {
        printf("about %s sessions that nobody else had are given up%s\n",
               show_count(ctl_number(document, "sessions_given_up"), count, sizeof count),
               ctl_number(document, "lost") > 0 ? ", but for what the archive has of them" : "");
    }
    if (ctl_number(document, "lost") > 0) {
        printf("%" PRIu64 " slots are restored from the archive now: those asked for first, all by "
               "belayctl archive status\n",
               ctl_number(document, "lost"));
    }
    json_decref(document);
    return CTL_OK;
}
