/* Connecting, and telling what went wrong. */
#include "ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "credentials.h"

struct belay_client *ctl_connect(const struct ctl *ctl, const char *server)
{
    struct belay_options *options = belay_options_create();
    struct belay_client *client = NULL;

    if (options == NULL) {
        fprintf(stderr, "belayctl: out of memory\n");
        return NULL;
    }
    if (belay_options_servers(options, server) != BELAY_OK) {
        fprintf(stderr, "belayctl: %s is no server; it is HOST:PORT, several separated by commas\n",
                server);
    } else if (credentials_set(options, "belayctl") == 0) {
        belay_options_name(options, "belayctl");
        belay_options_connections(options, 1, ctl->wide ? 0 : 1);
        belay_options_fail_fast(options, 1);
        belay_options_timeout_ms(options, ctl->timeout_ms < UINT32_MAX ? (uint32_t)ctl->timeout_ms
                                                                       : UINT32_MAX);
        if (belay_client_create(options, &client) != BELAY_OK) {
            fprintf(stderr, "belayctl: out of memory\n");
        }
    }
    belay_options_destroy(options);
    return client;
}

struct belay_client *ctl_client(struct ctl *ctl)
{
    if (ctl->client == NULL) {
        ctl->client = ctl_connect(ctl, ctl->server);
    }
    return ctl->client;
}

static int exit_code_of(enum belay_status status)
{
    switch (status) {
    case BELAY_OK:
        return CTL_OK;
    case BELAY_INVALID:
    case BELAY_KEY_TOO_LARGE:
    case BELAY_OUT_OF_RANGE:
        return CTL_USAGE;
    case BELAY_CANNOT_CONNECT:
    case BELAY_DISCONNECTED:
    case BELAY_TIMEOUT:
        return CTL_UNREACHABLE;
    default:
        return CTL_REFUSED;
    }
}

/* Of a user who is not known, or may not: who it is to be stands in the environment. */
static const char *advice_of_user(void)
{
    const char *user = getenv("BELAY_USER"), *file = getenv("BELAY_PASSWORD_FILE");

    return user == NULL || user[0] == '\0'
               ? ". Who to be stands in BELAY_USER, the password in the file BELAY_PASSWORD_FILE"
           : file == NULL || file[0] == '\0'
               ? ". No password was given: the file BELAY_PASSWORD_FILE has it"
               : "";
}

static const char *advice_of(enum belay_status status)
{
    switch (status) {
    case BELAY_DENIED:
        return advice_of_user();
    case BELAY_CANNOT_CONNECT:
        return ". Is belayd running there? Name another server with -s HOST:PORT or BELAY_SERVER";
    case BELAY_TIMEOUT:
        return ". Allow more time with --timeout";
    case BELAY_EXISTS:
        return ". Leave out --create to change it";
    case BELAY_WRONG_TYPE:
        return ". belayctl session get KEY --meta tells of which: give that with --type, or end it "
               "first";
    case BELAY_VERSION_MISMATCH:
        return ". Read it again and use the new version";
    default:
        return "";
    }
}

static void print_failure_json(const char *what, enum belay_status status, const char *text,
                               const char *node)
{
    json_t *error = json_pack("{s:s, s:s, s:s}", "status", belay_status_name(status), "text", text,
                              "node", node);

    if (what != NULL && error != NULL) {
        json_set_bytes(error, "key", belay_text(what));
    }
    ctl_print_json(json_pack("{s:o}", "error", error));
}

int ctl_failed_for(struct ctl *ctl, const char *what, enum belay_status status, const char *text,
                   const char *node)
{
    if (ctl->json) {
        print_failure_json(what, status, text, node);
    } else {
        fprintf(stderr, "belayctl: %s: ", ctl->command->words);
        if (what != NULL) {
            show_bytes(stderr, belay_text(what));
            fputs(": ", stderr);
        }
        if (status == BELAY_CANNOT_CONNECT) {
            fputs("cannot connect to ", stderr);
        }
        fputs(text, stderr);
        if (node[0] != '\0') {
            fprintf(stderr, ", says %s", node);
        }
        fprintf(stderr, "%s\n", advice_of(status));
    }
    return exit_code_of(status);
}

int ctl_failed(struct ctl *ctl, const char *what, enum belay_status status,
               struct belay_result *result)
{
    int code = result == NULL ? ctl_failed_for(ctl, what, status, belay_status_text(status), "")
                              : ctl_failed_for(ctl, what, status, belay_result_text(result),
                                               belay_result_node(result));

    belay_result_destroy(result);
    return code;
}

int ctl_print_json(json_t *document)
{
    int rc = document == NULL
                 ? -1
                 : json_dumpf(document, stdout, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);

    json_decref(document);
    putchar('\n');
    return rc == 0 ? CTL_OK : CTL_REFUSED;
}

int ctl_admin(struct ctl *ctl, const char *command, const char *argument, json_t **document)
{
    struct belay_client *client = ctl_client(ctl);
    struct belay_result *result;
    json_error_t error;

    if (client == NULL) {
        return CTL_USAGE;
    }
    struct belay_request *request = belay_admin_begin(client, command, argument);
    if (ctl->once) {
        belay_request_no_retry(request);
    }
    enum belay_status status = belay_run(request, &result);
    if (status != BELAY_OK) {
        return ctl_failed(ctl, NULL, status, result);
    }
    struct belay_bytes text = belay_result_value(result);
    *document = json_loadb(text.data, text.size, JSON_ALLOW_NUL, &error);
    belay_result_destroy(result);
    if (*document == NULL) {
        fprintf(stderr, "belayctl: %s: the server's answer is no JSON: %s\n", ctl->command->words,
                error.text);
        return CTL_REFUSED;
    }
    return CTL_OK;
}

json_t *ctl_ask(const struct ctl *ctl, const char *server, const char *command,
                const char *argument, enum belay_status *status)
{
    struct belay_client *client = ctl_connect(ctl, server);
    struct belay_result *result = NULL;
    json_t *document = NULL;
    json_error_t error;

    *status = BELAY_CANNOT_CONNECT;
    if (client != NULL) {
        *status = belay_run(belay_admin_begin(client, command, argument), &result);
    }
    if (*status == BELAY_OK) {
        struct belay_bytes text = belay_result_value(result);
        document = json_loadb(text.data, text.size, JSON_ALLOW_NUL, &error);
        *status = document == NULL ? BELAY_UNSUPPORTED : BELAY_OK;
    }
    belay_result_destroy(result);
    belay_client_destroy(client);
    return document;
}

int ctl_show(struct ctl *ctl, int argc, char **argv, const char *command, json_t **document)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    json_t *page;

    *document = NULL;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    rc = ctl_admin(ctl, command, NULL, &page);
    if (rc != CTL_OK) {
        return rc;
    }
    if (ctl->json) {
        return ctl_print_json(page);
    }
    *document = page;
    return CTL_OK;
}

uint64_t ctl_number(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

const char *ctl_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

const json_t *ctl_node(const json_t *nodes, const char *node)
{
    const json_t *row, *found = NULL;
    char number[24];
    size_t index;

    json_array_foreach(json_object_get(nodes, "nodes"), index, row)
    {
        if (strcmp(ctl_text(row, "name"), node) == 0) {
            return row;
        }
        snprintf(number, sizeof number, "%" PRIu64, ctl_number(row, "number"));
        found = strcmp(number, node) == 0 ? row : found;
    }
    return found;
}

bool ctl_serves(const json_t *row)
{
    const char *state = ctl_text(row, "state");

    return (strcmp(state, "active") == 0 || strcmp(state, "degraded") == 0) &&
           ctl_number(row, "weight_to") > 0;
}

struct ctl_rest ctl_rest(const struct ctl *ctl, const json_t *row)
{
    enum belay_status failed;
    json_t *status = ctl_ask(ctl, ctl_text(row, "native"), "status", NULL, &failed);
    const json_t *cluster = json_object_get(status, "cluster");
    struct ctl_rest rest = {
        .asked = status != NULL || failed != BELAY_CANNOT_CONNECT,
        .slots = ctl_number(cluster, "slots_stray"),
    };

    rest.is_none =
        status != NULL && rest.slots == 0 && json_is_true(json_object_get(cluster, "looked"));
    json_decref(status);
    return rest;
}

bool ctl_is_late(const struct ctl *ctl)
{
    return ctl->timeout_given && ctl_now_ms() - ctl->began_ms >= ctl->timeout_ms;
}

uint64_t ctl_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void ctl_sleep_ms(uint64_t ms)
{
    const struct timespec time = {.tv_sec = (time_t)(ms / 1000),
                                  .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&time, NULL);
}
