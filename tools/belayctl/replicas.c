/* belayctl cluster replicas: of how many copies each session is. */
#include <inttypes.h>
#include <stdlib.h>

#include "ctl.h"

/* More than there are nodes for is no error: it is so once there are. */
static void warn(struct ctl *ctl, uint64_t replicas)
{
    const json_t *row;
    uint64_t serving = 0;
    size_t index;
    json_t *nodes;

    if (ctl_admin(ctl, "nodes", NULL, &nodes) != CTL_OK) {
        return;
    }
    json_array_foreach(json_object_get(nodes, "nodes"), index, row)
    {
        serving += ctl_serves(row);
    }
    json_decref(nodes);
    if (serving < replicas) {
        fprintf(stderr,
                "belayctl: cluster replicas: warning: nodes that have sessions: %" PRIu64
                "; more copies come once there are more\n",
                serving);
    }
}

int cluster_replicas_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *document;

    ctl->timeout_ms = CTL_DECIDE_TIMEOUT_MS;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 1, 1);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = ctl_admin(ctl, "cluster-replicas", operands.items[0], &document);
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(document);
    }
    const uint64_t replicas = strtoull(operands.items[0], NULL, 10);
    printf("each session is to have %" PRIu64 " cop%s, by the map of epoch %" PRIu64
           "; cluster restart-check --wait waits until it has\n",
           replicas, replicas == 1 ? "y" : "ies", ctl_number(document, "epoch"));
    json_decref(document);
    warn(ctl, replicas);
    return CTL_OK;
}
