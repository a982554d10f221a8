/* Who the tools say they are: BELAY_USER, with the password in the first line of the file BELAY_PASSWORD_FILE names, so that it
 * stands in no list of processes. */
#ifndef CREDENTIALS_H
#define CREDENTIALS_H

#include <belay/belay.h>

/* Returns 0; -1 with a message of `program` on stderr. Without BELAY_USER nothing is set. */
int credentials_set(struct belay_options *options, const char *program);

#endif
