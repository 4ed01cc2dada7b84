/** Tokens for Google's services: application default credentials, a file, workload identity federation, impersonation. */

import { createSign } from 'node:crypto'
import type { AuthClient } from 'google-auth-library'
import { orAbort } from '../../abort.ts'
import { isError } from '../../any-error.ts'
import { credentialFailure, faultOf } from '../../credentials/failure.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { Secret } from '../../secret.ts'
import { readSecretText } from '../../vault/credential-file.ts'
import { isProtected } from '../../vault/fields.ts'
import { ask } from '../../vault/https.ts'
import { isRecord, objectOf } from '../../vault/json.ts'
import type { RequestAgents } from '../strategy.ts'
import { supervise } from '../supervise.ts'
import { googleFailure } from './failure.ts'
import type { GoogleOptions } from './fields.ts'

export interface GoogleContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly agents?: RequestAgents | undefined
  /** As {@link loadPackage} takes it. Default: `gcp-sm:`. */
  readonly neededFor?: string
}

type Library = typeof import('google-auth-library')
type Json = Readonly<Record<string, unknown>>

/** Who asks, and whose tokens it then takes. */
interface Identity {
  readonly client: AuthClient
  /** Service accounts that delegate, and last the one whose token is used; none: that of the client. */
  readonly chain: readonly string[]
  /** The key of a service account, where a file or an option gives it. */
  readonly key?: AccountKey | undefined
}

interface AccountKey {
  readonly email: string
  readonly key: string
  readonly keyId: string
}

interface Token {
  readonly value: Secret
  /** Milliseconds since the epoch. */
  readonly endsAt: number
}

const SUBJECT = 'The Google token could not be obtained'
const SCOPE = 'https://www.googleapis.com/auth/cloud-platform'
/** The library renews its tokens so long before their end; the end itself is not waited for. */
const ENDS_MILLIS = 60_000
/** Vault takes a JWT that lives a quarter of an hour at most. */
const PROOF_SECONDS = 300
const IAM = 'https://iamcredentials.googleapis.com'

/** Gives the tokens of one identity, each as long as it lasts. */
export class GoogleTokens {
  readonly #options: GoogleOptions
  readonly #context: GoogleContext
  #token: Token | undefined

  constructor(options: GoogleOptions, context: GoogleContext) {
    this.#options = options
    this.#context = context
  }

  /** @throws PoolsmithError CREDENTIAL_…, SECRET_… of the file; the signal's reason */
  async current(signal: AbortSignal): Promise<Secret> {
    const known = this.#token
    if (known !== undefined && known.endsAt - Date.now() > ENDS_MILLIS) return known.value
    return this.#identified(signal, async ({ client, chain }) => {
      const own = await this.#own(client, signal)
      this.#token = chain.length === 0 ? own : await this.#impersonate(chain, own.value, signal)
      return this.#token.value
    })
  }

  /**
   * The JWT of a service account by which Vault is logged in to: signed here by its key, by Google for an account that
   * is impersonated, or the identity token of this machine
   * (https://developer.hashicorp.com/vault/docs/auth/gcp).
   *
   * @param role of Vault, which is the audience
   * @param now the time of the server, in milliseconds since the epoch
   * @throws as {@link current}
   */
  async proof(role: string, signal: AbortSignal, now: number): Promise<Secret> {
    return this.#identified(signal, async ({ client, chain, key }, library) => {
      const email = chain.at(-1) ?? key?.email
      const issuedAt = Math.floor(now / 1000)
      const claims = { iss: email, sub: email, aud: `vault/${role}`, iat: issuedAt, exp: issuedAt + PROOF_SECONDS }
      if (chain.length > 0) return this.#signed(chain, claims, (await this.#own(client, signal)).value, signal)
      if (key !== undefined) return signedBy(key, claims)
      if (client instanceof library.Compute) {
        return new Secret(await this.#supervised(signal, () => client.fetchIdToken(`http://vault/${role}`)))
      }
      throw new PoolsmithError('The identity of Google has no key that could sign a login to Vault.', {
        code: 'CREDENTIAL_INVALID',
        phase: 'credential',
        hint: 'Name a service account in google_impersonate, for which Google then signs.',
      })
    })
  }

  /** Runs with the identity that the options name. */
  async #identified<T>(signal: AbortSignal, work: (identity: Identity, library: Library) => Promise<T>): Promise<T> {
    const { neededFor = 'gcp-sm:' } = this.#context
    const library = await loadPackage('google-auth-library', () => import('google-auth-library'), neededFor)
    const secrets: Secret[] = []
    try {
      const identity = await this.#identity(library, secrets, signal)
      exchangeBySameWay(identity.client)
      return await work(identity, library)
    } catch (error) {
      signal.throwIfAborted()
      throw tokenFailure(error, secrets)
    }
  }

  #own(client: AuthClient, signal: AbortSignal): Promise<Token> {
    return this.#supervised(signal, async () => {
      const { token } = await client.getAccessToken()
      if (!token) throw new Error('no token was given')
      const { expiry_date: endsAt } = client.credentials
      return { value: new Secret(token), endsAt: endsAt ?? Date.now() }
    })
  }

  #supervised<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const requestLimitMillis = this.#options.credential_timeout * 1000
    return orAbort(supervise({ signal, requestLimitMillis }, work), signal)
  }

  /** Forgets a token that was refused. @returns whether another may be accepted */
  reject(token: Secret): boolean {
    if (this.#token?.value !== token) return false
    this.#token = undefined
    return true
  }

  async #identity(library: Library, secrets: Secret[], signal: AbortSignal): Promise<Identity> {
    const { environment, agents } = this.#context
    const {
      google_credentials_file: given,
      google_credentials: inline,
      google_impersonate: chosen = [],
    } = this.#options
    const scopes = [...(this.#options.google_scopes ?? [SCOPE])]
    const agent = agents && ((url: URL) => (url.protocol === 'http:' ? agents.http : agents.https))
    const transporterOptions = agent === undefined ? {} : { agent }
    const file = given ?? (environment.GOOGLE_APPLICATION_CREDENTIALS || undefined)
    if (inline === undefined && file === undefined) {
      // With a project, the library asks no program and no metadata service for one.
      const auth = new library.GoogleAuth({ scopes, projectId: 'unused', clientOptions: { transporterOptions } })
      return { client: await this.#supervised(signal, () => auth.getClient()), chain: chosen }
    }
    const option = given === undefined ? 'GOOGLE_APPLICATION_CREDENTIALS' : 'google_credentials_file'
    const place = inline === undefined ? `file of the Google credential ${file}` : 'option google_credentials'
    const text = inline ?? (await readSecretText(file ?? '', { what: 'file of the Google credential', option }))
    const json = objectOf(text.reveal())
    if (json === undefined) throw unusable(place, 'holds no JSON object')
    const { client, chain, key } = ofFile(library, json, place, { transporterOptions, scopes }, secrets)
    return { client, chain: [...chain, ...chosen], key }
  }

  /** https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken */
  async #impersonate(chain: readonly string[], token: Secret, signal: AbortSignal): Promise<Token> {
    const body = { scope: this.#options.google_scopes ?? [SCOPE], lifetime: '3600s' }
    const { accessToken, expireTime } = await this.#askIam('generateAccessToken', body, { chain, token, signal })
    return { value: new Secret(String(accessToken)), endsAt: Date.parse(String(expireTime)) }
  }

  /** https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/signJwt */
  async #signed(chain: readonly string[], claims: Json, token: Secret, signal: AbortSignal): Promise<Secret> {
    const body = { payload: JSON.stringify(claims) }
    return new Secret(String((await this.#askIam('signJwt', body, { chain, token, signal })).signedJwt))
  }

  async #askIam(
    method: 'generateAccessToken' | 'signJwt',
    body: Json,
    {
      chain,
      token,
      signal,
    }: { readonly chain: readonly string[]; readonly token: Secret; readonly signal: AbortSignal },
  ): Promise<Json> {
    const target = chain.at(-1) ?? ''
    const delegates = chain.slice(0, -1).map((email) => `projects/-/serviceAccounts/${email}`)
    const url = new URL(`${IAM}/v1/projects/-/serviceAccounts/${encodeURIComponent(target)}:${method}`)
    const headers = { authorization: `Bearer ${token.reveal()}`, 'content-type': 'application/json' }
    const limitMillis = this.#options.credential_timeout * 1000
    const channel = { signal, limitMillis, agent: this.#context.agents?.https }
    const subject = 'The Google IAM API'
    const question = { subject, url, method: 'POST', headers, body: JSON.stringify({ delegates, ...body }) } as const
    const answer = await ask(question, channel)
    const object = objectOf(answer.text)
    if (answer.status === 200 && typeof (object?.accessToken ?? object?.signedJwt) === 'string') return object as Json
    const failure = googleFailure(answer, { subject, url, step: `give a token of ${target}`, secrets: [token] })
    if (failure.transient) throw failure.with({ code: 'CREDENTIAL_FAILED' })
    const hint = `Give the identity that asks the role Service Account Token Creator on ${target}.`
    throw failure.with({ code: 'CREDENTIAL_REFUSED', hint })
  }
}

/**
 * The identity of a file, by its type. The library's own way of reading any type warns on the console.
 *
 * @param place names the file in errors, or the option
 */
function ofFile(
  library: Library,
  json: Json,
  place: string,
  settings: { readonly transporterOptions: object; readonly scopes: string[] },
  secrets: Secret[],
): Identity {
  const text = (name: string): string => (typeof json[name] === 'string' ? json[name] : '')
  const hidden = (name: string): string => {
    const value = text(name)
    if (value !== '') secrets.push(new Secret(value))
    return value
  }
  switch (json.type) {
    case 'service_account': {
      const key = { email: text('client_email'), key: hidden('private_key'), keyId: text('private_key_id') }
      return { client: new library.JWT({ ...key, ...settings }), chain: [], key }
    }
    case 'authorized_user': {
      const login = { clientId: text('client_id'), clientSecret: hidden('client_secret') }
      const refreshToken = hidden('refresh_token')
      const { transporterOptions } = settings
      return { client: new library.UserRefreshClient({ ...login, refreshToken, transporterOptions }), chain: [] }
    }
    case 'external_account': {
      for (const name of ['token_url', 'service_account_impersonation_url']) {
        const url = text(name)
        if (url === '' && name !== 'token_url') continue
        if (!URL.canParse(url) || !isProtected(new URL(url))) throw unusable(place, `has no https address as ${name}`)
      }
      return { client: federated(library, { ...json, ...settings }), chain: [] }
    }
    case 'impersonated_service_account': {
      const { source_credentials: source, delegates } = json
      const target = /\/serviceAccounts\/([^/:]{1,256}):generateAccessToken$/.exec(
        text('service_account_impersonation_url'),
      )?.[1]
      if (!isRecord(source) || target === undefined) throw unusable(place, 'names no source or no service account')
      const before = Array.isArray(delegates) ? delegates.map((one) => String(one).replace(/^.*\//, '')) : []
      const { client } = ofFile(library, source, place, settings, secrets)
      return { client, chain: [...before, target] }
    }
    default:
      throw unusable(place, 'is of a type that is not known')
  }
}

/** As the library chooses it: ExternalAccountClient.fromJSON. */
function federated(library: Library, options: Json): AuthClient {
  const source = isRecord(options.credential_source) ? options.credential_source : {}
  type Options = ConstructorParameters<Library['IdentityPoolClient']>[0]
  if (source.environment_id !== undefined) return new library.AwsClient(options as never)
  if (source.executable !== undefined) return new library.PluggableAuthClient(options as never)
  return new library.IdentityPoolClient(options as unknown as Options)
}

/**
 * The exchange of a federated token has a way of its own in the library, past the agents. This is a private part of it,
 * which the tests of federation use.
 */
function exchangeBySameWay(client: AuthClient): void {
  const { stsCredential: exchange } = client as { stsCredential?: { transporter?: unknown } }
  if (exchange !== undefined) exchange.transporter = client.transporter
}

/** The JWT of a service account that its own key signs (RFC 7519, RFC 7515). */
function signedBy({ key, keyId }: AccountKey, claims: Json): Secret {
  const part = (value: Json): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'RS256', typ: 'JWT', kid: keyId })}.${part(claims)}`
  return new Secret(`${signed}.${createSign('RSA-SHA256').update(signed).sign(key, 'base64url')}`)
}

function unusable(place: string, what: string): PoolsmithError {
  return new PoolsmithError(`The ${place} ${what}.`, {
    code: 'CREDENTIAL_INVALID',
    phase: 'credential',
    hint: 'Give JSON as gcloud or the Google Cloud console writes it.',
  })
}

function tokenFailure(error: unknown, secrets: readonly Secret[]): PoolsmithError {
  if (isError(error) && error.message.startsWith('Could not load the default credentials')) {
    return new PoolsmithError(`${SUBJECT}: no identity was found here.`, {
      code: 'CREDENTIAL_MISSING',
      phase: 'credential',
      hint: 'Set google_credentials_file or GOOGLE_APPLICATION_CREDENTIALS, run `gcloud auth application-default login`, or run where a service account is attached.',
    })
  }
  const refused = faultOf(error).kind === 'refused'
  const hint = refused ? 'Check that the key, the account or the federation is active, and the clock here.' : undefined
  return credentialFailure(SUBJECT, error, { secrets, hint })
}
