/* A session's life in a few calls: create, read, change a field, compare and set, delete.
 *
 * In this tree it is built with everything else. Elsewhere, against the installed library:
 *   cc session.c $(pkg-config --cflags --libs belay) -o session
 *   ./session [HOST:PORT]
 */
#include <stdio.h>
#include <stdlib.h>

#include <belay/belay.h>

/* Every call says how it ended, and in words what was wrong and which node said so. */
static void check(const char *what, enum belay_status status, enum belay_status wanted,
                  struct belay_result *result)
{
    if (status != wanted) {
        fprintf(stderr, "%s: %s: %s %s\n", what, belay_status_name(status),
                result == NULL ? belay_status_text(status) : belay_result_text(result),
                result == NULL ? "" : belay_result_node(result));
        exit(EXIT_FAILURE);
    }
}

static void create_session(struct belay_client *client, struct belay_bytes key)
{
    struct belay_result *result;
    struct belay_request *write = belay_write_begin(client, key, BELAY_CREATE);

    belay_write_set(write, belay_text("user"), belay_text("ada"));
    belay_write_set(write, belay_text("cart"), belay_text("empty"));
    belay_write_owner(write, belay_text("ada@example.org"));
    belay_write_ttl(write, 8 * 60 * 60 * 1000);
    belay_write_idle(write, 30 * 60 * 1000);
    enum belay_status status = belay_run(write, &result);
    check("create", status, BELAY_OK, result);
    printf("created, safe in: %s\n", belay_ack_name(belay_result_ack(result)));
    belay_result_destroy(result);
}

/* Print the session, and keep its version: a token, to be given back later. */
static size_t read_session(struct belay_client *client, struct belay_bytes key, char *version,
                           size_t version_size)
{
    struct belay_result *result;
    struct belay_field field;
    size_t position = 0;

    check("get", belay_get(client, key, &result), BELAY_OK, result);
    while (belay_result_field(result, &position, &field)) {
        printf("  %.*s = %.*s\n", (int)field.name.size, (const char *)field.name.data,
               (int)field.value.size, (const char *)field.value.data);
    }
    struct belay_bytes token = belay_result_version(result);
    if (token.size > version_size) {
        fprintf(stderr, "a version of %zu bytes\n", token.size);
        exit(EXIT_FAILURE);
    }
    memcpy(version, token.data, token.size);
    belay_result_destroy(result);
    return token.size;
}

/* Change a field, but only if nobody else has changed the session since that version. */
static enum belay_status fill_cart(struct belay_client *client, struct belay_bytes key,
                                   struct belay_bytes version, struct belay_result **result)
{
    struct belay_request *write = belay_write_begin(client, key, BELAY_UPDATE);

    belay_write_if_version(write, version);
    belay_write_set(write, belay_text("cart"), belay_text("a rope"));
    return belay_run(write, result);
}

int main(int argc, char **argv)
{
    struct belay_options *options = belay_options_create();
    struct belay_client *client;
    struct belay_result *result;
    struct belay_bytes key = belay_text("example:session");
    char version[1024];

    const char *server = argc > 1 ? argv[1] : getenv("BELAY_SERVER");
    if (options == NULL || argc > 2 || (argc == 2 && argv[1][0] == '-') ||
        belay_options_servers(options, server != NULL ? server : "127.0.0.1:7400") != BELAY_OK) {
        fprintf(stderr, "usage: session [HOST:PORT]\n");
        return 2;
    }
    check("client", belay_client_create(options, &client), BELAY_OK, NULL);
    belay_options_destroy(options);

    enum belay_status status = belay_delete(client, key, &result); /* Of an earlier run. */
    check("delete", status, BELAY_OK, result);
    belay_result_destroy(result);
    create_session(client, key);
    size_t size = read_session(client, key, version, sizeof version);

    status = belay_field_add(client, key, belay_text("visits"), 1, &result);
    check("add", status, BELAY_OK, result);
    printf("visits: %lld\n", (long long)belay_result_change(result, 0));
    belay_result_destroy(result);

    status = fill_cart(client, key, belay_bytes_of(version, size), &result);
    check("an outdated change", status, BELAY_VERSION_MISMATCH, result);
    printf("an outdated change is refused: %s\n", belay_result_text(result));
    belay_result_destroy(result);

    size = read_session(client, key, version, sizeof version);
    status = fill_cart(client, key, belay_bytes_of(version, size), &result);
    check("change", status, BELAY_OK, result);
    belay_result_destroy(result);
    read_session(client, key, version, sizeof version);

    check("delete", belay_delete(client, key, &result), BELAY_OK, result);
    printf("deleted: %s\n", belay_result_change(result, 0) == 1 ? "yes" : "was not there");
    belay_result_destroy(result);
    check("get after delete", belay_get(client, key, NULL), BELAY_NOT_FOUND, NULL);
    belay_client_destroy(client);
    return 0;
}
