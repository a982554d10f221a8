/* belayctl policy list, set, rm: settings of sessions by the prefix of their keys, for the whole cluster. */
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

int policy_list_run(struct ctl *ctl, int argc, char **argv)
{
    json_t *document;
    int rc = ctl_show(ctl, argc, argv, "policies", &document);
    const char *prefix;
    json_t *policy;

    if (rc != CTL_OK || document == NULL) {
        return rc;
    }
    json_object_foreach(json_object_get(document, "policies"), prefix, policy)
    {
        config_print_named("policy", prefix, policy);
    }
    json_decref(document);
    return CTL_OK;
}

static int change(struct ctl *ctl, const char *command, const char *argument, const char *done)
{
    json_t *document;
    int rc = ctl_admin(ctl, command, argument, &document);

    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(document);
    }
    printf("%s, map of epoch %lld\n", done,
           (long long)json_integer_value(json_object_get(document, "epoch")));
    json_decref(document);
    return CTL_OK;
}

/* A line for each setting, an empty one, the prefix: what config_policy_change() takes. */
static char *set_argument(const struct text_list *operands)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    if (to == NULL) {
        return NULL;
    }
    for (int i = 1; i < operands->count; i++) {
        fprintf(to, "%s\n", operands->items[i]);
    }
    fprintf(to, "\n%s", operands->items[0]);
    return fclose(to) == 0 ? text : NULL;
}

/* Where the node that is asked has no archive, what the policy asks for is refused there. */
static void warn_of_archive(struct ctl *ctl, const struct text_list *operands)
{
    bool archive = false;
    json_t *document, *status;

    for (int i = 1; i < operands->count; i++) {
        archive = archive || strcmp(operands->items[i], "ack=archive") == 0;
    }
    if (!archive || ctl_admin(ctl, "archive", "", &document) != CTL_OK) {
        return;
    }
    bool off = strcmp(ctl_text(json_object_get(document, "archive"), "state"), "off") == 0;
    json_decref(document);
    if (off && ctl_admin(ctl, "status", "", &status) == CTL_OK) {
        fprintf(stderr,
                "belayctl: policy set: warning: node %s has no archive (archive.url): writes of "
                "such sessions are refused where it coordinates them\n",
                ctl_text(status, "node"));
        json_decref(status);
    }
}

int policy_set_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 2, TEXT_LIST_MAX);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    for (int i = 1; i < operands.count; i++) {
        const char *item = operands.items[i];
        if (strchr(item, '=') == NULL || item[0] == '=' || strchr(item, '\n') != NULL) {
            return ctl_usage(ctl, "%s: KEY=VALUE is wanted, as in belayd.conf", item);
        }
    }
    char *argument = set_argument(&operands);
    if (argument == NULL) {
        fprintf(stderr, "belayctl: out of memory\n");
        return CTL_REFUSED;
    }
    rc = change(ctl, "policy-set", argument, "set");
    free(argument);
    if (rc == CTL_OK) {
        warn_of_archive(ctl, &operands);
    }
    return rc;
}

int policy_rm_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    return change(ctl, "policy-rm", operands.items[0], "removed");
}
