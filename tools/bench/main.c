#include "commands.h"
#include "streams.h"

static int run(int argc, char **argv)
{
    static enum bench_exit (*const commands[])(const struct bench_options *,
                                               const struct server *) = {
        [BENCH_RUN] = bench_run,
        [BENCH_AUDIT] = bench_audit,
        [BENCH_FILL] = bench_fill,
        [BENCH_CHECK] = bench_check,
    };
    struct bench_options options;
    struct server server;
    int exit_code = 0;

    if (bench_options_parse(argc, argv, &options, &exit_code) != 0) {
        return exit_code;
    }
    enum bench_exit reached = server_ask(&options, &server);
    if (reached != BENCH_GOOD) {
        return (int)reached;
    }
    return (int)commands[options.command](&options, &server);
}

int main(int argc, char **argv)
{
    streams_open("belay-bench");
    return streams_close("belay-bench", run(argc, argv));
}
