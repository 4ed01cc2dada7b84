import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { type Parse, parserFor, readersFor } from '../../../../src/drivers/postgres/value-readers.ts'
import { Chance } from '../../../support/fuzz.ts'

const { BOOL, DATE, FLOAT4, FLOAT8, INT4, INT8, TIMESTAMP, TIMESTAMPTZ } = pg.types.builtins

const standardFor = (id: number): Parse => pg.types.getTypeParser(id as typeof DATE, 'text')

/** A value as a row has it: read from its bytes, which stand among others, or else by the parser. */
function read(id: number, text: string): unknown {
  const parser = parserFor(id, standardFor(id))
  const reader = readersFor([parser])?.[0]
  assert.ok(reader, `no reader for ${id}`)
  const bytes = Buffer.from(`9${text}99:99`)
  const value = reader(bytes, 1, 1 + Buffer.byteLength(text))
  return parser((value === undefined ? text : value) as string)
}

/** Texts in every DateStyle, of years at both ends, odd zones, and damaged ones. */
const TEXTS = [
  '2024-02-29 23:59:59.999999+00',
  '2024-01-01 00:00:00+00:00',
  '1883-11-18 12:03:58-04:56:02',
  '2024-06-01 12:00:00.069-03:30',
  '2024-06-01 12:00:00.1+14',
  '2024-06-01 12:00:00',
  '2024-06-01 12:00:00.',
  '2024-03-31 02:30:00',
  '2024-13-45 25:61:61+00',
  '2024-06-01',
  '2024-06-0',
  '2024-06-01 ',
  '0001-01-01 00:00:00+00',
  '0099-12-31',
  '0100-01-01',
  '0044-03-15 BC',
  '0044-03-15 12:00:00+00:53:28 BC',
  '10000-01-01 00:00:00+00',
  '294276-12-31 23:59:59.999999+00',
  '4713-11-24 BC',
  'infinity',
  '-infinity',
  '2024-06-01T12:00:00Z',
  '2024-06-01 12:00:00Z',
  '2024-06-01 12:00:00 +02',
  '2024-06-01 12:00:00+2',
  '2024-06-01 12:00:00+02:',
  '2024-06-01 12:00:00+02:0',
  '2024-06-01 12:00:00+02:00:00:00',
  '2024-06-01 12:00:00.1234567+00',
  'Sat Jun 01 12:00:00 2024 CEST',
  '06/01/2024 12:00:00 CEST',
  '01.06.2024 12:00:00 CEST',
  '',
  'x',
  '２024-06-01 12:00:00+00',
]

function same(text: string, id: number = TIMESTAMPTZ): void {
  const ours = read(id, text)
  const theirs = standardFor(id)(text)
  assert.deepStrictEqual(ours, theirs, JSON.stringify(text))
  if (ours instanceof Date && theirs instanceof Date) assert.equal(ours.getTime(), theirs.getTime(), text)
}

test('a date is read as by the parser of pg, in every form', () => {
  for (const text of TEXTS) {
    for (let length = 0; length <= text.length; length++) same(text.slice(0, length))
  }
})

test('a date is read as by the parser of pg, for thousands of instants, fractions, zones and damages', () => {
  const chance = new Chance(20_241)
  const digits = (value: number, width = 2): string => String(value).padStart(width, '0')
  for (let count = 0; count < 20_000; count++) {
    const day = `${digits(chance.below(11_000), 4)}-${digits(chance.below(14))}-${digits(chance.below(33))}`
    const fraction = chance.below(2) === 0 ? '' : `.${digits(chance.below(1_000_000), 6).slice(0, 1 + chance.below(6))}`
    const minutes = `:${digits(chance.below(60))}`
    const zone = chance.pick(['', '+00', '-08', `+${digits(chance.below(15))}${minutes}`, `-00${minutes}${minutes}`])
    const text = `${day} ${digits(chance.below(25))}:${digits(chance.below(60))}:${digits(chance.below(60))}${fraction}${zone}`
    same(text)
    same(day)
    const at = chance.below(text.length)
    same(text.slice(0, at) + String.fromCharCode(32 + chance.below(90)) + text.slice(at + 1))
  }
})

test('a whole number is read as by the parser of pg', () => {
  const texts = [
    '0',
    '-0',
    '7',
    '-7',
    '2147483647',
    '-2147483648',
    '4294967295',
    '',
    '-',
    '--1',
    '1-',
    '12x',
    ' 1',
    '+1',
    '1e3',
  ]
  for (const text of [...texts, '999999999999999', '9999999999999999', '123456789012345678901', '٣']) same(text, INT4)
})

test('a floating-point number is read as by the parser of pg', () => {
  const texts = ['0', '-0', '0.1', '-0.0', '1e5', '1E-7', '1e+300', 'NaN', 'Infinity', '-Infinity', '', '-', '.', '-.']
  const odd = ['.5', '5.', '-.5', '1.2.3', '1..2', '+1', ' 1', '1 ', '0x10', '1_0', '9007199254740993', '00.10']
  for (const text of [...texts, ...odd, '0.30000000000000004', '123456789012.345', '99999999999999.9']) {
    same(text, FLOAT8)
    same(text, FLOAT4)
  }
  const chance = new Chance(20_247)
  for (let count = 0; count < 50_000; count++) {
    const number = chance.next() * 10 ** (chance.below(16) - 4) * chance.pick([1, -1])
    same(chance.pick([number.toFixed(chance.below(14)), String(number), String(Math.fround(number))]), FLOAT8)
  }
})

test('a truth value and a long whole number are read as by the parser of pg', () => {
  for (const text of ['t', 'f', '', 'T', 'true', 'yes', 'on', '1', '0', 'tt', 'x']) same(text, BOOL)
  for (const text of ['0', '-1', '9223372036854775807', '-9223372036854775808', '', 'x', 'ä']) same(text, INT8)
})

test('local dates are read as by the parser of pg, in zones with and without summer time', () => {
  const script = `
    import { parserFor, readersFor } from ${JSON.stringify(import.meta.resolve('../../../../src/drivers/postgres/value-readers.ts'))}
    import pg from 'pg'
    const standard = pg.types.getTypeParser(${TIMESTAMP})
    const [reader] = readersFor([parserFor(${TIMESTAMP}, standard)])
    for (let hour = 0; hour < 24 * 366; hour++) {
      const at = new Date(Date.UTC(2024, 0, 1, hour)).toISOString()
      for (const text of [at.slice(0, 10), at.slice(0, 19).replace('T', ' '), at.slice(0, 14).replace('T', ' ') + '30:00.5']) {
        const [ours, theirs] = [reader(Buffer.from(text), 0, text.length), standard(text)]
        if (ours.getTime() !== theirs.getTime()) throw new Error(text)
      }
    }`
  for (const TZ of ['UTC', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kathmandu']) {
    execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
      env: { ...process.env, TZ },
      cwd: fileURLToPath(new URL('../../../..', import.meta.url)),
    })
  }
})

test('a parser that the application registers is used', () => {
  const own = (value: string): string => `own ${value}`
  assert.equal(parserFor(TIMESTAMPTZ, own), own)
  assert.equal(readersFor([own]), undefined)
  // The default of another type is no default of this one.
  assert.equal(parserFor(INT4, standardFor(DATE)), standardFor(DATE))
})
