/* Heads of frames: the first byte chooses the message, the rest is unpacked and packed again. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "belay.pb-c.h"
#include "fuzz.h"
#include "limits.h"

enum { MESSAGE_COUNT = 12 };

static const ProtobufCMessageDescriptor *const messages[MESSAGE_COUNT] = {
    &belay__wire__hello__descriptor,       &belay__wire__hello_reply__descriptor,
    &belay__wire__get__descriptor,         &belay__wire__write__descriptor,
    &belay__wire__many__descriptor,        &belay__wire__scan__descriptor,
    &belay__wire__inspect__descriptor,     &belay__wire__admin__descriptor,
    &belay__wire__reply__descriptor,       &belay__wire__many_reply__descriptor,
    &belay__wire__map_request__descriptor, &belay__wire__map_reply__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > HEAD_BYTES_MAX) {
        return 0;
    }
    const ProtobufCMessageDescriptor *kind = messages[data[0] % MESSAGE_COUNT];
    ProtobufCMessage *message = protobuf_c_message_unpack(kind, NULL, size - 1, data + 1);
    if (message == NULL) {
        return 0;
    }
    size_t packed_size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(packed_size > 0 ? packed_size : 1);
    if (packed != NULL) {
        assert(protobuf_c_message_pack(message, packed) == packed_size);
        free(packed);
    }
    protobuf_c_message_free_unpacked(message, NULL);
    return 0;
}
