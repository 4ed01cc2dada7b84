import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { temporaryRoot } from './folder.ts'
import { freePort } from './free-port.ts'

const run = promisify(execFile)

export interface PrincipalOptions {
  /** As kadmin reads it: `3 seconds`, `1 day`. Default 1 day. */
  readonly maxLife?: string
  /** Default 7 days; `0 seconds` makes tickets that cannot be renewed. */
  readonly maxRenewLife?: string
  /** Default: a random key. */
  readonly password?: string
  /** More arguments for `addprinc`, such as `+requires_preauth` or `-e aes128-cts:normal`. */
  readonly arguments?: readonly string[]
}

export interface KinitOptions {
  readonly keytab?: string
  readonly password?: string
  /** As kinit reads it: `10m`. */
  readonly lifetime?: string
  readonly renewable?: string
  readonly forwardable?: boolean
}

/** A separate realm: MIT's KDC as an ordinary process on a loopback port, with all its files in a temporary folder. */
export interface Kdc extends AsyncDisposable {
  readonly realm: string
  readonly port: number
  readonly folder: string
  /** `KRB5_CONFIG` and related variables, for child processes. */
  readonly environment: Readonly<Record<string, string>>
  readonly pid: number
  /** Where kadmind listens, once it is started (kadmind.ts): for kadmin, and for new passwords (RFC 3244). */
  readonly adminPorts: readonly [kadmin: number, passwords: number]
  /** `alice` is `alice@REALM`. */
  addPrincipal(name: string, options?: PrincipalOptions): Promise<void>
  deletePrincipal(name: string): Promise<void>
  /** New random keys with the next kvno: keytabs written before are then out of date. */
  changeKeys(name: string): Promise<void>
  /** Writes a keytab with the principals' present keys and returns its path. */
  keytab(...names: readonly string[]): Promise<string>
  kadmin(query: string): Promise<string>
  /** Fills a cache by MIT's own kinit. */
  kinit(principal: string, cache: string, options: KinitOptions): Promise<void>
  /** The output of MIT's own klist about a cache. */
  klist(cache: string): Promise<string>
  /** A path in the realm's folder. */
  path(name: string): string
  /** Rewrites krb5.conf; `lines` come in `[libdefaults]`. */
  configure(lines: readonly string[], moreRealms?: Readonly<Record<string, number>>): Promise<void>
  stop(): Promise<void>
  start(): Promise<void>
  /** SIGSTOP: the port still accepts connections, but no answer comes. */
  freeze(): void
  thaw(): void
}

export interface KdcOptions {
  /** Default `TEST.REALM`. */
  readonly realm?: string
  /** Runs the KDC with its clock moved by this many seconds (needs the package faketime). */
  readonly clockOffsetSeconds?: number
  /** Default: a free one. */
  readonly port?: number
}

export async function startKdc(options: KdcOptions = {}): Promise<Kdc> {
  const realm = options.realm ?? 'TEST.REALM'
  const folder = await mkdtemp(join(temporaryRoot(), 'poolsmith-kdc-'))
  const port = options.port ?? (await freePort())
  const adminPorts = [await freePort(), await freePort()] as const
  const environment = {
    KRB5_CONFIG: join(folder, 'krb5.conf'),
    KRB5_KDC_PROFILE: join(folder, 'kdc.conf'),
    KRB5RCACHENAME: 'none:',
  }
  const childEnvironment = { PATH: `/usr/sbin:/usr/bin:/bin:${process.env.PATH ?? ''}`, HOME: folder, ...environment }
  const path = (name: string): string => join(folder, name)

  const configure: Kdc['configure'] = async (lines, moreRealms = {}) => {
    const realms = Object.entries({ [realm]: port, ...moreRealms })
    const [kadmin, passwords] = adminPorts
    await writeFile(
      environment.KRB5_CONFIG,
      [
        '[libdefaults]',
        `  default_realm = ${realm}`,
        '  dns_lookup_kdc = false',
        '  dns_lookup_realm = false',
        '  dns_canonicalize_hostname = false',
        '  rdns = false',
        `  default_ccache_name = FILE:${path('krb5cc_default')}`,
        `  default_keytab_name = FILE:${path('default.keytab')}`,
        `  default_client_keytab_name = FILE:${path('default.client.keytab')}`,
        ...lines.map((line) => `  ${line}`),
        '[realms]',
        ...realms.flatMap(([name, at]) => [
          `  ${name} = {`,
          `    kdc = 127.0.0.1:${at}`,
          ...(name === realm
            ? [`    admin_server = 127.0.0.1:${kadmin}`, `    kpasswd_server = 127.0.0.1:${passwords}`]
            : []),
          '  }',
        ]),
        '[domain_realm]',
        `  localhost = ${realm}`,
        `  .test = ${realm}`,
        '',
      ].join('\n'),
    )
    // Servers under other accounts read it too, so it must not depend on the umask of this process.
    await chmod(environment.KRB5_CONFIG, 0o644)
  }
  await configure([])
  await writeFile(
    environment.KRB5_KDC_PROFILE,
    [
      '[kdcdefaults]',
      `  kdc_listen = 127.0.0.1:${port}`,
      `  kdc_tcp_listen = 127.0.0.1:${port}`,
      '[realms]',
      `  ${realm} = {`,
      `    database_name = ${path('principal')}`,
      `    key_stash_file = ${path('stash')}`,
      `    acl_file = ${path('acl')}`,
      '    max_life = 1d',
      '    max_renewable_life = 7d',
      '    supported_enctypes = aes256-cts:normal aes128-cts:normal',
      `    kadmind_listen = 127.0.0.1:${adminPorts[0]}`,
      `    kpasswd_listen = 127.0.0.1:${adminPorts[1]}`,
      '  }',
      '[logging]',
      `  kdc = FILE:${path('kdc.log')}`,
      `  default = FILE:${path('kdc.log')}`,
      '',
    ].join('\n'),
  )

  const tool = async (command: string, args: readonly string[]): Promise<string> => {
    const { stdout, stderr } = await run(command, [...args], { env: childEnvironment })
    return `${stdout}${stderr}`
  }
  const full = (name: string): string => (name.includes('@') ? name : `${name}@${realm}`)
  // One at a time: they lock the database, and do not wait long for the lock.
  let lastQuery: Promise<unknown> = Promise.resolve()
  const kadmin = (query: string): Promise<string> => {
    const answer = lastQuery.then(() => ask(query))
    lastQuery = answer.catch(() => undefined)
    return answer
  }
  const ask = async (query: string): Promise<string> => {
    const output = await tool('kadmin.local', ['-r', realm, '-q', query])
    if (/while (?!initializing)|does not exist|not found/i.test(output)) throw new Error(`kadmin ${query}: ${output}`)
    return output
  }

  let child: ChildProcess | undefined
  const start = async (): Promise<void> => {
    const offset = options.clockOffsetSeconds
    const command = offset === undefined ? 'krb5kdc' : 'faketime'
    const args = offset === undefined ? [] : ['-f', `${offset < 0 ? '' : '+'}${offset}s`, 'krb5kdc']
    const started = spawn(command, [...args, '-n'], {
      env: childEnvironment,
      stdio: ['ignore', 'ignore', 'ignore'],
      detached: true,
    })
    child = started
    const failed = new Promise<never>((_, reject) => {
      started.once('error', reject)
      started.once('exit', (code) => reject(new Error(`krb5kdc ended with ${code}; see ${path('kdc.log')}`)))
    })
    failed.catch(() => undefined)
    await Promise.race([failed, listening(port)])
  }
  const signal = (name: NodeJS.Signals): void => {
    // The whole group: faketime runs the KDC as its child.
    if (child?.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, name)
  }
  const stop = async (): Promise<void> => {
    const stopping = child
    if (stopping === undefined) return
    const ended =
      stopping.exitCode !== null || stopping.signalCode !== null
        ? Promise.resolve()
        : new Promise((resolve) => stopping.once('exit', resolve))
    signal('SIGCONT')
    if (options.clockOffsetSeconds === undefined) signal('SIGKILL')
    // Only the KDC: faketime then removes its shared memory, whose name another process may need.
    else spawnSync('pkill', ['-KILL', '-P', String(stopping.pid)])
    await ended
    child = undefined
  }

  // A test that dies before it disposes of its realm must not leave a KDC on the machine.
  const atExit = (): void => {
    signal('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }
  process.once('exit', atExit)

  let keytabs = 0
  const kdc: Kdc = {
    realm,
    port,
    folder,
    environment,
    adminPorts,
    get pid() {
      return child?.pid ?? 0
    },
    path,
    configure,
    kadmin,
    start,
    stop,
    freeze: () => signal('SIGSTOP'),
    thaw: () => signal('SIGCONT'),
    addPrincipal: async (name, principal = {}) => {
      const key = principal.password === undefined ? '-randkey' : `-pw ${principal.password}`
      const life = `-maxlife "${principal.maxLife ?? '1 day'}" -maxrenewlife "${principal.maxRenewLife ?? '7 days'}"`
      await kadmin(`addprinc ${key} ${life} ${(principal.arguments ?? []).join(' ')} ${full(name)}`)
    },
    deletePrincipal: async (name) => {
      await kadmin(`delprinc -force ${full(name)}`)
    },
    changeKeys: async (name) => {
      await kadmin(`cpw -randkey ${full(name)}`)
    },
    keytab: async (...names) => {
      keytabs++
      const file = path(`${keytabs}.keytab`)
      await kadmin(`ktadd -k ${file} -norandkey ${names.map(full).join(' ')}`)
      return file
    },
    kinit: async (principal, cache, kinit) => {
      const args = ['-c', cache]
      if (kinit.lifetime !== undefined) args.push('-l', kinit.lifetime)
      if (kinit.renewable !== undefined) args.push('-r', kinit.renewable)
      if (kinit.forwardable === true) args.push('-f')
      if (kinit.keytab !== undefined) args.push('-k', '-t', kinit.keytab)
      const running = run('kinit', [...args, full(principal)], { env: childEnvironment })
      // A kinit that asks for no password may exit before the password is written.
      running.child.stdin?.on('error', () => undefined).end(`${kinit.password ?? ''}\n`)
      await running
    },
    klist: (cache) => tool('klist', ['-e', '-f', cache]),
    [Symbol.asyncDispose]: async () => {
      process.off('exit', atExit)
      signal('SIGCONT')
      await stop()
      await rm(folder, { recursive: true, force: true })
    },
  }

  try {
    await tool('kdb5_util', ['-r', realm, 'create', '-s', '-P', 'master', '-W'])
    // Otherwise the lifetime of krbtgt would limit every ticket.
    await kadmin(`modprinc -maxlife "1 day" -maxrenewlife "7 days" krbtgt/${realm}@${realm}`)
    await start()
  } catch (error) {
    await kdc[Symbol.asyncDispose]()
    throw error
  }
  return kdc
}

export async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.once('error', () => resolve(false))
    })
    if (open) return
    await sleep(25)
  }
  throw new Error(`nothing listens on port ${port}`)
}

/** Makes this process use the realm. krb5 reads the environment again at each operation. */
export function enterRealm(kdc: Kdc): void {
  for (const name of ['KRB5CCNAME', 'KRB5_KTNAME', 'KRB5_CLIENT_KTNAME', 'KRB5_TRACE']) delete process.env[name]
  Object.assign(process.env, kdc.environment)
}
