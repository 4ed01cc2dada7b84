/**
 * The clients that the table of this part runs, each as one program that reads a request a line and answers a line:
 * the verb and its arguments, each percent-encoded and separated by blanks, against one object in JSON.
 */

import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fetched, pythonOf } from '../../support/interop.ts'

const PART = 'sqlserver'
const HERE = import.meta.dirname
/** A client that does not answer is ended; the first start of a virtual machine takes seconds. */
const LIMIT_MILLIS = 90_000

export type Encrypt = 'false' | 'true' | 'strict'

export interface Place {
  readonly port: number
  readonly encrypt: Encrypt
  /** The file of the server's own certificate, which a client verifies it by; undefined trusts any but under `strict`. */
  readonly certificateFile?: string
  /** No certificate is trusted that the system does not know. */
  readonly untrusting?: boolean
  readonly packetSize?: number
  readonly readOnly?: boolean
}

export type Login =
  | { readonly user: string; readonly password: string }
  | { readonly token: string }
  | { readonly domain: string; readonly user: string; readonly password: string }
  /** By Kerberos, with the ticket cache of the environment. */
  | { readonly spn: string; readonly cache: string; readonly config: string }

export interface Result {
  readonly rows?: readonly (readonly (string | null)[])[]
  readonly count?: number
}

export interface Answer {
  readonly error?: number
  readonly message?: string
  readonly results?: readonly Result[]
  readonly answers?: readonly Answer[]
  readonly notices?: readonly string[]
  readonly rows?: number
  readonly changed?: number
  readonly first?: string
  readonly out?: number
}

/** One of the programs. */
export interface ClientKind {
  readonly name: 'jdbc' | 'odbc' | 'go' | 'sqlclient'
  /** The program with its arguments. */
  readonly command: () => readonly string[]
  /** The arguments of `connect`; undefined for a login that the client does not have. */
  readonly address: (place: Place, login: Login) => readonly string[] | undefined
  readonly encrypts: readonly Encrypt[]
  readonly packetSizes: Readonly<Record<'false' | 'true', readonly number[]>>
  /** How it writes the parameters of a statement. */
  readonly mark: (index: number) => string
  /** The verbs that it does not have. */
  readonly lacks: readonly string[]
}

function jdbcAddress({ port, encrypt, certificateFile, untrusting, packetSize, readOnly }: Place, login: Login) {
  const url = `jdbc:sqlserver://localhost:${port};loginTimeout=20`
  const properties = [
    `encrypt=${encrypt}`,
    `trustServerCertificate=${encrypt !== 'strict' && untrusting !== true}`,
    ...(encrypt === 'strict' && certificateFile !== undefined ? [`serverCertificate=${certificateFile}`] : []),
    ...(packetSize === undefined ? [] : [`packetSize=${packetSize}`]),
    ...(readOnly === true ? ['applicationIntent=ReadOnly'] : []),
  ]
  if ('token' in login) return [url, ...properties, `accessToken=${login.token}`]
  if ('spn' in login) {
    const kerberos = [
      'integratedSecurity=true',
      'authenticationScheme=JavaKerberos',
      'useDefaultJaasConfig=true',
      `serverSpn=${login.spn}`,
    ]
    return [url, ...properties, ...kerberos]
  }
  const names = [`user=${login.user}`, `password=${login.password}`]
  if (!('domain' in login)) return [url, ...properties, ...names]
  return [
    url,
    ...properties,
    ...names,
    'integratedSecurity=true',
    'authenticationScheme=NTLM',
    `domain=${login.domain}`,
  ]
}

const quoted = (value: string): string => `{${value.replaceAll('}', '}}')}}`

function odbcAddress({ port, encrypt, certificateFile, untrusting, packetSize, readOnly }: Place, login: Login) {
  if ('domain' in login) return undefined
  const encryption = { false: 'no', true: 'yes', strict: 'strict' }[encrypt]
  return [
    [
      `Server=localhost,${port}`,
      `Encrypt=${encryption}`,
      ...(encrypt === 'strict' ? [`ServerCertificate=${certificateFile}`] : []),
      `TrustServerCertificate=${untrusting === true || encrypt === 'strict' ? 'no' : 'yes'}`,
      ...(packetSize === undefined ? [] : [`PacketSize=${packetSize}`]),
      ...(readOnly === true ? ['ApplicationIntent=ReadOnly'] : []),
      ...('spn' in login ? ['Trusted_Connection=yes', `ServerSPN=${login.spn}`] : []),
      ...('user' in login ? [`UID=${login.user}`, `PWD=${quoted(login.password)}`] : []),
    ].join(';'),
    ...('token' in login ? [login.token] : []),
  ]
}

function goAddress({ port, encrypt, certificateFile, untrusting, packetSize, readOnly }: Place, login: Login) {
  const query = new URLSearchParams({ encrypt, 'dial timeout': '20' })
  if (encrypt === 'strict') query.set('certificate', certificateFile ?? '')
  query.set('trustservercertificate', String(untrusting !== true && encrypt !== 'strict'))
  if (packetSize !== undefined) query.set('packet size', String(packetSize))
  if (readOnly === true) {
    query.set('ApplicationIntent', 'ReadOnly')
    query.set('database', 'master')
  }
  const url = new URL(`sqlserver://localhost:${port}`)
  if ('spn' in login) {
    query.set('authenticator', 'krb5')
    query.set('krb5-configfile', login.config)
    query.set('krb5-credcachefile', login.cache.replace(/^FILE:/, ''))
    query.set('ServerSPN', login.spn)
  } else if ('user' in login) {
    url.username = encodeURIComponent('domain' in login ? `${login.domain}\\${login.user}` : login.user)
    url.password = encodeURIComponent(login.password)
    if ('domain' in login) query.set('authenticator', 'ntlm')
  }
  url.search = query.toString().replaceAll('+', '%20')
  return [url.href, ...('token' in login ? [login.token] : [])]
}

function sqlClientAddress({ port, encrypt, untrusting, packetSize, readOnly }: Place, login: Login) {
  if (!('password' in login) || 'domain' in login) return undefined
  const size = packetSize === undefined ? '' : `;Packet Size=${packetSize}`
  const intent = readOnly === true ? ';ApplicationIntent=ReadOnly' : ''
  const trust = `Encrypt=${encrypt};TrustServerCertificate=${untrusting !== true}`
  return [
    `Server=tcp:localhost,${port};User ID=${login.user};Password="${login.password}";Pooling=false;${trust}${size}${intent}`,
  ]
}

let compiled: string | undefined

/** Compiled once into the cache of the part. */
function sqlClientProgram(): string {
  if (compiled !== undefined) return compiled
  const program = join(fetched(PART, 'go'), 'SqlClient.exe')
  const { status, stderr } = spawnSync('mcs', ['-r:System.Data.dll', `-out:${program}`, join(HERE, 'SqlClient.cs')], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stderr)
  compiled = program
  return program
}

export const CLIENTS: readonly ClientKind[] = [
  {
    name: 'jdbc',
    command: () => [
      'java',
      // Java reads the realm from here, and takes the user from the ticket cache.
      `-Djava.security.krb5.conf=${process.env['KRB5_CONFIG'] ?? '/etc/krb5.conf'}`,
      '-Xmx256m',
      '-cp',
      join(fetched(PART, 'maven'), '*'),
      join(HERE, 'JdbcClient.java'),
    ],
    address: jdbcAddress,
    encrypts: ['false', 'true', 'strict'],
    packetSizes: { false: [512, 4096, 32_767], true: [512, 4096, 16_383, 32_767] },
    mark: () => '?',
    lacks: ['change', 'output'],
  },
  {
    name: 'odbc',
    command: () => [pythonOf(PART), join(HERE, 'odbc_client.py')],
    address: odbcAddress,
    encrypts: ['false', 'true', 'strict'],
    // Its TLS refuses to encrypt a full packet of 16,360 bytes or more.
    packetSizes: { false: [512, 4096, 32_767], true: [512, 4096, 16_300] },
    mark: () => '?',
    lacks: ['cancel', 'change', 'output'],
  },
  {
    name: 'go',
    command: () => [join(fetched(PART, 'go'), 'bin', PART)],
    address: goAddress,
    encrypts: ['false', 'true', 'strict'],
    // In 512 bytes it cannot read the server's part of the TLS handshake.
    packetSizes: { false: [4096, 32_767], true: [4096, 16_383, 32_767] },
    mark: (index) => `@p${index}`,
    // After a time limit, database/sql closes the session.
    lacks: ['batch', 'timeout'],
  },
  {
    name: 'sqlclient',
    command: () => ['mono', sqlClientProgram()],
    address: sqlClientAddress,
    encrypts: ['false', 'true'],
    packetSizes: { false: [512, 4096, 32_767], true: [512, 4096, 16_383, 32_767] },
    mark: (index) => `@p${index}`,
    // Mono's sockets cannot end the wait of a call.
    lacks: ['batch', 'timeout'],
  },
]

export class Client implements AsyncDisposable {
  readonly kind: ClientKind
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: AsyncIterator<string>
  #complaints = ''

  constructor(kind: ClientKind, environment: Readonly<Record<string, string>> = {}) {
    this.kind = kind
    const [program = '', ...args] = kind.command()
    this.#child = spawn(program, args, { env: { ...process.env, ...environment }, stdio: 'pipe' })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaints += text
    })
    this.#child.on('error', (error) => {
      this.#complaints += String(error)
    })
    this.#child.stdin.on('error', () => undefined)
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]()
  }

  /** The answer to one request. A client that is silent for too long is ended. */
  async ask(verb: string, ...words: readonly string[]): Promise<Answer> {
    this.#child.stdin.write(`${[verb, ...words].map(encodeURIComponent).join(' ')}\n`)
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LIMIT_MILLIS)
    const line = await this.#lines.next()
    clearTimeout(timer)
    assert.ok(
      line.done !== true,
      `${this.kind.name} gave no answer to ${verb} ${words.join(' ')}:\n${this.#complaints}`,
    )
    return JSON.parse(line.value)
  }

  /** As {@link ask}, of a request that must succeed. */
  async get(verb: string, ...words: readonly string[]): Promise<Answer> {
    const answer = await this.ask(verb, ...words)
    assert.equal(answer.error, undefined, `${this.kind.name}, ${verb} ${words[0] ?? ''}: ${answer.message}`)
    return answer
  }

  async connect(place: Place, login: Login): Promise<Answer> {
    const address = this.kind.address(place, login)
    assert.ok(address !== undefined, `${this.kind.name} has no such login`)
    return this.ask('connect', ...address)
  }

  /** The rows of the only result. */
  async rows(sql: string): Promise<readonly (readonly (string | null)[])[]> {
    const { results = [] } = await this.get('run', sql)
    return results.find(({ rows }) => rows !== undefined)?.rows ?? []
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.stdin.end()
    const { exitCode, signalCode } = this.#child
    if (exitCode !== null || signalCode !== null) return
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    await new Promise<void>((resolve) => this.#child.once('close', () => resolve()))
    clearTimeout(timer)
  }
}
