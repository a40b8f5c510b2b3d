"""Intel AMT over the API: the machines that are known, and booting them."""

from __future__ import annotations

from dataclasses import asdict

from aiohttp import web

from bootserver.amt.boot.remote_boot import BootOrder
from bootserver.amt.boot.targets import boot_into
from bootserver.amt.control.kvm import enable_kvm
from bootserver.amt.control.power import request_power
from bootserver.amt.types import BootMethod, PowerAction
from bootserver.http.api.requests import (
    AmtBootOrder,
    AmtCredentials,
    AmtKvmOrder,
    AmtPower,
    AmtTarget,
    ConsentCode,
    read_body,
)
from bootserver.http.api.services import require_image, services_of


async def list_hosts(request: web.Request) -> web.Response:
    """GET /amt/hosts"""
    hosts = await services_of(request).amt_hosts.list()
    return web.json_response({"hosts": [host.as_json() for host in hosts]})


async def forget_host(request: web.Request) -> web.Response:
    """DELETE /amt/hosts/{host}"""
    hosts = services_of(request).amt_hosts
    await hosts.forget(await hosts.resolve(request.match_info["host"]))
    return web.Response(status=204)


async def probe_host(request: web.Request) -> web.Response:
    """POST /amt/hosts/{host}/probe"""
    hosts, given = services_of(request).amt_hosts, await read_body(request, AmtCredentials)
    host = await hosts.resolve(request.match_info["host"])
    async with hosts.client(host, given.login) as (client, _):
        facts = await hosts.probe(client)
    return web.json_response(facts.as_json())


async def change_power(request: web.Request) -> web.Response:
    """POST /amt/hosts/{host}/power"""
    hosts, given = services_of(request).amt_hosts, await read_body(request, AmtPower)
    host = await hosts.resolve(request.match_info["host"])
    async with hosts.client(host, given.login) as (client, _):
        change = await request_power(client, PowerAction(given.action))
    return web.json_response({"before": change.before.value, "asked": change.asked.value})


async def boot_into_own(request: web.Request) -> web.Response:
    """POST /amt/hosts/{host}/boot"""
    hosts, given = services_of(request).amt_hosts, await read_body(request, AmtTarget)
    host = await hosts.resolve(request.match_info["host"])
    async with hosts.client(host, given.login) as (client, _):
        change = await boot_into(hosts, client, given.to, lambda _: None)
    return web.json_response({"before": change.before.value, "asked": change.asked.value})


async def switch_kvm_on(request: web.Request) -> web.Response:
    """POST /amt/hosts/{host}/kvm"""
    hosts, given = services_of(request).amt_hosts, await read_body(request, AmtKvmOrder)
    host = await hosts.resolve(request.match_info["host"])
    async with hosts.client(host, given.login) as (client, _):
        screen = await enable_kvm(client, given.rfb_password.get_secret_value())
    return web.json_response(asdict(screen))


async def boot_machine(request: web.Request) -> web.Response:
    """POST /machines/{id}/boot"""
    services, given = services_of(request), await read_body(request, AmtBootOrder)
    await require_image(services, given.image)
    host = await services.amt_hosts.resolve(request.match_info["id"])
    progress = services.amt_boots.start(
        BootOrder(
            host,
            given.image,
            BootMethod(given.method),
            stays=given.stay,
            attended=given.attended,
            at_once=given.at_once,
            login=given.login,
        )
    )
    return web.json_response(
        progress.as_json(), status=202, headers={"Location": f"/api/v1/amt/boots/{progress.id}"}
    )


async def list_amt_boots(request: web.Request) -> web.Response:
    """GET /amt/boots"""
    boots = services_of(request).amt_boots.list()
    return web.json_response({"amt_boots": [boot.as_json() for boot in boots]})


async def get_amt_boot(request: web.Request) -> web.Response:
    """GET /amt/boots/{id}"""
    boot = services_of(request).amt_boots.get(request.match_info["id"])
    return web.json_response(boot.as_json())


async def stop_amt_boot(request: web.Request) -> web.Response:
    """DELETE /amt/boots/{id}"""
    boot = await services_of(request).amt_boots.stop(request.match_info["id"])
    return web.json_response(boot.as_json())


async def give_code(request: web.Request) -> web.Response:
    """POST /amt/boots/{id}/consent"""
    given, boots = await read_body(request, ConsentCode), services_of(request).amt_boots
    boots.give_code(request.match_info["id"], given.code)
    return web.json_response(boots.get(request.match_info["id"]).as_json(), status=202)
