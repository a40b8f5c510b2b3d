// Preloaded before MeshCentral's modules, whose redirection ports are fixed: leads connections to
// 16994 and 16995 to the port in REDIRECTION_PORT. The modules themselves stay as they are.
"use strict";
const net = require("node:net");
const tls = require("node:tls");

const port = Number(process.env.REDIRECTION_PORT);
const led = (asked) => (asked === 16994 || asked === 16995 ? port : asked);

const connectSocket = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (first, ...rest) {
  return connectSocket.call(this, typeof first === "number" ? led(first) : first, ...rest);
};
const connectTls = tls.connect;
tls.connect = (first, ...rest) => {
  const socket = connectTls(typeof first === "number" ? led(first) : first, ...rest);
  return socket;
};
