/** A table with a column of every PostgreSQL type, and how each value is to be read. */

export interface Case {
  readonly type: string
  /** SQL expressions; NULL is always added. */
  readonly values: readonly string[]
  /** The expression of the column `c` that the server is asked for, to compare with; default: its own text. */
  readonly expected?: string
  readonly arrow: string
  /** How a stored value reads; default: digits of integers, text as it is. */
  readonly text?: (value: unknown) => string
  /** For floats, whose texts differ in form only. */
  readonly asNumber?: true
  readonly noted?: true
  /** The first version that has the type. */
  readonly since?: number
}

const MICROS = `case when isfinite(c) then (extract(epoch from date_trunc('second', c))::numeric * 1000000 + extract(microseconds from c)::int % 1000000)::bigint::text else
  case when c > 'epoch' then '9223372036854775807' else '-9223372036854775807' end end`
const bits = (value: unknown): string => (value === true ? 't' : 'f')
/** Elements of a list of booleans, as the cast to text writes them. */
const words = (value: unknown): string => (value === true ? 'true' : 'false')
const hex = (value: unknown): string => `\\x${Buffer.from(value as Uint8Array).toString('hex')}`
const scaled =
  (scale: number) =>
  (value: unknown): string => {
    const negative = (value as bigint) < 0n
    const digits = String(negative ? -(value as bigint) : value).padStart(scale + 1, '0')
    const whole = scale === 0 ? digits : `${digits.slice(0, -scale)}.${digits.slice(-scale)}`
    return `${negative ? '-' : ''}${whole}`
  }
/** Elements apart; NULL and text are told apart by JSON. */
const list =
  (text: (value: unknown) => string = String) =>
  (value: unknown): string =>
    JSON.stringify((value as unknown[]).map((element) => (element === null ? null : text(element))))
const LIST = `coalesce((select json_agg(e::text order by n) from unnest(c) with ordinality u(e, n)), '[]')::text`
/** json_agg puts spaces after its commas. */
export const compact = (text: string): string => JSON.stringify(JSON.parse(text))

const big = (digit: string, count: number): string => digit.repeat(count)
const BYTES = "decode(string_agg(lpad(to_hex(g), 2, '0'), ''), 'hex') from generate_series(0, 255) g"

export const CASES: Readonly<Record<string, Case>> = {
  int2: { type: 'smallint', values: ['-32768', '-1', '0', '32767'], arrow: 'Int16' },
  int4: { type: 'integer', values: ['-2147483648', '-1', '0', '2147483647'], arrow: 'Int32' },
  int8: {
    type: 'bigint',
    values: ['-9223372036854775808', '-9007199254740993', '-1', '0', '4294967296', '9223372036854775807'],
    arrow: 'Int64',
  },
  identity: { type: 'bigint', values: ['1', '9007199254740993'], arrow: 'Int64' },
  oid: { type: 'oid', values: ['0', '4294967295'], arrow: 'Int64' },
  bool: { type: 'boolean', values: ['true', 'false'], arrow: 'Bool', text: bits },
  float4: {
    type: 'real',
    values: ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", '1.1', '3.4028235e38', '1e-45', '16777217'],
    arrow: 'Float32',
    asNumber: true,
  },
  float8: {
    type: 'double precision',
    values: ["'NaN'", "'Infinity'", "'-Infinity'", "'-0'", '0.1', '1.7976931348623157e308', '5e-324', '1e15', '2.5'],
    arrow: 'Float64',
    asNumber: true,
  },
  text: {
    type: 'text',
    values: ["''", "'null'", "'NULL'", '\'Ärger 🦆 "q" ,;\'', "e'a\\nb\\tc\\r\\\\'", "repeat('é', 5000)", "'\\N'"],
    arrow: 'Utf8',
  },
  varchar: { type: 'varchar(12)', values: ["'abc'", "'  x  '"], arrow: 'Utf8' },
  padded: { type: 'char(5)', values: ["'ab'", "''"], arrow: 'Utf8' },
  name: { type: 'name', values: ["'pg_class'"], arrow: 'Utf8' },
  letter: { type: '"char"', values: ["'x'", "''"], arrow: 'Utf8', noted: true },
  citext: { type: 'citext', values: ["'MiXed'"], arrow: 'Utf8', noted: true },
  bytea: {
    type: 'bytea',
    values: ["''", "'\\x00ff'", `(select ${BYTES})`],
    arrow: 'Binary',
    text: hex,
  },
  uuid: {
    type: 'uuid',
    values: ["'00000000-0000-0000-0000-000000000000'", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'"],
    arrow: 'Utf8',
  },
  date: {
    type: 'date',
    values: [
      "'1970-01-01'",
      "'1969-12-31'",
      "'2000-02-29'",
      "'4713-01-01 BC'",
      "'5874897-12-31'",
      "'infinity'",
      "'-infinity'",
    ],
    expected: `case when isfinite(c) then (c - date '1970-01-01')::text else
      case when c > 'epoch' then '2147483647' else '-2147483647' end end`,
    arrow: 'Date32<DAY>',
  },
  time: {
    type: 'time',
    values: ["'00:00'", "'23:59:59.999999'", "'24:00'", "'12:34:56.000001'"],
    expected: 'trunc(extract(epoch from c)::numeric * 1000000)::text',
    arrow: 'Time64<MICROSECOND>',
  },
  time3: {
    type: 'time(3)',
    values: ["'12:34:56.789'"],
    expected: 'trunc(extract(epoch from c)::numeric * 1000000)::text',
    arrow: 'Time64<MICROSECOND>',
  },
  timetz: { type: 'timetz', values: ["'12:34:56.789012+05:30'"], arrow: 'Utf8', noted: true },
  timestamp: {
    type: 'timestamp',
    values: [
      "'1970-01-01'",
      "'1969-12-31 23:59:59.999999'",
      "'2000-01-01'",
      "'1999-12-31 23:59:59.999999'",
      "'2024-03-31 02:30:00.123456'",
      "'4713-01-01 BC'",
      "'294247-01-10 04:00:54.775806'",
      "'infinity'",
      "'-infinity'",
    ],
    expected: MICROS,
    arrow: 'Timestamp<MICROSECOND>',
  },
  timestamptz: {
    type: 'timestamptz',
    values: [
      "'1970-01-01 00:00:00+00'",
      "'2024-03-31 02:30:00.123456+02'",
      "'4713-01-01 00:00+00 BC'",
      "'0001-01-01 00:00:00.000001+00'",
      "'9999-12-31 23:59:59.999999+00'",
      "'infinity'",
      "'-infinity'",
    ],
    expected: MICROS,
    arrow: 'Timestamp<MICROSECOND, UTC>',
  },
  interval: {
    type: 'interval',
    values: [
      "'1 year 2 months 3 days 04:05:06.789012'",
      "'-1 day'",
      "'178000000 years'",
      "'0'",
      "'1 mon -1 day +1 hour'",
      "'-178000000 years -11 mons -2147483648 days -1999999:59:59.999999'",
      "'178000000 years 11 mons 2147483647 days 1999999:59:59.999999'",
    ],
    arrow: 'Utf8',
    noted: true,
  },
  endless: { type: 'numeric', values: ["'Infinity'", "'-Infinity'"], arrow: 'Utf8', noted: true, since: 14 },
  numeric: {
    type: 'numeric',
    values: ["'NaN'", '0', '-0.0010', '1e-40', `1${big('0', 200)}.${big('7', 200)}`],
    arrow: 'Utf8',
    noted: true,
  },
  decimal12: {
    type: 'numeric(12,2)',
    values: ['0', '-0.01', '9999999999.99', '-9999999999.99', '1', '10000', '12345678.90', '0.5'],
    arrow: 'Decimal[12e+2]',
    text: scaled(2),
  },
  decimal38: {
    type: 'numeric(38,10)',
    values: [
      `${big('9', 28)}.${big('9', 10)}`,
      `-${big('9', 28)}.${big('9', 10)}`,
      '-0.0000000001',
      '0',
      '4294967296',
      '-1',
    ],
    arrow: 'Decimal[38e+10]',
    text: scaled(10),
  },
  decimal76: {
    type: 'numeric(76,3)',
    values: [`${big('9', 73)}.999`, `-${big('9', 73)}.999`, '-0.001', '1'],
    arrow: 'Decimal[76e+3]',
    text: scaled(3),
  },
  decimal77: { type: 'numeric(77,3)', values: [`${big('9', 74)}.999`], arrow: 'Utf8', noted: true },
  tens: { type: 'numeric(3,-2)', values: ['99900', '-100', '149'], arrow: 'Decimal[5e0]', text: scaled(0), since: 15 },
  tiny: { type: 'numeric(2,5)', values: ['0.00099', '-0.00001'], arrow: 'Decimal[5e+5]', text: scaled(5), since: 15 },
  whole: { type: 'numeric(20)', values: [big('9', 20), `-${big('9', 20)}`], arrow: 'Decimal[20e0]', text: scaled(0) },
  money: {
    type: 'money',
    values: ["'-92233720368547758.08'", "'92233720368547758.07'", "'0.01'", "'-1'"],
    expected: 'c::numeric::text',
    arrow: 'Decimal[19e+2]',
    text: scaled(2),
  },
  json: {
    type: 'json',
    values: [`'{ "a" : 1.10, "a":  12345678901234567890123 }'`, "'null'", '\'"x"\''],
    arrow: 'Utf8',
  },
  jsonb: { type: 'jsonb', values: [`'{"b":1.10,"a":12345678901234567890.123}'`, "'null'", "'[]'"], arrow: 'Utf8' },
  jsonpath: { type: 'jsonpath', values: ["'$.a[*]'"], arrow: 'Utf8', noted: true },
  mood: { type: 'mood', values: ["'sad'", "'so, so'", "'Glück'"], arrow: 'Dictionary<Int32, Utf8>' },
  moods: { type: 'mood[]', values: ["'{sad,Glück}'"], expected: LIST, arrow: 'List<Utf8>', text: list() },
  price: { type: 'price', values: ['12.50', '-0.01'], arrow: 'Decimal[10e+2]', text: scaled(2) },
  nested: { type: 'cheap_price', values: ['12.50'], arrow: 'Decimal[10e+2]', text: scaled(2) },
  tags: { type: 'tags', values: ["'{a,b}'", "'{}'"], expected: LIST, arrow: 'List<Utf8>', text: list() },
  prices: {
    type: 'price[]',
    values: ["'{1.5,NULL}'"],
    expected: LIST,
    arrow: 'List<Decimal[10e+2]>',
    text: list(scaled(2)),
  },
  ints: {
    type: 'integer[]',
    values: ["'{}'", "'{1,NULL,-3}'", "'[5:6]={1,2}'", '(select array_agg(g) from generate_series(1, 500) g)'],
    expected: LIST,
    arrow: 'List<Int32>',
    text: list(),
  },
  texts: {
    type: 'text[]',
    values: [`'{"a,b","\\"",NULL,"NULL",""}'`],
    expected: LIST,
    arrow: 'List<Utf8>',
    text: list(),
  },
  numerics: {
    type: 'numeric[]',
    values: ["'{1.10,NaN,-0.000}'"],
    expected: LIST,
    arrow: 'List<Utf8>',
    text: list(),
    noted: true,
  },
  decimals: {
    type: 'numeric(20,1)[]',
    values: ["'{1.1,-9,NULL}'"],
    expected: LIST,
    arrow: 'List<Decimal[20e+1]>',
    text: list(scaled(1)),
  },
  bytes: {
    type: 'bytea[]',
    values: [`array['\\x00ff'::bytea, '']`],
    expected: LIST,
    arrow: 'List<Binary>',
    text: list(hex),
  },
  bools: { type: 'boolean[]', values: ["'{t,f,NULL}'"], expected: LIST, arrow: 'List<Bool>', text: list(words) },
  days: {
    type: 'date[]',
    values: ["'{1970-01-02,0044-03-15 BC,infinity}'"],
    expected: `(select json_agg(case when isfinite(e) then (e - date '1970-01-01')::text else '2147483647' end order by n)
      from unnest(c) with ordinality u(e, n))::text`,
    arrow: 'List<Date32<DAY>>',
    text: list(),
  },
  pairs: {
    type: 'pair[]',
    values: [`array[row(1, 'a "b", c')::pair, row(null, '')::pair, null]`],
    expected: 'array_to_json(c::text[])::text',
    arrow: 'List<Utf8>',
    text: list(),
    noted: true,
  },
  spans: {
    type: 'int4range[]',
    values: [`array['[1,5)'::int4range, 'empty']`],
    expected: LIST,
    arrow: 'List<Utf8>',
    text: list(),
    noted: true,
  },
  documents: {
    type: 'jsonb[]',
    values: [`array['{"a": 1.10}'::jsonb, 'null', null]`],
    expected: LIST,
    arrow: 'List<Utf8>',
    text: list(),
  },
  amounts: {
    type: 'money[]',
    values: ['array[1.5, -0.01]::money[]'],
    expected: 'array_to_json(c::numeric[]::text[])::text',
    arrow: 'List<Decimal[19e+2]>',
    text: list(scaled(2)),
  },
  grid: { type: 'grid', values: ["'{{1,2},{3,4}}'"], arrow: 'Utf8', noted: true },
  people: {
    type: 'people',
    values: [`array[row(1, 'x')::pair]`],
    expected: 'array_to_json(c::text[])::text',
    arrow: 'List<Utf8>',
    text: list(),
    noted: true,
  },
  matrix: { type: 'integer[][]', values: ["'{{1,2},{3,4}}'", "'{5}'"], arrow: 'Utf8', noted: true },
  addresses: { type: 'inet[]', values: ["'{10.0.0.1,10.0.0.0/8}'"], arrow: 'Utf8', noted: true },
  inet: { type: 'inet', values: ["'10.0.0.1'", "'10.0.0.0/8'", "'::1'"], arrow: 'Utf8', noted: true },
  cidr: { type: 'cidr', values: ["'10.0.0.0/8'"], arrow: 'Utf8', noted: true },
  macaddr: { type: 'macaddr', values: ["'08:00:2b:01:02:03'"], arrow: 'Utf8', noted: true },
  bit: { type: 'bit varying', values: ["b''", "b'10110'"], arrow: 'Utf8', noted: true },
  range: { type: 'int4range', values: ["'[1,5)'", "'empty'", "'(,)'"], arrow: 'Utf8', noted: true },
  multirange: {
    since: 14,
    type: 'datemultirange',
    values: ["'{[2020-01-01,2020-02-01)}'"],
    arrow: 'Utf8',
    noted: true,
  },
  composite: {
    type: 'pair',
    values: [`row(1, 'a "b", c')`, 'row(null, null)', `row(2, '')`],
    arrow: 'Utf8',
    noted: true,
  },
  castable: { type: 'castable', values: ['row(null, null)', 'row(1, 2)'], arrow: 'Utf8', noted: true },
  point: { type: 'point', values: ["'(1.5,-0)'"], arrow: 'Utf8', noted: true },
  xml: { type: 'xml', values: [`'<?xml version="1.0"?><a b="c">d</a>'`], arrow: 'Utf8', noted: true },
  tsvector: { type: 'tsvector', values: ["to_tsvector('simple', 'a b a')"], arrow: 'Utf8', noted: true },
  hstore: { type: 'hstore', values: [`'a=>1, b=>NULL'`], arrow: 'Utf8', noted: true },
  lsn: { type: 'pg_lsn', values: ["'16/B374D848'"], arrow: 'Utf8', noted: true },
  regclass: { type: 'regclass', values: ["'pg_class'"], arrow: 'Utf8', noted: true },
  vector: { type: 'int2vector', values: ["'1 2 3'"], arrow: 'Utf8', noted: true },
}
