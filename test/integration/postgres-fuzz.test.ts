/**
 * A seeded fuzz: servers that send damaged messages at every stage of a session, a few thousand in all. Each case ends in
 * an error of poolsmith (in an open session also of pg or of the server), soon, in little memory, and without holding the
 * event loop.
 */

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type pg from 'pg'
import QueryStream from 'pg-query-stream'
import { PoolsmithError } from '../../src/errors.ts'
import { collectGarbage } from '../support/collect-garbage.ts'
import {
  authentication,
  errorResponse,
  int32,
  message,
  type Peer,
  startFakePostgres,
} from '../support/fake-postgres.ts'
import { Chance, damaged, shuffled } from '../support/fuzz.ts'
import { createPki } from '../support/pki.ts'
import { driverFor, openSession, passwordCredential } from '../support/postgres-driver.ts'

const SEED = 20_240_817
const CASES = 300
const WORKERS = 8
/** Longer than any case takes on a busy machine, so that it is reached only when something hangs. */
const LIMIT_MILLIS = 20_000
const MOST_BYTES = 200 << 20
const MOST_HELD_MILLIS = 500

const text = (type: string, body: string): Buffer => message(type, Buffer.from(body, 'latin1'))
const int16 = (value: number): Buffer => Buffer.from([(value >> 8) & 0xff, value & 0xff])
const READY = text('Z', 'I')
const PARAMETERS = ['client_encoding\0UTF8\0', 'DateStyle\0ISO, MDY\0', 'server_version\x0015.4\0'].map((pair) =>
  text('S', pair),
)
const KEY = message('K', int32(4711), int32(99))
const WELCOME = [authentication(0), ...PARAMETERS, KEY, READY]
/** The answer to `show extra_float_digits`, which a new session is asked. */
const DIGITS = [message('D', int16(1), int32(1), Buffer.from('3')), text('C', 'SHOW\0'), READY]
const ERROR = errorResponse({ S: 'ERROR', V: 'ERROR', C: '22012', M: 'division by zero', R: 'int4div' })
const NOTICE = text('N', 'SNOTICE\0C00000\0Mhello\0\0')

/** Types whose text pg takes apart: numbers, times, intervals, JSON, points, bytea, and arrays of them. */
const TYPES = [
  16, 17, 20, 21, 23, 25, 114, 600, 700, 718, 1007, 1009, 1016, 1082, 1114, 1115, 1184, 1186, 1187, 1231, 3807,
]
const VALUES = [
  '1',
  '-1',
  't',
  '{1,2,{3}}',
  '{"a","\\"',
  '2020-01-01 00:00:00+00',
  '1 day 02:03:04.5',
  '{"a":1}',
  '(1,2)',
  '\\x00ff',
  '',
]

function rows(chance: Chance): Buffer[] {
  const columns = 1 + chance.below(4)
  const described = Array.from({ length: columns }, (_, index) =>
    Buffer.concat([
      Buffer.from(`c${index}\0`),
      int32(0),
      int16(0),
      int32(chance.pick(TYPES)),
      int16(-1),
      int32(-1),
      int16(chance.below(10) === 0 ? 1 : 0),
    ]),
  )
  const row = (): Buffer => {
    const values = Array.from({ length: columns }, () => {
      const value = Buffer.from(chance.pick(VALUES))
      return chance.below(5) === 0 ? int32(-1) : Buffer.concat([int32(value.length), value])
    })
    return message('D', int16(columns), ...values)
  }
  return [
    message('T', int16(columns), ...described),
    ...Array.from({ length: chance.below(5) }, row),
    text('C', 'SELECT 1\0'),
  ]
}

interface Stage {
  readonly name: string
  readonly extra?: Readonly<Record<string, string>>
  readonly script: (peer: Peer, chance: Chance) => Promise<void>
  /** Uses a session that was opened in spite of the damage. */
  readonly use?: (client: pg.Client, chance: Chance) => Promise<unknown>
}

/** Sends, and ends the connection a little later or at once. */
function say(peer: Peer, bytes: Buffer): void {
  peer.send(bytes)
  peer.end()
}

async function session(peer: Peer, answer: Buffer): Promise<void> {
  await peer.startup()
  peer.send(Buffer.concat(WELCOME))
  await peer.message()
  peer.send(Buffer.concat(DIGITS))
  await peer.message()
  say(peer, answer)
}

const ask = (client: pg.Client, chance: Chance): Promise<unknown> =>
  chance.below(2) === 0
    ? client.query('select 1')
    : client.query({ text: 'select $1', values: ['x'], ...(chance.below(2) === 0 ? { rowMode: 'array' } : {}) })

const certificate = createPki().then((pki) => pki.issue({ commonName: 'localhost' }))

const STAGES: readonly Stage[] = [
  {
    name: 'the negotiation of TLS',
    extra: { sslmode: 'prefer' },
    script: async (peer, chance) => {
      await peer.first()
      say(peer, damaged(chance.pick([Buffer.from('S'), Buffer.from('N'), ERROR, Buffer.from('Etext\n\0')]), chance))
    },
  },
  {
    name: 'the request for a login',
    script: async (peer, chance) => {
      await peer.startup()
      const requests = [0, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12].map((code) =>
        authentication(code, chance.pick(['', 'salt', 'SCRAM-SHA-256\0\0'])),
      )
      say(peer, shuffled([NOTICE, chance.pick(requests), ...WELCOME], chance))
    },
  },
  {
    name: 'the request for a login inside TLS',
    extra: { sslmode: 'require' },
    script: async (peer, chance) => {
      await peer.tls(await certificate)
      await peer.startup()
      say(peer, shuffled([chance.pick([authentication(3), authentication(5, 'salt'), ERROR]), ...WELCOME], chance))
    },
  },
  {
    name: 'SCRAM',
    script: async (peer, chance) => {
      await peer.startup()
      peer.send(authentication(10, 'SCRAM-SHA-256\0\0'))
      const { body } = await peer.message()
      const nonce = /r=(.*)$/.exec(body.toString('latin1'))?.[1] ?? ''
      const first = Buffer.from(`r=${nonce}x,s=c2FsdA==,i=1`)
      if (chance.below(2) === 0) return say(peer, message('R', int32(11), damaged(first, chance)))
      peer.send(message('R', int32(11), first))
      await peer.message()
      say(
        peer,
        Buffer.concat([damaged(authentication(12, `v=${Buffer.alloc(32).toString('base64')}`), chance), ...WELCOME]),
      )
    },
  },
  {
    name: 'the settings after the login',
    script: async (peer, chance) => {
      await peer.startup()
      say(peer, Buffer.concat([authentication(0), shuffled([...PARAMETERS, NOTICE, KEY, READY], chance)]))
    },
    use: ask,
  },
  {
    name: 'the first question to a session',
    script: async (peer, chance) => {
      await peer.startup()
      peer.send(Buffer.concat(WELCOME))
      await peer.message()
      say(peer, shuffled([...DIGITS, ...PARAMETERS, NOTICE], chance))
    },
    use: ask,
  },
  {
    name: 'rows',
    script: async (peer, chance) =>
      session(peer, shuffled([text('1', ''), text('2', ''), ...rows(chance), READY], chance)),
    use: ask,
  },
  {
    name: 'several results',
    script: async (peer, chance) =>
      session(peer, shuffled([...rows(chance), ...rows(chance), text('I', ''), READY], chance)),
    use: (client) => client.query('select 1; select 2'),
  },
  {
    name: 'errors, notices and notifications',
    script: async (peer, chance) => {
      const said = [NOTICE, text('A', '\0\0\0\x01news\0hello\0'), ...PARAMETERS, ERROR, READY]
      await session(peer, shuffled(said, chance))
    },
    use: ask,
  },
  {
    name: 'a stream of rows',
    script: async (peer, chance) => {
      const portal = [text('1', ''), text('2', ''), ...rows(chance).slice(0, -1), text('s', ''), ERROR, READY]
      await session(peer, shuffled(portal, chance))
    },
    use: async (client) => {
      const stream = client.query(new QueryStream('select 1', [], { batchSize: 2 }))
      // Where the session ends pg may tell a stream neither of an error nor of its end.
      const ended = once(client, 'end').then(() => setImmediate())
      await Promise.race([stream.toArray(), ended])
    },
  },
  {
    name: 'a copy',
    script: async (peer, chance) => {
      const head = chance.pick(['G', 'H', 'W'])
      const copy = [
        text(head, '\0\0\x01\0\0'),
        text('d', '1\n'),
        text('d', '2\n'),
        text('c', ''),
        text('C', 'COPY 2\0'),
        READY,
      ]
      await session(peer, shuffled(copy, chance))
    },
    use: ask,
  },
]

function bytesInUse(): number {
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** The peak of memory, and the longest processor time of this thread between two turns of the event loop. */
class Watch implements Disposable {
  peakBytes = 0
  heldMillis = 0
  #last = process.threadCpuUsage()
  readonly #baseBytes = bytesInUse()
  readonly #timer = setInterval(() => this.#look(), 20)

  #look(): void {
    const now = process.threadCpuUsage()
    this.heldMillis = Math.max(this.heldMillis, (now.user + now.system - this.#last.user - this.#last.system) / 1000)
    this.#last = now
    this.peakBytes = Math.max(this.peakBytes, bytesInUse() - this.#baseBytes)
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}

/** The reason why the result of a case is wrong, or undefined. */
function complaint(error: unknown, used: boolean): string | undefined {
  if (error instanceof PoolsmithError) {
    if (error.code === 'ABORTED') return `hangs in the phase ${error.phase}`
    return error.hint === undefined ? `${error.code} without a hint` : undefined
  }
  if (!used || !(error instanceof Error)) return `is no error of ours: ${String(error)}`
  return error instanceof RangeError || error instanceof TypeError ? `${error.stack}` : undefined
}

for (const [number, stage] of STAGES.entries()) {
  test(`${CASES} damaged answers end in an error within the limits: ${stage.name}`, async () => {
    collectGarbage()
    using watch = new Watch()
    const complaints: string[] = []
    const outcomes = new Map<string, number>()
    let next = 0
    const work = async (): Promise<void> => {
      let chance = new Chance(0)
      await using fake = await startFakePostgres((peer) => stage.script(peer, chance))
      const target = { host: '127.0.0.1', port: fake.port, login: 'alice' }
      for (let index = next++; index < CASES; index = next++) {
        // The garbage of earlier cases does not count.
        if (index % 50 === 0) collectGarbage()
        const seed = SEED + number * 1_000_000 + index
        chance = new Chance(seed)
        const { driver } = driverFor(target, { sslmode: 'disable', connect_timeout: 0, ...stage.extra })
        let used = false
        let outcome = 'opened'
        try {
          const { client } = await openSession(driver, passwordCredential('secret'), AbortSignal.timeout(LIMIT_MILLIS))
          used = true
          const limit = new Promise((_, reject) => {
            setTimeout(() => reject(new RangeError('hangs in a statement')), LIMIT_MILLIS).unref()
          })
          try {
            await Promise.race([stage.use?.(client, new Chance(seed)), limit])
          } finally {
            driver.abort(client)
          }
        } catch (error) {
          outcome = error instanceof PoolsmithError ? error.code : (error as Error).message
          const wrong = complaint(error, used)
          if (wrong !== undefined) complaints.push(`seed ${seed}: ${wrong}`)
        }
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      }
      await fake.deserted()
    }
    await Promise.all(Array.from({ length: WORKERS }, work))
    assert.deepEqual(complaints.slice(0, 3), [])
    assert.ok(outcomes.size >= 3, `only ${[...outcomes.keys()].join(', ')}`)
    assert.ok(watch.peakBytes < MOST_BYTES, `${watch.peakBytes} bytes of memory`)
    assert.ok(watch.heldMillis < MOST_HELD_MILLIS, `the loop was held for ${watch.heldMillis} ms`)
  })
}
