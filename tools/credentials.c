#include "credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns 0, or -1 with a message. */
static int read_password(const char *path, const char *program, char line[CREDENTIALS_LINE_BYTES])
{
    FILE *file = fopen(path, "re");

    errno = file == NULL ? errno : 0;
    if (file == NULL || fgets(line, CREDENTIALS_LINE_BYTES, file) == NULL) {
        fprintf(stderr, "%s: BELAY_PASSWORD_FILE: cannot read %s: %s\n", program, path,
                errno != 0 ? strerror(errno) : "it is empty");
        if (file != NULL) {
            fclose(file);
        }
        return -1;
    }
    fclose(file);
    line[strcspn(line, "\r\n")] = '\0';
    return 0;
}

int credentials_read(struct credentials *credentials, const char *program)
{
    const char *path = getenv("BELAY_PASSWORD_FILE");

    *credentials = (struct credentials){.user = getenv("BELAY_USER")};
    if (credentials->user == NULL || path == NULL) {
        return 0;
    }
    return read_password(path, program, credentials->password);
}

int credentials_set(struct belay_options *options, const char *program)
{
    struct credentials credentials;

    if (credentials_read(&credentials, program) != 0) {
        return -1;
    }
    if (credentials.user != NULL &&
        belay_options_user(options, credentials.user, credentials.password) != BELAY_OK) {
        fprintf(stderr, "%s: user or password is larger than 255 bytes\n", program);
        return -1;
    }
    return 0;
}
