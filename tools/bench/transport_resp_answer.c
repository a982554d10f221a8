/* Answers in RESP: what they say, and which of them send a request to another node. */
#include "transport_resp_private.h"

#include <string.h>

enum { REDIRECTS_MAX = 16 }; /* Of one request. */

/* What an error's first word says. */
static enum belay_status status_of_error(const char *text)
{
    static const struct {
        const char *word;
        enum belay_status status;
    } known[] = {
        {"BUSY", BELAY_BUSY},
        {"LOADING", BELAY_BUSY},
        {"OOM", BELAY_MEMORY_FULL},
        {"MISCONF", BELAY_DISK_FULL},
        {"NOAUTH", BELAY_DENIED},
        {"NOPERM", BELAY_DENIED},
        {"WRONGPASS", BELAY_DENIED},
        {"WRONGTYPE", BELAY_WRONG_TYPE},
        {"DENIED", BELAY_DENIED},
        {"READONLY", BELAY_UNSUPPORTED},
        {"NOREPLICAS", BELAY_UNAVAILABLE},
    };
    size_t size = strcspn(text, " ");

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strlen(known[i].word) == size && memcmp(known[i].word, text, size) == 0) {
            return known[i].status;
        }
    }
    return BELAY_INVALID;
}

/* A nil is no session for a GET. For SET NX it is one that is there, or one that `no_resurrect` keeps from coming
 * back: the protocol does not say which, and either way nothing was written. */
static enum belay_status status_of_nil(const struct operation *operation)
{
    if (operation->kind == ASK_GET) {
        return BELAY_NOT_FOUND;
    }
    return operation->create ? BELAY_DESTROYED : BELAY_INVALID;
}

static struct answer answer_of(const struct operation *operation, const redisReply *reply)
{
    /* That it is applied in memory is what every acknowledgement means; RESP says no more. */
    struct answer answer = {.status = BELAY_OK, .ack_level = BELAY_ACK_MEMORY};

    if (reply->type == REDIS_REPLY_ERROR) {
        answer.status = status_of_error(reply->str);
        pump_tell(operation, answer.status, reply->str);
    } else if (reply->type == REDIS_REPLY_NIL) {
        answer.status = status_of_nil(operation);
    } else if (operation->kind == ASK_GET) {
        answer.status = reply->type == REDIS_REPLY_STRING ? BELAY_OK : BELAY_INVALID;
        answer.value = bytes_of(reply->str, reply->str == NULL ? 0 : reply->len);
    }
    return answer;
}

/* The answer to WAIT after a write. Fewer replicas in time leave the write where it is, in the server's memory. */
static struct answer answer_of_wait(const struct resp *resp, const struct operation *operation,
                                    const redisReply *reply)
{
    const bool enough =
        reply->type == REDIS_REPLY_INTEGER && reply->integer >= (long long)resp->wait;

    return (struct answer){.status = operation->first_status,
                           .ack_level = enough ? BELAY_ACK_REPLICA : BELAY_ACK_MEMORY};
}

void resp_enqueue(struct line *line, struct operation *operation)
{
    struct resp *resp = line->resp;

    operation->next = NULL;
    *line->last = operation;
    line->last = &operation->next;
    if (!line->dirty) {
        line->dirty = true;
        line->next_dirty = resp->dirty;
        resp->dirty = line;
    }
}

int resp_put_kept(struct line *line, struct operation *operation, bool asking)
{
    static const char words[] = "*1\r\n$6\r\nASKING\r\n";
    const size_t before = line->out.size;
    int rc = asking ? buffer_append(&line->out, bytes_of(words, sizeof words - 1)) : 0;

    rc = rc != 0 ? rc : buffer_append(&line->out, buffer_bytes(&operation->request));
    if (rc != 0) {
        line->out.size = before;
        return rc;
    }
    operation->asking = asking;
    resp_enqueue(line, operation);
    return 0;
}

/* Does this answer send the request, which is no more on the line's list, to another node? Then it goes there. */
static bool redirected(struct line *line, struct operation *operation, const redisReply *reply)
{
    struct resp *resp = line->resp;
    const uint32_t from = resp_node_of(line);
    uint32_t node;

    if (!resp->cluster || reply->type != REDIS_REPLY_ERROR ||
        operation->redirects == REDIRECTS_MAX) {
        return false;
    }
    const enum redirect redirect = resp_route_redirect(&resp->route, reply->str, from, &node);
    if (redirect == REDIRECT_NONE) {
        return false;
    }
    operation->redirects++;
    return resp_put_kept(line - from + node, operation, redirect == REDIRECT_ASK) == 0;
}

/* Is this the first of the two answers to a write with --wait? It is kept. */
static bool is_first_of_two(struct resp *resp, struct operation *operation, const redisReply *reply)
{
    if (resp->wait == 0 || operation->kind == ASK_GET || operation->waits) {
        return false;
    }
    operation->waits = true;
    operation->first_status = answer_of(operation, reply).status;
    return true;
}

void resp_take_reply(struct line *line, const redisReply *reply)
{
    struct operation *operation = line->first;

    if (line->greetings > 0) {
        line->greetings--; /* Where it is refused, so is everything that follows. */
        return;
    }
    if (operation == NULL) {
        return; /* Nothing was asked; the server says why it closes. */
    }
    line->pause_ms = RESP_PAUSE_MS_MIN;
    if (operation->asking) {
        operation->asking = false; /* This was ASKING's; its own follows. */
        return;
    }
    if (is_first_of_two(line->resp, operation, reply)) {
        return;
    }
    line->first = operation->next;
    if (line->first == NULL) {
        line->last = &line->first;
    }
    if (redirected(line, operation, reply)) {
        return;
    }
    struct answer answer = operation->waits ? answer_of_wait(line->resp, operation, reply)
                                            : answer_of(operation, reply);
    pump_answered(operation, &answer);
}
