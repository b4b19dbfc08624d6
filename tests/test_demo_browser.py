"""The demo in a browser: Chromium trusts the demo's CA, as a user would set it up, and uses the site by its links."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from support_demo import Demo, running_demo

from lockgate.server.demo_catalogue import PRODUCTS, price_history

CHROMIUM = shutil.which("chromium")
expect.set_options(timeout=60_000)  # a busy machine is no failure
QUIET = (
    "--no-sandbox", "--headless", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with running_demo(tmp_path_factory.mktemp("browser") / "state") as demo:
        yield demo


@pytest.fixture(scope="module")
def browser(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium with a home of its own, in which the CA is trusted in the way that the demo says."""
    home = tmp_path_factory.mktemp("home")
    database = home / ".pki" / "nssdb"
    database.mkdir(parents=True)
    environment = {**os.environ, "HOME": str(home)}
    trust, no_more = demo.find(r"Chrome on Linux +(.*)\n"), demo.find(r"Chrome on Linux.*\n +no more +(.*)\n")
    for command in (f"certutil -d sql:{database} -N --empty-password", trust, no_more, trust):
        subprocess.run(["bash", "-c", command], env=environment, check=True, timeout=120)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET), env=environment)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained about. A test takes out what it expects."""
    return []


@pytest.fixture
def page(browser: Browser, complaints: list[str]) -> Iterator[Page]:
    """A fresh tab without cookies."""
    context = browser.new_context()
    page = context.new_page()

    def failed(request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # what the browser says of what it has stopped itself
            complaints.append(f"{request.url}: {request.failure}")

    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", failed)
    yield page
    context.close()
    assert complaints == []


@pytest.fixture
def site(demo: Demo) -> str:
    return f"https://localhost:{demo.https_port}"


def test_sign_in_browse_search_download_sign_out(page: Page, complaints: list[str], demo: Demo, site: str) -> None:
    response = page.goto(f"http://localhost:{demo.http_port}/")
    assert response is not None
    assert page.url == f"{site}/"
    security = response.security_details()
    assert security is not None
    assert security["protocol"] == "TLS 1.3"
    assert security["issuer"].startswith("lockgate local CA")
    expect(page.get_by_role("listitem")).to_have_count(len(PRODUCTS))

    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Name").fill("demo")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("The name or the password is not right.")
    assert "403" in complaints.pop()
    page.get_by_label("Password").fill(demo.password)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Good to see you, demo")

    page.get_by_role("link", name=re.compile("Tunnel lamp")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Tunnel lamp")
    assert page.url == f"{site}/products/lamp"
    assert page.get_by_role("img", name="Tunnel lamp").evaluate("image => image.complete && image.naturalWidth") == 320

    page.get_by_role("searchbox").fill('steel "><script>')
    page.get_by_role("searchbox").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text('0 products for “steel "><script>”')
    page.get_by_role("searchbox").fill("steel")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("listitem")).to_have_count(3)

    page.get_by_role("link", name="Shop", exact=True).click()
    with page.expect_download() as downloading:
        page.get_by_role("link", name="price history").click()
    assert downloading.value.suggested_filename == "price-history.csv"
    assert Path(downloading.value.path()).read_bytes() == b"".join(price_history())

    page.get_by_role("link", name="Your request").click()
    expect(page.get_by_role("row", name="x-forwarded-proto https")).to_be_visible()

    page.get_by_role("link", name="demo", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Hello, demo")
    assert {cookie["name"]: (cookie["secure"], cookie["httpOnly"]) for cookie in page.context.cookies()} == {
        "__Host-session": (True, True),
        "__Host-form": (True, True),
    }
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Everything for the next lock")
    assert [cookie["name"] for cookie in page.context.cookies()] == ["__Host-form"]
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()


def test_many_pictures_at_once_over_kept_connections(page: Page, site: str) -> None:
    pictures: list[int] = []
    page.on("response", lambda response: pictures.append(response.status) if "/pictures/" in response.url else None)
    page.goto(f"{site}/")
    page.wait_for_load_state("networkidle")
    assert pictures.count(200) >= len(PRODUCTS) + 1
    assert set(pictures) == {200}
    loaded = page.eval_on_selector_all("img", "images => images.every(image => image.naturalWidth > 0)")
    assert loaded


@pytest.mark.parametrize("width", [360, 1280])
def test_no_page_is_wider_than_the_window(page: Page, site: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    for path in ("/", "/products/kettle", "/request", "/login", "/search?q=" + "m" * 100):
        page.goto(site + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
