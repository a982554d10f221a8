/* What an import says at its end. */
#include <inttypes.h>

#include "import.h"

enum { SHOWN = 100 }; /* Bytes of a key. */

static const struct {
    const char *name, *text;
} troubles[TROUBLES] = {
    [TROUBLE_TYPE] = {"type", "Belay has no such type"},
    [TROUBLE_KEY] = {"key", "Belay takes no such keys"},
    [TROUBLE_LIMIT] = {"limit", "beyond Belay's limits"},
    [TROUBLE_ENDED] = {"ended", "ended in Belay, and their policy says no_resurrect"},
    [TROUBLE_DAMAGED] = {"damaged", "damaged in Belay; end them there first"},
    [TROUBLE_CHANGING] = {"changing", "changed all the time; try again"},
    [TROUBLE_DIFFERS] = {"differs", "of the sample are not the same on both sides"},
};

static uint64_t copied(const struct import *import)
{
    uint64_t count = 0;

    for (size_t type = BELAY_BLOB; type <= BELAY_ZSET; type++) {
        count += import->copied[type];
    }
    return count;
}

/* ---- For people ---- */

static void print_copied(const struct import *import)
{
    char count[32];
    const char *before = ": ";

    printf("copied %s keys from %s/%u", show_count(copied(import), count, sizeof count),
           import->source.name, import->source.database);
    for (uint32_t type = BELAY_BLOB; type <= BELAY_ZSET; type++) {
        if (import->copied[type] > 0) {
            printf("%s%s %s", before, show_count(import->copied[type], count, sizeof count),
                   belay_type_name(type));
            before = ", ";
        }
    }
    putchar('\n');
    if (import->gone > 0) {
        printf("%s ended before they were read\n", show_count(import->gone, count, sizeof count));
    }
}

static void print_sample(const struct sample *sample)
{
    uint32_t compared = sample->count - sample->ended - sample->changing;

    if (sample->count == 0) {
        return;
    }
    printf("sample: %u of %u keys are the same on both sides", sample->same, compared);
    if (sample->changed > 0) {
        printf("; %u changed in Redis meanwhile and were copied again", sample->changed);
    }
    if (sample->ended + sample->changing > 0) {
        printf("; %u ended or changed all the time", sample->ended + sample->changing);
    }
    putchar('\n');
}

static void print_noted(const struct noted *noted, const char *text)
{
    char count[32];

    fprintf(stderr, "belayctl: import: %s keys: %s:", show_count(noted->count, count, sizeof count),
            text);
    for (uint64_t i = 0; i < noted->count && i < EXAMPLES_MAX; i++) {
        struct bytes key = noted->examples[i].key;
        fputs(i == 0 ? " " : ", ", stderr);
        show_bytes(stderr, belay_bytes_of(key.data, key.size < SHOWN ? key.size : SHOWN));
        fprintf(stderr, "%s (%s)", key.size < SHOWN ? "" : "...", noted->examples[i].why);
    }
    fputs(noted->count > EXAMPLES_MAX ? " and others\n" : "\n", stderr);
}

/* ---- JSON ---- */

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *noted_json(const struct noted *noted, const char *name)
{
    json_t *object = json_object(), *examples = json_array();

    for (uint64_t i = 0; i < noted->count && i < EXAMPLES_MAX; i++) {
        json_t *example = json_object();
        struct bytes key = noted->examples[i].key;
        json_set_bytes(example, "key", belay_bytes_of(key.data, key.size));
        json_object_set_new(example, "why", json_string(noted->examples[i].why));
        json_array_append_new(examples, example);
    }
    json_object_set_new(object, "reason", json_string(name));
    json_object_set_new(object, "count", number(noted->count));
    json_object_set_new(object, "examples", examples);
    return object;
}

static json_t *report_json(const struct import *import)
{
    const struct sample *sample = &import->sample;
    json_t *object = json_object(), *noted = json_array(), *types = json_object();

    for (uint32_t type = BELAY_BLOB; type <= BELAY_ZSET; type++) {
        json_object_set_new(types, belay_type_name(type), number(import->copied[type]));
    }
    for (size_t i = 0; i < TROUBLES; i++) {
        if (import->noted[i].count > 0) {
            json_array_append_new(noted, noted_json(&import->noted[i], troubles[i].name));
        }
    }
    json_object_set_new(object, "source", json_string(import->source.name));
    json_object_set_new(object, "database", number(import->source.database));
    json_object_set_new(object, "copied", number(copied(import)));
    json_object_set_new(object, "types", types);
    json_object_set_new(object, "gone", number(import->gone));
    json_object_set_new(object, "wrong", noted);
    json_object_set_new(object, "sample",
                        json_pack("{s:o, s:o, s:o, s:o, s:o}", "keys", number(sample->count),
                                  "same", number(sample->same), "changed", number(sample->changed),
                                  "ended", number(sample->ended), "changing",
                                  number(sample->changing)));
    return object;
}

int import_report(struct import *import)
{
    int rc = CTL_OK;

    if (import->ctl->json) {
        rc = ctl_print_json(report_json(import));
    } else {
        print_copied(import);
        print_sample(&import->sample);
        fflush(stdout);
    }
    for (size_t i = 0; i < TROUBLES; i++) {
        if (import->noted[i].count > 0) {
            rc = CTL_REFUSED;
            if (!import->ctl->json) {
                print_noted(&import->noted[i], troubles[i].text);
            }
        }
    }
    return rc;
}
