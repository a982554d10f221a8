/* Any bytes as a configuration file: taken or refused with a message, and what was taken prints and
 * reads back as the same. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "config_print.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_round_trip(const struct config *config)
{
    char printed[CONFIG_VALUE_BYTES], again[CONFIG_VALUE_BYTES], value[CONFIG_VALUE_BYTES];
    char message[CONFIG_MESSAGE_BYTES];
    const struct config_key *key;

    for (uint32_t i = 0; (key = config_key(i)) != NULL; i++) {
        config_value_print(key, (const char *)config + key->offset, printed);
        int rc = config_value_parse(key, printed, value, message, sizeof message);
        assert(rc == 0);
        config_value_print(key, value, again);
        assert(strcmp(printed, again) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct config_machine machine = {"host", 4, UINT64_C(1) << 33, 20000};
    struct config *config = malloc(sizeof *config);
    struct policies *policies = malloc(sizeof *policies);
    char message[CONFIG_MESSAGE_BYTES] = "";

    assert(config != NULL && policies != NULL);
    config_init(config);
    int rc = config_read_text(config, "fuzz", bytes_of(data, size), message, sizeof message);
    if (rc == 0) {
        check_round_trip(config);
        rc = config_finish(config, &machine, message, sizeof message);
        config_policies(config, policies);
        char *json = config_to_json(config);
        assert(json != NULL);
        free(json);
    }
    assert(rc == 0 || strlen(message) > 0);
    free(policies);
    free(config);
    return 0;
}
