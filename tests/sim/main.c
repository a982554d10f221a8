/* The simulator's command line. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scenarios.h"

static const struct sim_scenario *const scenarios[] = {
    &scenario_shard, &scenario_raft, &scenario_copies, &scenario_cluster, &scenario_archive};
enum {
    SCENARIOS = sizeof scenarios / sizeof scenarios[0],
    SEEDS_OF_LEAST = 100, /* The table's numbers are for so many... */
    SEEDS_FOR_LEAST = 30, /* ... and looked at from so many on. */
    HEAP_KEPT_BYTES = 256 * 1024 * 1024
};

static const char usage[] =
    "usage: sim [OPTION]...\n"
    "Run the server's pure parts in a simulated world, with faults, and check what must hold.\n"
    "\n"
    "  --seed N         one seed\n"
    "  --seeds A..B     these seeds (1..100); from 30 on it is also checked that each fault came\n"
    "                   often enough\n"
    "  --scenario NAME  only this scenario (default: all): shard, raft, copies,\n"
    "                   cluster, archive\n"
    "  --nodes N        so many nodes, where the scenario has several (default: the seed says)\n"
    "  --trace          print every event\n"
    "  --twice          run each seed twice, and compare\n"
    "  --help           print this\n"
    "\n"
    "Prints the trace hash and what happened, how often. Exit code: 0 all held; 1 something did "
    "not:\n"
    "the line FAIL says scenario, seed and checker, and the last events follow; 2 usage.\n";

struct arguments {
    uint64_t first, last;
    uint32_t node_count;
    const char *scenario;
    bool trace, twice;
};

static bool parse_number(const char *text, char **end, uint64_t *number)
{
    errno = 0;
    *number = strtoull(text, end, 10);
    return *end != text && errno == 0 && text[0] != '-';
}

static bool parse_seeds(const char *text, struct arguments *arguments)
{
    char *end;

    if (!parse_number(text, &end, &arguments->first)) {
        return false;
    }
    arguments->last = arguments->first;
    if (strncmp(end, "..", 2) == 0 && !parse_number(end + 2, &end, &arguments->last)) {
        return false;
    }
    return *end == '\0' && arguments->first <= arguments->last;
}

static bool parse_nodes(const char *text, struct arguments *arguments)
{
    char *end;
    uint64_t count;

    if (!parse_number(text, &end, &count) || *end != '\0' || count < 1 || count > SIM_NODES_MAX) {
        return false;
    }
    arguments->node_count = (uint32_t)count;
    return true;
}

static bool parse_scenario(const char *text, struct arguments *arguments)
{
    for (int i = 0; i < SCENARIOS; i++) {
        if (strcmp(text, scenarios[i]->name) == 0) {
            arguments->scenario = text;
            return true;
        }
    }
    return false;
}

static bool parse(int argc, char *argv[], struct arguments *arguments)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},     {"seeds", required_argument, NULL, 's'},
        {"scenario", required_argument, NULL, 'S'}, {"nodes", required_argument, NULL, 'n'},
        {"trace", no_argument, NULL, 't'},          {"twice", no_argument, NULL, '2'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    bool good = true;
    int option;

    while (good && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 's':
            good = parse_seeds(optarg, arguments);
            break;
        case 'S':
            good = parse_scenario(optarg, arguments);
            break;
        case 'n':
            good = parse_nodes(optarg, arguments);
            break;
        case 't':
            arguments->trace = true;
            break;
        case '2':
            arguments->twice = true;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            good = false;
            break;
        }
    }
    return good && optind == argc;
}

static const char *const count_texts[] = {
#define COUNT_TEXT(name, text, shard, raft, copies, cluster, archive) text,
    SIM_COUNT_TABLE(COUNT_TEXT)
#undef COUNT_TEXT
};

static const uint64_t leasts[][SIM_COUNTS] = {
    {
#define COUNT_LEAST(name, text, shard, raft, copies, cluster, archive) shard,
        SIM_COUNT_TABLE(COUNT_LEAST)
#undef COUNT_LEAST
    },
    {
#define COUNT_LEAST(name, text, shard, raft, copies, cluster, archive) raft,
        SIM_COUNT_TABLE(COUNT_LEAST)
#undef COUNT_LEAST
    },
    {
#define COUNT_LEAST(name, text, shard, raft, copies, cluster, archive) copies,
        SIM_COUNT_TABLE(COUNT_LEAST)
#undef COUNT_LEAST
    },
    {
#define COUNT_LEAST(name, text, shard, raft, copies, cluster, archive) cluster,
        SIM_COUNT_TABLE(COUNT_LEAST)
#undef COUNT_LEAST
    },
    {
#define COUNT_LEAST(name, text, shard, raft, copies, cluster, archive) archive,
        SIM_COUNT_TABLE(COUNT_LEAST)
#undef COUNT_LEAST
    },
};

/* Print what happened. Returns whether all of it came often enough, where there were seeds for that. */
static bool report(int scenario, const struct arguments *arguments,
                   const uint64_t counts[SIM_COUNTS])
{
    uint64_t seeds = arguments->last - arguments->first + 1;
    bool enough = true;

    for (int i = 0; i < SIM_COUNTS; i++) {
        uint64_t least = seeds < SEEDS_FOR_LEAST ? 0 : leasts[scenario][i] * seeds / SEEDS_OF_LEAST;
        bool few = counts[i] < least;
        if (counts[i] > 0 || few) {
            printf("%10" PRIu64 "  %s", counts[i], count_texts[i]);
            printf(few ? ", which are less than %" PRIu64 "\n" : "\n", least);
        }
        enough = enough && !few;
    }
    return enough;
}

static bool run(int index, const struct arguments *arguments)
{
    const struct sim_scenario *scenario = scenarios[index];
    uint64_t counts[SIM_COUNTS] = {0}, other[SIM_COUNTS] = {0}, all = 0;

    for (uint64_t seed = arguments->first; seed <= arguments->last; seed++) {
        uint64_t hash = sim_run(scenario, seed, arguments->node_count, arguments->trace, counts);
        if (arguments->twice &&
            hash != sim_run(scenario, seed, arguments->node_count, false, other)) {
            printf("FAIL scenario=%s seed=%" PRIu64
                   " checker=repeat: it ran otherwise the second time\n",
                   scenario->name, seed);
            return false;
        }
        all = all * 31 + hash;
    }
    printf("scenario %s, seeds %" PRIu64 "..%" PRIu64 ": trace hash %016" PRIx64 "\n",
           scenario->name, arguments->first, arguments->last, all);
    if (!report(index, arguments, counts)) {
        printf("FAIL scenario=%s checker=counts\n", scenario->name);
        return false;
    }
    return true;
}

int main(int argc, char *argv[])
{
    struct arguments arguments = {.first = 1, .last = 100};

    if (!parse(argc, argv, &arguments)) {
        fputs(usage, stderr);
        return 2;
    }
    /* Areas of one run are used again by the next: to get them from the system each time took half of the time. */
    mallopt(M_MMAP_THRESHOLD, HEAP_KEPT_BYTES);
    mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
    for (int i = 0; i < SCENARIOS; i++) {
        if (arguments.scenario != NULL && strcmp(arguments.scenario, scenarios[i]->name) != 0) {
            continue;
        }
        if (!run(i, &arguments)) {
            return 1;
        }
    }
    return 0;
}
