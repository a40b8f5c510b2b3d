"""Stubs built and downloaded, machines and what they boot, over the API."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootserver.config import Config
from bootserver.configfile import load_config
from bootserver.model import Machine
from bootserver.selector import Selector
from tests.fixtures.admin import PC, Admin, running_admin
from tests.fixtures.isos import make_iso

MAC = "52:54:00:12:34:56"


@pytest.fixture
async def admin(config: Config) -> AsyncIterator[Admin]:
    make_iso(config.images.path / "rescue.iso", bios=True)
    async with running_admin(config) as admin:
        yield admin


# ---- Stubs ----


@pytest.mark.parametrize("stub_format", ["iso", "img"])  # efi takes the real loader
async def test_a_stub_is_built_and_downloaded(admin: Admin, stub_format: str):
    stub = await admin.ask(
        "/stubs", "POST", expect=201, json={"image": "rescue", "format": stub_format}
    )
    status, headers, data = await admin.raw(admin.url + stub["download"])

    assert status == 200
    assert len(data) == stub["size_bytes"]
    assert hashlib.sha256(data).hexdigest() == stub["sha256"]
    name = f"rescue.stub.{stub_format}"
    assert headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
    assert stub["file_name"] == name
    assert stub["urls"]["script"] == f"http://192.0.2.1:8080/b/{stub['token']}/boot.ipxe"


async def test_the_machine_gets_the_same_stub(admin: Admin):
    stub = await admin.ask("/stubs", "POST", expect=201, json={"image": "rescue"})

    _, _, downloaded = await admin.raw(admin.url + stub["download"])
    _, _, served = await admin.raw(f"{admin.boot_url}/b/{stub['token']}/stub.iso")

    assert downloaded == served


async def test_equal_orders_give_equal_stubs_and_others_do_not(admin: Admin):
    static = {"image": "rescue", "static_ip": "192.0.2.5/24", "gateway": "192.0.2.1", "vlan": 7}
    orders = [{"image": "rescue"}, {"image": "rescue"}, static, {}]

    stubs = [await admin.ask("/stubs", "POST", expect=201, json=order) for order in orders]

    assert stubs[0] == stubs[1]
    assert len({stub["token"] for stub in stubs}) == 3
    assert len({stub["digest"] for stub in stubs}) == 3
    assert stubs[3]["urls"]["image"] == ""


async def test_a_stub_of_an_image_with_an_odd_name_has_that_name(admin: Admin):
    make_iso(admin.services.config.images.path / 'Rettung "ä" 1.iso', bios=True)
    await admin.look_again()

    stub = await admin.ask("/stubs", "POST", expect=201, json={"image": 'Rettung "ä" 1'})
    _, headers, _ = await admin.raw(admin.url + stub["download"])

    assert headers["Content-Disposition"] == (
        'attachment; filename="Rettung ___ 1.stub.iso"; '
        "filename*=UTF-8''Rettung%20%22%C3%A4%22%201.stub.iso"
    )


async def test_an_entry_that_the_disc_does_not_have_is_refused_with_those_it_has(
    admin: Admin, config: Config
):
    files = {"boot/grub/grub.cfg": b"menuentry Live { linux /k }\nmenuentry Disk { exit }\n"}
    make_iso(config.images.path / "menu.iso", {**files, "k": b"kernel"}, bios=True)
    await admin.look_again()
    profile = {"image": "menu", "mac": MAC}

    for path, order in (("/stubs", {"image": "menu"}), ("/profiles", profile)):
        for entry, words in (("none", "has no entry “none”"), ("Disk", "the machine's own disk")):
            body = {**order, "entry": entry}
            problem = await admin.ask(path, "POST", expect=422, json=body)
            assert words in problem["detail"]
            assert problem["hint"] == "its entries: #1 Live, #2 Disk"
        await admin.ask(path, "POST", expect=201, json={**order, "entry": "Live"})


async def test_all_mistakes_of_an_order_are_told_at_once(admin: Admin):
    wrong = {
        "static_ip": "192.0.2.5",
        "gateway": "x",
        "dns": "1.2.3",
        "vlan": 5000,
        "mac": "zz",
        "servers": ["http://good", "bad"],
        "format": "exe",
        "color": "red",
    }

    problem = await admin.ask("/stubs", "POST", expect=422, json=wrong)

    fields = {error["field"] for error in problem["errors"]}
    assert fields == wrong.keys() - {"servers"} | {"servers.1"}


@pytest.mark.parametrize("path", ["/stubs/nobody.iso", "/stubs/nobody.exe", "/stubs/nobody"])
async def test_a_stub_that_nobody_ordered_is_not_there(admin: Admin, path: str):
    await admin.ask(path, expect=404)


# ---- Machines and profiles ----


async def test_machines_that_booted_are_listed_with_what_the_config_says(site: Path):
    with (site / "config.toml").open("a") as file:
        file.write('[[machines]]\nserial = "S1"\nimage = "rescue"\n')
    async with running_admin(load_config(site / "config.toml")) as admin:
        await admin.boot()
        listed = await admin.ask("/machines")

    [seen], [configured] = listed["machines"], listed["configured"]
    assert (seen["name"], seen["machine"]["product"], seen["image"]) == (PC.mac, "Box", "rescue")
    assert (configured["serial"], configured["image"]) == ("S1", "rescue")


async def test_machines_come_in_pages_the_last_seen_first(admin: Admin):
    macs = [f"52:54:00:00:00:{number:02x}" for number in range(5)]
    for mac in macs:
        await admin.boot(Machine(mac=mac))

    found, path, pages = [], "/machines?limit=2", 0
    while path:
        _, headers, body = await admin.raw(path)
        page = json.loads(body)
        found += [machine["name"] for machine in page["machines"]]
        pages += 1
        path = page["next"] and page["next"].removeprefix("/api/v1")
        assert headers.get("Link") == (f'<{page["next"]}>; rel="next"' if path else None)

    assert found == macs[::-1]
    assert pages == 3
    problem = await admin.ask("/machines?limit=0", expect=400)
    assert problem["errors"][0]["field"] == "limit"


async def test_a_profile_for_a_name_that_many_machines_have_is_warned_of(admin: Admin):
    await admin.ask(
        "/profiles", "POST", expect=201, json={"serial": "Default string", "image": "rescue"}
    )

    [profile] = (await admin.ask("/profiles"))["profiles"]
    _, _, page = await admin.raw(f"{admin.url}/machines")

    assert profile["warning"].startswith("many machines have the serial Default string")
    assert profile["warning"] in page.decode()


async def test_a_profile_is_made_changed_and_forgotten(admin: Admin):
    status, headers, _ = await admin.raw(
        "/profiles", "POST", json={"mac": MAC.upper(), "image": "rescue", "once": True}
    )
    place = headers["Location"].removeprefix("/api/v1")
    made = await admin.ask(place)
    changed = await admin.ask(
        place, "PUT", json={"arguments": "  quiet splash "}, headers={"If-Match": headers["ETag"]}
    )
    in_force = await admin.services.profiles.find(PC)
    await admin.ask(place, "DELETE", expect=204, headers={"If-Match": changed["etag"]})

    assert status == 201
    assert (made["mac"], made["image"], made["once"]) == (MAC, "rescue", True)
    assert (changed["id"], changed["once"]) == (made["id"], True)
    assert (changed["image"], changed["arguments"]) == ("", "quiet splash")
    assert in_force is not None
    assert in_force.arguments == "quiet splash"
    assert (await admin.ask("/profiles"))["profiles"] == []


async def test_who_comes_second_changes_nothing(admin: Admin):
    made = await admin.ask("/profiles", "POST", expect=201, json={"mac": MAC, "image": "rescue"})
    place, etag = f"/profiles/{made['id']}", {"If-Match": made["etag"]}
    await admin.ask(place, "PUT", json={"arguments": "first"}, headers=etag)

    await admin.ask(place, "PUT", expect=412, json={"arguments": "second"}, headers=etag)
    await admin.ask(place, "DELETE", expect=412, headers=etag)
    await admin.ask(place, "PUT", expect=428, json={"arguments": "third"})
    await admin.ask(place, "DELETE", expect=428)

    assert (await admin.ask(place))["arguments"] == "first"


async def test_of_two_that_change_at_once_one_wins(admin: Admin):
    made = await admin.ask("/profiles", "POST", expect=201, json={"mac": MAC, "image": "rescue"})
    place, etag = f"/profiles/{made['id']}", {"If-Match": made["etag"]}

    answers = await asyncio.gather(
        *(
            admin.raw(place, "PUT", json={"arguments": str(number)}, headers=etag)
            for number in range(8)
        )
    )

    assert sorted(status for status, _, _ in answers) == [200] + [412] * 7


async def test_a_second_profile_for_the_same_machine_is_a_conflict(admin: Admin):
    order = {"mac": MAC, "image": "rescue"}
    await admin.ask("/profiles", "POST", expect=201, json=order)

    await admin.ask("/profiles", "POST", expect=409, json=order)
    await admin.ask("/profiles", "POST", expect=201, json=order | {"once": True})


async def test_forgetting_one_profile_leaves_the_other_of_the_machine(admin: Admin):
    order = {"mac": MAC, "image": "rescue"}
    standing = await admin.ask("/profiles", "POST", expect=201, json=order)
    once = await admin.ask("/profiles", "POST", expect=201, json=order | {"once": True})

    await admin.ask(
        f"/profiles/{once['id']}", "DELETE", expect=204, headers={"If-Match": once["etag"]}
    )

    assert (await admin.ask("/profiles"))["profiles"] == [standing]


async def test_what_the_command_line_set_is_another_version(admin: Admin):
    made = await admin.ask("/profiles", "POST", expect=201, json={"mac": MAC, "image": "rescue"})
    await admin.services.profiles.set(Selector(mac=MAC), arguments="quiet")

    await admin.ask(
        f"/profiles/{made['id']}", "DELETE", expect=412, headers={"If-Match": made["etag"]}
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"image": "rescue"}, ""),
        ({"mac": MAC}, ""),
        ({"mac": MAC, "image": "none"}, "image"),
        ({"mac": MAC, "arguments": "a ${b}"}, "arguments"),
        ({"mac": MAC, "image": "rescue", "once": "yes"}, "once"),
    ],
)
async def test_a_profile_that_makes_no_sense_is_refused(
    admin: Admin, body: dict[str, object], field: str
):
    problem = await admin.ask("/profiles", "POST", expect=422, json=body)

    assert [error["field"] for error in problem["errors"]] == [field]
    assert (await admin.ask("/profiles"))["profiles"] == []
