import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, stat } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { FileLock } from '../../../src/kerberos/file-lock.ts'
import { runCli } from '../../support/cli.ts'
import { type Kdc, startKdc } from '../../support/kdc.ts'

let kdc: Kdc
let keytab: string

before(async () => {
  kdc = await startKdc()
  await kdc.addPrincipal('etl', { maxLife: '1 hour' })
  await kdc.addPrincipal('shortlived', { maxLife: '3 seconds' })
  keytab = await kdc.keytab('etl')
})
after(() => kdc[Symbol.asyncDispose]())

const ticket = (args: readonly string[], environment: Record<string, string> = {}) =>
  runCli(['ticket', ...args], { environment: { ...kdc.environment, ...environment } })

test('a ticket is obtained, shown, renewed and destroyed, by options and by environment', async () => {
  const ccache = `FILE:${kdc.path('life')}`
  const missing = await ticket(['status', '--json', '--ccache', ccache])
  assert.equal(missing.code, 4)
  assert.equal(JSON.parse(missing.stdout).error.code, 'TICKET_CACHE_MISSING')

  const got = await ticket(['acquire', '--json', '--lifetime', '10m', '--renewable-lifetime', '1h'], {
    KRB5CCNAME: ccache,
    KRB_PRINCIPAL: 'etl',
    KRB_KEYTAB: keytab,
  })
  assert.equal(got.code, 0, got.stderr)
  const acquired = JSON.parse(got.stdout)
  assert.equal(acquired.principal, 'etl@TEST.REALM')
  assert.ok(acquired.secondsLeft > 590 && acquired.secondsLeft <= 600)

  const shown = await ticket(['status', '--ccache', ccache])
  assert.equal(shown.code, 0)
  assert.match(shown.stdout, /principal +etl@TEST\.REALM[\s\S]*in \d+ s[\s\S]*renewable +until/)

  await sleep(1100)
  const renewed = await ticket(['renew', '--json', '--ccache', ccache])
  assert.equal(renewed.code, 0, renewed.stdout)
  assert.ok(JSON.parse(renewed.stdout).expiresAt > acquired.expiresAt)

  assert.equal((await ticket(['destroy', '--ccache', ccache])).code, 0)
  assert.equal((await ticket(['destroy', '--ccache', ccache])).code, 0)
  assert.equal((await ticket(['status', '--ccache', ccache])).code, 4)
})

test('destroy refuses a cache of another principal than the named one', async () => {
  const ccache = `FILE:${kdc.path('named')}`
  assert.equal((await ticket(['acquire', '--keytab', keytab, '--ccache', ccache])).code, 0)
  const refused = await ticket(['destroy', '--principal', 'shortlived', '--ccache', ccache])
  assert.equal(refused.code, 4)
  assert.match(refused.stderr, /TICKET_PRINCIPAL_MISMATCH[\s\S]*belongs to etl@TEST\.REALM, not to shortlived@/)
  assert.equal((await ticket(['status', '--ccache', ccache])).code, 0)
  assert.equal((await ticket(['destroy', '--principal', 'etl', '--ccache', ccache])).code, 0)
})

test('without --keytab KRB5_KTNAME or the default keytab is used', async () => {
  const ccache = `FILE:${kdc.path('default')}`
  assert.match((await ticket(['acquire', '--ccache', ccache])).stderr, /KEYTAB_MISSING/)
  const got = await ticket(['acquire', '--ccache', ccache], { KRB5_KTNAME: keytab })
  assert.equal(got.code, 0, got.stderr)
  await kdc.kadmin(`ktadd -k ${kdc.path('default.client.keytab')} -norandkey etl@TEST.REALM`)
  assert.equal((await ticket(['acquire', '--ccache', ccache])).code, 0)
})

test('a wrong command line is a usage error', async () => {
  for (const args of [[], ['nothing'], ['run', '--interval', 'soon'], ['run', '--updater', 'nobody']]) {
    assert.equal((await ticket(args)).code, 2, args.join(' '))
  }
})

test('a health port that cannot be opened ends the sidecar', async (t) => {
  const taken = createServer().listen(0, '127.0.0.1')
  t.after(() => taken.close())
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  for (const given of [port, 99_999, 1.5]) {
    const run = await ticket(['run', '--keytab', keytab, '--ccache', kdc.path('port'), '--health-port', String(given)])
    assert.equal(run.code, 3, run.stderr)
    assert.match(run.stderr, new RegExp(`The health port ${given} cannot be opened \\(.+\\)`))
  }
})

test('--group lets the group read, and no other user', async () => {
  const path = kdc.path('grouped')
  const gid = String(process.getgid?.() ?? 0)
  assert.equal((await ticket(['acquire', '--keytab', keytab, '--ccache', path, '--group', gid])).code, 0)
  assert.equal((await stat(path)).mode & 0o777, 0o640)
})

test('run: the sidecar logs JSON, shows its health, outlives a KDC that cannot be reached, and stops on SIGTERM', async (t) => {
  const short = await kdc.keytab('shortlived')
  const healthFile = kdc.path('healthy')
  const main = join(import.meta.dirname, '..', '..', '..', 'src', 'cli', 'main.ts')
  const options = ['--health-port', '0', '--health-file', healthFile, '--retry-wait', '0.1', '--retry-max-wait', '0.3']
  const child = spawn(process.execPath, [main, 'ticket', 'run', ...options], {
    env: {
      PATH: process.env.PATH,
      ...kdc.environment,
      KRB_PRINCIPAL: 'shortlived',
      KRB_KEYTAB: short,
      KRB5CCNAME: `FILE:${kdc.path('sidecar')}`,
      KRB_RENEWAL_INTERVAL: '60',
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const ended = once(child, 'close')
  const log: Record<string, unknown>[] = []
  createInterface({ input: child.stdout }).on('line', (line) => log.push(JSON.parse(line)))
  const saw = (event: string, from = 0) =>
    eventually(() => log.slice(from).some((entry) => entry.event === event), `the event ${event}`)
  await saw('acquired')
  const { health } = log.find((entry) => entry.event === 'started') ?? {}
  assert.match(String(health), /^http:\/\/127\.0\.0\.1:\d+\/$/)
  const state = async () => (await fetch(String(health))).status
  await eventually(async () => (await state()) === 200, 'healthy')
  const isThere = (): Promise<boolean> =>
    readFile(healthFile).then(
      () => true,
      () => false,
    )
  // The file follows the answer over HTTP.
  await eventually(isThere, 'the health file')
  assert.equal(JSON.parse(await readFile(healthFile, 'utf8')).principal, 'shortlived@TEST.REALM')

  await kdc.stop()
  await saw('failed')
  const failed = log.find((entry) => entry.event === 'failed') ?? {}
  assert.deepEqual([failed.level, failed.code, typeof failed.retryInMillis], ['error', 'KDC_UNREACHABLE', 'number'])
  await eventually(async () => (await state()) === 503, 'unhealthy')
  await eventually(async () => !(await isThere()), 'no health file')

  const so = log.length
  await kdc.start()
  await saw('acquired', so)
  await eventually(async () => (await state()) === 200, 'healthy again')

  child.kill('SIGTERM')
  const [code] = await ended
  assert.equal(code, 143)
  assert.equal(log.at(-2)?.event, 'stopped')
  await assert.rejects(readFile(healthFile), { code: 'ENOENT' })
})

test('run: --prefer-renewal renews the ticket where there is a keytab too', async (t) => {
  await kdc.addPrincipal('renewed', { maxLife: '6 seconds' })
  const file = await kdc.keytab('renewed')
  const args = ['--keytab', file, '--ccache', `FILE:${kdc.path('renewed')}`, '--renewable-lifetime', '3600']
  const main = new URL('../../../src/cli/main.ts', import.meta.url).pathname
  const child = spawn(process.execPath, [main, 'ticket', 'run', '--prefer-renewal', ...args], {
    env: { PATH: process.env.PATH, ...kdc.environment },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
  t.after(() => clearTimeout(timer))
  const events: string[] = []
  for await (const line of lines) {
    events.push(JSON.parse(line).event)
    if (events.includes('renewed')) return
  }
  assert.fail(`never renewed: ${events.join(', ')}`)
})

test('run: the sidecar ends with the reason when there is no first ticket', async () => {
  const run = await ticket(['run', '--keytab', kdc.path('none'), '--principal', 'etl', '--json'], {
    KRB5CCNAME: `FILE:${kdc.path('never')}`,
  })
  assert.equal(run.code, 4)
  const lines = run.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.equal(lines.at(-1).error.code, 'KEYTAB_MISSING')
})

test('a silent KDC does not hold up the end of the program', async () => {
  kdc.freeze()
  const begin = Date.now()
  const log = kdc.path('trace')
  const started = eventually(async () => (await readFile(log, 'utf8').catch(() => '')).includes('Sending'), 'a request')
  const run = await runCli(['ticket', 'acquire', '--keytab', keytab, '--ccache', kdc.path('silent')], {
    environment: { ...kdc.environment, KRB5_TRACE: log },
    interrupt: { when: started, signal: 'SIGTERM' },
  })
  kdc.thaw()
  assert.equal(run.code, 143, run.stderr)
  // The call alone takes about 27 s.
  assert.ok(Date.now() - begin < 15_000, `${Date.now() - begin} ms`)
})

test('the lock of another updater does not hold up the end of the program', async () => {
  const folder = kdc.path('kept')
  await mkdir(folder, { mode: 0o700 })
  const lock = await FileLock.try(join(folder, '.tkt.lock'))
  assert.ok(lock)
  const begin = Date.now()
  const log = kdc.path('kept.trace')
  const started = eventually(async () => (await readFile(log, 'utf8').catch(() => '')) !== '', 'a look at the caches')
  const run = await runCli(
    ['ticket', 'acquire', '--principal', 'etl', '--keytab', keytab, '--ccache', `DIR:${folder}`],
    {
      environment: { ...kdc.environment, KRB5_TRACE: log },
      interrupt: { when: started.then(() => sleep(500)), signal: 'SIGTERM' },
    },
  )
  await lock[Symbol.asyncDispose]()
  assert.equal(run.code, 143, run.stderr)
  // It would wait for a minute.
  assert.ok(Date.now() - begin < 30_000, `${Date.now() - begin} ms`)
})

test('a value that is no number is reported with the name of its option or variable', async () => {
  const wrong = await ticket(['run'], { KRB_RENEWAL_INTERVAL: '10 min' })
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /KRB_RENEWAL_INTERVAL expects a number .*, or a time such as 30m, got "10 min"/)
  const over = await ticket(['acquire', '--lifetime', '0', '--keytab', keytab, '--ccache', kdc.path('zero')])
  assert.equal(over.code, 2)
  assert.match(over.stderr, /--lifetime expects a number from 1 /)
})

async function eventually(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await sleep(20)
  }
}
