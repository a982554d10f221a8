/* Reads belayd.conf with inih.
 *
 * inih splits lines into key and value, but tells neither the line's number nor a section without keys,
 * and cuts section names at 50 bytes. Lines therefore reach it through next_line(), which counts them,
 * refuses bad bytes, and keeps the section headers for itself. */
#include "config.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
#define NAMED_ROW(struct_, section_, name_, kind_, standard_, least_, most_, help_)                \
    {                                                                                              \
        .section = #section_,                                                                      \
        .name = #name_,                                                                            \
        .kind = CONFIG_##kind_,                                                                    \
        .standard = (standard_),                                                                   \
        .least = (least_),                                                                         \
        .most = (most_),                                                                           \
        .help = (help_),                                                                           \
        .offset = offsetof(struct_, name_),                                                        \
    },
#define POLICY_ROW(...) NAMED_ROW(struct config_policy, __VA_ARGS__)
#define USER_ROW(...)   NAMED_ROW(struct config_user, __VA_ARGS__)

static const struct config_key keys[] = {CONFIG_TABLE(KEY_ROW)};
static const struct config_key policy_keys[] = {CONFIG_POLICY_TABLE(POLICY_ROW)};
static const struct config_key user_keys[] = {CONFIG_USER_TABLE(USER_ROW)};

enum {
    KEYS = CONFIG_KEY_COUNT,
    POLICY_KEYS = sizeof policy_keys / sizeof policy_keys[0],
    USER_KEYS = sizeof user_keys / sizeof user_keys[0],
    NAMED_KEYS_MAX = 32,
    LINE_BYTES_MAX = 190, /* inih's buffer is of 200 bytes. */
};

static_assert(POLICY_KEYS <= NAMED_KEYS_MAX && USER_KEYS <= NAMED_KEYS_MAX, "as many as are seen");

static void *policy_get(struct config *config, struct bytes prefix, uint32_t **line, bool make,
                        char *message, size_t message_size);
static void *user_get(struct config *config, struct bytes name, uint32_t **line, bool make,
                      char *message, size_t message_size);

/* Sections that come many times, each with a name: [policy "PREFIX"], [user "NAME"]. */
static const struct named {
    const char *word, *what;
    const struct config_key *keys;
    uint32_t key_count;
    /* The struct of that name, and where the line of its section stands. Where there is none and `make` is set: a new one, or
     * NULL with `message` set. */
    void *(*get)(struct config *config, struct bytes name, uint32_t **line, bool make,
                 char *message, size_t message_size);
} nameds[] = {
    {"policy", "PREFIX", policy_keys, POLICY_KEYS, policy_get},
    {"user", "NAME", user_keys, USER_KEYS, user_get},
};

enum { NAMEDS = sizeof nameds / sizeof nameds[0] };

struct parse {
    struct config *config;
    const char *name;
    struct bytes left;
    uint32_t line;
    char section[16];                    /* Empty before the first header... */
    bool section_bad;                    /* ... and not to be looked into: that is said already. */
    const struct named *named;           /* Not NULL in such a section... */
    void *named_base;                    /* ... of this struct... */
    uint32_t named_seen[NAMED_KEYS_MAX]; /* ... whose keys were set at these lines. */
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

const struct config_key *config_user_key(uint32_t index)
{
    return index < USER_KEYS ? &user_keys[index] : NULL;
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

static void *policy_get(struct config *config, struct bytes prefix, uint32_t **line, bool make,
                        char *message, size_t message_size)
{
    for (uint32_t i = 0; i < config->policy_count; i++) {
        if (bytes_equal(bytes_of_string(config->policies[i].prefix), prefix)) {
            *line = &config->policies[i].line;
            return &config->policies[i];
        }
    }
    if (!make) {
        return NULL;
    }
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
    *line = &policy->line;
    return policy;
}

static void *user_get(struct config *config, struct bytes name, uint32_t **line, bool make,
                      char *message, size_t message_size)
{
    for (uint32_t i = 0; i < config->user_count; i++) {
        if (bytes_equal(bytes_of_string(config->users[i].name), name)) {
            *line = &config->users[i].line;
            return &config->users[i];
        }
    }
    if (!make) {
        return NULL;
    }
    if (name.size == 0 || name.size > USER_NAME_BYTES_MAX || memchr(name.data, ' ', name.size)) {
        snprintf(message, message_size, "a user's name has 1 to %d bytes and no blanks",
                 USER_NAME_BYTES_MAX);
        return NULL;
    }
    if (config->user_count == USERS_MAX) {
        snprintf(message, message_size, "more than %d users", USERS_MAX);
        return NULL;
    }
    struct config_user *user = &config->users[config->user_count++];
    memset(user, 0, sizeof *user);
    for (uint32_t i = 0; i < USER_KEYS; i++) {
        set_standard(&user_keys[i], user);
    }
    memcpy(user->name, name.data, name.size);
    *line = &user->line;
    return user;
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
    for (uint32_t i = 0; i < NAMEDS && used >= 0 && (size_t)used < message_size; i++) {
        used += snprintf(message + used, message_size - (size_t)used, " %s \"%s\"", nameds[i].word,
                         nameds[i].what);
    }
}

/* Take the name out of `policy "PREFIX"` and the like, followed by `end`. Returns what comes after, or NULL
 * where it is not of that form. */
static const char *named_header(const struct named *named, const char *text, const char *end,
                                struct bytes *name)
{
    size_t size = strlen(named->word);

    if (strncmp(text, named->word, size) != 0) {
        return NULL;
    }
    text += size;
    text += strspn(text, " \t");
    if (*text != '"') {
        return NULL;
    }
    text++;
    const char *close = strstr(text, end);
    if (close == NULL) {
        return NULL;
    }
    *name = bytes_of(text, (size_t)(close - text));
    return close + strlen(end);
}

/* The same of any. Returns NULL, with `after` unchanged, where it is of none. */
static const struct named *named_find(const char *text, const char *end, struct bytes *name,
                                      const char **after)
{
    for (uint32_t i = 0; i < NAMEDS; i++) {
        const char *rest = named_header(&nameds[i], text, end, name);
        if (rest != NULL) {
            *after = rest;
            return &nameds[i];
        }
    }
    return NULL;
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

static void enter_named(struct parse *parse, const struct named *named, struct bytes name)
{
    char message[CONFIG_MESSAGE_BYTES];
    uint32_t *line;

    if (named->get(parse->config, name, &line, false, message, sizeof message) != NULL) {
        fail(parse, "%s \"%.*s\" comes twice, first at line %" PRIu32, named->word, (int)name.size,
             (const char *)name.data, *line);
        return;
    }
    void *base = named->get(parse->config, name, &line, true, message, sizeof message);
    if (base == NULL) {
        fail(parse, "%s", message);
        return;
    }
    *line = parse->line;
    parse->named = named;
    parse->named_base = base;
    memset(parse->named_seen, 0, sizeof parse->named_seen);
    snprintf(parse->section, sizeof parse->section, "%s", named->word);
}

static void enter_section(struct parse *parse, const char *header)
{
    char message[CONFIG_MESSAGE_BYTES];
    char name[LINE_BYTES_MAX + 1];
    struct bytes found = {0};
    const char *after = NULL;
    const struct named *named = named_find(header + 1, "\"]", &found, &after);
    size_t told = parse->failures;

    if (named == NULL) {
        size_t size = strcspn(header, "]");
        memcpy(name, header + 1, size - 1);
        name[size - 1] = '\0';
        after = header[size] == ']' ? header + size + 1 : NULL;
    }
    if (after == NULL || strchr(";#", after[strspn(after, " \t")]) == NULL) {
        fail(parse, "a section is [NAME], [policy \"PREFIX\"] or [user \"NAME\"]");
    } else if (named != NULL) {
        enter_named(parse, named, found);
    } else if (!section_known(name)) {
        unknown_section(name, message, sizeof message);
        fail(parse, "%s", message);
    } else {
        parse->named = NULL;
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
    const struct named *named = parse->named;
    const struct config_key *table = named != NULL ? named->keys : keys;
    uint32_t count = named != NULL ? named->key_count : KEYS;
    uint32_t *seen = named != NULL ? parse->named_seen : parse->config->lines;
    void *base = named != NULL ? parse->named_base : (void *)parse->config;

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

/* Not waiting for who may write to it, where it is a pipe. */
static FILE *open_at_once(const char *path)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0) {
        return NULL;
    }
    (void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    FILE *file = fdopen(fd, "r");
    if (file == NULL) {
        close(fd);
    }
    return file;
}

int config_read_file(struct config *config, const char *path, char *message, size_t message_size)
{
    int rc = 0;
    FILE *file = open_at_once(path);
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

static int set_in_named(struct config *config, const struct named *named, struct bytes name,
                        const char *key_name, const char *value, char *message, size_t message_size)
{
    const struct config_key *key = key_find(named->keys, named->key_count, named->word, key_name);
    uint32_t *line;

    if (key == NULL) {
        unknown_key(named->keys, named->key_count, named->word, key_name, message, message_size);
        return -EINVAL;
    }
    void *base = named->get(config, name, &line, true, message, message_size);
    if (base == NULL) {
        return -EINVAL;
    }
    return config_value_parse(key, value, (char *)base + key->offset, message, message_size);
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
    struct bytes found = {0};
    const char *start = assignment;
    const struct named *named = named_find(assignment, "\".", &found, &start);
    size_t size = strcspn(start, "=");
    int rc = -EINVAL;

    if (!config_text_is_clean(bytes_of_string(assignment))) {
        snprintf(cause, sizeof cause, "not UTF-8 text");
    } else if (start[size] != '=' || size >= sizeof name) {
        snprintf(cause, sizeof cause,
                 "expected SECTION.KEY=VALUE, 'policy \"PREFIX\".KEY=VALUE' or "
                 "'user \"NAME\".KEY=VALUE'");
    } else {
        memcpy(name, start, size);
        name[size] = '\0';
        const char *value = start + size + 1;
        rc = named != NULL ? set_in_named(config, named, found, name, value, cause, sizeof cause)
                           : set_in_section(config, name, value, cause, sizeof cause);
    }
    if (rc != 0) {
        snprintf(message, message_size, "--set %.100s: %s", assignment, cause);
    }
    return rc;
}
