/* belayctl config get: what is in force in the server: its configuration, and the policies of the cluster. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

/* As a configuration says it. */
static void print_value(const json_t *value)
{
    if (json_is_string(value)) {
        printf("%s\n", json_string_value(value));
        return;
    }
    if (json_is_boolean(value)) {
        puts(json_is_true(value) ? "yes" : "no");
        return;
    }
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    printf("%s\n", text == NULL ? "?" : text);
    free(text);
}

static void print_keys(const char *lead, json_t *section)
{
    const char *key;
    json_t *value;

    json_object_foreach(section, key, value)
    {
        printf("%s%s = ", lead, key);
        print_value(value);
    }
    putchar('\n');
}

/* What is between the quotes of a section's name stands for itself, up to what ends it. */
static bool can_be_written(const char *name)
{
    for (const char *at = name; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == '\x7f') {
            return false;
        }
    }
    return strstr(name, "\"]") == NULL;
}

void config_print_named(const char *kind, const char *name, json_t *section)
{
    const bool writable = can_be_written(name);

    printf(writable ? "[%s \"" : "# no file can have this name, which is shown as bytes: [%s \"",
           kind);
    if (writable) {
        fputs(name, stdout);
    } else {
        show_bytes(stdout, belay_text(name));
    }
    puts("\"]");
    print_keys(writable ? "" : "#", section);
}

/* The server does not tell their passwords, without which they are none. */
static void print_users(json_t *users)
{
    const char *name;
    json_t *user;

    json_object_foreach(users, name, user)
    {
        printf("# [user \"%s\"]: the node's file has its password\n", name);
        print_keys("#", user);
    }
}

/* As belayd.conf has it. */
static void print_all(json_t *document)
{
    const char *name, *prefix;
    json_t *section, *policy;

    json_object_foreach(document, name, section)
    {
        if (strcmp(name, "user") == 0) {
            print_users(section);
        } else if (strcmp(name, "policy") != 0) {
            printf("[%s]\n", name);
            print_keys("", section);
        } else {
            json_object_foreach(section, prefix, policy)
            {
                config_print_named(name, prefix, policy);
            }
        }
    }
}

/* "storage.dir", or "policy.PREFIX.ack": the prefix may have dots, so the last one counts. NULL: none. */
static json_t *find_value(json_t *document, const char *key)
{
    const char *first = strchr(key, '.'), *last = strrchr(key, '.');

    if (first == NULL) {
        return json_object_get(document, key);
    }
    json_t *section = json_object_getn(document, key, (size_t)(first - key));
    if (last == first) {
        return json_object_get(section, first + 1);
    }
    json_t *policy = json_object_getn(section, first + 1, (size_t)(last - first - 1));
    return json_object_get(policy, last + 1);
}

static int print_one(struct ctl *ctl, json_t *document, const char *key)
{
    json_t *value = find_value(document, key);

    if (value == NULL) {
        fprintf(stderr, "belayctl: config get: there is no key %s; config get lists all\n", key);
        return CTL_REFUSED;
    }
    if (ctl->json) {
        return ctl_print_json(json_pack("{s:s, s:O}", "key", key, "value", value));
    }
    print_value(value);
    return CTL_OK;
}

/* The node's configuration, but for its [policy] sections: those of the cluster hold in their place. */
static int ask_all(struct ctl *ctl, json_t **document)
{
    json_t *policies;
    int rc = ctl_admin(ctl, "config", NULL, document);

    if (rc != CTL_OK) {
        return rc;
    }
    rc = ctl_admin(ctl, "policies", NULL, &policies);
    if (rc != CTL_OK) {
        json_decref(*document);
        return rc;
    }
    json_object_set(*document, "policy", json_object_get(policies, "policies"));
    json_decref(policies);
    return CTL_OK;
}

int config_get_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *document;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 1);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = ask_all(ctl, &document);
    if (rc != CTL_OK) {
        return rc;
    }
    if (operands.count == 1) {
        rc = print_one(ctl, document, operands.items[0]);
    } else if (ctl->json) {
        rc = ctl_print_json(json_incref(document));
    } else {
        print_all(document);
    }
    json_decref(document);
    return rc;
}
