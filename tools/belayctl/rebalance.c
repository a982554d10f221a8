/* belayctl rebalance: weights by how loaded the nodes are (balance.h). */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "balance.h"
#include "ctl.h"

enum {
    NODES_MAX = 256,
    TEXT_BYTES = 64,
    LINE_BYTES = 400,
    MEASURE_MS_LEAST = 100,
    NAME_COLUMNS_LEAST = 4,
};

struct rebalance {
    struct ctl *ctl;
    uint64_t over_ms, measure_ms;
    bool dry_run, repeats;
};

/* What a node says of itself. */
struct sample {
    uint64_t pid, at_ms, cpu_ms, threads;
    double memory;
};

struct candidate {
    uint64_t number;
    const char *name, *server; /* Of the document of nodes. */
    struct sample before;
    double cpu, memory;
};

struct round {
    json_t *nodes;
    uint32_t count;
    struct candidate candidates[NODES_MAX];
    struct balance_node loads[NODES_MAX];
    uint32_t to[NODES_MAX];
    bool changes;
};

/* ---- Who takes part ---- */

static int refuse(struct rebalance *rebalance, const char *what, const char *text)
{
    return ctl_failed_for(rebalance->ctl, what, BELAY_UNSUPPORTED, text, "");
}

/* While anything moves loads do not go by the weights that the map has. NULL: nothing does. */
static const char *unrest_of(const json_t *row)
{
    const char *state = ctl_text(row, "state");

    if (strcmp(state, "active") != 0 && strcmp(state, "left") != 0) {
        return strcmp(state, "down") == 0       ? "it is down"
               : strcmp(state, "draining") == 0 ? "it is draining"
               : strcmp(state, "joining") == 0  ? "it is joining"
                                                : "it is degraded";
    }
    if (strcmp(state, "active") == 0 && ctl_number(row, "ramp_ms") > 0) {
        return "its weight is changing";
    }
    return ctl_number(row, "slots_coming") > 0 ? "slots are moving to it" : NULL;
}

/* One without a weight is kept so. */
static int choose(struct rebalance *rebalance, struct round *round)
{
    const json_t *row;
    size_t index;

    if (ctl_number(round->nodes, "leader") == 0) {
        return refuse(rebalance, NULL, "nobody leads the cluster, so no weight can change");
    }
    json_array_foreach(json_object_get(round->nodes, "nodes"), index, row)
    {
        const char *unrest = unrest_of(row);
        if (unrest != NULL) {
            return refuse(rebalance, ctl_text(row, "name"), unrest);
        }
        if (strcmp(ctl_text(row, "state"), "active") == 0 && ctl_number(row, "weight") > 0 &&
            round->count < NODES_MAX) {
            round->loads[round->count].weight = (uint32_t)ctl_number(row, "weight");
            round->candidates[round->count++] = (struct candidate){
                .number = ctl_number(row, "number"),
                .name = ctl_text(row, "name"),
                .server = ctl_text(row, "native"),
            };
        }
    }
    return round->count >= 2 ? CTL_OK
                             : refuse(rebalance, NULL, "only one node has any sessions to give");
}

/* ---- How loaded they are ---- */

static int take_sample(struct rebalance *rebalance, const struct candidate *candidate,
                       struct sample *sample)
{
    const json_t *shard;
    size_t index;
    enum belay_status failed;
    json_t *status = ctl_ask(rebalance->ctl, candidate->server, "status", NULL, &failed);

    if (status == NULL) {
        return ctl_failed_for(rebalance->ctl, candidate->name, failed, belay_status_text(failed),
                              "");
    }
    const uint64_t limit = ctl_number(status, "memory_limit");
    *sample = (struct sample){.pid = ctl_number(status, "pid"), .at_ms = ctl_now_ms()};
    /* Not what they take in pages: of those some are given back only when they are needed. */
    sample->memory = limit == 0 ? 0 : (double)ctl_number(status, "session_bytes") / (double)limit;
    json_array_foreach(json_object_get(status, "shards"), index, shard)
    {
        sample->cpu_ms += ctl_number(shard, "cpu_ms");
        sample->threads++;
    }
    json_decref(status);
    return CTL_OK;
}

static int measure(struct rebalance *rebalance, struct round *round)
{
    int rc = CTL_OK;

    for (uint32_t i = 0; i < round->count && rc == CTL_OK; i++) {
        rc = take_sample(rebalance, &round->candidates[i], &round->candidates[i].before);
    }
    if (rc == CTL_OK) {
        ctl_sleep_ms(rebalance->measure_ms);
    }
    for (uint32_t i = 0; i < round->count && rc == CTL_OK; i++) {
        struct candidate *candidate = &round->candidates[i];
        const struct sample *before = &candidate->before;
        struct sample after;
        rc = take_sample(rebalance, candidate, &after);
        if (rc != CTL_OK) {
            return rc;
        }
        if (after.pid != before->pid || after.threads == 0 || after.at_ms == before->at_ms) {
            return refuse(rebalance, candidate->name, "it was restarted meanwhile");
        }
        candidate->cpu = (double)(after.cpu_ms - before->cpu_ms) /
                         (double)((after.at_ms - before->at_ms) * after.threads);
        candidate->memory = after.memory;
        round->loads[i].load =
            candidate->cpu > candidate->memory ? candidate->cpu : candidate->memory;
    }
    return rc;
}

/* ---- Changing it ---- */

static int change(struct rebalance *rebalance, const struct round *round)
{
    for (uint32_t i = 0; i < round->count; i++) {
        json_t *step;
        if (round->to[i] == round->loads[i].weight) {
            continue;
        }
        int rc = node_weight_ask(rebalance->ctl, "node-weight", round->candidates[i].name,
                                 round->to[i], rebalance->over_ms, &step);
        if (rc != CTL_OK) {
            return rc;
        }
        json_decref(step);
    }
    return CTL_OK;
}

/* ---- Telling it ---- */

static int print_json(const struct rebalance *rebalance, const struct round *round)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < round->count; i++) {
        const struct candidate *candidate = &round->candidates[i];
        json_array_append_new(list, json_pack("{s:I, s:s, s:f, s:f, s:f, s:I, s:I}", "number",
                                              (json_int_t)candidate->number, "name",
                                              candidate->name, "cpu", candidate->cpu, "memory",
                                              candidate->memory, "load", round->loads[i].load,
                                              "weight", (json_int_t)round->loads[i].weight,
                                              "weight_to", (json_int_t)round->to[i]));
    }
    return ctl_print_json(json_pack("{s:b, s:b, s:I, s:I, s:o}", "changes", (int)round->changes,
                                    "dry_run", (int)rebalance->dry_run, "measured_ms",
                                    (json_int_t)rebalance->measure_ms, "over_ms",
                                    (json_int_t)rebalance->over_ms, "nodes", list));
}

/* Of several rounds each has its time. */
static void print_now(void)
{
    const time_t now = time(NULL);
    struct tm parts;
    char text[TEXT_BYTES];

    if (gmtime_r(&now, &parts) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%SZ", &parts) > 0) {
        puts(text);
    }
}

static void print_table(const struct round *round, bool repeats)
{
    size_t width = NAME_COLUMNS_LEAST;

    for (uint32_t i = 0; i < round->count; i++) {
        size_t columns = show_width(belay_text(round->candidates[i].name));
        width = columns > width ? columns : width;
    }
    if (repeats) {
        print_now();
    }
    printf("%-*s   cpu  memory  load   weight       to\n", (int)width, "node");
    for (uint32_t i = 0; i < round->count; i++) {
        const struct candidate *candidate = &round->candidates[i];
        struct belay_bytes name = belay_text(candidate->name);
        const double weight = round->loads[i].weight;
        show_bytes(stdout, name);
        printf("%*s  %3.0f%%    %3.0f%%  %3.0f%%  %7.0f  %7" PRIu32,
               (int)(width - show_width(name)), "", candidate->cpu * 100, candidate->memory * 100,
               round->loads[i].load * 100, weight, round->to[i]);
        if (round->to[i] != round->loads[i].weight) {
            printf("  %+.1f%%", (round->to[i] - weight) * 100 / weight);
        }
        putchar('\n');
    }
}

static double most_of(const struct round *round)
{
    double most = 0;

    for (uint32_t i = 0; i < round->count; i++) {
        most = round->loads[i].load > most ? round->loads[i].load : most;
    }
    return most;
}

static void print_end(const struct rebalance *rebalance, const struct round *round)
{
    char time[TEXT_BYTES];

    if (!round->changes) {
        printf("left as it is: no node %s\n",
               most_of(round) < BALANCE_IDLE ? "has a tenth of the load that it could bear"
                                             : "has a tenth more than it would have in balance");
    } else if (rebalance->dry_run) {
        puts("nothing was changed (--dry-run)");
    } else if (rebalance->over_ms > 0) {
        printf("the weights go there in %s\n",
               show_duration(rebalance->over_ms, time, sizeof time));
    } else {
        puts("the weights are so now");
    }
    fflush(stdout); /* The next round may be long after. */
}

/* ---- Rounds ---- */

static int run_round(struct rebalance *rebalance, struct round *round)
{
    int rc = choose(rebalance, round);

    rc = rc != CTL_OK ? rc : measure(rebalance, round);
    if (rc != CTL_OK) {
        return rc;
    }
    round->changes = balance_step(round->loads, round->count, round->to);
    if (round->changes && !rebalance->dry_run) {
        rc = change(rebalance, round);
    }
    if (rc != CTL_OK) {
        return rc;
    }
    if (rebalance->ctl->json) {
        rc = print_json(rebalance, round);
    } else {
        print_table(round, rebalance->repeats);
    }
    return rc;
}

static int run_once(struct rebalance *rebalance)
{
    struct round *round = calloc(1, sizeof *round);
    int rc = round == NULL ? refuse(rebalance, NULL, "out of memory")
                           : ctl_admin(rebalance->ctl, "nodes", NULL, &round->nodes);

    if (rc == CTL_OK) {
        rc = run_round(rebalance, round);
        if (rc == CTL_OK && !rebalance->ctl->json) {
            print_end(rebalance, round);
        }
        json_decref(round->nodes);
    }
    free(round);
    return rc;
}

int rebalance_run(struct ctl *ctl, int argc, char **argv)
{
    struct rebalance rebalance = {.ctl = ctl, .over_ms = 30 * 1000, .measure_ms = 10 * 1000};
    const char *by = NULL;
    uint64_t every_ms = 0;
    const struct option options[] = {
        {"by", OPTION_TEXT, &by},
        {"dry-run", OPTION_FLAG, &rebalance.dry_run},
        {"every", OPTION_DURATION, &every_ms},
        {"over", OPTION_DURATION, &rebalance.over_ms},
        {"measure", OPTION_DURATION, &rebalance.measure_ms},
        {NULL, OPTION_FLAG, NULL},
    };
    struct text_list operands;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (by == NULL || strcmp(by, "load") != 0) {
        return ctl_usage(ctl, "say by what: --by load");
    }
    if (rebalance.measure_ms < MEASURE_MS_LEAST) {
        return ctl_usage(ctl, "--measure is %dms at least", MEASURE_MS_LEAST);
    }
    rebalance.repeats = every_ms > 0;
    rc = run_once(&rebalance);
    while (every_ms > 0 &&
           rc != CTL_USAGE) { /* What stands against one round may be over at the next. */
        ctl_sleep_ms(every_ms);
        rc = run_once(&rebalance);
    }
    return rc;
}
