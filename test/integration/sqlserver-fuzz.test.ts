/** Malformed answers at every stage of a session: each ends the attempt, in time and in little memory. */

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Request } from 'tedious'
import type { Credential } from '../../src/credentials/credential.ts'
import { type RowMode, setRowMode } from '../../src/drivers/sqlserver/row-reader.ts'
import type { SspiFactory } from '../../src/drivers/sqlserver/sspi.ts'
import type { SqlServerConnection } from '../../src/drivers/sqlserver/tedious-connection.ts'
import { PoolsmithError } from '../../src/errors.ts'
import { Secret } from '../../src/secret.ts'
import { temporaryFolder } from '../support/folder.ts'
import { createPki } from '../support/pki.ts'
import { open, password, testDriver, token } from '../support/tds/driver.ts'
import { type FuzzServer, type Play, type Stage, startFuzzServer } from '../support/tds/fuzz.ts'
import { flood, Random } from '../support/tds/mutations.ts'
import { PACKET, packet } from '../support/tds/packets.ts'
import { DONE, doneToken, envText, loginAck } from '../support/tds/tokens.ts'

const SEED = 20_260_727
const WORKERS = 16
const LIMIT_SECONDS = 1
/** An allowance for a busy machine. */
const SLACK_MILLIS = 10_000
const MEGABYTE = 1 << 20

const stack = new AsyncDisposableStack()
let caFile: string
let servers: FuzzServer[]

before(async () => {
  const folder = stack.use(await temporaryFolder())
  const pki = await createPki()
  caFile = join(folder.path, 'ca.pem')
  await writeFile(caFile, pki.ca)
  const certificate = await pki.issue({ commonName: 'localhost', dns: ['localhost'] })
  servers = await Promise.all(Array.from({ length: WORKERS }, () => startFuzzServer(certificate)))
  for (const server of servers) stack.use(server)
  // The first session loads and compiles code; that must not count as the cost of an answer.
  await playAll('answer', 100, ['gss'], 'none')
})
after(() => stack.disposeAsync())

const CREDENTIALS: Readonly<Record<Play['kind'], Credential>> = {
  sql: password('sa', 'secret'),
  token: token('token'),
  gss: { kind: 'gss', identity: 'alice', issuedAt: 0 },
  ntlm: { kind: 'ntlm', identity: 'alice', user: 'alice', domain: 'CORP', password: new Secret('secret'), issuedAt: 0 },
}

const sspi: SspiFactory = async () => ({
  step: async (input) => ({ output: Buffer.from('a token'), complete: input !== undefined }),
})

const MODES: readonly (RowMode | undefined)[] = [
  undefined,
  { exact: false, bare: true },
  { exact: true, bare: false },
  { exact: true, bare: true, fields: true },
]

/** Runs a statement as users do; resolves with its error, if it has one. */
function run(connection: SqlServerConnection, mode: RowMode | undefined): Promise<Error | undefined> {
  return new Promise((resolve) => {
    const request = new Request('select 1', (error) => resolve(error ?? undefined))
    if (mode !== undefined) setRowMode(request, mode)
    request.on('row', () => undefined)
    connection.execSqlBatch(request)
  })
}

/** One session over a conversation with one mutation. */
async function playCase(server: FuzzServer, play: Play, mode: RowMode | undefined): Promise<'ended' | 'passed'> {
  server.play = play
  const encrypt = play.encryption === 'tls' ? { ca_file: caFile } : { encrypt: 'false' }
  const { driver } = testDriver(
    { port: server.port },
    { ...encrypt, connect_timeout: LIMIT_SECONDS, request_timeout: LIMIT_SECONDS },
    { sspi, lookup: async () => ['127.0.0.1'] },
  )
  let raw: SqlServerConnection
  try {
    raw = (await open(driver, CREDENTIALS[play.kind], 30_000)).raw
  } catch (error) {
    assert.ok(error instanceof PoolsmithError, `not one of ours: ${error instanceof Error ? error.stack : error}`)
    return 'ended'
  }
  const error = await run(raw, mode)
  assert.ok(error === undefined || error instanceof Error)
  driver.abort(raw)
  return error === undefined ? 'passed' : 'ended'
}

/** The longest time without a pause of this thread, and its largest memory. */
function watch(): { stop(): { heldMillis: number; megabytes: number } } {
  const rss = process.memoryUsage.rss()
  let heldMillis = 0
  let most = rss
  let since = performance.now()
  let work = process.threadCpuUsage()
  const timer = setInterval(() => {
    const now = performance.now()
    const used = process.threadCpuUsage(work)
    // A thread that waits for a processor does not block the loop itself.
    heldMillis = Math.max(heldMillis, Math.min(now - since, (used.user + used.system) / 1000))
    most = Math.max(most, process.memoryUsage.rss())
    since = now
    work = process.threadCpuUsage()
  }, 10)
  return {
    stop: () => {
      clearInterval(timer)
      return { heldMillis, megabytes: (most - rss) / MEGABYTE }
    },
  }
}

interface Outcomes {
  ended: number
  passed: number
}

/** The cases of one stage, spread over the workers. */
async function playAll(
  stage: Stage,
  cases: number,
  kinds: readonly Play['kind'][],
  encryption: Play['encryption'],
): Promise<Outcomes> {
  const random = new Random(SEED)
  const plays = Array.from({ length: cases }, (_, index) => ({
    play: { stage, encryption, kind: kinds[index % kinds.length] as Play['kind'], seed: random.below(2 ** 31) },
    mode: random.pick(MODES),
  }))
  const outcomes: Outcomes = { ended: 0, passed: 0 }
  await Promise.all(
    servers.map(async (server) => {
      for (let next = plays.pop(); next !== undefined; next = plays.pop()) {
        const began = performance.now()
        try {
          outcomes[await playCase(server, next.play, next.mode)]++
          const millis = performance.now() - began
          assert.ok(millis < LIMIT_SECONDS * 2000 + SLACK_MILLIS, `took ${Math.round(millis)} ms`)
        } catch (error) {
          throw new Error(`${JSON.stringify(next)}, ${server.last}`, { cause: error })
        }
      }
    }),
  )
  return outcomes
}

async function fuzz(stage: Stage, cases: number, kinds: Play['kind'][], encryption: Play['encryption']): Promise<void> {
  const watched = watch()
  const { ended } = await playAll(stage, cases, kinds, encryption)
  const { heldMillis, megabytes } = watched.stop()
  assert.ok(ended > cases / 4, `only ${ended} of ${cases} cases ended the session`)
  assert.ok(heldMillis < 500, `the event loop was held for ${Math.round(heldMillis)} ms`)
  assert.ok(megabytes < 200, `${Math.round(megabytes)} MB`)
}

test('any answer to PRELOGIN', () => fuzz('prelogin', 350, ['gss'], 'none'))
test('any answer to PRELOGIN of a session that is to be encrypted', () => fuzz('prelogin', 150, ['sql'], 'tls'))
test('any message of the TLS handshake', () => fuzz('tls', 250, ['sql', 'token'], 'tls'))
test('any token of GSSAPI', () => fuzz('sspi', 250, ['gss'], 'none'))
test('any token of NTLM', () => fuzz('sspi', 120, ['ntlm'], 'tls'))
test('any answer to a login', () => fuzz('login', 450, ['gss'], 'none'))
test('any answer to a login with a password, a token or NTLM', () =>
  fuzz('login', 250, ['sql', 'token', 'ntlm'], 'tls'))
test('any answer to the first statements of a session', () => fuzz('initial', 350, ['gss'], 'none'))
test('any answer to a statement', () => fuzz('answer', 450, ['gss'], 'none'))

test('a size of packets outside of 512 to 32767 bytes ends the login, and later the session', async () => {
  const [server] = servers
  assert.ok(server !== undefined)
  const answer = (size: string, ...more: readonly Buffer[]): Buffer =>
    packet(
      PACKET.response,
      Buffer.concat([...more, envText('packetSize', size, '4096'), doneToken(DONE.final)]),
      true,
      1,
    )
  const acknowledgement = loginAck(0x74000004, 'Microsoft SQL Server', [16, 0, 1000])
  for (const size of ['-1', '0', '8', '9', '511', '32768', '1e9', '']) {
    for (const stage of ['login', 'initial', 'answer'] as const) {
      const pieces = [answer(size, ...(stage === 'login' ? [acknowledgement] : []))]
      const outcome = await playCase(server, { encryption: 'none', kind: 'gss', stage, seed: 1, pieces }, undefined)
      assert.equal(outcome, 'ended', `${size} at ${stage}`)
    }
  }
  for (const size of ['512', '32767']) {
    const pieces = [answer(size, acknowledgement)]
    const play: Play = { encryption: 'none', kind: 'gss', stage: 'login', seed: 1, pieces }
    // The statements after it are sent in packets of that size.
    assert.match(await playCase(server, play, undefined), /ended|passed/)
    assert.match(server.last, /as told/)
  }
})

test('an endless answer is read up to a mebibyte, before and in a login', async () => {
  const [server] = servers
  assert.ok(server !== undefined)
  for (const [stage, type] of [
    ['prelogin', PACKET.response],
    ['tls', PACKET.prelogin],
    ['login', PACKET.response],
    ['initial', PACKET.response],
  ] as const) {
    const before = server.written
    const pieces = flood(packet(type, Buffer.alloc(1000, 0xab), false, 1), 64 * MEGABYTE)
    const play: Play = { encryption: stage === 'tls' ? 'tls' : 'none', kind: 'gss', stage, seed: 1, pieces }
    assert.equal(await playCase(server, play, undefined), 'ended')
    // Bytes in the buffers of both sockets were sent but never read.
    const sent = (server.written - before) / MEGABYTE
    assert.ok(sent < 32, `${sent} MB at ${stage}`)
  }
})
