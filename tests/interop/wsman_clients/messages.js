// The envelopes that @device-management-toolkit/wsman-messages writes: node messages.js PACKAGE
// Prints a JSON object of them. They are sent elsewhere: the package knows no HTTP.
"use strict";
const { AMT, CIM, IPS } = require(process.argv[2]);

const amt = new AMT.Messages();
const cim = new CIM.Messages();
const ips = new IPS.Messages();
const CONFIGURATION = "Intel(r) AMT: Boot Configuration 0";
// What the package's own tests put: with what the firmware alone sets.
const settings = (changed) => ({
  BIOSLastStatus: [2, 0],
  BIOSPause: false,
  BIOSSetup: false,
  BootMediaIndex: 0,
  ConfigurationDataReset: false,
  ElementName: "Intel(r) AMT Boot Configuration Settings",
  EnforceSecureBoot: false,
  FirmwareVerbosity: 0,
  ForcedProgressEvents: false,
  IDERBootDevice: 0,
  InstanceID: "Intel(r) AMT:BootSettingData 0",
  LockKeyboard: false,
  LockPowerButton: false,
  LockResetButton: false,
  LockSleepButton: false,
  OptionsCleared: true,
  OwningEntity: "Intel(r) AMT",
  ReflashBIOS: false,
  SecureErase: false,
  UseIDER: false,
  UseSOL: false,
  UseSafeMode: false,
  UserPasswordBypass: false,
  ...changed,
});

console.log(
  JSON.stringify({
    general: amt.GeneralSettings.Get(),
    redirection: amt.RedirectionService.Get(),
    bootSettings: amt.BootSettingData.Get(),
    consent: ips.OptInService.Get(),
    sources: cim.BootSourceSetting.Enumerate(),
    sourcesPull: cim.BootSourceSetting.Pull("CONTEXT"),
    enable: amt.RedirectionService.RequestStateChange(32771),
    clear: cim.BootConfigSetting.ChangeBootOrder(),
    putCd: amt.BootSettingData.Put(settings({ UseIDER: true, IDERBootDevice: 1 })),
    put: amt.BootSettingData.Put(settings({})),
    choose: cim.BootService.SetBootConfigRole(CONFIGURATION, 1),
    order: cim.BootConfigSetting.ChangeBootOrder(),
    orderPxe: cim.BootConfigSetting.ChangeBootOrder("Intel(r) AMT: Force PXE Boot"),
    powerOn: cim.PowerManagementService.RequestPowerStateChange(2),
    reset: cim.PowerManagementService.RequestPowerStateChange(10),
  }),
);
