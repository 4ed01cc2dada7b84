/** Vault and OpenBao over HTTP: requests with a token that is obtained, renewed and replaced here. */

import { orAbort } from '../abort.ts'
import { PoolsmithError } from '../errors.ts'
import { redact, type Secret } from '../secret.ts'
import { unobserved } from '../tracing.ts'
import type { VaultContext } from './context.ts'
import { failureOf, redirected } from './errors.ts'
import { isProtected, type VaultOptions } from './fields.ts'
import { ask, type StoreAnswer, unusable } from './https.ts'
import { objectOf } from './json.ts'
import { type Login, LoginFlow } from './login.ts'
import type { Answer, Query } from './query.ts'
import { type TlsFilePlaces, TlsFiles } from './tls-files.ts'

const MOST_REDIRECTS = 3
/** The part of a token's life after which it is renewed. */
const RENEW_AFTER = 2 / 3
/** A renewal that gives less than this part of the first life nears the end that the role sets: a login follows. */
const SHRUNK = 0.5
const LONGEST_TIMER_MILLIS = 2 ** 31 - 1

/** A token with the end of its life. Times in milliseconds since the epoch. */
interface Token extends Login {
  readonly obtainedAt: number
}

/** One server (or cluster) and one login. Close it: it renews its token until then. */
export class Vault {
  readonly address: URL
  readonly #options: VaultOptions
  readonly #context: VaultContext
  readonly #namespace: string | undefined
  readonly #tls: TlsFiles
  readonly #login: LoginFlow
  readonly #closing = new AbortController()
  #token: Token | undefined
  #flight: Promise<Token> | undefined
  #logins = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: VaultOptions, context: VaultContext) {
    const { environment, emit = () => undefined } = context
    this.#options = options
    this.#context = context
    this.address = new URL(options.vault_addr ?? environment.VAULT_ADDR ?? '')
    this.#namespace = options.vault_namespace ?? (environment.VAULT_NAMESPACE || undefined)
    this.#tls = new TlsFiles(tlsPlaces(options, environment), emit)
    const { signal } = this.#closing
    this.#login = new LoginFlow(options, context, signal, (query, token) => this.#checked(query, token, signal))
  }

  /** The server, as errors name it. */
  get name(): string {
    return `Vault ${this.address.host}`
  }

  /** When the token ends, in milliseconds since the epoch; undefined before the first request, or when it does not end. */
  get tokenEndsAt(): number | undefined {
    return this.#token?.expiresAt
  }

  /** How often a token was obtained: leases end with the token that they were taken with. */
  get logins(): number {
    return this.#logins
  }

  /**
   * Sends a request. A token that is refused is replaced once, since it may have been revoked.
   *
   * @throws PoolsmithError STORE_…, SECRET_…
   */
  async query(query: Query, signal: AbortSignal): Promise<Answer> {
    const token = await this.#current(signal)
    try {
      return await this.#checked(query, token.secret, signal)
    } catch (error) {
      if (!(error instanceof PoolsmithError) || error.details.status !== 403) throw error
      if (this.#token === token) this.#forget()
      const other = await this.#current(signal)
      if (other.secret.equals(token.secret)) throw error
      return this.#checked(query, other.secret, signal)
    }
  }

  /** Ends the renewals and the requests under way. */
  close(): void {
    this.#forget()
    this.#context.proofs?.close()
    this.#closing.abort(new PoolsmithError('The store is closed.', { code: 'ABORTED', phase: 'credential' }))
  }

  #forget(): void {
    clearTimeout(this.#timer)
    this.#token = undefined
  }

  async #current(signal: AbortSignal): Promise<Token> {
    const now = this.#now()
    const token = this.#token
    if (token !== undefined && (token.expiresAt === undefined || now < token.expiresAt)) return token
    this.#flight ??= this.#obtain().finally(() => {
      this.#flight = undefined
    })
    return orAbort(this.#flight, signal)
  }

  async #obtain(): Promise<Token> {
    const obtainedAt = this.#now()
    const login = await this.#login.run()
    this.#logins++
    return this.#adopt({ ...login, obtainedAt })
  }

  #adopt(token: Token): Token {
    clearTimeout(this.#timer)
    if (this.#closing.signal.aborted) return token
    this.#token = token
    const { expiresAt, obtainedAt } = token
    if (expiresAt === undefined) return token
    const delay = (expiresAt - obtainedAt) * RENEW_AFTER
    this.#renewIn(Math.min(delay, LONGEST_TIMER_MILLIS), token)
    return token
  }

  /** In the background; where it fails, the next request finds the token expired and logs in. */
  async #renew(token: Token): Promise<void> {
    const { lifeMillis = 0 } = token
    try {
      const obtainedAt = this.#now()
      const renewed = token.renewable ? await this.#login.renew(token.secret) : undefined
      const left = (renewed?.expiresAt ?? 0) - obtainedAt
      if (renewed !== undefined && left >= lifeMillis * SHRUNK) this.#adopt({ ...renewed, lifeMillis, obtainedAt })
      else if (this.#login.canRepeat) await this.#obtain()
      else if (renewed !== undefined) this.#adopt({ ...renewed, lifeMillis, obtainedAt })
    } catch {
      // A request after the end of the token reports why no other is given.
      this.#retryLater(token)
    }
  }

  #retryLater(token: Token): void {
    const left = (token.expiresAt ?? 0) - this.#now()
    if (left <= 0 || this.#token !== token || this.#closing.signal.aborted) return
    this.#renewIn(Math.max(1000, left / 4), token)
  }

  /** Not as a part of the request that needed the token. */
  #renewIn(millis: number, token: Token): void {
    this.#timer = unobserved(() => setTimeout(() => void this.#renew(token), millis).unref())
  }

  #now(): number {
    return (this.#context.now ?? Date.now)()
  }

  async #checked(query: Query, token: Secret | undefined, signal: AbortSignal): Promise<Answer> {
    const { answer, url } = await this.#send(query, token, signal)
    if (answer.status === 204) return { status: 204, body: {} }
    const body = objectOf(answer.text)
    const hide = (text: string): string => redact(text, [token, ...(query.secrets ?? [])])
    if (answer.status !== 200) throw failureOf({ vault: this.name, query, answer, body, hide })
    if (body === undefined) throw unusable(`${this.name}`, url, 'is not a JSON object')
    return { status: 200, body }
  }

  async #send(
    { path, body, headers: more }: Query,
    token: Secret | undefined,
    signal: AbortSignal,
  ): Promise<{ answer: StoreAnswer; url: URL }> {
    let url = new URL(`/v1/${path}`, this.address)
    const headers: Record<string, string> = { ...more, 'x-vault-request': 'true', accept: 'application/json' }
    if (token !== undefined) headers['x-vault-token'] = token.reveal()
    if (this.#namespace !== undefined) headers['x-vault-namespace'] = this.#namespace
    if (body !== undefined) headers['content-type'] = 'application/json'
    for (let hops = 0; ; hops++) {
      const answer = await ask(
        {
          subject: this.name,
          url,
          method: body === undefined ? 'GET' : 'POST',
          headers,
          body: body === undefined ? undefined : JSON.stringify(body),
        },
        {
          signal: AbortSignal.any([signal, this.#closing.signal]),
          limitMillis: this.#options.vault_timeout * 1000,
          tls: url.protocol === 'https:' ? await this.#tls.load() : undefined,
          agent: this.#context.agent,
        },
      )
      if (answer.status < 300 || answer.status >= 400) return { answer, url }
      url = this.#target(answer, url, hops)
    }
  }

  /** The node to which a standby redirects: the token goes to nodes that are named, and over TLS. */
  #target({ status, headers: { location = '' } }: StoreAnswer, from: URL, hops: number): URL {
    const to = URL.canParse(location, from.href) ? new URL(location, from.href) : undefined
    const isSame = to?.hostname === this.address.hostname
    const isPlain = to?.username === '' && to.password === ''
    const isNode = to !== undefined && isPlain && (isSame || this.#options.vault_nodes?.includes(to.hostname) === true)
    const isSafe = to !== undefined && isProtected(to) && (to.protocol === 'https:' || from.protocol === 'http:')
    if (to !== undefined && isNode && isSafe && (status === 307 || status === 308) && hops < MOST_REDIRECTS) return to
    throw redirected(this.name, to, { isNode, isSafe })
  }
}

type Environment = VaultContext['environment']

function tlsPlaces(options: VaultOptions, environment: Environment): TlsFilePlaces {
  const place = (option: 'vault_ca_file' | 'vault_client_cert' | 'vault_client_key', variable: string) => {
    const { [option]: given } = options
    const path = given ?? environment[variable]
    return path ? { path, option: given === undefined ? variable : option } : undefined
  }
  return {
    ca: place('vault_ca_file', 'VAULT_CACERT'),
    certificate: place('vault_client_cert', 'VAULT_CLIENT_CERT'),
    key: place('vault_client_key', 'VAULT_CLIENT_KEY'),
  }
}
