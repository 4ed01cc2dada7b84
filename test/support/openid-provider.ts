/**
 * A Microsoft Entra tenant as a client sees it: OpenID discovery, the token endpoint with the client credentials
 * grant and those of a person (password, code with PKCE, device code, refresh token), and the pages that a person
 * opens, over HTTPS on loopback. It issues signed JWTs. @azure/identity with MSAL is the client that checks it. It can
 * be slow, refuse, throttle or be down.
 */

import type { webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import tls from 'node:tls'
import {
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  importX509,
  type JWTVerifyGetKey,
  jwtVerify,
  SignJWT,
} from 'jose'
import { oauthError, Persons, Refusal } from './entra-people.ts'
import { createPki } from './pki.ts'

export type TokenAnswer =
  | { readonly kind: 'token'; readonly lifeSeconds?: number; readonly audience?: string }
  | { readonly kind: 'error'; readonly status: number; readonly body?: unknown; readonly retryAfter?: string }
  /** The connection stays open without an answer. */
  | { readonly kind: 'hang' }
  /** The connection is cut. */
  | { readonly kind: 'reset' }

export interface OpenIdProvider extends AsyncDisposable {
  readonly authorityHost: string
  readonly tenant: string
  readonly issuer: string
  /** Token requests that have arrived: when (milliseconds since the epoch), and with which form. */
  readonly requests: readonly { readonly at: number; readonly form: URLSearchParams }[]
  /** Sets how the token endpoint answers from now on. */
  answer: TokenAnswer
  /** Resolves when a client closes a connection before it got its answer. */
  readonly abandoned: Promise<void>
  /** PEM: the authority that signed its certificate, for a separate process (NODE_EXTRA_CA_CERTS). */
  readonly ca: string
  /** Its public keys, for a server that verifies tokens itself. */
  readonly keys: JWTVerifyGetKey
  /** Throws, with the reason, when the token is not from this issuer, for this audience and valid now. */
  verify(token: string, audience: string): Promise<{ readonly appid: string; readonly jti: string }>
  /**
   * Acts as a person with a browser at the shown address: signs in, and the browser follows the redirect back.
   *
   * @param name undefined: the person declines
   */
  visit(url: string, name?: string): Promise<{ readonly status: number; readonly words: string }>
  /** The device codes that were asked for. */
  readonly deviceCodes: readonly string[]
  /** Acts as a person with a device code: enters it and signs in, or declines. */
  enter(userCode: string, name?: string): void
  changePassword(name: string, password: string): void
  /** The lifetime of people's access tokens, in seconds. */
  lifeSeconds: number
  /** Refresh tokens are refused from now on. */
  forgetPeople(): void
  /** Closes the port; `start` opens the same one again. */
  stop(): Promise<void>
  start(): Promise<void>
}

export interface ClientRegistration {
  readonly secret?: string
  /** PEM: a certificate whose key signs client assertions. */
  readonly certificate?: string
  /** The key of a workload's own issuer, which signs its federated tokens. */
  readonly workloadKey?: webcrypto.CryptoKey
}

/**
 * @param people the accounts that can sign in, by name, with their passwords; any public client may ask them
 */
export async function startOpenIdProvider(
  clients: Readonly<Record<string, ClientRegistration>>,
  people: Readonly<Record<string, string>> = {},
): Promise<OpenIdProvider> {
  const pki = await createPki('poolsmith test authority')
  const { cert, key } = await pki.issue({
    commonName: 'localhost',
    dns: ['localhost', 'login.test', 'login.microsoftonline.com'],
  })
  const trusted = tls.getCACertificates('default')
  tls.setDefaultCACertificates([...trusted, pki.ca])

  const signing = await generateKeyPair('RS256')
  const jwk = { ...(await exportJWK(signing.publicKey)), kid: 'k1', use: 'sig', alg: 'RS256' }
  const tenant = '11111111-2222-3333-4444-555555555555'
  const issuer = `https://sts.windows.net/${tenant}/`
  const requests: { at: number; form: URLSearchParams }[] = []
  const abandoned = Promise.withResolvers<void>()
  const sockets = new Set<Socket>()
  const state = { answer: { kind: 'token' } as TokenAnswer }
  let serial = 0

  const persons = new Persons(people, tenant)
  const issue = async (clientId: string, resource: string, lifeSeconds: number, upn?: string): Promise<string> =>
    new SignJWT({
      appid: clientId,
      oid: `oid-of-${upn ?? clientId}`,
      tid: tenant,
      ...(upn === undefined ? {} : { upn }),
    })
      .setProtectedHeader({ alg: 'RS256', kid: 'k1', typ: 'JWT' })
      .setIssuer(issuer)
      .setAudience(resource)
      .setJti(`token-${++serial}`)
      .setIssuedAt()
      .setNotBefore('0s')
      .setExpirationTime(Math.floor(Date.now() / 1000) + lifeSeconds)
      .sign(signing.privateKey)

  const server = createServer({ cert, key }, (request, response) => {
    const say = (status: number, body: unknown, headers: Record<string, string> = {}): void => {
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
    }
    const base = `https://${request.headers.host}/${tenant}`
    if (request.url?.startsWith(`/${tenant}/v2.0/.well-known/openid-configuration`)) {
      say(200, {
        issuer: `${base}/v2.0`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
        jwks_uri: `${base}/discovery/v2.0/keys`,
      })
      return
    }
    if (request.url?.startsWith(`/${tenant}/discovery/v2.0/keys`)) {
      say(200, { keys: [jwk] })
      return
    }
    if (request.method === 'POST' && request.url?.startsWith(`/${tenant}/oauth2/v2.0/devicecode`)) {
      say(200, persons.deviceCode())
      return
    }
    if (request.method !== 'POST' || !request.url?.startsWith(`/${tenant}/oauth2/v2.0/token`)) {
      say(404, { error: 'not_found' })
      return
    }
    let body = ''
    request.on('data', (chunk) => {
      body += chunk
    })
    request.on('end', () => {
      const form = new URLSearchParams(body)
      requests.push({ at: Date.now(), form })
      const { answer } = state
      if (answer.kind === 'reset') request.socket.destroy()
      else if (answer.kind === 'hang') request.socket.once('close', () => abandoned.resolve())
      else if (answer.kind === 'error') {
        const headers: Record<string, string> =
          answer.retryAfter === undefined ? {} : { 'retry-after': answer.retryAfter }
        say(answer.status, answer.body ?? { error: 'unknown' }, headers)
      } else {
        grant(form, answer).then(
          (granted) => say(200, granted),
          (error: unknown) => say(400, oauthError(error)),
        )
      }
    })
  })
  server.on('secureConnection', (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })

  const grant = async (form: URLSearchParams, answer: TokenAnswer & { kind: 'token' }): Promise<unknown> => {
    const clientId = form.get('client_id') ?? ''
    const client = clients[clientId]
    const name = persons.grant(form)
    if (name !== undefined) {
      const scope =
        form
          .get('scope')
          ?.split(' ')
          .find((each) => each.startsWith('https://')) ?? ''
      return persons.answer(
        name,
        clientId,
        await issue(clientId, scope.replace(/\/\.default$/, ''), persons.lifeSeconds, name),
        scope,
      )
    }
    if (form.get('grant_type') !== 'client_credentials') throw new Refusal('70003', 'Another grant type.')
    if (client === undefined) throw new Refusal('700016', `Application with identifier '${clientId}' was not found.`)
    await authenticate(form, clientId, client, `https://localhost:${port}/${tenant}/oauth2/v2.0/token`)
    const scope =
      form
        .get('scope')
        ?.split(' ')
        .find((each) => each.endsWith('/.default')) ?? ''
    const life = answer.lifeSeconds ?? 3600
    return {
      token_type: 'Bearer',
      expires_in: life,
      ext_expires_in: life,
      access_token: await issue(clientId, answer.audience ?? scope.replace(/\/\.default$/, ''), life),
    }
  }

  const listen = async (at: number): Promise<number> => {
    server.listen(at, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const stop = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    for (const socket of sockets) socket.destroy()
    await once(server, 'close')
  }
  const port = await listen(0)

  return {
    authorityHost: `https://localhost:${port}`,
    tenant,
    issuer,
    requests,
    ca: pki.ca,
    keys: createLocalJWKSet({ keys: [jwk] }),
    abandoned: abandoned.promise,
    get answer() {
      return state.answer
    },
    set answer(value) {
      state.answer = value
    },
    async verify(token, audience) {
      const { payload } = await jwtVerify(token, signing.publicKey, { issuer, audience, algorithms: ['RS256'] })
      return { appid: String(payload.appid), jti: String(payload.jti) }
    },
    visit: (url, name) => persons.visit(url, name),
    get deviceCodes() {
      return persons.deviceCodes
    },
    changePassword: (name, password) => persons.changePassword(name, password),
    enter: (userCode, name) => persons.enter(userCode, name),
    get lifeSeconds() {
      return persons.lifeSeconds
    },
    set lifeSeconds(value) {
      persons.lifeSeconds = value
    },
    forgetPeople: () => persons.forget(),
    stop,
    async start() {
      if (!server.listening) await listen(port)
    },
    async [Symbol.asyncDispose]() {
      await stop()
      tls.setDefaultCACertificates(trusted)
    },
  }
}

async function authenticate(
  form: URLSearchParams,
  clientId: string,
  client: ClientRegistration,
  endpoint: string,
): Promise<void> {
  const assertion = form.get('client_assertion')
  if (assertion === null) {
    if (client.secret === undefined || form.get('client_secret') !== client.secret) {
      throw new Refusal('7000215', 'Invalid client secret provided.')
    }
    return
  }
  if (client.workloadKey !== undefined) {
    await jwtVerify(assertion, client.workloadKey, { audience: 'api://AzureADTokenExchange' })
    return
  }
  if (client.certificate === undefined) throw new Refusal('700027', 'The certificate is not registered.')
  const { protectedHeader } = await jwtVerify(assertion, (header) => importX509(client.certificate ?? '', header.alg), {
    issuer: clientId,
    subject: clientId,
    audience: endpoint,
    // The client rounds its seconds, and Entra allows for clocks that differ.
    clockTolerance: 5,
  })
  if (protectedHeader['x5t#S256'] === undefined) throw new Refusal('700027', 'The assertion names no certificate.')
}
