"""What hostile programs try, by family. Each body runs in `def attack(x)` and returns "OUT" only when it got what it wanted.

`x` has `file` (a readable file), `folder` (one that all may write), `parent` (the service), `port` (something listens
there) and `secret`. Those of `REAL` are run without a sandbox too, where each must succeed: an attack that cannot succeed
proves nothing. The rest would hurt whoever runs them, or needs rights that a test need not have; those of `DANGEROUS` are
one call each, and tell the name of the error that the call itself gave, so that none can fail for a mistake of its own.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Final

PROLOGUE: Final = (
    f"MACHINE = {platform.machine()!r}"
    + """
import os, sys, io, socket, ctypes, signal, time, threading, json, math, re, gc, errno, resource
import numpy as np
libc = ctypes.CDLL(None, use_errno=True)
L = ctypes.c_long
BUFFER = ctypes.create_string_buffer(256)
def nr(x86_64, aarch64):
    return x86_64 if MACHINE == 'x86_64' else aarch64
def call(number, *arguments):
    return libc.syscall(L(number), *[a if isinstance(a, ctypes._SimpleCData) or a is None or not isinstance(a, int)
                                     else L(a) for a in arguments])
def got(done):
    return "OUT" if done else "refused"
def told(attempt):
    ctypes.set_errno(0)
    try:
        done = attempt()
    except OSError as problem:
        return errno.errorcode[problem.errno]
    return "OUT" if done is not False else errno.errorcode.get(ctypes.get_errno(), "no error")
"""
)

REAL: Final[Mapping[str, Mapping[str, str]]] = {
    "files": {
        "open": "return got(open(x['file']).read())",
        "os.open": "return got(os.open(x['file'], os.O_RDONLY) >= 0)",
        "open of passwd": "return got(open('/etc/passwd').read())",
        "FileIO": "return got(io.FileIO(x['file']).read())",
        "raw open": "return got(libc.open(x['file'].encode(), 0) >= 0)",
        "raw openat": "return got(libc.openat(-100, x['file'].encode(), 0) >= 0)",
        "O_PATH": "return got(os.open('/', os.O_PATH) >= 0)",
        "write a new file": "open(x['folder'] + '/new', 'w').write('x'); return 'OUT'",
        "append": "open(x['folder'] + '/mine', 'a').write('x'); return 'OUT'",
        "a file bomb": "f = open(x['folder'] + '/bomb', 'wb'); f.write(bytes(1 << 21)); f.flush(); return 'OUT'",
        "listdir": "return got(os.listdir('/tmp') + ['.'])",
        "scandir": "return got(list(os.scandir('/')) + ['.'])",
        "stat": "return got(os.stat(x['file']).st_size)",
        "access": "return got(os.access(x['file'], os.R_OK))",
        "readlink": "return got(os.readlink(x['folder'] + '/link'))",
        "chdir": "os.chdir('/tmp'); return 'OUT'",
        "mkdir": "os.mkdir(x['folder'] + '/sub'); return 'OUT'",
        "rename": "open(x['folder'] + '/a', 'w').close(); os.rename(x['folder'] + '/a', x['folder'] + '/b'); return 'OUT'",
        "unlink": "os.unlink(x['folder'] + '/mine2'); return 'OUT'",
        "truncate": "os.truncate(x['folder'] + '/mine', 0); return 'OUT'",
        "utime": "os.utime(x['folder'] + '/mine'); return 'OUT'",
        "fifo": "os.mkfifo(x['folder'] + '/fifo'); return 'OUT'",
        "memfd": "return got(os.memfd_create('m') >= 0)",
        "temporary file": "import tempfile; tempfile.TemporaryFile(dir='/tmp'); return 'OUT'",
        "symbolic link": "os.symlink(x['file'], x['folder'] + '/s'); return got(open(x['folder'] + '/s').read())",
        "hard link": "os.link(x['folder'] + '/mine', x['folder'] + '/h'); return 'OUT'",
        "existing symbolic link": "return got(open(x['folder'] + '/link').read())",
        "statvfs": "return got(os.statvfs('/').f_bsize)",
        "inotify": "return got(libc.inotify_init() >= 0)",
    },
    "proc": {
        "own maps": "return got(open('/proc/self/maps').read())",
        "own environ": "open('/proc/self/environ').read(); return 'OUT'",
        "own mem": "open('/proc/self/mem', 'rb'); return 'OUT'",
        "parent environ": "open(f\"/proc/{x['parent']}/environ\").read(); return 'OUT'",
        "parent cmdline": "return got(open(f\"/proc/{x['parent']}/cmdline\").read())",
        "first process": "return got(open('/proc/1/stat').read())",
        "own fds": "return got(os.listdir('/proc/self/fd'))",
        "own root": "return got(os.listdir('/proc/self/root/'))",
        "parent by stat": "return got(os.stat(f\"/proc/{x['parent']}\"))",
    },
    "environment": {
        "os.environ": "return got(x['secret'] in os.environ.values())",
        "getenv": "libc.getenv.restype = ctypes.c_char_p; return got(libc.getenv(b'PLANTED') == x['secret'].encode())",
        "environ pointer": """
table = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')
found, i = [], 0
while table and table[i]:
    found.append(table[i]); i += 1
return got(any(x['secret'].encode() in entry for entry in found))""",
    },
    "sockets": {
        "tcp": "socket.socket(); return 'OUT'",
        "udp": "socket.socket(type=socket.SOCK_DGRAM); return 'OUT'",
        "tcp6": "socket.socket(socket.AF_INET6); return 'OUT'",
        "unix": "socket.socket(socket.AF_UNIX); return 'OUT'",
        "netlink": "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); return 'OUT'",
        "pair": "socket.socketpair(); return 'OUT'",
        "connect": "socket.create_connection(('127.0.0.1', x['port']), 1); return 'OUT'",
        "raw call": "return got(call(nr(41, 198), 2, 1, 0) >= 0)",
        "listen": "socket.create_server(('127.0.0.1', 0)); return 'OUT'",
        "pipe": "os.pipe(); return 'OUT'",
        "eventfd": "return got(libc.eventfd(0, 0) >= 0)",
    },
    "processes": {
        "fork": """
pid = os.fork()
if pid == 0: os._exit(0)
return 'OUT'""",
        "forkpty": """
pid, _ = os.forkpty()
if pid == 0: os._exit(0)
return 'OUT'""",
        "libc fork": """
pid = libc.fork()
if pid == 0: os._exit(0)
return got(pid > 0)""",
        "raw clone": """
pid = call(nr(56, 220), 17, 0, 0, 0, 0)
if pid == 0: os._exit(0)
return got(pid > 0)""",
        "raw clone3": """
arguments = (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17, 0, 0, 0)
pid = call(435, ctypes.byref(arguments), 64)
if pid == 0: os._exit(0)
return got(pid > 0)""",
        "posix_spawn": "return got(os.posix_spawn('/bin/true', ['true'], {}))",
        "system": "return got(os.system('true') == 0)",
        "libc system": "return got(libc.system(b'true') == 0)",
        "subprocess": "import subprocess; return got(subprocess.run(['true']).returncode == 0)",
        "multiprocessing": "import multiprocessing as m; p = m.Process(target=print); p.start(); p.join(); return 'OUT'",
    },
    "signals": {
        "probe the parent": "os.kill(x['parent'], 0); return 'OUT'",
        "probe the caller": "os.kill(os.getppid(), 0); return 'OUT'",
        "probe all": "os.kill(-1, 0); return 'OUT'",
        "probe itself": "os.kill(os.getpid(), 0); return 'OUT'",
        "raw tgkill": "p = os.getpid(); return got(call(nr(234, 131), p, p, 0) == 0)",
        "pidfd": "return got(os.pidfd_open(os.getpid()) >= 0)",
    },
    "kernel": {
        "executable memory": "return got(libc_mmap(7))",
        "make memory executable": """
import mmap
m = mmap.mmap(-1, 4096)
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
return got(libc.mprotect(address, 4096, 5) == 0)""",
        "prctl dumpable": "return got(libc.prctl(4, L(1), L(0), L(0), L(0)) == 0)",
        "getrlimit of another": "import resource; return got(resource.prlimit(os.getppid(), resource.RLIMIT_CPU))",
        "shared memory": "return got(libc.shmget(0, 4096, 0o1600) >= 0)",
        "peek at its own memory": """
class V(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('size', ctypes.c_size_t)]
number = nr(310, 270)
source = ctypes.create_string_buffer(b'hello'); a = V(ctypes.addressof(source), 5); b = V(ctypes.addressof(BUFFER), 5)
return got(call(number, os.getpid(), ctypes.byref(b), 1, ctypes.byref(a), 1, 0) == 5)""",
        "ptrace": "return got(libc.ptrace(L(0), L(0), None, None) == 0)",
        "set priority": "os.setpriority(os.PRIO_PROCESS, 0, 19); return 'OUT'",
        "set affinity": "os.sched_setaffinity(0, os.sched_getaffinity(0)); return 'OUT'",
        "host memory": "return got(libc.sysinfo(BUFFER) == 0)",
        "umask": "os.umask(0o22); return 'OUT'",
        "session": "return got(os.getsid(0) >= 0)",
    },
    "imports": {
        "by path": "sys.path.insert(0, x['folder']); import planted; return planted.WORD",
        "a loader": """
from importlib.machinery import SourceFileLoader
return SourceFileLoader('planted2', x['folder'] + '/planted.py').load_module().WORD""",
        "a hook": """
import importlib.util
class Hook:
    def find_spec(self, name, path=None, target=None):
        return importlib.util.spec_from_file_location(name, x['folder'] + '/planted.py') if name == 'zz' else None
sys.meta_path.insert(0, Hook())
import zz
return zz.WORD""",
        "a library": "ctypes.CDLL(x['library']); return 'OUT'",
    },
    "numpy": {
        "load": "return got(np.load(x['folder'] + '/a.npy').size)",
        "fromfile": "return got(np.fromfile(x['file'], dtype=np.uint8).size)",
        "loadtxt": "return got(np.loadtxt(x['folder'] + '/a.txt').size)",
        "genfromtxt": "return got(np.genfromtxt(x['folder'] + '/a.txt').size)",
        "memmap": "return got(np.memmap(x['file'], dtype=np.uint8, mode='r').size)",
        "save": "np.save(x['folder'] + '/b.npy', np.zeros(3)); return 'OUT'",
        "tofile": "np.zeros(3).tofile(x['folder'] + '/c.bin'); return 'OUT'",
    },
}
REAL_PROLOGUE: Final = (
    PROLOGUE
    + """
def libc_mmap(protection):
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    return libc.mmap(None, 4096, protection, 0x22, -1, 0) != ctypes.c_void_p(-1).value
"""
)

# One expression each, which is False or raises when it is refused.
DANGEROUS: Final[Mapping[str, Mapping[str, str]]] = {
    "signals": {
        "kill the parent": "os.kill(x['parent'], 9)",
        "kill the caller": "os.kill(os.getppid(), 9)",
        "kill all": "os.kill(-1, 9)",
        "kill the group": "os.killpg(0, 9)",
        "queue a signal": "call(nr(129, 138), x['parent'], 9, BUFFER) == 0",
    },
    "processes": {
        "execve": "os.execv('/bin/true', ['true'])",
        "execveat": "call(nr(322, 281), -100, b'/bin/true', None, None, 0) == 0",
        "vfork": "call(nr(58, 220), 0x4111, 0, 0, 0, 0) > 0",
        "a fork bomb": "[os.fork() for _ in iter(int, 1)]",
    },
    "kernel": {
        "another user": "os.setuid(0)",
        "another group": "os.setgid(0)",
        "unshare user": "libc.unshare(0x10000000) == 0",
        "unshare net": "libc.unshare(0x40000000) == 0",
        "setns": "libc.setns(0, 0) == 0",
        "mount": "libc.mount(b'none', b'/tmp', b'tmpfs', L(0), None) == 0",
        "chroot": "os.chroot('/')",
        "attach": "libc.ptrace(L(16), L(x['parent']), None, None) == 0",
        "io_uring": "call(425, 4, BUFFER) >= 0",
        "bpf": "call(nr(321, 280), 0, BUFFER, 128) >= 0",
        "keyctl": "call(nr(250, 219), 0, -3, 1) >= 0",
        "userfaultfd": "call(nr(323, 282), 1) >= 0",
        "perf": "call(nr(298, 241), BUFFER, 0, -1, -1, 0) >= 0",
        "a handle": "call(nr(303, 264), -100, b'/', BUFFER, BUFFER, 0) >= 0",
        "x32": "call(0x40000000 + 39) > 0",
        "more memory": "libc.prlimit(0, 9, (ctypes.c_uint64 * 2)(1 << 62, 1 << 62), None) == 0",
        "another filter": "libc.prctl(22, L(2), BUFFER, L(0), L(0)) == 0",
        "a raw packet": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "icmp": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
        "vsock": "socket.socket(socket.AF_VSOCK)",
        "kernel crypto": "socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET)",
        "capabilities": "call(nr(126, 91), (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(1, 1)) == 0",
        "mknod": "os.mknod('zz', 0o20666, os.makedev(1, 1))",
    },
}
# A call of another architecture ends the process; all others are refused with this error.
REFUSED: Final = {"x32": "killed: the program ended its process: SIGSYS"}
REFUSED_BY_ERROR: Final = "None: EPERM"

# What they must end as; none of them may end as a value.
BOMBS: Final[Mapping[str, tuple[str, str]]] = {
    "3 GB": ("memory", "return len(bytearray(3 << 30))"),
    "3 GB of numpy": ("memory", "return int(np.ones(3 << 27).sum())"),
    "a growing list": ("memory", "a = [0]\nwhile True: a += a"),
    "a long text": ("memory", "return len('x' * (3 << 30))"),
    "a loop": ("timeout", "while True: pass"),
    "a loop that catches": (
        "timeout",
        "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    ),
    "no alarm": ("timeout", "signal.signal(signal.SIGALRM, signal.SIG_IGN)\nwhile True: pass"),
    "no timer": ("timeout", "signal.setitimer(signal.ITIMER_REAL, 0)\nwhile True: pass"),
    "sleep": ("timeout", "while True:\n    try: time.sleep(60)\n    except BaseException: pass"),
    "one long step": ("timeout", "return re.match('(a+)+$', 'a' * 64 + 'b')"),
    "a huge power": ("timeout", "return len(str(pow(7, 10**8)).encode())"),
    "a closed result": ("killed", "os.closerange(0, 100)\nwhile True: pass"),
    "_exit": ("killed", "os._exit(0)"),
    "abort": ("killed", "os.abort()"),
    "a wild pointer": ("killed", "ctypes.string_at(1)"),
    "a flood into every descriptor": (
        "output",
        """
while True:
    for d in range(1, 32):
        try: os.write(d, b'z' * 60000)
        except OSError: pass""",
    ),
    "a long value": ("output", "return 'x' * (1 << 20)"),
    "many long values": ("output", "return [list(range(100000))]"),
    "exit": ("error", "sys.exit(0)"),
    "deep recursion": ("error", "def f(): return f()\nreturn f()"),
    "a deep value": ("error", "a = []\nfor _ in range(500): a = [a]\nreturn a"),
    "a loop in itself": ("error", "a = []; a.append(a); return a"),
    "a value that raises": ("error", "class A(dict):\n    def items(self): raise KeyError(1)\nreturn A(a=1)"),
    "not a number": ("error", "return float('nan')"),
    "half a character": ("error", "return '\\ud800'"),
    "an exception that cannot be shown": ("error", "class E(Exception):\n    def __str__(self): raise self\nraise E"),
    "a stray line": ("error", "os.write(3, b'nonsense\\n'); return 1"),
    "a line that is not text": ("error", "os.write(3, b'\\xff\\xfe\\x00\\n'); return 1"),
    "a line that is too deep": ("error", "os.write(3, b'[' * 20000 + b'\\n'); return 1"),
    "infinity by hand": ("error", "os.write(3, b'[1e999, null, null, \"\"]\\n'); return 1"),
    "an early end": ("error", "os.write(3, b'\\x1e\\x1e\\x1e'); return 1"),
}

DEEP_SOURCES: Final = {
    "brackets": "x = " + "(" * 5000 + ")" * 5000,
    "minus signs": "x = " + "-" * 200_000 + "1",
    "attributes": "x = a" + ".a" * 100_000,
    "a null": "x = '\0'",
}


def source(body: str) -> str:
    """An attack as a program."""
    return REAL_PROLOGUE + "def attack(x):\n" + "\n".join("    " + line for line in body.strip("\n").split("\n")) + "\n"
