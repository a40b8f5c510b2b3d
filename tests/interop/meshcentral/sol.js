// MeshCentral's serial line: node -r ./ports.js sol.js HOST USER PASSWORD TLS
// What the host prints goes to stdout as hex, a line for each piece; stdin goes to the host.
"use strict";
const { load, server, operator } = require("./modules.js");

const [host, user, password, tls] = process.argv.slice(2);
const webserver = { common: load("common.js") };
const meshcentral = server(host, user, password, Number(tls));
const terminal = {
    protocol: 1,
    Start: () => {},
    ProcessData: (data) => console.log(Buffer.from(data, "binary").toString("hex")),
    xxStateChange: (state) => console.log("state", state),
};
const { CreateAmtRedirect } = load("amt/amt-redir-mesh.js");
const redirection = CreateAmtRedirect(terminal, {}, operator, webserver, meshcentral);
redirection.onStateChanged = (_, state) => {
    console.log("state", state);
    if (state === 0) process.exit(0);
};
redirection.Start("node");
process.stdin.on("data", (data) => redirection.Send(data.toString("binary")));
process.stdin.on("end", () => redirection.Stop());
