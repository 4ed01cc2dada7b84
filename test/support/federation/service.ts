/**
 * A tenant of Microsoft Entra whose domain is federated with AD FS, as a program sees both: user realm
 * discovery, WS-MetadataExchange, WS-Trust 1.3 and 2005 by ticket and by password, and the token endpoint with the two
 * SAML grants, over HTTPS on loopback. A test double. Tickets are taken by gss_accept_sec_context with a keytab. curl
 * and MSAL for Python are the clients that check it. Any step can be made to go wrong.
 */

import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { text as textOf } from 'node:stream/consumers'
import tls from 'node:tls'
import { parseXml } from '@rgrove/parse-xml'
import { createLocalJWKSet, exportJWK, generateKeyPair, type JWTVerifyGetKey, jwtVerify, SignJWT } from 'jose'
import { type GssAcceptor, gssAcceptor } from '../gss-acceptor.ts'
import { createPki } from '../pki.ts'
import { metadataDocument } from './metadata.ts'
import { type SamlVersion, signedAssertion, verifiedUpn } from './saml.ts'
import { AUDIENCE, elementsOf, fault, requestProblem, SOAP, TRUST } from './soap.ts'

export type Step = 'realm' | 'metadata' | 'ticket' | 'password' | 'token'

export interface Seen {
  readonly step: Step
  readonly path: string
  readonly authorization: string | undefined
  readonly body: string
  /** The number of the connection on which it arrived. */
  readonly connection: number
}

/** Answers in place of the double; `ordinary` is the double's own answer. */
export type Deviation = (request: Exchange, response: ServerResponse, ordinary: () => Promise<void>) => unknown

export interface Exchange {
  readonly headers: IncomingMessage['headers']
  readonly url: string
  readonly body: string
  readonly socket: Socket
}

export interface FederationOptions {
  /** It has the keys of `HTTP/host` for every host name that clients use. */
  readonly keytab: string
  /** The host of AD FS. Default `localhost`. */
  readonly host?: string
  /** For MSAL's flow. */
  readonly passwords?: Readonly<Record<string, string>>
}

export interface Federation extends AsyncDisposable {
  readonly port: number
  /** `https://localhost:port` */
  readonly authority: string
  readonly tenant: string
  readonly issuer: string
  /** PEM. */
  readonly ca: string
  /** PEM: the key that the assertions are signed with. */
  readonly samlKey: string
  /** The public keys of the tokens. */
  readonly keys: JWTVerifyGetKey
  readonly seen: Seen[]
  /** The faults, by step. */
  readonly deviations: Partial<Record<Step, Deviation>>
  /** Assertions are of SAML 1.1 unless a test says otherwise. */
  saml: SamlVersion
  /** In the assertions. The default has letters beyond ASCII, which MSAL for Python does not support. */
  displayName: string
  /** Restores the initial state. */
  reset(): void
  verify(token: string, audience: string): Promise<{ readonly upn: string }>
}

const LIFE_SECONDS = 3600
const DISPLAY_NAME = 'Zoë Ω 𝄞'

export async function startFederation(options: FederationOptions): Promise<Federation> {
  const pki = await createPki(`poolsmith test federation ${randomUUID()}`)
  const names = ['localhost', 'sts.test', 'login.test']
  const { cert, key } = await pki.issue({ commonName: 'localhost', dns: names })
  const trusted = tls.getCACertificates('default')
  tls.setDefaultCACertificates([...trusted, pki.ca])
  const signing = await generateKeyPair('RS256')
  const saml = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  })
  const jwk = { ...(await exportJWK(signing.publicKey)), kid: 'k1', use: 'sig', alg: 'RS256' }
  const tenant = '11111111-2222-3333-4444-555555555555'
  const issuer = `https://sts.windows.net/${tenant}/`
  const seen: Seen[] = []
  const deviations: Partial<Record<Step, Deviation>> = {}
  const state = { saml: '1.1' as SamlVersion, displayName: DISPLAY_NAME }
  const acceptors = new Map<Socket, GssAcceptor>()
  const sockets = new Map<Socket, number>()

  const federationHost = (): string => `${options.host ?? 'localhost'}:${port}`
  const say = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
  }
  const soap = (response: ServerResponse, status: number, body: string): void => {
    response.writeHead(status, { 'content-type': 'application/soap+xml; charset=utf-8' })
    response.end(`<s:Envelope xmlns:s="${SOAP}"><s:Header/><s:Body>${body}</s:Body></s:Envelope>`)
  }

  /** The default answers, by step. */
  const answers: Readonly<Record<Step, (request: Exchange, response: ServerResponse) => Promise<void>>> = {
    async realm({ url }, response) {
      const user = decodeURIComponent(url.split('/').at(-1)?.split('?')[0] ?? '')
      const domain = user.split('@')[1]?.toLowerCase()
      if (domain !== 'test.realm') return say(response, 200, { ver: '1.0', account_type: 'Unknown' })
      say(response, 200, {
        ver: '1.0',
        account_type: 'Federated',
        domain_name: domain,
        federation_protocol: 'WSTrust',
        federation_metadata_url: `https://${federationHost()}/adfs/services/trust/mex`,
        federation_active_auth_url: `https://${federationHost()}/adfs/services/trust/2005/usernamemixed`,
        cloud_instance_name: 'microsoftonline.com',
        cloud_audience_urn: AUDIENCE,
      })
    },
    async metadata({ headers }, response) {
      response.writeHead(200, { 'content-type': 'application/soap+xml' })
      response.end(metadataDocument(headers.host ?? ''))
    },
    async ticket(request, response) {
      const token = /^Negotiate (.+)$/.exec(request.headers.authorization ?? '')?.[1]
      if (token === undefined) {
        response.writeHead(401, { 'www-authenticate': ['Negotiate', 'NTLM'] }).end()
        return
      }
      const acceptor = acceptors.get(request.socket) ?? gssAcceptor(options.keytab)
      acceptors.set(request.socket, acceptor)
      const forget = (): void => {
        if (acceptors.delete(request.socket)) acceptor.close()
      }
      request.socket.once('close', forget)
      let step: Awaited<ReturnType<GssAcceptor['step']>>
      try {
        step = await acceptor.step(Buffer.from(token, 'base64'))
      } catch {
        forget()
        response.writeHead(401, { 'www-authenticate': 'Negotiate' }).end()
        return
      }
      if (step.output !== undefined)
        response.setHeader('www-authenticate', `Negotiate ${step.output.toString('base64')}`)
      if (step.principal === undefined) {
        response.writeHead(401).end()
        return
      }
      forget()
      issue(request, response, step.principal.toLowerCase())
    },
    async password(request, response) {
      const envelope = elementsOf(parseXml(request.body))
      const word = (name: string): string => envelope.find((each) => each.name.endsWith(`:${name}`))?.text ?? ''
      if (options.passwords?.[word('Username')] !== word('Password')) {
        soap(response, 500, fault('FailedAuthentication', 'ID3242: The security token could not be authenticated.'))
        return
      }
      issue(request, response, word('Username'))
    },
    async token({ body }, response) {
      const form = new URLSearchParams(body)
      const grant = form.get('grant_type') ?? ''
      const version = {
        'urn:ietf:params:oauth:grant-type:saml1_1-bearer': '1.1',
        'urn:ietf:params:oauth:grant-type:saml2-bearer': '2.0',
      }[grant]
      if (version !== '1.1' && version !== '2.0')
        return say(response, 400, refusal('70003', `Another grant: ${grant}.`))
      if (!/^[\w-]+=*$/.test(form.get('assertion') ?? '')) return say(response, 400, refusal('50008', 'Not base64url.'))
      const assertion = Buffer.from(form.get('assertion') ?? '', 'base64url').toString('utf8')
      let upn: string
      try {
        upn = verifiedUpn(assertion, version, AUDIENCE, saml.publicKey)
      } catch (error) {
        return say(response, 400, refusal('50008', `SAML token is invalid: ${(error as Error).message}.`))
      }
      const scope = form
        .get('scope')
        ?.split(' ')
        .find((each) => each.endsWith('/.default'))
      if (scope === undefined) return say(response, 400, refusal('70011', 'The scope is not valid.'))
      const token = await new SignJWT({ upn, appid: form.get('client_id'), tid: tenant })
        .setProtectedHeader({ alg: 'RS256', kid: 'k1', typ: 'JWT' })
        .setIssuer(issuer)
        .setAudience(scope.replace(/\/\.default$/, ''))
        .setIssuedAt()
        .setExpirationTime(Math.floor(Date.now() / 1000) + LIFE_SECONDS)
        .sign(signing.privateKey)
      say(response, 200, { token_type: 'Bearer', expires_in: LIFE_SECONDS, scope, access_token: token })
    },
  }

  const issue = ({ url, headers, body }: Exchange, response: ServerResponse, upn: string): void => {
    const version = url.includes('/13/') ? '13' : '2005'
    const wrong = requestProblem(body, `https://${headers.host}${url}`, version, headers)
    if (wrong !== undefined) {
      soap(response, 500, fault('InvalidRequest', wrong))
      return
    }
    const assertion = signedAssertion(
      state.saml,
      {
        issuer: `http://${options.host ?? 'localhost'}/adfs/services/trust`,
        audience: AUDIENCE,
        upn,
        displayName: state.displayName,
      },
      saml,
    )
    const type =
      state.saml === '1.1' ? 'urn:oasis:names:tc:SAML:1.0:assertion' : 'urn:oasis:names:tc:SAML:2.0:assertion'
    const one = `<t:RequestSecurityTokenResponse xmlns:t="${TRUST[version]}"><t:RequestedSecurityToken>${assertion}</t:RequestedSecurityToken><t:TokenType>${type}</t:TokenType></t:RequestSecurityTokenResponse>`
    soap(
      response,
      200,
      version === '13'
        ? `<c:RequestSecurityTokenResponseCollection xmlns:c="${TRUST['13']}">${one}</c:RequestSecurityTokenResponseCollection>`
        : one,
    )
  }

  const server = createServer({ cert, key }, async (request, response) => {
    const url = request.url ?? ''
    const exchange: Exchange = { headers: request.headers, url, body: await textOf(request), socket: request.socket }
    if (url.includes('/.well-known/openid-configuration')) {
      const base = `https://${request.headers.host}/${tenant}`
      say(response, 200, {
        issuer: `${base}/v2.0`,
        authorization_endpoint: `${base}/oauth2/v2.0/authorize`,
        token_endpoint: `${base}/oauth2/v2.0/token`,
      })
      return
    }
    const step = stepOf(url)
    if (step === undefined) return say(response, 404, { error: 'not_found' })
    const { authorization } = request.headers
    seen.push({ step, path: url, authorization, body: exchange.body, connection: sockets.get(request.socket) ?? 0 })
    const ordinary = (): Promise<void> => answers[step](exchange, response)
    await (deviations[step] === undefined ? ordinary() : deviations[step](exchange, response, ordinary))
  })
  server.on('secureConnection', (socket) => {
    sockets.set(socket, sockets.size + 1)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo

  return {
    port,
    authority: `https://localhost:${port}`,
    tenant,
    issuer,
    ca: pki.ca,
    samlKey: saml.publicKey,
    keys: createLocalJWKSet({ keys: [jwk] }),
    seen,
    deviations,
    get saml() {
      return state.saml
    },
    set saml(value) {
      state.saml = value
    },
    get displayName() {
      return state.displayName
    },
    set displayName(value) {
      state.displayName = value
    },
    reset() {
      for (const step of Object.keys(answers)) delete deviations[step as Step]
      Object.assign(state, { saml: '1.1', displayName: DISPLAY_NAME })
      seen.length = 0
    },
    async verify(token, audience) {
      const { payload } = await jwtVerify(token, signing.publicKey, { issuer, audience, algorithms: ['RS256'] })
      return { upn: String(payload.upn) }
    },
    async [Symbol.asyncDispose]() {
      server.close()
      for (const socket of sockets.keys()) socket.destroy()
      await once(server, 'close')
      for (const acceptor of acceptors.values()) acceptor.close()
      tls.setDefaultCACertificates(trusted)
    },
  }
}

function stepOf(url: string): Step | undefined {
  if (url.startsWith('/common/userrealm/') && url.endsWith('?api-version=1.0')) return 'realm'
  if (url === '/adfs/services/trust/mex') return 'metadata'
  if (/^\/adfs\/services\/trust\/(13|2005)\/windowstransport$/.test(url)) return 'ticket'
  if (/^\/adfs\/services\/trust\/(13|2005)\/usernamemixed$/.test(url)) return 'password'
  return /^\/[\w.-]+\/oauth2\/v2\.0\/token$/.test(url) ? 'token' : undefined
}

function refusal(number: string, text: string): unknown {
  return {
    error: 'invalid_grant',
    error_description: `AADSTS${number}: ${text} Trace ID: 00000000-0000-0000-0000-000000000000 Correlation ID: 00000000-0000-0000-0000-000000000000 Timestamp: 2026-01-01 00:00:00Z`,
    error_codes: [Number(number)],
  }
}
