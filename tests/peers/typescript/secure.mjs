// Loaded before the conformance suite (`node --import`): its servers, which speak plain HTTP, are served in TLS with the
// estate's certificate, on loopback alone, and the suite calls them by https URLs.

import { appendFileSync, readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { registerHooks, syncBuiltinESMExports } from 'node:module';

const home = process.env.COUNTERMARK_ESTATE;
const tls = {
  key: readFileSync(`${home}/ledger/tls.key`),
  cert: readFileSync(`${home}/ledger/tls.crt`),
  ca: readFileSync(`${home}/ca/root.crt`),
  requestCert: true,
  // The suite asks its own servers things, too, and has no certificate.
  rejectUnauthorized: false,
};

http.createServer = (...given) => {
  const server = https.createServer(tls);
  const answer = given.find((argument) => typeof argument === 'function');
  if (answer) {
    server.on('request', (asked, response) => answer(asked, registering(response)));
  }
  // `listen` with a host looks it up and comes back later, and the suite reads the port at once.
  server.listen = (port, listening) => {
    if (listening) {
      server.once('listening', listening);
    }
    server._listen2('127.0.0.1', port, 4);
    return server;
  };
  return server;
};
syncBuiltinESMExports();

// Whoever looks for tokens in all that a run has written has to know them.
function registering(response) {
  const { end } = response;
  response.end = function (body, ...rest) {
    const token = String(body).match(/"access_token":"([^"]+)"/);
    if (token && process.env.COUNTERMARK_TOKEN_REGISTER) {
      appendFileSync(process.env.COUNTERMARK_TOKEN_REGISTER, `${token[1]}\n`);
    }
    return end.call(this, body, ...rest);
  };
  return response;
}

registerHooks({
  load(url, context, next) {
    const loaded = next(url, context);
    if (url.endsWith('/@modelcontextprotocol/conformance/dist/index.js')) {
      loaded.source = String(loaded.source).replaceAll('http://localhost', 'https://localhost');
    }
    return loaded;
  },
});
