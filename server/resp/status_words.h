/* The words that Redis clients know for what a request ended in. */
#ifndef STATUS_WORDS_H
#define STATUS_WORDS_H

#include "status.h"

enum { STATUS_WORDS_BYTES = 256 };

/* `text` says more, for those that have no words of their own; NULL: the status's own. */
void status_words(enum status status, const char *text, char words[STATUS_WORDS_BYTES]);

/* Of a command that looks at all sessions. */
void status_words_of_all(enum status status, char words[STATUS_WORDS_BYTES]);

#endif
