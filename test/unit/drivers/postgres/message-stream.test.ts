import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import pg from 'pg'
import type { AnswerMessage, FieldConstructor } from '../../../../src/drivers/postgres/answers.ts'
import type { RowMessage } from '../../../../src/drivers/postgres/data-rows.ts'
import { MessageRules } from '../../../../src/drivers/postgres/message-rules.ts'
import { MessageStream } from '../../../../src/drivers/postgres/message-stream.ts'
import { NotPostgres } from '../../../../src/drivers/postgres/messages.ts'

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

function messagesTaken(chunks: readonly Buffer[], rules = new MessageRules()): { messages: object[]; rows: number } {
  const messages: object[] = []
  let rows = 0
  const onAnswer = (message: AnswerMessage): void => {
    if (message.name === 'dataRow') rows++
    messages.push(plain(message))
  }
  const stream = new MessageStream({ rules, Field, onAnswer, parse: parserOf(messages) })
  for (const chunk of chunks) {
    const memory = Buffer.from(chunk)
    stream.take(memory)
    // A socket reads the next bytes into the same memory.
    memory.fill(0xee)
  }
  return { messages, rows }
}

/** pg's own parser, for the messages that are left to it. */
function parserOf(messages: object[]): (bytes: Buffer) => void {
  const parser = bare((message) => messages.push(plain(message)))
  return (bytes) => void parser.emit('data', bytes)
}

const idle = (): MessageStream =>
  new MessageStream({ rules: new MessageRules(), Field, onAnswer: () => undefined, parse: () => undefined })

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
const ERROR = message('E', Buffer.from('SERROR\0VERROR\0C22012\0Mdivision by zero\0\0'))
const NOTIFICATION = message('A', Buffer.from('\0\0\0\x07news\0hello\0'))
const COPY = Buffer.concat([
  message('H', Buffer.from([0, 0, 1, 0, 0])),
  message('d', Buffer.from('1\n')),
  message('c', Buffer.alloc(0)),
])

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

const int16 = (value: number): Buffer => Buffer.from([(value >> 8) & 0xff, value & 0xff])

function describeRow(names: readonly string[], format = 0): Buffer {
  const columns = names.map((name) =>
    Buffer.concat([
      Buffer.from(`${name}\0`),
      Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0, 4, 0, 0, 0, 0]),
      int16(format),
    ]),
  )
  return message('T', Buffer.concat([int16(names.length), ...columns]))
}

/** The class that pg's parser gives to the columns of a result. */
const Field = (messagesOf([describeRow(['a'])])[0] as { readonly fields: readonly object[] }).fields[0]
  ?.constructor as FieldConstructor

/** Of one column, with any numbers. */
function columnBytes(
  name: string,
  [table, column, type, size, modifier]: readonly [number, number, number, number, number],
) {
  const numbers = Buffer.alloc(18)
  numbers.writeUInt32BE(table, 0)
  numbers.writeInt16BE(column, 4)
  numbers.writeUInt32BE(type, 6)
  numbers.writeInt16BE(size, 10)
  numbers.writeInt32BE(modifier, 12)
  return Buffer.concat([Buffer.from(`${name}\0`), numbers])
}

const text = (type: string, body: string): Buffer => message(type, Buffer.from(body, 'latin1'))

describe('the messages of a session', () => {
  test('arrive as pg reads them, wherever the bytes are cut', () => {
    const value = fc.option(
      fc.oneof(fc.string({ maxLength: 12 }), fc.string({ unit: 'grapheme', maxLength: 6 }), fc.integer().map(String)),
    )
    const one = fc.oneof(
      { weight: 4, arbitrary: fc.array(value, { maxLength: 5 }).map(row) },
      { weight: 1, arbitrary: fc.constantFrom(READY, COMPLETE, PARAMETER, ERROR, NOTIFICATION, COPY) },
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
          assert.equal(rows, parts.filter((part) => part[0] === 0x44).length, 'every row is read without pg')
        },
      ),
      { numRuns: 500 },
    )
  })

  test('that make up an answer are read as pg reads them', () => {
    const uint32 = fc.integer({ min: 0, max: 0xffff_ffff })
    const int16s = fc.integer({ min: -0x8000, max: 0x7fff })
    const int32s = fc.integer({ min: -0x8000_0000, max: 0x7fff_ffff })
    const name = fc
      .oneof(fc.string({ maxLength: 40 }), fc.string({ unit: 'grapheme', maxLength: 8 }))
      .map((each) => each.replaceAll('\0', ''))
    const column = fc.tuple(name, fc.tuple(uint32, int16s, uint32, int16s, int32s))
    const tag = fc.oneof(
      fc.constantFrom('SELECT 1', 'INSERT 0 1', 'COMMIT', 'LISTEN', 'CREATE MATERIALIZED VIEW'),
      name,
    )
    const answer = fc
      .tuple(fc.array(column, { maxLength: 5 }), fc.nat({ max: 2 }), tag, fc.constantFrom('I', 'T', 'E'), fc.boolean())
      .map(([columns, rows, command, status, prepared]) =>
        Buffer.concat([
          ...(prepared ? [text('1', ''), text('2', '')] : []),
          message('T', Buffer.concat([int16(columns.length), ...columns.map((each) => columnBytes(...each))])),
          ...Array.from({ length: rows }, () => row(columns.map(() => 'x'))),
          message('C', Buffer.from(`${command}\0`)),
          text('Z', status),
          ...(prepared ? [text('n', '')] : []),
        ]),
      )
    fc.assert(
      fc.property(fc.array(answer, { minLength: 1, maxLength: 4 }), fc.integer({ min: 1, max: 90 }), (parts, size) => {
        const bytes = Buffer.concat(parts)
        assert.deepEqual(messagesTaken(cut(bytes, [size])).messages, messagesOf([bytes]))
      }),
      { numRuns: 500 },
    )
  })

  test('that make up an answer do not come to pg', () => {
    const bytes = Buffer.concat([text('1', ''), text('2', ''), describeRow(['a']), row(['1']), COMPLETE, READY])
    const left: Buffer[] = []
    const parts = {
      rules: new MessageRules(),
      Field,
      onAnswer: () => undefined,
      parse: (each: Buffer) => left.push(each),
    }
    new MessageStream(parts).take(Buffer.concat([bytes, PARAMETER, bytes]))
    assert.deepEqual(left, [PARAMETER])
  })

  test('keep their order, and rows do not come to pg', () => {
    const bytes = Buffer.concat([row(['1', null, '']), PARAMETER, row(['12345678', '123456789', 'ä']), COMPLETE, READY])
    const { messages, rows } = messagesTaken([bytes])
    assert.deepEqual(messages, messagesOf([bytes]))
    assert.equal(rows, 2)
  })

  test('hold short values of every length', () => {
    const values = Array.from({ length: 12 }, (_, length) => 'abcdefghijkl'.slice(0, length))
    const { messages } = messagesTaken([row(values)])
    assert.deepEqual((messages[0] as RowMessage).fields, values)
  })

  test('may be spread over many chunks', () => {
    const bytes = Buffer.concat([row(['x'.repeat(100_000), '1']), row(['2']), READY])
    const chunks = cut(bytes, [16_384])
    const { messages, rows } = messagesTaken(chunks)
    assert.deepEqual(messages, messagesOf([bytes]))
    assert.equal(rows, 2)
  })

  test('with an impossible length end the session', () => {
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
    assert.throws(() => messagesTaken([tiny]), /a message of 3 bytes/)
    assert.throws(() => messagesTaken(cut(tiny, [2])), /a message of 3 bytes/)
  })

  test('before a damaged one are still passed on', () => {
    const messages: object[] = []
    const stream = new MessageStream({
      rules: new MessageRules(),
      Field,
      onAnswer: (each) => messages.push(plain(each)),
      parse: parserOf(messages),
    })
    const before = [PARAMETER, row(['1']), ERROR]
    assert.throws(() => stream.take(Buffer.concat([...before, text('E', 'SFATAL\0'), READY])), NotPostgres)
    assert.deepEqual(messages, messagesOf(before))
  })

  test('take memory as they arrive, and not by their announced length', () => {
    const before = process.memoryUsage().arrayBuffers
    for (const each of Array.from({ length: 50 }, idle)) each.take(Buffer.from([0x44, 0x3f, 0xff, 0xff, 0xff, 0, 1]))
    assert.ok(process.memoryUsage().arrayBuffers - before < 4 << 20)
  })
})

/** Messages that no genuine server sends, and on which pg's parser would loop, allocate memory or answer. */
const DAMAGED: Readonly<Record<string, readonly Buffer[]>> = {
  'an error without an end': [text('E', 'SERROR\0C22012\0')],
  'an error that ends inside a text': [text('E', 'SERROR')],
  'an error that continues after its end': [text('E', 'SERROR\0\0more\0\0')],
  'an empty error': [text('E', '')],
  'a notice without an end': [text('N', 'SNOTICE\0')],
  'a request for a cleartext password': [message('R', Buffer.from([0, 0, 0, 3]))],
  'a request for a SCRAM login': [text('R', '\0\0\0\x0aSCRAM-SHA-256\0\0')],
  'a column in binary form where text was requested': [describeRow(['a'], 1)],
  'a column in an unknown form': [describeRow(['a'], 2)],
  'a description of more columns than it holds': [
    message('T', Buffer.concat([int16(2), describeRow(['a']).subarray(7)])),
  ],
  'a description of a negative number of columns': [message('T', int16(-1))],
  'a description that continues after its end': [text('T', '\0\0more')],
  'a description of parameters that it does not hold': [message('t', int16(3))],
  'a row with fewer values than columns': [describeRow(['a', 'b']), row(['1'])],
  'a row with more values than columns': [describeRow(['a']), row(['1', '2'])],
  'a copy of columns that it does not hold': [message('H', Buffer.from([0, 0x7f, 0xff]))],
  'a message of an unknown type': [text('?', '')],
  'a negotiation of the version in an open session': [text('v', '\0\0\0\0\0\0\0\0')],
  'an unknown transaction status': [text('Z', 'X')],
  'a ReadyForQuery without a status': [text('Z', '')],
  'a ReadyForQuery of two bytes': [text('Z', 'II')],
  'a key for cancelling in an open session': [READY, text('K', '12345678')],
  'a key of another length': [text('K', '1234567')],
  'a setting without a value': [text('S', 'TimeZone\0')],
  'a CommandComplete without the end of its text': [text('C', 'SELECT 1')],
  'a notification that is cut off': [text('A', '\0\0\0\x01news\0')],
  'a suspended statement where all rows were requested': [text('s', '')],
  'a message with a body that must have none': [text('1', 'x')],
  'a flood of more than ten thousand requests to copy': Array.from({ length: 10_001 }, () => text('G', '\0\0\0')),
  'a setting of more than a megabyte': [Buffer.from([0x53, 0, 0x20, 0, 0])],
  'an error of more than 16 megabytes': [Buffer.from([0x45, 2, 0, 0, 0])],
}

for (const [name, parts] of Object.entries(DAMAGED)) {
  test(`${name} ends the session`, () => {
    const bytes = Buffer.concat(parts)
    for (const size of [bytes.length, 1]) {
      assert.throws(() => messagesTaken(cut(bytes, [size])), NotPostgres)
    }
  })
}

test('a row without a description ends the session where a description was requested', () => {
  const rules = new MessageRules()
  assert.equal(messagesTaken([row(['1'])], rules).rows, 1)
  rules.describeAsked()
  assert.throws(() => messagesTaken([row(['1'])], rules), NotPostgres)
  assert.equal(messagesTaken([Buffer.concat([describeRow(['a']), row(['1']), READY, row(['1'])])], rules).rows, 2)
})

test('a row after the end of a statement ends the session where each statement describes its rows', () => {
  const end = text('C', 'SELECT 1\0')
  const bytes = Buffer.concat([describeRow(['a']), row(['1']), end, row(['1'])])
  // By the extended protocol a statement may be described once and executed many times.
  assert.equal(messagesTaken([bytes]).rows, 2)
  const rules = new MessageRules()
  rules.textSent()
  assert.throws(() => messagesTaken([bytes], rules), NotPostgres)
})

test('values in binary form and parts of the rows may arrive where they were requested', () => {
  const rules = new MessageRules()
  rules.bound(true)
  rules.executedInPart()
  const bytes = Buffer.concat([describeRow(['a'], 1), row(['1']), text('s', ''), READY])
  assert.deepEqual(messagesTaken([bytes], rules).messages, messagesOf([bytes]))
  assert.throws(() => messagesTaken([text('s', '')], rules), NotPostgres, 'the statement has ended')
})
