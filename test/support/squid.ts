/** A real Squid for one test: its own configuration and logs, a free loopback port. */

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, chown, copyFile, readFile, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { temporaryFolder } from './folder.ts'
import { freePort } from './free-port.ts'

const PROGRAM = '/usr/sbin/squid'
const OPENSSL = '/usr/bin/openssl'
const HELPERS = '/usr/lib/squid'
const START_LIMIT_MILLIS = 20_000
const STOP_LIMIT_MILLIS = 10_000

export interface SquidOptions {
  /** Users with their passwords; Squid requires Basic. */
  readonly basic?: Readonly<Record<string, string>>
  /** Squid requires Negotiate with a ticket for this service: `HTTP/localhost`, and its keytab. */
  readonly kerberos?: { readonly service: string; readonly keytab: string; readonly keepAlive?: boolean }
  /** Names that Squid resolves in addition to the system's. */
  readonly hosts?: Readonly<Record<string, string>>
  /** The environment of Squid and its helpers, such as KRB5_CONFIG. */
  readonly environment?: Readonly<Record<string, string>>
  /** More lines, before the access rules. */
  readonly lines?: readonly string[]
}

export interface Squid extends AsyncDisposable {
  readonly port: number
  /** One line for each request: its result, its target, and the user that Squid authenticated. */
  accessLog(): Promise<readonly string[]>
}

/** The account that runs Squid when this process is root; Squid refuses to run as root. */
function account(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'proxy']))
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

export async function startSquid(options: SquidOptions = {}): Promise<Squid> {
  const folder = await temporaryFolder()
  const user = account()
  const file = (name: string): string => join(folder.path, name)
  const own = async (path: string): Promise<void> => {
    await chmod(path, 0o600)
    if (user !== undefined) await chown(path, user.uid, user.gid)
  }
  const write = async (name: string, text: string): Promise<string> => {
    await writeFile(file(name), text)
    await own(file(name))
    return file(name)
  }
  const port = await freePort()
  const rules: string[] = []
  const { basic, kerberos, hosts = {} } = options
  if (kerberos !== undefined) {
    await copyFile(kerberos.keytab, file('http.keytab'))
    await own(file('http.keytab'))
    rules.push(
      `auth_param negotiate program ${HELPERS}/negotiate_kerberos_auth -k ${file('http.keytab')} -s ${kerberos.service}`,
      'auth_param negotiate children 2 startup=1 idle=1',
      `auth_param negotiate keep_alive ${kerberos.keepAlive === false ? 'off' : 'on'}`,
    )
  }
  if (basic !== undefined) {
    const hash = (password: string): string =>
      execFileSync(OPENSSL, ['passwd', '-6', '-stdin'], { input: password, encoding: 'utf8' }).trim()
    const users = Object.entries(basic).map(([name, password]) => `${name}:${hash(password)}\n`)
    const passwords = await write('passwords', users.join(''))
    rules.push(
      `auth_param basic program ${HELPERS}/basic_ncsa_auth ${passwords}`,
      'auth_param basic children 2 startup=1 idle=1',
      'auth_param basic realm test',
    )
  }
  const asks = kerberos !== undefined || basic !== undefined
  const hostsFile = await write(
    'hosts',
    Object.entries(hosts)
      .map(([name, address]) => `${address} ${name}\n`)
      .join(''),
  )
  const configuration = await write(
    'squid.conf',
    [
      `http_port 127.0.0.1:${port}`,
      'visible_hostname localhost',
      `pid_filename ${file('squid.pid')}`,
      `hosts_file ${hostsFile}`,
      'logformat short %Ss/%03>Hs %rm %ru %[un',
      `access_log stdio:${file('access.log')} short`,
      `cache_log ${file('cache.log')}`,
      `coredump_dir ${folder.path}`,
      'cache deny all',
      'cache_mem 4 MB',
      'pinger_enable off',
      'shutdown_lifetime 0 seconds',
      'buffered_logs off',
      ...rules,
      ...(options.lines ?? []),
      ...(asks ? ['acl known proxy_auth REQUIRED', 'http_access allow known'] : ['http_access allow all']),
      'http_access deny all',
      '',
    ].join('\n'),
  )
  if (user !== undefined) await chown(folder.path, user.uid, user.gid)

  // The name of Squid's shared memory is machine-wide, and the memory stays after a kill.
  const name = `poolsmith${randomBytes(6).toString('hex')}`
  const child = spawn(PROGRAM, ['-n', name, '-N', '-f', configuration], {
    ...user,
    cwd: folder.path,
    env: { PATH: '/usr/sbin:/usr/bin:/bin', HOME: folder.path, ...options.environment },
    stdio: ['ignore', 'ignore', 'pipe'],
    // A separate process group, with its helpers.
    detached: true,
  })
  running.add(child)
  let complaint = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint += chunk.toString()
  })
  child.on('error', (error) => {
    complaint += error.message
  })
  const squid: Squid = {
    port,
    accessLog: async () => {
      const text = await readFile(file('access.log'), 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return ''
        throw error
      })
      return text.split('\n').filter((line) => line !== '')
    },
    [Symbol.asyncDispose]: async () => {
      if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) {
        const exited = once(child, 'exit')
        child.kill('SIGTERM')
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
      const log = await readFile(file('cache.log'), 'utf8').catch(() => '')
      await squid[Symbol.asyncDispose]()
      throw new Error(`Squid does not start: ${complaint}\n${log}`)
    }
    await sleep(25)
  }
  return squid
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
