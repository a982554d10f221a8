/* belayctl completion bash: the script that the shell reads, the same that an installation puts in place. */
#include <stdlib.h>

#include "ctl.h"

static const char *const lines[] = {
#include "completion_lines.inc"
};

enum { LINES = sizeof lines / sizeof lines[0] };

static int print_as_json(void)
{
    char *script = NULL;
    size_t size = 0;
    FILE *text = open_memstream(&script, &size);

    if (text == NULL) {
        return ctl_print_json(NULL);
    }
    for (size_t i = 0; i < LINES; i++) {
        fputs(lines[i], text);
    }
    json_t *document =
        fclose(text) == 0 ? json_pack("{s:s, s:s}", "shell", "bash", "script", script) : NULL;
    free(script);
    return ctl_print_json(document);
}

int completion_bash_run(struct ctl *ctl, int argc, char **argv)
{
    const struct option options[] = {{NULL, OPTION_FLAG, NULL}};
    struct text_list operands;
    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);

    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (ctl->json) {
        return print_as_json();
    }
    for (size_t i = 0; i < LINES; i++) {
        fputs(lines[i], stdout);
    }
    return CTL_OK; /* Whoever called looks whether it could be written. */
}
