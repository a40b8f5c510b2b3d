// Preloaded to see what MeshCentral's modules could do without Nagle's algorithm.
"use strict";
const net = require("node:net");

const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  return connect.apply(this.setNoDelay(true), args);
};
