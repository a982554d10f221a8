#include "credentials.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 300 };

/* Returns 0, or -1 with a message. */
static int read_password(const char *path, const char *program, char line[LINE_BYTES])
{
    FILE *file = fopen(path, "re");

    errno = file == NULL ? errno : 0;
    if (file == NULL || fgets(line, LINE_BYTES, file) == NULL) {
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

int credentials_set(struct belay_options *options, const char *program)
{
    const char *user = getenv("BELAY_USER"), *path = getenv("BELAY_PASSWORD_FILE");
    char password[LINE_BYTES] = "";

    if (user == NULL) {
        return 0;
    }
    if (path != NULL && read_password(path, program, password) != 0) {
        return -1;
    }
    if (belay_options_user(options, user, password) != BELAY_OK) {
        fprintf(stderr, "%s: user or password is larger than 255 bytes\n", program);
        return -1;
    }
    return 0;
}
