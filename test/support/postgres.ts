/**
 * A real PostgreSQL for one test, with its own data folder and a free port on loopback; disposing removes it.
 *
 * Three builds: `embedded` and `embedded-13` (PostgreSQL 18 and 13 from npm packages; no GSSAPI, LDAP or PAM) and
 * `debian` (PostgreSQL 15 of the package postgresql-15; built with all of them). All refuse to run as root, so
 * root starts them as an unprivileged user that owns the data folder.
 */

import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { temporaryRoot } from './folder.ts'
import { freePort } from './free-port.ts'
import { binaries, type Flavor, serverAccount } from './postgres-builds.ts'

export interface PostgresOptions {
  readonly flavor?: Flavor
  /** The folder of the programs of another build. */
  readonly programs?: string
  /** Lines of pg_hba.conf after the first line, which always trusts the Unix socket. */
  readonly hba?: readonly string[]
  readonly config?: Readonly<Record<string, string>>
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string; readonly crl?: string }
  readonly listen?: string
  /** Environment of the server process, such as KRB5_CONFIG. */
  readonly environment?: Readonly<Record<string, string>>
  /** The network namespace that it listens in, for a test that runs as root; its Unix socket is reached from everywhere. */
  readonly namespace?: string
}

// pg reads these, here and in tests; they must not lead it to another server than the one started here.
for (const name of Object.keys(process.env)) if (name.startsWith('PG')) delete process.env[name]

const DEFAULT_HBA = ['host all all 127.0.0.1/32 scram-sha-256', 'host all all ::1/128 scram-sha-256']
const START_LIMIT_MILLIS = 30_000

interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function run(
  file: string,
  args: readonly string[],
  options: { env?: NodeJS.ProcessEnv; uid?: number; gid?: number; cwd?: string } = {},
): Promise<Finished> {
  return new Promise((resolve, reject) => {
    execFile(file, args, { ...options, timeout: 60_000, maxBuffer: 64 << 20 }, (error, stdout, stderr) => {
      if (error !== null && typeof error.code !== 'number') reject(error)
      else resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr })
    })
  })
}

/** Debian's wrapper in /usr/bin only chooses a version, and takes longer than psql itself. */
const PSQL = ['/usr/lib/postgresql/15/bin/psql'].find((path) => existsSync(path)) ?? 'psql'

/** Runs psql as an oracle: it gets no PG* variables and no home directory of this process. */
export async function psql(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('PG')))
  return run(PSQL, ['-X', '-w', ...args], { env: { ...clean, HOME: '/nonexistent', LC_ALL: 'C', ...env } })
}

const running = new Set<ChildProcess>()
// The last resort when a test process ends without disposing: no server may outlive it.
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export interface ServerSetup {
  readonly folder: string
  readonly bin: string
  readonly port: number
  readonly password: string
  readonly account: { readonly uid: number; readonly gid: number } | undefined
  readonly environment: Readonly<Record<string, string>>
  readonly namespace?: string
}

export class PostgresServer implements AsyncDisposable {
  readonly host = '127.0.0.1'
  readonly superuser = 'postgres'
  readonly superuserPassword: string
  readonly port: number
  readonly socketDirectory: string
  readonly dataDirectory: string
  readonly setup: ServerSetup
  readonly #folder: string
  readonly #bin: string
  readonly #account: { readonly uid: number; readonly gid: number } | undefined
  readonly #environment: Readonly<Record<string, string>>
  #process: ChildProcess | undefined
  #log = ''
  #frozen = false

  constructor(setup: ServerSetup) {
    this.setup = setup
    this.#folder = setup.folder
    this.#bin = setup.bin
    this.#account = setup.account
    this.#environment = setup.environment
    this.port = setup.port
    this.superuserPassword = setup.password
    this.socketDirectory = setup.folder
    this.dataDirectory = join(setup.folder, 'data')
  }

  get pid(): number {
    const pid = this.#process?.pid
    if (pid === undefined) throw new Error('The server is not running.')
    return pid
  }

  async start(): Promise<void> {
    const postgres = [join(this.#bin, 'postgres'), '-D', this.dataDirectory]
    const [program = '', ...args] = [...this.#intoNamespace(), ...postgres]
    const child = spawn(program, args, {
      ...(program === postgres[0] && this.#account),
      cwd: this.#folder,
      env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC', ...this.#environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process = child
    running.add(child)
    child.once('exit', () => running.delete(child))
    child.stdout.on('data', (chunk) => {
      this.#log += chunk
    })
    child.stderr.on('data', (chunk) => {
      this.#log += chunk
    })
    const deadline = Date.now() + START_LIMIT_MILLIS
    for (;;) {
      if (child.exitCode !== null) throw new Error(`PostgreSQL did not start:\n${this.#log}`)
      try {
        await this.sql('select 1')
        return
      } catch (cause) {
        if (Date.now() > deadline) throw new Error(`PostgreSQL did not answer in time:\n${this.#log}`, { cause })
      }
      await sleep(25)
    }
  }

  /** The command that enters the namespace and then becomes the account, both without another process. */
  #intoNamespace(): string[] {
    const { namespace, account } = this.setup
    if (namespace === undefined || account === undefined) return []
    const identity = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups']
    return ['ip', 'netns', 'exec', namespace, 'setpriv', ...identity, '--']
  }

  /** `fast` closes sessions in order; `immediate` drops them, as a crash does. */
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
    const limit = AbortSignal.timeout(10_000)
    await Promise.race([
      exited,
      once(limit, 'abort').then(() => {
        child.kill('SIGKILL')
        return exited
      }),
    ])
    this.#process = undefined
  }

  async restart(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    await this.stop(mode)
    await this.start()
  }

  /** Pauses every process of the server (SIGSTOP): it accepts connections but never answers. */
  freeze(): void {
    this.#frozen = true
    this.#signalAll('SIGSTOP')
  }

  thaw(): void {
    this.#frozen = false
    this.#signalAll('SIGCONT')
  }

  #signalAll(signal: NodeJS.Signals): void {
    // ps fails without children, and a server that is stopping may have none.
    const { stdout } = spawnSync('ps', ['-o', 'pid=', '--ppid', String(this.pid)], { encoding: 'utf8' })
    const children = stdout.trim()
    for (const pid of [this.pid, ...(children === '' ? [] : children.split(/\s+/).map(Number))]) {
      try {
        process.kill(pid, signal)
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
  }

  /**
   * Runs SQL as the superuser over the Unix socket and gives its rows as `psql -At` prints them: the server's own
   * text, columns separated by `|`. It needs no psql, which a machine with only the embedded server lacks.
   */
  async sql(text: string, database = 'postgres'): Promise<string> {
    const client = new pg.Client({
      host: this.socketDirectory,
      port: this.port,
      user: this.superuser,
      database,
      connectionTimeoutMillis: 5000,
    })
    // A cut connection fails the query already; the event adds nothing.
    client.on('error', () => undefined)
    try {
      await client.connect()
      const answer: unknown = await client.query({ text, rowMode: 'array', types: { getTypeParser: () => String } })
      const results = (Array.isArray(answer) ? answer : [answer]) as pg.QueryArrayResult[]
      return results
        .flatMap((result) => result.rows.map((row: (string | null)[]) => row.map((value) => value ?? '').join('|')))
        .join('\n')
    } finally {
      await client.end()
    }
  }

  /** Makes the server read its files again; resolves once they apply to new sessions. */
  async reload(): Promise<void> {
    // A session inherits this from the postmaster, which handles the signal at a later time.
    const loadedAt = (): Promise<string> => this.sql('select pg_conf_load_time()')
    const before = await loadedAt()
    await this.sql('select pg_reload_conf()')
    const deadline = Date.now() + START_LIMIT_MILLIS
    while ((await loadedAt()) === before) {
      if (Date.now() > deadline) throw new Error(`PostgreSQL did not read its files again:\n${this.#log}`)
      await sleep(5)
    }
  }

  async setHba(lines: readonly string[]): Promise<void> {
    await writeFile(join(this.dataDirectory, 'pg_hba.conf'), hbaText(lines))
    await this.reload()
    // A bad line fails here, not as a login failure.
    const bad = await this.sql("select error from pg_hba_file_rules where error <> ''")
    if (bad !== '') throw new Error(`pg_hba.conf: ${bad}`)
  }

  log(): string {
    return this.#log
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#frozen && this.#process?.exitCode === null) this.thaw()
    await this.stop('fast')
    await rm(this.#folder, { recursive: true, force: true })
  }
}

function hbaText(lines: readonly string[]): string {
  return ['local all all trust', ...lines, ''].join('\n')
}

export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const {
    flavor = 'embedded',
    hba = DEFAULT_HBA,
    config = {},
    tls,
    listen = '127.0.0.1',
    environment = {},
    namespace,
  } = options
  const account = serverAccount()
  const folder = await mkdtemp(join(temporaryRoot(), 'poolsmith-pg-'))
  try {
    // The Unix socket is in this folder: other accounts may enter, only the owner may write.
    await chmod(folder, 0o755)
    const bin = options.programs ?? (await binaries(flavor, account, folder))
    const data = join(folder, 'data')
    const password = randomBytes(12).toString('base64url')
    const passwordFile = join(folder, 'password')
    await mkdir(data, { mode: 0o700 })
    await writeFile(passwordFile, password, { mode: 0o600 })
    if (account !== undefined) {
      for (const path of [folder, data, passwordFile]) await chown(path, account.uid, account.gid)
    }
    const initialised = await run(
      join(bin, 'initdb'),
      [
        '-D',
        data,
        `--pwfile=${passwordFile}`,
        ...'-U postgres -A scram-sha-256 -E UTF8 --locale=C --no-sync'.split(' '),
      ],
      { ...account, cwd: folder, env: { PATH: process.env.PATH, LC_ALL: 'C', TZ: 'UTC' } },
    )
    if (initialised.code !== 0) throw new Error(`initdb failed:\n${initialised.stdout}${initialised.stderr}`)
    await rm(passwordFile)

    const owned = async (name: string, content: string): Promise<string> => {
      const path = join(data, name)
      await writeFile(path, content, { mode: 0o600 })
      if (account !== undefined) await chown(path, account.uid, account.gid)
      return path
    }
    const port = await freePort()
    const settings: Record<string, string> = {
      port: String(port),
      listen_addresses: listen,
      unix_socket_directories: folder,
      fsync: 'off',
      log_connections: 'on',
      timezone: 'UTC',
      ...(tls === undefined ? {} : { ssl: 'on', ssl_cert_file: 'server.crt', ssl_key_file: 'server.key' }),
      ...(tls?.ca === undefined ? {} : { ssl_ca_file: 'ca.crt' }),
      ...(tls?.crl === undefined ? {} : { ssl_crl_file: 'ca.crl' }),
      ...config,
    }
    if (tls !== undefined) {
      await owned('server.crt', tls.cert)
      await owned('server.key', tls.key)
      if (tls.ca !== undefined) await owned('ca.crt', tls.ca)
      if (tls.crl !== undefined) await owned('ca.crl', tls.crl)
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name} = '${value.replaceAll("'", "''")}'`)
    const conf = await readFile(join(data, 'postgresql.conf'), 'utf8')
    await owned('postgresql.conf', `${conf}\n${lines.join('\n')}\n`)
    await owned('pg_hba.conf', hbaText(hba))

    const server = new PostgresServer({ folder, bin, port, password, account, environment, namespace })
    try {
      await server.start()
    } catch (error) {
      await server.stop('immediate')
      throw error
    }
    return server
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}
