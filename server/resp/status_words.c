#include "status_words.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

void status_words(enum status status, const char *text, char words[STATUS_WORDS_BYTES])
{
    static const struct {
        enum status status;
        const char *words;
    } known[] = {
        {STATUS_WRONG_TYPE, "WRONGTYPE Operation against a key holding the wrong kind of value"},
        {STATUS_NOT_A_NUMBER, "ERR value is not an integer or out of range"},
        {STATUS_OUT_OF_RANGE, "ERR increment or decrement would overflow"},
        {STATUS_SESSION_TOO_LARGE,
         "ERR string exceeds maximum allowed size (session_max_bytes of its policy)"},
        {STATUS_FRAME_TOO_LARGE,
         "ERR the reply would be larger than 16 MiB, or than session_max_bytes of its policy; "
         "ask for less at once"},
        {STATUS_NOT_FOUND, "ERR no such key"},
        {STATUS_MEMORY_FULL, "OOM command not allowed when used memory > 'maxmemory'."},
        {STATUS_DENIED, "NOPERM this user has no permissions to access the key"},
    };
    static const struct {
        enum status status;
        const char *code;
    } codes[] = {
        {STATUS_BUSY, "BUSY"},
        {STATUS_DISK_FULL, "MISCONF"},
        {STATUS_LOG_FAILED, "MISCONF"},
        {STATUS_UNAVAILABLE, "NOREPLICAS"},
    };
    const char *code = "ERR";

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        bool may_tell = status == STATUS_SESSION_TOO_LARGE || status == STATUS_FRAME_TOO_LARGE;
        if (known[i].status == status && (!may_tell || text == NULL)) {
            snprintf(words, STATUS_WORDS_BYTES, "%s", known[i].words);
            return;
        }
    }
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].status == status) {
            code = codes[i].code;
        }
    }
    snprintf(words, STATUS_WORDS_BYTES, "%s %s", code, text != NULL ? text : status_text(status));
}

void status_words_of_all(enum status status, char words[STATUS_WORDS_BYTES])
{
    status_words(status,
                 status == STATUS_UNAVAILABLE
                     ? "not all sessions can be looked at now: a node that has some is not there, "
                       "or its disk does not read"
                     : NULL,
                 words);
}
