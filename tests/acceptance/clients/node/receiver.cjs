"use strict";
// A receiver on the loopback: remembers the raw bodies that came, and answers `status`.

const http = require("node:http");

const PATIENCE_MS = 60_000;

async function listen() {
  const received = { requests: [], status: 204, url: "" };
  const waiting = new Set();
  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts).toString("utf8");
    received.requests.push({ headers: request.headers, body });
    response.writeHead(received.status).end();
    for (const look of waiting) look();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  received.url = `http://127.0.0.1:${server.address().port}/hook`;

  // Resolves with all requests, once there are so many.
  received.waitFor = (count) =>
    new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`${received.requests.length} of ${count} came`)),
        PATIENCE_MS,
      );
      const look = () => {
        if (received.requests.length < count) return;
        clearTimeout(late);
        waiting.delete(look);
        resolve([...received.requests]);
      };
      waiting.add(look);
      look();
    });
  received.close = () => {
    server.close();
    server.closeAllConnections();
  };
  return received;
}

module.exports = { listen, PATIENCE_MS };
