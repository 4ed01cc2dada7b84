import assert from 'node:assert/strict'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  boolean,
  type Field,
  FieldMismatch,
  integer,
  list,
  oneOf,
  parseFields,
  path,
  seconds,
  secret,
  text,
} from '../../../src/connections/fields.ts'
import { Secret } from '../../../src/secret.ts'

const description = 'x'

function fails(field: Field<unknown>, value: unknown, message: string | RegExp): void {
  assert.throws(
    () => field.parse(value),
    (error) => {
      assert.ok(error instanceof FieldMismatch)
      if (typeof message === 'string') assert.equal(error.message, message)
      else assert.match(error.message, message)
      return true
    },
  )
}

describe('text', () => {
  const field = text({ description })
  it('takes texts, and numbers and booleans as their text', () => {
    assert.equal(field.parse('a'), 'a')
    assert.equal(field.parse(5), '5')
    assert.equal(field.parse(false), 'false')
    assert.equal(field.parse(new Secret('a')), 'a')
  })
  it('refuses NUL, half a surrogate pair, and key material', () => {
    fails(field, 'a\0b', 'holds a NUL character')
    fails(field, 'a\ud800', 'holds half a surrogate pair, which is not Unicode text')
    fails(field, '-----BEGIN PRIVATE KEY-----', 'is a key or a token, which is not taken here')
  })
  it('can hold its value to a pattern', () => {
    const word = text({ description, pattern: { matches: /^[a-z]{1,8}$/, expected: 'a word' } })
    assert.equal(word.parse('abc'), 'abc')
    fails(word, 'a b', 'expected a word, got "a b"')
  })
  it('refuses lists and objects', () => {
    fails(field, ['a'], 'expected a string, got a list')
    fails(field, { a: 1 }, 'expected a string, got an object')
  })
})

describe('path', () => {
  const field = path({ description })
  it('takes ~/ for the home directory, and only at the start', () => {
    assert.equal(field.parse('~/certs/ca.pem'), join(homedir(), 'certs/ca.pem'))
    assert.equal(field.parse('/a/~/b'), '/a/~/b')
    assert.equal(field.parse('./x'), './x')
    assert.equal(field.parse('rel/x.pem'), 'rel/x.pem')
    assert.equal(field.type, 'path')
  })
  it('takes the words of its table as they are', () => {
    assert.equal(path({ description, words: ['system'] }).parse('system'), 'system')
  })
  it('refuses a text that cannot be a path, without repeating it', () => {
    for (const value of [
      'hunter2',
      'system',
      '',
      5,
      ['/x'],
      { a: 1 },
      '/x\0',
      '/a\nb',
      '-----BEGIN PRIVATE KEY-----',
    ]) {
      fails(field, value, /^expected the path of a file, such as [^"]*$/)
    }
  })
})

describe('secret', () => {
  const field = secret({ description })
  it('accepts a text or a Secret, and does not repeat a value that it refuses', () => {
    assert.equal(field.parse('a')?.reveal(), 'a')
    const given = new Secret('b')
    assert.equal(field.parse(given), given)
    fails(field, 12_345, 'expected a string; put quotes around it')
    fails(field, { hunter2: 1 }, 'expected a string; put quotes around it')
  })
})

describe('integer and seconds', () => {
  const field = integer({ description, min: 0, max: 10 })
  it('take numbers and decimal texts', () => {
    for (const [given, expected] of [
      [5, 5],
      ['5', 5],
      [' 5 ', 5],
      ['+5', 5],
      ['1e1', 10],
      ['5.0', 5],
      [0, 0],
      [10, 10],
    ] as const) {
      assert.equal(field.parse(given), expected)
    }
    assert.equal(seconds({ description }).parse('0.5'), 0.5)
    assert.equal(seconds({ description }).parse('.5'), 0.5)
  })
  for (const value of [
    '',
    ' ',
    '0x5',
    '0b1',
    '5s',
    '5,0',
    '1_0',
    'Infinity',
    'NaN',
    '5.',
    '1.5',
    1.5,
    -1,
    11,
    '-1',
    null,
    true,
    [5],
    {},
  ]) {
    it(`refuse ${JSON.stringify(value)}`, () => fails(field, value, /^expected a whole number from 0 to 10, got /))
  }
  it('say the bounds that there are', () => {
    fails(integer({ description }), 'x', 'expected a whole number, got "x"')
    fails(integer({ description, min: 1 }), 0, 'expected a whole number of at least 1, got 0')
    fails(integer({ description, max: 1 }), 2, 'expected a whole number of at most 1, got 2')
    fails(seconds({ description }), -1, 'expected a number of at least 0, got -1')
    fails(seconds({ description }), Number.POSITIVE_INFINITY, /^expected a number/)
    fails(integer({ description }), 2 ** 53, /^expected a whole number/)
    assert.equal(seconds({ description }).type, 'seconds')
    assert.equal(seconds({ description, min: 1 }).type, 'seconds of at least 1')
    assert.equal(field.type, 'integer from 0 to 10')
  })
})

describe('boolean', () => {
  const field = boolean({ description })
  for (const value of [true, 'true', 'TRUE', 't', 'yes', 'Y', 'on', '1', 1, ' true ']) {
    it(`takes ${JSON.stringify(value)} for true`, () => assert.equal(field.parse(value), true))
  }
  for (const value of [false, 'false', 'False', 'f', 'no', 'N', 'off', '0', 0]) {
    it(`takes ${JSON.stringify(value)} for false`, () => assert.equal(field.parse(value), false))
  }
  for (const value of ['maybe', 2, 'tru', null, [], [true], {}]) {
    it(`refuses ${JSON.stringify(value)}`, () => fails(field, value, /^expected true or false, got /))
  }
})

describe('oneOf', () => {
  const field = oneOf(['disable', 'verify-ca', 'verify-full'], { description, default: 'disable' })
  it('takes its words and nothing like them', () => {
    assert.equal(field.parse('verify-ca'), 'verify-ca')
    fails(
      field,
      'verify_ca',
      'expected one of disable | verify-ca | verify-full, got "verify_ca" (did you mean verify-ca?)',
    )
    fails(field, 'Disable', /did you mean disable\?/)
    fails(field, 'none', 'expected one of disable | verify-ca | verify-full, got "none"')
    fails(field, true, 'expected one of disable | verify-ca | verify-full, got true')
  })
})

describe('list', () => {
  const field = list({ description })
  it('takes a list of texts, or one text with commas', () => {
    assert.deepEqual(field.parse(['a', ' b ']), ['a', 'b'])
    assert.deepEqual(field.parse('a, b,,c'), ['a', 'b', 'c'])
    assert.deepEqual(field.parse([new Secret('a'), 'b']), ['a', 'b'])
    assert.deepEqual(list({ description, pattern: { matches: /^\w+$/, expected: 'words' } }).parse('a,b'), ['a', 'b'])
    fails(list({ description, pattern: { matches: /^\w+$/, expected: 'words' } }), 'a,b c', 'expected words')
    fails(field, [1], 'expected a list of strings, got a list')
    fails(field, 5, 'expected a list of strings, got 5')
  })
})

describe('a list without items', () => {
  for (const value of [[], ',', ' , ', [''], ' ']) {
    it(`${JSON.stringify(value)} is refused: it would mean no restriction`, () =>
      fails(list({ description }), value, /^expected a list with at least one item/))
  }
})

describe('a value that was wrapped because it looks like a secret', () => {
  it('is read as the type of its field', () => {
    assert.equal(seconds({ description }).parse(new Secret('30')), 30)
    assert.equal(boolean({ description }).parse(new Secret('yes')), true)
    assert.equal(oneOf(['a', 'b'], { description }).parse(new Secret('a')), 'a')
  })
  it('is not repeated when it does not fit', () => {
    fails(seconds({ description }), new Secret('hunter2'), 'expected a number of at least 0')
    fails(oneOf(['hunter3', 'b'], { description }), new Secret('hunter2'), 'expected one of hunter3 | b')
    fails(list({ description }), [new Secret('hunter2'), 5], 'expected a list of strings')
  })
})

describe('parseFields', () => {
  const fields = {
    sslmode: oneOf(['disable', 'require'], { description, default: 'disable' }),
    pool_size: integer({ description, default: 10, min: 1 }),
    sslpassword: secret({ description, aliases: ['ssl_key_password'] }),
    region: text({ description, aliases: ['region_name', 'aws_region'] }),
  }

  it('gives each field its value or its default', () => {
    const { values, problems, warnings } = parseFields(fields, { pool_size: '5', aws_region: 'eu-west-1' })
    assert.deepEqual(values, { sslmode: 'disable', pool_size: 5, sslpassword: undefined, region: 'eu-west-1' })
    assert.deepEqual([problems, warnings], [[], []])
    // The types follow from the table.
    const size: number = values.pool_size
    const mode: 'disable' | 'require' = values.sslmode
    const region: string | undefined = values.region
    assert.ok(size && mode && region)
  })

  it('takes defaults from outside before its own, and given values before both', () => {
    assert.equal(parseFields(fields, {}, { defaults: { sslmode: 'require' } }).values.sslmode, 'require')
    assert.equal(
      parseFields(fields, { sslmode: 'disable' }, { defaults: { sslmode: 'require' } }).values.sslmode,
      'disable',
    )
  })

  it('takes empty and null for not set, also beside another spelling', () => {
    const { values, problems } = parseFields(fields, {
      sslmode: '',
      pool_size: null,
      region: '',
      aws_region: 'x',
      region_name: undefined,
    })
    assert.deepEqual(values, { sslmode: 'disable', pool_size: 10, sslpassword: undefined, region: 'x' })
    assert.deepEqual(problems, [])
  })

  it('reports everything at once: misspelled keys as problems, other unknown keys as warnings', () => {
    const { problems, warnings } = parseFields(fields, {
      sslmod: 'require',
      SSLMode: 'require',
      'ssl-password': 'x',
      pool_size: 0,
      sslmode: 'on',
      region: 'a',
      aws_region: 'b',
      whatever: 1,
    })
    assert.deepEqual(problems, [
      { path: 'extra.sslmod', message: 'unknown key; did you mean sslmode?' },
      { path: 'extra.SSLMode', message: 'unknown key; did you mean sslmode?' },
      { path: 'extra.ssl-password', message: 'unknown key; did you mean sslpassword?' },
      { path: 'extra.pool_size', message: 'expected a whole number of at least 1, got 0' },
      { path: 'extra.sslmode', message: 'expected one of disable | require, got "on"' },
      { path: 'extra.aws_region', message: 'says the same as region; keep one of them' },
    ])
    assert.deepEqual(warnings, [{ path: 'extra.whatever', message: 'unknown key' }])
  })

  it('reports unknown keys as problems when it is strict', () => {
    const { problems, warnings } = parseFields(fields, { whatever: 1 }, { strict: true, path: '' })
    assert.deepEqual(problems, [{ path: 'whatever', message: 'unknown key' }])
    assert.deepEqual(warnings, [])
  })

  it('says where a key belongs before it guesses at a slip', () => {
    const elsewhere = (key: string): string | undefined =>
      key === 'sslmodes' ? 'belongs to another driver' : undefined
    const { problems, warnings } = parseFields(fields, { sslmodes: 1 }, { elsewhere })
    assert.deepEqual([problems, warnings], [[], [{ path: 'extra.sslmodes', message: 'belongs to another driver' }]])
  })

  it('lets a name win over the same word as an alias', () => {
    const clash = { a_field: text({ description, aliases: ['b_field'] }), b_field: text({ description }) }
    const clashTurned = { b_field: text({ description }), a_field: text({ description, aliases: ['b_field'] }) }
    for (const table of [clash, clashTurned]) {
      const { values } = parseFields(table, { b_field: 'x' })
      assert.deepEqual({ ...values }, { a_field: undefined, b_field: 'x' })
    }
  })

  it('writes out keys that could break or forge a line', () => {
    const { warnings } = parseFields(fields, {
      'a\nb': 1,
      'x\u202ey': 1,
      'dotted.key': 1,
      [`${'k'.repeat(100)} `]: 1,
      '': 1,
    })
    assert.deepEqual(
      warnings.map((warning) => warning.path),
      ['extra["a\\nb"]', 'extra["x\\u202ey"]', 'extra.dotted.key', `extra["${'k'.repeat(57)}..."]`, 'extra[""]'],
    )
  })

  it('treats keys with a meaning in JavaScript as unknown', () => {
    const given = JSON.parse('{"__proto__": 1, "constructor": 2, "toString": 3}') as Record<string, unknown>
    const { values, warnings } = parseFields(fields, given)
    assert.equal(warnings.length, 3)
    assert.equal(Object.getPrototypeOf(values), Object.prototype)
  })

  it('rethrows an error that is not a mismatch', () => {
    const broken: Field<unknown> = {
      ...text({ description }),
      parse() {
        throw new TypeError('a bug')
      },
    }
    assert.throws(() => parseFields({ broken }, { broken: 1 }), TypeError)
  })

  it('never shows a secret value in a problem', () => {
    fc.assert(
      fc.property(fc.constantFrom('sslpassword', 'ssl_key_password', 'sslpasword', 'pool_size', 'region'), (key) => {
        for (const value of [new Secret('hunter2'), [new Secret('hunter2')], { a: new Secret('hunter2') }]) {
          const { problems, warnings } = parseFields(fields, { [key]: value })
          assert.ok(!JSON.stringify([problems, warnings]).includes('hunter2'))
        }
      }),
    )
  })
})
