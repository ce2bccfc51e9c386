"""Serve the nodes' boot files and images: `python -m provision.lab.httpd ADDRESS PORT DIRECTORY`.

The standard library's server, less what the lab does not want: no listing of directories, nothing
outside of the directory (symbolic links included), and files sent by the kernel.
"""

import shutil
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NO_FILE = "\0"


class Handler(SimpleHTTPRequestHandler):
    """Answer GET and HEAD for regular files below the server's directory."""

    protocol_version = "HTTP/1.1"
    timeout = (
        300  # seconds; a machine that was powered off in the middle never closes its connection
    )

    def translate_path(self, path: str) -> str:
        """Map a request to a file; to a name that no file can have when it would lead outside."""
        named = super().translate_path(path)
        if NO_FILE not in named:
            found = Path(named).resolve()
            if found.is_relative_to(Path(self.directory).resolve()):
                return str(found)
        return NO_FILE

    def send_head(self) -> Any:
        """Answer for directories, and for names that no file can have, as for what is not there."""
        path = self.translate_path(self.path)
        if path == NO_FILE or not Path(path).is_file():
            self.send_error(404)
            return None
        return super().send_head()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file without copying it through Python."""
        if hasattr(self.connection, "sendfile") and hasattr(source, "fileno"):
            outputfile.flush()
            self.connection.sendfile(source)
        else:
            shutil.copyfileobj(source, outputfile)


class Server(ThreadingHTTPServer):
    """Keep going when a node hangs up in the middle of a file."""

    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in one line that a connection broke; a bug keeps its traceback."""
        error = sys.exc_info()[1]
        if isinstance(error, ConnectionError | TimeoutError):
            sys.stderr.write(f"{client_address[0]}: {error}\n")
        else:
            super().handle_error(request, client_address)


def serve(address: str, port: int, directory: Path) -> None:
    """Serve a directory until ended."""

    def handler(*arguments: Any) -> Handler:
        return Handler(*arguments, directory=str(directory))

    with Server((address, port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
