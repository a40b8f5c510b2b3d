"""Envelopes as they go to AMT, and what its answers mean, both written out by hand."""

from xml.etree import ElementTree

import pytest

from bootserver.amt.errors import (
    AmtAnswerError,
    AmtConsentRequiredError,
    AmtError,
    AmtFaultError,
    AmtRefusedError,
)
from bootserver.amt.wsman import envelopes
from bootserver.amt.wsman.values import EndpointReference, Instance, Nested

HEAD = """<?xml version="1.0"?>
<Envelope xmlns="http://www.w3.org/2003/05/soap-envelope"
  xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"
  xmlns:wsman="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd"
  xmlns:enum="http://schemas.xmlsoap.org/ws/2004/09/enumeration">"""

REPLY_TO = """<wsa:ReplyTo><wsa:Address>
http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</wsa:Address></wsa:ReplyTo>
<wsman:OperationTimeout>PT60S</wsman:OperationTimeout>"""

SERVICE = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_BootService"
CONFIG = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_BootConfigSetting"
SETTINGS = "http://intel.com/wbem/wscim/1/amt-schema/1/AMT_BootSettingData"


def infoset(document: bytes | str) -> str:
    """The document without prefixes, declarations and blanks between elements."""
    return ElementTree.canonicalize(document, strip_text=True, rewrite_prefixes=True)


def answer(body: str) -> bytes:
    return f"{HEAD}<Header/><Body>{body}</Body></Envelope>".encode()


def output(method: str, return_value: int) -> bytes:
    return answer(
        f'<g:{method}_OUTPUT xmlns:g="{SERVICE}"><g:ReturnValue>{return_value}</g:ReturnValue>'
        f"</g:{method}_OUTPUT>"
    )


def test_get_names_class_and_selectors_in_its_header() -> None:
    envelope = envelopes.get("AMT_BootSettingData", "uuid:1", {"InstanceID": 'a<b & "c"'})

    assert infoset(envelope) == infoset(f"""{HEAD}<Header>
        <wsa:Action>http://schemas.xmlsoap.org/ws/2004/09/transfer/Get</wsa:Action>
        <wsa:To>/wsman</wsa:To><wsman:ResourceURI>{SETTINGS}</wsman:ResourceURI>
        <wsa:MessageID>uuid:1</wsa:MessageID>{REPLY_TO}
        <wsman:SelectorSet><wsman:Selector Name="InstanceID">a&lt;b &amp; "c"</wsman:Selector>
        </wsman:SelectorSet></Header><Body/></Envelope>""")


def test_put_keeps_the_order_and_leaves_out_what_is_to_be_left_out() -> None:
    read = Instance(
        SETTINGS,
        {
            "BIOSPause": "false",
            "BIOSLastStatus": ("0", "0"),
            "Note": None,
            "UseIDER": "false",
            "Twice": ("1", "2"),
        },
    )

    written = read.changed({"UseIDER": True, "IDERBootDevice": 1}, without={"BIOSLastStatus"})

    assert infoset(envelopes.put(written, "uuid:2")) == infoset(f"""{HEAD}<Header>
        <wsa:Action>http://schemas.xmlsoap.org/ws/2004/09/transfer/Put</wsa:Action>
        <wsa:To>/wsman</wsa:To><wsman:ResourceURI>{SETTINGS}</wsman:ResourceURI>
        <wsa:MessageID>uuid:2</wsa:MessageID>{REPLY_TO}</Header>
        <Body><b:AMT_BootSettingData xmlns:b="{SETTINGS}"><b:BIOSPause>false</b:BIOSPause>
        <b:UseIDER>true</b:UseIDER><b:Twice>1</b:Twice><b:Twice>2</b:Twice>
        <b:IDERBootDevice>1</b:IDERBootDevice></b:AMT_BootSettingData></Body></Envelope>""")
    assert written.flag("UseIDER")
    assert written.number("IDERBootDevice") == 1


def test_invoke_passes_pointers_and_numbers() -> None:
    envelope = envelopes.invoke(
        "CIM_BootService",
        "SetBootConfigRole",
        "uuid:3",
        {
            "BootConfigSetting": envelopes.pointer(
                "CIM_BootConfigSetting", InstanceID="Intel(r) AMT: Boot Configuration 0"
            ),
            "Role": 1,
        },
    )

    assert infoset(envelope) == infoset(f"""{HEAD}<Header>
        <wsa:Action>{SERVICE}/SetBootConfigRole</wsa:Action>
        <wsa:To>/wsman</wsa:To><wsman:ResourceURI>{SERVICE}</wsman:ResourceURI>
        <wsa:MessageID>uuid:3</wsa:MessageID>{REPLY_TO}</Header><Body>
        <m:SetBootConfigRole_INPUT xmlns:m="{SERVICE}"><m:BootConfigSetting>
        <wsa:Address>http://schemas.xmlsoap.org/ws/2004/08/addressing/role/anonymous</wsa:Address>
        <wsa:ReferenceParameters><wsman:ResourceURI>{CONFIG}</wsman:ResourceURI>
        <wsman:SelectorSet>
        <wsman:Selector Name="InstanceID">Intel(r) AMT: Boot Configuration 0</wsman:Selector>
        </wsman:SelectorSet></wsa:ReferenceParameters></m:BootConfigSetting><m:Role>1</m:Role>
        </m:SetBootConfigRole_INPUT></Body></Envelope>""")


def test_a_parameter_that_is_none_is_no_element_at_all() -> None:
    envelope = envelopes.invoke(
        "CIM_BootConfigSetting", "ChangeBootOrder", "uuid:4", {"Source": None}
    )

    assert b"Source" not in envelope


def test_enumerate_and_pull_as_written_by_hand() -> None:
    def expected(verb: str, body: str) -> str:
        return infoset(f"""{HEAD}<Header>
            <wsa:Action>http://schemas.xmlsoap.org/ws/2004/09/enumeration/{verb}</wsa:Action>
            <wsa:To>/wsman</wsa:To><wsman:ResourceURI>{SERVICE}</wsman:ResourceURI>
            <wsa:MessageID>uuid:5</wsa:MessageID>{REPLY_TO}</Header><Body>{body}</Body></Envelope>""")

    assert infoset(envelopes.enumerate_("CIM_BootService", "uuid:5")) == expected(
        "Enumerate", "<enum:Enumerate/>"
    )
    assert infoset(envelopes.pull("CIM_BootService", "uuid:5", "A&1")) == expected(
        "Pull",
        "<enum:Pull><enum:EnumerationContext>A&amp;1</enum:EnumerationContext>"
        "<enum:MaxElements>999</enum:MaxElements></enum:Pull>",
    )


def test_a_class_of_no_known_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="Win32_Process"):
        envelopes.get("Win32_Process", "uuid:6")


def test_control_characters_are_refused_without_repeating_the_text() -> None:
    with pytest.raises(AmtError, match="control character") as raised:
        envelopes.get("CIM_BootService", "uuid:7", {"Name": "hush\x00"})

    assert "hush" not in str(raised.value)


def test_an_instance_is_read_with_all_kinds_of_values() -> None:
    instance = envelopes.parse_instance(
        answer(f"""<g:CIM_BootService xmlns:g="{SERVICE}"
          xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:c="urn:common">
        <g:ElementName>Intel(r) AMT &lt;Boot&gt;</g:ElementName><g:EnabledState>5</g:EnabledState>
        <g:Started>true</g:Started><g:Empty/><g:Gone xsi:nil="true"/>
        <g:Status>0</g:Status><g:Status>7</g:Status>
        <g:When><c:Datetime>2026-11-22T00:00:00Z</c:Datetime></g:When>
        <g:Owner><wsa:Address>default</wsa:Address><wsa:ReferenceParameters>
          <wsman:ResourceURI>{CONFIG}</wsman:ResourceURI><wsman:SelectorSet>
          <wsman:Selector Name="Name">x</wsman:Selector></wsman:SelectorSet>
        </wsa:ReferenceParameters></g:Owner></g:CIM_BootService>""")
    )

    assert instance.resource == SERVICE
    assert dict(instance.properties) == {
        "ElementName": "Intel(r) AMT <Boot>",
        "EnabledState": "5",
        "Started": "true",
        "Empty": "",
        "Gone": None,
        "Status": ("0", "7"),
        "When": Nested((("{urn:common}Datetime", "2026-11-22T00:00:00Z"),)),
        "Owner": EndpointReference(CONFIG, {"Name": "x"}, "default"),
    }
    assert instance.number("EnabledState") == 5
    assert "Gone" in instance
    with pytest.raises(AmtAnswerError, match=r"CIM_BootService lacks the property Nothing"):
        instance.text("Nothing")
    with pytest.raises(AmtAnswerError, match="not a number"):
        instance.number("ElementName")
    with pytest.raises(AmtAnswerError, match="neither true nor false"):
        instance.flag("EnabledState")


def test_nested_values_and_pointers_are_given_back_as_they_came() -> None:
    body = f"""<g:CIM_BootService xmlns:g="{SERVICE}" xmlns:c="urn:common">
        <g:When><c:Datetime>2026</c:Datetime></g:When><g:Owner><wsa:Address>default</wsa:Address>
        <wsa:ReferenceParameters><wsman:ResourceURI>{CONFIG}</wsman:ResourceURI><wsman:SelectorSet>
        <wsman:Selector Name="Name">x</wsman:Selector></wsman:SelectorSet>
        </wsa:ReferenceParameters></g:Owner></g:CIM_BootService>"""

    put = envelopes.put(envelopes.parse_instance(answer(body)), "uuid:8")

    given_back = ElementTree.fromstring(put).find("{http://www.w3.org/2003/05/soap-envelope}Body")
    came = ElementTree.fromstring(answer(body)).find(
        "{http://www.w3.org/2003/05/soap-envelope}Body"
    )
    assert given_back is not None
    assert came is not None
    assert infoset(ElementTree.tostring(given_back)) == infoset(ElementTree.tostring(came))


def test_an_instance_does_not_show_its_values() -> None:
    assert "Secret12" not in repr(Instance(SETTINGS, {"RFBPassword": "Secret12"}))


def test_a_pull_gives_items_and_the_next_context_until_the_end() -> None:
    item = f'<g:CIM_BootService xmlns:g="{SERVICE}"><g:Name>n</g:Name></g:CIM_BootService>'
    more = answer(
        "<enum:PullResponse><enum:EnumerationContext>7</enum:EnumerationContext>"
        f"<enum:Items>{item}{item}</enum:Items></enum:PullResponse>"
    )
    last = answer("<enum:PullResponse><enum:Items/><enum:EndOfSequence/></enum:PullResponse>")

    instances, context = envelopes.parse_pull(more)
    assert [one.text("Name") for one in instances] == ["n", "n"]
    assert context == "7"
    assert envelopes.parse_pull(last) == ([], None)


def test_a_pull_without_context_or_end_is_refused() -> None:
    with pytest.raises(AmtAnswerError, match="EnumerationContext"):
        envelopes.parse_pull(answer("<enum:PullResponse><enum:Items/></enum:PullResponse>"))


def test_a_fault_becomes_a_sentence() -> None:
    fault = answer("""<Fault><Code><Value>Sender</Value><Subcode>
        <Value>wsman:SchemaValidationError</Value></Subcode></Code>
        <Reason><Text xml:lang="en-US">The supplied SOAP
        violates the schema.</Text></Reason><Detail/></Fault>""")

    with pytest.raises(AmtFaultError) as raised:
        envelopes.parse_put(fault)

    assert raised.value.subcode == "SchemaValidationError"
    assert raised.value.message == (
        "AMT refuses the form of the request "
        "(SchemaValidationError: The supplied SOAP violates the schema.)"
    )


def test_put_may_be_answered_with_nothing() -> None:
    envelopes.parse_put(answer(""))


@pytest.mark.parametrize(
    ("method", "return_value", "sentence"),
    [
        ("ChangeBootOrder", 5, "AMT refused ChangeBootOrder: invalid parameter (ReturnValue 5)"),
        ("SetBootConfigRole", 3, "AMT refused SetBootConfigRole: busy (ReturnValue 3)"),
        (
            "RequestPowerStateChange",
            3,
            "AMT refused RequestPowerStateChange: timed out (ReturnValue 3)",
        ),
        ("SendOptInCode", 3, "AMT refused SendOptInCode: blocked (ReturnValue 3)"),
        (
            "ChangeBootOrder",
            2050,
            "AMT refused ChangeBootOrder: unsupported boot option (ReturnValue 2050)",
        ),
        ("GetRecords", 3, "AMT refused GetRecords: there is no record (ReturnValue 3)"),
        (
            "AddTrustedRootCertificate",
            23,
            "AMT refused AddTrustedRootCertificate: there is no space for more (ReturnValue 23)",
        ),
        ("Other", 1, "AMT refused Other: for a reason unknown (ReturnValue 1)"),
        (
            "ChangeBootOrder",
            4096,
            "AMT refused ChangeBootOrder: for a reason unknown (ReturnValue 4096)",
        ),
    ],
)
def test_a_return_value_becomes_a_sentence(method: str, return_value: int, sentence: str) -> None:
    with pytest.raises(AmtRefusedError) as raised:
        envelopes.parse_output(output(method, return_value), method)

    assert raised.value.message == sentence
    assert raised.value.return_value == return_value


def test_required_consent_is_an_error_of_its_own() -> None:
    with pytest.raises(AmtConsentRequiredError):
        envelopes.parse_output(output("SetBootConfigRole", 0x821), "SetBootConfigRole")


@pytest.mark.parametrize("return_value", [0, 4096])
def test_a_power_action_done_or_begun_is_a_success(return_value: int) -> None:
    got = envelopes.parse_output(
        output("RequestPowerStateChange", return_value), "RequestPowerStateChange"
    )

    assert got.number("ReturnValue") == return_value


def test_the_output_of_another_method_is_refused() -> None:
    with pytest.raises(AmtAnswerError, match="answered SetBootConfigRole with ChangeBootOrder"):
        envelopes.parse_output(output("ChangeBootOrder", 0), "SetBootConfigRole")


BOMB = b"""<!DOCTYPE e [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>
<e>&b;</e>"""


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        (BOMB, "DTD"),
        (b'<!DOCTYPE e SYSTEM "file:///etc/passwd"><e/>', "DTD"),
        (b"<e>" * 33 + b"</e>" * 33, "nested more than 32"),
        (b"<e>" + b" " * (1024 * 1024) + b"</e>", "longer than"),
        (b"", "not XML"),
        (b"<e>", "not XML"),
        (b"<html>Not found</html", "not XML"),
        (b'<?xml version="1.0" encoding="klingon"?><e/>', "not XML"),
        (b"\xff\xfe\x00", "not XML"),
        (b"<e/>", "not a SOAP envelope"),
        (answer("<a/><b/>"), "2 elements"),
    ],
)
def test_a_hostile_or_broken_answer_is_refused(document: bytes, complaint: str) -> None:
    with pytest.raises(AmtAnswerError, match=complaint):
        envelopes.parse_instance(document)


def test_32_levels_are_still_read() -> None:
    assert envelopes.parse_xml(b"<e>" * 32 + b"</e>" * 32).tag == "e"
