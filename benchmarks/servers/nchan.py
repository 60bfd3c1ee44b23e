"""Nchan in an nginx of its own: ``python -m benchmarks.servers.nchan PORT``.

The process becomes nginx, so that nothing else is measured. nginx writes into a folder beside the
database of the run, which is deleted with it.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

MODULE = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")

# By default a connection that publishes is closed after 1000 requests.
CONFIGURATION = """
load_module {module};
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    {paths}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        nchan_channel_id $arg_id;
        location = /sub {{
            nchan_subscriber websocket;
            nchan_subscriber_first_message newest;
        }}
        location = /pub {{
            nchan_publisher;
            nchan_message_buffer_length 0;
        }}
    }}
}}
"""


def nginx() -> str:
    """The path of nginx, or an empty text. The PATH of a user often lacks /usr/sbin."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin") or ""


def main(port: int) -> None:
    folder = tempfile.mkdtemp(prefix="nchan-", dir=Path(os.environ["BENCH_DATABASE"]).parent)
    paths = "\n    ".join(f"{path}_temp_path {folder}/{path};" for path in PATHS)
    written = CONFIGURATION.format(module=MODULE, folder=folder, port=port, paths=paths)
    configuration = Path(folder, "nginx.conf")
    configuration.write_text(written)
    os.execv(nginx(), ["nginx", "-p", folder, "-c", str(configuration), "-e", "stderr"])


if __name__ == "__main__":
    main(int(sys.argv[1]))
