"""What a request means: doubled slashes, queries of machines, braces, and what a proxy tells."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator

import pytest
from multidict import CIMultiDict
from yarl import URL

from bootserver.config import Config
from bootserver.http.incoming import Forwarded, forwarded, is_host, machine_query, plain_address
from tests.fixtures.admin import Admin, running_admin
from tests.fixtures.boots import Boots, running_boots
from tests.fixtures.isos import make_iso

BRACES = "re{scue} {} 50%"
LIVE = {
    ".disk/info": b"Debian",
    "live/vmlinuz": b"kernel" * 1000,
    "live/initrd.img": b"initrd" * 1000,
    "live/filesystem.squashfs": b"hsqs" * 1000,
}
TRUSTED = [ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")]


@pytest.fixture
async def boots(config: Config) -> AsyncIterator[Boots]:
    make_iso(config.images.path / "rescue.iso", {"efi/x": b"x"}, bios=True)
    make_iso(config.images.path / f"{BRACES}.iso", bios=True, uefi=True, volume_id="BRACES")
    boot = config.boot.model_copy(update={"open_menu": True})
    async with running_boots(config.model_copy(update={"boot": boot})) as boots:
        yield boots


# ---- Slashes ----


@pytest.mark.parametrize(
    "path",
    [
        "//boot.ipxe",
        "/nbp//memdisk",
        "//nbp///memdisk",
        "/b//{token}/image.iso",
        "/b/{token}//image.iso",
        "/b/{token}/tree//efi//x",
        "//b//{token}//stub.iso",
        "/b/{token}//boot.ipxe?mac=52:54:00:12:34:56",
    ],
)
async def test_doubled_slashes_are_one(boots: Boots, path: str):
    path = path.format(token=await boots.token())

    async with boots.http.get(URL(boots.url + path, encoded=True)) as answer:
        assert answer.status == 200


async def test_doubled_slashes_are_one_on_the_admin_plane(config: Config):
    async with running_admin(config) as admin:
        for path in ("//", "//healthz", "/api//v1/images", "//api/v1//openapi.json"):
            async with admin.http.get(URL(admin.url + path, encoded=True)) as answer:
                assert answer.status == 200, path


# ---- Queries ----


async def test_a_plus_in_what_a_machine_says_is_a_plus(boots: Boots):
    url = f"{boots.url}/b/{await boots.token()}/boot.ipxe"
    said = "serial=A+B%2bC%20D&asset=x+1&manufacturer=M+M&product=P%2B&platform=pcbios&dimms=0004"

    async with boots.http.get(URL(f"{url}?{said}", encoded=True)) as answer:
        assert answer.status == 200
    await boots.ledger.flush()
    [boot] = await boots.store.recent(10)

    machine = boot.machine
    assert (machine.serial, machine.asset) == ("A+B+C D", "x+1")
    assert (machine.manufacturer, machine.product) == ("M+M", "P+")


def test_a_query_is_what_its_percents_say():
    assert machine_query("a=1+2&b=%C3%A9&c=%ff&d&a=3&=x&e=a=b") == {
        "a": "1+2",
        "b": "é",
        "c": "\ufffd",
        "d": "",
        "": "x",
        "e": "a=b",
    }


# ---- Braces and long names ----


async def test_an_image_with_braces_in_its_name_is_chosen_from_the_menu(boots: Boots):
    token = await boots.token("")
    await boots.script(token)

    script = await boots.script(token, picked=BRACES)

    assert "/nbp/memdisk" in script


async def test_the_api_knows_an_image_with_braces_in_its_name(config: Config):
    make_iso(config.images.path / f"{BRACES}.iso", bios=True)
    path = "/images/re%7Bscue%7D%20%7B%7D%2050%25"
    async with running_admin(config) as admin:
        found = await admin_get(admin, path)
        explained = await admin_get(admin, f"{path}/explain")

    assert found["id"] == BRACES
    assert explained["recipe"] == "disc"


async def admin_get(admin: Admin, path: str) -> dict[str, object]:
    """What the API has there; the path is sent as it stands."""
    async with admin.http.get(URL(f"{admin.url}/api/v1{path}", encoded=True)) as answer:
        assert answer.status == 200, await answer.text()
        found: dict[str, object] = await answer.json()
        return found


@pytest.mark.parametrize("character", ["x", "é"])
async def test_an_image_whose_name_leaves_no_room_for_a_side_car_boots(
    config: Config, character: str
):
    size = len(character.encode())
    image = "a" * (251 % size) + character * (251 // size)
    make_iso(config.images.path / "short.iso", bios=True).rename(
        config.images.path / f"{image}.iso"
    )

    async with running_boots(config) as boots:
        script = await boots.script(await boots.token(image))

    assert "/nbp/memdisk" in script


async def test_an_image_with_such_a_name_is_shown_and_removed(config: Config):
    image = "x" * 251
    make_iso(config.images.path / f"{image}.iso", bios=True)
    async with running_admin(config) as admin:
        settings = await admin_get(admin, f"/images/{image}/settings")
        _, headers, _ = await admin.raw(f"/images/{image}/settings")
        problem = await admin.ask(
            f"/images/{image}/settings",
            "PUT",
            expect=422,
            json={"title": "Long"},
            headers={"If-Match": headers["ETag"]},
        )
        await admin.ask(f"/images/{image}", "DELETE", expect=204)

    assert settings["title"] == ""
    assert "shorter name" in problem["hint"]
    assert list(config.images.path.iterdir()) == []


# ---- Proxies ----


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, Forwarded()),
        ({"X-Forwarded-For": "203.0.113.5"}, Forwarded("203.0.113.5")),
        (
            {
                "X-Forwarded-For": "10.9.9.9, 203.0.113.5",
                "X-Forwarded-Proto": "https",
                "X-Forwarded-Host": "boot.example:8443",
            },
            Forwarded("203.0.113.5", "https", "boot.example:8443"),
        ),
        ({"X-Forwarded-For": "203.0.113.5, 192.0.2.7"}, Forwarded("203.0.113.5")),
        ({"X-Forwarded-For": "192.0.2.8, 192.0.2.7"}, Forwarded("192.0.2.8")),
        ({"X-Forwarded-For": "203.0.113.5:4711"}, Forwarded("203.0.113.5")),
        ({"X-Forwarded-For": "::ffff:203.0.113.5"}, Forwarded("203.0.113.5")),
        ({"X-Forwarded-For": "unknown"}, Forwarded()),
        ({"X-Forwarded-For": "203.0.113.500"}, Forwarded()),
        ({"X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "a/b"}, Forwarded()),
        ({"X-Forwarded-Host": "a\udc99"}, Forwarded()),
        (
            {"Forwarded": 'for=203.0.113.5;proto=HTTPS;host="boot.example:8443"'},
            Forwarded("203.0.113.5", "https", "boot.example:8443"),
        ),
        ({"Forwarded": 'For="[2001:db9::5]:4711"'}, Forwarded("2001:db9::5")),
        (
            {"Forwarded": 'for=10.9.9.9, for=203.0.113.5;host=a, for="[2001:db8::1]";host=b'},
            Forwarded("203.0.113.5", host="b"),
        ),
        ({"Forwarded": "for=_hidden;proto=http"}, Forwarded(scheme="http")),
        (  # it is malformed, and says nothing
            {"Forwarded": "for=;;=\x00", "X-Forwarded-For": "203.0.113.5"},
            Forwarded("203.0.113.5"),
        ),
    ],
)
def test_what_a_proxy_tells(headers: dict[str, str], told: Forwarded):
    assert forwarded(CIMultiDict(headers), TRUSTED) == told


@pytest.mark.parametrize("host", ["a", "a:80", "192.0.2.1", "[2001:db8::1]:8080", "a-b.example"])
def test_hosts(host: str):
    assert is_host(host)


@pytest.mark.parametrize("host", ["", "a/", "a/b", "a b", "a\udc99", "user@a", "[::1", "a:x", "é"])
def test_what_is_no_host(host: str):
    assert not is_host(host)


def test_ipv4_is_shown_as_such():
    assert plain_address("::ffff:192.0.2.1") == "192.0.2.1"
    assert plain_address("fe80::1%eth0") == "fe80::1"


PROXIED = {
    "X-Forwarded-For": "203.0.113.5",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "boot.example:8443",
}


@pytest.mark.parametrize(
    ("trusted", "origin", "address"),
    [
        (("127.0.0.0/8",), "https://boot.example:8443", "203.0.113.5"),
        (("192.0.2.1/32",), "", "127.0.0.1"),
        ((), "", "127.0.0.1"),
    ],
    ids=["trusted", "another", "none"],
)
async def test_kernel_arguments_and_ledger_have_what_a_trusted_proxy_tells(
    config: Config, trusted: tuple[str, ...], origin: str, address: str
):
    make_iso(config.images.path / "live.iso", LIVE, bios=True)
    server = config.server.model_copy(update={"trusted_proxies": trusted})
    async with running_boots(config.model_copy(update={"server": server})) as boots:
        url = f"{boots.url}/b/{await boots.token('live')}/boot.ipxe?platform=pcbios&memsize=4096"
        async with boots.http.get(url, headers=PROXIED) as answer:
            script = await answer.text()
        await boots.ledger.flush()
        [boot] = await boots.store.recent(10)

    assert f"fetch={origin or boots.url}/b/" in script
    assert boot.address == address


async def test_a_client_behind_a_proxy_has_a_limit_of_its_own(config: Config):
    server = config.server.model_copy(update={"trusted_proxies": ("127.0.0.1/32",)})
    limits = config.limits.model_copy(update={"connections_per_address": 0})
    changed = config.model_copy(update={"server": server, "limits": limits})
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_boots(changed) as boots:
        path = f"{boots.url}/nbp/memdisk"
        async with boots.http.get(path) as answer:
            of_the_proxy = answer.status
        async with boots.http.get(path, headers=PROXIED) as answer:
            of_its_client = answer.status, answer.headers.get("Retry-After")

    assert of_the_proxy == 200
    assert of_its_client == (503, "5")
