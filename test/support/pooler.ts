/** A real PgBouncer, pgpool-II or another program in front of a PostgreSQL, with its own folder and a free loopback port. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chown, rename, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { temporaryFolder } from './folder.ts'
import { freePort } from './free-port.ts'
import type { PostgresServer } from './postgres.ts'

const START_LIMIT_MILLIS = 20_000
const STOP_LIMIT_MILLIS = 10_000

export interface Pooler extends AsyncDisposable {
  readonly port: number
  /** Its output so far. */
  readonly log: () => string
}

export interface Program {
  readonly path: string
  /** Writes the pooler's files and returns its arguments. */
  readonly prepare: (folder: string, port: number) => Promise<readonly string[]>
  readonly stopSignal: NodeJS.Signals
}

export interface PgbouncerOptions {
  readonly poolMode?: 'session' | 'transaction' | 'statement'
  /** More lines of the section [pgbouncer]. */
  readonly lines?: readonly string[]
  /** Its users, with their passwords. */
  readonly users: Readonly<Record<string, string>>
  /** More words for every database, such as `auth_user=lookup`. */
  readonly database?: string
}

export interface Pgbouncer extends Pooler {
  /** Runs a command of its console, as a user of its `admin_users`, which must have a password in `users`. */
  readonly command: (user: string, sql: string) => Promise<void>
  /** Gives a user another password. */
  readonly setPassword: (user: string, password: string) => Promise<void>
}

/** Logs in to the server with the passwords of its users, by the method that the server asks for. */
export async function startPgbouncer(server: PostgresServer, options: PgbouncerOptions): Promise<Pgbouncer> {
  const { poolMode = 'session', lines = [], database = '' } = options
  const users = { ...options.users }
  let userFile = ''
  const writeUsers = async (): Promise<void> => {
    const list = Object.entries(users).map(([name, password]) => `"${name}" "${password}"\n`)
    await writeFile(`${userFile}.new`, list.join(''), { mode: 0o644 })
    await rename(`${userFile}.new`, userFile)
  }
  const pooler = await startBefore({
    path: '/usr/sbin/pgbouncer',
    stopSignal: 'SIGTERM',
    prepare: async (folder, port) => {
      userFile = join(folder, 'users.txt')
      await writeUsers()
      const text = [
        '[databases]',
        `* = host=127.0.0.1 port=${server.port} ${database}`,
        '[pgbouncer]',
        `listen_port = ${port}`,
        'listen_addr = 127.0.0.1',
        'unix_socket_dir =',
        'auth_type = scram-sha-256',
        `auth_file = ${userFile}`,
        `pool_mode = ${poolMode}`,
        'server_login_retry = 1',
        ...lines,
        '',
      ]
      await writeFile(join(folder, 'pgbouncer.ini'), text.join('\n'))
      return [join(folder, 'pgbouncer.ini')]
    },
  })
  const command = async (user: string, sql: string): Promise<void> => {
    const client = new pg.Client({
      host: '127.0.0.1',
      port: pooler.port,
      user,
      password: users[user] ?? '',
      database: 'pgbouncer',
    })
    await client.connect()
    try {
      await client.query(sql)
    } finally {
      await client.end()
    }
  }
  return {
    ...pooler,
    command,
    setPassword: async (user, password) => {
      users[user] = password
      await writeUsers()
    },
  }
}

export interface PgpoolOptions {
  /** More lines of pgpool.conf. */
  readonly lines?: readonly string[]
  /**
   * The passwords that it asks for and logs in to the server with. Without them it passes the login through, which the
   * server must not ask for a password.
   */
  readonly users?: Readonly<Record<string, string>>
}

export function startPgpool(server: PostgresServer, { lines = [], users }: PgpoolOptions = {}): Promise<Pooler> {
  return startBefore({
    path: '/usr/sbin/pgpool',
    stopSignal: 'SIGINT',
    prepare: async (folder, port) => {
      const text = [
        "listen_addresses = '127.0.0.1'",
        `port = ${port}`,
        `socket_dir = '${folder}'`,
        `unix_socket_directories = '${folder}'`,
        `pcp_socket_dir = '${folder}'`,
        `pcp_port = ${await freePort()}`,
        `pid_file_name = '${join(folder, 'pgpool.pid')}'`,
        `logdir = '${folder}'`,
        "backend_clustering_mode = 'raw'",
        "backend_hostname0 = '127.0.0.1'",
        `backend_port0 = ${server.port}`,
        'num_init_children = 4',
        'max_pool = 2',
        'health_check_period = 0',
        'sr_check_period = 0',
        ...(users === undefined
          ? ['enable_pool_hba = off', "pool_passwd = ''"]
          : ['enable_pool_hba = on', `pool_passwd = '${join(folder, 'pool_passwd')}'`]),
        'use_watchdog = off',
        ...lines,
        '',
      ]
      const hba = Object.keys(users ?? {}).map((name) => `host all ${name} 127.0.0.1/32 scram-sha-256\n`)
      const passwords = Object.entries(users ?? {}).map(([name, password]) => `${name}:TEXT${password}\n`)
      await writeFile(join(folder, 'pool_hba.conf'), hba.join(''))
      await writeFile(join(folder, 'pool_passwd'), passwords.join(''))
      await writeFile(join(folder, 'pgpool.conf'), text.join('\n'))
      const files = { f: 'pgpool.conf', F: 'pcp.conf', a: 'pool_hba.conf' }
      return ['-n', ...Object.entries(files).flatMap(([flag, name]) => [`-${flag}`, join(folder, name)])]
    },
  })
}

/** Both refuse to run as root. */
function account(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'postgres']))
  return { uid: id('-u'), gid: id('-g') }
}

const running = new Set<ChildProcess>()
// The last resort when a test process ends without disposing.
process.on('exit', () => {
  for (const child of running) signalGroup(child, 'SIGKILL')
})

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  process.kill(-child.pid, signal)
}

/** Starts a program that listens on one port, and waits until it accepts connections. */
export async function startBefore({ path, prepare, stopSignal }: Program): Promise<Pooler> {
  const folder = await temporaryFolder()
  const port = await freePort()
  const user = account()
  const args = await prepare(folder.path, port)
  if (user !== undefined) {
    execFileSync('chown', ['-R', `${user.uid}:${user.gid}`, folder.path])
    await chown(folder.path, user.uid, user.gid)
  }
  const child = spawn(path, args, {
    ...user,
    cwd: folder.path,
    env: { PATH: '/usr/sbin:/usr/bin:/bin', HOME: folder.path },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A separate process group, with its children.
    detached: true,
  })
  running.add(child)
  let log = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on('data', (chunk: Buffer) => {
      log += chunk.toString()
    })
  }
  child.on('error', (error) => {
    log += error.message
  })
  const pooler: Pooler = {
    port,
    log: () => log,
    [Symbol.asyncDispose]: async () => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit')
        child.kill(stopSignal)
        const late = setTimeout(() => signalGroup(child, 'SIGKILL'), STOP_LIMIT_MILLIS)
        await exited
        clearTimeout(late)
      }
      running.delete(child)
      await folder[Symbol.asyncDispose]()
    },
  }
  const deadline = performance.now() + START_LIMIT_MILLIS
  while (!(await answers(port))) {
    if (child.pid === undefined || child.exitCode !== null || performance.now() > deadline) {
      await pooler[Symbol.asyncDispose]()
      throw new Error(`${path} does not start:\n${log}`)
    }
    await sleep(25)
  }
  return pooler
}

async function answers(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const open = new Promise<boolean>((resolve) => {
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
  })
  const result = await open
  socket.destroy()
  return result
}
