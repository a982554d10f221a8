/* Replays a corpus through a fuzz target, so that every build and every compiler runs what fuzzing once
 * found. Each file is copied to memory of exactly its size, for the sanitizers' sake. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

enum { PATH_BYTES = 4096 };

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        return -errno;
    }
    int rc = -EIO;
    uint8_t *data = NULL;
    if (fseek(file, 0, SEEK_END) != 0) {
        goto close_file;
    }
    long size = ftell(file);
    if (size < 0 || fseek(file, 0, SEEK_SET) != 0) {
        goto close_file;
    }
    data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        goto close_file;
    }
    LLVMFuzzerTestOneInput(data, (size_t)size);
    rc = 0;

close_file:
    free(data);
    fclose(file);
    return rc;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    DIR *directory = opendir(argv[1]);
    if (directory == NULL) {
        fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    unsigned count = 0;
    int rc = 0;
    for (struct dirent *entry = readdir(directory); entry != NULL && rc == 0;
         entry = readdir(directory)) {
        char path[PATH_BYTES];
        if (entry->d_name[0] == '.') {
            continue;
        }
        snprintf(path, sizeof path, "%s/%s", argv[1], entry->d_name);
        printf("%s\n", entry->d_name);
        fflush(stdout);
        rc = replay_file(path);
        count++;
    }
    closedir(directory);
    if (rc != 0 || count == 0) {
        fprintf(stderr, "%s: %s\n", argv[1], rc != 0 ? strerror(-rc) : "no files");
        return 1;
    }
    printf("%u files\n", count);
    return 0;
}
