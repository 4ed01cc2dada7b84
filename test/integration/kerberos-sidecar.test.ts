/**
 * examples/kerberos-sidecar as compose.yaml says it: its commands, environment, users, volumes, secret and health check
 * are read from the file and run as processes, each with folders in place of its mounts. What only an engine could show,
 * the building of the image and the network, is not shown here.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, copyFile, mkdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { parse } from 'yaml'
import { type KerberosPostgres, startKerberosPostgres } from '../support/kerberos-postgres.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const EXAMPLE = join(ROOT, 'examples', 'kerberos-sidecar')
const MAIN = join(ROOT, 'src', 'cli', 'main.ts')
const OTHER = { uid: 4712, gid: 4712 }
/** Root becomes the services' users, where others may read this repository. */
const isRoot = process.getuid?.() === 0 && spawnSync(process.execPath, [MAIN, '--version'], OTHER).status === 0
/** Root inside of a container mostly may not. */
const mayMount = isRoot && spawnSync('unshare', ['--mount', 'true']).status === 0

interface Service {
  readonly command: readonly string[]
  readonly user: string
  readonly read_only: boolean
  readonly environment: Readonly<Record<string, string>>
  /** `what:where` or `what:where:ro` */
  readonly volumes: readonly string[]
  readonly tmpfs?: string
  readonly secrets?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>
}

let services: { readonly sidecar: Service; readonly worker: Service }
let realm: KerberosPostgres
let keytab: string

before(async () => {
  const file = parse(await readFile(join(EXAMPLE, 'compose.yaml'), 'utf8'), { merge: true })
  services = file.services
  const { KRB_PRINCIPAL: principal = '' } = services.sidecar.environment
  const { DB_NAME: database } = services.worker.environment
  const [user = '', name = ''] = principal.split('@')
  realm = await startKerberosPostgres({
    realm: name,
    principals: { [user]: {} },
    roles: [user],
    hba: ['hostgssenc all all 127.0.0.1/32 gss include_realm=0'],
  })
  await realm.server.sql(`create database ${database}`)
  await chmod(realm.kdc.folder, 0o755)
  await chmod(realm.kdc.path('krb5.conf'), 0o644)
  keytab = await realm.kdc.keytab(user)
})
after(() => realm[Symbol.asyncDispose]())

/** The user and groups that a process runs as; whoever is not root can only be himself. */
interface Identity {
  readonly uid: number
  readonly gid: number
  readonly groups?: readonly number[]
}

function identityOf({ user }: Service): Identity {
  const [uid = 0, gid = 0] = user.split(':').map(Number)
  return { uid, gid }
}

/** A service's view: where each of its paths is on this machine. */
interface Mounts {
  readonly paths: Readonly<Record<string, string>>
  /** Mounted for reading alone. */
  readonly readOnly: readonly string[]
}

async function folder(name: string, { uid, gid }: Identity, mode = 0o700): Promise<string> {
  const path = realm.kdc.path(name)
  await mkdir(path)
  await chmod(path, mode)
  if (isRoot) await chown(path, uid, gid)
  return path
}

/** Finds a place for everything that the service mounts. */
async function mountsOf(name: string, service: Service, volumes: Readonly<Record<string, string>>): Promise<Mounts> {
  const identity = identityOf(service)
  const paths: Record<string, string> = {}
  const readOnly: string[] = []
  for (const volume of service.volumes) {
    const [what = '', where = '', mode] = volume.split(':')
    const place = what === './krb5.conf' ? realm.kdc.path('krb5.conf') : volumes[what]
    assert.ok(place, `${volume}: ${what} is not among the volumes`)
    paths[where] = place
    if (mode === 'ro') readOnly.push(place)
  }
  for (const secret of service.secrets ?? []) {
    const place = realm.kdc.path(`${name}.${secret}`)
    await copyFile(keytab, place)
    await chmod(place, 0o400)
    if (isRoot) await chown(place, identity.uid, identity.gid)
    paths[`/run/secrets/${secret}`] = place
  }
  if (service.tmpfs !== undefined) paths[service.tmpfs] = await folder(`${name}.tmpfs`, identity)
  return { paths, readOnly }
}

function placed(text: string, { paths }: Mounts): string {
  const all = Object.keys(paths).sort((a, b) => b.length - a.length)
  return text.replaceAll(
    new RegExp(all.map((path) => path.replaceAll('.', '\\.')).join('|'), 'g'),
    (path) => paths[path] ?? '',
  )
}

/** As the user of the service and, where that can be, with everything that is read-only mounted so, for it alone. */
function asContainer(command: readonly string[], { uid, gid, groups = [] }: Identity, mounts: Mounts): string[] {
  if (!isRoot) return [...command]
  const steps = Object.values(mounts.paths).map(
    (path) => `mount --bind ${mounts.readOnly.includes(path) ? '-o ro ' : ''}'${path}' '${path}'`,
  )
  const who = ['--reuid', uid, '--regid', gid, ...(groups.length === 0 ? ['--clear-groups'] : ['--groups', groups])]
  const asUser = ['setpriv', ...who.map(String), '--', ...command]
  if (!mayMount) return asUser
  const script = [...steps, 'mount -o remount,bind,ro /', 'exec "$@"'].join(' && ')
  return ['unshare', '--mount', 'sh', '-c', script, 'sh', ...asUser]
}

interface Started {
  readonly child: ChildProcess
  readonly output: Promise<string>
  readonly ended: Promise<number | null>
}

function start(
  service: Service,
  mounts: Mounts,
  more: Readonly<Record<string, string>> = {},
  identity = identityOf(service),
): Started {
  assert.equal(service.read_only, true, 'nothing but the mounts may be written to')
  const [program, ...args] = service.command.map((word) => placed(word, mounts))
  const programs: Readonly<Record<string, readonly string[]>> = {
    poolsmith: [process.execPath, MAIN],
    node: [process.execPath, '--import', join(ROOT, 'test', 'support', 'self-import.ts')],
  }
  const known = programs[program ?? '']
  assert.ok(known, `${program} is not in the image`)
  const [command = '', ...words] = asContainer([...known, ...args], identity, mounts)
  const environment = Object.entries(service.environment).map(([name, value]) => [name, placed(value, mounts)])
  const child = spawn(command, words, {
    cwd: EXAMPLE,
    env: { PATH: process.env.PATH, ...Object.fromEntries(environment), ...more },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = Promise.all([text(child.stdout), text(child.stderr)]).then((both) => both.join('\n'))
  return { child, output, ended: once(child, 'close').then(([code]) => code) }
}

/** The answer of `healthcheck`. */
async function isHealthy(service: Service, mounts: Mounts): Promise<boolean> {
  const [kind, command = '', ...args] = service.healthcheck?.test ?? []
  assert.equal(kind, 'CMD')
  const [code] = await once(
    spawn(
      command,
      args.map((word) => placed(word, mounts)),
    ),
    'close',
  )
  return code === 0
}

async function eventually(isSo: () => Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await sleep(50)
  }
}

const database = (): Record<string, string> => ({ DB_HOST: 'localhost', DB_PORT: String(realm.server.port), RUNS: '1' })

test('the sidecar obtains the ticket and is healthy, and the worker uses it without the keytab and without writing', async (t) => {
  const { sidecar, worker } = services
  assert.deepEqual(worker.depends_on, { sidecar: { condition: 'service_healthy' } })
  assert.equal(worker.secrets, undefined)
  assert.doesNotMatch(JSON.stringify(worker), /keytab/i)
  const tickets = await folder('tickets', identityOf(sidecar))
  const mounts = await mountsOf('sidecar', sidecar, { tickets })
  assert.equal(await isHealthy(sidecar, mounts), false)
  const keeping = start(sidecar, mounts)
  t.after(() => keeping.child.kill('SIGKILL'))
  await eventually(() => isHealthy(sidecar, mounts), 'healthy')

  const workers = await mountsOf('worker', worker, { tickets })
  assert.ok(workers.readOnly.includes(tickets))
  const before = (await stat(join(tickets, 'krb5cc'))).mtimeMs
  const working = start(worker, workers, database())
  assert.equal(await working.ended, 0, await working.output)
  assert.match(await working.output, /who: 'etl'/)
  // Where it could, krb5 would have put the ticket for the server beside the others.
  assert.equal((await stat(join(tickets, 'krb5cc'))).mtimeMs === before, mayMount)

  keeping.child.kill('SIGTERM')
  assert.equal(await keeping.ended, 143, await keeping.output)
  assert.equal(await isHealthy(sidecar, mounts), false)
  const events = (await keeping.output)
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).event)
  assert.deepEqual(events.slice(0, 2), ['started', 'acquired'])
  // The ticket outlives whoever got it, and so does the work.
  const later = start(worker, workers, database())
  assert.equal(await later.ended, 0, await later.output)
})

test('a worker of another user reads the ticket through a common group, and other users do not', async (t) => {
  const { sidecar, worker } = services
  const shared = isRoot ? 4711 : (process.getgid?.() ?? 0)
  const owner = { ...identityOf(sidecar), groups: [shared] }
  const tickets = await folder('shared', { uid: owner.uid, gid: shared }, 0o750)
  const mounts = await mountsOf('grouped', sidecar, { tickets })
  const command = [...sidecar.command, '--group', String(shared)]
  const keeping = start({ ...sidecar, command }, mounts, {}, owner)
  t.after(() => keeping.child.kill('SIGKILL'))
  await eventually(() => isHealthy(sidecar, mounts), 'healthy')
  const { mode, gid } = await stat(join(tickets, 'krb5cc'))
  assert.deepEqual([mode & 0o777, gid], [0o640, shared])

  const workers = await mountsOf('other', worker, { tickets })
  const admitted = start(worker, workers, database(), { ...OTHER, groups: [shared] })
  assert.equal(await admitted.ended, 0, await admitted.output)
  assert.match(await admitted.output, /who: 'etl'/)
  if (isRoot) {
    const stranger = start(worker, workers, database(), OTHER)
    await stranger.ended
    assert.match(await stranger.output, /\(uid 4712\) may not read the ticket cache FILE:\S+krb5cc/)
  }
  keeping.child.kill('SIGTERM')
  assert.equal(await keeping.ended, 143)
})
