/* Who the tools say they are: BELAY_USER, with the password in the first line of the file BELAY_PASSWORD_FILE names, so that it
 * stands in no list of processes. */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

#include <belay/belay.h>

enum { CREDENTIALS_LINE_BYTES = 300 };

struct credentials {
    const char *user; /* In the environment; NULL: BELAY_USER is not set. */
    char password[CREDENTIALS_LINE_BYTES];
};

/* Read them. Returns 0; -1 with a message of `program` on stderr. */
int credentials_read(struct credentials *credentials, const char *program);

/* The same into a client's options. Returns 0; -1 with a message of `program` on stderr. Without BELAY_USER nothing is set. */
int credentials_set(struct belay_options *options, const char *program);

#endif
