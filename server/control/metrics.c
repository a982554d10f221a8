#include "metrics.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "metrics_table.h"

enum metric_kind { COUNTER, GAUGE, HISTOGRAM };
enum metric_scope { NODE, SHARD, OUTCOMES };

static const char *const kind_names[] = {"counter", "gauge", "histogram"};

/* Bounds of the histograms: 2^k microseconds, where struct histogram has a bucket's end, so that the
 * counts are exact. */
enum { BOUND_FIRST = 4, BOUND_LAST = 23 };

/* Each row's value as a function; which of the two is defined follows from the kind. */
typedef double metric_number(const struct metrics *m, const struct metrics_shard *s, uint32_t i);
typedef const struct histogram *metric_histogram(const struct metrics *m,
                                                 const struct metrics_shard *s, uint32_t i);

struct metric {
    const char *name, *labels, *help;
    enum metric_kind kind;
    enum metric_scope scope;
    metric_number *number;
    metric_histogram *histogram;
};

/* Of the other shards, where something is the node's. */
static const struct histogram *metrics_nothing(void)
{
    static const struct histogram nothing = {.count = 0};

    return &nothing;
}

#define RETURNS_COUNTER   double
#define RETURNS_GAUGE     double
#define RETURNS_HISTOGRAM const struct histogram *
#define CAST_COUNTER(x)   ((double)(x))
#define CAST_GAUGE(x)     ((double)(x))
#define CAST_HISTOGRAM(x) (x)

#define DEFINE_VALUE(name, kind, scope, labels, help, expression)                                  \
    static RETURNS_##kind value_##name(const struct metrics *m, const struct metrics_shard *s,     \
                                       uint32_t i)                                                 \
    {                                                                                              \
        (void)m;                                                                                   \
        (void)s;                                                                                   \
        (void)i;                                                                                   \
        return CAST_##kind(expression);                                                            \
    }
METRICS_TABLE(DEFINE_VALUE)

#define VALUE_COUNTER(name)   .number = value_##name
#define VALUE_GAUGE(name)     .number = value_##name
#define VALUE_HISTOGRAM(name) .histogram = value_##name
#define DEFINE_ROW(name_, kind_, scope_, labels_, help_, expression)                               \
    {#name_, labels_, help_, kind_, scope_, VALUE_##kind_(name_)},

static const struct metric rows[] = {METRICS_TABLE(DEFINE_ROW)};

enum { ROWS = sizeof rows / sizeof rows[0], LABELS_BYTES = 96 };

/* The label of place `i`, as `key="value"`. Returns false past the last; without labels there is one
 * place, with an empty text. */
static bool label_at(const char *labels, uint32_t i, char to[LABELS_BYTES])
{
    const char *equals = strchr(labels, '=');

    to[0] = '\0';
    if (equals == NULL) {
        return i == 0;
    }
    const char *value = equals + 1;
    for (; i > 0; i--) {
        value = strchr(value, '|');
        if (value == NULL) {
            return false;
        }
        value++;
    }
    snprintf(to, LABELS_BYTES, "%.*s=\"%.*s\"", (int)(equals - labels), labels,
             (int)strcspn(value, "|"), value);
    return true;
}

static void print_number(FILE *to, const char *name, const char *suffix, const char *labels,
                         double number)
{
    const char *open = labels[0] == '\0' ? "" : "{", *close = labels[0] == '\0' ? "" : "}";

    fprintf(to, "%s%s%s%s%s %.16g\n", name, suffix, open, labels, close, number);
}

static void print_shards(FILE *to, const struct metrics *metrics, const struct metric *row,
                         uint32_t i, const char *label)
{
    char labels[LABELS_BYTES + 32];
    bool always = row->number == value_belay_shard_responding;

    for (uint32_t shard = 0; shard < metrics->shard_count; shard++) {
        if (metrics->shards[shard].responding || always) {
            snprintf(labels, sizeof labels, "shard=\"%" PRIu32 "\"%s%s", shard,
                     label[0] == '\0' ? "" : ",", label);
            print_number(to, row->name, "", labels,
                         row->number(metrics, &metrics->shards[shard], i));
        }
    }
}

/* The name of a status as a label's value: "not_found". */
static void outcome_name(uint32_t status, char to[LABELS_BYTES])
{
    const char *name = status_name(status);
    size_t size = 0;

    for (; name[size] != '\0' && size < LABELS_BYTES - 1; size++) {
        to[size] = (char)tolower((unsigned char)name[size]);
    }
    to[size] = '\0';
}

static void print_outcomes(FILE *to, const struct metrics *metrics, const struct metric *row,
                           uint32_t op, const char *label)
{
    char labels[2 * LABELS_BYTES], outcome[LABELS_BYTES];

    for (uint32_t status = 0; status < SHARD_STATUSES; status++) {
        outcome_name(status, outcome);
        for (uint32_t shard = 0; shard < metrics->shard_count; shard++) {
            const struct metrics_shard *from = &metrics->shards[shard];
            double count = row->number(metrics, from, op * SHARD_STATUSES + status);
            if (from->responding && (count > 0 || status == STATUS_OK)) {
                snprintf(labels, sizeof labels, "shard=\"%" PRIu32 "\",%s,outcome=\"%s\"", shard,
                         label, outcome);
                print_number(to, row->name, "", labels, count);
            }
        }
    }
}

static void print_histogram(FILE *to, const struct metrics *metrics, const struct metric *row,
                            uint32_t i, const char *label)
{
    struct histogram sum = {.count = 0};
    char labels[LABELS_BYTES + 32];
    const char *comma = label[0] == '\0' ? "" : ",";

    for (uint32_t shard = 0; shard < metrics->shard_count; shard++) {
        if (metrics->shards[shard].responding) {
            histogram_add(&sum, row->histogram(metrics, &metrics->shards[shard], i));
        }
    }
    for (uint32_t power = BOUND_FIRST; power <= BOUND_LAST; power++) {
        snprintf(labels, sizeof labels, "%s%sle=\"%.9g\"", label, comma,
                 (double)(UINT64_C(1) << power) / 1e6);
        print_number(to, row->name, "_bucket", labels,
                     (double)histogram_count_below(&sum, (UINT64_C(1) << power) - 1));
    }
    snprintf(labels, sizeof labels, "%s%sle=\"+Inf\"", label, comma);
    print_number(to, row->name, "_bucket", labels, (double)sum.count);
    print_number(to, row->name, "_sum", label, (double)sum.sum / 1e6);
    print_number(to, row->name, "_count", label, (double)sum.count);
}

void metrics_print(const struct metrics *metrics, FILE *to)
{
    char label[LABELS_BYTES];

    for (uint32_t at = 0; at < ROWS; at++) {
        const struct metric *row = &rows[at];
        fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
                kind_names[row->kind]);
        for (uint32_t i = 0; label_at(row->labels, i, label); i++) {
            if (row->kind == HISTOGRAM) {
                print_histogram(to, metrics, row, i, label);
            } else if (row->scope == OUTCOMES) {
                print_outcomes(to, metrics, row, i, label);
            } else if (row->scope == SHARD) {
                print_shards(to, metrics, row, i, label);
            } else {
                print_number(to, row->name, "", label, row->number(metrics, metrics->shards, i));
            }
        }
    }
}

void metrics_print_help(FILE *to)
{
    fputs("# Metrics\n\n"
          "What `GET /metrics` on the HTTP port tells, in the text format of Prometheus. This page "
          "is "
          "printed by\n`belayd --print metrics`.\n\n"
          "| name | type | labels | meaning |\n|---|---|---|---|\n",
          to);
    for (uint32_t at = 0; at < ROWS; at++) {
        const struct metric *row = &rows[at];
        size_t key_size = strcspn(row->labels, "=");
        bool shard = row->scope != NODE && row->kind != HISTOGRAM;
        fprintf(to, "| `%s` | %s | %s%s%.*s", row->name, kind_names[row->kind],
                shard ? "shard" : "", shard && key_size > 0 ? ", " : "", (int)key_size,
                row->labels);
        if (row->kind == HISTOGRAM) {
            fprintf(to, "%sle", key_size > 0 ? ", " : "");
        }
        if (row->scope == OUTCOMES) {
            fputs(", outcome", to);
        }
        fprintf(to, " | %s |\n", row->help);
    }
}
