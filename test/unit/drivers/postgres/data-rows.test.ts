import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import pg from 'pg'
import { type RowMessage, takeRows } from '../../../../src/drivers/postgres/data-rows.ts'

type Connection = EventEmitter & { attachListeners(stream: EventEmitter): void }

/** pg's own parser: gives what it makes of the chunks that are emitted as `data`. */
function bare(onMessage: (message: object) => void): EventEmitter {
  const stream = new EventEmitter()
  const connection = new (pg.Connection as unknown as new (config: object) => Connection)({ stream })
  connection.on('message', onMessage)
  connection.attachListeners(stream)
  return stream
}

const plain = (message: object): object => ({ ...message })

function messagesOf(chunks: readonly Buffer[]): object[] {
  const messages: object[] = []
  const parser = bare((message) => messages.push(plain(message)))
  for (const chunk of chunks) parser.emit('data', chunk)
  return messages
}

function messagesTaken(chunks: readonly Buffer[]): { messages: object[]; rows: number } {
  const messages: object[] = []
  let rows = 0
  const parser = bare((message) => messages.push(plain(message)))
  const onRow = (row: RowMessage): void => {
    rows++
    messages.push(row)
  }
  const take = takeRows(onRow, (chunk) => parser.emit('data', chunk))
  for (const chunk of chunks) take(chunk)
  return { messages, rows }
}

function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.write(type)
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

function row(values: readonly (string | null)[]): Buffer {
  const count = Buffer.alloc(2)
  count.writeUInt16BE(values.length)
  const fields = values.map((value) => {
    const bytes = Buffer.from(value ?? '')
    const length = Buffer.alloc(4)
    length.writeInt32BE(value === null ? -1 : bytes.length)
    return Buffer.concat([length, bytes])
  })
  return message('D', Buffer.concat([count, ...fields]))
}

const READY = message('Z', Buffer.from('I'))
const COMPLETE = message('C', Buffer.from('SELECT 3\0'))
const PARAMETER = message('S', Buffer.from('TimeZone\0UTC\0'))

/** Cuts bytes into chunks, each of them memory of its own. */
function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let offset = 0, index = 0; offset < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    chunks.push(Buffer.from(bytes.subarray(offset, offset + size)))
    offset += size
  }
  return chunks
}

/** How many rows lie in one chunk each. */
function wholeRows(messages: readonly Buffer[], chunks: readonly Buffer[]): number {
  const cuts: number[] = []
  for (const { length } of chunks) cuts.push((cuts.at(-1) ?? 0) + length)
  let begin = 0
  return messages.filter((each) => {
    const [from, to] = [begin, begin + each.length]
    begin = to
    return each[0] === 0x44 && !cuts.some((place) => place > from && place < to)
  }).length
}

describe('rows taken before pg sees them', () => {
  test('they are what pg makes of the same bytes, wherever these are cut', () => {
    const value = fc.option(
      fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'grapheme', maxLength: 6 }), fc.integer().map(String)),
    )
    const one = fc.oneof(
      { weight: 4, arbitrary: fc.array(value, { maxLength: 5 }).map(row) },
      { weight: 1, arbitrary: fc.constantFrom(READY, COMPLETE, PARAMETER) },
    )
    fc.assert(
      fc.property(
        fc.array(one, { minLength: 1, maxLength: 12 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }),
        (parts, sizes) => {
          const bytes = Buffer.concat(parts)
          const chunks = cut(bytes, sizes)
          const { messages, rows } = messagesTaken(chunks)
          assert.deepEqual(messages, messagesOf([bytes]))
          assert.equal(rows, wholeRows(parts, chunks), 'all rows that lie in one chunk')
        },
      ),
      { numRuns: 500 },
    )
  })

  test('whole ones do not come to pg, in order with what does', () => {
    const bytes = Buffer.concat([row(['1', null, '']), PARAMETER, row(['12345678', '123456789', 'ä']), COMPLETE, READY])
    const { messages, rows } = messagesTaken([bytes])
    assert.deepEqual(messages, messagesOf([bytes]))
    assert.equal(rows, 2)
  })

  test('every length of a short value', () => {
    const values = Array.from({ length: 12 }, (_, length) => 'abcdefghijkl'.slice(0, length))
    const { messages } = messagesTaken([row(values)])
    assert.deepEqual((messages[0] as RowMessage).fields, values)
  })

  test('a row of many chunks is left to pg', () => {
    const bytes = Buffer.concat([row(['x'.repeat(100_000), '1']), row(['2']), READY])
    const chunks = cut(bytes, [16_384])
    const { messages, rows } = messagesTaken(chunks)
    assert.deepEqual(messages, messagesOf([bytes]))
    assert.equal(rows, 1)
  })

  test('lengths that make no sense are errors', () => {
    const short = row(['abc'])
    short.writeInt32BE(2, 7)
    const long = row(['abc'])
    long.writeInt32BE(1000, 7)
    const many = row(['abc'])
    many.writeUInt16BE(65_535, 5)
    for (const damaged of [short, long, many]) {
      assert.throws(() => messagesTaken([Buffer.concat([damaged, READY])]), /do not agree with its length/)
    }
    const tiny = Buffer.from([0x44, 0, 0, 0, 3, 0, 0, 0, 0])
    assert.throws(() => messagesTaken([tiny]), /3 bytes long/)
    assert.throws(() => messagesTaken(cut(tiny, [2])), /3 bytes long/)
  })
})
