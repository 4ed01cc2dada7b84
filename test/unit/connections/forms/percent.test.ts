import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { quote, quotePlus, readQuery, unquote, writeQuery } from '../../../../src/connections/forms/percent.ts'

const wellFormed = fc.string({ unit: 'binary' }).filter((text) => text.isWellFormed())

describe('percent-encoding', () => {
  // The right column is what Python 3.11's urllib.parse answers.
  const decoded: readonly [string, string][] = [
    ['p%40ss', 'p@ss'],
    ['caf%C3%A9', 'café'],
    ['caf%c3%a9', 'café'],
    ['100%', '100%'],
    ['%zz%4', '%zz%4'],
    ['%25zz', '%zz'],
    ['%C3', '\ufffd'],
    ['%ff%fe', '\ufffd\ufffd'],
    ['%F0%9F%98%80', '😀'],
    ['é%C3%A9', 'éé'],
    ['%EF%BB%BFx', '\ufeffx'],
    ['a+b', 'a+b'],
  ]
  for (const [given, expected] of decoded) {
    it(`decodes ${given} as Python does`, () => assert.equal(unquote(given), expected))
  }

  it('encodes all but letters, digits and _.-~, as Python does', () => {
    assert.equal(quote("aZ0_.-~ !*'()/@:é😀"), 'aZ0_.-~%20%21%2A%27%28%29%2F%40%3A%C3%A9%F0%9F%98%80')
    assert.equal(quotePlus('a b+c'), 'a+b%2Bc')
  })

  it('gives every text back', () => {
    fc.assert(
      fc.property(wellFormed, (text) => {
        assert.equal(unquote(quote(text)), text)
        assert.match(quote(text), /^[\w.~%-]*$/)
      }),
    )
  })
})

describe('queries', () => {
  const read: readonly [string, Record<string, string>][] = [
    ['a=1&b=x+y', { a: '1', b: 'x y' }],
    ['a=1&a=2', { a: '2' }],
    ['a&b=', { a: '', b: '' }],
    ['=x&&a=b=c', { '': 'x', a: 'b=c' }],
    ['a+b=%2B&c%3D=%26', { 'a b': '+', 'c=': '&' }],
    ['', {}],
  ]
  for (const [query, expected] of read) {
    it(`reads ${query || 'nothing'} as Python does`, () => assert.deepEqual(readQuery(query), expected))
  }

  it('takes __proto__ for a key like any other', () => {
    const values = readQuery('__proto__=x')
    assert.deepEqual(Object.entries(values), [['__proto__', 'x']])
    assert.equal(Object.getPrototypeOf(values), Object.prototype)
  })

  it('gives every mapping back', () => {
    fc.assert(
      fc.property(fc.dictionary(wellFormed, wellFormed, { noNullPrototype: true }), (values) => {
        assert.deepEqual(readQuery(writeQuery(values)), values)
      }),
    )
  })
})
