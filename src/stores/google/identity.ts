/** Tokens for Google's services: application default credentials, a file, workload identity federation, impersonation. */

import type { AuthClient } from 'google-auth-library'
import { orAbort } from '../../abort.ts'
import { isError } from '../../any-error.ts'
import { credentialFailure, faultOf } from '../../credentials/failure.ts'
import { PoolsmithError } from '../../errors.ts'
import { loadPackage } from '../../optional-package.ts'
import { Secret } from '../../secret.ts'
import type { RequestAgents } from '../../strategies/strategy.ts'
import { supervise } from '../../strategies/supervise.ts'
import { readSecretText } from '../../vault/credential-file.ts'
import { isProtected } from '../../vault/fields.ts'
import { ask, isRecord, objectOf } from '../../vault/https.ts'
import { googleFailure } from './failure.ts'
import type { GoogleOptions } from './fields.ts'

export interface GoogleContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly agents?: RequestAgents | undefined
}

type Library = typeof import('google-auth-library')
type Json = Readonly<Record<string, unknown>>

/** Who asks, and whose tokens it then takes. */
interface Identity {
  readonly client: AuthClient
  /** Service accounts that delegate, and last the one whose token is used; none: that of the client. */
  readonly chain: readonly string[]
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
    const library = await loadPackage('google-auth-library', () => import('google-auth-library'), 'gcp-sm:')
    const limitMillis = this.#options.credential_timeout * 1000
    const secrets: Secret[] = []
    try {
      const { client, chain } = await this.#identity(library, secrets, signal)
      exchangeBySameWay(client)
      const work = async (): Promise<Token> => {
        const { token } = await client.getAccessToken()
        if (!token) throw new Error('no token was given')
        const { expiry_date: endsAt } = client.credentials
        return { value: new Secret(token), endsAt: endsAt ?? Date.now() }
      }
      const own = await orAbort(supervise({ signal, requestLimitMillis: limitMillis }, work), signal)
      this.#token = chain.length === 0 ? own : await this.#impersonate(chain, own.value, signal)
      return this.#token.value
    } catch (error) {
      signal.throwIfAborted()
      throw tokenFailure(error, secrets)
    }
  }

  /** Forgets a token that was refused. @returns whether another may be accepted */
  reject(token: Secret): boolean {
    if (this.#token?.value !== token) return false
    this.#token = undefined
    return true
  }

  async #identity(library: Library, secrets: Secret[], signal: AbortSignal): Promise<Identity> {
    const { environment, agents } = this.#context
    const { google_credentials_file: given, google_impersonate: chosen = [] } = this.#options
    const agent = agents && ((url: URL) => (url.protocol === 'http:' ? agents.http : agents.https))
    const transporterOptions = agent === undefined ? {} : { agent }
    const file = given ?? (environment.GOOGLE_APPLICATION_CREDENTIALS || undefined)
    if (file === undefined) {
      // With a project, the library asks no program and no metadata service for one.
      const auth = new library.GoogleAuth({ scopes: SCOPE, projectId: 'unused', clientOptions: { transporterOptions } })
      const limited = { signal, requestLimitMillis: this.#options.credential_timeout * 1000 }
      return {
        client: await orAbort(
          supervise(limited, () => auth.getClient()),
          signal,
        ),
        chain: chosen,
      }
    }
    const option = given === undefined ? 'GOOGLE_APPLICATION_CREDENTIALS' : 'google_credentials_file'
    const text = await readSecretText(file, { what: 'file of the Google credential', option })
    const json = objectOf(text.reveal())
    if (json === undefined) throw unusable(file, 'holds no JSON object')
    const { client, chain } = ofFile(library, json, file, transporterOptions, secrets)
    return { client, chain: chosen.length === 0 ? chain : [...chain, ...chosen] }
  }

  /** https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken */
  async #impersonate(chain: readonly string[], token: Secret, signal: AbortSignal): Promise<Token> {
    const target = chain.at(-1) ?? ''
    const delegates = chain.slice(0, -1).map((email) => `projects/-/serviceAccounts/${email}`)
    const url = new URL(`${IAM}/v1/projects/-/serviceAccounts/${encodeURIComponent(target)}:generateAccessToken`)
    const headers = { authorization: `Bearer ${token.reveal()}`, 'content-type': 'application/json' }
    const body = JSON.stringify({ delegates, scope: [SCOPE], lifetime: '3600s' })
    const limitMillis = this.#options.credential_timeout * 1000
    const channel = { signal, limitMillis, agent: this.#context.agents?.https }
    const subject = 'The Google IAM API'
    const answer = await ask({ subject, url, method: 'POST', headers, body }, channel)
    const { accessToken, expireTime } = objectOf(answer.text) ?? {}
    if (answer.status === 200 && typeof accessToken === 'string') {
      return { value: new Secret(accessToken), endsAt: Date.parse(String(expireTime)) }
    }
    const failure = googleFailure(answer, { subject, url, step: `give a token of ${target}`, secrets: [token] })
    if (failure.transient) throw failure.with({ code: 'CREDENTIAL_FAILED' })
    const hint = `Give the identity that asks the role Service Account Token Creator on ${target}.`
    throw failure.with({ code: 'CREDENTIAL_REFUSED', hint })
  }
}

/** The identity of a file, by its type. The library's own way of reading any type warns on the console. */
function ofFile(library: Library, json: Json, file: string, transporterOptions: object, secrets: Secret[]): Identity {
  const text = (name: string): string => (typeof json[name] === 'string' ? json[name] : '')
  const hidden = (name: string): string => {
    const value = text(name)
    if (value !== '') secrets.push(new Secret(value))
    return value
  }
  switch (json.type) {
    case 'service_account': {
      const key = { email: text('client_email'), key: hidden('private_key'), keyId: text('private_key_id') }
      return { client: new library.JWT({ ...key, scopes: SCOPE, transporterOptions }), chain: [] }
    }
    case 'authorized_user': {
      const login = { clientId: text('client_id'), clientSecret: hidden('client_secret') }
      const refreshToken = hidden('refresh_token')
      return { client: new library.UserRefreshClient({ ...login, refreshToken, transporterOptions }), chain: [] }
    }
    case 'external_account': {
      for (const name of ['token_url', 'service_account_impersonation_url']) {
        const url = text(name)
        if (url === '' && name !== 'token_url') continue
        if (!URL.canParse(url) || !isProtected(new URL(url))) throw unusable(file, `has no https address as ${name}`)
      }
      return { client: federated(library, { ...json, scopes: [SCOPE], transporterOptions }), chain: [] }
    }
    case 'impersonated_service_account': {
      const { source_credentials: source, delegates } = json
      const target = /\/serviceAccounts\/([^/:]{1,256}):generateAccessToken$/.exec(
        text('service_account_impersonation_url'),
      )?.[1]
      if (!isRecord(source) || target === undefined) throw unusable(file, 'names no source or no service account')
      const before = Array.isArray(delegates) ? delegates.map((one) => String(one).replace(/^.*\//, '')) : []
      const { client } = ofFile(library, source, file, transporterOptions, secrets)
      return { client, chain: [...before, target] }
    }
    default:
      throw unusable(file, 'is of a type that is not known')
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

function unusable(file: string, what: string): PoolsmithError {
  return new PoolsmithError(`The file of the Google credential ${file} ${what}.`, {
    code: 'CREDENTIAL_INVALID',
    phase: 'credential',
    hint: 'Give a JSON file as gcloud or the Google Cloud console writes it.',
    details: { file },
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
