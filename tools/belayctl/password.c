/* `password`: the hash that belayd.conf wants of a user's password. The server is not asked. */
#include "password.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ctl.h"

static struct termios shown; /* The terminal's settings, while what is typed is not. */

static void on_signal(int number)
{
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
    signal(number, SIG_DFL);
    raise(number);
}

/* The terminal does not show what is typed, until it is shown again or a signal ends it. Returns false where it is none. */
static bool hide(void)
{
    static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};

    if (tcgetattr(STDIN_FILENO, &shown) != 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        signal(ends[i], on_signal);
    }
    struct termios hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
    return true;
}

/* Read a line without showing it. Returns false where there is none, or it is too long: said. */
static bool read_line(const char *prompt, char *line, size_t line_size)
{
    bool terminal = hide();

    if (terminal) {
        fprintf(stderr, "%s: ", prompt);
    }
    bool read = fgets(line, (int)line_size, stdin) != NULL;
    if (terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
        fputc('\n', stderr);
    }
    size_t size = read ? strcspn(line, "\r\n") : 0; /* As in BELAY_PASSWORD_FILE. */
    if (size == 0) {
        fputs("belayctl: password: there is none on the standard input\n", stderr);
        return false;
    }
    if (size > PASSWORD_BYTES_MAX) {
        fprintf(stderr, "belayctl: password: larger than %d bytes\n", PASSWORD_BYTES_MAX);
        return false;
    }
    line[size] = '\0';
    return true;
}

int password_run(struct ctl *ctl, int argc, char **argv)
{
    static const struct option options[] = {{NULL, 0, NULL}};
    static struct text_list operands;
    char line[PASSWORD_BYTES_MAX + 3], again[PASSWORD_BYTES_MAX + 3], hash[PASSWORD_TEXT_BYTES];

    int rc = arguments_parse(ctl, argc, argv, options, &operands, 0, 0);
    if (rc != CTL_OK) {
        return rc < 0 ? CTL_OK : rc;
    }
    if (!read_line("Password", line, sizeof line)) {
        return CTL_USAGE;
    }
    if (isatty(STDIN_FILENO)) {
        if (!read_line("Again", again, sizeof again)) {
            return CTL_USAGE;
        }
        if (strcmp(line, again) != 0) {
            fputs("belayctl: password: they are not the same\n", stderr);
            return CTL_USAGE;
        }
    }
    if (password_hash(bytes_of_string(line), hash) != 0) {
        fputs("belayctl: password: no memory, or no randomness, for a hash\n", stderr);
        return CTL_REFUSED;
    }
    explicit_bzero(line, sizeof line);
    explicit_bzero(again, sizeof again);
    if (ctl->json) {
        return ctl_print_json(json_pack("{s:s}", "hash", hash));
    }
    puts(hash);
    return CTL_OK;
}
