/* Options and operands. Options may stand anywhere; "--" ends them; "-" is an operand. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"
#include "limits.h"

#define LIFETIME_MS_MAX (UINT64_C(86400000) * TTL_MS_MAX_DAYS)

static const char global_help[] =
    "\nAll commands take:\n"
    "  -s, --server HOST:PORT  server, or several separated by commas (BELAY_SERVER;\n"
    "                          127.0.0.1:7400)\n"
    "  --json                  print one JSON document\n"
    "  --timeout DURATION      give up after so long: an answer (5s, or 15s where nodes decide), "
    "and\n"
    "                          where a command waits, all of that (it goes on)\n"
    "  --help                  this help\n";

static void print_help(const struct command *command)
{
    printf("belayctl %s%s%s\n\n%s.\n", command->words, command->operands[0] == '\0' ? "" : " ",
           command->operands, command->summary);
    if (command->help[0] != '\0') {
        printf("\n%s", command->help);
    }
    fputs(global_help, stdout);
}

int ctl_usage(const struct ctl *ctl, const char *format, ...)
{
    const char *words = ctl->command == NULL ? "" : ctl->command->words;
    va_list arguments;

    fprintf(stderr, "belayctl: %s%s", words, words[0] == '\0' ? "" : ": ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\nTry: belayctl %s%s--help\n", words, words[0] == '\0' ? "" : " ");
    return CTL_USAGE;
}

int ctl_length_check(const struct ctl *ctl, const char *what, size_t size, size_t size_max)
{
    return size <= size_max
               ? CTL_OK
               : ctl_usage(ctl, "%s has at most %zu bytes, not %zu", what, size_max, size);
}

bool duration_parse(const char *text, uint64_t *ms)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char *end;

    if (!isdigit((unsigned char)*text)) {
        return false;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcmp(end, units[i].unit) == 0) {
            *ms = (uint64_t)number * units[i].ms;
            return errno == 0 && number <= UINT64_MAX / units[i].ms;
        }
    }
    return false;
}

static int option_take(struct ctl *ctl, const struct option *option, char *value)
{
    char *end;

    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)option->value = true;
        return CTL_OK;
    case OPTION_TEXT:
        *(const char **)option->value = value;
        return CTL_OK;
    case OPTION_LIST: {
        struct text_list *list = option->value;
        if (list->count == TEXT_LIST_MAX) {
            return ctl_usage(ctl, "--%s given more than %d times", option->name, TEXT_LIST_MAX);
        }
        list->items[list->count++] = value;
        return CTL_OK;
    }
    case OPTION_DURATION:
    case OPTION_LIFETIME: {
        uint64_t ms;
        if (!duration_parse(value, &ms)) {
            return ctl_usage(ctl, "--%s %s: a duration is a number%s and ms, s, m, h or d, as 30m",
                             option->name, value,
                             option->kind == OPTION_LIFETIME ? " above 0" : "");
        }
        if (option->kind == OPTION_LIFETIME && (ms == 0 || ms > LIFETIME_MS_MAX)) {
            return ctl_usage(ctl, "--%s %s: it is from 1ms to %dd", option->name, value,
                             TTL_MS_MAX_DAYS);
        }
        *(uint64_t *)option->value = ms;
        return CTL_OK;
    }
    default:
        errno = 0;
        *(uint64_t *)option->value = strtoull(value, &end, 10);
        if (!isdigit((unsigned char)*value) || *end != '\0' || errno != 0) {
            return ctl_usage(ctl, "--%s %s: not a number", option->name, value);
        }
        return CTL_OK;
    }
}

static const struct option *option_find(const struct option *options, const char *name,
                                        size_t name_size)
{
    for (; options->name != NULL; options++) {
        if (strlen(options->name) == name_size && memcmp(options->name, name, name_size) == 0) {
            return options;
        }
    }
    return NULL;
}

/* One option at argv[*at], its value with it. */
static int option_parse(struct ctl *ctl, const struct option *options, int argc, char **argv,
                        int *at)
{
    const struct option global[] = {
        {"server", OPTION_TEXT, &ctl->server},
        {"json", OPTION_FLAG, &ctl->json},
        {"timeout", OPTION_DURATION, &ctl->timeout_ms},
        {NULL, OPTION_FLAG, NULL},
    };
    char *argument = argv[*at];
    const char *name = strcmp(argument, "-s") == 0 ? "server" : argument + 2;
    char *value = strchr(argument, '=');
    size_t name_size = value == NULL ? strlen(name) : (size_t)(value - name);

    if (name == argument + 2 && argument[1] != '-') {
        return ctl_usage(ctl, "unknown option %s; an operand that begins with - comes after --",
                         argument);
    }
    const struct option *option = option_find(options, name, name_size);
    option = option == NULL ? option_find(global, name, name_size) : option;
    if (option == NULL) {
        return ctl_usage(ctl, "unknown option %s", argument);
    }
    if (option->kind == OPTION_FLAG) {
        return value == NULL ? option_take(ctl, option, NULL)
                             : ctl_usage(ctl, "--%s takes no value", option->name);
    }
    if (value == NULL && *at + 1 == argc) {
        return ctl_usage(ctl, "--%s needs a value", option->name);
    }
    ctl->timeout_given = ctl->timeout_given || option->value == &ctl->timeout_ms;
    return option_take(ctl, option, value != NULL ? value + 1 : argv[++*at]);
}

int arguments_keep(struct ctl *ctl, int argc, char **argv, const struct option *options,
                   int *operand_count)
{
    bool options_over = false;
    int count = 0;

    for (int i = 0; i < argc; i++) {
        if (!options_over && strcmp(argv[i], "--") == 0) {
            options_over = true;
        } else if (!options_over &&
                   (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            print_help(ctl->command);
            return -1;
        } else if (!options_over && argv[i][0] == '-' && argv[i][1] != '\0') {
            int rc = option_parse(ctl, options, argc, argv, &i);
            if (rc != CTL_OK) {
                return rc;
            }
        } else {
            argv[count++] = argv[i]; /* Never before what is not read yet. */
        }
    }
    *operand_count = count;
    return CTL_OK;
}

int arguments_missing(const struct ctl *ctl)
{
    return ctl_usage(ctl, "operands are missing: %s", ctl->command->operands);
}

int arguments_parse(struct ctl *ctl, int argc, char **argv, const struct option *options,
                    struct text_list *operands, int min, int max)
{
    int count, rc = arguments_keep(ctl, argc, argv, options, &count);

    if (rc != CTL_OK) {
        return rc;
    }
    if (count > TEXT_LIST_MAX && max == TEXT_LIST_MAX) {
        return ctl_usage(ctl, "%d operands; there may be %d", count, TEXT_LIST_MAX);
    }
    if (count > max) {
        return ctl_usage(ctl, "%s is one operand too many", argv[max]);
    }
    if (count < min) {
        return arguments_missing(ctl);
    }
    memcpy(operands->items, argv, (size_t)count * sizeof *argv);
    operands->count = count;
    return CTL_OK;
}
