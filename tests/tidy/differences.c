/* Prints the table of differences from Redis as README.md has it, or with `--rows` the rows' names, commands and tests, with
 * tabs between. Fails where a row names a command that there is not. */
#include "differences.h"

#include <stdio.h>
#include <string.h>

#include "commands.h"

static const struct difference {
    const char *name, *commands, *shown, *what, *here;
} differences[DIFFERENCE_COUNT] = {
#define ROW(name_, commands_, shown_, what_, here_)                                                \
    {                                                                                              \
        .name = (name_),                                                                           \
        .commands = (commands_),                                                                   \
        .shown = (shown_),                                                                         \
        .what = (what_),                                                                           \
        .here = (here_),                                                                           \
    },
    DIFFERENCE_TABLE(ROW)
#undef ROW
};

static int check_commands(const struct difference *difference)
{
    int wrong = 0;

    for (const char *at = difference->commands; *at != '\0';) {
        size_t size = strcspn(at, " ");
        if (command_find(bytes_of(at, size)) == NULL) {
            fprintf(stderr, "differences.h, row %s: there is no command %.*s\n", difference->name,
                    (int)size, at);
            wrong = 1;
        }
        at += size + strspn(at + size, " ");
    }
    return wrong;
}

int main(int argc, char **argv)
{
    bool rows = argc == 2 && strcmp(argv[1], "--rows") == 0;
    int wrong = 0;

    if (argc > 1 && !rows) {
        fprintf(stderr, "usage: %s [--rows]\n", argv[0]);
        return 2;
    }
    if (!rows) {
        printf("| what | here |\n|---|---|\n");
    }
    for (size_t i = 0; i < DIFFERENCE_COUNT; i++) {
        const struct difference *row = &differences[i];
        wrong |= check_commands(row);
        if (rows) {
            printf("%s\t%s\t%s\n", row->name, row->commands, row->shown);
        } else {
            printf("| %s | %s |\n", row->what, row->here);
        }
    }
    return wrong;
}
