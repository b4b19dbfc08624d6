"""The work that a profile-guided build is made for: a part of `make optimized`.

The compiler is shown how often each way through the code is taken by a lockgate that does what it mostly does: requests, large
bodies both ways and handshakes, over HTTP/1.1 and HTTP/2. What is rare (errors, hooks, attacks) is not trained, and moved out
of the way.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import configs
import scenarios
import servers

SECONDS = 2.0
WORK = ("small", "10k", "download", "upload", "handshake", "resumed", "h2-small", "h2-download")


def main() -> int:
    """Train the build that is in place."""
    cores = sorted(os.sched_getaffinity(0))
    first, second = str(cores[0]), str(cores[-1])
    with tempfile.TemporaryDirectory(prefix="lockgate-train-") as name:
        bench = scenarios.Bench(Path(name), SECONDS, first, second, (first, second))
        configs.make_certificate(bench.folder)
        with servers.backend(bench.folder, second):
            for number, adapter in enumerate(("threads", "asyncio"), 1):
                server = servers.lockgate(adapter, adapter, "native", counting=True)
                with servers.running(server, bench.folder, servers.FIRST_PORT + number, first) as running:
                    for scenario in scenarios.SCENARIOS:
                        if scenario.name in WORK:
                            scenario.sample(bench, running)
    return 0


if __name__ == "__main__":
    sys.exit(main())
