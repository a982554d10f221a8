#include "oversize.h"

#include <inttypes.h>
#include <stdio.h>

#include "change.h"
#include "commands.h"
#include "limits.h"
#include "policy.h"
#include "rename.h"
#include "resp.h"
#include "shard_thread.h"

enum {
    LOOK_BYTES = 64 * 1024, /* Smaller ones cost nobody much, and are not looked at. */
    TEXT_BYTES = 120 + POLICY_PREFIX_BYTES_MAX,
};

/* A command that stores what it is given. Names and members are bounded otherwise, and never as large. */
static size_t largest_argument(const struct request *request)
{
    const struct command *command = command_of(request->procedure);
    struct resp_arguments rest = resp_arguments(request->body);
    struct bytes argument;
    size_t largest = 0;

    if (command == NULL || request->procedure->many || (command->flags & COMMAND_MAKES) == 0) {
        return 0;
    }
    while (resp_next(&rest, &argument)) {
        largest = argument.size > largest ? argument.size : largest;
    }
    return largest;
}

static bool is_oversize(const struct request *request, const struct policy *policy)
{
    const size_t bytes_max = session_record_bytes_max(&policy->rules);

    if (request->body.size <= bytes_max) {
        return false;
    }
    return request->procedure != NULL ? largest_argument(request) > bytes_max
                                      : change_list_outgrows(request->body, bytes_max);
}

/* Of its prefix: what can stand in a line. */
static int shown_bytes(const struct policy *policy)
{
    uint32_t size = 0;

    while (size < policy->prefix_size && (uint8_t)policy->prefix[size] >= ' ') {
        size++;
    }
    return (int)size;
}

bool oversize_refuses(struct shard_thread *thread, const struct request *request, uint64_t now_us)
{
    char text[TEXT_BYTES];

    if (request->op != REQUEST_WRITE || request->body.size <= LOOK_BYTES ||
        request->retry_hlc != 0 || request->key.size == 0 || request->key.size > KEY_BYTES_MAX ||
        rename_is_journal(request->key)) {
        return false;
    }
    const struct policy *policy = shard_policy(thread->shard, request->key);
    if (!is_oversize(request, policy)) {
        return false;
    }
    snprintf(text, sizeof text,
             "a value is larger than session_max_bytes, %" PRIu32
             " (policy \"%.*s\"): the write has %zu bytes",
             policy->rules.session_bytes_max, shown_bytes(policy), policy->prefix,
             request->body.size);
    shard_refuse(thread->shard, request, STATUS_SESSION_TOO_LARGE, text, now_us);
    return true;
}
