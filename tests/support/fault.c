/* Runs a program and makes some of its system calls fail, stop short, or coincide with a signal or a command.
 *
 *     fault [-s CALL,CALL...] [-p PART] [-n N] [-i STEP] [-o FILE] [-T] ACTION -- PROGRAM ARGUMENT...
 *
 *     -s   the calls that count: read pread64 write pwrite64 copy_file_range ... (default: all of the table below)
 *     -p   only those on a file whose path has PART in it (may be given twice: either)
 *     -n   the first call that is hit, from 1; with -i every STEPth after it, too
 *     -o   where the number of calls that counted goes
 *     -T   besides, no file without a name can be made (O_TMPFILE), as on many filesystems
 *
 *     -E NAME        the call isn't made and fails with this error: EIO, ENOSPC, EINTR ...
 *     -c             reads and writes only half as much, at least one byte
 *     -r SEED,RATE   so many percent of reads and writes, by chance, are cut or fail with EINTR
 *     -k NAME        a signal first: KILL, TERM, INT
 *     -x COMMAND     a shell's command first, while the program stands still
 *
 * Exits as the program does, by the same signal if it was one. No emulation: what isn't hit, and what is cut, is done by the
 * kernel. Linux on x86-64 alone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* Which arguments are descriptors, a path, a length; -1: none. */
struct call {
    const char *name;
    long number;
    int fd, other_fd, path, length;
    int wanted;
};

static struct call calls[] = {
    {"read", SYS_read, 0, -1, -1, 2, 0},
    {"pread64", SYS_pread64, 0, -1, -1, 2, 0},
    {"write", SYS_write, 0, -1, -1, 2, 0},
    {"pwrite64", SYS_pwrite64, 0, -1, -1, 2, 0},
    {"copy_file_range", SYS_copy_file_range, 0, 2, -1, 4, 0},
    {"ftruncate", SYS_ftruncate, 0, -1, -1, -1, 0},
    {"fallocate", SYS_fallocate, 0, -1, -1, -1, 0},
    {"fsync", SYS_fsync, 0, -1, -1, -1, 0},
    {"fdatasync", SYS_fdatasync, 0, -1, -1, -1, 0},
    {"fchmod", SYS_fchmod, 0, -1, -1, -1, 0},
    {"lseek", SYS_lseek, 0, -1, -1, -1, 0},
    {"openat", SYS_openat, -1, -1, 1, -1, 0},
    {"linkat", SYS_linkat, -1, -1, 3, -1, 0},
    {"rename", SYS_rename, -1, -1, 1, -1, 0},
    {"unlink", SYS_unlink, -1, -1, 0, -1, 0},
};
#define CALLS (sizeof calls / sizeof *calls)

static const struct name { const char *name; int value; } errors[] = {
    {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EINTR", EINTR}, {"EACCES", EACCES}, {"EFBIG", EFBIG}, {"EDQUOT", EDQUOT},
    {"EMFILE", EMFILE}, {"EROFS", EROFS}, {"EOPNOTSUPP", EOPNOTSUPP}, {"EINVAL", EINVAL}, {"EXDEV", EXDEV},
}, signals[] = {{"KILL", SIGKILL}, {"TERM", SIGTERM}, {"INT", SIGINT}, {"HUP", SIGHUP}};

static const char *parts[2];
static unsigned long first = 1, step, hits, rate;
static uint64_t chance;
static int error, cut, signal_number, no_tmpfile;
static const char *command;

static void die(const char *what) {
    fprintf(stderr, "fault: %s\n", what);
    exit(125);
}

static struct call *find(long number) {
    for (size_t i = 0; i < CALLS; i++)
        if (calls[i].wanted && calls[i].number == number) return &calls[i];
    return NULL;
}

/* Stops the program at the calls that are wanted, and at no others. */
static void watch(void) {
    struct sock_filter filter[CALLS + 3];
    size_t n = 0, wanted = 0, i;
    for (i = 0; i < CALLS; i++) wanted += calls[i].wanted;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (i = 0; i < CALLS; i++)
        if (calls[i].wanted) {
            filter[n] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, wanted - n + 1, 0);
            n++;
        }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    struct sock_fprog program = {.len = n, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
        die("no seccomp filters here");
}

static int has_part(const char *path) {
    if (!parts[0]) return 1;
    for (int i = 0; i < 2; i++)
        if (parts[i] && strstr(path, parts[i])) return 1;
    return 0;
}

static int on_path(pid_t task, unsigned long long address) {
    char path[4096] = "";
    /* Up to the end of the page first: what follows may not be there. */
    size_t len = 4096 - address % 4096;
    struct iovec local = {path, len < sizeof path - 1 ? len : sizeof path - 1}, remote = {(void *)address, local.iov_len};
    ssize_t got = process_vm_readv(task, &local, 1, &remote, 1, 0);
    if (got >= 0 && !memchr(path, 0, got)) {
        local = (struct iovec){path + got, sizeof path - 1 - got};
        remote = (struct iovec){(void *)(address + got), local.iov_len};
        process_vm_readv(task, &local, 1, &remote, 1, 0);
    }
    return has_part(path);
}

static int on_fd(pid_t task, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/%d/fd/%d", task, fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    return has_part(path);
}

static uint64_t random_number(void) {
    uint64_t value = chance += 0x9e3779b97f4a7c15;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

/* A call that is about to be made. */
static void at_call(pid_t task, pid_t program) {
    struct user_regs_struct regs;
    if (ptrace(PTRACE_GETREGS, task, 0, &regs)) return;
    struct call *call = find((long)regs.orig_rax);
    if (!call) return;
    unsigned long long *arguments[] = {&regs.rdi, &regs.rsi, &regs.rdx, &regs.r10, &regs.r8, &regs.r9};
    int counts = call->path >= 0 ? on_path(task, *arguments[call->path])
                                 : on_fd(task, (int)*arguments[call->fd]) ||
                                       (call->other_fd >= 0 && on_fd(task, (int)*arguments[call->other_fd]));
    if (!counts) return;
    if (no_tmpfile && call->number == SYS_openat && (regs.rdx & O_TMPFILE) == O_TMPFILE) {
        regs.orig_rax = (unsigned long long)-1;
        regs.rax = (unsigned long long)-EOPNOTSUPP;
        ptrace(PTRACE_SETREGS, task, 0, &regs);
        return;
    }
    hits++;
    int fail = error, shorter = cut;
    if (rate) {
        if (call->length < 0 || random_number() % 100 >= rate) return;
        if (random_number() % 2) fail = EINTR;
        else shorter = 1;
    } else if (hits < first || (hits > first && (step == 0 || (hits - first) % step))) {
        return;
    }
    if (command && system(command)) die("the command failed");
    if (signal_number) kill(program, signal_number);
    if (fail) {
        regs.orig_rax = (unsigned long long)-1;
        regs.rax = (unsigned long long)-(long long)fail;
    } else if (shorter && call->length >= 0 && *arguments[call->length] > 1) {
        *arguments[call->length] /= 2;
    }
    if (fail || shorter) ptrace(PTRACE_SETREGS, task, 0, &regs);
}

static int end_as(int status, const char *out) {
    if (out) {
        FILE *file = fopen(out, "w");
        if (!file || fprintf(file, "%lu\n", hits) < 0 || fclose(file)) die("can't write the count");
    }
    if (WIFSIGNALED(status)) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(WTERMSIG(status), SIG_DFL);
        raise(WTERMSIG(status));
    }
    return WEXITSTATUS(status);
}

static int trace(pid_t program, const char *out) {
    char known[1 << 16] = {0};
    int status;
    waitpid(program, &status, __WALL);
    ptrace(PTRACE_SETOPTIONS, program, 0,
           PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
               PTRACE_O_EXITKILL);
    known[program % sizeof known] = 1;
    ptrace(PTRACE_CONT, program, 0, 0);
    for (;;) {
        pid_t task = waitpid(-1, &status, __WALL);
        if (task < 0) die("the program is lost");
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (task == program) return end_as(status, out);
            known[task % sizeof known] = 0;
            continue;
        }
        int pass = WSTOPSIG(status);
        if (status >> 16) {
            if (status >> 16 == PTRACE_EVENT_SECCOMP) at_call(task, program);
            pass = 0;
        } else if (pass == SIGSTOP && !known[task % sizeof known]) {
            /* How a new thread begins. */
            known[task % sizeof known] = 1;
            pass = 0;
        }
        ptrace(PTRACE_CONT, task, 0, pass);
    }
}

static int named(const char *name, const struct name *all, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(all[i].name, name)) return all[i].value;
    die("no such error or signal");
    return 0;
}

static void choose(char *list) {
    for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
        size_t i = 0;
        while (i < CALLS && strcmp(calls[i].name, name)) i++;
        if (i == CALLS) die("no such call");
        calls[i].wanted = 1;
    }
}

int main(int argc, char **argv) {
    const char *out = NULL;
    int option, chosen = 0, count = 0;
    while ((option = getopt(argc, argv, "+s:p:n:i:o:TE:cr:k:x:")) != -1) {
        switch (option) {
        case 's': choose(optarg); chosen = 1; break;
        case 'p': if (count == 2) die("more than two parts"); parts[count++] = optarg; break;
        case 'n': first = strtoul(optarg, NULL, 10); break;
        case 'i': step = strtoul(optarg, NULL, 10); break;
        case 'o': out = optarg; break;
        case 'E': error = named(optarg, errors, sizeof errors / sizeof *errors); break;
        case 'T': no_tmpfile = 1; break;
        case 'c': cut = 1; break;
        case 'r': if (sscanf(optarg, "%lu,%lu", &chance, &rate) != 2) die("-r SEED,RATE"); break;
        case 'k': signal_number = named(optarg, signals, sizeof signals / sizeof *signals); break;
        case 'x': command = optarg; break;
        default: die("see the top of fault.c");
        }
    }
    if (optind == argc) die("no program");
    if (!chosen) for (size_t i = 0; i < CALLS; i++) calls[i].wanted = 1;
    pid_t program = fork();
    if (program < 0) die("fork");
    if (program == 0) {
        if (ptrace(PTRACE_TRACEME, 0, 0, 0)) die("no ptrace here");
        raise(SIGSTOP);
        watch();
        execv(argv[optind], argv + optind);
        die("the program doesn't run");
    }
    return trace(program, out);
}
