"""How gunicorn serves almaFintech, beside what SERVE_* in the environment say.

gunicorn reads this file whenever it is started in this folder, and once more on SIGHUP.
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from gunicorn.glogging import Logger

sys.path.insert(0, str(Path(__file__).parent))
from almaFintech.logs import Discreet, json_formatter

worker_class = "gthread"
# Seconds for what has begun when the server is stopped; more than the longest wait for a lock.
graceful_timeout = 30
# Whether a request came by HTTPS is decided by TRUST_FORWARDED_PROTO alone.
forwarded_allow_ips = ""
# Nobody uses it, and its file would have to be guarded.
control_socket_disable = True


class JSONLogger(Logger):
    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(json_formatter())
            handler.addFilter(Discreet())


logger_class = JSONLogger


def _remove(folder: str, owner: int) -> None:
    # The workers inherit this, and the folder is not theirs alone.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


# The workers share their metrics by files. Each server begins with none, and a server that
# takes another one's place (SIGUSR2) gets its own folder; a reload keeps the one it has.
# prometheus_client must not be imported before this is set.
_prefix = f"almafintech-metrics-{os.getpid()}-"
if _prefix not in os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""):
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_prefix)
    # Not by gunicorn's on_exit, which does not run when the address is taken.
    atexit.register(_remove, os.environ["PROMETHEUS_MULTIPROC_DIR"], os.getpid())


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
