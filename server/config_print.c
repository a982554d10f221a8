#include "config_print.h"

#include <ctype.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

enum { COLUMNS = 98 };

/* Words of `text`, each line beginning with `lead`. */
static void print_wrapped(FILE *to, const char *lead, const char *text)
{
    size_t column = 0;

    while (*text != '\0') {
        size_t size = strcspn(text, " ");
        if (column > 0 && column + 1 + size > COLUMNS) {
            fputc('\n', to);
            column = 0;
        }
        column += (size_t)fprintf(to, "%s%.*s", column == 0 ? lead : " ", (int)size, text);
        text += size;
        text += strspn(text, " ");
    }
    fputc('\n', to);
}

static void print_example_key(FILE *to, const struct config_key *key)
{
    char allowed[200], line[240];

    config_value_describe(key, allowed, sizeof allowed);
    allowed[0] = (char)toupper((unsigned char)allowed[0]);
    snprintf(line, sizeof line, "%s.", allowed);
    print_wrapped(to, "# ", key->help);
    print_wrapped(to, "# ", line);
    fprintf(to, "#%s =%s%s\n\n", key->name, key->standard[0] == '\0' ? "" : " ", key->standard);
}

void config_print_example(FILE *to)
{
    const struct config_key *key;

    fputs("# belayd.conf: every key, at its default. A line that begins with # or ; is a comment.\n"
          "# Durations are written 10ms 5s 30m 2h 7d, sizes as bytes or 64KiB 8MiB 1GiB 2TiB.\n"
          "# `belayd --check-config --config FILE` names file and line of what is wrong.\n\n",
          to);
    for (uint32_t i = 0; (key = config_key(i)) != NULL; i++) {
        if (i == 0 || strcmp(key->section, config_key(i - 1)->section) != 0) {
            fprintf(to, "[%s]\n", key->section);
        }
        print_example_key(to, key);
    }
    fputs(
        "# Policies: settings of the sessions whose key begins with PREFIX; the longest prefix "
        "wins,\n"
        "# \"\" is every key. A key that a section does not give has the default shown here, not "
        "the\n"
        "# value of a shorter prefix. A node that is alone takes them from here whenever they are "
        "others\n"
        "# than at its last start, over what `belayctl policy set` said; of several nodes only "
        "that\n"
        "# changes them. This one changes nothing:\n\n"
        "[policy \"\"]\n",
        to);
    for (uint32_t i = 0; (key = config_policy_key(i)) != NULL; i++) {
        print_example_key(to, key);
    }
    fputs("# Users: with the first of them every client must log in. The user named default is who "
          "logs in\n"
          "# with a password alone. Up to 32. SIGHUP takes them from this file anew:\n\n"
          "#[user \"shop\"]\n",
          to);
    for (uint32_t i = 0; (key = config_user_key(i)) != NULL; i++) {
        print_example_key(to, key);
    }
}

/* scdoc gives `_` and `*` a meaning of their own: emphasis. */
static void print_escaped(FILE *to, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '`') {
            continue;
        }
        if (strchr("_*\\", *text) != NULL) {
            fputc('\\', to);
        }
        fputc(*text, to);
    }
}

static void print_manual_key(FILE *to, const struct config_key *key)
{
    char allowed[200];

    config_value_describe(key, allowed, sizeof allowed);
    fputs("*", to);
    print_escaped(to, key->name);
    fputs("* = ", to);
    print_escaped(to, key->standard[0] == '\0' ? "(empty)" : key->standard);
    fputs("\n\t", to);
    print_escaped(to, key->help);
    fputs("\n\n\tValue: ", to);
    print_escaped(to, allowed);
    fputs(".\n\n", to);
}

void config_print_manual(FILE *to)
{
    const struct config_key *key;

    for (uint32_t i = 0; (key = config_key(i)) != NULL; i++) {
        if (i == 0 || strcmp(key->section, config_key(i - 1)->section) != 0) {
            fprintf(to, "## [%s]\n\n", key->section);
        }
        print_manual_key(to, key);
    }
    fputs(
        "## [policy \"PREFIX\"]\n\n"
        "Settings of the sessions whose key begins with PREFIX. The longest prefix wins; the empty "
        "one is every key. A key that is not given has the default shown here, not the value of a "
        "shorter prefix.\n\n"
        "The cluster keeps the policies. A node that is alone brings it those of its configuration "
        "whenever "
        "they are others than at its last start, and its log tells which it removed or changed "
        "(*policy-overridden*); otherwise, and on nodes of a larger cluster, what "
        "*belayctl policy set* said holds.\n\n",
        to);
    for (uint32_t i = 0; (key = config_policy_key(i)) != NULL; i++) {
        print_manual_key(to, key);
    }
    fputs("## [user \"NAME\"]\n\n"
          "With the first user every client must log in (AUTH, HELLO, libbelay). The user named "
          "*default* is who logs in with a password alone. There may be 32. Where a user may do "
          "something follows from the prefixes of keys, and for channels of PUBLISH and SUBSCRIBE "
          "from theirs; what a prefix allows includes what the lists before it allow.\n\n"
          "SIGHUP makes belayd take its users from the configuration anew. Who is logged in has "
          "the new rights at once; "
          "connections of a user that is gone, or has lost a password (also *password_next*), end. "
          "A configuration with an error "
          "changes nothing, which the log tells (*users-not-reloaded*). The first user and the "
          "last need a restart.\n\n",
          to);
    for (uint32_t i = 0; (key = config_user_key(i)) != NULL; i++) {
        print_manual_key(to, key);
    }
}

static json_t *value_to_json(const struct config_key *key, const void *base)
{
    char text[CONFIG_VALUE_BYTES];
    const void *from = (const char *)base + key->offset;
    uint64_t number;

    if (key->kind == CONFIG_NUMBER || key->kind == CONFIG_SWITCH) {
        memcpy(&number, from, sizeof number);
        return key->kind == CONFIG_SWITCH ? json_boolean(number != 0)
                                          : json_integer((json_int_t)number);
    }
    config_value_print(key, from, text);
    return json_string(text);
}

static int add_policy(json_t *policies, const struct config_policy *policy)
{
    json_t *values = json_object();
    const struct config_key *key;
    int rc = 0;

    for (uint32_t i = 0; (key = config_policy_key(i)) != NULL; i++) {
        rc |= json_object_set_new(values, key->name, value_to_json(key, policy));
    }
    return rc | json_object_set_new(policies, policy->prefix, values);
}

/* That of the empty prefix is there, whether it was given or not. */
static json_t *policies_to_json(const struct config *config)
{
    json_t *policies = json_object();
    struct config_policy standard;
    int rc;

    config_policy_init(&standard);
    rc = add_policy(policies, &standard);
    for (uint32_t i = 0; i < config->policy_count; i++) {
        rc |= add_policy(policies, &config->policies[i]);
    }
    if (rc != 0) {
        json_decref(policies);
        return NULL;
    }
    return policies;
}

char *config_policies_to_json(const struct policies *policies)
{
    json_t *list = json_object();
    struct config_policy shown;
    int rc = 0;

    for (uint32_t i = policies->count; i-- > 0;) {
        config_policy_show(&policies->rows[i], &shown);
        rc |= add_policy(list, &shown);
    }
    json_t *root = json_pack("{s:o}", "policies", list);
    char *text = rc == 0 ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    return text;
}

/* Hashes of passwords stay in the file. */
static json_t *users_to_json(const struct config *config)
{
    json_t *users = json_object();
    int rc = 0;

    for (uint32_t i = 0; i < config->user_count; i++) {
        const struct config_user *user = &config->users[i];
        json_t *values = json_pack("{s:s, s:s, s:s}", "read", user->read, "write", user->write,
                                   "admin", user->admin);
        rc |= json_object_set_new(users, user->name, values);
    }
    if (rc != 0) {
        json_decref(users);
        return NULL;
    }
    return users;
}

char *config_to_json(const struct config *config)
{
    json_t *root = json_object();
    const struct config_key *key;
    int rc = 0;

    for (uint32_t i = 0; (key = config_key(i)) != NULL; i++) {
        json_t *section = json_object_get(root, key->section);
        if (section == NULL) {
            section = json_object();
            rc |= json_object_set_new(root, key->section, section);
        }
        rc |= json_object_set_new(section, key->name, value_to_json(key, config));
    }
    rc |= json_object_set_new(root, "policy", policies_to_json(config));
    rc |= json_object_set_new(root, "user", users_to_json(config));
    char *text = rc == 0 ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    return text;
}
