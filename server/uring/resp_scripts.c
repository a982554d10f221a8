#include <string.h>

#include "resp_door.h"
#include "run.h"

void script_learn(struct scripts *scripts, const char *sha1, const struct command *command)
{
    bool known = false;

    pthread_mutex_lock(&scripts->lock);
    for (uint32_t i = 0; i < scripts->count; i++) {
        known = known || strcmp(scripts->learnt[i].sha1, sha1) == 0;
    }
    if (!known && scripts->count < SCRIPTS_LEARNT_MAX) {
        memcpy(scripts->learnt[scripts->count].sha1, sha1, SCRIPT_SHA1_BYTES + 1);
        scripts->learnt[scripts->count++].command = command;
    }
    pthread_mutex_unlock(&scripts->lock);
}

const struct command *script_known(struct scripts *scripts, struct bytes sha1)
{
    const struct command *found = script_of_sha1(sha1);

    if (found != NULL) {
        return found;
    }
    pthread_mutex_lock(&scripts->lock);
    for (uint32_t i = 0; i < scripts->count && found == NULL; i++) {
        found = run_is(sha1, scripts->learnt[i].sha1) ? scripts->learnt[i].command : NULL;
    }
    pthread_mutex_unlock(&scripts->lock);
    return found;
}

void script_forget(struct scripts *scripts)
{
    pthread_mutex_lock(&scripts->lock);
    scripts->count = 0;
    pthread_mutex_unlock(&scripts->lock);
}
