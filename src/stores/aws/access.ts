/**
 * Commands to AWS' stores of secrets: AWS' own client signs and reads them, with the keys of the strategy `iam`, and they
 * are sent here, within bounds of time and size.
 */

import type { RequestOptions } from 'node:http'
import type { Connection } from '../../connections/connection.ts'
import { PoolsmithError } from '../../errors.ts'
import { awsFailure } from '../../strategies/aws/failure.ts'
import { type AwsKeys, type KeyProvider, keyProvider, namedProfile } from '../../strategies/aws/keys.ts'
import { metadataTrouble } from '../../strategies/aws/metadata-trouble.ts'
import type { RequestAgents } from '../../strategies/strategy.ts'
import { type SupervisedRequest, supervise } from '../../strategies/supervise.ts'
import { isProtected } from '../../vault/fields.ts'
import { ask, type StoreAnswer, unusable } from '../../vault/https.ts'
import { objectOf } from '../../vault/json.ts'
import { type AwsQuestion, awsStoreFailure, isSignatureFault } from './failure.ts'
import { type AwsService, type AwsStoreOptions, endpointOf, regionOfSecret } from './options.ts'

export interface AwsAccessContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The database, whose region is that of the secret where nothing else names one. */
  readonly connection: Pick<Connection, 'host' | 'port'>
  readonly agents?: RequestAgents | undefined
  readonly assumeRole?: Readonly<Record<string, unknown>> | undefined
}

/** The client of one service, as far as it is used here. */
interface AwsClient {
  readonly config: { readonly systemClockOffset: number }
}

/** The settings of a client for one command. */
export interface AwsClientSettings {
  readonly region: string
  readonly endpoint: string | undefined
  readonly credentials: AwsKeys
  readonly systemClockOffset: number
  readonly maxAttempts: 1
  readonly requestHandler: { handle(request: AwsRequest): Promise<{ readonly response: AwsResponse }> }
}

interface AwsRequest {
  readonly method: string
  readonly protocol: string
  readonly hostname: string
  readonly port?: number
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array | undefined
}

interface AwsResponse {
  readonly statusCode: number
  readonly headers: Record<string, string>
  readonly body: Uint8Array
}

const NAMES: Readonly<Record<AwsService, string>> = {
  'aws-sm': 'AWS Secrets Manager',
  'aws-ssm': 'The AWS Parameter Store',
}

/** The end of temporary keys is not waited for. */
const KEYS_END_MILLIS = 60_000
/** From this difference on, AWS takes a signature for expired or for one of the future. */
const CLOCK_MILLIS = 240_000

/** One service, under one identity. */
export class AwsAccess {
  readonly #service: AwsService
  readonly #options: AwsStoreOptions
  readonly #context: AwsAccessContext
  readonly #endpoint: string | undefined
  #keys: AwsKeys | undefined
  #clockOffset = 0

  constructor(service: AwsService, options: AwsStoreOptions, context: AwsAccessContext) {
    this.#service = service
    this.#options = options
    this.#context = context
    this.#endpoint = endpointOf(service, options, context.environment)
  }

  /**
   * Sends one command, and once more if it was signed with keys that had ended or by a clock that is wrong.
   *
   * @param connect makes the service's client
   * @param command sends the command by it
   * @throws PoolsmithError CREDENTIAL_…, STORE_…, SECRET_MISSING, SECRET_DELETED; the signal's reason
   */
  async send<Client extends AwsClient, Output>(
    question: AwsQuestion,
    connect: (settings: AwsClientSettings) => Client,
    command: (client: Client) => Promise<Output>,
    signal: AbortSignal,
  ): Promise<Output> {
    const { environment, connection } = this.#context
    const region = regionOfSecret(question.path, this.#options, environment, connection)
    if (region === undefined) throw new Error('The options were not checked.')
    for (let isFirst = true; ; isFirst = false) {
      const isKept = this.#keys !== undefined
      const credentials = await this.#currentKeys(region, signal)
      const subject = `${NAMES[this.#service]} in ${region}`
      const wire = new Wire(subject, this.#options.credential_timeout * 1000, this.#context.agents?.https, signal)
      const client = connect({
        region,
        endpoint: this.#endpoint,
        credentials,
        systemClockOffset: this.#clockOffset,
        maxAttempts: 1,
        requestHandler: wire,
      })
      try {
        return await command(client)
      } catch (error) {
        signal.throwIfAborted()
        // Without what the SDK has added to it.
        if (error instanceof PoolsmithError) throw error.with({})
        const isRefused = isSignatureFault(error)
        if (isRefused) this.#keys = undefined
        const isClockWrong = Math.abs(client.config.systemClockOffset - this.#clockOffset) >= CLOCK_MILLIS
        if (isFirst && isRefused && (isKept || isClockWrong)) continue
        const secrets = [this.#options.aws_secret_access_key, this.#options.aws_session_token]
        throw awsStoreFailure(error, subject, question, wire.answer, [...secrets, ...(question.secrets ?? [])])
      } finally {
        this.#clockOffset = client.config.systemClockOffset
      }
    }
  }

  async #currentKeys(region: string, signal: AbortSignal): Promise<AwsKeys> {
    const known = this.#keys
    if (known?.expiration !== undefined && known.expiration.getTime() - Date.now() > KEYS_END_MILLIS) return known
    const { environment, agents, assumeRole } = this.#context
    const requestLimitMillis = this.#options.credential_timeout * 1000
    const neededFor = `${this.#service}:`
    const provide: KeyProvider = await keyProvider(this.#options, {
      region,
      environment,
      agents,
      requestLimitMillis,
      assumeRole,
      neededFor,
    })
    const requests: SupervisedRequest[] = []
    try {
      this.#keys = await supervise({ signal, requestLimitMillis, requests }, provide)
      return this.#keys
    } catch (error) {
      const { aws_access_key_id: id, aws_secret_access_key: key, aws_session_token: session } = this.#options
      const profile = id === undefined ? namedProfile(this.#options, environment) : undefined
      const trouble = metadataTrouble(requests, environment)
      throw awsFailure(error, profile, [key, session], trouble, KEYS_SUBJECT)
    }
  }
}

const KEYS_SUBJECT = 'The AWS keys for the store could not be obtained'

/** Sends the requests of one client. Its answers are JSON objects, whatever answers in place of AWS. */
class Wire {
  readonly #subject: string
  readonly #limitMillis: number
  readonly #agent: RequestOptions['agent']
  readonly #signal: AbortSignal
  /** The last answer. */
  answer: StoreAnswer | undefined

  constructor(subject: string, limitMillis: number, agent: RequestOptions['agent'], signal: AbortSignal) {
    this.#subject = subject
    this.#limitMillis = limitMillis
    this.#agent = agent
    this.#signal = signal
  }

  async handle(request: AwsRequest): Promise<{ readonly response: AwsResponse }> {
    const { protocol, hostname, port, path, headers, body } = request
    const url = new URL(`${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}`)
    if (!isProtected(url)) throw unprotected(this.#subject, url)
    const question = { subject: this.#subject, url, method: 'POST', headers, body } as const
    const answer = await ask(question, { signal: this.#signal, limitMillis: this.#limitMillis, agent: this.#agent })
    this.answer = answer
    const { status } = answer
    if (status >= 300 && status < 400) {
      throw new PoolsmithError(`${this.#subject} redirects the request (HTTP ${status}).`, {
        code: 'STORE_REDIRECTED',
        phase: 'credential',
        hint: `Redirections are never followed: see what answers at ${url.origin}.`,
        details: { status, host: url.host },
      })
    }
    // A fault of a load balancer may be told in HTML; its status says more.
    if (status < 500 && objectOf(answer.text) === undefined) throw unusable(this.#subject, url, 'is no JSON object')
    const response = { statusCode: status, headers: plain(answer.headers), body: Buffer.from(answer.text) }
    return { response }
  }
}

/** The SDK has read it from the shared configuration files, past the option that is checked. */
function unprotected(subject: string, url: URL): PoolsmithError {
  return new PoolsmithError(`${subject} would be asked without TLS, at ${url.origin}.`, {
    code: 'STORE_REFUSED',
    phase: 'credential',
    hint: 'Nothing was sent. Set an https address as endpoint_url in the AWS configuration, or aws_endpoint_url.',
    details: { host: url.host },
  })
}

function plain(headers: StoreAnswer['headers']): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]))
}
