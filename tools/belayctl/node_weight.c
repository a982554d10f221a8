/* belayctl node weight, node activate: how much of the sessions a node takes. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl.h"

enum { ASK_AGAIN_MS = 200, TEXT_BYTES = 64, ARGUMENT_BYTES = 600, WEIGHT_MAX = 1000000 };
enum { ASKS_MAX = 60 * 1000 / ASK_AGAIN_MS }; /* Nobody takes out one that joins and stopped. */

static uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

static void sleep_ms(long ms)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static int show(struct ctl *ctl, json_t *step)
{
    char time[TEXT_BYTES];

    if (ctl->json) {
        return ctl_print_json(step);
    }
    printf("%s is %s, weight %" PRIu64, text_of(step, "name"), text_of(step, "state"),
           number_of(step, "weight"));
    if (number_of(step, "ramp_ms") > 0) {
        printf(", on its way to %" PRIu64 " in %s", number_of(step, "weight_to"),
               show_duration(number_of(step, "ramp_ms"), time, sizeof time));
    }
    putchar('\n');
    json_decref(step);
    return CTL_OK;
}

static int ask(struct ctl *ctl, const char *command, const char *node, uint64_t weight,
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
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && *weight <= WEIGHT_MAX;
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
                         WEIGHT_MAX);
    }
    rc = ask(ctl, "node-weight", operands.items[0], weight, over_ms, &step);
    return rc != CTL_OK ? rc : show(ctl, step);
}

/* Is there nothing more to be asked for? What goes on by itself is not waited for. */
static bool is_active(const json_t *step, uint64_t over_ms)
{
    const char *state = text_of(step, "state");
    bool serves = strcmp(state, "active") == 0 || strcmp(state, "degraded") == 0;
    bool ramps = number_of(step, "ramp_ms") > 0;

    return serves && number_of(step, "weight_to") > 0 && (over_ms > 0 || !ramps);
}

/* By name or, where none has that name, by number. */
static const json_t *find(const json_t *nodes, const char *node)
{
    const json_t *row, *found = NULL;
    char number[TEXT_BYTES];
    size_t index;

    json_array_foreach(json_object_get(nodes, "nodes"), index, row)
    {
        if (strcmp(text_of(row, "name"), node) == 0) {
            return row;
        }
        snprintf(number, sizeof number, "%" PRIu64, number_of(row, "number"));
        found = strcmp(number, node) == 0 ? row : found;
    }
    return found;
}

/* What it has before the first step, which may take it away; 0: none. */
static int look_up_weight(struct ctl *ctl, const char *node, uint64_t *weight)
{
    json_t *nodes;
    int rc = ctl_admin(ctl, "nodes", NULL, &nodes);

    if (rc == CTL_OK) {
        *weight = number_of(find(nodes, node), "weight_to");
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
                         WEIGHT_MAX);
    }
    if (given == NULL) {
        rc = look_up_weight(ctl, operands.items[0], &weight);
        if (rc != CTL_OK) {
            return rc;
        }
    }
    for (int asks = 0; asks < ASKS_MAX; asks++) {
        rc = ask(ctl, "node-activate", operands.items[0], weight, over_ms, &step);
        if (rc != CTL_OK) {
            return rc;
        }
        weight = weight == 0 ? number_of(step, "weight_to") : weight;
        if (is_active(step, over_ms) && weight == number_of(step, "weight_to")) {
            return show(ctl, step);
        }
        json_decref(step);
        sleep_ms(ASK_AGAIN_MS);
    }
    return ctl_failed_for(ctl, operands.items[0], BELAY_UNSUPPORTED,
                          "it does not become active: does it run, and is it reached? It comes in "
                          "by itself once it is; node list shows it",
                          "");
}
