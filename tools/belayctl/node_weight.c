/* belayctl node weight, node activate: how much of the sessions a node takes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "limits.h"

enum { ASK_AGAIN_MS = 200, TEXT_BYTES = 64, ARGUMENT_BYTES = 600 };
enum { ASKS_MAX = 60 * 1000 / ASK_AGAIN_MS }; /* Nobody takes out one that joins and stopped. */

static int show(struct ctl *ctl, json_t *step)
{
    char time[TEXT_BYTES];

    if (ctl->json) {
        return ctl_print_json(step);
    }
    printf("%s is %s, weight %" PRIu64, ctl_text(step, "name"), ctl_text(step, "state"),
           ctl_number(step, "weight"));
    if (ctl_number(step, "ramp_ms") > 0) {
        printf(", on its way to %" PRIu64 " in %s", ctl_number(step, "weight_to"),
               show_duration(ctl_number(step, "ramp_ms"), time, sizeof time));
    }
    putchar('\n');
    json_decref(step);
    return CTL_OK;
}

int node_weight_ask(struct ctl *ctl, const char *command, const char *node, uint64_t weight,
                    uint64_t over_ms, json_t **step)
{
    char argument[ARGUMENT_BYTES];

    if (snprintf(argument, sizeof argument, "%" PRIu64 " %" PRIu64 " %s", over_ms, weight, node) >=
        (int)sizeof argument) {
        return ctl_usage(ctl, "that is no name of a node");
    }
    return ctl_admin(ctl, command, argument, step);
}

static bool weight_read(const char *text, uint64_t *weight)
{
    char *end;

    *weight = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && *weight <= NODE_WEIGHT_MAX;
}

int node_weight_run(struct ctl *ctl, int argc, char **argv)
{
    uint64_t over_ms = 0, weight;
    const struct option options[] = {{"over", OPTION_DURATION, &over_ms},
                                     {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *step;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 2, 2);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (!weight_read(operands.items[1], &weight)) {
        return ctl_usage(ctl, "%s is no weight; it is a number from 0 to %d", operands.items[1],
                         NODE_WEIGHT_MAX);
    }
    rc = node_weight_ask(ctl, "node-weight", operands.items[0], weight, over_ms, &step);
    return rc != CTL_OK ? rc : show(ctl, step);
}

/* Is there nothing more to be asked for? What goes on by itself is not waited for. */
static bool is_active(const json_t *step, uint64_t over_ms)
{
    const char *state = ctl_text(step, "state");
    bool serves = strcmp(state, "active") == 0 || strcmp(state, "degraded") == 0;
    bool ramps = ctl_number(step, "ramp_ms") > 0;

    return serves && ctl_number(step, "weight_to") > 0 && (over_ms > 0 || !ramps);
}

/* What it has before the first step, which may take it away; 0: none. */
static int look_up_weight(struct ctl *ctl, const char *node, uint64_t *weight)
{
    json_t *nodes;
    int rc = ctl_admin(ctl, "nodes", NULL, &nodes);

    if (rc == CTL_OK) {
        *weight = ctl_number(ctl_node(nodes, node), "weight_to");
        json_decref(nodes);
    }
    return rc;
}

int node_activate_run(struct ctl *ctl, int argc, char **argv)
{
    uint64_t over_ms = 0, weight = 0;
    const char *given = NULL;
    const struct option options[] = {{"over", OPTION_DURATION, &over_ms},
                                     {"weight", OPTION_TEXT, &given},
                                     {NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *step;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (given != NULL && (!weight_read(given, &weight) || weight == 0)) {
        return ctl_usage(ctl, "%s is no weight to serve with; it is a number from 1 to %d", given,
                         NODE_WEIGHT_MAX);
    }
    if (given == NULL) {
        rc = look_up_weight(ctl, operands.items[0], &weight);
        if (rc != CTL_OK) {
            return rc;
        }
    }
    for (int asks = 0; asks < ASKS_MAX; asks++) {
        rc = node_weight_ask(ctl, "node-activate", operands.items[0], weight, over_ms, &step);
        if (rc != CTL_OK) {
            return rc;
        }
        weight = weight == 0 ? ctl_number(step, "weight_to") : weight;
        if (is_active(step, over_ms) && weight == ctl_number(step, "weight_to")) {
            return show(ctl, step);
        }
        json_decref(step);
        ctl_sleep_ms(ASK_AGAIN_MS);
    }
    return ctl_failed_for(ctl, operands.items[0], BELAY_UNSUPPORTED,
                          "it does not become active: does it run, and is it reached? It comes in "
                          "by itself once it is; node list shows it",
                          "");
}
