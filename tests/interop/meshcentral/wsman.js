// MeshCentral's WS-MAN client: node wsman.js HOST PORT USER PASSWORD TLS
// Boots from the redirected CD in the order that its own product uses; prints what it learned as JSON.
"use strict";
const { load } = require("./modules.js");

const [host, port, user, password, tls] = process.argv.slice(2);
const CreateWsmanComm = load("amt/amt-wsman-comm.js");
const comm = CreateWsmanComm(host, Number(port), user, password, Number(tls), null, null);
comm.Debug = () => {};
comm.xtlsFingerprint = 0; // a self-signed certificate will do
const amt = load("amt/amt.js")(load("amt/amt-wsman.js")(comm));

// Its callbacks are (stack, name, responses, status).
const asked = (ask) =>
  new Promise((resolve, reject) =>
    ask((_stack, name, responses, status) =>
      status === 200 ? resolve(responses) : reject(new Error(`${name}: ${status}`)),
    ),
  );
const returned = async (what, ask) => {
  const { Body } = await asked(ask);
  if (Body.ReturnValue !== 0) throw new Error(`${what} returned ${Body.ReturnValue}`);
};

async function main() {
  const names = ["AMT_GeneralSettings", "AMT_EthernetPortSettings", "AMT_RedirectionService"];
  const told = {};
  for (const name of names) told[name] = (await asked((done) => amt.Get(name, done))).Body;
  told.sources = (await asked((done) => amt.Enum("CIM_BootSourceSetting", done))).length;
  told.software = (await asked((done) => amt.Enum("CIM_SoftwareIdentity", done))).map(
    ({ InstanceID, VersionString }) => [InstanceID, VersionString],
  );
  const log = await new Promise((done) => amt.GetMessageLog((_stack, records) => done(records)));
  told.log = (log ?? []).map(({ Desc }) => Desc);

  const settings = (await asked((done) => amt.Get("AMT_BootSettingData", done))).Body;
  await returned("ChangeBootOrder", (done) =>
    amt.CIM_BootConfigSetting_ChangeBootOrder(null, done),
  );
  for (const name of [
    ...["WinREBootEnabled", "UEFILocalPBABootEnabled", "UEFIHTTPSBootEnabled"],
    ...["SecureBootControlEnabled", "BootguardStatus", "OptionsCleared", "BIOSLastStatus"],
    ...["UefiBootParametersArray", "RPEEnabled", "RSEPassword"],
  ])
    delete settings[name];
  Object.assign(settings, { UseIDER: true, IDERBootDevice: 1, UseSOL: false });
  await asked((done) => amt.Put("AMT_BootSettingData", settings, done, 0, 1));
  await returned("SetBootConfigRole", (done) => amt.SetBootConfigRole(1, done));
  await returned("ChangeBootOrder", (done) =>
    amt.CIM_BootConfigSetting_ChangeBootOrder(null, done),
  );
  await returned("RequestPowerStateChange", (done) => amt.RequestPowerStateChange(2, done));
  console.log(JSON.stringify(told));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
