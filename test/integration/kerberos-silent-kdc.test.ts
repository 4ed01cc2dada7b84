/** A KDC that takes questions and answers none must not hold up anything but the callers that need it. */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { after, afterEach, before, beforeEach, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { ensureTicket, openCredential } from '../../src/kerberos/ensure-ticket.ts'
import { loadGssApi } from '../../src/kerberos/load-gss-api.ts'
import { gssAcceptor } from '../support/gss-acceptor.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'

let kdc: Kdc
let keytab: string
let serverKeytab: string

before(async () => {
  kdc = await startKdc()
  enterRealm(kdc)
  await kdc.addPrincipal('alice')
  await kdc.addPrincipal('postgres/localhost')
  keytab = await kdc.keytab('alice')
  serverKeytab = await kdc.keytab('postgres/localhost')
})
after(() => kdc[Symbol.asyncDispose]())

/** An end within a second, and room for a busy machine. A call that hangs takes 27 s. */
const SOON_MILLIS = 4000

const source = (path: string): string => JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href)

/** The beginning of every program here. */
const PRELUDE = `
  const { ensureTicket, openCredential } = await import(${source('kerberos/ensure-ticket.ts')})
  const { loadGssApi } = await import(${source('kerberos/load-gss-api.ts')})
  const { kdcCalls } = await import(${source('kerberos/call-queue.ts')})
  const { callsInFlight } = await import(${source('kerberos/native/load.ts')})
  const tell = (word) => console.log(word)
  const asked = async () => { while (kdcCalls.size === 0) await new Promise((done) => setTimeout(done, 5)) }
`

interface Program {
  readonly child: ChildProcess
  /** Resolves when the program prints this word. */
  told(word: string): Promise<void>
  /** Milliseconds from now until its end. */
  ended(): Promise<number>
}

function run(t: TestContext, program: string, options: readonly string[] = []): Program {
  const child = spawn(process.execPath, [...options, '--input-type=module', '-e', PRELUDE + program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.after(() => child.kill('SIGKILL'))
  const exit = once(child, 'exit')
  const words = new Set<string>()
  const lines = createInterface({ input: child.stdout })
  lines.on('line', (line) => words.add(line))
  return {
    child,
    told: async (word) => {
      while (!words.has(word))
        await Promise.race([once(lines, 'line'), exit.then(() => assert.ok(words.has(word), `no ${word}`))])
    },
    ended: async () => {
      const begin = performance.now()
      await exit
      return performance.now() - begin
    },
  }
}

/** The processes that ask the KDC for another one. */
async function askers(parent: number): Promise<number[]> {
  const found: number[] = []
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (Number(stat.split(') ')[1]?.split(' ')[1]) === parent && /kdc\/process\.[tj]s/.test(command))
      found.push(Number(pid))
  }
  return found
}

async function eventually(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const end = Date.now() + 20_000
  while (!(await isSo())) {
    if (Date.now() > end) throw new Error(`never: ${what}`)
    await sleep(20)
  }
}

const isGone = (pid: number): Promise<boolean> =>
  readFile(`/proc/${pid}/stat`).then(
    () => false,
    () => true,
  )

/** Calls that hang: a first ticket, a service ticket, and a ticket to act for us. */
const HANGING: Readonly<Record<string, (cache: string) => string>> = {
  'a first ticket': () => `
    const hanging = ensureTicket({ principal: 'alice', keytab: ${JSON.stringify(keytab)}, cache: 'MEMORY:x' })
  `,
  'a first ticket by password': () => `
    const { Secret } = await import(${source('secret.ts')})
    const hanging = ensureTicket({ principal: 'alice', password: () => new Secret('x'), cache: 'MEMORY:y' })
  `,
  "a server's ticket": (cache) => `
    const gss = await loadGssApi()
    const opened = await openCredential(gss, { cache: ${JSON.stringify(cache)} })
    const target = { service: 'postgres', host: 'localhost' }
    const hanging = gss.initContext({ target, flags: ['mutual'], credential: opened.handle }).step()
  `,
  'a ticket to act for us': (cache) => `
    const gss = await loadGssApi()
    const opened = await openCredential(gss, { cache: ${JSON.stringify(`${cache}-used`)} })
    const target = { service: 'postgres', host: 'localhost' }
    const hanging = gss.initContext({ target, flags: ['mutual', 'delegate'], credential: opened.handle }).step()
  `,
}

let cache: string
let caches = 0

beforeEach(async () => {
  caches++
  cache = `FILE:${kdc.path(`cc${caches}`)}`
  for (const [name, forwardable] of [
    [cache, false],
    [`${cache}-used`, true],
  ] as const)
    await kdc.kinit('alice', name, { keytab, forwardable })
  const gss = await loadGssApi()
  using opened = await openCredential(gss, { cache: `${cache}-used` })
  using context = gss.initContext({
    target: { service: 'postgres', host: 'localhost' },
    flags: [],
    credential: opened.handle,
  })
  await context.step()
  kdc.freeze()
})
afterEach(() => kdc.thaw())

for (const [what, hanging] of Object.entries(HANGING)) {
  test(`a process that waits for ${what} ends at process.exit, and no thread of it waits`, async (t) => {
    const program = run(
      t,
      `${hanging(cache)}
      hanging.catch(() => undefined)
      await asked()
      await new Promise((done) => setTimeout(done, 300))
      tell('threads ' + callsInFlight())
      process.once('SIGUSR2', () => process.exit(0))
      tell('ready')
      setInterval(() => undefined, 1000)
    `,
    )
    await program.told('ready')
    await program.told('threads 0')
    await eventually(async () => (await askers(program.child.pid ?? 0)).length === 1, 'the other process has started')
    const [asker = 0] = await askers(program.child.pid ?? 0)
    program.child.kill('SIGUSR2')
    assert.ok((await program.ended()) < SOON_MILLIS)
    await eventually(() => isGone(asker), 'the other process has ended too')
  })
}

test('a process ends by itself once the last caller has given up', async (t) => {
  const program = run(
    t,
    `
    const policy = { principal: 'alice', keytab: ${JSON.stringify(keytab)}, cache: 'MEMORY:x' }
    await ensureTicket(policy, { signal: AbortSignal.timeout(500) }).catch(({ code }) => tell(code))
  `,
  )
  await program.told('KDC_TIMEOUT')
  assert.ok((await program.ended()) < SOON_MILLIS)
})

test('a process that waits for a ticket stays for it', async (t) => {
  const program = run(
    t,
    `
    const policy = { principal: 'alice', keytab: ${JSON.stringify(keytab)}, cache: 'MEMORY:x' }
    asked().then(() => tell('asked'))
    tell((await ensureTicket(policy)).principal)
  `,
  )
  await program.told('asked')
  kdc.thaw()
  await program.told('alice@TEST.REALM')
  assert.ok((await program.ended()) < SOON_MILLIS)
})

test('a process ends after destroy() of its engine', async (t) => {
  const extra = { auth_method: 'kerberos', principal: 'alice', keytab }
  const program = run(
    t,
    `
    const { createEngine } = await import(${source('engine/knex/create-engine.ts')})
    const db = await createEngine({ conn_type: 'postgres', host: 'localhost', port: ${kdc.port}, extra: ${JSON.stringify(extra)} })
    db.raw('select 1').catch(({ code }) => tell(code))
    await asked()
    await db.destroy()
    tell('destroyed')
  `,
  )
  await program.told('destroyed')
  assert.ok((await program.ended()) < SOON_MILLIS)
  await program.told('POOL_CLOSED')
})

test('a worker can be terminated', async (t) => {
  const program = run(
    t,
    `
    import { Worker } from 'node:worker_threads'
    const code = ${JSON.stringify(`
      import { parentPort } from 'node:worker_threads'
      import(${source('kerberos/ensure-ticket.ts')}).then(async ({ ensureTicket }) => {
        const { kdcCalls } = await import(${source('kerberos/call-queue.ts')})
        ensureTicket({ principal: 'alice', keytab: ${JSON.stringify(keytab)}, cache: 'MEMORY:x' }).catch(() => undefined)
        while (kdcCalls.size === 0) await new Promise((done) => setTimeout(done, 5))
        setTimeout(() => parentPort.postMessage('asked'), 300)
      })
    `)}
    const worker = new Worker(code, { eval: true })
    await new Promise((done) => worker.once('message', done))
    tell('asked')
    await worker.terminate()
    tell('terminated')
    setInterval(() => undefined, 1000)
  `,
  )
  await program.told('asked')
  const begin = performance.now()
  await program.told('terminated')
  assert.ok(performance.now() - begin < SOON_MILLIS)
  await eventually(async () => (await askers(program.child.pid ?? 0)).length === 0, 'its other process has ended')
})

test('the other process does not outlive one that is killed', async (t) => {
  const program = run(t, `${HANGING['a first ticket']?.('')}\n hanging.catch(() => undefined)`)
  await eventually(async () => (await askers(program.child.pid ?? 0)).length === 1, 'the other process has started')
  const [asker = 0] = await askers(program.child.pid ?? 0)
  program.child.kill('SIGKILL')
  await eventually(() => isGone(asker), 'the other process has ended')
})

test('a call whose other process is killed fails as one to try again, and the next one works', async () => {
  const policy = { principal: 'alice', keytab, cache: 'MEMORY:killed' }
  // Rejected with what the process' end means, which is looked at below.
  const hanging = ensureTicket(policy).catch((error: unknown) => error)
  await eventually(async () => (await askers(process.pid)).length === 1, 'the other process has started')
  await sleep(300)
  for (const asker of await askers(process.pid)) process.kill(asker, 'SIGKILL')
  const error = await hanging
  assert.ok(error instanceof Error)
  assert.match(error.message, /The process that asks the KDC ended \(SIGKILL\)/)
  assert.equal('transient' in error && error.transient, true)
  kdc.thaw()
  assert.equal((await ensureTicket(policy)).principal, 'alice@TEST.REALM')
})

const IN_PLACE: Readonly<Record<string, { readonly options: readonly string[]; readonly before: string }>> = {
  "Node's permissions forbid it": {
    options: ['--permission', '--allow-fs-read=*', '--allow-fs-write=*', '--allow-addons'],
    before: '',
  },
  'its program cannot be run': { options: [], before: "process.execPath = '/nowhere/node'" },
}

for (const [why, { options, before: first }] of Object.entries(IN_PLACE)) {
  test(`where no other process can be started, because ${why}, the calls run in this one`, (t) => {
    kdc.thaw()
    const policy = { principal: 'alice', keytab, cache: 'MEMORY:x' }
    const program = `${first}${PRELUDE}
      await ensureTicket(${JSON.stringify(policy)})
      const gss = await loadGssApi()
      const opened = await openCredential(gss, ${JSON.stringify(policy)})
      const target = { service: 'postgres', host: 'localhost' }
      const context = gss.initContext({ target, flags: ['mutual'], credential: opened.handle })
      tell((await context.step()).token.length > 100)
      tell(context.complete)
    `
    const { stdout, stderr } = spawnSync(process.execPath, [...options, '--input-type=module', '-e', program], {
      encoding: 'utf8',
    })
    t.diagnostic(stderr)
    assert.equal(stdout, 'true\nfalse\n')
  })
}

for (const [kind, name] of [
  ['a file', undefined],
  ['memory', 'MEMORY:contexts'],
] as const) {
  for (const mechanism of ['krb5', 'spnego'] as const) {
    test(`a context by ${mechanism} with tickets in ${kind} comes over whole, and the next needs no KDC`, async () => {
      kdc.thaw()
      const where = name === undefined ? cache : `${name}-${mechanism}`
      if (name !== undefined) await ensureTicket({ principal: 'alice', keytab, cache: where })
      const gss = await loadGssApi()
      const flags = ['mutual', 'replay', 'sequence', 'confidentiality', 'integrity'] as const
      for (const frozen of [false, true]) {
        if (frozen) kdc.freeze()
        using opened = await openCredential(gss, { cache: where }, { mechanism })
        const acceptor = gssAcceptor(serverKeytab)
        using context = gss.initContext({
          target: { service: 'postgres', host: 'localhost' },
          flags,
          credential: opened.handle,
          mechanism,
        })
        let { token } = await context.step(undefined, { signal: AbortSignal.timeout(10_000) })
        while (token !== undefined) {
          const { output } = await acceptor.step(token)
          token = output === undefined ? undefined : (await context.step(output)).token
        }
        assert.ok(context.complete)
        assert.deepEqual([...context.flags].toSorted(), [...flags].toSorted())
        const { initiator, target } = context.inquire()
        assert.deepEqual([initiator, target], ['alice@TEST.REALM', 'postgres/localhost@TEST.REALM'])
        for (const text of ['one', 'two']) {
          assert.equal(String(acceptor.unwrap(context.wrap(Buffer.from(text)))), text)
          assert.equal(String(context.unwrap(acceptor.wrap(Buffer.from(text)))), text)
        }
        const message = acceptor.wrap(Buffer.from('again'))
        context.unwrap(message)
        assert.throws(() => context.unwrap(message), { code: 'GSS_MESSAGE_DAMAGED' })
        acceptor.close()
      }
    })
  }
}
