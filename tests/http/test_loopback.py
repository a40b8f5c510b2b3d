"""The admin plane against other sites' pages: what a browser would send for them is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from bootserver.config import Config
from bootserver.http.loopback import is_loopback
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.isos import make_iso


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        yield admin


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8081",
        "127.0.0.1",
        "127.1.2.3:80",
        "[::1]",
        "[::1]:8081",
        "a.localhost",
    ],
)
def test_loopback_names_are_ours(host: str):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8081",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.1",
        "0.0.0.0",
        "[::]",
        "evil@127.0.0.1",
        "127.0.0.1/x",
        "localhost:x",
        "[::1",
        "2130706433",
        "::1",
    ],
)
def test_other_names_are_not(host: str):
    assert not is_loopback(host)


@pytest.mark.parametrize("path", ["/", "/healthz", "/metrics", "/api/v1/boots", "/nothing"])
async def test_a_name_that_was_rebound_to_us_gets_nothing(admin: Admin, path: str):
    status, _, body = await admin.raw(admin.url + path, headers={"Host": "evil.example"})

    assert status == 421
    assert b"rescue" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://{host}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_a_page_of_another_site_changes_nothing(admin: Admin, headers: dict[str, str]):
    host = admin.url.removeprefix("http://")
    headers = {name: value.format(host=host) for name, value in headers.items()}

    await admin.ask("/images/rescue", "DELETE", expect=403, headers=headers)
    await admin.ask("/stubs", "POST", expect=403, json={}, headers=headers)

    assert (admin.services.config.images.path / "rescue.iso").exists()


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_what_a_form_can_send_is_refused(admin: Admin, content_type: str):
    options = (
        {"headers": {"Content-Type": content_type}}
        if content_type
        else {"skip_auto_headers": ["Content-Type"]}
    )
    for path in ("/stubs", "/profiles", "/images?name=x"):
        await admin.ask(path, "POST", expect=415, data=b"{}", **options)


async def test_our_own_page_may_write(admin: Admin):
    headers = {"Origin": admin.url, "Sec-Fetch-Site": "same-origin"}

    await admin.ask("/stubs", "POST", expect=201, json={"image": "rescue"}, headers=headers)
    await admin.ask("/images/rescue", "DELETE", expect=204, headers=headers)


async def test_no_answer_invites_another_site(admin: Admin):
    for path in ("/", "/api/v1/boots", "/api/v1/nothing", "/metrics"):
        _, headers, _ = await admin.raw(admin.url + path, headers={"Origin": "http://evil.example"})
        assert "Access-Control-Allow-Origin" not in headers
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_a_preflight_is_not_granted(admin: Admin):
    status, headers, _ = await admin.raw(
        "/images/rescue",
        "OPTIONS",
        headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"},
    )

    assert status == 405
    assert "Access-Control-Allow-Methods" not in headers
