/** A column of each SQL Server type, and how its values are to be read. */

export const scaled =
  (scale: number) =>
  (value: unknown): string => {
    const number = value as bigint
    const digits = String(number < 0n ? -number : number).padStart(scale + 1, '0')
    const whole = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
    return `${number < 0n ? '-' : ''}${whole}`
  }
/** Microseconds since 1970 as the server writes a moment, with so many digits of the seconds. */
export const moment =
  (digits: number) =>
  (value: unknown): string => {
    const micros = value as bigint
    const seconds = micros / 1_000_000n - (micros % 1_000_000n < 0n ? 1n : 0n)
    const rest = (micros - seconds * 1_000_000n).toString().padStart(6, '0')
    const clock = new Date(Number(seconds) * 1000).toISOString().slice(0, 19).replace('T', ' ')
    return digits === 0 ? clock : `${clock}.${rest.padEnd(7, '0').slice(0, digits)}`
  }
export const clock =
  (digits: number) =>
  (value: unknown): string =>
    moment(digits)(value).slice(11)
export const day = (value: unknown): string => new Date((value as number) * 86_400_000).toISOString().slice(0, 10)
export const hex = (value: unknown): string =>
  `0x${Buffer.from(value as Uint8Array)
    .toString('hex')
    .toUpperCase()}`

export interface Case {
  readonly type: string
  /** As the server writes them, which is how they are put in, too. */
  readonly values: readonly string[]
  readonly arrow: string
  /** The stored value as the server writes it. */
  readonly text?: (value: unknown) => string
  /** The stored value where it is less exact than the server's. */
  readonly stored?: readonly string[]
  readonly note?: RegExp
  readonly finding?: RegExp
  /** The column's literal, where it is not a quoted text. */
  readonly literal?: (value: string) => string
}

export const plain = (value: string): string => value
export const LONG = 'ä€😀x'.repeat(30_000)

export const CASES: Readonly<Record<string, Case>> = {
  tinyint: { type: 'tinyint', values: ['0', '128', '255'], arrow: 'Int16' },
  smallint: { type: 'smallint', values: ['-32768', '0', '32767'], arrow: 'Int16' },
  int: { type: 'int', values: ['-2147483648', '-1', '0', '2147483647'], arrow: 'Int32' },
  bigint: {
    type: 'bigint',
    values: ['-9223372036854775808', '-9007199254740993', '-1', '0', '9223372036854775807'],
    arrow: 'Int64',
  },
  bit: { type: 'bit', values: ['1', '0'], arrow: 'Bool', text: (value) => (value === true ? '1' : '0') },
  real: { type: 'real', values: ['0', '-1.5', '0.1', '3.4028235e+38', '1e-45'], arrow: 'Float32', text: real },
  float: {
    type: 'float',
    values: ['0', '-1.5', '0.1', '1.7976931348623157e+308', '5e-324', '123456789.123456'],
    arrow: 'Float64',
  },
  'decimal of 4 bytes': {
    type: 'decimal(9,2)',
    values: ['-9999999.99', '-0.01', '0.00', '9999999.99'],
    arrow: 'Decimal[9e+2]',
    text: scaled(2),
  },
  'decimal of 8 bytes': {
    type: 'decimal(19,0)',
    values: ['-9999999999999999999', '4294967296', '9999999999999999999'],
    arrow: 'Decimal[19e0]',
    text: scaled(0),
  },
  'decimal of 12 bytes': {
    type: 'decimal(28,28)',
    values: ['-0.9999999999999999999999999999', '0.0000000000000000000000000001'],
    arrow: 'Decimal[28e+28]',
    text: scaled(28),
  },
  'decimal of 16 bytes': {
    type: 'decimal(38,10)',
    values: ['-9999999999999999999999999999.9999999999', '0.0000000001', '9999999999999999999999999999.9999999999'],
    arrow: 'Decimal[38e+10]',
    text: scaled(10),
  },
  money: {
    type: 'money',
    values: ['-922337203685477.5808', '-0.0001', '0.0000', '922337203685477.5807'],
    arrow: 'Decimal[19e+4]',
    text: scaled(4),
  },
  smallmoney: {
    type: 'smallmoney',
    values: ['-214748.3648', '-0.0001', '214748.3647'],
    arrow: 'Decimal[10e+4]',
    text: scaled(4),
  },
  date: {
    type: 'date',
    values: ['0001-01-01', '1969-12-31', '2024-02-29', '9999-12-31'],
    arrow: 'Date32<DAY>',
    text: day,
  },
  'time(0)': { type: 'time(0)', values: ['00:00:00', '23:59:59'], arrow: 'Time64<MICROSECOND>', text: clock(0) },
  'time(3)': {
    type: 'time(3)',
    values: ['00:00:00.001', '23:59:59.999'],
    arrow: 'Time64<MICROSECOND>',
    text: clock(3),
  },
  'time(7)': {
    type: 'time(7)',
    values: ['00:00:00.0000010', '23:59:59.9999999'],
    stored: ['00:00:00.0000010', '23:59:59.9999990'],
    arrow: 'Time64<MICROSECOND>',
    text: clock(7),
    note: /seventh digit/,
    finding: /in 1 values/,
  },
  'datetime2(0)': {
    type: 'datetime2(0)',
    values: ['0001-01-01 00:00:00', '9999-12-31 23:59:59'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(0),
  },
  'datetime2(3)': {
    type: 'datetime2(3)',
    values: ['1684-06-07 00:00:00.001', '1969-12-31 23:59:59.999', '2255-12-31 23:59:59.999'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(3),
  },
  'datetime2(6)': {
    type: 'datetime2(6)',
    values: ['0001-01-01 00:00:00.000001', '1970-01-01 00:00:00.000000', '9999-12-31 23:59:59.999999'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(6),
  },
  'datetime2(7)': {
    type: 'datetime2(7)',
    values: ['0001-01-01 00:00:00.0000001', '1969-12-31 23:59:59.9999990', '9999-12-31 23:59:59.9999999'],
    stored: ['0001-01-01 00:00:00.0000000', '1969-12-31 23:59:59.9999990', '9999-12-31 23:59:59.9999990'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(7),
    note: /seventh digit/,
    finding: /in 2 values/,
  },
  datetimeoffset: {
    type: 'datetimeoffset(7)',
    values: [
      '2024-02-29 23:59:59.1234567 -05:30',
      '0001-01-02 00:00:00.0000010 +14:00',
      '2024-01-01 00:00:00.0000000 +00:00',
    ],
    stored: ['2024-03-01 05:29:59.1234560', '0001-01-01 10:00:00.0000010', '2024-01-01 00:00:00.0000000'],
    arrow: 'Timestamp<MICROSECOND, UTC>',
    text: moment(7),
    note: /in UTC/,
    finding: /2 are not \+00:00.*in 1 values/,
  },
  datetime: {
    type: 'datetime',
    values: ['1753-01-01 00:00:00.000', '1900-01-01 00:00:00.997', '9999-12-31 23:59:59.997'],
    arrow: 'Timestamp<MICROSECOND>',
    text: moment(3),
  },
  uniqueidentifier: {
    type: 'uniqueidentifier',
    values: ['0E984725-C51C-4BF4-9960-E1C80E27ABA0', '00000000-0000-0000-0000-000000000000'],
    arrow: 'Utf8',
  },
  nvarchar: {
    type: 'nvarchar(200)',
    values: ['', ' ', 'plain', 'häß', '€ 漢字', '😀', 'a"b,c', 'line\nbreak', 'z'.repeat(200), 'é'.repeat(150)],
    arrow: 'Utf8',
  },
  nchar: { type: 'nchar(3)', values: ['a  ', '漢字 '], arrow: 'Utf8' },
  'nvarchar(max)': { type: 'nvarchar(max)', values: ['', 'short', LONG], arrow: 'Utf8' },
  xml: { type: 'xml', values: ['<a b="ü">1</a>'], arrow: 'Utf8', note: /xml/ },
  varbinary: {
    type: 'varbinary(max)',
    values: ['0x', '0x00FF', `0x${'AB'.repeat(100_000)}`],
    arrow: 'Binary',
    text: hex,
    literal: plain,
  },
  geography: {
    type: 'geography',
    values: ['0xE6100000010C00'],
    arrow: 'Binary',
    text: hex,
    literal: (value) => `'${value.slice(2)}'`,
    note: /MS-SSCLRT/,
  },
}

/** The fewest digits that are this number of 32 bits again. */
export function real(value: unknown): string {
  const number = value as number
  const digits = [1, 2, 3, 4, 5, 6, 7, 8, 9].find((count) => Math.fround(Number(number.toPrecision(count))) === number)
  return String(Number(number.toPrecision(digits)))
}
