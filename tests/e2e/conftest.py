"""What the end-to-end tests share: certificates, nginx, and lockgate under each adapter in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme
from support_e2e import ADAPTERS, Certificates, Lockgate, Nginx, lockgate, made_file, nginx
from support_ports import free_port


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def web(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Nginx]:
    """nginx, the same for all tests: none of them changes what another one sees."""
    with nginx(tmp_path_factory.mktemp("nginx"), certificates.issue("backend.test")) as service:
        yield service


@pytest.fixture(scope="session")
def page(web: Nginx) -> Path:
    return made_file(web.files / "page.bin", 5000)


@pytest.fixture(scope="session")
def big(web: Nginx) -> Path:
    return made_file(web.files / "big.bin", 40 << 20)


Serve = Callable[..., Lockgate]


@contextmanager
def _serving(folder: Path, certificates: Certificates) -> Iterator[Serve]:
    chain, key = certificates.issue("localhost", "127.0.0.1")
    with ExitStack() as stack:

        def start(*backends: int, adapter: str = "threads", arguments: tuple[str | Path, ...] = ()) -> Lockgate:
            port = free_port()
            flags: list[str | Path] = ["--listen", f"127.0.0.1:{port}", "--cert", chain, "--key", key]
            for backend in backends:
                flags += ["--backend", f"127.0.0.1:{backend}"]
            flags += ["--adapter", adapter, "--workers", "1", "--access-log", "-", *arguments]
            return stack.enter_context(lockgate(folder, certificates.ca, *flags, port=port))

        yield start


@contextmanager
def _serving_toml(folder: Path, certificates: Certificates) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(
            configuration: str, adapter: str = "threads", gear: str = "auto", state: Path | None = None
        ) -> Lockgate:
            port = free_port()
            path = folder / f"lockgate-{port}.toml"
            more = f'state = "{state}"\n' if state is not None else ""
            path.write_text(f'adapter = "{adapter}"\ngear = "{gear}"\nworkers = 1\naccess_log = "-"\n{more}\n'
                            f'[[listen]]\naddress = "127.0.0.1:{port}"\n\n{configuration}')  # fmt: skip
            return stack.enter_context(lockgate(folder, certificates.ca, "-c", path, port=port))

        yield start


@pytest.fixture
def serve(tmp_path: Path, certificates: Certificates) -> Iterator[Serve]:
    """A function that starts lockgate for localhost before the backends on these ports; stopped after the test."""
    with _serving(tmp_path, certificates) as start:
        yield start


@pytest.fixture
def serve_toml(tmp_path: Path, certificates: Certificates) -> Iterator[Serve]:
    """A function that starts lockgate with a configuration file; a listener of the name `{port}` is put in front."""
    with _serving_toml(tmp_path, certificates) as start:
        yield start


@pytest.fixture(scope="module")
def serve_once(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Serve]:
    """Like `serve`, for all tests of a module: those that leave lockgate as it was."""
    with _serving(tmp_path_factory.mktemp("lockgate"), certificates) as start:
        yield start


@pytest.fixture(scope="module")
def serve_toml_once(tmp_path_factory: pytest.TempPathFactory, certificates: Certificates) -> Iterator[Serve]:
    """The same with a configuration file."""
    with _serving_toml(tmp_path_factory.mktemp("lockgate"), certificates) as start:
        yield start


@pytest.fixture(params=ADAPTERS, scope="module")
def gate(request: pytest.FixtureRequest, serve_once: Serve, web: Nginx) -> Lockgate:
    """lockgate in front of nginx, under each adapter in turn; for all tests of a module that leave it as it was."""
    return serve_once(web.port, adapter=request.param)


@pytest.fixture(params=ADAPTERS)
def own_gate(request: pytest.FixtureRequest, serve: Serve, web: Nginx) -> Lockgate:
    """The same for one test: one that stops it, or measures its memory."""
    return serve(web.port, adapter=request.param)
