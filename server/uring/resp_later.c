/* What a transaction of the RESP door does once its commands on keys are done: messages, and what is about the connection or
 * the server. Their replies take the places that EXEC's answer has for them. */
#include <assert.h>
#include <string.h>

#include "resp_door.h"
#include "shard_thread.h"

/* The size of the element that begins a reply: our own, and whole. */
static size_t element_size(struct bytes reply)
{
    uint64_t left = 1;
    size_t at = 0;

    while (left-- > 0) {
        const uint8_t *line = reply.data + at;
        const uint8_t *end = memchr(line, '\n', reply.size - at);
        int64_t number = 0;
        assert(end != NULL);
        (void)resp_integer(bytes_of(line + 1, (size_t)(end - line) - 2), &number);
        at += (size_t)(end - line) + 1;
        if (*line == '$' && number >= 0) {
            at += (size_t)number + 2;
        } else if ((*line == '*' || *line == '~') && number > 0) {
            left += (uint64_t)number;
        } else if (*line == '%') {
            left += 2 * (uint64_t)number;
        }
    }
    return at;
}

static struct bytes skip(struct bytes bytes, size_t size)
{
    return bytes_of(bytes.data + size, bytes.size - size);
}

/* One request. Its reply is appended. */
static int do_one(struct shard_thread *thread, struct connection *connection, struct bytes array,
                  const struct resp_out *reply)
{
    struct resp_arguments arguments = resp_arguments(array);
    struct bytes name;
    bool ends = false;

    (void)resp_next(&arguments, &name);
    const struct command *command = command_find(name);
    assert(command != NULL);
    if (command->local != LOCAL_PUBLISH) {
        return resp_local(thread, connection, command, arguments, reply, &ends);
    }
    int64_t count = resp_publish(thread, arguments);
    return count >= 0 ? resp_number(reply, count)
                      : resp_error(reply, "BUSY too many messages wait to be read");
}

int resp_multi_later(struct shard_thread *thread, struct connection *connection, struct bytes later,
                     struct bytes answer, const struct resp_out *reply)
{
    struct reader reader = reader_of(later);
    uint64_t at = 0;

    if (answer.size < 2 || answer.data[0] != '*' || answer.data[1] == '-') {
        return buffer_append(reply->buffer, answer); /* It was not done. */
    }
    const uint8_t *end = memchr(answer.data, '\n', answer.size);
    size_t size = (size_t)(end - answer.data) + 1; /* Of what is taken as it is. */
    while (reader_left(&reader) > 0) {
        uint64_t number = read_varint(&reader);
        struct bytes array = read_string(&reader);
        for (; at < number; at++) {
            size += element_size(skip(answer, size));
        }
        int rc = buffer_append(reply->buffer, bytes_of(answer.data, size));
        answer = skip(answer, size);
        answer = skip(answer, element_size(answer));
        size = 0;
        at++;
        rc = rc != 0 ? rc : do_one(thread, connection, array, reply);
        if (rc != 0) {
            return rc;
        }
    }
    return buffer_append(reply->buffer, answer);
}
