/* One node from its start to its clean stop, on the calling thread. */
#ifndef SERVE_H
#define SERVE_H

#include "config.h"
#include "join_token.h"

/* Where the configuration comes from, for SIGHUP. */
struct serve_source {
    /* Read and check it anew. Returns 0, or negative errno with what is wrong in `message`. */
    int (*load)(void *context, struct config *config, char *message, size_t message_size);
    void *context;
};

/* `token`: of the cluster to join; NULL: none. `lost`: nodes without which its cluster is founded anew
 * (cluster_refound()); NULL: it is not. Users that come with a SIGHUP take the place of those in `config`.
 *
 * Returns 0 after a clean stop; -ESHUTDOWN where the node was removed from its cluster, before or meanwhile; another negative
 * errno after a failure. What is to be said of it stands on stderr. */
int serve(struct config *config, const struct serve_source *source, const struct join_token *token,
          const char *lost);

#endif
