import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdir } from 'node:fs/promises'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, suite, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolsmithError } from '../../src/errors.ts'
import { kdcCalls } from '../../src/kerberos/call-queue.ts'
import { KerberosTicket } from '../../src/kerberos/kerberos-ticket.ts'
import { verifyTicket } from '../../src/kerberos/ticket.ts'
import type { KerberosTicketOptions } from '../../src/kerberos/ticket-updater.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'

let kdc: Kdc
let keytab: string

before(async () => {
  kdc = await startKdc()
  enterRealm(kdc)
  await kdc.addPrincipal('etl', { maxLife: '3 seconds' })
  keytab = await kdc.keytab('etl')
})
after(() => kdc[Symbol.asyncDispose]())

const moduleUrl = (path: string): string => JSON.stringify(new URL(`../../src/kerberos/${path}`, import.meta.url).href)

interface Updater {
  readonly child: ChildProcess
  readonly events: { readonly kind: string; readonly cache?: string; readonly expiresAt?: number }[]
  /** Waits for an event of this kind. */
  saw(kind: string): Promise<void>
  kill(signal: NodeJS.Signals): Promise<void>
}

/** A process that runs the program; what it prints is JSON, one event a line. */
function run(t: TestContext, program: string): Updater {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const events: { kind: string; cache?: string; expiresAt?: number }[] = []
  createInterface({ input: child.stdout }).on('line', (line) => events.push(JSON.parse(line)))
  const ended = once(child, 'exit')
  return {
    child,
    events,
    saw: (kind) => eventually(() => events.some((event) => event.kind === kind), `${kind} of ${child.pid}`),
    kill: async (signal) => {
      child.kill(signal)
      await ended
    },
  }
}

async function eventually(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await sleep(20)
  }
}

/** A process that keeps the ticket until SIGTERM. */
function updater(t: TestContext, options: KerberosTicketOptions): Updater {
  return run(
    t,
    `
      const { KerberosTicket } = await import(${moduleUrl('kerberos-ticket.ts')})
      const tell = (event) => console.log(JSON.stringify(event))
      const options = ${JSON.stringify({ ...options, keytab, principal: 'etl' })}
      const ticket = new KerberosTicket({ ...options, onEvent: (event) => tell({ kind: event.kind, expiresAt: event.ticket?.expiresAt }) })
      const running = setInterval(() => undefined, 1000)
      process.once('SIGTERM', () => ticket.close().then(() => clearInterval(running)))
      const { cache } = await ticket.start()
      tell({ kind: 'started', cache })
    `,
  )
}

/** A process that holds the cache's lock and dies in the middle of writing. */
function dyingWriter(t: TestContext, path: string): Updater {
  return run(
    t,
    `
      const { FileLock } = await import(${moduleUrl('file-lock.ts')})
      const { replaceCacheFile } = await import(${moduleUrl('cache-file.ts')})
      const { writeFile } = await import('node:fs/promises')
      globalThis.lock = await FileLock.acquire(${JSON.stringify(`${path}.lock`)}, 10_000)
      await replaceCacheFile(${JSON.stringify(`FILE:${path}`)}, undefined, async (into) => {
        await writeFile(into.slice(5), Buffer.from([5, 4, 0, 12]))
        console.log(JSON.stringify({ kind: 'writing' }))
        await new Promise(() => setInterval(() => undefined, 1000))
      })
    `,
  )
}

async function halfWritten(path: string): Promise<string[]> {
  return (await readdir(kdc.folder)).filter((name) => name.startsWith(`.${basename(path)}.`))
}

/** Reads the cache over and over: it must be whole each time. On a busy machine it may be late, never broken. */
function watch(cache: string): { stop(): Promise<number> } {
  let stopped = false
  let looks = 0
  const watching = (async () => {
    while (!stopped) {
      await verifyTicket({ cache, principal: 'etl' }).catch((error: unknown) => {
        if (!(error instanceof PoolsmithError) || error.code !== 'TICKET_EXPIRED') throw error
      })
      looks++
      await sleep(5)
    }
  })()
  watching.catch(() => undefined)
  return {
    stop: async () => {
      stopped = true
      await watching
      return looks
    },
  }
}

// Most of their time is waiting for tickets to end. Two at once, since each has processes of its own.
suite('while the KDC is there', { concurrency: 2 }, () => {
  test('lock: readers never see a damaged cache while several updaters replace it and one is killed', async (t) => {
    const path = kdc.path('locked')
    const cache = `FILE:${path}`
    const updaters = Array.from({ length: 4 }, () => updater(t, { cache, updater: 'lock' }))
    await Promise.all(updaters.map((each) => each.saw('started')))
    const readers = watch(cache)

    const dying = dyingWriter(t, path)
    await dying.saw('writing')
    assert.equal((await halfWritten(path)).length, 1)
    await dying.kill('SIGKILL')
    await updaters[0]?.kill('SIGKILL')
    await eventually(async () => (await halfWritten(path)).length === 0, 'what the dead writer left is cleared away')
    await sleep(3500)

    assert.ok((await readers.stop()) > 20)
    // A ticket is acquired when it is due, and then it is not: two of the same second would be two at once.
    const acquired = updaters.flatMap(({ events }) => events.filter(({ kind }) => kind === 'acquired'))
    assert.ok(acquired.length >= 3, `${acquired.length} tickets`)
    assert.equal(new Set(acquired.map(({ expiresAt }) => expiresAt)).size, acquired.length)
    for (const each of updaters.slice(1)) await each.kill('SIGTERM')
    assert.ok(await verifyTicket({ cache }), 'a shared cache stays')
  })

  test('elected: another updater takes over when the elected one is killed while it writes', async (t) => {
    const path = kdc.path('elected')
    const cache = `FILE:${path}`
    const updaters = Array.from({ length: 3 }, () => updater(t, { cache, updater: 'elected' }))
    await Promise.all(updaters.map((each) => each.saw('started')))
    const isElected = (each: Updater): boolean => each.events.some((event) => event.kind === 'elected')
    assert.equal(updaters.filter(isElected).length, 1)
    const leader = updaters.find(isElected)
    const others = updaters.filter((each) => each !== leader)
    await Promise.all(others.map((each) => each.saw('found')))
    assert.ok(others.every((each) => each.events.every((event) => event.kind !== 'acquired')))

    // The elected one dies, and so does one that is writing at that moment.
    const dying = dyingWriter(t, path)
    await dying.saw('writing')
    await leader?.kill('SIGKILL')
    await dying.kill('SIGKILL')
    await eventually(() => others.filter(isElected).length === 1, 'another is elected')
    const heir = others.find(isElected)
    await heir?.saw('acquired')
    await eventually(async () => (await halfWritten(path)).length === 0, 'what the dead writer left is cleared away')
    const readers = watch(cache)
    await sleep(3500)
    assert.ok((await readers.stop()) > 20)
    for (const each of others) await each.kill('SIGTERM')
  })

  test('process: each updater has a cache of its own, and removes it at its end', async (t) => {
    const cache = `FILE:${kdc.path('own')}`
    const updaters = Array.from({ length: 3 }, () => updater(t, { cache, updater: 'process' }))
    await Promise.all(updaters.map((each) => each.saw('started')))
    const caches = updaters.map((each) => each.events.find((event) => event.kind === 'started')?.cache ?? '')
    assert.equal(new Set(caches).size, 3)
    assert.deepEqual(
      caches,
      updaters.map((each) => `${cache}_${each.child.pid}`),
    )
    const [first, second] = updaters
    await first?.kill('SIGKILL')
    await second?.saw('acquired')
    const readers = watch(caches[1] ?? '')
    await sleep(3500)
    assert.ok((await readers.stop()) > 20)
    for (const each of updaters.slice(1)) await each.kill('SIGTERM')
    for (const gone of caches.slice(1))
      await assert.rejects(verifyTicket({ cache: gone }), { code: 'TICKET_CACHE_MISSING' })
  })

  test('without a keytab the ticket is renewed, and the end of its renewable life is reported', async () => {
    await kdc.addPrincipal('renewing', { maxLife: '2 seconds', maxRenewLife: '5 seconds', password: 'r' })
    const cache = `FILE:${kdc.path('renewing')}`
    await kdc.kinit('renewing', cache, { password: 'r', renewable: '5s' })
    const events: string[] = []
    await using ticket = new KerberosTicket({
      cache,
      retry: { attempts: 2, firstWaitMillis: 20, longestWaitMillis: 200 },
      onEvent: (event) => events.push(event.kind === 'failed' ? event.error.code : event.kind),
    })
    await ticket.start()
    await eventually(() => events.includes('renewed'), 'renewed')
    await eventually(() => events.some((event) => event.startsWith('TICKET_')), 'the end of renewal')
    assert.ok(
      events.every((event) => ['renewed', 'TICKET_NOT_RENEWABLE', 'TICKET_EXPIRED'].includes(event)),
      events.join(),
    )
  })

  test('a program that closes its ticket ends by itself', async (t) => {
    const one = updater(t, { cache: `FILE:${kdc.path('closing')}` })
    await one.saw('started')
    one.child.kill('SIGTERM')
    const [code] = await once(one.child, 'exit')
    assert.equal(code, 0)
  })
})

test('process: a ticket that arrives after close() is not written', async () => {
  const cache = `FILE:${kdc.path('late')}`
  const ticket = new KerberosTicket({ principal: 'etl', keytab, cache, updater: 'process' })
  kdc.freeze()
  const starting = assert.rejects(ticket.start(), { code: 'ABORTED' })
  await eventually(() => kdcCalls.size > 0, 'the KDC is asked')
  await ticket.close()
  await starting
  kdc.thaw()
  await eventually(() => kdcCalls.size === 0, 'the KDC has answered')
  await eventually(async () => (await halfWritten(`${kdc.path('late')}_${process.pid}`)).length === 0, 'all is done')
  assert.deepEqual(
    (await readdir(kdc.folder)).filter((name) => name.startsWith('late')),
    [],
  )
})

test('elected: close() during start() leaves the place to other updaters', async () => {
  const cache = `FILE:${kdc.path('brief')}`
  const options = { principal: 'etl', keytab, cache, updater: 'elected' } as const
  const ended = new KerberosTicket(options)
  const starting = ended.start().catch((error: unknown) => error)
  await ended.close()
  await starting
  const events: string[] = []
  await using next = new KerberosTicket({ ...options, onEvent: ({ kind }) => events.push(kind) })
  await next.start(AbortSignal.timeout(10_000))
  assert.equal(events[0], 'elected')
})

test('a KDC that cannot be reached is asked again with back-off; other errors are not tried again', async () => {
  const cache = `FILE:${kdc.path('retry')}`
  const events: string[] = []
  const retry = { firstWaitMillis: 50, longestWaitMillis: 100, attempts: 4 }
  await using ticket = new KerberosTicket({
    principal: 'etl',
    keytab,
    cache,
    retry,
    onEvent: (event) =>
      events.push(event.kind === 'failed' ? `${event.error.code} ${event.retryInMillis}` : event.kind),
  })
  await kdc.stop()
  await assert.rejects(ticket.acquire(), { code: 'KDC_UNREACHABLE' })
  const away = 'KDC_UNREACHABLE'
  assert.deepEqual(events.splice(0), [`${away} 50`, `${away} 100`, `${away} 100`, `${away} undefined`])
  // A plain abort: a time limit would be KDC_TIMEOUT in the middle of a call and ABORTED in the pause behind it.
  const leaving = new AbortController()
  setTimeout(() => leaving.abort(), 60)
  await assert.rejects(ticket.acquire(leaving.signal), { code: 'ABORTED' })
  events.splice(0)
  await kdc.start()
  await ticket.acquire()
  assert.deepEqual(events.splice(0), ['acquired'])

  await kdc.addPrincipal('stranger')
  const strangers = await kdc.keytab('stranger')
  await using stranger = new KerberosTicket({ principal: 'stranger', keytab: strangers, cache })
  await assert.rejects(stranger.start(), { code: 'TICKET_PRINCIPAL_MISMATCH' })

  await using wrong = new KerberosTicket({
    principal: 'nobody',
    keytab,
    cache: `FILE:${kdc.path('wrong')}`,
    retry,
    onEvent: (event) =>
      events.push(event.kind === 'failed' ? `${event.error.code} ${event.retryInMillis}` : event.kind),
  })
  await assert.rejects(wrong.acquire(), { code: 'KEYTAB_WITHOUT_PRINCIPAL' })
  assert.deepEqual(events, ['KEYTAB_WITHOUT_PRINCIPAL undefined'])
})

test('a failed renewal is no error while the present ticket is good', async () => {
  await kdc.addPrincipal('steady', { maxLife: '1 day' })
  const steady = await kdc.keytab('steady')
  const cache = `FILE:${kdc.path('steady')}`
  const events: string[] = []
  await using ticket = new KerberosTicket({
    principal: 'steady',
    keytab: steady,
    cache,
    // Due after five seconds, at half its life.
    lifetimeSeconds: 10,
    retry: { attempts: 1 },
    onEvent: (event) => events.push(event.kind === 'failed' ? event.error.code : event.kind),
  })
  const first = await ticket.ensure()
  await kdc.stop()
  await sleep(Math.max(0, first.startsAt + 5200 - Date.now()))
  assert.equal((await ticket.ensure()).expiresAt, first.expiresAt)
  assert.deepEqual(events, ['acquired', 'KDC_UNREACHABLE'])
  await kdc.start()
  assert.ok((await ticket.ensure()).expiresAt > first.expiresAt)
})
