/** Rows that are made here are those that pg makes of its messages: the oracle is pg. */

import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { test } from 'node:test'
import fc from 'fast-check'
import pg from 'pg'
import type { FieldConstructor } from '../../../../src/drivers/postgres/answers.ts'
import { guardedTypes } from '../../../../src/drivers/postgres/bytea.ts'
import { type ActiveQuery, methodsOf, readRows } from '../../../../src/drivers/postgres/collected-rows.ts'
import { MessageRules } from '../../../../src/drivers/postgres/message-rules.ts'
import { MessageStream } from '../../../../src/drivers/postgres/message-stream.ts'
import { NotPostgres } from '../../../../src/drivers/postgres/messages.ts'
import { Chance } from '../../../support/fuzz.ts'

interface Query extends EventEmitter {
  handleRowDescription(message: object): void
  handleDataRow(message: object): void
  handleCommandComplete(message: object): void
  readonly _result: ActiveQuery['_result'] & { readonly rows: readonly unknown[]; readonly fields: readonly object[] }
  readonly _results: unknown
  readonly _canceledDueToError: unknown
}

interface Asked {
  readonly rowMode?: 'array'
  readonly types?: object
}

const methods = methodsOf(pg)
const malformed = (): Error => new Error('malformed')

function queryOf(asked: Asked): Query {
  const config = { text: 'select', types: guardedTypes(pg.types, malformed), ...asked }
  return new (pg.Query as unknown as new (config: object, values: undefined, callback: () => void) => Query)(
    config,
    undefined,
    () => undefined,
  )
}

/** A session of pg without a socket: what comes as `data` on the stream goes to the query. */
function sessionOf(query: Query): EventEmitter {
  const stream = new EventEmitter()
  const connection = new (pg.Connection as unknown as new (config: object) => EventEmitter)({ stream })
  connection.on('rowDescription', (message) => query.handleRowDescription(message))
  connection.on('dataRow', (message) => query.handleDataRow(message))
  connection.on('commandComplete', (message) => query.handleCommandComplete(message))
  ;(connection as unknown as { attachListeners(stream: EventEmitter): void }).attachListeners(stream)
  return Object.assign(connection, { stream })
}

function asPg(chunks: readonly Buffer[], asked: Asked): Query {
  const query = queryOf({ types: pg.types, ...asked })
  const session = sessionOf(query) as EventEmitter & { readonly stream: EventEmitter }
  for (const chunk of chunks) session.stream.emit('data', chunk)
  return query
}

interface Made {
  readonly query: Query
  /** Rows that came as messages. */
  readonly messages: number
}

interface Session extends EventEmitter {
  readonly stream: EventEmitter
  readonly _emitMessage: boolean
}

/** @param between called before each chunk */
function asWeDo(chunks: readonly Buffer[], asked: Asked, between?: (query: Query, session: Session) => void): Made {
  const query = queryOf(asked)
  const session = sessionOf(query) as Session
  let messages = 0
  const stream: MessageStream = new MessageStream({
    rules: new MessageRules(),
    Field,
    onAnswer: (message) => {
      const { name } = message
      if (name === 'dataRow') messages++
      if (session._emitMessage) session.emit('message', message)
      session.emit(name, message)
      if (name === 'rowDescription') readRows(stream, { active: query, session, methods })
    },
    parse: (whole) => void session.stream.emit('data', whole),
  })
  for (const chunk of chunks) {
    between?.(query, session)
    const memory = Buffer.from(chunk)
    stream.take(memory)
    // A socket reads the next bytes into the same memory.
    memory.fill(0x2a)
  }
  return { query, messages }
}

function message(type: string, body: Buffer): Buffer {
  const header = Buffer.alloc(5)
  header.write(type)
  header.writeUInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

const int16 = (value: number): Buffer => Buffer.from([(value >> 8) & 0xff, value & 0xff])

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32BE(value)
  return bytes
}

interface Column {
  readonly name: string
  readonly type: number
}

function description(columns: readonly Column[]): Buffer {
  const parts = columns.map(({ name, type }) =>
    Buffer.concat([Buffer.from(`${name}\0`), int32(0), int16(0), int32(type), int16(4), int32(-1), int16(0)]),
  )
  return message('T', Buffer.concat([int16(columns.length), ...parts]))
}

function row(values: readonly (string | null)[]): Buffer {
  const fields = values.map((value) =>
    value === null ? int32(-1) : Buffer.concat([int32(Buffer.byteLength(value)), Buffer.from(value)]),
  )
  return message('D', Buffer.concat([int16(values.length), ...fields]))
}

const END = message('C', Buffer.from('SELECT 3\0'))
const NOTICE = message('N', Buffer.from('SNOTICE\0C00000\0Mhello\0\0'))

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  for (let offset = 0, index = 0; offset < bytes.length; index++) {
    const size = sizes[index % sizes.length] ?? 1
    chunks.push(bytes.subarray(offset, offset + size))
    offset += size
  }
  return chunks
}

const NAMES = ['id', 'note', 'at', 'id', '__proto__', 'constructor', '1', '0', 'ä b', '', 'quote\'"`', '\u2028']
const TYPES: Readonly<Record<number, readonly string[]>> = {
  16: ['t', 'f'],
  17: ['\\x00ff', '\\x'],
  20: ['9223372036854775807', '-1', '0'],
  23: ['0', '-1', '2147483647', '-2147483648'],
  25: ['', 'x', 'sixteen letters.', 'seventeen letters', 'ä', 'a text that is long, with ü in it', '\u{1f600}'],
  114: ['{"a":[1,null]}', '[]', '1'],
  700: ['0.5', '-1.25', '1e+20', 'NaN', '3.4028235e+38'],
  701: ['0.1', '-0', '1e-300', 'Infinity', '-Infinity', '123456.789', '0.1234567890123456'],
  1007: ['{1,2,NULL}', '{}'],
  1082: ['2024-02-29', '0044-03-15 BC', 'infinity'],
  1114: ['2024-03-31 02:30:00', '2024-06-01 12:00:00.5'],
  1184: ['2024-06-01 12:00:00.123456+00', '1883-11-18 12:03:58-04:56:02', '-infinity', '0099-01-01 00:00:00+00'],
  1186: ['1 day 02:00:00'],
  1700: ['12.50', 'NaN'],
  99999: ['anything'],
}

const column = fc.constantFrom(...Object.keys(TYPES)).chain((type) =>
  fc.record({
    name: fc.constantFrom(...NAMES),
    type: fc.constant(Number(type)),
    values: fc.array(fc.option(fc.constantFrom(...(TYPES[Number(type)] ?? []))), { minLength: 4, maxLength: 4 }),
  }),
)

/** Two results in one answer. */
const answer = fc
  .array(fc.array(column, { minLength: 1, maxLength: 6 }), { minLength: 1, maxLength: 2 })
  .map((results) =>
    results.map((columns) => {
      const rows = [0, 1, 2, 3].map((index) => row(columns.map(({ values }) => values[index] ?? null)))
      return Buffer.concat([description(columns), ...rows.slice(0, 2), NOTICE, ...rows.slice(2), END])
    }),
  )

const sizes = fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 6 })

/** With the order of keys, prototypes and the sign of zero. */
function assertSame(ours: Query, theirs: Query): void {
  assert.deepStrictEqual(ours._results, theirs._results)
  const keys = ({ _result: { rows } }: Query): unknown => rows.map((one) => Object.keys(one as object))
  assert.deepStrictEqual(keys(ours), keys(theirs))
}

const ownTypes = { getTypeParser: (type: number) => (value: string) => `${type}: ${value}` }

for (const [name, asked] of Object.entries<Asked>({
  'by name': {},
  'as arrays': { rowMode: 'array' },
  'with parsers of the statement': { types: ownTypes },
})) {
  test(`rows are those of pg, wherever the bytes are cut: ${name}`, () => {
    fc.assert(
      fc.property(answer, sizes, (parts, lengths) => {
        const chunks = cut(Buffer.concat(parts), lengths)
        const { query, messages } = asWeDo(chunks, asked)
        // The parsers of a result are compared by what they make.
        const theirs = asPg(chunks, asked)
        assertSame(withoutParsers(query), withoutParsers(theirs))
        assert.equal(messages, 0, 'every row is made here')
      }),
      { numRuns: 300 },
    )
  })
}

function withoutParsers(query: Query): Query {
  for (const result of [query._results].flat() as Record<string, unknown>[]) {
    Object.assign(result, { _parsers: undefined, _types: undefined })
  }
  return query
}

/** As pg's parser makes it. */
const Field = fieldOf()

function fieldOf(): FieldConstructor {
  const { fields } = asPg([description([{ name: 'a', type: 25 }])], {})._result
  return (fields[0] as object).constructor as FieldConstructor
}

const TWO: readonly Column[] = [
  { name: 'a', type: 23 },
  { name: 'b', type: 25 },
]
const ROWS = Array.from({ length: 6 }, (_, index) => row([String(index), `text ${index}`]))

test('a damaged row ends the session as it does where rows are messages, and is not handed on', () => {
  const chance = new Chance(20_262)
  const whole = Buffer.concat(ROWS.slice(0, 2))
  for (let count = 0; count < 5000; count++) {
    const bytes = Buffer.from(whole)
    bytes[chance.below(bytes.length)] = chance.pick([0, 1, 2, 3, 5, 0x7f, 0x80, 0xfe, 0xff, chance.below(256)])
    const taken = (rowMode: Asked['rowMode'], asMessages: boolean): unknown => {
      const listens = (query: Query): unknown => asMessages && query.on('row', () => undefined)
      try {
        return asWeDo([description(TWO), bytes, END], { rowMode }, listens).query._result.rows
      } catch (error) {
        assert.ok(error instanceof NotPostgres)
        return error.message
      }
    }
    for (const rowMode of ['array', undefined] as const) {
      assert.deepEqual(taken(rowMode, false), taken(rowMode, true), bytes.toString('hex'))
    }
  }
})

test('the error of a parser ends the statement as in pg, and the rest of the row is still checked', () => {
  const types = {
    getTypeParser: () => (value: string) => {
      if (value === '3') throw new Error('no three')
      return value
    },
  }
  const chunks = [description(TWO), ...ROWS, END]
  const [{ query: ours }, theirs] = [asWeDo(chunks, { types }), asPg(chunks, { types })]
  assert.deepEqual(ours._canceledDueToError, new Error('no three'))
  assert.deepEqual(ours._canceledDueToError, theirs._canceledDueToError)
  assert.deepEqual(ours._result.rows, theirs._result.rows)
  const damaged = row(['3', 'x'])
  damaged.writeInt32BE(77, 12)
  assert.throws(() => asWeDo([description(TWO), damaged], { types }), NotPostgres)
})

test('a listener to rows or messages gets each row from then on', () => {
  const chunks = [description(TWO), ...ROWS, END]
  for (const listen of [
    (query: Query, seen: unknown[]) => query.on('row', (one) => seen.push(one)),
    (_: Query, seen: unknown[], session: Session) => session.on('message', (one) => seen.push(one)),
    (_: Query, seen: unknown[], session: Session) => session.on('dataRow', (one) => seen.push(one)),
  ]) {
    const seen: unknown[] = []
    let chunk = 0
    const { query, messages } = asWeDo(chunks, {}, (asked, session) => {
      if (chunk++ === 3) listen(asked, seen, session)
    })
    assert.equal(messages, 4)
    assert.ok(seen.length >= 4)
    assert.deepEqual(query._result.rows, asPg(chunks, {})._result.rows)
  }
})

test('rows without columns are those of pg', () => {
  const chunks = [description([]), row([]), row([]), END]
  assert.deepEqual(asWeDo(chunks, {}).query._result.rows, asPg(chunks, {})._result.rows)
})

test('a statement that collects its rows in another way gets them as messages', () => {
  const chunks = [description(TWO), ...ROWS, END]
  const counted: unknown[] = []
  const { query, messages } = asWeDo(chunks, {}, (asked) => {
    if (counted.push(0) > 1) return
    const { handleDataRow } = asked
    asked.handleDataRow = (each) => handleDataRow.call(asked, each)
  })
  assert.equal(messages, ROWS.length)
  assert.equal(query._result.rows.length, ROWS.length)
})

test('the installed pg collects rows by the methods that are known', () => {
  assert.ok(methods, 'pg.Query or pg.Result has moved a method; see collected-rows.ts')
})
