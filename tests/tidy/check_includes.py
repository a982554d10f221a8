"""Includes go in one direction, third-party headers stop at one folder, proto and core are pure.

Purity is checked twice: by what their files include, and by what their compiled code calls.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import tree

# Folder: the folders whose headers it may include. The longest matching folder of a file counts.
ALLOWED = {
    "proto": ["proto"],
    "server/archive": ["proto", "server/core", "server/archive"],
    "server/auth": ["proto", "server/auth"],
    "server/cluster": ["proto", "server/core", "server/cluster"],
    "server/core": ["proto", "server/core"],
    "server/resp": ["proto", "server/core", "server/resp"],
    "server/uring": ["proto", "server/auth", "server/cluster", "server/core", "server/resp",
                     "server/uring"],
    "server/store": ["proto", "server/cluster", "server/core", "server/store"],
    "server/control": ["proto", "server/auth", "server/cluster", "server/core", "server/control"],
    "server": ["proto", "server"],
    "client/examples": [],
    "client": ["proto", "client"],
    "tools": ["proto", "client", "tools"],
    "tests": ["proto", "server", "client", "tools", "tests"],
}

# Single headers that another folder may include all the same, with the reason.
EXCEPTIONS = {
    # The data plane writes the log, whose format, segments and staging belong to the store. What the archive has of it
    # is written as the items of a batch are.
    "server/store/segments.h": ["server/uring"],
    "server/store/log_format.h": ["server/archive", "server/uring"],
    "server/store/staging.h": ["server/uring"],
    # The control loop runs Raft over its store.
    "server/store/raft_storage.h": ["server/control"],
    # The handshake of nodes proves the secret of the cluster; a proof is a function of its arguments.
    "server/auth/peer_proof.h": ["server/cluster"],
    # belayctl makes the hashes that belayd checks.
    "server/auth/password.h": ["tools"],
    # belayctl shows what lies in the store's files, and in the archive's objects, which prints records as the store does.
    "server/archive/archive_dump.h": ["tools"],
    "server/archive/archive_key_file.h": ["tools"],
    "server/store/dump.h": ["server/archive", "tools"],
    # belayctl checks and reads archives, and puts what is in them back.
    "server/archive/archive_check.h": ["tools"],
    "server/archive/archive_reading.h": ["tools"],
    "server/archive/archive_retention.h": ["tools"],
    "server/core/adopt.h": ["tools"],
    "server/core/rename.h": ["tools"],
    "server/core/session.h": ["tools"],
    # What holds for the standard streams of every program.
    "server/streams.h": ["tools"],
}

# Third-party header (a prefix of its name): the folders that may know it.
THIRD_PARTY = {
    "liburing": ["server/uring"],
    "lmdb.h": ["server/store"],
    "microhttpd.h": ["server/control"],
    "uv.h": ["server/archive", "server/control", "client", "tools/bench"],
    "ini.h": ["server"],
    "jansson.h": ["server/control", "server/config_print.c", "tools"],
    "hiredis/": ["tools/belayctl", "tools/bench"],
    "systemd/": ["server/control", "server"],
    "protobuf-c/": ["server/uring", "client"],
    "belay.pb-c.h": ["server/uring", "client"],
    "xxhash.h": ["server/core"],
    "argon2.h": ["server/auth"],
    "nettle/": ["server/auth", "server/resp"],
    "curl/": ["server/archive"],
    "expat.h": ["server/archive"],
    "openssl/": ["server/archive"],
    "zstd": ["server/archive"],
    "cmocka.h": ["tests"],
    "belay/belay.h": ["client", "tools"],
}

PURE_FOLDERS = ["proto", "server/cluster", "server/core"]
PURE_HEADERS = {"assert.h", "errno.h", "stdbool.h", "stddef.h", "stdint.h", "stdlib.h", "string.h",
                "xxhash.h", "nmmintrin.h", "wmmintrin.h"}
PURE_CALLS = re.compile(r"(mem|str|XXH|__mem|__str)\w+|qsort|bsearch|__assert_fail|__cpu_model|"
                        r"peer_prove|peer_proof_is_right|"
                        r"__(ubsan|asan|tsan|sanitizer|stack_chk)\w*|_GLOBAL_OFFSET_TABLE_")

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def inside(path, folder):
    return path == Path(folder) or Path(folder) in path.parents


def folder_of(path):
    found = [folder for folder in ALLOWED if inside(path, folder)]
    return max(found, key=len) if found else None


def project_header(name, includer, headers):
    """The file that this include means: beside its includer, else in a folder it may look into."""
    found = [path for path in headers if path == Path(name) or str(path).endswith("/" + name)]
    if includer.parent / name in found:
        return includer.parent / name
    allowed = [path for path in found
               if any(inside(path, folder) for folder in ALLOWED[folder_of(includer)])]
    return (allowed or found or [None])[0]


def check_include(path, name, headers):
    """What is wrong with `path` including `name`, or None."""
    folder = folder_of(path)
    if folder in PURE_FOLDERS:
        if name not in PURE_HEADERS and project_header(name, path, headers) is None:
            return f"{folder} is pure and may not include <{name}>"
    for prefix, folders in THIRD_PARTY.items():
        if name.startswith(prefix):
            if inside(path, "tests") or any(inside(path, allowed) for allowed in folders):
                return None
            return f"<{name}> stops at {', '.join(folders)}"
    header = project_header(name, path, headers)
    if header is None or folder in EXCEPTIONS.get(str(header), []):
        return None
    if not any(inside(header, allowed) for allowed in ALLOWED[folder]):
        return f"{folder} may not include {header}"
    return None


def check_files():
    wrong = []
    sources = [path for path in tree.files(".c", ".h") if folder_of(path) is not None]
    headers = [path for path in sources if path.suffix == ".h"]
    for path in sources:
        text = (tree.TOP / path).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            include = INCLUDE.match(line)
            problem = check_include(path, include[2], headers) if include else None
            if problem:
                wrong.append(f"{path}:{number}: {problem}")
    return wrong


def check_calls():
    """What the compiled pure libraries need from outside."""
    build = Path(os.environ["BELAY_BUILD"])
    libraries = [build / "proto/libproto.a", build / "server/core/libbelay-core.a",
                 build / "server/cluster/libbelay-cluster.a"]
    needed, defined = {}, set()
    for library in libraries:
        listed = subprocess.run(["nm", library], capture_output=True, text=True, check=True).stdout
        member = ""
        for line in listed.splitlines():
            if line.endswith(":"):
                member = line[:-1]
            fields = line.split()
            if len(fields) == 2 and fields[0] == "U":
                needed.setdefault(fields[1], f"{library.name}({member})")
            elif len(fields) == 3:
                defined.add(fields[2])
    return [f"{where}: pure code may not call {name}()" for name, where in sorted(needed.items())
            if name not in defined and not PURE_CALLS.fullmatch(name)]


def main():
    wrong = check_files() + check_calls()
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
