"""WS-MAN over real sockets: the login, the envelopes, the enumerations."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from pathlib import Path

import pytest

from bootserver.bench.fake_amt import FakeSpec, Network, WsmanManners, fake_amt
from tests.bench.fake_amt.wire import (
    ADDRESSING,
    AMT,
    ANONYMOUS,
    CIM,
    ENUMERATION,
    TRANSFER,
    Wsman,
    envelope,
    parse_reply,
    reference,
    uri_of,
)

GET = f"{TRANSFER}/Get"
GENERAL = f"{AMT}AMT_GeneralSettings"
IDENTIFY = (
    '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" '
    'xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd">'
    "<s:Header/><s:Body><i:Identify/></s:Body></s:Envelope>"
)


async def test_the_version_is_told_to_everybody_and_the_connection_closed(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, version="12.0.94")) as device:
        refused = await Wsman(device).send(IDENTIFY, "")

    assert refused.status == 401
    assert "Server: Intel(R) Active Management Technology 12.0.94\r\n" in refused.head
    assert "Connection: close" in refused.head
    assert 'qop="auth"' in refused.head


async def test_identify(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        told = await Wsman(device).ask(IDENTIFY)

    assert told.text("ProductVendor") == "Intel(r)"
    assert told.text("ProductVersion") == "AMT 15.0.47"
    assert "Transfer-Encoding: chunked" in told.head


async def test_answers_may_have_a_length(tmp_path: Path):
    manners = WsmanManners(chunked=False)
    async with fake_amt(FakeSpec(tmp_path, wsman_manners=manners)) as device:
        told = await Wsman(device).ask(IDENTIFY)

    assert f"Content-Length: {len(told.body)}" in told.head


async def test_a_wrong_password_is_refused_and_logged(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        assert (await Wsman(device, "guess").ask(IDENTIFY)).status == 401

        assert device.asked == []
        assert [event.sensor_type for event in device.state.events] == [6]


async def test_a_login_counts_once(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        refused = await wsman.send(IDENTIFY, "")
        first = wsman.authorization(refused)
        second = wsman.authorization(refused, count="00000002")

        statuses = [(await wsman.send(IDENTIFY, login)).status for login in (first, first, second)]

    assert statuses == [200, 401, 200]


async def test_a_login_is_for_the_path_it_names(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        refused = await wsman.send(IDENTIFY, "")

        assert (await wsman.send(IDENTIFY, wsman.authorization(refused, uri="/"))).status == 401


async def test_a_made_up_nonce_is_refused(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        refused = await wsman.send(IDENTIFY, "")
        refused.head = refused.head.replace('nonce="', 'nonce="0')

        assert (await wsman.send(IDENTIFY, wsman.authorization(refused))).status == 401


async def test_chunked_requests_are_not_taken(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        refused = await wsman.send(IDENTIFY, "")

        reply = await wsman.send(IDENTIFY, wsman.authorization(refused), chunked=True)

    assert reply.status == 400


async def test_a_connection_that_stays_open_takes_the_next_request(tmp_path: Path):
    manners = WsmanManners(stays_open=True, chunked=False)
    async with fake_amt(FakeSpec(tmp_path, wsman_manners=manners)) as device:
        wsman = Wsman(device)
        refused = await wsman.send(IDENTIFY, "")
        logins = [wsman.authorization(refused, count=f"0000000{n}") for n in (1, 2)]
        reader, writer = await asyncio.open_connection(device.host, device.wsman_port)
        for login in logins:
            head = f"POST /wsman HTTP/1.1\r\nHost: x\r\nAuthorization: {login}\r\n"
            head += f"Content-Length: {len(IDENTIFY)}\r\n\r\n"
            writer.write((head + IDENTIFY).encode())
            assert b" 200 " in await reader.readuntil(b"</a:Envelope>")
        writer.close()


async def test_over_tls_it_is_the_same(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, tls=True)) as device:
        trusting = ssl.create_default_context(cadata=device.certificate_pem)
        reader, writer = await asyncio.open_connection(device.host, device.wsman_port, ssl=trusting)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.write(b"POST /wsman HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        reply = parse_reply(await reader.read())
        writer.close()

        assert reply.status == 401
        assert hashlib.sha256(der).hexdigest() == device.certificate_sha256


async def test_get_has_what_the_spec_says(tmp_path: Path):
    network = Network(dns=("10.0.2.3", "9.9.9.9"))
    async with fake_amt(FakeSpec(tmp_path, network=network, host_name="pc7")) as device:
        wsman = Wsman(device)
        general = await wsman.get("AMT_GeneralSettings")
        ethernet = await wsman.get(
            "AMT_EthernetPortSettings", InstanceID="Intel(r) AMT Ethernet Port Settings 0"
        )

        assert general.text("HostName") == "pc7"
        assert general.text("DigestRealm") == device.state.realm
        assert general.text("RelatesTo") == "uuid:1"
        assert general.text("Action") == f"{GET}Response"
        assert ethernet.text("MACAddress") == "52-54-00-12-34-56"
        assert ethernet.text("SecondaryDNS") == "9.9.9.9"
        assert device.asked == ["Get AMT_GeneralSettings", "Get AMT_EthernetPortSettings"]


async def test_the_platforms_guid_is_written_as_it_lies_in_memory(tmp_path: Path):
    uuid = "00112233-4455-6677-8899-aabbccddeeff"
    async with fake_amt(FakeSpec(tmp_path, uuid=uuid)) as device:
        package = await Wsman(device).get("CIM_ComputerSystemPackage")

    assert package.text("PlatformGUID") == "33221100554477668899AABBCCDDEEFF"


@pytest.mark.parametrize(
    ("class_name", "selectors", "fault"),
    [
        ("CIM_Fan", {}, "DestinationUnreachable"),
        ("CIM_SoftwareIdentity", {}, "InvalidSelectors"),
        ("CIM_SoftwareIdentity", {"InstanceID": "BIOS"}, "InvalidSelectors"),
        ("CIM_KVMRedirectionSAP", {}, "DestinationUnreachable"),
    ],
)
async def test_what_is_not_there_is_a_fault(
    tmp_path: Path, class_name: str, selectors: dict[str, str], fault: str
):
    manners = WsmanManners(kvm=False)
    async with fake_amt(FakeSpec(tmp_path, wsman_manners=manners)) as device:
        assert (await Wsman(device).get(class_name, **selectors)).fault == fault


WHOLE = envelope(GET, GENERAL)
NOT_TO_THE_LETTER = {
    "not XML": ("<s:Envelope", "SchemaValidationError"),
    "SOAP 1.1": (
        WHOLE.replace("www.w3.org/2003/05/soap-envelope", "schemas.xmlsoap.org/soap/envelope/"),
        "SchemaValidationError",
    ),
    "a document type": ("<!DOCTYPE x>" + WHOLE, "SchemaValidationError"),
    "no MessageID": (
        WHOLE.replace("<a:MessageID>uuid:1</a:MessageID>", ""),
        "SchemaValidationError",
    ),
    "an empty MessageID": (WHOLE.replace("uuid:1", ""), "SchemaValidationError"),
    "no ReplyTo": (
        WHOLE.replace(f"<a:ReplyTo><a:Address>{ANONYMOUS}</a:Address></a:ReplyTo>", ""),
        "SchemaValidationError",
    ),
    "another ReplyTo": (WHOLE.replace(ANONYMOUS, "http://me/"), "UnsupportedFeature"),
    "no To": (WHOLE.replace("<a:To>/wsman</a:To>", ""), "SchemaValidationError"),
    "a timeout in seconds": (WHOLE.replace("PT60S", "60"), "SchemaValidationError"),
    "a newer addressing": (
        WHOLE.replace(ADDRESSING, "http://www.w3.org/2005/08/addressing"),
        "SchemaValidationError",
    ),
    "a class in the wrong schema": (
        envelope(GET, f"{CIM}AMT_GeneralSettings"),
        "DestinationUnreachable",
    ),
    "an action of another class": (
        envelope(f"{CIM}CIM_BootService/SetBootConfigRole", GENERAL),
        "ActionNotSupported",
    ),
    "an unknown action": (
        envelope(f"{GENERAL}/Explode", GENERAL, f'<r:Explode_INPUT xmlns:r="{GENERAL}"/>'),
        "ActionNotSupported",
    ),
    "Get with a body": (envelope(GET, GENERAL, "<x/>"), "SchemaValidationError"),
    "two bodies": (envelope(GET, GENERAL, "<x/><x/>"), "SchemaValidationError"),
    "a selector without a name": (
        envelope(GET, GENERAL, selectors="<w:Selector>x</w:Selector>"),
        "SchemaValidationError",
    ),
}


@pytest.mark.parametrize("name", NOT_TO_THE_LETTER)
async def test_an_envelope_that_is_not_to_the_letter_is_a_fault(tmp_path: Path, name: str):
    xml, fault = NOT_TO_THE_LETTER[name]
    async with fake_amt(FakeSpec(tmp_path)) as device:
        reply = await Wsman(device).ask(xml)

    assert reply.fault == fault


async def test_a_message_id_counts_once_per_login(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        refused = await wsman.send(WHOLE, "")
        first = await wsman.send(WHOLE, wsman.authorization(refused))
        again = await wsman.send(WHOLE, wsman.authorization(refused, count="00000002"))

    assert first.status == 200
    assert again.fault == "InvalidMessageInformationHeader"


async def enumerate_all(wsman: Wsman, class_name: str, at_once: int) -> list[list[str]]:
    """InstanceIDs by pull."""
    uri = uri_of(class_name)
    opened = await wsman.ask(
        envelope(f"{ENUMERATION}/Enumerate", uri, f'<e:Enumerate xmlns:e="{ENUMERATION}"/>')
    )
    context, pulls = opened.text("EnumerationContext"), []
    while True:
        inside = (
            f'<e:Pull xmlns:e="{ENUMERATION}"><e:EnumerationContext>{context}'
            f"</e:EnumerationContext><e:MaxElements>{at_once}</e:MaxElements></e:Pull>"
        )
        pulled = await wsman.ask(envelope(f"{ENUMERATION}/Pull", uri, inside))
        pulls.append(pulled.texts("InstanceID"))
        if pulled.texts("EndOfSequence"):
            return pulls
        context = pulled.text("EnumerationContext")


async def test_instances_are_pulled_in_pieces(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        whole = await enumerate_all(Wsman(device), "CIM_BootSourceSetting", 999)
        pieces = await enumerate_all(Wsman(device), "CIM_BootSourceSetting", 3)

    assert whole == [
        [
            "Intel(r) AMT: Force CD/DVD Boot",
            "Intel(r) AMT: Force Hard-drive Boot",
            "Intel(r) AMT: Force OCR UEFI HTTPS Boot",
            "Intel(r) AMT: Force PXE Boot",
        ]
    ]
    assert pieces == [whole[0][:3], whole[0][3:]]


async def test_an_old_device_enumerates_no_class_of_intels_own(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path, version="10.0.60")) as device:
        asked = f'<e:Enumerate xmlns:e="{ENUMERATION}"/>'
        refused = await Wsman(device).ask(envelope(f"{ENUMERATION}/Enumerate", GENERAL, asked))
        sources = await enumerate_all(Wsman(device), "CIM_BootSourceSetting", 9)

        assert refused.status == 400
        assert (await Wsman(device).get("AMT_GeneralSettings")).status == 200
    assert "Intel(r) AMT: Force OCR UEFI HTTPS Boot" not in sources[0]


async def test_an_answer_may_be_lost_when_all_is_done(tmp_path: Path):
    lost = frozenset({"RequestStateChange"})
    manners = WsmanManners(lost_answers=lost)
    async with fake_amt(FakeSpec(tmp_path, wsman_manners=manners)) as device:
        wsman = Wsman(device)
        with pytest.raises(IndexError):  # not a byte of an answer
            await wsman.invoke(
                "AMT_RedirectionService",
                "RequestStateChange",
                "<r:RequestedState>32769</r:RequestedState>",
            )

        told = await wsman.get("AMT_RedirectionService")

    assert told.text("EnabledState") == "32769"


async def test_a_selectors_name_may_have_ws_managements_namespace(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        asked = envelope(
            GET,
            f"{CIM}CIM_SoftwareIdentity",
            selectors='<w:Selector w:Name="InstanceID">AMT</w:Selector>',
        )
        told = await Wsman(device).ask(asked)

    assert told.text("VersionString") == "15.0.47"


async def test_every_nth_request_may_be_answered_by_503_and_is_not_done(tmp_path: Path):
    manners = WsmanManners(unavailable_every=4)
    async with fake_amt(FakeSpec(tmp_path, wsman_manners=manners)) as device:
        statuses = [(await Wsman(device).ask(IDENTIFY)).status for _ in range(4)]

    assert statuses == [200, 503, 200, 503]  # and a 401 before each
    assert device.asked == ["Identify"] * 2


async def test_power_capabilities_may_be_missing(tmp_path: Path):
    manners = WsmanManners(power_capabilities=False)
    async with fake_amt(FakeSpec(tmp_path, wsman_manners=manners)) as device:
        told = await Wsman(device).get("CIM_AssociatedPowerManagementService")

    assert told.texts("AvailableRequestedPowerStates") == []
    assert told.text("PowerState") == "8"


async def test_a_reference_must_be_one(tmp_path: Path):
    async with fake_amt(FakeSpec(tmp_path)) as device:
        wsman = Wsman(device)
        empty = await wsman.invoke("CIM_BootConfigSetting", "ChangeBootOrder", "<r:Source/>")
        other = reference("CIM_BootService", Name="x")
        wrong = await wsman.invoke(
            "CIM_BootConfigSetting", "ChangeBootOrder", f"<r:Source>{other}</r:Source>"
        )
        unknown = await wsman.invoke("CIM_BootConfigSetting", "ChangeBootOrder", "<r:Order/>")

    assert [reply.fault for reply in (empty, wrong, unknown)] == ["SchemaValidationError"] * 3
