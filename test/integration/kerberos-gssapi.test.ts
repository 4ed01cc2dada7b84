import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, readdir, writeFile } from 'node:fs/promises'
import { after, before, test } from 'node:test'
import { type ErrorCode, PoolsmithError } from '../../src/errors.ts'
import type { GssApi, GssContext, GssFlag, GssMechanism } from '../../src/kerberos/gss-api.ts'
import { loadGssApi } from '../../src/kerberos/load-gss-api.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import { type GssAcceptor, gssAcceptor } from '../support/gss-acceptor.ts'
import { enterRealm, type Kdc, startKdc } from '../support/kdc.ts'
import { unprivileged } from '../support/unprivileged.ts'

let kdc: Kdc
let gss: GssApi
let serverKeytab: string
let cache: string

before(async () => {
  kdc = await startKdc()
  enterRealm(kdc)
  await kdc.addPrincipal('alice', { password: 'a' })
  await kdc.addPrincipal('bob', { password: 'b' })
  await kdc.addPrincipal('shortlived', { maxLife: '2 seconds', password: 's' })
  await kdc.addPrincipal('postgres/localhost')
  serverKeytab = await kdc.keytab('postgres/localhost')
  cache = `FILE:${kdc.path('alice')}`
  await kdc.kinit('alice', cache, { password: 'a' })
  gss = await loadGssApi()
})
after(() => kdc[Symbol.asyncDispose]())

const TARGET = { service: 'postgres', host: 'localhost' }
const ENCRYPTION: readonly GssFlag[] = ['mutual', 'replay', 'sequence', 'confidentiality', 'integrity']

interface Server extends GssAcceptor, Disposable {
  /** The principal that logged in. */
  client?: string
}

function startServer(): Server {
  const acceptor = gssAcceptor(serverKeytab)
  return { ...acceptor, [Symbol.dispose]: () => acceptor.close() }
}

async function accept(server: Server, token: Buffer): Promise<Buffer | undefined> {
  const { output, principal } = await server.step(token)
  if (principal !== undefined) server.client = principal
  return output
}

/** Runs both sides until each is done. */
async function establish(server: Server, mechanism: GssMechanism = 'krb5'): Promise<GssContext> {
  using credential = await gss.acquireCredential({ principal: 'alice@TEST.REALM', cache, mechanism })
  const context = gss.initContext({ target: TARGET, flags: ENCRYPTION, credential, mechanism })
  let { token } = await context.step()
  while (token !== undefined) {
    const reply = await accept(server, token)
    if (reply === undefined) break
    token = (await context.step(reply)).token
  }
  return context
}

for (const mechanism of ['krb5', 'spnego'] as const) {
  test(`${mechanism}: both sides authenticate each other, and each unwraps the messages of the other`, async () => {
    using server = startServer()
    using context = await establish(server, mechanism)
    assert.ok(context.complete)
    assert.equal(server.client, 'alice@TEST.REALM')
    assert.deepEqual([...context.flags].toSorted(), [...ENCRYPTION].toSorted())
    const info = context.inquire()
    assert.equal(info.initiator, 'alice@TEST.REALM')
    assert.equal(info.target, 'postgres/localhost@TEST.REALM')
    assert.ok(info.lifetimeSeconds > 80_000)
    for (const length of [0, 1, 100, 16_320]) {
      const plaintext = randomBytes(length)
      // A part of a larger buffer: the binding must respect where it begins.
      const part = Buffer.concat([Buffer.from('xyz'), plaintext]).subarray(3)
      assert.deepEqual(server.unwrap(context.wrap(part)), plaintext)
      const message = server.wrap(plaintext)
      assert.deepEqual(context.unwrap(Buffer.concat([Buffer.from('abcd'), message]).subarray(4)), plaintext)
    }
  })
}

test('a message of the largest size fits', async () => {
  using server = startServer()
  using context = await establish(server)
  const limit = context.wrapSizeLimit(16_380)
  assert.ok(limit > 16_000)
  assert.ok(context.wrap(Buffer.alloc(limit)).length <= 16_380)
})

const DAMAGES: Readonly<Record<string, (server: Server, context: GssContext) => Buffer>> = {
  altered: (server) => {
    const message = server.wrap(Buffer.from('pay 1'))
    message.writeUInt8(message.readUInt8(message.length - 3) ^ 1, message.length - 3)
    return message
  },
  truncated: (server) => server.wrap(Buffer.from('pay 1')).subarray(0, -1),
  repeated: (server, context) => {
    const message = server.wrap(Buffer.from('pay 1'))
    context.unwrap(message)
    return message
  },
  'out of order': (server) => {
    server.wrap(Buffer.from('lost'))
    return server.wrap(Buffer.from('next'))
  },
  'not encrypted': (server) => server.wrap(Buffer.from('seen by all'), false),
  'not a message': () => Buffer.alloc(64, 7),
  empty: () => Buffer.alloc(0),
}

for (const [name, damage] of Object.entries(DAMAGES)) {
  test(`a message that is ${name} is refused`, async () => {
    using server = startServer()
    using context = await establish(server)
    const message = damage(server, context)
    assert.throws(() => context.unwrap(message), { code: 'GSS_MESSAGE_DAMAGED', phase: 'gss' })
  })
}

test('a reply that is not the server’s is refused', async () => {
  using credential = await gss.acquireCredential({ cache })
  for (const reply of [Buffer.from('nonsense'), Buffer.alloc(0), randomBytes(300)]) {
    using context = gss.initContext({ target: TARGET, flags: ['mutual'], credential })
    await context.step()
    await assert.rejects(context.step(reply), {
      code: 'GSS_SERVER_REFUSED',
      phase: 'gss',
      message: /\((?!Success).+\)/,
    })
  }
})

test('a context can be opened for a principal in full', async () => {
  using server = startServer()
  using credential = await gss.acquireCredential({ cache })
  const target = { principal: 'postgres/localhost@TEST.REALM' }
  using context = gss.initContext({ target, flags: ['mutual'], credential })
  const { token } = await context.step()
  assert.ok(token)
  const done = await context.step(await accept(server, token))
  assert.deepEqual([done.complete, done.token], [true, undefined])
  assert.equal(context.target, 'postgres/localhost@TEST.REALM')
})

test('a ticket is delegated only when that was asked for', async () => {
  const forwardable = `FILE:${kdc.path('forwardable')}`
  await kdc.kinit('alice', forwardable, { password: 'a', forwardable: true })
  for (const flags of [['mutual', 'delegate'], ['mutual']] as const) {
    const acceptor = gssAcceptor(serverKeytab)
    using credential = await gss.acquireCredential({ cache: forwardable })
    using context = gss.initContext({ target: TARGET, flags, credential })
    const { token } = await context.step()
    assert.ok(token)
    assert.equal((await acceptor.step(token)).delegated, flags.length === 2)
    acceptor.close()
  }
})

async function failure(code: ErrorCode, work: () => Promise<unknown>): Promise<PoolsmithError> {
  try {
    await work()
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, String(error))
    assert.equal(error.code, code, error.message)
    return error
  }
  throw new Error(`no ${code}`)
}

async function inquire(options: Parameters<GssApi['acquireCredential']>[0]): Promise<unknown> {
  using credential = await gss.acquireCredential(options)
  return await credential.inquire()
}

test('a missing default cache and a missing named cache have different errors', async () => {
  await failure('TICKET_MISSING', () => inquire({}))
  const error = await failure('TICKET_CACHE_MISSING', () => inquire({ cache: `FILE:${kdc.path('none')}` }))
  assert.match(error.message, /none/)
})

test('an empty cache, a damaged one, an unknown type and a missing daemon have different errors', async () => {
  await writeFile(kdc.path('empty'), '')
  await writeFile(kdc.path('corrupt'), 'this is no ticket cache')
  await failure('TICKET_CACHE_EMPTY', () => inquire({ cache: `FILE:${kdc.path('empty')}` }))
  await failure('TICKET_CACHE_CORRUPT', () => inquire({ cache: `FILE:${kdc.path('corrupt')}` }))
  await failure('TICKET_CACHE_TYPE_UNKNOWN', () => inquire({ cache: 'CARRIER_PIGEON:1' }))
  await failure('TICKET_CACHE_DAEMON_MISSING', () => inquire({ cache: 'KCM:' }))
})

test('a cache of another principal is TICKET_PRINCIPAL_MISMATCH', async () => {
  const error = await failure('TICKET_PRINCIPAL_MISMATCH', () => inquire({ cache, principal: 'bob@TEST.REALM' }))
  assert.match(error.message, /bob@TEST\.REALM/)
})

test('an expired ticket is TICKET_EXPIRED when it is inquired and when it is used', async () => {
  const old = `FILE:${kdc.path('old')}`
  await kdc.kinit('shortlived', old, { password: 's' })
  await new Promise((resolve) => setTimeout(resolve, 3100))
  await failure('TICKET_EXPIRED', () => inquire({ cache: old }))
  using credential = await gss.acquireCredential({ cache: old, principal: 'shortlived@TEST.REALM' })
  using context = gss.initContext({ target: TARGET, flags: [], credential })
  const error = await failure('TICKET_EXPIRED', () => context.step())
  assert.equal(error.phase, 'gss')
  assert.match(error.message, /shortlived@TEST\.REALM/)
})

test('an unknown server is named with the realm and the KDC', async () => {
  for (const mechanism of ['krb5', 'spnego'] as const) {
    using credential = await gss.acquireCredential({ cache, principal: 'alice@TEST.REALM', mechanism })
    const target = { service: 'postgres', host: 'nowhere.test' }
    using context = gss.initContext({ target, flags: [], credential, mechanism })
    const error = await failure('SPN_UNKNOWN', () => context.step())
    assert.match(error.message, /of TEST\.REALM .*postgres\/nowhere\.test@TEST\.REALM/)
    assert.deepEqual(error.details.kdcs, [`127.0.0.1:${kdc.port}`])
  }
})

test('a realm without a KDC in krb5.conf is REALM_UNKNOWN', async (t) => {
  const fresh = `FILE:${kdc.path('fresh')}`
  await kdc.kinit('alice', fresh, { password: 'a' })
  await writeFile(kdc.path('other.conf'), '[libdefaults]\n  dns_lookup_kdc = false\n')
  process.env.KRB5_CONFIG = kdc.path('other.conf')
  t.after(() => enterRealm(kdc))
  using credential = await gss.acquireCredential({ cache: fresh, principal: 'alice@TEST.REALM' })
  using context = gss.initContext({ target: { principal: 'postgres/localhost@TEST.REALM' }, flags: [], credential })
  const error = await failure('REALM_UNKNOWN', () => context.step())
  assert.match(error.message, /TEST\.REALM/)
})

test('a cache that this process may not read is TICKET_CACHE_UNREADABLE', async () => {
  const program = `
    const { loadGssApi } = await import(${JSON.stringify(new URL('../../src/kerberos/load-gss-api.ts', import.meta.url).href)})
    const gss = await loadGssApi()
    await gss.acquireCredential({ cache: ${JSON.stringify(cache)} }).catch((error) => console.log(error.code, error.message))
  `
  await chmod(kdc.path('alice'), 0)
  const [command = '', ...args] = unprivileged([process.execPath, '--input-type=module', '-e', program])
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  await chmod(kdc.path('alice'), 0o600)
  assert.match(stdout, /^TICKET_CACHE_UNREADABLE .*alice/, stderr)
})

test('two principals log in at once in one process, each with its own cache', async () => {
  const bobs = `FILE:${kdc.path('bob')}`
  await kdc.kinit('bob', bobs, { password: 'b' })
  const environment = JSON.stringify(process.env)
  const seen = await Promise.all(
    Array.from({ length: 20 }, async (_, index) => {
      using server = startServer()
      using credential = await gss.acquireCredential({ cache: index % 2 === 0 ? cache : bobs })
      using context = gss.initContext({ target: TARGET, flags: [], credential })
      const { token } = await context.step()
      assert.ok(token)
      await accept(server, token)
      return server.client
    }),
  )
  seen.forEach((client, index) => {
    assert.equal(client, index % 2 === 0 ? 'alice@TEST.REALM' : 'bob@TEST.REALM')
  })
  assert.equal(JSON.stringify(process.env), environment)
})

test('everything may be disposed while a call is in flight', async () => {
  const credential = await gss.acquireCredential({ cache })
  const inquiry = credential.inquire()
  const context = gss.initContext({ target: TARGET, flags: [], credential })
  const step = context.step()
  await new Promise((resolve) => setImmediate(resolve))
  context[Symbol.dispose]()
  credential[Symbol.dispose]()
  // Either the call had begun, and ends well, or it had not, and says so; the process lives.
  for (const [call, outcome] of [inquiry, step].map((promise, index) => [index, promise] as const)) {
    await outcome.then(
      () => undefined,
      (error: unknown) => assert.match(String(error), /disposed/, String(call)),
    )
  }
  await assert.rejects(context.step(), /disposed|one step at a time/)
  assert.throws(() => context.wrap(Buffer.from('x')), /disposed/)
})

test('ten thousand contexts leave no memory and no handle behind', async () => {
  const count = 10_000
  const cycle = async (): Promise<void> => {
    using credential = await gss.acquireCredential({ cache, principal: 'alice@TEST.REALM' })
    using context = gss.initContext({ target: TARGET, flags: ['mutual'], credential })
    await context.step()
  }
  const residentMegabytes = (): number => {
    collectGarbage()
    return process.memoryUsage.rss() / 2 ** 20
  }
  for (let index = 0; index < count / 5; index++) await cycle()
  const files = (await readdir('/proc/self/fd')).length
  // A context that is not given back takes 26 MB each time, a credential 89; the allocators have their ups and downs.
  const grown: number[] = []
  do {
    const before = residentMegabytes()
    for (let index = 0; index < count; index++) await cycle()
    grown.push(residentMegabytes() - before)
  } while (grown.length < 3 && Math.min(...grown) > 15)
  assert.ok(Math.min(...grown) < 15, `grew by ${grown.map((megabytes) => megabytes.toFixed(1)).join(', ')} MB`)
  // Fewer when the process that asks the KDC was given up meanwhile.
  assert.ok((await readdir('/proc/self/fd')).length <= files)
})
