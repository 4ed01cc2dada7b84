import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Duplex, PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import { GssStream } from '../../../../src/drivers/postgres/gss-stream.ts'
import type { GssContext } from '../../../../src/kerberos/gss-api.ts'

/** Wraps a message by turning its bits over, between two brackets; 16,380 bytes hold 16,378. */
class TurningContext implements GssContext {
  readonly target = 'postgres@db'
  readonly complete = true
  readonly flags = []
  disposed = 0
  wrapped = 0

  step(): never {
    throw new Error('not here')
  }
  wrap(plaintext: Uint8Array): Buffer {
    this.wrapped++
    return Buffer.from([0x5b, ...plaintext.map((byte) => byte ^ 0xff), 0x5d])
  }
  unwrap(message: Uint8Array): Buffer {
    if (message[0] !== 0x5b || message.at(-1) !== 0x5d) throw new Error('damaged')
    return Buffer.from(message.subarray(1, -1).map((byte) => byte ^ 0xff))
  }
  wrapSizeLimit(messageBytes: number): number {
    return messageBytes - 2
  }
  inquire(): never {
    throw new Error('not here')
  }
  [Symbol.dispose](): void {
    this.disposed++
  }
}

/** A stream over a wire of which both ends are in our hands. */
function setUp(highWaterMark = 16_384) {
  const fromServer = new PassThrough({ highWaterMark })
  const toServer = new PassThrough({ highWaterMark })
  const below = Duplex.from({ readable: fromServer, writable: toServer })
  const context = new TurningContext()
  const stream = new GssStream(below, context)
  return { below, fromServer, toServer, context, stream }
}

function packet(plaintext: Buffer): Buffer {
  const message = new TurningContext().wrap(plaintext)
  const length = Buffer.alloc(4)
  length.writeUInt32BE(message.length)
  return Buffer.concat([length, message])
}

/** The plaintexts of a sequence of packets. */
function plaintexts(bytes: Buffer): Buffer[] {
  const context = new TurningContext()
  const found: Buffer[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const size = bytes.readUInt32BE(offset)
    assert.ok(size <= 16_380, `a packet of ${size} bytes`)
    found.push(context.unwrap(bytes.subarray(offset + 4, offset + 4 + size)))
    offset += 4 + size
  }
  return found
}

async function failure(stream: GssStream): Promise<unknown> {
  stream.resume()
  if (!stream.closed) await new Promise((resolve) => stream.once('close', resolve))
  return stream.errored
}

test('packets come together however the wire cuts them', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ minLength: 0, maxLength: 3000 }), { maxLength: 8 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 5000 })),
      async (messages, cuts) => {
        const { fromServer, stream } = setUp()
        const sent = Buffer.concat(messages)
        const wire = Buffer.concat(messages.map((message) => packet(Buffer.from(message))))
        const received = text(stream.setEncoding('latin1'))
        for (let offset = 0; offset < wire.length; ) {
          const size = cuts.next().value as number
          fromServer.write(wire.subarray(offset, offset + size))
          offset += size
          await turn()
        }
        fromServer.end()
        assert.equal(await received, sent.toString('latin1'))
      },
    ),
    { numRuns: 50 },
  )
})

test('what is written arrives in order, in packets that are not too long, small writes together', async () => {
  const { toServer, stream, context } = setUp()
  const large = Buffer.alloc(1_000_000, 'poolsmith ')
  const arrived: Buffer[] = []
  toServer.on('data', (chunk: Buffer) => arrived.push(chunk))
  stream.cork()
  for (const word of ['a', 'b', 'c']) stream.write(word)
  stream.uncork()
  await turn()
  assert.equal(context.wrapped, 1)
  stream.end(large)
  await once(toServer, 'end')
  const all = plaintexts(Buffer.concat(arrived))
  assert.equal(all[0]?.toString(), 'abc')
  assert.ok(Buffer.concat(all.slice(1)).equals(large))
})

test('back-pressure: nothing is encrypted for a wire that takes nothing, and nothing read for a paused reader', async () => {
  const { fromServer, stream, context } = setUp()
  stream.write(Buffer.alloc(10_000_000))
  for (let count = 0; count < 20; count++) await turn()
  assert.ok(context.wrapped <= 16, `${context.wrapped} packets of 611 were encrypted`)
  const one = packet(Buffer.alloc(10_000))
  let taken = 0
  while (taken < 100 && fromServer.write(one)) {
    taken++
    await turn()
  }
  assert.ok(taken < 30, `${taken} packets were taken in for nobody`)
  stream.destroy()
})

test('packets that are too long, not ours or cut short end it', async () => {
  const wrong: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from([0, 0, 0x3f, 0xfd]), /16381 bytes/],
    [Buffer.from([0, 0, 0, 3, 1, 2, 3]), /damaged/],
    [packet(Buffer.from('cut')).subarray(0, 6), /ends in the middle/],
    [Buffer.from([0, 0]), /ends in the middle/],
  ]
  for (const [bytes, expected] of wrong) {
    const { fromServer, stream, below, context } = setUp()
    fromServer.write(packet(Buffer.from('good')))
    fromServer.end(bytes)
    assert.match(String(await failure(stream)), expected)
    assert.ok(below.destroyed)
    assert.equal(context.disposed, 1)
  }
})

test('the end of the wire is the end, and its error ours', async () => {
  const ended = setUp()
  ended.fromServer.end(packet(Buffer.from('bye')))
  assert.equal(await text(ended.stream), 'bye')
  const broken = setUp()
  broken.below.destroy(new Error('reset'))
  assert.match(String(await failure(broken.stream)), /reset/)
  const closed = setUp()
  closed.below.destroy()
  await failure(closed.stream)
  assert.ok(closed.stream.destroyed)
})

test('destroying it closes the wire and releases the context, also in the middle of a chunk', async () => {
  const { fromServer, stream, below, context } = setUp()
  stream.on('data', () => stream.destroy())
  fromServer.write(Buffer.concat([packet(Buffer.from('one')), packet(Buffer.from('two'))]))
  await once(stream, 'close')
  assert.ok(below.destroyed)
  assert.equal(context.disposed, 1)
})
