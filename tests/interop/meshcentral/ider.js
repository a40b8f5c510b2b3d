// MeshCentral's storage redirection: node -r ./ports.js ider.js ISO HOST USER PASSWORD TLS START
// TLS is 0 or 1, START 0 at reboot, 1 gracefully, 2 at once. Prints "state N" until stdin ends.
"use strict";
const { load, server, operator } = require("./modules.js");

const [iso, host, user, password, tls, start] = process.argv.slice(2);
const webserver = { common: load("common.js") };
const meshcentral = server(host, user, password, Number(tls));
const ider = load("amt/amt-ider-module.js").CreateAmtRemoteIder(webserver, meshcentral);
const { CreateAmtRedirect } = load("amt/amt-redir-mesh.js");
const redirection = CreateAmtRedirect(ider, {}, operator, webserver, meshcentral);

redirection.onStateChanged = (_, state) => {
  console.log("state", state);
  if (state === 0) process.exit(0);
};
const problem = ider.diskSetup(null, iso);
if (problem) throw new Error(`diskSetup: ${problem}`);
ider.iderStart = Number(start);
redirection.Start("node");
process.stdin.on("end", () => redirection.Stop()).resume();
