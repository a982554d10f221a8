/* Reads belayd.conf with inih.
 *
 * inih splits lines into key and value, but tells neither the line's number nor a section without keys,
 * and cuts section names at 50 bytes. Lines therefore reach it through next_line(), which counts them,
 * refuses bad bytes, and keeps the section headers for itself. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_ROW(section_, name_, kind_, standard_, least_, most_, help_)                           \
    {                                                                                              \
        .section = #section_,                                                                      \
        .name = #name_,                                                                            \
        .kind = CONFIG_##kind_,                                                                    \
        .standard = (standard_),                                                                   \
        .least = (least_),                                                                         \
        .most = (most_),                                                                           \
        .help = (help_),                                                                           \
        .offset = offsetof(struct config, section_##_##name_),                                     \
    },
#define POLICY_ROW(section_, name_, kind_, standard_, least_, most_, help_)                        \
    {                                                                                              \
        .section = #section_,                                                                      \
        .name = #name_,                                                                            \
        .kind = CONFIG_##kind_,                                                                    \
        .standard = (standard_),                                                                   \
        .least = (least_),                                                                         \
        .most = (most_),                                                                           \
        .help = (help_),                                                                           \
        .offset = offsetof(struct config_policy, name_),                                           \
    },

static const struct config_key keys[] = {CONFIG_TABLE(KEY_ROW)};
static const struct config_key policy_keys[] = {CONFIG_POLICY_TABLE(POLICY_ROW)};

enum {
    KEYS = CONFIG_KEY_COUNT,
    POLICY_KEYS = sizeof policy_keys / sizeof policy_keys[0],
    LINE_BYTES_MAX = 190, /* inih's buffer is of 200 bytes. */
};

struct parse {
    struct config *config;
    const char *name;
    struct bytes left;
    uint32_t line;
    char section[16];                     /* Empty before the first header... */
    bool section_bad;                     /* ... and not to be looked into: that is said already. */
    struct config_policy *policy;         /* Not NULL in a policy's section. */
    uint32_t seen_in_policy[POLICY_KEYS]; /* The line that set a key. */
    int rc;
    size_t failures;
    char *message;
    size_t message_size, message_used;
};

const struct config_key *config_key(uint32_t index)
{
    return index < KEYS ? &keys[index] : NULL;
}

const struct config_key *config_policy_key(uint32_t index)
{
    return index < POLICY_KEYS ? &policy_keys[index] : NULL;
}

/* ---- Defaults ---- */

static void set_standard(const struct config_key *key, void *base)
{
    char message[CONFIG_MESSAGE_BYTES];
    int rc =
        config_value_parse(key, key->standard, (char *)base + key->offset, message, sizeof message);

    assert(rc == 0); /* A default that the table itself refuses. */
}

void config_init(struct config *config)
{
    memset(config, 0, sizeof *config);
    for (uint32_t i = 0; i < KEYS; i++) {
        set_standard(&keys[i], config);
    }
}

void config_policy_init(struct config_policy *policy)
{
    memset(policy, 0, sizeof *policy);
    for (uint32_t i = 0; i < POLICY_KEYS; i++) {
        set_standard(&policy_keys[i], policy);
    }
}

static struct config_policy *policy_find(struct config *config, struct bytes prefix)
{
    for (uint32_t i = 0; i < config->policy_count; i++) {
        if (bytes_equal(bytes_of_string(config->policies[i].prefix), prefix)) {
            return &config->policies[i];
        }
    }
    return NULL;
}

/* Returns NULL with `message` set. */
static struct config_policy *policy_add(struct config *config, struct bytes prefix, char *message,
                                        size_t message_size)
{
    if (prefix.size > POLICY_PREFIX_BYTES_MAX) {
        snprintf(message, message_size, "the prefix has %zu bytes, and at most %d are allowed",
                 prefix.size, POLICY_PREFIX_BYTES_MAX);
        return NULL;
    }
    if (config->policy_count == POLICIES_MAX - 1) { /* One more may be the empty prefix's. */
        snprintf(message, message_size, "more than %d policies", POLICIES_MAX - 1);
        return NULL;
    }
    struct config_policy *policy = &config->policies[config->policy_count++];
    config_policy_init(policy);
    memcpy(policy->prefix, prefix.data, prefix.size);
    return policy;
}

/* ---- Sections and keys ---- */

static const struct config_key *key_find(const struct config_key *table, uint32_t count,
                                         const char *section, const char *name)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(table[i].section, section) == 0 && strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

static bool section_known(const char *section)
{
    for (uint32_t i = 0; i < KEYS; i++) {
        if (strcmp(keys[i].section, section) == 0) {
            return true;
        }
    }
    return false;
}

/* "unknown key", and the ones there are. */
static void unknown_key(const struct config_key *table, uint32_t count, const char *section,
                        const char *name, char *message, size_t message_size)
{
    int used =
        snprintf(message, message_size, "unknown key '%.60s' in [%s]; there are:", name, section);

    for (uint32_t i = 0; i < count && used >= 0 && (size_t)used < message_size; i++) {
        if (strcmp(table[i].section, section) == 0) {
            used += snprintf(message + used, message_size - (size_t)used, " %s", table[i].name);
        }
    }
}

static void unknown_section(const char *section, char *message, size_t message_size)
{
    int used = snprintf(message, message_size, "unknown section [%.60s]; there are:", section);

    for (uint32_t i = 0; i < KEYS && used >= 0 && (size_t)used < message_size; i++) {
        if (i == 0 || strcmp(keys[i].section, keys[i - 1].section) != 0) {
            used += snprintf(message + used, message_size - (size_t)used, " %s", keys[i].section);
        }
    }
    if (used >= 0 && (size_t)used < message_size) {
        snprintf(message + used, message_size - (size_t)used, " policy \"PREFIX\"");
    }
}

/* Take a policy's prefix out of `policy "PREFIX"`, followed by `end`. Returns what comes after, or NULL
 * where it is not of that form. */
static const char *policy_header(const char *text, const char *end, struct bytes *prefix)
{
    static const char word[] = "policy";

    if (strncmp(text, word, sizeof word - 1) != 0) {
        return NULL;
    }
    text += sizeof word - 1;
    text += strspn(text, " \t");
    if (*text != '"') {
        return NULL;
    }
    text++;
    const char *close = strstr(text, end);
    if (close == NULL) {
        return NULL;
    }
    *prefix = bytes_of(text, (size_t)(close - text));
    return close + strlen(end);
}

/* ---- The file ---- */

__attribute__((format(printf, 2, 3))) static void fail(struct parse *parse, const char *format, ...)
{
    char cause[CONFIG_MESSAGE_BYTES];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(cause, sizeof cause, format, arguments);
    va_end(arguments);
    parse->rc = -EINVAL;
    parse->failures++;
    size_t left = parse->message_size - parse->message_used;
    int size = snprintf(parse->message + parse->message_used, left, "%s%s:%" PRIu32 ": %s",
                        parse->message_used > 0 ? "\n" : "", parse->name, parse->line, cause);
    if (size > 0 && (size_t)size < left) {
        parse->message_used += (size_t)size;
    } else if (parse->message_used > 0) {
        parse->message[parse->message_used] = '\0'; /* As many as there is room for. */
    }
}

static void enter_policy(struct parse *parse, struct bytes prefix)
{
    char message[CONFIG_MESSAGE_BYTES];
    struct config_policy *policy = policy_find(parse->config, prefix);

    if (policy != NULL) {
        fail(parse, "policy \"%s\" comes twice, first at line %" PRIu32, policy->prefix,
             policy->line);
        return;
    }
    policy = policy_add(parse->config, prefix, message, sizeof message);
    if (policy == NULL) {
        fail(parse, "%s", message);
        return;
    }
    policy->line = parse->line;
    parse->policy = policy;
    memset(parse->seen_in_policy, 0, sizeof parse->seen_in_policy);
    snprintf(parse->section, sizeof parse->section, "policy");
}

static void enter_section(struct parse *parse, const char *header)
{
    char message[CONFIG_MESSAGE_BYTES];
    char name[LINE_BYTES_MAX + 1];
    struct bytes prefix = {0};
    const char *after = policy_header(header + 1, "\"]", &prefix);
    bool policy = after != NULL;
    size_t told = parse->failures;

    if (!policy) {
        size_t size = strcspn(header, "]");
        memcpy(name, header + 1, size - 1);
        name[size - 1] = '\0';
        after = header[size] == ']' ? header + size + 1 : NULL;
    }
    if (after == NULL || strchr(";#", after[strspn(after, " \t")]) == NULL) {
        fail(parse, "a section is [NAME] or [policy \"PREFIX\"]");
    } else if (policy) {
        enter_policy(parse, prefix);
    } else if (!section_known(name)) {
        unknown_section(name, message, sizeof message);
        fail(parse, "%s", message);
    } else {
        parse->policy = NULL;
        snprintf(parse->section, sizeof parse->section, "%.15s", name);
    }
    parse->section_bad = parse->failures != told;
}

/* A line that is neither a comment nor KEY = VALUE (inih takes `:` as well) would be an error to inih, which
 * tells only of the first. Headers are not for here. */
static bool is_assignment(const char *line)
{
    return strchr("#;", line[0]) != NULL || line[strcspn(line, "=:")] != '\0';
}

/* inih's reader: the next line without leading space, or NULL. */
static char *next_line(char *to, int to_size, void *stream)
{
    struct parse *parse = stream;

    if (parse->left.size == 0) {
        return NULL;
    }
    const uint8_t *end = memchr(parse->left.data, '\n', parse->left.size);
    struct bytes line = bytes_of(parse->left.data,
                                 end == NULL ? parse->left.size : (size_t)(end - parse->left.data));
    size_t taken = end == NULL ? line.size : line.size + 1;
    parse->left = bytes_of(parse->left.data + taken, parse->left.size - taken);
    parse->line++;
    if (line.size > 0 && line.data[line.size - 1] == '\r') {
        line.size--;
    }
    while (line.size > 0 && (line.data[0] == ' ' || line.data[0] == '\t')) {
        line = bytes_of(line.data + 1, line.size - 1); /* Else inih would join it to the last. */
    }
    if (line.size > LINE_BYTES_MAX || line.size + 2 > (size_t)to_size) {
        fail(parse, "the line is longer than %d bytes", LINE_BYTES_MAX);
        line.size = 0;
    }
    if (!config_text_is_clean(line)) {
        fail(parse, "the line holds bytes that are not UTF-8 text");
        line.size = 0;
    }
    if (line.size > 0) {
        memcpy(to, line.data, line.size);
    }
    to[line.size] = '\0';
    if (to[0] == '[') {
        enter_section(parse, to);
        line.size = 0;
    } else if (!is_assignment(to)) {
        fail(parse, "the line is neither KEY = VALUE nor [SECTION] nor a comment (# or ;)");
        line.size = 0;
    }
    memcpy(to + line.size, "\n", 2);
    return to;
}

/* inih's handler. Returns 1 when all is well. */
static int take_value(void *user, const char *section, const char *name, const char *value)
{
    struct parse *parse = user;
    char message[CONFIG_MESSAGE_BYTES];
    bool policy = parse->policy != NULL;
    const struct config_key *table = policy ? policy_keys : keys;
    uint32_t count = policy ? POLICY_KEYS : KEYS;
    uint32_t *seen = policy ? parse->seen_in_policy : parse->config->lines;
    void *base = policy ? (void *)parse->policy : (void *)parse->config;

    (void)section; /* parse->section is whole. */
    if (parse->section_bad) {
        return 1;
    }
    if (parse->section[0] == '\0') {
        fail(parse, "'%.60s' stands before the first [section]", name);
        return 0;
    }
    const struct config_key *key = key_find(table, count, parse->section, name);
    if (key == NULL) {
        unknown_key(table, count, parse->section, name, message, sizeof message);
        fail(parse, "%s", message);
        return 0;
    }
    if (seen[key - table] != 0) {
        fail(parse, "'%s' comes twice, first at line %" PRIu32, name, seen[key - table]);
        return 0;
    }
    seen[key - table] = parse->line;
    if (config_value_parse(key, value, (char *)base + key->offset, message, sizeof message) != 0) {
        const char *hint =
            strstr(value, " #") != NULL ? "; a comment begins a line of its own" : "";
        fail(parse, "%s%s", message, hint);
        return 0;
    }
    return 1;
}

int config_read_text(struct config *config, const char *name, struct bytes text, char *message,
                     size_t message_size)
{
    struct parse parse = {
        .config = config,
        .name = name,
        .left = text,
        .message = message,
        .message_size = message_size,
    };

    if (text.size >= 3 && memcmp(text.data, "\xEF\xBB\xBF", 3) == 0) {
        parse.left = bytes_of(text.data + 3, text.size - 3);
    }
    int bad_line = ini_parse_stream(next_line, &parse, take_value, &parse);
    if (bad_line > 0 && parse.rc == 0) {
        parse.line = (uint32_t)bad_line;
        fail(&parse, "the line cannot be read");
    } else if (bad_line < 0) {
        fail(&parse, "not enough memory to read it");
    }
    return parse.rc;
}

int config_read_file(struct config *config, const char *path, char *message, size_t message_size)
{
    int rc = 0;
    FILE *file = fopen(path, "re");
    char *text = malloc(CONFIG_FILE_BYTES_MAX + 1);

    if (file == NULL || text == NULL) {
        rc = -errno;
        snprintf(message, message_size, "%s: cannot open it: %s", path, strerror(-rc));
        goto done;
    }
    size_t size = fread(text, 1, CONFIG_FILE_BYTES_MAX + 1, file);
    if (ferror(file)) {
        rc = -errno;
        snprintf(message, message_size, "%s: cannot read it: %s", path, strerror(-rc));
    } else if (size > CONFIG_FILE_BYTES_MAX) {
        rc = -EINVAL;
        snprintf(message, message_size, "%s: larger than 1MiB", path);
    } else {
        snprintf(config->file, sizeof config->file, "%s", path);
        rc = config_read_text(config, path, bytes_of(text, size), message, message_size);
    }

done:
    free(text);
    if (file != NULL) {
        fclose(file);
    }
    return rc;
}

/* ---- The command line ---- */

static int set_in_policy(struct config *config, struct bytes prefix, const char *name,
                         const char *value, char *message, size_t message_size)
{
    const struct config_key *key = key_find(policy_keys, POLICY_KEYS, "policy", name);

    if (key == NULL) {
        unknown_key(policy_keys, POLICY_KEYS, "policy", name, message, message_size);
        return -EINVAL;
    }
    struct config_policy *policy = policy_find(config, prefix);
    if (policy == NULL) {
        policy = policy_add(config, prefix, message, message_size);
    }
    if (policy == NULL) {
        return -EINVAL;
    }
    return config_value_parse(key, value, (char *)policy + key->offset, message, message_size);
}

static int set_in_section(struct config *config, char *name, const char *value, char *message,
                          size_t message_size)
{
    char *dot = strchr(name, '.');

    if (dot == NULL) {
        snprintf(message, message_size, "'%.60s' is not SECTION.KEY", name);
        return -EINVAL;
    }
    *dot = '\0';
    if (!section_known(name)) {
        unknown_section(name, message, message_size);
        return -EINVAL;
    }
    const struct config_key *key = key_find(keys, KEYS, name, dot + 1);
    if (key == NULL) {
        unknown_key(keys, KEYS, name, dot + 1, message, message_size);
        return -EINVAL;
    }
    config->lines[key - keys] = 0;
    return config_value_parse(key, value, (char *)config + key->offset, message, message_size);
}

int config_set(struct config *config, const char *assignment, char *message, size_t message_size)
{
    char cause[CONFIG_MESSAGE_BYTES];
    char name[64];
    struct bytes prefix = {0};
    const char *rest = policy_header(assignment, "\".", &prefix);
    const char *start = rest != NULL ? rest : assignment;
    size_t size = strcspn(start, "=");
    int rc = -EINVAL;

    if (!config_text_is_clean(bytes_of_string(assignment))) {
        snprintf(cause, sizeof cause, "not UTF-8 text");
    } else if (start[size] != '=' || size >= sizeof name) {
        snprintf(cause, sizeof cause,
                 "expected SECTION.KEY=VALUE or 'policy \"PREFIX\".KEY=VALUE'");
    } else {
        memcpy(name, start, size);
        name[size] = '\0';
        const char *value = start + size + 1;
        rc = rest != NULL ? set_in_policy(config, prefix, name, value, cause, sizeof cause)
                          : set_in_section(config, name, value, cause, sizeof cause);
    }
    if (rc != 0) {
        snprintf(message, message_size, "--set %.100s: %s", assignment, cause);
    }
    return rc;
}
