"""The most memory that a command ever had resident: ``peak.py COMMAND...`` prints it in MB.

A process of its own, and a small one: the kernel counts what a process was forked from as the child's, too.
"""

import json
import os
import sys

COUNTED_BYTES = 1 if sys.platform == "darwin" else 1024

command = sys.argv[1:]
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(command[0], command, os.environ, file_actions=quiet)
_, status, usage = os.wait4(process, 0)
print(json.dumps({"peak_mb": usage.ru_maxrss * COUNTED_BYTES / 1e6}))
sys.exit(os.waitstatus_to_exitcode(status))
