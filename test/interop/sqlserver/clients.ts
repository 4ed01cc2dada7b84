/**
 * The clients that the table of this part runs, each as one program that reads a request a line and answers a line:
 * the verb and its arguments, each percent-encoded and separated by blanks, against one object in JSON.
 */

import assert from 'node:assert/strict'
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { delimiter, join } from 'node:path'
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
  /** Several results may be read by turns (MARS). */
  readonly mars?: boolean
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
  /** The verbs and logins that it does not have, and why. */
  readonly lacks: Readonly<Record<string, string>>
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

function odbcAddress({ port, encrypt, certificateFile, untrusting, packetSize, readOnly, mars }: Place, login: Login) {
  if ('domain' in login) return undefined
  const encryption = { false: 'no', true: 'yes', strict: 'strict' }[encrypt]
  return [
    [
      ...(mars === true ? ['MARS_Connection=yes'] : []),
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

function sqlClientAddress({ port, encrypt, untrusting, packetSize, readOnly, mars }: Place, login: Login) {
  if ('domain' in login) return undefined
  const names = 'user' in login ? [`User ID=${login.user}`, `Password="${login.password}"`] : []
  const text = [
    `Server=tcp:localhost,${port}`,
    'Pooling=false',
    `Encrypt=${encrypt}`,
    `TrustServerCertificate=${untrusting !== true}`,
    ...names,
    // It makes the name of the service from host and port.
    ...('spn' in login ? ['Integrated Security=true'] : []),
    ...(packetSize === undefined ? [] : [`Packet Size=${packetSize}`]),
    ...(readOnly === true ? ['ApplicationIntent=ReadOnly'] : []),
    ...(mars === true ? ['MultipleActiveResultSets=true'] : []),
  ].join(';')
  return [text, ...('token' in login ? [login.token] : [])]
}

/** The folder with the program of a source, which is compiled into the cache of the part once. */
function built(source: string, compile: (path: string, folder: string) => readonly string[]): string {
  const path = join(HERE, source)
  const digest = createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 16)
  const folder = join(fetched(PART, 'go'), `${source}-${digest}`)
  if (existsSync(folder)) return folder
  const fresh = `${folder}.${process.pid}`
  mkdirSync(fresh, { recursive: true })
  const [program = '', ...args] = compile(path, fresh)
  const { status, stderr } = spawnSync(program, args, { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  try {
    renameSync(fresh, folder)
  } catch (error) {
    // Another test file has built it in the meantime.
    rmSync(fresh, { recursive: true })
    if (!existsSync(folder)) throw error
  }
  return folder
}

const jars = (): string => join(fetched(PART, 'maven'), '*')

export const CLIENTS: readonly ClientKind[] = [
  {
    name: 'jdbc',
    command: () => [
      'java',
      // Java reads the realm from here, and takes the user from the ticket cache.
      `-Djava.security.krb5.conf=${process.env['KRB5_CONFIG'] ?? '/etc/krb5.conf'}`,
      '-Xmx256m',
      '-cp',
      [
        jars(),
        built('JdbcClient.java', (path, folder) => ['javac', '-proc:none', '-cp', jars(), '-d', folder, path]),
      ].join(delimiter),
      'JdbcClient',
    ],
    address: jdbcAddress,
    encrypts: ['false', 'true', 'strict'],
    packetSizes: { false: [512, 4096, 32_767], true: [512, 4096, 16_383, 32_767] },
    mark: () => '?',
    lacks: { mars: 'the driver has no MARS' },
  },
  {
    name: 'odbc',
    command: () => [pythonOf(PART), join(HERE, 'odbc_client.py')],
    address: odbcAddress,
    encrypts: ['false', 'true', 'strict'],
    // Its TLS refuses to encrypt a full packet of 16,360 bytes or more.
    packetSizes: { false: [512, 4096, 32_767], true: [512, 4096, 16_300] },
    mark: () => '?',
    lacks: {
      ntlm: 'outside of Windows the driver logs in by Kerberos alone',
      bulk: 'mssql-python copies by another driver than the one for ODBC',
      cancel: 'mssql-python has no call for SQLCancel',
      output: 'mssql-python has no output parameters',
      scroll: 'mssql-python opens no server cursors',
      parameters: 'mssql-python describes no parameters',
    },
  },
  {
    name: 'go',
    command: () => [join(fetched(PART, 'go'), 'bin', PART)],
    address: goAddress,
    encrypts: ['false', 'true', 'strict'],
    // In 512 bytes it cannot read the server's part of the TLS handshake.
    packetSizes: { false: [4096, 32_767], true: [4096, 16_383, 32_767] },
    mark: (index) => `@p${index}`,
    lacks: {
      batch: 'database/sql sends one set of parameters at a time',
      timeout: 'after a time limit database/sql closes the session',
      scroll: 'the driver opens no server cursors',
      tables: 'database/sql has no catalogue',
      types: 'database/sql has no catalogue',
      parameters: 'database/sql describes no parameters',
      mars: 'the driver has no MARS',
    },
  },
  {
    name: 'sqlclient',
    command: () => {
      const folder = built('SqlClient.cs', (path, to) => [
        'mcs',
        '-r:System.Data.dll',
        `-out:${join(to, 'SqlClient.exe')}`,
        path,
      ])
      return ['mono', join(folder, 'SqlClient.exe')]
    },
    address: sqlClientAddress,
    encrypts: ['false', 'true'],
    packetSizes: { false: [512, 4096, 32_767], true: [512, 4096, 16_383, 32_767] },
    mark: (index) => `@p${index}`,
    lacks: {
      ntlm: 'SqlClient has no NTLM login by name and password',
      timeout: "Mono's sockets cannot end the wait of a call",
      scroll: 'SqlClient opens no server cursors',
      tables: 'SqlClient has no call for sp_tables',
      types: 'SqlClient has no call for sp_datatype_info',
      parameters: 'SqlClient describes no parameters',
    },
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
