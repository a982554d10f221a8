/* For the tests of libbelay against the fake server: a client for it, and an answer to look at. */
#ifndef CLIENT_KIT_H
#define CLIENT_KIT_H

#include "client.h"
#include "fake_server.h"
#include "status.h"

static inline struct belay_client *client_for(const struct fake *fake,
                                              struct belay_options *options)
{
    struct belay_options *own = options == NULL ? belay_options_create() : options;
    struct belay_client *client = NULL;
    char server[40];

    snprintf(server, sizeof server, "127.0.0.1:%u", fake->port);
    assert_int_equal(belay_options_servers(own, server), BELAY_OK);
    assert_int_equal(belay_client_create(own, &client), BELAY_OK);
    belay_options_destroy(own);
    return client;
}

struct answer {
    int calls;
    enum belay_status status;
    char value[64];
    char text[300];
    bool inside; /* Set while belay_send() runs: no callback then. */
};

static inline void answered(struct belay_result *result, void *context)
{
    struct answer *answer = context;
    struct belay_bytes value = belay_result_value(result);

    assert_false(answer->inside);
    answer->calls++;
    answer->status = belay_result_status(result);
    snprintf(answer->value, sizeof answer->value, "%.*s", (int)value.size,
             value.size == 0 ? "" : (const char *)value.data);
    snprintf(answer->text, sizeof answer->text, "%s", belay_result_text(result));
}

static inline void send_ok(struct belay_request *request, struct answer *answer)
{
    answer->inside = true;
    assert_int_equal(belay_send(request, answered, answer), BELAY_OK);
    answer->inside = false;
}

static inline void key_of_get(const struct frame *frame, char *key, size_t key_size)
{
    Belay__Wire__Get *get = belay__wire__get__unpack(NULL, frame->head.size, frame->head.data);

    assert(get != NULL && get->key.len < key_size);
    memcpy(key, get->key.data, get->key.len);
    key[get->key.len] = 0;
    belay__wire__get__free_unpacked(get, NULL);
}

/* Answers each GET with its key. */
static inline void handle_echo(struct fake_connection *connection, const struct frame *frame)
{
    char key[600];

    key_of_get(frame, key, sizeof key);
    fake_reply(connection, frame, STATUS_OK, text(key));
}

/* Answers nothing. */
static inline void handle_nothing(struct fake_connection *connection, const struct frame *frame)
{
    (void)connection;
    (void)frame;
}

#endif
