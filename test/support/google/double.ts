/**
 * Google on loopback, by its REST references: Secret Manager, the token endpoint for service accounts and persons, the
 * security token service of workload identity federation, impersonation, and the metadata server. google-auth-library is
 * driven against it beside ours.
 */

import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { createServer as createPlainServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type Agent, createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import tls from 'node:tls'
import { decodeJwt, importPKCS8, importSPKI, jwtVerify, SignJWT } from 'jose'
import { agentTo } from '../agent-to.ts'
import { createPki } from '../pki.ts'
import { GoogleRefusal, GoogleSecrets } from './secrets.ts'

/** The service account of the machine. */
export const MACHINE = 'machine@sales-prod.iam.gserviceaccount.com'

export const PERSON = { client_id: 'gcloud', client_secret: 'secret-of-gcloud', refresh_token: 'refresh-of-ann' }
/** The token that a workload's own provider issued. */
export const SUBJECT_TOKEN = 'token-of-the-workload'

const CLOUD_PLATFORM = 'https://www.googleapis.com/auth/cloud-platform'

export interface GoogleDouble extends AsyncDisposable {
  readonly agents: { readonly http: never; readonly https: Agent }
  /** Answers for every name of `googleapis.com`. */
  readonly port: number
  /** PEM: the authority that signed its certificate, for a separate process. */
  readonly ca: string
  /** The access tokens that were given, with their identities. */
  readonly tokens: ReadonlyMap<string, string>
  /** `host:port` of the metadata server. */
  readonly metadataHost: string
  /** A key file of a service account, whose key the double knows. */
  keyFile(email: string): string
  /** The service account that a JWT is of. @throws for a signature that is not Google's */
  accountOf(jwt: string): Promise<string>
  readonly secrets: GoogleSecrets
  /** Who may read, by the identity of the token. */
  readonly readers: Set<string>
  /** Who may act as whom: `source>target`. */
  readonly delegations: Set<string>
  /** Method, host and path of every request, in order, with the identity of its token. */
  readonly asked: { readonly what: string; readonly identity: string | undefined }[]
  /** Answers in place of Secret Manager, as long as it is set; false lets a request through. */
  fault: ((response: ServerResponse) => boolean) | undefined
  /** Answers in place of the token endpoints. */
  tokenFault: ((response: ServerResponse) => boolean) | undefined
  lifeSeconds: number
  /** All tokens are refused from now on. */
  revoke(): void
}

export async function startGoogleDouble(): Promise<GoogleDouble> {
  const pki = await createPki('google authority')
  const dns = ['*.googleapis.com', '*.europe-west3.rep.googleapis.com']
  const { cert, key } = await pki.issue({ commonName: 'google', dns })
  const trusted = tls.getCACertificates('default')
  tls.setDefaultCACertificates([...trusted, pki.ca])
  const tokens = new Map<string, string>()
  const accounts = new Map<string, string>()
  const keys = new Map<string, string>()
  const state = {
    secrets: new GoogleSecrets(),
    readers: new Set<string>(),
    delegations: new Set<string>(),
    asked: [] as GoogleDouble['asked'],
    fault: undefined as GoogleDouble['fault'],
    tokenFault: undefined as GoogleDouble['tokenFault'],
    lifeSeconds: 3600,
  }

  function issue(identity: string): string {
    const token = `ya29.${randomUUID()}`
    tokens.set(token, identity)
    return token
  }

  async function grant(form: URLSearchParams): Promise<object> {
    const issued = (identity: string): object => ({
      access_token: issue(identity),
      expires_in: state.lifeSeconds,
      token_type: 'Bearer',
    })
    const refuse = (words: string): never => {
      throw new GoogleRefusal(400, 'invalid_grant', words)
    }
    switch (form.get('grant_type')) {
      case 'urn:ietf:params:oauth:grant-type:jwt-bearer': {
        const assertion = form.get('assertion') ?? ''
        const { iss = '' } = decodeJwt(assertion)
        const known = accounts.get(iss)
        if (known === undefined) return refuse('Invalid grant: account not found')
        const audience = 'https://oauth2.googleapis.com/token'
        const verified = jwtVerify(assertion, await importSPKI(known, 'RS256'), { audience, issuer: iss })
        await verified.catch(() => refuse('Invalid JWT Signature.'))
        return issued(iss)
      }
      case 'refresh_token':
        if (form.get('refresh_token') !== PERSON.refresh_token) refuse('Token has been expired or revoked.')
        return issued('ann@example.com')
      case 'urn:ietf:params:oauth:grant-type:token-exchange':
        if (form.get('subject_token') !== SUBJECT_TOKEN) refuse('The subject token is not valid.')
        return { ...issued('workload'), issued_token_type: 'urn:ietf:params:oauth:token-type:access_token' }
      default:
        return refuse('another grant type')
    }
  }

  /** The identity of an access token, or of a JWT that a service account signs itself (AIP-4111). */
  async function identityIn(authorization = '', host: string): Promise<string | undefined> {
    const token = /^Bearer (.+)$/.exec(authorization)?.[1] ?? ''
    if (!token.startsWith('eyJ')) return tokens.get(token)
    const { iss = '' } = decodeJwt(token)
    const known = accounts.get(iss)
    if (known === undefined) return undefined
    const rules = { issuer: iss, subject: iss, maxTokenAge: '1h' }
    const { payload } = await jwtVerify(token, await importSPKI(known, 'RS256'), rules)
    return payload.aud === `https://${host}/` || payload.scope === CLOUD_PLATFORM ? iss : undefined
  }

  /** A service account may be asked for directly, or by those that delegate. */
  function impersonate(source: string, target: string, delegates: readonly string[]): object {
    const chain = [source, ...delegates.map((one) => one.replace('projects/-/serviceAccounts/', '')), target]
    for (const [index, one] of chain.slice(1).entries()) {
      if (state.delegations.has(`${chain[index]}>${one}`)) continue
      throw new GoogleRefusal(403, 'PERMISSION_DENIED', "Permission 'iam.serviceAccounts.getAccessToken' denied")
    }
    // In whole seconds.
    const expireTime = new Date(Date.now() + state.lifeSeconds * 1000).toISOString().replace(/\.\d+/, '')
    return { accessToken: issue(target), expireTime }
  }

  /** As the IAM API and the metadata server sign for an account. */
  async function signFor(email: string, claims: Record<string, unknown>): Promise<string> {
    const key = keys.get(email)
    if (key === undefined) throw new GoogleRefusal(404, 'NOT_FOUND', `Not found; ${email}`)
    return new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key-1' }).sign(await importPKCS8(key, 'RS256'))
  }

  async function answer(request: IncomingMessage, body: string, response: ServerResponse): Promise<object | undefined> {
    const { method = '', url = '', headers } = request
    const host = String(headers.host)
    const at = new URL(url, `https://${host}`)
    // A JWT that cannot be verified is no identity.
    const identity = await identityIn(headers.authorization, host).catch(() => undefined)
    state.asked.push({ what: `${method} ${host}${decodeURIComponent(at.pathname)}`, identity })
    const isToken = !host.startsWith('secretmanager')
    if ((isToken ? state.tokenFault : state.fault)?.(response) === true) return undefined
    if (at.pathname === '/token' || at.pathname === '/v1/token') return grant(new URLSearchParams(body))
    if (identity === undefined) {
      throw new GoogleRefusal(401, 'UNAUTHENTICATED', 'Request had invalid authentication credentials.')
    }
    if (host === 'iamcredentials.googleapis.com') {
      const [, target = '', verb] = /serviceAccounts\/(.+):(\w+)$/.exec(decodeURIComponent(at.pathname)) ?? []
      const asked = JSON.parse(body) as { readonly delegates?: string[]; readonly payload?: string }
      const given = impersonate(identity, target, asked.delegates ?? [])
      if (verb !== 'signJwt') return given
      return { keyId: 'key-1', signedJwt: await signFor(target, JSON.parse(asked.payload ?? '{}')) }
    }
    if (!state.readers.has(identity)) {
      const words = `Permission 'secretmanager.versions.access' denied for resource (or it may not exist).`
      throw new GoogleRefusal(403, 'PERMISSION_DENIED', words)
    }
    return state.secrets.answer(method, at, body)
  }

  const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.once('end', () => {
      answer(request, Buffer.concat(chunks).toString('utf8'), response).then(
        (output) => {
          if (output === undefined) return
          response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(output))
        },
        (error: unknown) => {
          if (!(error instanceof GoogleRefusal)) throw error
          const isOauth = request.url === '/token' || request.url === '/v1/token'
          if (isOauth) oauthError(response, error)
          else refuseByGoogle(response, error.status, error.name, error.message)
        },
      )
    })
  }
  const metadata = createPlainServer((request, response) => {
    state.asked.push({ what: `${request.method} metadata${request.url}`, identity: undefined })
    response.setHeader('metadata-flavor', 'Google')
    if (request.headers['metadata-flavor'] !== 'Google') response.writeHead(403).end()
    else if (request.url?.includes('/service-accounts/default/token') === true) {
      response.setHeader('content-type', 'application/json')
      response.end(
        JSON.stringify({ access_token: issue('machine'), expires_in: state.lifeSeconds, token_type: 'Bearer' }),
      )
    } else if (request.url?.includes('/service-accounts/default/identity') === true) {
      const aud = new URL(request.url, 'http://metadata').searchParams.get('audience')
      const claims = {
        aud,
        iss: 'https://accounts.google.com',
        email: MACHINE,
        exp: Math.floor(Date.now() / 1000) + 3600,
      }
      void signFor(MACHINE, { ...claims, sub: '1234567890' }).then((token) => response.end(token))
    } else response.end('{}')
  })
  const server = createServer({ cert, key }, onRequest)
  const sockets = new Set<Duplex>()
  const keep = (socket: Duplex | Socket): void => void sockets.add(socket.once('close', () => sockets.delete(socket)))
  for (const each of [server, metadata]) {
    each.on('connection', keep)
    await new Promise<void>((resolve) => each.listen(0, '127.0.0.1', resolve))
  }
  const port = (server.address() as AddressInfo).port
  return Object.assign(state, {
    port,
    ca: pki.ca,
    tokens,
    agents: { http: undefined as never, https: agentTo(() => port, ['googleapis.com']) },
    metadataHost: `127.0.0.1:${(metadata.address() as AddressInfo).port}`,
    keyFile(email: string) {
      const { privateKey, publicKey } = generateKeyPairSync('rsa', {
        modulusLength: 2048,
        publicKeyEncoding: { type: 'spki', format: 'pem' },
        privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
      })
      accounts.set(email, publicKey)
      keys.set(email, privateKey)
      return JSON.stringify({
        type: 'service_account',
        project_id: 'sales-prod',
        private_key_id: 'key-1',
        private_key: privateKey,
        client_email: email,
        token_uri: 'https://oauth2.googleapis.com/token',
      })
    },
    async accountOf(jwt: string) {
      const { sub, email } = decodeJwt(jwt)
      const account = String(email ?? sub)
      // The caller compares its times with a clock of its own.
      await jwtVerify(jwt, await importSPKI(accounts.get(account) ?? '', 'RS256'), { currentDate: new Date(0) })
      return account
    },
    revoke: () => tokens.clear(),
    async [Symbol.asyncDispose]() {
      tls.setDefaultCACertificates(trusted)
      for (const socket of sockets) socket.destroy()
      for (const each of [server, metadata]) await new Promise((resolve) => each.close(resolve))
    },
  })
}

function oauthError(response: ServerResponse, { status, name, message }: GoogleRefusal): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ error: name, error_description: message }))
}

/** An error as Google's APIs have it. */
export function refuseByGoogle(
  response: ServerResponse,
  code: number,
  status: string,
  message: string,
  headers: Record<string, string> = {},
): void {
  response.writeHead(code, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify({ error: { code, message, status } }))
}
