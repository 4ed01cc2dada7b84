import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import fc from 'fast-check'
import { type CopyConsumer, CopyOut } from '../../../../src/drivers/postgres/copy.ts'

function message(type: string, body: string | Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.write(type)
  header.writeUInt32BE(4 + Buffer.byteLength(body), 1)
  return Buffer.concat([header, Buffer.from(body)])
}

class FakeSocket extends EventEmitter {
  paused = false
  pause(): void {
    this.paused = true
  }
  resume(): void {
    this.paused = false
  }
  destroy(): void {
    this.emit('close')
  }
}

/** As much of pg as a copy meets: a parser that hears messages in order and answers with the copy's methods. */
class FakePg {
  readonly stream = new FakeSocket()
  readonly heard: string[] = []
  query?: (text: string) => void
  #rest = Buffer.alloc(0)
  active: CopyOut<string> | undefined

  constructor() {
    this.stream.on('data', this.parse)
  }

  readonly parse = (chunk: Buffer): void => {
    this.#rest = Buffer.concat([this.#rest, chunk])
    while (this.#rest.length >= 5) {
      const end = 1 + this.#rest.readUInt32BE(1)
      if (this.#rest.length < end) return
      const [type, body] = [this.#rest.toString('latin1', 0, 1), this.#rest.toString('latin1', 5, end)]
      this.#rest = this.#rest.subarray(end)
      this.heard.push(type + body)
      if (type === 'C') this.active?.handleCommandComplete({ text: body.slice(0, -1) })
      if (type === 'E') this.active?.handleError(new Error(body))
      if (type === 'Z') this.active?.handleReadyForQuery()
    }
  }

  start(copy: CopyOut<string>): void {
    this.active = copy
    const failure = copy.submit({ stream: this.stream, query: (text: string) => this.heard.push(`query ${text}`) })
    assert.equal(failure, null)
  }
}

/** Keeps payloads as text. */
class Texts implements CopyConsumer<string> {
  #now: string[] = []
  data(chunk: Buffer, start: number, end: number): void {
    this.#now.push(chunk.toString('latin1', start, end))
  }
  flush(): string[] {
    return this.#now.splice(0)
  }
  end(): string[] {
    return ['end']
  }
}

async function takeAll(copy: CopyOut<string>): Promise<string[]> {
  const items: string[] = []
  for (let item = await copy.next(); item !== undefined; item = await copy.next()) items.push(item)
  return items
}

/** The bytes cut at the given places, one at a time, as long as the socket is not paused. */
async function feed(pg: FakePg, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  const places = [...new Set(cuts.map((cut) => cut % bytes.length))].sort((a, b) => a - b)
  let from = 0
  for (const to of [...places, bytes.length]) {
    while (pg.stream.paused) await new Promise(setImmediate)
    if (to > from) pg.stream.emit('data', Buffer.from(bytes.subarray(from, to)))
    from = to
  }
}

test('payloads arrive complete and in order however the bytes are cut, and pg gets all other messages', async () => {
  const payloads = fc.array(fc.string({ unit: 'binary-ascii', maxLength: 40 }), { maxLength: 20 })
  await fc.assert(
    fc.asyncProperty(payloads, fc.array(fc.nat(5000), { maxLength: 40 }), async (rows, cuts) => {
      const pg = new FakePg()
      const copy = new CopyOut('copy it', new Texts())
      pg.start(copy)
      const bytes = Buffer.concat([
        message('H', '\0\0\0'),
        ...rows.map((row, index) =>
          Buffer.concat([message('d', row), ...(index === 2 ? [message('S', 'a\0b\0')] : [])]),
        ),
        message('c', ''),
        message('C', `COPY ${rows.length}\0`),
        message('Z', 'T'),
        message('A', 'afterwards'),
      ])
      const [items] = await Promise.all([takeAll(copy), feed(pg, bytes, cuts)])
      assert.deepEqual(items, [...rows, 'end'])
      assert.equal(copy.rows, rows.length)
      const others = ['query copy it', 'H\0\0\0', ...(rows.length > 2 ? ['Sa\0b\0'] : [])]
      assert.deepEqual(pg.heard, [...others, 'c', `CCOPY ${rows.length}\0`, 'ZT', 'Aafterwards'])
      assert.deepEqual(pg.stream.listeners('data'), [pg.parse])
    }),
  )
})

test('the socket rests while an item waits', async () => {
  const pg = new FakePg()
  const copy = new CopyOut('copy it', new Texts())
  pg.start(copy)
  pg.stream.emit('data', message('d', 'one'))
  assert.equal(pg.stream.paused, true)
  assert.equal(await copy.next(), 'one')
  assert.equal(pg.stream.paused, true, 'until the reader asks for more')
  const next = copy.next()
  assert.equal(pg.stream.paused, false)
  pg.stream.emit('data', message('d', 'two'))
  assert.equal(await next, 'two')
})

test('the reader gets the error of the server, the socket, the consumer or the signal', async () => {
  const refused = new FakePg()
  const first = new CopyOut('copy it', new Texts())
  refused.start(first)
  refused.stream.emit('data', Buffer.concat([message('d', 'one'), message('E', 'no'), message('Z', 'E')]))
  await assert.rejects(first.next(), /no/)
  assert.equal(first.settled, true)
  assert.deepEqual(refused.heard.slice(1), ['Eno', 'ZE'])

  const broken = new FakePg()
  const second = new CopyOut('copy it', new Texts())
  broken.start(second)
  const waiting = second.next()
  second.handleError(new Error('Connection terminated unexpectedly'))
  await assert.rejects(waiting, /terminated/)

  const odd = new FakePg()
  const third = new CopyOut(
    'copy it',
    new (class extends Texts {
      override data(): void {
        throw new RangeError('odd')
      }
    })(),
  )
  odd.start(third)
  odd.stream.emit('data', message('d', 'one'))
  await assert.rejects(third.next(), /odd/)
  assert.equal(third.settled, false)
  const discarded = third.discard(AbortSignal.timeout(10_000))
  odd.stream.emit('data', Buffer.concat([message('d', 'two'), message('C', 'COPY 2\0'), message('Z', 'I')]))
  await discarded
  assert.equal(third.settled, true)

  const abort = new AbortController()
  const idle = new FakePg()
  const fourth = new CopyOut('copy it', new Texts())
  idle.start(fourth)
  const never = fourth.next(abort.signal)
  abort.abort(new Error('enough'))
  await assert.rejects(never, /enough/)
})

test('a change inside pg is reported in a plain sentence', () => {
  const pg = new FakePg()
  pg.stream.on('data', () => undefined)
  const failure = new CopyOut('copy it', new Texts()).submit({ stream: pg.stream, query: () => undefined })
  assert.match(failure?.message ?? '', /pg has changed inside/)
})
