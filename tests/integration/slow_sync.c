/* A disk that takes its time: preloaded, it makes each fdatasync() take 200 ms more. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int fdatasync(int fd)
{
    const struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};

    (void)nanosleep(&pause, NULL);
    return (int)syscall(SYS_fdatasync, fd);
}
