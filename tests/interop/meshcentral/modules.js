// MeshCentral's modules out of its npm package, and the little of a server that they ask for.
"use strict";
const path = require("node:path");

const home = process.env.MESHCENTRAL; // where package/ and node_modules/ are
const load = (name) => require(path.join(home, "package", name));
const forge = require(path.join(home, "node_modules", "node-forge"));

// What the redirection module wants of a MeshCentral server: who the device is, and how to get there.
function server(host, user, password, tls) {
  const intelamt = { user, pass: password, tls };
  return {
    db: { Get: (_id, found) => found(null, [{ meshid: "mesh", host, intelamt }]) },
    GetConnectivityState: () => ({ connectivity: 4 }),
    mpsserver: { GetConnectionToNode: () => null },
    certificateOperations: { forge },
  };
}

const operator = { name: "tester", links: { mesh: { rights: 0xffffffff } } };

module.exports = { load, server, operator };
