// An authorization server of npm's `oidc-provider` for machines alone; prints its issuer, and then each token that it forgets.
//
// Clients: `san` by the URI in its certificate, `pinned` by exactly its certificate, `prover` binds its tokens by DPoP,
// `ledger-guard` asks about tokens. Tokens for RESOURCE are signed, those for RESOURCE/opaque are opaque.

import { X509Certificate } from 'node:crypto';
import { appendFileSync, readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const { values: given } = parseArgs({
  options: {
    identity: { type: 'string' },
    ca: { type: 'string' },
    pinned: { type: 'string' },
    resource: { type: 'string' },
  },
});

// The packages lie where the peers were set up, which is the working directory.
const require = createRequire(`${process.cwd()}/package.json`);
const { Provider, errors } = await import(pathToFileURL(require.resolve('oidc-provider')).href);

const machine = { grant_types: ['client_credentials'], response_types: [], redirect_uris: [] };
const byUri = { ...machine, token_endpoint_auth_method: 'tls_client_auth' };
const bound = { tls_client_certificate_bound_access_tokens: true };
const agent = 'spiffe://agents.internal/agent/billing-bot';

const clients = [
  { ...byUri, ...bound, client_id: 'san', tls_client_auth_san_uri: agent },
  {
    ...machine,
    ...bound,
    client_id: 'pinned',
    token_endpoint_auth_method: 'self_signed_tls_client_auth',
    jwks: { keys: [pinned(given.pinned)] },
  },
  { ...byUri, client_id: 'prover', tls_client_auth_san_uri: agent, dpop_bound_access_tokens: true },
  { ...byUri, client_id: 'ledger-guard', tls_client_auth_san_uri: 'spiffe://agents.internal/server/ledger' },
];

function pinned(file) {
  const certificate = new X509Certificate(readFileSync(file));
  return { ...certificate.publicKey.export({ format: 'jwk' }), use: 'sig', x5c: [certificate.raw.toString('base64')] };
}

const certificate = (ctx) => ctx.req.socket.getPeerX509Certificate();

const mTLS = {
  enabled: true,
  certificateBoundAccessTokens: true,
  selfSignedTlsClientAuth: true,
  tlsClientAuth: true,
  getCertificate: certificate,
  certificateAuthorized: (ctx) => ctx.req.socket.authorized,
  certificateSubjectMatches: (ctx, property, expected) =>
    property === 'tls_client_auth_san_uri' && certificate(ctx).subjectAltName.split(', ').includes(`URI:${expected}`),
};

const signed = { accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
const resources = { [given.resource]: signed, [`${given.resource}/opaque`]: { accessTokenFormat: 'opaque' } };

const resourceIndicators = {
  enabled: true,
  getResourceServerInfo: (ctx, resource) => {
    if (!Object.hasOwn(resources, resource)) {
      throw new errors.InvalidTarget();
    }
    return { ...resources[resource], audience: resource, scope: 'ledger.read ledger.write', accessTokenTTL: 300 };
  },
};

const { privateKey } = await crypto.subtle
  .generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify']);
const signing = { ...(await crypto.subtle.exportKey('jwk', privateKey)), alg: 'ES256', use: 'sig', kid: 'first' };
delete signing.key_ops;
delete signing.ext;

const server = createServer({
  key: readFileSync(`${given.identity}/tls.key`),
  cert: readFileSync(`${given.identity}/tls.crt`),
  ca: readFileSync(given.ca),
  requestCert: true,
  // Who has no certificate, or one that nobody vouches for, is judged by the provider.
  rejectUnauthorized: false,
});
await new Promise((listens) => server.listen(0, '127.0.0.1', listens));
const issuer = `https://localhost:${server.address().port}`;

const provider = new Provider(issuer, {
  clients,
  // The default has no key here.
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  jwks: { keys: [signing] },
  scopes: ['ledger.read', 'ledger.write'],
  responseTypes: [],
  clientAuthMethods: ['tls_client_auth', 'self_signed_tls_client_auth'],
  discovery: { mtls_endpoint_aliases: { token_endpoint: `${issuer}/token` } },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    mTLS,
    pushedAuthorizationRequests: { enabled: false },
    resourceIndicators,
    revocation: { enabled: true },
    rpInitiatedLogout: { enabled: false },
    userinfo: { enabled: false },
  },
});
provider.on('client_credentials.destroyed', (token) => console.log(`forgotten: a token of ${token.clientId}`));
for (const refusal of ['grant.error', 'introspection.error', 'revocation.error']) {
  const why = (error) => error.error_detail ?? error.error_description;
  provider.on(refusal, (ctx, error) => console.log(`${refusal}: ${error.error}: ${why(error)}`));
}
provider.on('server_error', (ctx, error) => console.error(error));
// Whoever looks for tokens in all that a run has written has to know them.
provider.use(async (ctx, next) => {
  await next();
  if (ctx.body?.access_token && process.env.COUNTERMARK_TOKEN_REGISTER) {
    appendFileSync(process.env.COUNTERMARK_TOKEN_REGISTER, `${ctx.body.access_token}\n`);
  }
});
server.on('request', provider.callback());
console.log(issuer);
